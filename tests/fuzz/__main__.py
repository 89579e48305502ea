"""`make fuzz ARGS='--time 600 decoder csv'`: each target under coverage for so long, then its corpus compiled.

The corpus is kept in .cache/fuzz. An input that ends badly is made as small as it can be and kept in
tests/fuzz/regressions, which `make test` replays.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from .decoding import Tally, one_round
from .mutate import CORPUS, REGRESSIONS, kept

REPOSITORY = Path(__file__).parents[2]
LARGEST = {"parquet": 8_192, "arrow": 8_192, "snapshot": 16_384, "profile_file": 32_768, "csv": 2_048}


def names() -> list[str]:
    """All targets, without importing what they read with."""
    from .targets import TARGETS

    return list(TARGETS)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{REPOSITORY / 'tests'}{os.pathsep}{REPOSITORY / 'src'}"}


def cover(name: str, seconds: int, runs: int) -> dict[str, object]:
    """One target under atheris; what libFuzzer says of it."""
    corpus, found = CORPUS / name, CORPUS / f"{name}.found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    from .targets import TARGETS

    for seed in TARGETS[name].seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    command = [
        sys.executable, "-m", "fuzz.cover", name, str(corpus), f"-max_total_time={seconds}", f"-runs={runs or -1}",
        f"-max_len={LARGEST.get(name, 1_024)}", "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1",
        f"-artifact_prefix={found}/",
    ]  # fmt: skip
    ended = subprocess.run(command, env=_environment(), capture_output=True, text=True, errors="replace", check=False)
    said = ended.stdout + ended.stderr
    progress = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)
    runs_done = re.findall(r"number_of_executed_units: (\d+)", said)
    edges, features, size = map(int, progress[-1]) if progress else (0, 0, 0)
    for bad in sorted(found.iterdir()):
        _keep(name, bad, said)
    return {
        "target": name, "executions": int(runs_done[-1]) if runs_done else 0, "coverage": edges, "features": features,
        "corpus": size, "defect": "" if not ended.returncode else said[-1_500:],
    }  # fmt: skip


def _keep(name: str, bad: Path, said: str) -> None:
    """Make an input smaller while it ends as badly, and keep it as a regression."""
    small = bad.with_suffix(".small")
    command = [sys.executable, "-m", "fuzz.cover", name, "-minimize_crash=1", "-runs=2000", "-max_total_time=60"]
    subprocess.run(
        [*command, f"-exact_artifact_path={small}", str(bad)], env=_environment(), capture_output=True, check=False
    )
    data = (small if small.exists() else bad).read_bytes()
    place = REGRESSIONS / name / hashlib.sha256(data).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    bad.unlink()
    small.unlink(missing_ok=True)
    print(f"{name}: {place.relative_to(REPOSITORY)} ends badly\n{said[-3_000:]}", file=sys.stderr)


def compiled(name: str, runs: int, seed: int) -> dict[str, object]:
    """The corpus and mutants of it through the compiled code, bounds checked, in a process that may crash."""
    program = (
        "import sys, json; from fuzz.mutate import defects; from fuzz.targets import TARGETS; n, runs, seed = "
        "sys.argv[1:]; print(json.dumps([[d.hex(), t] for d, t in defects(TARGETS[n], n, int(runs), int(seed))]))"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, name, str(runs), str(seed)],
        env=_environment(), capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if ended.returncode:
        return {"target": name, "compiled": len(kept(CORPUS, name)) + runs, "defect": ended.stderr[-1_500:]}
    found = json.loads(ended.stdout.splitlines()[-1])
    for data, _ in found:
        place = REGRESSIONS / name / hashlib.sha256(bytes.fromhex(data)).hexdigest()[:16]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes.fromhex(data))
    told = "\n".join(text[-1_500:] for _, text in found)
    return {"target": name, "compiled": len(kept(CORPUS, name)) + runs, "defect": told}


def records(seconds: float, seed: int) -> dict[str, object]:
    """Random schemas, records of theirs and mutants, for so long."""
    until, total = time.monotonic() + seconds, Tally()
    while time.monotonic() < until and len(total.faults) < 20:
        total.add(one_round(seed))
        seed += 1
    return {
        "target": "records", "next_seed": seed, "schemas": total.schemas, "executions": total.inputs,
        "decoded": total.good, "defect": "\n".join(map(str, total.faults[:5])),
    }  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="all if none is named; `records` is random schemas and records")
    parser.add_argument("--time", type=int, default=60, help="seconds for each target")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target under coverage, 0: no bound")
    parser.add_argument("--mutants", type=int, default=2_000, help="compiled executions on top of the corpus")
    parser.add_argument("--seed", type=int, default=0, help="of mutants and of random schemas")
    asked = parser.parse_args()
    failed = False
    for name in asked.targets or ["records", *names()]:
        steps = (
            [lambda: records(asked.time, asked.seed)]
            if name == "records"
            else [
                lambda name=name: cover(name, asked.time, asked.runs),
                lambda name=name: compiled(name, asked.mutants, asked.seed),
            ]
        )
        for step in steps:
            told = step()
            failed = failed or bool(told["defect"])
            print(json.dumps(told), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

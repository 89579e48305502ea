"""python -m benchmarks.detection [--data FOLDER] [--quick]: who finds which drift when, and who cries wolf.

Answers are kept in .cache/detection: what was measured before, with the same values and the same code, is not
measured again. A full run puts its tables and pictures into docs/; a quick one only prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.detection import page, pictures
from benchmarks.detection.candidates import CANDIDATES, Candidate
from benchmarks.detection.real import SETS, RealSet
from benchmarks.detection.results import Results
from benchmarks.detection.running import CACHE, Answer, run_ours, run_peer, say
from benchmarks.detection.scoring import found, on_real, quiet
from benchmarks.detection.tasks import SEED, SHUFFLED, Task, horizon, on_set, simulated


def main() -> int:
    """Run, keep, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the real sets; without it only simulated streams run")
    parser.add_argument("--quick", action="store_true", help="some streams, a tenth of the values; prints only")
    parser.add_argument("--only", default="", metavar="NAME", help="candidates with NAME in their name")
    parser.add_argument("--jobs", type=int, default=2, help="peers that run at the same time (default 2)")
    parser.add_argument("--kept", action="store_true", help="of peers only what earlier runs answered")
    parser.add_argument("--redo", action="store_true", help="tables and pictures of the last full run again")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    arguments = parser.parse_args()
    kept = CACHE / "detection" / ("quick.json" if arguments.quick else "full.json")
    if arguments.redo:
        results = Results.load(kept)
    else:
        sets = _sets(arguments.data)
        chosen = [one for one in CANDIDATES if arguments.only.lower() in one.name.lower()]
        results = _run(chosen, sets, quick=arguments.quick, kept_only=arguments.kept, jobs=arguments.jobs)
        if not arguments.only:
            results.save(kept)
    print(page.as_text(results))
    if not (arguments.quick or arguments.no_write or arguments.only):
        page.write(results)
        pictures.draw(results)
        say(f"written: {page.DOCUMENT} and {pictures.FOLDER}/detection-*.svg")
    return 0


def _sets(folder: Path | None) -> list[RealSet]:
    if folder is None or not folder.is_dir():
        why = "no folder was given (make bench-detection DATA=FOLDER)" if folder is None else f"{folder} isn't there"
        say(f"only simulated streams: {why}")
        return []
    return [read(folder) for read in SETS.values()]


def _run(chosen: Sequence[Candidate], sets: Sequence[RealSet], *, quick: bool, kept_only: bool, jobs: int) -> Results:
    say(f"seeds {SEED} and following, numpy {np.__version__}, Python {sys.version.split()[0]}")
    results = Results(quick=quick)
    results.sets = {
        one.name: {
            "rows": one.rows, "columns": len(one.values), "changes": one.changes, "within": one.within,
            "drifting": len(one.drifting) or len(one.values), "controls": len(one.controls),
        }
        for one in sets
    }  # fmt: skip
    for candidate in (one for one in chosen if not one.peer):
        for task in _tasks(candidate, sets, quick):
            _score(results, task, run_ours(task))
        _told(results, candidate)
    with ThreadPoolExecutor(jobs) as pool:
        peers = [one for one in chosen if one.peer]
        for candidate, scored in zip(
            peers, pool.map(lambda one: _peer(one, sets, quick, kept_only), peers), strict=True
        ):
            for part in ("quiet", "found", "real", "errors", "versions"):
                getattr(results, part).update(getattr(scored, part))
            _told(results, candidate)
    return results


def _tasks(candidate: Candidate, sets: Sequence[RealSet], quick: bool) -> list[Task]:
    # A quick run leaves out the largest two sets.
    small = [one for one in sets if not quick or one.rows * len(one.values) < 400_000]
    return [*simulated(candidate, quick=quick), *(task for one in small for task in on_set(candidate, one))]


def _peer(candidate: Candidate, sets: Sequence[RealSet], quick: bool, kept_only: bool) -> Results:
    part, tasks = Results(), _tasks(candidate, sets, quick)
    for task, answer in zip(tasks, run_peer(tasks, kept_only=kept_only), strict=True):
        if answer:
            _score(part, task, answer)
    return part


def _score(results: Results, task: Task, answer: Answer) -> None:
    name, stream = task.candidate.name, task.stream
    results.versions[name] = answer.versions
    if answer.error:
        results.errors.setdefault(name, {})[stream] = answer.error
    elif task.real:
        real = task.real
        # Who looks at windows only can't be earlier than their end.
        within = real.within + (task.candidate.phase if task.candidate.window else 0)
        scored = on_real(answer.said, task.names, real.changes, within, real.controls)
        results.real.setdefault(name, {})[stream] = scored
    elif task.job.changes[0] < 0:
        results.quiet.setdefault(name, {})[stream] = quiet(answer.said)
    else:
        scored_run = found(answer.said, task.job.changes, horizon(stream))
        results.found.setdefault(name, {})[stream] = scored_run


def _told(results: Results, candidate: Candidate) -> None:
    values = sum(one.values for one in results.quiet.get(candidate.name, {}).values())
    runs = sum(len(one.delays) for one in results.found.get(candidate.name, {}).values())
    sets = sum(not name.endswith(SHUFFLED) for name in results.real.get(candidate.name, {}))
    versions = ", ".join(f"{k} {v}" for k, v in results.versions.get(candidate.name, {}).items())
    failed = len(results.errors.get(candidate.name, {}))
    say(f"{candidate.name}: {values:,} values without drift, {runs} changes, {sets} sets, {failed} errors; {versions}")


if __name__ == "__main__":
    sys.exit(main())

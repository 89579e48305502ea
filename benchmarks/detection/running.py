"""Candidates at work: driftbus in this process, each peer in one of its own environment; answers are kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.ours import data_of, detect, profile_of, settings_for
from benchmarks.detection.peers.protocol import Said, read_answer, write_job
from benchmarks.detection.streams import Values
from benchmarks.detection.tasks import SHUFFLED, Task
from driftbus.detectors.season_choice import with_season
from driftbus.schemas.config import SeasonConfig

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
CACHE = ROOT / ".cache"
IN_THIS_ENVIRONMENT = ("river",)
COLUMNS_A_GROUP = 50
DAY_MS = 86_400_000
MONDAY_MS = 4 * DAY_MS
MONDAYS = {"daily_sine": 0, "daily_sine_shift_.5": 0, "weekdays": 0, "taxi": 1, "elec2": 1, "noaa": 0, "car_loan": 0}
"""Days from a Monday to the first row, of streams whose rows are evenly spaced in time: their season is learned."""

QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True", "DO_NOT_TRACK": "1"}
"""NannyML and whylogs report their use to servers otherwise."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a candidate said of a task.

    Args:
        said: per column; empty after an error.
        error: why it couldn't be judged, in the candidate's words.
        versions: of its packages.
    """

    said: list[Said]
    error: str
    versions: dict[str, str]


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def environment(peer: str) -> Path:
    """The Python of a peer's own environment, made at the first call from its pinned requirements.

    Raises:
        RuntimeError: it can't be made; says what the installer said.
    """
    if peer in IN_THIS_ENVIRONMENT:
        return Path(sys.executable)
    folder, pins = CACHE / "peers" / peer, PEERS / f"{peer}.txt"
    python, stamp = folder / "bin" / "python", folder / f".made-{_digest(pins.read_bytes())}"
    if not stamp.exists():
        say(f"{peer}: installing {pins.relative_to(ROOT)} into {folder}")
        uv = [sys.executable, "-m", "uv"]
        for command in (
            [*uv, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)],
            [*uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(pins)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{peer} can't be installed: {done.stderr.strip().splitlines()[-1]}")
        stamp.touch()
    return python


def run_peer(tasks: Sequence[Task], *, kept_only: bool = False) -> list[Answer | None]:
    """Tasks of one candidate, those that were answered before not again; `kept_only`: None for all others."""
    if not tasks:
        return []
    candidate = tasks[0].candidate
    script = PEERS / f"run_{candidate.peer}.py"
    code = [script.read_bytes(), (PEERS / "protocol.py").read_bytes(), _pins(candidate.peer)]
    kept = [CACHE / "detection" / f"{_digest(*code, _content(task))}.json" for task in tasks]
    missing = [(task, path) for task, path in zip(tasks, kept, strict=True) if not path.exists()]
    if missing and not kept_only:
        try:
            _work(environment(candidate.peer), script, missing)
        except RuntimeError as error:
            say(str(error))
            return [Answer([], str(error), {}) for _ in tasks]
    answers: list[Answer | None] = []
    for path in kept:
        if not path.exists():
            answers.append(None)
            continue
        said, rest = read_answer(path)
        answers.append(Answer(said, rest.get("error", ""), rest["versions"]))
    return answers


def _work(python: Path, script: Path, missing: Sequence[tuple[Task, Path]]) -> None:
    """Have a fresh process answer the tasks, one after the other, and keep every answer as it comes."""
    candidate = missing[0][0].candidate
    say(f"{candidate.name}: {len(missing)} streams")
    folder = CACHE / "detection" / f"work-{os.getpid()}-{candidate.peer}-{candidate.detector.replace(' ', '_')}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = os.environ | QUIET | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(PEERS)}
    try:
        for i, (task, _) in enumerate(missing):
            write_job(folder / f"{i:03d}-{task.stream.replace(' ', '_')}.npz", task.job)
        done = subprocess.run(
            [python, "-W", "ignore", script, folder], env=env, stdout=subprocess.DEVNULL, check=False,
            stderr=None if os.environ.get("PEERS_STDERR") else subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{candidate.name}: its process failed: {(done.stderr or '?').strip().splitlines()[-1]}")
    finally:
        for i, (task, path) in enumerate(missing):  # what was answered before an interruption stays
            answer = folder / f"{i:03d}-{task.stream.replace(' ', '_')}.json"
            if answer.exists():
                shutil.move(answer, path)
        shutil.rmtree(folder, ignore_errors=True)


def run_ours(task: Task) -> Answer:
    """The same for driftbus."""
    path = CACHE / "detection" / f"{_digest(*_our_code(), _content(task))}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        said = [one for part in _groups(task) for one in part]
        path.write_text(json.dumps({"versions": {}, "said": [vars(one) for one in said]}))
    said, _ = read_answer(path)
    return Answer(said, "", {"driftbus": _our_version()})


def _groups(task: Task) -> list[list[Said]]:
    """Independent runs in groups of columns; the columns of a real set stay together."""
    job, size = task.job, len(task.job.kinds) if task.real else COLUMNS_A_GROUP
    found = []
    for start in range(0, len(job.kinds), size):
        part = range(start, min(start + size, len(job.kinds)))
        names = [task.names[i] for i in part]
        reference, values = (
            {n: _typed(x[i], job.kinds[i]) for n, i in zip(names, part, strict=True)}
            for x in (job.reference, job.values)
        )
        budget = 1.0 if job.detector == "budget" else None
        settings = settings_for(
            len(names) if task.real else 1, budget=budget, pane=task.pane, row_s=task.row_s,
            events_per_second=1 / task.row_s,
        )  # fmt: skip
        profile, first = profile_of(reference, ordered=task.ordered), 0
        monday = MONDAYS.get(task.stream.removesuffix(SHUFFLED))
        if monday is not None:
            row_ms, rows = round(task.row_s * 1000), job.reference.shape[1]
            times = MONDAY_MS + monday * DAY_MS + np.arange(rows, dtype=np.int64) * row_ms
            data = {name: data_of(x) for name, x in reference.items()}
            profile = with_season(profile, data, times, SeasonConfig(), ordered=task.ordered)
            first = int(times[-1] + row_ms) // settings.pane_ms
        said = {name: Said(rows=job.values.shape[1] // task.pane * task.pane) for name in names}
        for one in detect(profile, values, settings, task.pane, first):
            told = one.transition
            if told.column in said and told.status != "closed":
                since = max(0, (told.since_tick - first) * task.pane)
                said[told.column].alarm(one.row, new=told.status == "opened", since=since)
        found.append(list(said.values()))
    return found


def _typed(values: np.ndarray[Any, Any], kind: str) -> Values:
    return values.astype(np.int64) if kind == "categorical" else values


def _our_code() -> list[bytes]:
    files = [*sorted((ROOT / "detectors").glob("*.py")), ROOT / "schemas" / "config.py", Path(__file__)]
    return [file.read_bytes() for file in [*files, Path(__file__).parent / "ours.py"]]


def _our_version() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def _pins(peer: str) -> bytes:
    if peer in IN_THIS_ENVIRONMENT:
        from importlib.metadata import version

        return version(peer).encode()
    return (PEERS / f"{peer}.txt").read_bytes()


def _content(task: Task) -> bytes:
    job = task.job
    parts = [job.detector, job.kinds, job.changes, job.after, job.joint, job.seed, task.ordered, task.row_s, task.pane]
    arrays = (np.ascontiguousarray(x).tobytes() for x in (job.reference, job.values))
    return _digest(json.dumps(parts).encode(), *arrays).encode()


def _digest(*parts: bytes) -> str:
    whole = hashlib.blake2b(digest_size=12)
    for part in parts:
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.hexdigest()

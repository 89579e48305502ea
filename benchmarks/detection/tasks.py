"""Streams and real sets as jobs for one candidate: the same values for all, fewer for the slow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.candidates import QUICK_STREAMS, Candidate
from benchmarks.detection.peers.protocol import Job
from benchmarks.detection.real import RealSet
from benchmarks.detection.scoring import DUPLICATES_WITHIN
from benchmarks.detection.streams import CHANGES, MINUTE_S, NULLS, PANE, Sample, Values, sample

SEED = 700_000
"""Of the first run; the others follow. Constants of detection were chosen on other seeds."""

RUN = 50_000
HORIZON = {"shift_.1": 15_000, "ramp_1_10k": 15_000, "daily_sine_shift_.5": 4_320}
"""Values after the change within which it has to be found, where it isn't 10,000."""

INDICATOR = {"category_.15": 3, "category_.15_.10": 3, "new_category": 99}
"""The category whose 0/1 indicator sequential detectors are given, where it isn't the most frequent."""

SHUFFLED = " shuffled"


@dataclass(frozen=True, slots=True)
class Task:
    """What one candidate has to judge of one stream or set.

    Args:
        stream: its name; with " shuffled" for the control of a set.
        names: of the columns.
        ordered, row_s, pane: see `Stream`.
        real: the set as it was cut for this candidate, None for a simulated stream.
    """

    candidate: Candidate
    stream: str
    job: Job
    names: tuple[str, ...]
    ordered: bool = True
    row_s: float = 0.1
    pane: int = PANE
    real: RealSet | None = None


def horizon(stream: str) -> int:
    """Values after the change within which it has to be found."""
    return HORIZON.get(stream, 10_000)


def simulated(candidate: Candidate, *, quick: bool) -> Iterator[Task]:
    """All streams that the candidate can take."""
    for stream in (*NULLS, *CHANGES):
        if (candidate.only and stream not in candidate.only) or (quick and stream not in QUICK_STREAMS):
            continue
        if candidate.takes == "bits" and _column(candidate, stream, *_first(stream)) is None:
            continue
        task = _changes(candidate, stream, quick) if stream in CHANGES else _nulls(candidate, stream, quick)
        if task:
            yield task


def on_set(candidate: Candidate, whole: RealSet) -> Iterator[Task]:
    """A real set and its shuffled control; nothing if the candidate can't take any of its columns."""
    if candidate.only and whole.name not in candidate.only:
        return
    for stream, real in ((whole.name, whole), (whole.name + SHUFFLED, whole.shuffled(SEED))):
        cut = _cut(candidate, real, whole.changes)
        pairs = [_column(candidate, "", cut.reference[name], cut.values[name]) for name in cut.values]
        kept = [(name, pair) for name, pair in zip(cut.values, pairs, strict=True) if pair]
        if not kept:
            return
        kinds, references, values = zip(*(pair for _, pair in kept), strict=True)
        job = Job(
            candidate.detector, list(kinds), _thin(np.array(references, np.float64), candidate.reference),
            np.array(values, np.float64), [-1] * len(kept), joint=candidate.joint, seed=SEED,
        )  # fmt: skip
        yield Task(candidate, stream, job, tuple(n for n, _ in kept), True, real.row_s, real.pane, cut)


@cache
def _null(stream: str, seed: int) -> Sample:
    return sample(stream, seed, RUN)


@cache
def _changed(stream: str, seed: int, rows: int) -> Sample:
    return sample(stream, seed, rows)


def _nulls(candidate: Candidate, stream: str, quick: bool) -> Task | None:
    total = candidate.nulls // (10 if quick else 1)
    rows = min(RUN, total)
    runs = [_null(stream, SEED + i) for i in range(max(1, total // rows))]
    return _task(candidate, stream, [replace(run, values=run.values[:rows]) for run in runs])


def _changes(candidate: Candidate, stream: str, quick: bool) -> Task | None:
    runs = candidate.runs // (5 if quick else 1) or 1
    return _task(candidate, stream, [_moved(candidate, stream, SEED + i) for i in range(runs)])


def _moved(candidate: Candidate, stream: str, seed: int) -> Sample:
    """A run whose change has a random place in the candidate's windows, not always their beginning."""
    phase = candidate.phase if candidate.takes == "columns" else 1
    run = _changed(stream, seed, horizon(stream) + DUPLICATES_WITHIN + phase + 2 * PANE)
    assert run.change is not None
    drop = 0
    if run.row_s < MINUTE_S and run.change:  # a cycle goes on from its reference
        drop = int(np.random.default_rng([seed, phase]).integers(min(phase, run.change)))
    surplus = run.change - drop - candidate.before
    if candidate.takes == "numbers" and surplus > 0:
        drop += surplus
    return replace(run, values=run.values[drop:], change=run.change - drop)


def _task(candidate: Candidate, stream: str, runs: list[Sample]) -> Task | None:
    """None if the candidate can't take the stream."""
    rows = min(run.values.size for run in runs)
    pairs = [_column(candidate, stream, run.reference, run.values[:rows]) for run in runs]
    kept = [pair for pair in pairs if pair]
    if len(kept) < len(runs):
        return None
    kinds, references, values = zip(*kept, strict=True)
    changes = [-1 if run.change is None else run.change for run in runs]
    job = Job(
        candidate.detector, list(kinds), _thin(np.array(references, np.float64), candidate.reference),
        np.array(values, np.float64), changes, after=-1 if changes[0] < 0 else DUPLICATES_WITHIN, seed=SEED,
    )  # fmt: skip
    names = tuple(str(i) for i in range(len(runs)))
    return Task(candidate, stream, job, names, runs[0].ordered, runs[0].row_s)


def _column(candidate: Candidate, stream: str, reference: Values, values: Values) -> tuple[str, Values, Values] | None:
    """(kind, reference, values) as the candidate takes them; None if it can't."""
    if candidate.takes == "columns":
        return "numeric" if values.dtype.kind == "f" else "categorical", reference, values
    if values.dtype.kind != "f":
        code = INDICATOR.get(stream, int(np.argmax(np.bincount(reference[reference >= 0]))))
        reference, values = ((x == code).astype(np.float64) for x in (reference, values))
    elif stream.startswith("nulls_"):
        reference, values = (np.isnan(x).astype(np.float64) for x in (reference, values))
    if candidate.takes == "numbers":
        return "numeric", reference, values
    if not all(np.isin(x, (0.0, 1.0)).all() for x in (reference, values)):
        return None
    rare = float(reference.mean() < 0.5)
    return "bits", (reference == rare).astype(np.float64), (values == rare).astype(np.float64)


def _first(stream: str) -> tuple[Values, Values]:
    run = sample(stream, SEED, 1_000)
    return run.reference, run.values


def _thin(reference: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """At most so many rows, evenly."""
    step = -(-reference.shape[1] // rows)
    return reference[:, ::step]


def _cut(candidate: Candidate, real: RealSet, changes: tuple[int, ...]) -> RealSet:
    """At most `candidate.real` values: all rows of fewer columns, or the rows around the first change."""
    names, rows = list(real.values), real.rows
    if len(names) * rows <= candidate.real:
        return real
    if candidate.joint:
        rows = min(rows, candidate.real)
    else:
        rows = min(rows, 4_000 if changes else max(4_000, candidate.real // len(names)))
        names = names[:: -(-len(names) * rows // candidate.real)]
    start = max(0, min(changes[0] - rows // 2, real.rows - rows)) if changes else 0
    return replace(
        real,
        reference={name: real.reference[name] for name in names},
        values={name: real.values[name][start : start + rows] for name in names},
        changes=tuple(change - start for change in real.changes if start <= change < start + rows),
    )

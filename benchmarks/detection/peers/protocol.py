"""What the benchmark and a peer's process say to each other: jobs as .npz, answers as .json, in one folder.

Runs in the peer's environment: needs numpy, knows nothing of driftbus.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Job:
    """Columns to judge, each with a reference.

    Args:
        detector: which of the peer's.
        kinds: per column "numeric", "bits" or "categorical" (codes; -1 is null). NaN is null.
        reference, values: [columns, rows].
        changes: first changed row per column, -1 without one.
        after: rows to go on after the first alarm that follows a change; -1: to the end.
        joint: all columns are one multivariate stream, answered as one.
        seed: of whatever the detector draws.
    """

    detector: str
    kinds: list[str]
    reference: np.ndarray
    values: np.ndarray
    changes: list[int]
    after: int = -1
    joint: bool = False
    seed: int = 0


@dataclass
class Said:
    """The alarms of one column.

    Args:
        at: rows of the stream seen when each was given, rising.
        new: whether it begins an episode, or goes on with the one before.
        since: where the peer says the change was, None if it doesn't say.
        rows: how many were judged.
    """

    at: list[int] = field(default_factory=list)
    new: list[bool] = field(default_factory=list)
    since: list[int | None] = field(default_factory=list)
    rows: int = 0

    def alarm(self, at: int, *, new: bool = True, since: int | None = None) -> None:
        self.at.append(int(at))
        self.new.append(bool(new))
        self.since.append(None if since is None else int(since))


Judge = Callable[[Job], list[Said]]


def write_job(path: Path, job: Job) -> None:
    meta = {k: getattr(job, k) for k in ("detector", "kinds", "changes", "after", "joint", "seed")}
    np.savez(path, reference=job.reference, values=job.values, meta=np.array(json.dumps(meta)))


def read_job(path: Path) -> Job:
    with np.load(path) as stored:
        return Job(reference=stored["reference"], values=stored["values"], **json.loads(str(stored["meta"])))


def read_answer(path: Path) -> tuple[list[Said], dict[str, Any]]:
    """The alarms per column, and what else the peer's process told: `versions`, `error`.

    Raises:
        ValueError: an answer that is none: alarms out of order, or lists of different lengths.
    """
    answer = json.loads(path.read_text())
    said = [Said(**one) for one in answer.pop("said")]
    for one in said:
        if not len(one.at) == len(one.new) == len(one.since) or one.at != sorted(one.at):
            raise ValueError(f"{path}: alarms don't fit together")
        if one.at and not 0 < one.at[0] <= one.at[-1] <= one.rows:
            raise ValueError(f"{path}: alarms outside of the {one.rows} rows judged")
    return said, answer


def serve(packages: Sequence[str], judges: Mapping[str, Judge]) -> None:
    """Answer every job of the folder that is the first argument, in the order of names.

    A detector that can't take a stream says so by its exception: that is an answer too.
    """
    versions = {name: version(name) for name in packages}
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        job, started = read_job(path), time.perf_counter()
        answer: dict[str, Any] = {"versions": versions, "said": []}
        try:
            answer["said"] = [vars(one) for one in judges[job.detector](job)]
        except Exception as error:  # noqa: BLE001 -- what another project raises can be anything
            answer["error"] = f"{type(error).__name__}: {error}"[:300]
        answer["seconds"] = round(time.perf_counter() - started, 1)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(answer))
        partial.rename(path.with_suffix(".json"))
        print(f"{path.stem} {answer['seconds']} s {answer.get('error', '')}", file=sys.stderr, flush=True)


class Sequential:
    """A detector that is fed value by value, with defaults; nulls are left out.

    Args:
        make: a fresh one, given a seed.
        feed: one value → (alarm, rows back to the change or None). It resets the detector where that is usual.
        resets: each alarm begins anew; otherwise alarms at successive values are one episode.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        feed: Callable[[Any, float], tuple[bool, int | None]],
        *,
        resets: bool = True,
    ) -> None:
        self.make, self.feed, self.resets = make, feed, resets

    def __call__(self, job: Job) -> list[Said]:
        return [
            follow(self.make(job.seed + i), self.feed, values, change, job.after, resets=self.resets)
            for i, (values, change) in enumerate(zip(job.values, job.changes, strict=True))
        ]


def follow(
    detector: Any,
    feed: Callable[[Any, Any], tuple[bool, int | None]],
    values: np.ndarray,
    change: int,
    after: int,
    *,
    resets: bool,
) -> Said:
    """One stream, value by value, until `after` rows after the first alarm that follows the change."""
    said, end, last = Said(), len(values), -2
    row = 0
    for value in values.tolist() if values.ndim == 1 else values:
        if row >= end:
            break
        row += 1
        if values.ndim == 1 and value != value:
            continue
        alarm, back = feed(detector, value)
        if alarm:
            said.alarm(row, new=resets or last != row - 1, since=None if back is None else max(0, row - back))
            last = row
            if 0 <= change < row and after >= 0:
                end = min(end, row + after)
                after = -1
    said.rows = row
    return said


class Windowed:
    """A tool that compares windows of rows with the reference; windows with drift in succession are one episode.

    Args:
        fit: job → what judges: (columns, window [columns, rows]) → whether each drifts.
        rows: of a window.
    """

    def __init__(
        self, fit: Callable[[Job], Callable[[list[int], np.ndarray], Sequence[bool]]], rows: int = 1000
    ) -> None:
        self.fit, self.rows = fit, rows

    def __call__(self, job: Job) -> list[Said]:
        judge, said = self.fit(job), [Said() for _ in job.kinds]
        ends = [job.values.shape[1]] * len(said)
        for start in range(0, job.values.shape[1] - self.rows + 1, self.rows):
            end = start + self.rows
            columns = [i for i in range(len(said)) if start < ends[i]]
            if not columns:
                break
            for i, drift in zip(columns, judge(columns, job.values[columns, start:end]), strict=True):
                one = said[i]
                one.rows = end
                if drift:
                    one.alarm(end, new=not one.at or one.at[-1] != start, since=start)
                    if job.after >= 0 and 0 <= job.changes[i] < end and ends[i] == job.values.shape[1]:
                        ends[i] = end + job.after
        return said

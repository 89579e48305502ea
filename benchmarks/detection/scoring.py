"""Alarms against the truth: the same arithmetic for every candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.detection.peers.protocol import Said

DUPLICATES_WITHIN = 2_000


@dataclass(frozen=True, slots=True)
class Quiet:
    """Streams without drift.

    Args:
        values: judged.
        episodes: alarms, a continuous alarm counted once.
        alarms: every one.
    """

    values: int
    episodes: int
    alarms: int

    @property
    def per_million(self) -> float:
        """False alarms (episodes) per million values."""
        return self.episodes / self.values * 1e6 if self.values else math.nan


@dataclass(frozen=True, slots=True)
class Found:
    """Runs with one change each.

    Args:
        delays: values from the change to the first alarm after it; infinity: none within the horizon.
        duplicates, repeats: episodes, and all alarms, per run in the 2,000 values after that alarm.
        errors: estimated minus true change, where the candidate estimates it.
    """

    delays: list[float]
    duplicates: list[int]
    repeats: list[int]
    errors: list[int]

    def quantile(self, q: float) -> float:
        """Of the delay, where a miss is longer than any delay."""
        return float(np.sort(self.delays)[min(len(self.delays) - 1, math.ceil(q * len(self.delays)) - 1)])

    @property
    def missed(self) -> float:
        """Share of the runs."""
        return float(np.mean(np.isinf(self.delays)))

    @property
    def duplicates_a_run(self) -> float:
        """Mean number of duplicates, over runs where the change was found."""
        return float(np.mean(self.duplicates)) if self.duplicates else math.nan

    @property
    def repeats_a_run(self) -> float:
        """The same with every alarm counted."""
        return float(np.mean(self.repeats)) if self.repeats else math.nan

    @property
    def error(self) -> float:
        """Median of the absolute change-point error; NaN without estimates."""
        return float(np.median(np.abs(self.errors))) if self.errors else math.nan


def quiet(said: Iterable[Said]) -> Quiet:
    """Alarms on streams without drift, all of them false."""
    runs = list(said)
    return Quiet(sum(r.rows for r in runs), sum(sum(r.new) for r in runs), sum(len(r.at) for r in runs))


def found(said: Sequence[Said], changes: Sequence[int], horizon: int) -> Found:
    """Alarms on streams with one change.

    The first alarm after the change counts as its discovery, whatever caused it: who alarms all the time is quick.
    An alarm that goes on from before the change counts too, at its first word after it.
    """
    result = Found([], [], [], [])
    for run, change in zip(said, changes, strict=True):
        first = next((i for i, at in enumerate(run.at) if change < at <= change + horizon), None)
        if first is None:
            result.delays.append(math.inf)
            continue
        at = run.at[first]
        later = [new for row, new in zip(run.at[first + 1 :], run.new[first + 1 :], strict=True)
                 if row <= at + DUPLICATES_WITHIN]  # fmt: skip
        result.delays.append(at - change)
        result.duplicates.append(sum(later))
        result.repeats.append(len(later))
        since = run.since[first]
        if since is not None:
            result.errors.append(since - change)
    return result


@dataclass(frozen=True, slots=True)
class OnReal:
    """A real set, or its shuffled control.

    Args:
        columns, rows: judged.
        episodes, alarms: see `Quiet`.
        before: episodes until the first known change.
        found: per known change, columns that alarm within the set's limit.
        controls: episodes on columns known to be stable.
    """

    columns: int
    rows: int
    episodes: int
    alarms: int
    before: int
    found: tuple[int, ...]
    controls: int

    @property
    def rate(self) -> float:
        """Episodes per thousand rows and column; NaN when there was no full window."""
        if not self.rows:
            return math.nan
        return self.episodes / (self.rows * self.columns) * 1e3


def on_real(said: Sequence[Said], names: Sequence[str], changes: Sequence[int], within: int,
            controls: Sequence[str] = ()) -> OnReal:  # fmt: skip
    """What was said of the columns `names`, one entry each (one entry for all of a multivariate detector)."""
    first = changes[0] if changes else 0
    return OnReal(
        columns=len(said),
        rows=max(run.rows for run in said),
        episodes=sum(sum(run.new) for run in said),
        alarms=sum(len(run.at) for run in said),
        before=sum(new and at <= first for run in said for at, new in zip(run.at, run.new, strict=True)),
        found=tuple(sum(any(c < at <= c + within for at in run.at) for run in said) for c in changes),
        controls=sum(sum(run.new) for name, run in zip(names, said, strict=False) if name in controls),
    )

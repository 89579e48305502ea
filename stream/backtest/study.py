"""The study: every configuration on the rows as they are, without drift, and with drifts put in.

Each drift begins at several places. The detectors go on from their state there, so a trial costs
only the rows after it. A column with an open episode at that place is left out; where the rows as
they are would open an episode anyway, the trial ends before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, inf, isinf, log

import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.summary import Counter
from driftbus.stream.backtest.drifts import POWER, Drift, Injector, Kind
from driftbus.stream.backtest.rows import Pane, Rows, taken
from driftbus.stream.backtest.trial import CleanRun, clean_run, run_from

HORIZON = 20_000
"""Rows that a drift is given to be found in, at most; a found ramp may need ten thousand."""

_WARM, _SHARE = 0.2, 0.4
_WEEK_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A configuration that is tried.

    Args:
        name: how it differs from the others.
        settings: its constants.
        promised: false alarms per week that it allows, None for undivided levels.
    """

    name: str
    settings: Settings
    promised: float | None


@dataclass(frozen=True, slots=True)
class Find:
    """What became of one drift in one column at one place.

    Args:
        drift, column: what, where.
        asked: rows that it was given.
        rows: rows until it was found, None if it was not.
        ms: event time until then.
    """

    drift: Drift
    column: str
    asked: int
    rows: int | None
    ms: int | None


@dataclass(frozen=True, slots=True)
class Delays:
    """Finds in short.

    Args:
        asked: trials.
        found: those in which the drift was found.
        median_rows, p95_rows, median_ms: over all trials; None where less than that share was found.
    """

    asked: int
    found: int
    median_rows: float | None
    p95_rows: float | None
    median_ms: float | None

    @property
    def share(self) -> float:
        """Share of the trials in which the drift was found."""
        return self.found / self.asked if self.asked else 0.0


@dataclass(slots=True)
class Result:
    """What a configuration did.

    Attributes:
        variant: which.
        alarms: episodes of columns that opened on the rows as they are.
        null: the same on half of the rows in random order, compared with the other half: false alarms.
        by_column: `alarms` by column.
        finds: of the drifts that were put in.
    """

    variant: Variant
    alarms: int
    null: int
    by_column: Mapping[str, int]
    finds: list[Find] = field(default_factory=list)

    def delays(self, drift: Drift, column: str | None = None) -> Delays:
        """Of one drift, in all columns or in one."""
        return delays_of([f for f in self.finds if f.drift == drift and column in (None, f.column)])


@dataclass(slots=True)
class Study:
    """The whole answer.

    Attributes:
        rows, days, columns: what was tried on.
        budget: false alarms per week that the user accepts.
        horizon: rows that a drift was given.
        drifts: what was put in.
        results: of every configuration.
        best: number of the one recommended.
        power: of that one, by kind and size: finds in each column.
    """

    rows: int
    days: float
    columns: tuple[str, ...]
    budget: float
    horizon: int
    drifts: tuple[Drift, ...]
    results: list[Result]
    best: int = 0
    power: list[Find] = field(default_factory=list)

    def least_found(self, column: str, kind: Kind) -> tuple[Drift, Delays] | None:
        """The smallest drift of a kind that was found in at least 80 % of the trials, as were all larger ones."""
        found = None
        for size in reversed(POWER[kind]):
            drift = Drift(kind, size)
            delays = self.delays_of_power(column, drift)
            if not delays.asked or delays.share < 0.8:
                break
            found = drift, delays
        return found

    def delays_of_power(self, column: str, drift: Drift) -> Delays:
        """A point of a column's power curve."""
        return delays_of([f for f in self.power if f.column == column and f.drift == drift])


def delays_of(finds: Sequence[Find]) -> Delays:
    """Finds in short; a drift that was not found counts as infinitely late."""
    rows = sorted(inf if f.rows is None else f.rows for f in finds)
    ms = sorted(inf if f.ms is None else f.ms for f in finds)
    found = sum(f.rows is not None for f in finds)
    return Delays(len(finds), found, _quantile(rows, 0.5), _quantile(rows, 0.95), _quantile(ms, 0.5))


class Bench:
    """Rows and a reference on which configurations are tried.

    Args:
        rows: the rows, in panes.
        profile: the reference.
        counter: counts rows into its cells.
        injector: puts drifts into rows.
        starts: places at which drifts begin.
        seed: of all random choices.
    """

    def __init__(
        self, rows: Rows, profile: Profile, counter: Counter, injector: Injector, starts: int, seed: int
    ) -> None:
        self._rows, self._profile, self._counter, self._injector = rows, profile, counter, injector
        n = rows.block.n
        self.horizon = min(HORIZON, max(1, int(_SHARE * n)))
        rng = np.random.default_rng(seed)
        even = np.linspace(_WARM * n, n - self.horizon, starts)
        # anywhere in a pane, as drifts are
        self._starts = sorted({int(min(n - 2, s + rng.integers(0, 64))) for s in even})
        self._seed = seed

    @property
    def places(self) -> int:
        """Places at which drifts begin."""
        return len(self._starts)

    def study(
        self,
        variants: Sequence[Variant],
        drifts: Sequence[Drift],
        budget: float,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Study:
        """Try everything.

        Args:
            variants: the configurations.
            drifts: what is put in.
            budget: false alarms per week that the user accepts.
            progress: called with the number of trials done since the last call.
        """
        cleans, results = [], []
        reference, half = self._halves()
        keep = [self._rows.pane_of(start) for start in self._starts]
        for variant in variants:
            run = clean_run(self._profile, variant.settings, self._panes(self._rows), keep)
            null = clean_run(reference, variant.settings, self._panes(half), ())
            names = [opening.column for opening in run.openings]
            results.append(
                Result(variant, len(names), len(null.openings), {name: names.count(name) for name in sorted({*names})})
            )
            cleans.append(run)
            progress(2)
        for drift, start in ((drift, start) for drift in drifts for start in self._starts):
            panes = self._injected(drift, start)
            for result, run in zip(results, cleans, strict=True):
                result.finds += self._finds(result.variant, run, drift, start, panes)
                progress(1)
        columns = tuple(column.name for column in self._profile.columns)
        study = Study(
            self._rows.block.n, self._rows.days, columns, budget, self.horizon, tuple(drifts), results,
            recommended(results, tuple(drifts), budget, self._rows.days, self.horizon),
        )  # fmt: skip
        best = study.results[study.best]
        for drift in (Drift(kind, size) for kind, sizes in POWER.items() for size in sizes):
            for start in self._starts:
                panes = self._injected(drift, start)
                study.power += self._finds(best.variant, cleans[study.best], drift, start, panes)
                progress(1)
        return study

    def trials(self, variants: int, drifts: int) -> int:
        """How many steps `study` reports."""
        sizes = sum(len(sizes) for sizes in POWER.values())
        return 2 * variants + len(self._starts) * (drifts * variants + sizes)

    def _panes(self, rows: Rows) -> Iterator[Pane]:
        return rows.panes(self._counter, 0, rows.ticks.size)

    def _halves(self) -> tuple[Profile, Rows]:
        """A reference from a random half of the rows, and the other half: whatever alarms there is false."""
        rows, n = self._rows, self._rows.block.n
        order = np.random.default_rng(self._seed).permutation(n)
        first, second = taken(rows.block, order[: n // 2]), taken(rows.block, order[n // 2 :])
        counts, _ = self._counter.count(first, np.zeros(first.n, np.int64), 1)
        panes = rows.pane_of(second.n - 1) + 1
        bounds = np.append(rows.bounds[:panes], second.n)
        return self._profile.recounted(counts[0], first.n), Rows(second, rows.pane_ms, rows.ticks[:panes], bounds)

    def _injected(self, drift: Drift, start: int) -> list[Pane]:
        rows = self._rows
        first, last = rows.pane_of(start), rows.pane_of(min(rows.block.n - 1, start + self.horizon - 1)) + 1
        a, b = int(rows.bounds[first]), int(rows.bounds[last])
        block = self._injector.inject(drift, taken(rows.block, slice(a, b)), start - a, self._seed + start)
        return list(rows.panes(self._counter, first, last, block))

    def _finds(self, variant: Variant, run: CleanRun, drift: Drift, start: int, panes: list[Pane]) -> list[Find]:
        first = self._rows.pane_of(start)
        found: dict[str, tuple[int, int]] = {}
        for opening in run_from(self._profile, variant.settings, run.states[first], panes):
            found.setdefault(opening.column, (opening.end, opening.tick))
        began_ms, finds = int(self._rows.block.time_ms[start]), []
        for column in self._injector.columns(drift):
            own = run.next_opening(column, int(self._rows.bounds[first]))
            asked = min(self.horizon, self._rows.block.n - start, (own or self._rows.block.n) - start)
            if column in run.busy[first] or asked <= 0:
                continue
            end, tick = found.get(column, (0, 0))
            mine = column in found and end - start <= asked and (own is None or end < own)
            rows = end - start if mine else None
            ms = None if rows is None else (tick + 1) * self._rows.pane_ms - began_ms
            if rows is None and own is not None:
                continue  # what the rows do by themselves says nothing of the drift
            finds.append(Find(drift, column, asked, rows, ms))
        return finds


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    value = ascending[ceil(share * len(ascending)) - 1] if ascending else inf
    return None if isinf(value) else value


def recommended(results: Sequence[Result], drifts: Sequence[Drift], budget: float, days: float, horizon: int) -> int:
    """Number of the configuration to take.

    Of those that promise at most the budget and, on the rows as they are, raise no more alarms
    than it allows (or, if none does, the fewest of all): the one with the smallest geometric mean
    of median delays, a drift that was not found counting as twice the horizon.
    """
    honest = [i for i, r in enumerate(results) if r.variant.promised is not None and r.variant.promised <= budget]
    candidates = honest or list(range(len(results)))
    allowed = max(budget * days / _WEEK_DAYS, min(results[i].alarms for i in candidates))
    calm = [i for i in candidates if results[i].alarms <= allowed]
    return min(calm, key=lambda i: (mean_delay(results[i], drifts, horizon), results[i].alarms, i))


def mean_delay(result: Result, drifts: Sequence[Drift], horizon: int) -> float:
    """Geometric mean of the drifts' median delays in rows; not found counts as twice the horizon."""
    medians = [result.delays(drift).median_rows for drift in drifts if result.delays(drift).asked]
    return exp(float(np.mean([log(m if m else 2.0 * horizon) for m in medians]))) if medians else float(horizon)

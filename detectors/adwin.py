"""ADWIN on weighted buckets, with long-run variance: a bank of detectors, one per score.

Bifet and Gavaldà (2007), "Learning from time-changing data with adaptive windowing", SDM, pp.
443-448. Row r of the exponential histogram holds buckets of 2^r panes. With one value per pane, no
reference and no long-run variance, alarms are exactly those of river's implementation. For a cut
into n0 older and n1 newer values, W = n0 + n1, v the window's variance, d = ln(2 ln W / delta),
m = 1/(n0 - 4) + 1/(n1 - 4) and V the long-run variance (`driftbus.detectors.longrun`):

    alarm iff |mean0 - mean1| > sqrt(2 m max(v, V) d) + 2/3 d m max(1, 1 + b (V / max(v, w) - 1)),

b being the reach of a score whose tails matter, else 1, and w the variance of the stream alone: until
the first alarm the window begins with the reference as one bucket, which dilutes v. An alarm empties the
window; the reference does not come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import longrun
from driftbus.detectors.adwin_kernel import (
    AFTER_N,
    ALARMS,
    BEFORE_N,
    CONTRAST,
    EPSILON,
    FOUND_FIELDS,
    M2,
    MEAN_AFTER,
    MEAN_BEFORE,
    P_VALUE,
    SEEN,
    SINCE,
    SINCE_HIGH,
    SINCE_LOW,
    TOTAL,
    VARIANCE,
    WIDTH,
    WINDOW_FIELDS,
    long_run_variance,
    long_run_variances,
    step,
)

_ROWS = 8
_MOST_ROWS = 40


@dataclass(frozen=True, slots=True)
class AdwinRules:
    """What the detectors of a bank share; see `driftbus.detectors.settings.Settings`.

    Args:
        clock, buckets, least_side, grace: river's ``clock``, ``max_buckets``,
            ``min_window_length`` and ``grace_period``.
        longrun: whether autocorrelation widens the thresholds.
        alarms: whether it decides; else it only measures means and variances for others.
    """

    clock: int = 32
    buckets: int = 5
    least_side: int = 5
    grace: int = 10
    longrun: bool = True
    alarms: bool = True


@dataclass(frozen=True, slots=True)
class AdwinAlarm:
    """The mean of a score has changed.

    Args:
        score: which.
        statistic, threshold: difference of the means at the cut that exceeds its threshold most, and that.
        p_value: bound on the probability of such a difference without change, at one check; None: unknown.
        before_n, before_mean, after_n, after_mean: the two sides of the most likely cut.
        variance: of a value, or long-run if that is larger.
        since, since_low, since_high: tick of the most likely cut, and of the likely ones.
    """

    score: int
    statistic: float
    threshold: float
    p_value: float | None
    before_n: float
    before_mean: float
    after_n: float
    after_mean: float
    variance: float
    since: int
    since_low: int
    since_high: int


class AdwinBank:
    """s independent detectors that are fed together.

    Args:
        delta: float64[s], significance levels; raising one finds changes earlier and raises
            proportionally more false alarms.
        rules: what they share.
        reference: float64[s] three times, (n, sum, M2) of the reference; the oldest bucket.
        static: float64[s, k, 2], (length, long-run variance) from an ordered reference, 0-padded.
        share: bool[s], scores whose values are only 0 and 1.
        clustered: bool[s], scores for which the variance inside the latest panes counts where it is 1.5 times
            larger: a spell of wide values is no shift.
        reach: float64[s], b, how far values lie from their mean where that counts: Bernstein's range. With
            autocorrelation few excursions make a mean, and those of cubes are far from normal. Raising it finds
            short changes of autocorrelated values later.
    """

    def __init__(
        self,
        delta: NDArray[np.float64],
        rules: AdwinRules | None = None,
        reference: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None,
        static: NDArray[np.float64] | None = None,
        share: NDArray[np.bool_] | None = None,
        clustered: NDArray[np.bool_] | None = None,
        reach: NDArray[np.float64] | None = None,
    ) -> None:
        size, rules = delta.size, rules or AdwinRules()
        self._delta, self._reference = delta, reference
        self._static = np.zeros((size, 1, 2)) if static is None else static
        self._share = np.zeros(size, np.bool_) if share is None else share
        self._clustered = np.zeros(size, np.bool_) if clustered is None else clustered
        self._reach = np.ones(size) if reach is None else reach
        self._rules = np.array(
            [rules.clock, rules.buckets, rules.least_side, rules.grace, rules.longrun, rules.alarms], np.float64
        )
        self._slots = rules.buckets + 1
        self._steps = np.zeros((2 * longrun.SCALES, 2))
        self.found = np.zeros((size, FOUND_FIELDS))
        self.alarmed = np.zeros(size, np.bool_)
        self._n = np.zeros((size, _ROWS, self._slots))
        self._sum = np.zeros((size, _ROWS, self._slots))
        self._tick = np.zeros((size, _ROWS, self._slots), np.int64)
        self._filled = np.zeros((size, _ROWS), np.int64)
        self._rows = np.ones(size, np.int64)
        self._window = np.zeros((size, WINDOW_FIELDS))
        self._scales = np.zeros((size, _ROWS, longrun.FIELDS))
        self._panes = np.zeros(1, np.int64)
        self._unseeded = np.zeros(size, np.bool_) if reference is None else reference[0] > 0

    def update(
        self, tick: int, n: NDArray[np.float64], total: NDArray[np.float64], m2: NDArray[np.float64]
    ) -> list[AdwinAlarm]:
        """Take one pane.

        Args:
            tick: pane number; must increase.
            n, total, m2: float64[s], values of the pane, their sum, and the sum of squares about
                their mean. Scores with n = 0 are left as they are.

        Returns:
            The alarms, in the order of the scores.
        """
        self._panes[0] += 1
        if self._unseeded.any():
            self._seed(n)
        self._grow(int(self._rows.max(initial=1)) + 2, int(self._panes[0]).bit_length() + 1)
        alarms = step(
            tick, n, total, m2, self._n, self._sum, self._tick, self._filled, self._rows, self._window,
            self._scales, self._static, self._delta, self._share, self._clustered, self._reach, self._rules,
            self._steps, self.found, self.alarmed,
        )  # fmt: skip
        return [self._alarm(int(i)) for i in np.flatnonzero(self.alarmed)] if alarms else []

    def allow(self, alarms: bool) -> None:
        """Whether panes from now on may raise alarms; windows and variances grow meanwhile. No part of the state."""
        self._rules[ALARMS] = alarms

    def seen(self, score: int) -> float:
        """Values since the start or the last alarm."""
        return float(self._window[score, SEEN])

    def recent_mean(self, score: int) -> float:
        """Mean of the stream's values since the start or the last alarm; 0 before any."""
        n, total = self._window[score, WIDTH], self._window[score, TOTAL]
        if self._reference is not None and n > self._window[score, SEEN]:
            n, total = n - self._reference[0][score], total - self._reference[1][score]
        return float(total / n) if n > 0 else 0.0

    def variance(self, score: int, n: float) -> float:
        """Variance that a mean of n values has, times n: with autocorrelation more than that of a value."""
        return float(long_run_variance(self._scales, self._static, score, self._window, self._rules, n, self._steps))

    def forget(self, score: int) -> None:
        """Another detector has reported a change of a score: it is not learned as noise."""
        longrun.forget_blocks(self._scales, score)

    def variances(self, n: float, out: NDArray[np.float64]) -> None:
        """Write `variance` of means of n values of every score, float64[s]."""
        long_run_variances(self._scales, self._static, self._window, self._rules, n, self._steps, out)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {
            "n": self._n, "sum": self._sum, "tick": self._tick, "filled": self._filled, "rows": self._rows,
            "window": self._window, "scales": self._scales, "panes": self._panes, "unseeded": self._unseeded,
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        for name in self.arrays():
            setattr(self, f"_{name}", arrays[name])

    def _seed(self, n: NDArray[np.float64]) -> None:
        assert self._reference is not None
        for i in np.flatnonzero(self._unseeded & (n > 0)):
            size, total, m2 = (float(part[i]) for part in self._reference)
            row = 0
            while n[i] * 2.0**row < size:
                row += 1
            self._grow(row + 2, 0)
            self._n[i, row, 0], self._sum[i, row, 0], self._tick[i, row, 0] = size, total, -1
            self._filled[i, row], self._rows[i] = 1, row + 1
            self._window[i, WIDTH], self._window[i, TOTAL], self._window[i, M2] = size, total, m2
            self._unseeded[i] = False

    def _grow(self, rows: int, scales: int) -> None:
        if rows > self._n.shape[1]:
            more = min(_MOST_ROWS, rows + 3) - self._n.shape[1]
            self._n, self._sum, self._tick, self._filled = (
                _padded(array, more) for array in (self._n, self._sum, self._tick, self._filled)
            )
        if self._scales.shape[1] < scales <= longrun.SCALES:
            self._scales = _padded(self._scales, min(longrun.SCALES, scales + 3) - self._scales.shape[1])

    def _alarm(self, i: int) -> AdwinAlarm:
        f = self.found[i]
        return AdwinAlarm(
            score=i,
            statistic=float(f[CONTRAST]),
            threshold=float(f[EPSILON]),
            p_value=float(f[P_VALUE]),
            before_n=float(f[BEFORE_N]),
            before_mean=float(f[MEAN_BEFORE]),
            after_n=float(f[AFTER_N]),
            after_mean=float(f[MEAN_AFTER]),
            variance=float(f[VARIANCE]),
            since=int(f[SINCE]),
            since_low=int(f[SINCE_LOW]),
            since_high=int(f[SINCE_HIGH]),
        )


def _padded(array: NDArray[Any], more: int) -> NDArray[Any]:
    widths = [(0, 0), (0, max(0, more)), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, widths)

"""Cumulative sums of pane scores: CUSUM against the reference's mean, Page-Hinkley against the stream's own.

Page (1954), "Continuous inspection schemes", Biometrika 41, 100-115; Hinkley (1971), "Inference about
the change-point from cumulative sum tests", Biometrika 58, 509-523. Two-sided; per pane of n values
with sum t, mean m before, and V the larger of the reference's and the long-run variance:

    S <- max(0, S ± (t - n m) / sqrt(V) - n (k + h / M)),    alarm iff S > h.

k is the drift allowance in standard deviations. h gives the average run length that the level asks
for: Siegmund (1985), "Sequential Analysis", (e^(theta b) - theta b - 1) / (theta k), b = h + 1.166,
theta being Lundberg's exponent of the score's own reference law (2 k for normal values), so that
skewed shares keep the level. h / M makes up for a mean that is only known from M values: the false
alarms, averaged over its error, are those of the true mean. Known bias: panes reset S less
often than single values do, so that run lengths are longer than promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import expm1
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank
from driftbus.detectors.profile import Profile
from driftbus.detectors.scores import score_table
from driftbus.detectors.settings import Settings
from driftbus.schemas.kernel import kernel

ALLOWANCE = 0.125
"""k: half of the smallest shift, in standard deviations, that is to be found."""

OVERSHOOT = 1.166

_LENGTH = 2_000.0  # the long-run variance is that of means of so many values: about h / k
_MOST_EXPONENT = 4.0


class CusumBank:
    """s pairs of sums that are fed together.

    Args:
        running: whether sums are taken about the stream's running mean, which begins as the
            reference's and again at each alarm (Page-Hinkley), or about the reference's.
        reference: float64[3, s], (n, mean, variance) of the reference.
        limit: float64[s, 2 or 3], h upwards and downwards, and that of normal values; see `cusum_reference`.
            Sums about the running mean take at least the last: after a change the reference's law is history.
        variances: gives the variance that means have, times their number of values.

    Attributes:
        alarmed: bool[s], those of the last update.
    """

    def __init__(
        self,
        running: bool,
        reference: NDArray[np.float64],
        limit: NDArray[np.float64],
        variances: AdwinBank,
    ) -> None:
        size, least = limit.shape[0], limit[:, 2:].max(axis=1, initial=0.0, keepdims=True) if running else 0.0
        self._running, self._limit, self._bank = running, np.maximum(limit[:, :2], least), variances
        self._reference_n, self._reference_mean, self._reference_variance = reference
        self._sums = np.zeros((size, 2))
        self._since = np.zeros((size, 2, 2))  # values since the sum was 0, and their sum
        self._ticks = np.full((size, 2, 3), -1, np.int64)  # last zero, the one before, first tick beyond half of h
        self._mean = np.zeros((size, 2))  # values that the running mean is made of, and their sum
        if running:
            self._mean[:, 0], self._mean[:, 1] = self._reference_n, self._reference_n * self._reference_mean
        self._seen = np.zeros(size)
        self._found = np.zeros((size, 6))
        self._variance = np.zeros(size)
        self.alarmed = np.zeros(size, np.bool_)

    def update(self, tick: int, n: NDArray[np.float64], total: NDArray[np.float64]) -> list[AdwinAlarm]:
        """Take one pane.

        Args:
            tick: pane number; must increase.
            n, total: float64[s], values of the pane and their sum. Scores with n = 0 are left as they are.

        Returns:
            The alarms, in the order of the scores; p-values are None.
        """
        self._bank.variances(_LENGTH, self._variance)
        alarms = _step(
            tick, n, total, self._variance, self._running, self._reference_n, self._reference_mean,
            self._reference_variance, self._limit, self._sums, self._since, self._ticks, self._mean, self._seen,
            self._found, self.alarmed,
        )  # fmt: skip
        return [self._alarm(int(i)) for i in np.flatnonzero(self.alarmed)] if alarms else []

    def seen(self, score: int) -> float:
        """Values since the start or the last alarm."""
        return float(self._seen[score])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"sums": self._sums, "since": self._since, "ticks": self._ticks, "mean": self._mean, "seen": self._seen}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        for name in self.arrays():
            setattr(self, f"_{name}", arrays[name])

    def _alarm(self, i: int) -> AdwinAlarm:
        side, before_n, before_mean, after_n, after_mean, variance = self._found[i].tolist()
        last, previous, half = self._ticks[i, int(side)].tolist()
        statistic = float(self._sums[i, int(side)])
        self._sums[i] = 0.0
        self._bank.forget(i)
        return AdwinAlarm(
            score=i,
            statistic=statistic,
            threshold=float(self._limit[i, int(side)]),
            p_value=None,
            before_n=before_n,
            before_mean=before_mean,
            after_n=after_n,
            after_mean=after_mean,
            variance=variance,
            since=last,
            since_low=previous if previous >= 0 else last,
            since_high=max(last, half),
        )


@kernel
def exponent(values: NDArray[np.float64], share: NDArray[np.float64], allowance: float) -> float:
    """Lundberg's exponent theta > 0: the mean of e^(theta (x - allowance)) is 1.

    Args:
        values: float64[k], values of mean 0 and variance 1.
        share: float64[k], how often each comes.
        allowance: k.

    Returns:
        About 2 k for normal values, less for values skewed upwards; at most 4.
    """
    low, high = 0.0, _MOST_EXPONENT
    for _ in range(50):
        theta, mean = (low + high) / 2, 0.0
        for i in range(values.size):
            if share[i] > 0:
                mean += share[i] * np.exp(theta * (values[i] - allowance))
        if mean > 1:
            high = theta
        else:
            low = theta
    return low


def limit_of(run_length: float, theta: float, allowance: float = ALLOWANCE) -> float:
    """h with which one side alarms once in `run_length` values without drift.

    Args:
        run_length: values; doubling it raises h by ln 2 / theta.
        theta: see `exponent`.
        allowance: k.
    """
    low, high = 0.0, 700 / theta
    for _ in range(80):
        b = (low + high) / 2
        if (expm1(min(theta * b, 700.0)) - theta * b) / (theta * allowance) < run_length:
            low = b
        else:
            high = b
    return max(1.0, high - OVERSHOOT)


@lru_cache(maxsize=256)
def cusum_reference(profile: Profile, settings: Settings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, mean, variance) of each score, float64[3, s], and h upwards, downwards, of normal values, float64[s, 3].

    A column's level is divided among its scores and sides (Bonferroni). Shares get half a count, so
    that what never came before has a variance.
    """
    table, counts = score_table(profile, settings), profile.reference_counts()
    size, per_column = len(table.scores), np.bincount(table.column)
    reference, limit = np.zeros((3, size)), np.ones((size, 3))
    for i, score in enumerate(table.scores):
        entries = slice(int(table.start[i]), int(table.start[i + 1]))
        n, values, held = table.ref_n[i], table.value[entries], counts[table.cell[entries]].astype(np.float64)
        if n <= 0:
            continue
        if score.is_share:
            p = (held.sum() + 0.5) / (n + 1)
            values, share = np.array([1.0, 0.0]), np.array([p, 1 - p])
        else:
            share = held / n
        mean = float(np.sum(share * values))
        variance = float(np.sum(share * (values - mean) ** 2))
        reference[:, i] = n, mean, variance
        if variance > 0:
            run_length = 2 * per_column[score.column] * settings.divisor / settings.cusum_rate
            limit[i, 2] = limit_of(run_length, 2 * ALLOWANCE)
            for side, sign in enumerate((1.0, -1.0)):
                theta = exponent(sign * (values - mean) / np.sqrt(variance), share, ALLOWANCE)
                limit[i, side] = limit_of(run_length, theta)
    return reference, limit


@kernel
def _step(
    tick: int,
    n: NDArray[np.float64],
    total: NDArray[np.float64],
    variance: NDArray[np.float64],
    running: bool,
    reference_n: NDArray[np.float64],
    reference_mean: NDArray[np.float64],
    reference_variance: NDArray[np.float64],
    limit: NDArray[np.float64],
    sums: NDArray[np.float64],
    since: NDArray[np.float64],
    ticks: NDArray[np.int64],
    means: NDArray[np.float64],
    seen: NDArray[np.float64],
    found: NDArray[np.float64],
    alarmed: NDArray[np.bool_],
) -> int:
    alarms = 0
    for i in range(n.size):
        alarmed[i] = False
        if n[i] <= 0 or reference_variance[i] <= 0:
            continue
        size, mean = reference_n[i], reference_mean[i]
        if running:
            size = means[i, 0]
            mean = means[i, 1] / size if size > 0 else 0.0
        v = max(reference_variance[i], variance[i])
        seen[i] += n[i]
        for side in range(2):
            if size <= 0:
                break
            h = limit[i, side]
            step = (total[i] - n[i] * mean) / np.sqrt(v)
            step = (step if side == 0 else -step) - n[i] * (ALLOWANCE + h / size)
            if sums[i, side] <= 0:
                ticks[i, side, 1], ticks[i, side, 0], ticks[i, side, 2] = ticks[i, side, 0], tick, -1
                since[i, side, 0] = since[i, side, 1] = 0.0
            since[i, side, 0] += n[i]
            since[i, side, 1] += total[i]
            sums[i, side] = max(0.0, sums[i, side] + step)
            if sums[i, side] > 0.5 * h and ticks[i, side, 2] < 0:
                ticks[i, side, 2] = tick
            if sums[i, side] > h and not alarmed[i]:
                alarmed[i] = True
                alarms += 1
                found[i, 0], found[i, 1], found[i, 2], found[i, 5] = side, size, mean, v
                found[i, 3], found[i, 4] = since[i, side, 0], since[i, side, 1] / since[i, side, 0]
        if running:
            if alarmed[i]:
                means[i, 0] = means[i, 1] = 0.0
            means[i, 0] += n[i]
            means[i, 1] += total[i]
        if alarmed[i]:
            seen[i] = 0.0
    return alarms

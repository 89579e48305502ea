"""The compiled inner loops of `driftbus.detectors.adwin`."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.longrun import at, forget_blocks, learn, steps
from driftbus.schemas.kernel import kernel

WIDTH, TOTAL, M2, SEEN, OWN_TOTAL, OWN_M2, START, RECENT_M2, RECENT_DEGREES = range(9)
"""Fields of a window: values (reference included), their sum and M2; values of the stream since the
start or the last alarm, their sum and M2; their first tick; M2 inside the latest panes and its degrees of freedom."""
WINDOW_FIELDS = 9

CONTRAST, EPSILON, P_VALUE, BEFORE_N, MEAN_BEFORE, AFTER_N, MEAN_AFTER, VARIANCE = range(8)
SINCE, SINCE_LOW, SINCE_HIGH = range(8, 11)
"""Fields of an alarm."""
FOUND_FIELDS = 11

CLOCK, BUCKETS, LEAST_SIDE, GRACE, LONGRUN, ALARMS = range(6)

_RECENT_VALUES, _LEAST_RECENT, _RECENT_RISE = 128.0, 64.0, 1.5
"""Memory of the recent variance, degrees of freedom and factor above the whole variance from which it counts."""

_LIKELY = 8.0
"""Cuts whose squared standardised contrast is so near to the largest one's are likely as well."""


@kernel
def step(
    tick: int,
    n: NDArray[np.float64],
    total: NDArray[np.float64],
    m2: NDArray[np.float64],
    bucket_n: NDArray[np.float64],
    bucket_sum: NDArray[np.float64],
    bucket_tick: NDArray[np.int64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.float64],
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    delta: NDArray[np.float64],
    share: NDArray[np.bool_],
    clustered: NDArray[np.bool_],
    reach: NDArray[np.float64],
    rules: NDArray[np.float64],
    scratch: NDArray[np.float64],
    found: NDArray[np.float64],
    alarmed: NDArray[np.bool_],
) -> int:
    """One pane of all scores; returns the number of alarms and marks them."""
    alarms = 0
    for i in range(n.size):
        alarmed[i] = False
        if n[i] <= 0:
            continue
        checks = window[i, SEEN] // rules[CLOCK]
        _insert(tick, i, n[i], total[i], m2[i], bucket_n, bucket_sum, bucket_tick, filled, rows, window, rules)
        v, w = _variances(window, i)
        if rules[LONGRUN]:
            learn(scales, i, n[i], total[i], max(v, w), not share[i])
        if clustered[i]:
            _remember(window, i, n[i], m2[i])
        if not rules[ALARMS] or window[i, SEEN] // rules[CLOCK] == checks or window[i, WIDTH] <= rules[GRACE] or v <= 0:
            continue
        count = steps(scales, static, i, max(v, w), scratch) if rules[LONGRUN] else 0
        if clustered[i] and rules[LONGRUN]:
            v = max(v, _recent_variance(window, i, max(v, w)))
        if _check(
            i, v, max(v, w), bucket_n, bucket_sum, filled, rows, window, delta[i], reach[i], rules, scratch, count,
            found,
        ):  # fmt: skip
            _locate(
                tick, i, v, max(v, w), bucket_n, bucket_sum, bucket_tick, filled, rows, window,
                share[i], rules, scratch, count, found,
            )  # fmt: skip
            _empty(i, bucket_n, bucket_sum, bucket_tick, filled, rows, window)
            forget_blocks(scales, i)
            alarmed[i] = True
            alarms += 1
    return alarms


@kernel
def long_run_variance(
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    i: int,
    window: NDArray[np.float64],
    rules: NDArray[np.float64],
    n: float,
    scratch: NDArray[np.float64],
) -> float:
    """The larger of a value's variance and the long-run variance of means of n values."""
    v, w = _variances(window, i)
    largest = max(v, w)
    if rules[LONGRUN]:
        largest = max(largest, at(scratch, steps(scales, static, i, max(v, w), scratch), n, n))
    return largest


@kernel
def long_run_variances(
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    window: NDArray[np.float64],
    rules: NDArray[np.float64],
    n: float,
    scratch: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """`long_run_variance` of every score."""
    for i in range(out.size):
        out[i] = long_run_variance(scales, static, i, window, rules, n, scratch)


@kernel
def _variances(window: NDArray[np.float64], i: int) -> tuple[float, float]:
    v = window[i, M2] / window[i, WIDTH] if window[i, WIDTH] > 0 else 0.0
    w = window[i, OWN_M2] / window[i, SEEN] if window[i, SEEN] > 0 else 0.0
    return v, w


@kernel
def _remember(window: NDArray[np.float64], i: int, n: float, m2: float) -> None:
    kept = exp(-n / _RECENT_VALUES)
    window[i, RECENT_M2] = kept * window[i, RECENT_M2] + m2
    window[i, RECENT_DEGREES] = kept * window[i, RECENT_DEGREES] + n - 1


@kernel
def _recent_variance(window: NDArray[np.float64], i: int, base: float) -> float:
    """Variance inside the latest panes where that is significantly larger than `base`, else 0."""
    if window[i, RECENT_DEGREES] < _LEAST_RECENT:
        return 0.0
    recent = window[i, RECENT_M2] / window[i, RECENT_DEGREES]
    return recent if recent > _RECENT_RISE * base else 0.0


@kernel
def _insert(
    tick: int,
    i: int,
    n: float,
    total: float,
    m2: float,
    bucket_n: NDArray[np.float64],
    bucket_sum: NDArray[np.float64],
    bucket_tick: NDArray[np.int64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.float64],
    rules: NDArray[np.float64],
) -> None:
    width, seen = window[i, WIDTH], window[i, SEEN]
    if width > 0:  # this order of operations is river's
        d = total / n - window[i, TOTAL] / width
        window[i, M2] += width * n * d * d / (width + n)
    window[i, M2] += m2
    window[i, WIDTH] += n
    window[i, TOTAL] += total
    if seen > 0:
        d = total / n - window[i, OWN_TOTAL] / seen
        window[i, OWN_M2] += seen * n * d * d / (seen + n)
    else:
        window[i, START] = tick
    window[i, OWN_M2] += m2
    window[i, SEEN] += n
    window[i, OWN_TOTAL] += total
    k, r, most = filled[i, 0], 0, int(rules[BUCKETS])
    bucket_n[i, 0, k], bucket_sum[i, 0, k], bucket_tick[i, 0, k] = n, total, tick
    filled[i, 0] = k + 1
    while filled[i, r] == most + 1:
        k = filled[i, r + 1]
        bucket_n[i, r + 1, k] = bucket_n[i, r, 0] + bucket_n[i, r, 1]
        bucket_sum[i, r + 1, k] = bucket_sum[i, r, 0] + bucket_sum[i, r, 1]
        bucket_tick[i, r + 1, k] = bucket_tick[i, r, 0]
        filled[i, r + 1] = k + 1
        for j in range(most + 1):
            kept = j + 2 <= most
            bucket_n[i, r, j] = bucket_n[i, r, j + 2] if kept else 0.0
            bucket_sum[i, r, j] = bucket_sum[i, r, j + 2] if kept else 0.0
            bucket_tick[i, r, j] = bucket_tick[i, r, j + 2] if kept else 0
        filled[i, r] -= 2
        r += 1
        rows[i] = max(rows[i], r + 1)


@kernel
def _empty(
    i: int,
    bucket_n: NDArray[np.float64],
    bucket_sum: NDArray[np.float64],
    bucket_tick: NDArray[np.int64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.float64],
) -> None:
    for r in range(rows[i]):
        filled[i, r] = 0
        for k in range(bucket_n.shape[2]):
            bucket_n[i, r, k], bucket_sum[i, r, k], bucket_tick[i, r, k] = 0.0, 0.0, 0
    rows[i] = 1
    for k in range(window.shape[1]):
        window[i, k] = 0


@kernel
def _check(
    i: int,
    v: float,
    base: float,
    bucket_n: NDArray[np.float64],
    bucket_sum: NDArray[np.float64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.float64],
    delta: float,
    reach: float,
    rules: NDArray[np.float64],
    scratch: NDArray[np.float64],
    count: int,
    found: NDArray[np.float64],
) -> bool:
    least, d = rules[LEAST_SIDE], log(2 * log(window[i, WIDTH]) / delta)
    n0, n1, sum0, sum1, worst = 0.0, window[i, WIDTH], 0.0, window[i, TOTAL], 1.0
    for r in range(rows[i] - 1, -1, -1):
        for k in range(filled[i, r]):
            n0 += bucket_n[i, r, k]
            n1 -= bucket_n[i, r, k]
            sum0 += bucket_sum[i, r, k]
            sum1 -= bucket_sum[i, r, k]
            if n1 < least or n0 < least or (r == 0 and k == filled[i, 0] - 1):
                continue
            contrast = abs(sum0 / n0 - sum1 / n1)
            m = 1 / (n0 - least + 1) + 1 / (n1 - least + 1)
            if contrast * contrast <= 2 * m * v * d:
                continue  # below the first term alone, without autocorrelation
            long_run = at(scratch, count, n0, n1) if count else 0.0
            variance, range_ = max(v, long_run), max(1.0, 1 + reach * (long_run / base - 1))
            epsilon = sqrt(2 * m * variance * d) + 2 / 3 * d * m * range_
            if contrast > worst * epsilon:
                worst = contrast / epsilon
                a, b = 2 / 3 * m * range_, sqrt(2 * m * variance)
                root = (sqrt(b * b + 4 * a * contrast) - b) / (2 * a)
                found[i, CONTRAST], found[i, EPSILON] = contrast, epsilon
                found[i, P_VALUE] = min(1.0, 2 * log(window[i, WIDTH]) * exp(-root * root))
    return worst > 1.0


@kernel
def _likelihood_ratio(n0: float, sum0: float, n1: float, sum1: float) -> float:
    """Twice the log-likelihood ratio of two shares against one (G statistic)."""
    n, k, g = n0 + n1, sum0 + sum1, 0.0
    for size, hits in ((n0, sum0), (n1, sum1)):
        for observed, expected in ((hits, size * k / n), (size - hits, size * (n - k) / n)):
            if observed > 0 and expected > 0:
                g += 2 * observed * log(observed / expected)
    return g


@kernel
def _locate(
    tick: int,
    i: int,
    v: float,
    base: float,
    bucket_n: NDArray[np.float64],
    bucket_sum: NDArray[np.float64],
    bucket_tick: NDArray[np.int64],
    filled: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.float64],
    share: bool,
    rules: NDArray[np.float64],
    scratch: NDArray[np.float64],
    count: int,
    found: NDArray[np.float64],
) -> None:
    """The most likely cut, and the ticks between which nearly as likely ones lie.

    The measure is the squared standardised contrast; for shares, whose variance changes with
    them, the likelihood ratio.
    """
    best = -1.0
    for search in range(2):  # first the best cut, then those that are nearly as good
        n0, n1, sum0, sum1 = 0.0, window[i, WIDTH], 0.0, window[i, TOTAL]
        older, lowest, passed = window[i, START], -1.0, False
        for r in range(rows[i] - 1, -1, -1):
            for k in range(filled[i, r]):
                first = max(float(bucket_tick[i, r, k]), window[i, START])
                likely = False
                if n0 >= rules[LEAST_SIDE] and n1 >= rules[LEAST_SIDE]:
                    long_run = at(scratch, count, n0, n1) if count else 0.0
                    mean0, mean1, variance = sum0 / n0, sum1 / n1, max(v, long_run)
                    if share:
                        z = _likelihood_ratio(n0, sum0, n1, sum1) / max(1.0, long_run / base)
                    else:
                        z = (mean0 - mean1) * (mean0 - mean1) / (variance * (1 / n0 + 1 / n1))
                    likely = z >= best - _LIKELY
                    if search == 0 and z > best:
                        best = z
                        found[i, BEFORE_N], found[i, MEAN_BEFORE] = n0, mean0
                        found[i, AFTER_N], found[i, MEAN_AFTER] = n1, mean1
                        found[i, VARIANCE], found[i, SINCE] = variance, first
                if search == 1:
                    if passed:
                        found[i, SINCE_HIGH], passed = first, False
                    if likely:
                        if lowest < 0:
                            lowest = older
                            found[i, SINCE_LOW] = lowest
                        found[i, SINCE_HIGH], passed = float(tick), True
                older = first
                n0 += bucket_n[i, r, k]
                n1 -= bucket_n[i, r, k]
                sum0 += bucket_sum[i, r, k]
                sum1 -= bucket_sum[i, r, k]

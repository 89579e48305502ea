"""How many different values a column is expected to show among so many: rarefaction of reference rows.

Of M reference values, of which value v occurs m_v times, n drawn without replacement hold v with
probability q_v = 1 - C(M - m_v, n) / C(M, n); their sum is the expected number of different values
(Hurlbert, 1971, "The nonconcept of species diversity"), an unbiased estimate for n draws of the
stream. The draws are negatively associated, so the variance is at most the sum of q_v (1 - q_v).
"""

from __future__ import annotations

from math import lgamma

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Distinct

WINDOW = 1_000
"""Values of a window; half of the reference when that is smaller."""

_LEAST_VALUES = 500


def distinct_of(codes: NDArray[np.int64], *, ordered: bool) -> Distinct | None:
    """What windows of a column's reference hold; None with fewer than 500 values.

    Args:
        codes: int64[M], equal for equal values.
        ordered: whether they are in time order; then windows of successive values and the longest run are looked
            at as well, because autocorrelated values repeat more than a random draw of them.
    """
    m = codes.size
    if m < _LEAST_VALUES:
        return None
    n = min(WINDOW, m // 2)
    _, times = np.unique(codes, return_counts=True)
    sizes, number = np.unique(times, return_counts=True)
    seen = np.array([1 - _none_drawn(m, int(size), n) for size in sizes])
    expected, variance = float((number * seen).sum()), float((number * seen * (1 - seen)).sum())
    least = greatest = expected
    run = 0
    if ordered:
        found = [np.unique(codes[at : at + n]).size for at in range(0, m - n + 1, max(1, n // 2))]
        least, greatest = min(expected, float(min(found))), max(expected, float(max(found)))
        ends = np.flatnonzero(np.concatenate((np.diff(codes) != 0, [True])))
        run = int(np.diff(np.concatenate(([-1], ends))).max())
    top = float(times.max()) / m
    return Distinct(n, round(expected, 6), round(variance, 6), round(least, 6), round(greatest, 6), round(top, 9), run)


def _none_drawn(m: int, size: int, n: int) -> float:
    """Probability that n of m values, drawn without replacement, are none of `size`."""
    if m - size < n:
        return 0.0
    return float(np.exp(lgamma(m - size + 1) - lgamma(m - size - n + 1) - lgamma(m + 1) + lgamma(m - n + 1)))

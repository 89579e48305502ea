"""Design effect of the mean of vectors: how much more successive rows' means vary than independent rows'.

The rule of `driftbus.detectors.longrun` and `driftbus.detectors.design` for vectors: with t the sum of
their coordinates' variances, adjacent blocks of 2^j panes give

    q = |mean_a - mean_b|² / (t (1/n_a + 1/n_b)),

whose expectation is 1 where rows are independent. D_j is the mean of q at scale j, and 2 D_j² / var(q)
the degrees of freedom that autocorrelation leaves (Satterthwaite).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PENDING, _PREVIOUS = 0, 1
_PAIRS, _TOTAL, _SQUARES, _LENGTH = range(4)
_SCALES = 16
_PRIOR_PAIRS, _CLIP, _MEMORY, _LEAST_PAIRS, _SIGNIFICANCE = 2.0, 4.0, 1_000.0, 4.0, 4.0


class Haar:
    """The contrasts of one series of vectors.

    Args:
        k: coordinates.
        variance: t.
        freedom: degrees of freedom of a contrast of independent rows.
    """

    def __init__(self, k: int, variance: float, freedom: float) -> None:
        self._k, self._variance, self._freedom = k, variance, freedom
        self._moments = np.zeros((_SCALES, 4))
        self._sizes = np.zeros((_SCALES, 2))
        self._sums = np.zeros((_SCALES, 2 * self._k))

    def learn(self, n: float, total: NDArray[np.float64]) -> None:
        """Take one block.

        Args:
            n: its rows.
            total: float64[k], sum of their vectors.
        """
        k = self._k
        for j in range(_SCALES):
            sums, sizes = self._sums[j].reshape(2, k), self._sizes[j]
            if sizes[_PREVIOUS] > 0:
                difference = total / n - sums[_PREVIOUS] / sizes[_PREVIOUS]
                square = float((difference * difference).sum())
                self._take(j, square / (self._variance * (1 / n + 1 / float(sizes[_PREVIOUS]))))
            sizes[_PREVIOUS], sums[_PREVIOUS] = n, total
            self._moments[j, _LENGTH] = n
            if sizes[_PENDING] == 0:
                sizes[_PENDING], sums[_PENDING] = n, total
                return
            n, total = n + float(sizes[_PENDING]), total + sums[_PENDING]
            sizes[_PENDING] = 0

    def forget_blocks(self) -> None:
        """A reported change is not learned."""
        self._sizes[...] = 0

    def design(self, n: float) -> tuple[float, float]:
        """(D, degrees of freedom) of the mean of n rows; (1, all of them) where rows are independent."""
        design, freedom, highest, fewest = 1.0, self._freedom, 1.0, self._freedom
        for pairs, total, squares, length in self._moments.tolist():
            if pairs < _LEAST_PAIRS:
                continue
            mean = total / pairs
            if mean <= highest or mean <= 1 + _SIGNIFICANCE * np.sqrt(3 / (pairs * self._freedom)):
                continue
            variance = squares / pairs - mean * mean
            highest = mean
            fewest = min(fewest, max(1.0, 2 * mean * mean / variance) if variance > 0 else fewest)
            here = mean * min(1.0, n / length)
            if here > design:
                design, freedom = here, fewest
        return design, freedom

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"moments": self._moments, "sizes": self._sizes, "sums": self._sums}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._moments, self._sizes, self._sums = arrays["moments"], arrays["sizes"], arrays["sums"]

    def _take(self, j: int, q: float) -> None:
        moments = self._moments[j]
        prior = 1.0
        if j > 0:
            before = self._moments[j - 1]
            prior = float((before[_TOTAL] + _PRIOR_PAIRS) / (before[_PAIRS] + _PRIOR_PAIRS))
        estimate = float((moments[_TOTAL] + _PRIOR_PAIRS * prior) / (moments[_PAIRS] + _PRIOR_PAIRS))
        q = min(q, _CLIP * estimate)
        if moments[_PAIRS] >= _MEMORY:
            moments[:_LENGTH] *= 1 - 1 / _MEMORY
        moments[:_LENGTH] += (1.0, q, q * q)

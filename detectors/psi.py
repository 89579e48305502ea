"""The population stability index over sliding windows, calibrated.

T = PSI / ((1/N + 1/M) D) has, without drift, about the chi-squared distribution with k - 1 degrees
of freedom, D being the design effect, learned by `driftbus.detectors.design` from the chi-squared
statistics between adjacent blocks. Where D > 1, T has fewer degrees of freedom, stretched to mean k - 1.

An alarm opens where T exceeds the quantile and the index its least effect; it closes below half of
either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri

from driftbus.detectors.design import GRID, DesignEffects, design_of, forget_blocks, interpolated, learn_design
from driftbus.detectors.nulls import QUADRATIC
from driftbus.schemas.kernel import kernel

INDEX, STATISTIC, THRESHOLD, DESIGN, FREEDOM = range(5)
"""Fields of a judgement."""

CURVE = 32
"""Indices that a column's curve holds."""


def coarse_bins(counts: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """Coarse bin of each fine cell: bins of nearly equal mass, by the mid-rank of the cell.

    Empty cells (under- and overflow, unseen) join a neighbour: a bin without reference values
    would be a rate, which has a detector of its own, and spoil the chi-squared approximation.

    Args:
        counts: int64[k], reference counts in order.
        bins: most coarse bins.

    Returns:
        int64[k], from 0, without gaps.
    """
    held = counts > 0
    share = counts[held] / max(1, counts.sum())
    rank = np.cumsum(share) - share / 2
    coarse = np.unique(np.minimum((rank * bins).astype(np.int64), bins - 1), return_inverse=True)[1]
    before = np.cumsum(held) - 1  # index, among the cells held, of the last one up to here
    return np.asarray(coarse[np.maximum(before, 0)] if coarse.size else np.zeros(counts.size), np.int64)


class PsiBank:
    """The index of c columns over w windows.

    Args:
        reference: per column, float64[k], reference counts on its coarse bins; columns with fewer
            than two bins or no values are never judged.
        windows: number of windows.
        alpha: level of one judgement.
        least: no alarm below this index.
        static: float64[c, s, 3], (length, D, degrees of freedom) from an ordered reference, 0-padded.

    Attributes:
        judgement: float64[w, c, 5], latest index, T, threshold, D, degrees of freedom.
        curve: float64[c, 32], latest indices of the first window, a ring; `latest` gives them in order.
        open: bool[w, c], alarms that are on.
        opened: bool[w, c], those that the last update turned on.
    """

    def __init__(
        self,
        reference: list[NDArray[np.float64]],
        windows: int,
        alpha: float,
        least: float,
        static: NDArray[np.float64] | None = None,
    ) -> None:
        columns = len(reference)
        widest = max((r.size for r in reference), default=1)
        self._bins = np.array([r.size if r.sum() > 0 else 0 for r in reference], np.int64)
        self._m = np.array([r.sum() for r in reference], np.float64)
        self._share = np.zeros((columns, widest))
        for c, counts in enumerate(reference):
            self._share[c, : counts.size] = counts / max(1.0, float(counts.sum()))
        self._design = DesignEffects(columns, widest, static)
        # the quantile as a function of the degrees of freedom, for the kernel to interpolate
        freedom = 1 + np.arange(GRID * max(1, widest - 1) + 1) / GRID
        self._quantiles = chdtri(freedom, alpha)
        self._least = least
        self.judgement = np.zeros((windows, columns, 5))
        self.curve = np.zeros((columns, CURVE))
        self._points = np.zeros(columns, np.int64)
        self.open = np.zeros((windows, columns), np.bool_)
        self.opened = np.zeros((windows, columns), np.bool_)

    def update(
        self,
        n: NDArray[np.float64],
        counts: NDArray[np.float64],
        start: NDArray[np.int64],
        judged: NDArray[np.bool_],
        window_n: NDArray[np.float64],
        window_counts: NDArray[np.float64],
    ) -> int:
        """Take one pane, and judge the windows that moved.

        Args:
            n: float64[>= c], values of the pane.
            counts: float64[>= total], their coarse counts; those of column c begin at start[c].
            start: int64[>= c + 1].
            judged: bool[w, >= c], windows to judge.
            window_n, window_counts: float64[w, >= c], float64[w, >= total], what they hold.

        Returns:
            Number of alarms opened.
        """
        self._design.begin_pane()
        count = _step(
            n, counts, start, judged, window_n, window_counts, self._bins, self._m, self._share, self._design.static,
            self._quantiles, self._least, self._design.moments, self._design.blocks, self.judgement, self.open,
            self.opened, self.curve, self._points,
        )  # fmt: skip
        return int(count)

    def p_value(self, window: int, column: int) -> float:
        """Probability of the latest T, or a larger one, without drift."""
        _, t, _, _, freedom = self.judgement[window, column]
        return float(chdtrc(freedom, t * freedom / max(1, self._bins[column] - 1)))

    def corrected(self, window: int, column: int, n: float) -> float:
        """The latest index without its bias, (k - 1)(1/N + 1/M) D; at least 0."""
        index, _, _, design, _ = self.judgement[window, column]
        bias = max(0, int(self._bins[column]) - 1) * (1 / n + 1 / self._m[column]) * design
        return float(max(0.0, index - bias))

    def standard_error(self, window: int, column: int, n: float) -> float:
        """Of `corrected`: the index is a multiple of a noncentral chi-squared variable."""
        scale = (1 / n + 1 / self._m[column]) * self.judgement[window, column, DESIGN]
        beyond = self.corrected(window, column, n) / scale
        return float(scale * np.sqrt(2 * max(1, int(self._bins[column]) - 1) + 4 * beyond))

    def latest(self, column: int) -> tuple[float, ...]:
        """The latest indices of the first window, at most 32, oldest first."""
        end = int(self._points[column])
        return tuple(round(float(self.curve[column, i % CURVE]), 6) for i in range(max(0, end - CURVE), end))

    def most_likely_start(self, column: int, buckets: NDArray[np.float64]) -> int:
        """Index of the bucket from which on the counts differ most from the reference.

        Args:
            column: which.
            buckets: float64[b, k], coarse counts, oldest first.
        """
        share = self._share[column, : self._bins[column]]
        tail = np.cumsum(buckets[::-1], axis=0)[::-1]
        size = tail.sum(axis=1)
        distance = ((tail / size[:, None] - share) ** 2 / np.maximum(share, 1e-4)).sum(axis=1)
        return int(np.argmax(size * distance))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        own = {"judgement": self.judgement, "open": self.open, "curve": self.curve, "points": self._points}
        return self._design.arrays() | own

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._design.restore(arrays)
        for name in ("judgement", "open", "curve", "points"):
            self.arrays()[name][...] = arrays[name]


@kernel
def _step(
    n: NDArray[np.float64],
    counts: NDArray[np.float64],
    start: NDArray[np.int64],
    judged: NDArray[np.bool_],
    window_n: NDArray[np.float64],
    window_counts: NDArray[np.float64],
    bins: NDArray[np.int64],
    m: NDArray[np.float64],
    share: NDArray[np.float64],
    static: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    least: float,
    moments: NDArray[np.float64],
    blocks: NDArray[np.float64],
    judgement: NDArray[np.float64],
    is_open: NDArray[np.bool_],
    opened: NDArray[np.bool_],
    curve: NDArray[np.float64],
    points: NDArray[np.int64],
) -> int:
    alarms = 0
    block = np.zeros(share.shape[1])
    for c in range(bins.size):
        k = bins[c]
        for w in range(judged.shape[0]):
            opened[w, c] = False
        if k < 2 or n[c] <= 0:
            continue
        for b in range(k):
            block[b] = counts[start[c] + b]
        learn_design(moments, blocks, c, block, k, share, QUADRATIC, k - 1.0)
        for w in range(judged.shape[0]):
            if not judged[w, c]:
                continue
            size = window_n[w, c]
            design, freedom = design_of(moments, static, c, k - 1.0, size)
            index = 0.0
            for b in range(k):
                p = (share[c, b] * m[c] + 0.5) / (m[c] + 0.5 * k)
                q = (max(window_counts[w, start[c] + b], 0.0) + 0.5) / (size + 0.5 * k)
                index += (q - p) * np.log(q / p)
            statistic = index / ((1 / size + 1 / m[c]) * design)
            threshold = interpolated(quantiles, freedom) * ((k - 1) / freedom)
            judgement[w, c, INDEX], judgement[w, c, STATISTIC], judgement[w, c, THRESHOLD] = index, statistic, threshold
            judgement[w, c, DESIGN], judgement[w, c, FREEDOM] = design, freedom
            if w == 0:
                curve[c, points[c] % curve.shape[1]] = index
                points[c] += 1
            if not is_open[w, c] and statistic > threshold and index >= least:
                is_open[w, c], opened[w, c] = True, True
                alarms += 1
                forget_blocks(moments, c)
            elif is_open[w, c] and (statistic < 0.5 * threshold or index < 0.5 * least):
                is_open[w, c] = False
    return alarms

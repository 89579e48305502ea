"""Distances of sliding windows from the reference, calibrated: KS, Jensen-Shannon, Hellinger, Wasserstein, chi2, TV.

With T the distance (for chi2 its root) and `driftbus.detectors.nulls` its law without drift,

    S = T^2 / ((1/N + 1/M) unit D)    against    chi2_nu(1 - alpha) / nu.

D and nu are learned by `driftbus.detectors.design`, from T^2 itself between adjacent blocks: so
D is how much autocorrelation moves the directions that this distance looks into. An alarm opens where
S exceeds the quantile and the distance its least effect; it closes below half of either (S: of T).
Known bias: distances on bins are a little smaller than those of the values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri

from driftbus.detectors.design import GRID, DesignEffects, design_of, forget_blocks, interpolated, learn_design
from driftbus.detectors.nulls import KS, LAWS, QUADRATIC, TV, WASSERSTEIN, null_law
from driftbus.schemas.kernel import kernel

LEAST = {"ks": 0.05, "js": 0.05, "hellinger": 0.05, "wasserstein": 0.04, "chi2": 0.02, "tv": 0.05}
"""No alarm below these distances: about a shift of .14 standard deviations; wasserstein: times the bins."""

LEAST_EXPECTED = 20.0
"""A bin in which the shortest window expects fewer values joins its neighbour: the laws are limits."""

ORDERED = ("ks", "wasserstein")
"""Distances that need bins in an order."""

DISTANCE, THRESHOLD, STATISTIC, NU = range(4)
"""Fields of a judgement: distance, what it must exceed, S, its degrees of freedom."""

_LAW_JS, _LAW_HELLINGER = 10, 11
_KINDS = {"js": _LAW_JS, "hellinger": _LAW_HELLINGER, "chi2": QUADRATIC, "ks": KS, "tv": TV, "wasserstein": WASSERSTEIN}


class DistanceBank:
    """One distance of c columns over w windows.

    Args:
        name: ``ks``, ``js``, ``hellinger``, ``wasserstein``, ``chi2`` or ``tv``.
        reference: per column, float64[k], reference counts on its coarse bins; columns that are
            left with fewer than two bins are never judged.
        ordered: per column, whether its bins have an order; without one `ORDERED` don't judge it.
        sizes: values in the windows, ascending. A larger one sees smaller changes, later.
        alpha: level of one judgement. Raising it finds smaller changes and raises proportionally
            more false alarms.
        static: float64[c, s, 3], (length, D, degrees of freedom) from an ordered reference, 0-padded.

    Attributes:
        judgement: float64[w, c, 4], latest distance, threshold, S, degrees of freedom.
        open: bool[w, c], alarms that are on.
        opened: bool[w, c], those that the last update turned on.
    """

    def __init__(
        self,
        name: str,
        reference: Sequence[NDArray[np.float64]],
        ordered: Sequence[bool],
        sizes: Sequence[int],
        alpha: float,
        static: NDArray[np.float64] | None = None,
    ) -> None:
        self._kind, self._law, columns = _KINDS[name], LAWS[name], len(reference)
        widest = max((r.size for r in reference), default=1)
        self._group = np.zeros((columns, widest), np.int64)
        self._bins = np.zeros(columns, np.int64)
        self._m = np.array([r.sum() for r in reference], np.float64)
        self._counts, self._share = np.zeros((columns, widest)), np.zeros((columns, widest))
        self._unit, self._full, self._nu = np.ones(columns), np.ones(columns), np.ones(columns)
        for c, counts in enumerate(reference):
            if not counts.sum() or (name in ORDERED and not ordered[c]):
                continue
            group = merged_bins(counts, LEAST_EXPECTED / min(sizes, default=1))
            k = int(group.max()) + 1
            if k < 2:
                continue
            self._group[c, : counts.size], self._bins[c] = group, k
            self._counts[c, :k] = np.bincount(group, weights=counts)
            self._share[c, :k] = self._counts[c, :k] / counts.sum()
            self._unit[c], self._full[c], self._nu[c] = null_law(self._law, tuple(self._share[c, :k].tolist()), alpha)
        self._least = np.where(name == "wasserstein", LEAST[name] * self._bins, LEAST[name])
        self._design = DesignEffects(columns, widest, static)
        self._quantiles = _per_freedom(widest, alpha)
        self.judgement = np.zeros((len(sizes), columns, 4))
        self.open = np.zeros((len(sizes), columns), np.bool_)
        self.opened = np.zeros((len(sizes), columns), np.bool_)

    def update(
        self,
        n: NDArray[np.float64],
        counts: NDArray[np.float64],
        start: NDArray[np.int64],
        judged: NDArray[np.bool_],
        window_n: NDArray[np.float64],
        window_counts: NDArray[np.float64],
    ) -> int:
        """Take one pane, and judge the windows that moved: as `driftbus.detectors.psi.PsiBank.update`."""
        self._design.begin_pane()
        count = _step(
            n, counts, start, judged, window_n, window_counts, self._kind, self._law, self._group, self._bins, self._m,
            self._counts, self._share, self._unit, self._full, self._nu, self._design.static, self._quantiles,
            self._least, self._design.moments, self._design.blocks, self.judgement, self.open, self.opened,
        )  # fmt: skip
        return int(count)

    def p_value(self, window: int, column: int) -> float:
        """Probability of the latest S, or a larger one, without drift; for KS, TV and Wasserstein about."""
        _, _, statistic, nu = self.judgement[window, column]
        return float(chdtrc(nu, statistic * nu)) if nu > 0 else 1.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return self._design.arrays() | {"judgement": self.judgement, "open": self.open}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._design.restore(arrays)
        for name in ("judgement", "open"):
            self.arrays()[name][...] = arrays[name]


def merged_bins(counts: NDArray[np.float64], least: float) -> NDArray[np.int64]:
    """New number of each bin, so that none has a share below `least` unless it is alone; order is kept.

    Args:
        counts: float64[k], reference counts.
        least: share that a bin must have.
    """
    group, share, number, held = np.zeros(counts.size, np.int64), counts / counts.sum(), 0, 0.0
    for b in range(counts.size):
        if held >= least:
            number, held = number + 1, 0.0
        group[b] = number
        held += float(share[b])
    if held < least and number:  # what is left at the end joins the bin before
        group[group == number] = number - 1
    return group


def _per_freedom(widest: int, alpha: float) -> NDArray[np.float64]:
    """chi2_nu(1 - alpha) / nu for the kernel to interpolate."""
    nu = 1 + np.arange(GRID * max(1, widest) + 1) / GRID
    return np.asarray(chdtri(nu, alpha) / nu, np.float64)


@kernel
def _step(
    n: NDArray[np.float64],
    counts: NDArray[np.float64],
    start: NDArray[np.int64],
    judged: NDArray[np.bool_],
    window_n: NDArray[np.float64],
    window_counts: NDArray[np.float64],
    kind: int,
    law: int,
    group: NDArray[np.int64],
    bins: NDArray[np.int64],
    m: NDArray[np.float64],
    reference: NDArray[np.float64],
    share: NDArray[np.float64],
    unit: NDArray[np.float64],
    full: NDArray[np.float64],
    freedom: NDArray[np.float64],
    static: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    least: NDArray[np.float64],
    moments: NDArray[np.float64],
    blocks: NDArray[np.float64],
    judgement: NDArray[np.float64],
    is_open: NDArray[np.bool_],
    opened: NDArray[np.bool_],
) -> int:
    alarms = 0
    block = np.zeros(share.shape[1])
    for c in range(bins.size):
        k = bins[c]
        for w in range(judged.shape[0]):
            opened[w, c] = False
        if k < 2 or n[c] <= 0:
            continue
        _gather(counts, start, c, group, block)
        learn_design(moments, blocks, c, block, k, share, law, unit[c])
        for w in range(judged.shape[0]):
            if not judged[w, c]:
                continue
            size = window_n[w, c]
            _gather(window_counts[w], start, c, group, block)
            design, degrees = design_of(moments, static, c, full[c], size)
            nu = 1.0
            if full[c] > 1:
                nu += (degrees - 1) * (freedom[c] - 1) / (full[c] - 1)
            quantile = interpolated(quantiles, nu)
            scale = (1 / size + 1 / m[c]) * unit[c] * design
            distance, square, stretch = _distance(kind, reference[c], m[c], block, size, k)
            threshold = quantile * scale / stretch
            if kind != QUADRATIC:
                threshold = np.sqrt(threshold)
            judgement[w, c, DISTANCE], judgement[w, c, THRESHOLD] = distance, max(threshold, least[c])
            judgement[w, c, STATISTIC], judgement[w, c, NU] = square * stretch / scale, nu
            if not is_open[w, c] and distance > threshold and distance >= least[c]:
                is_open[w, c], opened[w, c] = True, True
                alarms += 1
                forget_blocks(moments, c)
            elif is_open[w, c] and (distance < 0.5 * threshold or distance < 0.5 * least[c]):
                is_open[w, c] = False
    return alarms


@kernel
def _gather(
    counts: NDArray[np.float64],
    start: NDArray[np.int64],
    c: int,
    group: NDArray[np.int64],
    block: NDArray[np.float64],
) -> None:
    for b in range(block.size):
        block[b] = 0.0
    for b in range(start[c + 1] - start[c]):
        block[group[c, b]] += counts[start[c] + b]


@kernel
def _distance(
    kind: int, a: NDArray[np.float64], m: float, b: NDArray[np.float64], n: float, k: int
) -> tuple[float, float, float]:
    """(distance, its square, what makes the square's law that of `driftbus.detectors.nulls`)."""
    total = running = 0.0
    for i in range(k):
        p, q = a[i] / m, max(b[i], 0.0) / n  # counts that are centred on a season may be below 0
        running += q - p
        if kind == _LAW_JS:
            if p > 0:
                total += 0.5 * p * np.log(2 * p / (p + q))
            if q > 0:
                total += 0.5 * q * np.log(2 * q / (p + q))
        elif kind == _LAW_HELLINGER:
            total += 0.5 * (np.sqrt(q) - np.sqrt(p)) ** 2
        elif kind == QUADRATIC:
            total += (q - p) * (q - p) * (m + n) / (a[i] + max(b[i], 0.0))
        elif kind == KS:
            total = max(total, abs(running))
        elif kind == TV:
            total += 0.5 * abs(q - p)
        elif i < k - 1:
            total += abs(running)
    if kind == QUADRATIC:
        return total, total, 1.0
    if kind in (_LAW_JS, _LAW_HELLINGER):
        return np.sqrt(max(0.0, total)), total, 8.0
    return total, total * total, 1.0

"""Which of P(Y), P(Ŷ) and P(Y|Ŷ) moved between two samples of labelled rows.

P(Y) and P(Ŷ): Pearson's chi-square of two samples. P(Y|Ŷ): within each score bin (or predicted class) the
positives a of the later sample are hypergeometric,

    E = n1 m / N,   V = n0 n1 m (N - m) / (N^2 (N - 1)),

so that neither another mix of scores nor few reference rows in a bin count. Three statistics: the sum of
a - E (Mantel and Haenszel, 1959, J. Natl. Cancer Inst. 22, 719-748), the sum weighted by location (Mantel,
1963, JASA 58, 690-700), together chi-square of 2, and the sum of (a - E)^2 / V over ten groups of bins, which
sees what these two miss. The smaller p-value counts, times two.

Known bias: a bin is taken as one probability. Rows that move inside a wide bin look like a change of P(Y|Ŷ).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from driftbus.detectors.concept_view import ConceptScore, ConceptView, Strata, rates_of

Int = NDArray[np.int64]
Float = NDArray[np.float64]

LABEL, PREDICTION, CONCEPT = "P(Y)", "P(Ŷ)", "P(Y|Ŷ)"
_GROUPS = 10
_LEAST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class Movement:
    """What became of one distribution.

    Args:
        moved: whether it moved; None where it isn't counted or too few rows are there.
        p_value: of the test, 1.0 where there is none.
    """

    moved: bool | None
    p_value: float = 1.0


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the labels, of the predictions of labelled rows, and of labels given predictions."""

    label: Movement
    prediction: Movement
    concept: Movement

    def names(self) -> tuple[str, ...]:
        """Those that moved: of ``P(Y)``, ``P(Ŷ)``, ``P(Y|Ŷ)``."""
        pairs = ((LABEL, self.label), (PREDICTION, self.prediction), (CONCEPT, self.concept))
        return tuple(name for name, movement in pairs if movement.moved)


UNKNOWN = Moved(Movement(None), Movement(None), Movement(None))


def what_moved(
    view: ConceptView, before: Int, after: Int, alpha: float, designs: Mapping[str, float] | None = None
) -> Moved:
    """Compare two samples.

    Args:
        view: what the counts are of.
        before, after: int64[size], channels.
        alpha: level of each of the three tests.
        designs: by how much autocorrelation raises the variance, by name of the distribution.
    """
    factor = designs or {}
    label = two_sample(_summed(view.label, before), _summed(view.label, after), factor.get(LABEL, 1.0))
    spread = two_sample(*_coarse(_summed(view.prediction, before), _summed(view.prediction, after)),
                        factor.get(PREDICTION, 1.0))  # fmt: skip
    concept = stratified(view.finest(before + after), before, after, factor.get(CONCEPT, 1.0))
    return Moved(*(Movement(None) if p is None else Movement(p < alpha, p) for p in (label, spread, concept)))


def explained(view: ConceptView, score: ConceptScore, before: Int, after: Int) -> float:
    """Share of the change of a score's mean that another mix of scores or predictions alone would make.

    Each stratum keeps what came of it before and has the rows that it has now (Kitagawa, 1955, JASA 50,
    1168-1194). 0 where nothing can be said.
    """
    strata = view.finest(before + after)
    if strata.sums:
        return _explained_sum(strata, before, after)
    if not np.isin(score.cell, strata.cells).any():
        score = view.plain_error
    held, now = before[strata.cells].astype(np.float64), after[strata.cells].sum(axis=1)
    used = np.isin(score.cell, strata.cells)
    cell, value = score.cell[used], score.value[used]
    if held.sum() <= 0 or now.sum() <= 0 or not used.any():
        return 0.0
    rates = np.stack([rates_of(column, held.sum(axis=1), strata.ordered) for column in held.T], axis=1)
    expected = np.zeros(view.size)
    expected[strata.cells] = rates / rates.sum(axis=1, keepdims=True) * now[:, None]
    was, by_mix, is_now = (np.sum(c[cell] * value) / max(c[cell].sum(), 1e-12) for c in (before, expected, after))
    return float((by_mix - was) / (is_now - was)) if is_now != was else 0.0


def _explained_sum(strata: Strata, before: Int, after: Int) -> float:
    (n0, s0, _), (n1, s1, _) = before[strata.cells].T.astype(np.float64), after[strata.cells].T.astype(np.float64)
    used = n0 > 0
    if not used.any() or n1[used].sum() <= 0:
        return 0.0
    was, now = s0.sum() / n0.sum(), s1.sum() / n1.sum()
    by_mix = np.sum(n1[used] * s0[used] / n0[used]) / n1[used].sum()
    return float((by_mix - was) / (now - was)) if now != was else 0.0


def two_sample(before: Float, after: Float, design: float = 1.0) -> float | None:
    """P-value of Pearson's chi-square of two samples of counts; None if nothing can be compared."""
    n0, n1, both = before.sum(), after.sum(), before + after
    used = both > 0
    if n0 <= 0 or n1 <= 0 or used.sum() < 2:
        return None
    rare = used & (both * min(n0, n1) / (n0 + n1) < _LEAST_EXPECTED)
    before, after = _pooled(before, used, rare), _pooled(after, used, rare)
    both = before + after
    if both.size < 2:
        return None
    difference = after / n1 - before / n0
    statistic = float(np.sum(difference * difference / both)) * n0 * n1 / design
    return float(chdtrc(both.size - 1, statistic))


def stratified(strata: Strata, before: Int, after: Int, design: float = 1.0) -> float | None:
    """P-value of a change of what comes of a row given its stratum; None if nothing can be compared."""
    if strata.sums:
        return _of_means(strata, before, after, design)
    a, b = after[strata.cells].astype(np.float64), before[strata.cells].astype(np.float64)
    n1, n0 = a.sum(axis=1), b.sum(axis=1)
    used = (n1 > 0) & (n0 > 0)
    if not used.any():
        return None
    a, b, n1, n0 = a[used], b[used], n1[used], n0[used]
    n = n0 + n1
    columns = [1] if a.shape[1] == 2 else range(a.shape[1])
    found = []
    for k in columns:
        m = a[:, k] + b[:, k]
        excess = a[:, k] - n1 * m / n
        variance = n0 * n1 * m * (n - m) / (n * n * np.maximum(n - 1, 1)) * design
        if variance.sum() > 0:
            found.append(_of_excess(excess, variance, strata.ordered))
    return min(1.0, min(found) * len(found)) if found else None


def _of_excess(excess: Float, variance: Float, ordered: bool) -> float:
    total = variance.sum()
    trend, freedom = float(excess.sum()) ** 2 / total, 1
    if ordered:
        place = np.arange(excess.size, dtype=np.float64)
        place -= np.sum(place * variance) / total
        slope = np.sum(place * place * variance)
        if slope > 0:
            trend, freedom = trend + float(np.sum(place * excess)) ** 2 / slope, 2
    groups = np.minimum((np.cumsum(variance) - variance / 2) / total * _GROUPS, _GROUPS - 1).astype(np.int64)
    held, spread = np.zeros(_GROUPS), np.zeros(_GROUPS)
    for i, g in enumerate(groups.tolist()):
        held[g] += excess[i]
        spread[g] += variance[i]
    sure = spread > 1  # else far from normal
    shape = float(chdtrc(int(sure.sum()), np.sum(held[sure] ** 2 / spread[sure]))) if sure.sum() > freedom else 1.0
    return min(1.0, 2 * min(float(chdtrc(freedom, trend)), shape))


def _of_means(strata: Strata, before: Int, after: Int, design: float) -> float | None:
    n0, s0, q0 = before[strata.cells].T.astype(np.float64)
    n1, s1, q1 = after[strata.cells].T.astype(np.float64)
    used = (n0 > 1) & (n1 > 1)
    if not used.any():
        return None
    n0, n1, (total, square) = n0[used], n1[used], strata.units
    s0, s1, q = s0[used] * total, s1[used] * total, (q0 + q1)[used] * square
    weight = n0 * n1 / (n0 + n1)
    variance = (q - s0 * s0 / n0 - s1 * s1 / n1) / (n0 + n1 - 2) * weight * design
    excess = (s1 / n1 - s0 / n0) * weight
    return _of_excess(excess, np.maximum(variance, 1e-12), strata.ordered)


def _summed(cells: Int, counts: Int) -> Float:
    return counts[cells].sum(axis=1).astype(np.float64) if cells.size else np.zeros(0)


def _coarse(before: Float, after: Float) -> tuple[Float, Float]:
    both = before + after
    total = both.sum()
    if total <= 0:
        return before, after
    groups = np.minimum((np.cumsum(both) - both / 2) / total * _GROUPS, _GROUPS - 1).astype(np.int64)
    out = np.zeros((2, _GROUPS))
    for i, g in enumerate(groups.tolist()):
        out[0, g] += before[i]
        out[1, g] += after[i]
    return out[0], out[1]


def _pooled(counts: Float, used: NDArray[np.bool_], rare: NDArray[np.bool_]) -> Float:
    kept = counts[used & ~rare]
    return np.append(kept, counts[rare].sum()) if rare.any() else kept

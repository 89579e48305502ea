"""How well scores rank, from counts per score bin; rows of one bin are ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64] | NDArray[np.float64]


def auc(positive: Counts, negative: Counts) -> tuple[float, float]:
    """Area under the ROC curve, and its variance.

    The share of pairs (positive, negative) in which the positive has the higher score, ties counted
    half (Mann and Whitney, 1947). Variance: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44,
    837-845, by placement values. Of few rows of a class their variance is known badly, and mostly
    too small: one row more, with the largest variance there can be, A (1 - A), is added to each class.

    Args:
        positive, negative: [k], counts per bin, scores ascending; neither all 0.

    Returns:
        Known bias: ties within bins hide what the ranking knows there, at most `tied` / 2.
    """
    p, q = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    n_p, n_q = float(p.sum()), float(q.sum())
    below = (np.cumsum(q) - q / 2) / n_q  # placement of a positive in that bin among the negatives
    above = 1 - (np.cumsum(p) - p / 2) / n_p
    area = float((p * below).sum() / n_p)
    return area, sum(
        (float((w * (place - area) ** 2).sum()) + area * (1 - area)) / (n * n)
        for w, place, n in ((p, below, n_p), (q, above, n_q))
    )


def tied(positive: Counts, negative: Counts) -> float:
    """Share of pairs (positive, negative) that stand in one bin: twice the most that `auc` can be off."""
    return float((positive * negative).sum()) / (float(positive.sum()) * float(negative.sum()))


def average_precision(positive: Counts, negative: Counts) -> tuple[float, float]:
    """Average precision, and its variance.

    Sum over thresholds of the gain in recall times the precision there; not interpolated, as in
    scikit-learn. Variance: the jackknife (Efron and Stein, 1981, Annals of Statistics 9, 586-596),
    which leaves out one row of each cell in turn, weighted by the cell's count; and a row more, as in `auc`.

    Args:
        positive, negative: [k], counts per bin, scores ascending; positive not all 0.
    """
    p, q = np.asarray(positive, np.float64)[::-1], np.asarray(negative, np.float64)[::-1]
    value = float(precision_by_recall(p[None], q[None])[0])
    n = float(p.sum() + q.sum())
    if p.sum() < 2:
        return value, value * (1 - value)
    without = np.eye(p.size)
    held_p, held_q = p > 0, q > 0
    values = np.concatenate([
        precision_by_recall((p - without)[held_p], np.broadcast_to(q, (int(held_p.sum()), q.size))),
        precision_by_recall(np.broadcast_to(p, (int(held_q.sum()), p.size)), (q - without)[held_q]),
    ])  # fmt: skip
    weights = np.concatenate([p[held_p], q[held_q]])
    centre = float((weights * values).sum()) / n
    more = value * (1 - value) / float(p.sum()) ** 2
    return value, float((weights * (values - centre) ** 2).sum()) * (n - 1) / n + more


def precision_by_recall(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision of each row of [r, k] counts, scores descending."""
    hits, seen = np.cumsum(p, axis=1), np.cumsum(p + q, axis=1)
    return np.asarray((p * hits / np.maximum(seen, 1e-300)).sum(axis=1) / p.sum(axis=1), np.float64)

"""Metrics of classifiers with several classes from counts: macro averages, and the worst class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import Estimate, bounded, mean_of, wilson
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.reliability import calibration_error, reliability_curve

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Measured = dict[str, Estimate | str]

NO_LABELS, NO_SCORES = "no label of a known class", "only the score of the predicted class is known"


def measure(shape: OutcomeShape, pairs: Int, confidence: float) -> Measured:
    """Every multiclass metric, or the reason why it is undefined.

    A label or prediction that is no known class is wrong; where both are none it is left out, as they
    may be the same. Macro averages are taken over the classes that occur (precision: that were
    predicted; recall: that are labels; F1: either).

    Args:
        shape: of kind ``multiclass``.
        pairs: int64[pairs], at least 0.
        confidence: of the intervals.
    """
    table = _table(shape, pairs)
    right, n = np.diagonal(table)[:-1], int(table.sum())
    found: Measured = dict.fromkeys(("auc", "average_precision", "log_loss", "brier"), NO_SCORES)
    found["accuracy"] = _known(int(right.sum()), n, confidence)
    found["precision"] = _macro(right, table[:-1].sum(axis=1), confidence, n)
    found["recall"] = found["balanced_accuracy"] = _macro(right, table[:, :-1].sum(axis=0), confidence, n)
    found["f1"] = _macro_f1(table.astype(np.float64), n, confidence)
    curve, score = reliability_curve(shape, pairs), shape.table("score", pairs)
    if not shape.probability or score[0].any() or score[-2].any():
        found["ece"] = "scores are not all probabilities"
    else:
        found["ece"] = Estimate(*calibration_error(curve, confidence), sum(b.n for b in curve)) if curve else NO_LABELS
    return found


def worst_class(
    shape: OutcomeShape, pairs: Int, metric: str = "recall", confidence: float = 0.95
) -> tuple[str, Estimate] | None:
    """The class whose upper bound of ``precision`` or ``recall`` is least, None without labels.

    The interval holds for all classes at once (Bonferroni), so that the worst one may be chosen.
    """
    table = _table(shape, np.maximum(pairs, 0))
    right, of = np.diagonal(table)[:-1], table[:-1].sum(axis=1) if metric == "precision" else table[:, :-1].sum(axis=0)
    each = 1 - (1 - confidence) / shape.labels
    found = [
        (Estimate(k / n, *wilson(k, n, each), n), name)
        for k, n, name in zip(right.tolist(), of.tolist(), shape.classes, strict=True)
        if n
    ]
    if not found:
        return None
    estimate, name = min(found, key=lambda pair: (pair[0].high, pair[1]))
    return name, estimate


def _table(shape: OutcomeShape, pairs: Int) -> Int:
    """[predicted, label] without missing ones and without pairs of two unknown ones."""
    table = shape.table("confusion", pairs)[:-1, :-1].copy()
    table[-1, -1] = 0
    return table


def _known(hits: int, n: int, confidence: float) -> Estimate | str:
    return Estimate(hits / n, *wilson(hits, n, confidence), n) if n else NO_LABELS


def _macro(right: Int, of: Int, confidence: float, n: int) -> Estimate | str:
    each = [(k / m, *wilson(k, m, confidence)) for k, m in zip(right.tolist(), of.tolist(), strict=True) if m]
    return Estimate(sum(share for share, _, _ in each) / len(each), *mean_of(each), n) if each else NO_LABELS


def _macro_f1(table: Float, n: int, confidence: float) -> Estimate | str:
    """Variance: delta method on the multinomial table.

    Takahashi, Yamamoto, Kuchiba and Koyama (2022), Applied Intelligence 52, 4961-4972.
    """
    right = np.diagonal(table)[:-1]
    both = table[:-1].sum(axis=1) + table[:, :-1].sum(axis=0)
    held = both > 0
    if not held.any():
        return NO_LABELS
    f1 = np.where(held, 2 * right / np.maximum(both, 1), 0.0)
    value = float(f1.sum()) / int(held.sum())
    # one more row at (i, j) changes the F1 of class i and of class j by -F1 / both, and by 2 / both where i = j
    pull = np.append(np.where(held, f1 / np.maximum(both, 1), 0.0), 0.0)
    gain = -(pull[:, None] + pull[None, :])
    gain[np.arange(right.size), np.arange(right.size)] += np.where(held, 2 / np.maximum(both, 1), 0.0)
    gain /= int(held.sum())
    centre = float((table * gain).sum()) / n
    variance = float((table * (gain - centre) ** 2).sum())
    return Estimate(value, *bounded(value, variance, n, confidence), n)

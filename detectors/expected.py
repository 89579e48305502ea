"""Binary metrics as smooth functions of expected counts, and their slopes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.ranking import precision_by_recall

Float = NDArray[np.float64]
Metrics = dict[str, Float]

_STEP = 1e-6


def decisions(positive: Float, negative: Float, yes: tuple[Float, Float]) -> Metrics:
    """Metrics of the decisions; NaN where undefined.

    Args:
        positive, negative: float64[r, k], r times expected counts by score cell, ascending.
        yes: float64[k] each, share of a cell's positives, and of its negatives, predicted positive.
    """
    tp, fp = (positive * yes[0]).sum(axis=1), (negative * yes[1]).sum(axis=1)
    fn, tn = (positive * (1 - yes[0])).sum(axis=1), (negative * (1 - yes[1])).sum(axis=1)
    recall = _ratio(tp, tp + fn)
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": recall,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "balanced_accuracy": (recall + _ratio(tn, tn + fp)) / 2,
    }


def rankings(positive: Float, negative: Float) -> Metrics:
    """AUC, average precision and prevalence; NaN where undefined."""
    p, q = positive.sum(axis=1), negative.sum(axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    one = np.where((p > 0) & (q > 0), 1.0, np.nan)
    return {
        "auc": _ratio((positive * below).sum(axis=1), p * q),
        "average_precision": one * precision_by_recall(positive[:, ::-1], negative[:, ::-1]),
        "prevalence": _ratio(p, p + q),
    }


def gradients(
    function: Callable[[Float, Float], Metrics], positive: Float, negative: Float
) -> dict[str, tuple[float, Float, Float]]:
    """Value and slopes of each metric at these counts, by forward differences; undefined metrics are left out.

    Args:
        function: counts to metrics, as those of this module.
        positive, negative: float64[k].

    Returns:
        Metric → (value, its slope with each positive count, with each negative count), float64[k] each.
    """
    k = positive.size
    step = _STEP * float(positive.sum() + negative.sum())
    p, q = np.tile(positive, (2 * k + 1, 1)), np.tile(negative, (2 * k + 1, 1))
    at = np.arange(k)
    p[1 + at, at] += step
    q[1 + k + at, at] += step
    found = {}
    for name, values in function(p, q).items():
        if np.isfinite(values[0]):
            slopes = np.nan_to_num((values[1:] - values[0]) / step)
            found[name] = (float(values[0]), slopes[:k], slopes[k:])
    return found


def _ratio(a: Float, b: Float) -> Float:
    return np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan)

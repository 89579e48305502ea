"""Metrics of regression from fixed-point sums and the histogram of errors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import Estimate, mean, positive_mean, wilson
from driftbus.detectors.outcomes import ERROR_STEPS, ERROR_UNIT, LABEL_SQUARE_UNIT, SQUARE_UNIT, OutcomeShape

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Measured = dict[str, Estimate | str]


def error_edges(shape: OutcomeShape) -> Float:
    """Edges of the error histogram, in the unit of the values; bin i holds [edges[i-1], edges[i])."""
    return np.concatenate([-ERROR_STEPS[::-1], ERROR_STEPS]) * shape.scale


def interval_of(shape: OutcomeShape, pairs: Int, share: float = 0.9) -> tuple[float, float] | None:
    """The errors [low, high) that leave out at most (1 - share) / 2 of these pairs at either end; edges of bins.

    Made of the reference it is `OutcomeShape.interval`. None without pairs.
    """
    counts, edges = shape.table("error", pairs), error_edges(shape)
    n, out = int(counts.sum()), (1 - share) / 2
    if not n:
        return None
    below = np.cumsum(counts)[:-1]  # errors below each edge
    low = max(0, int(np.searchsorted(below, out * n, side="right")) - 1)
    high = min(edges.size - 1, int(np.searchsorted(below, (1 - out) * n, side="left")))
    return float(edges[low]), float(edges[high])


def measure(shape: OutcomeShape, pairs: Int, confidence: float) -> Measured:
    """Every metric of regression, or the reason why it is undefined.

    Args:
        shape: of kind ``regression``.
        pairs: int64[pairs], at least 0.
        confidence: of the intervals.
    """
    counts = shape.table("error", pairs)
    n = int(counts.sum())
    found: Measured = {"label_mean": _label_mean(shape, pairs, confidence)}
    if not n:
        return found | dict.fromkeys(("mae", "rmse", "bias", "quantile_coverage"), "no pair of prediction and label")
    over, under = (int(shape.table(name, pairs)[0]) * ERROR_UNIT * shape.scale / n for name in ("over", "under"))
    square = int(shape.table("square", pairs)[0]) * SQUARE_UNIT * shape.scale**2 / n
    more = n / max(1, n - 1)
    mae, bias = over + under, over - under
    low, high = positive_mean(square, variance_of_squares(shape, counts, square, n) * more, n, confidence)
    return found | {
        "mae": Estimate(mae, *positive_mean(mae, (square - mae * mae) * more, n, confidence), n),
        "rmse": Estimate(math.sqrt(square), math.sqrt(low), math.sqrt(high), n),
        "bias": Estimate(bias, *mean(bias, (square - bias * bias) * more, n, confidence), n),
        "quantile_coverage": _coverage(shape, counts, n, confidence),
    }


def label_moments(shape: OutcomeShape, pairs: Int) -> tuple[int, float, float]:
    """(rows, mean, variance) of the labels themselves, whatever was predicted; 0.0 without labels."""
    n, over, under, square = shape.table("label", pairs).tolist()
    if n <= 0:
        return 0, 0.0, 0.0
    mean = (over - under) * ERROR_UNIT * shape.scale / n
    return n, mean, max(0.0, square * LABEL_SQUARE_UNIT * shape.scale**2 / n - mean * mean)


def variance_of_squares(shape: OutcomeShape, counts: Int, square: float, n: int) -> float:
    """Variance of a squared error, from the middles of the error bins, put right by the exact mean of the squares.

    Args:
        shape: of kind ``regression``.
        counts: its table ``error``.
        square: mean squared error.
        n: pairs.
    """
    steps = ERROR_STEPS
    middles = np.concatenate([[steps[0] / 2], np.sqrt(steps[:-1] * steps[1:]), [steps[-1]]]) * shape.scale
    squares = np.concatenate([middles[:0:-1], middles]) ** 2
    rough = float((counts * squares).sum()) / n
    if rough <= 0:
        return 0.0
    return float((counts * (squares - rough) ** 2).sum()) / n * (square / rough) ** 2


def _label_mean(shape: OutcomeShape, pairs: Int, confidence: float) -> Estimate | str:
    n, value, variance = label_moments(shape, pairs)
    return Estimate(value, *mean(value, variance * n / max(1, n - 1), n, confidence), n) if n else "no label"


def _coverage(shape: OutcomeShape, counts: Int, n: int, confidence: float) -> Estimate | str:
    if shape.interval is None:
        return "the reference has no labels"
    low, high = np.searchsorted(error_edges(shape), np.array(shape.interval)).tolist()
    inside = int(counts[low + 1 : high + 1].sum())
    return Estimate(inside / n, *wilson(inside, n, confidence), n)

"""Errors of a regression before labels come: what the predicted values let expect."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import Estimate, positive_value
from driftbus.detectors.outcomes import ERROR_UNIT, SQUARE_UNIT, OutcomeShape
from driftbus.detectors.regressionmetrics import variance_of_squares
from driftbus.detectors.windowcells import window_of

Int = NDArray[np.int64]
Float = NDArray[np.float64]


def estimate_errors(shape: OutcomeShape, reference_pairs: Int, counts: Int, confidence: float) -> dict[str, Estimate]:
    """MAE and RMSE of a window: the reference's mean losses by predicted value, weighted as the window's values are.

    A direct loss estimation (NannyML's DLE) that knows the predicted value only, not the features: errors
    that grow elsewhere than with the predicted value are not seen. Signed errors are not counted by
    value, so there is no estimate of the bias.

    Args and returns are those of `driftbus.detectors.cbpe.estimate`.
    """
    rows, absolute, square = np.maximum(shape.table("by_value", reference_pairs)[:, :-1], 0)
    window = window_of(shape, rows, counts)
    n = int(rows.sum())
    if not window.n or not n:
        return {}
    mae = _by_cell(rows, absolute * (ERROR_UNIT * shape.scale))
    mse = _by_cell(rows, square * (SQUARE_UNIT * shape.scale**2))
    whole = float((rows * mse).sum()) / n
    spread = variance_of_squares(shape, shape.table("error", reference_pairs), whole, n)
    of_squares = mse**2 * (spread / whole**2 if whole > 0 else 0.0)
    found = {}
    for name, means, variances in (("mae", mae, np.maximum(mse - mae**2, 0)), ("rmse", mse, of_squares)):
        value = float((window.counts * means).sum()) / window.n
        noise = float((window.counts * variances * (1 + window.counts / np.maximum(rows, 1))).sum())
        low, high = positive_value(value, (noise + window.division(means)) / window.n**2, confidence)
        ends = (value, low, high) if name == "mae" else (math.sqrt(value), math.sqrt(low), math.sqrt(high))
        found[name] = Estimate(*ends, window.n)
    return found


def _by_cell(rows: Int, sums: Float) -> Float:
    """Mean of each cell; of one without rows the mean of all."""
    return np.where(rows > 0, sums / np.maximum(rows, 1), sums.sum() / rows.sum())

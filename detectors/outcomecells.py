"""Pairs of prediction and label to the cells of a pair table, many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import (
    ERROR_STEPS,
    ERROR_UNIT,
    GREATEST_ERROR,
    GREATEST_LABEL,
    LABEL_SQUARE_UNIT,
    LEAST_PROBABILITY,
    LOSS_UNIT,
    RELIABILITY_BINS,
    SCORE_UNIT,
    SQUARE_UNIT,
    OutcomeShape,
)

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_TOLERANCE = 1e-6  # float32 arithmetic gives probabilities a little beyond 0 and 1
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def pair_cells(shape: OutcomeShape, score: Float, prediction: Int, label: Float | Int) -> tuple[Int, Int]:
    """The cells of pairs and what to add there. Add them to a block: ``shape.first.start + cell``.

    Args:
        shape: how they are counted.
        score: float64[n], NaN where there is none. Regression: the predicted value.
        prediction: int64[n], code of the predicted class (see `driftbus.detectors.classes`), -1 where there is
            none or none is mapped; not read for regression.
        label: float64[n] or int64[n], code of the class, or the value; NaN or -1 (a class) where there is none.

    Returns:
        int64[n, k] cells and int64[n, k] amounts, at least 0; a cell whose amount is 0 is still a cell of
        the pair table.
    """
    values = np.asarray(score, np.float64)
    if shape.kind == "regression":
        columns = _regression(shape, values, np.asarray(label, np.float64))
    else:
        guess = codes_to_rows(shape, np.asarray(prediction, np.float64))
        truth = codes_to_rows(shape, np.asarray(label, np.float64))
        columns = (_binary if shape.kind == "binary" else _multiclass)(shape, values, guess, truth)
    return np.stack([cell for cell, _ in columns], axis=1), np.stack([amount for _, amount in columns], axis=1)


def codes_to_rows(shape: OutcomeShape, codes: Float) -> Int:
    """Class codes as rows or columns of a confusion table: unknown ones are *other*, none is *none*."""
    none = ~(codes >= 0)
    known = np.minimum(np.where(none, 0.0, codes), float(shape.labels)).astype(np.int64)
    return np.where(none, shape.labels + 1, known)


def score_rows(shape: OutcomeShape, score: Float) -> Int:
    """int64[n], the score cell of each: below, the bins, above, none."""
    bins = np.searchsorted(np.array(shape.edges, np.float64), score, side="right") + 1
    if shape.probability and shape.kind != "regression":
        bins = np.where(score < -_TOLERANCE, 0, np.where(score > 1 + _TOLERANCE, shape.score_cells - 2, bins))
    else:
        bins = np.where(score == -np.inf, 0, np.where(score == np.inf, shape.score_cells - 2, bins))
    return np.asarray(np.where(np.isnan(score), shape.score_cells - 1, bins), np.int64)


def _binary(shape: OutcomeShape, score: Float, guess: Int, truth: Int) -> list[tuple[Int, Int]]:
    ones, labels = np.ones(score.size, np.int64), shape.labels + 2
    rows = score_rows(shape, score)
    columns = [(shape.parts["score"].start + rows * labels + truth, ones)]
    if shape.predicted:
        columns.append((shape.parts["confusion"].start + guess * labels + truth, ones))
    if not shape.probability:
        return columns
    known = (truth < 2) & (rows > 0) & (rows < shape.score_cells - 2)
    p = np.clip(np.where(known, score, 0.5), 0.0, 1.0)
    of_label = np.where(truth == 1, p, 1 - p)
    loss = -natural_log(np.clip(of_label, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    brier = (1 - of_label) ** 2
    for name, amount in (("log_loss", loss), ("log_loss2", loss * loss), ("brier", brier), ("brier2", brier * brier)):
        columns.append(_sum(shape, name, np.where(known, amount, 0.0), LOSS_UNIT))
    return columns + _reliability(shape, p, truth == 1, known)


def _multiclass(shape: OutcomeShape, score: Float, guess: Int, truth: Int) -> list[tuple[Int, Int]]:
    ones, labels = np.ones(score.size, np.int64), shape.labels + 2
    rows = score_rows(shape, score)
    # two labels that are no class of the shape may or may not be the same
    unknown = (np.maximum(guess, truth) > shape.labels) | (np.minimum(guess, truth) == shape.labels)
    right = np.where(unknown, 2, (guess == truth).astype(np.int64))
    columns = [
        (shape.parts["confusion"].start + guess * labels + truth, ones),
        (shape.parts["score"].start + rows * 3 + right, ones),
    ]
    if shape.probability:
        known = (right < 2) & (rows > 0) & (rows < shape.score_cells - 2)
        columns += _reliability(shape, np.clip(np.where(known, score, 0.5), 0.0, 1.0), right == 1, known)
    return columns


def _regression(shape: OutcomeShape, value: Float, label: Float) -> list[tuple[Int, Int]]:
    held = np.isfinite(value) & np.isfinite(label)
    error = (np.where(held, value, 0.0) - np.where(held, label, 0.0)) / shape.scale
    clipped = np.clip(error, -GREATEST_ERROR, GREATEST_ERROR)
    steps = np.concatenate([-ERROR_STEPS[::-1], ERROR_STEPS])
    missing = shape.parts["missing"].start + 2 * (~np.isfinite(value)) + ~np.isfinite(label)
    cells = np.where(held, shape.parts["error"].start + np.searchsorted(steps, error, side="right"), missing)
    absolute, square = _units(np.abs(clipped), ERROR_UNIT), _units(clipped * clipped, SQUARE_UNIT)
    by_value, width = shape.parts["by_value"].start + score_rows(shape, value), shape.score_cells
    ones = held.astype(np.int64)
    return [
        (cells, np.ones(value.size, np.int64)),
        (_cell(shape, "over", value.size), np.where(clipped > 0, absolute, 0)),
        (_cell(shape, "under", value.size), np.where(clipped < 0, absolute, 0)),
        (_cell(shape, "square", value.size), square),
        (_cell(shape, "clipped", value.size), (np.abs(error) > GREATEST_ERROR).astype(np.int64)),
        (by_value, ones),
        (by_value + width, absolute * ones),
        (by_value + 2 * width, square * ones),
        *_labels(shape, label),
    ]


def _labels(shape: OutcomeShape, label: Float) -> list[tuple[Int, Int]]:
    known, start = np.isfinite(label), shape.parts["label"].start
    values = np.clip(np.where(known, label, 0.0) / shape.scale, -GREATEST_LABEL, GREATEST_LABEL)
    amount = _units(np.abs(values), ERROR_UNIT)
    amounts = (known.astype(np.int64), np.where(values > 0, amount, 0), np.where(values < 0, amount, 0))
    squares = _units(values * values, LABEL_SQUARE_UNIT)
    return [(np.full(label.size, start + i, np.int64), each) for i, each in enumerate((*amounts, squares))]


def _reliability(
    shape: OutcomeShape, p: Float, right: NDArray[np.bool_], known: NDArray[np.bool_]
) -> list[tuple[Int, Int]]:
    cell = shape.parts["reliability"].start + reliability_bins(p)
    held = known.astype(np.int64)
    return [(cell, _units(p, SCORE_UNIT) * held), (cell + RELIABILITY_BINS * np.where(right, 2, 1), held)]


def reliability_bins(p: Float) -> Int:
    """int64[n], which tenth holds each probability: bin i holds [i/10, (i+1)/10), the last one 1 as well."""
    edges = np.arange(1, RELIABILITY_BINS) / RELIABILITY_BINS
    return np.asarray(np.searchsorted(edges, p, side="right"), np.int64)


def _sum(shape: OutcomeShape, name: str, amount: Float, unit: float) -> tuple[Int, Int]:
    return _cell(shape, name, amount.size), _units(amount, unit)


def _cell(shape: OutcomeShape, name: str, n: int) -> Int:
    return np.full(n, shape.parts[name].start, np.int64)


def _units(amount: Float, unit: float) -> Int:
    return np.asarray(np.floor(amount / unit + 0.5), np.int64)


def natural_log(x: Float) -> Float:
    """ln x of positive normal doubles, to 1e-14 relative.

    By additions, multiplications and divisions alone, so that every processor and library gives the
    same bits: counts on the bus hold it. ln x = e ln 2 + 2 artanh((m - 1) / (m + 1)), x = m 2^e.
    """
    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, 2 * m, m)
    s = (m - 1) / (m + 1)
    z = s * s
    total = np.zeros_like(z)
    for k in range(12, -1, -1):
        total = total * z + 1 / (2 * k + 1)
    return np.asarray((e - small) * _LN2 + 2 * s * total, np.float64)

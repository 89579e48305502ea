"""Metrics of rows with weights, exact: each distinct score is a bin of its own. What a bootstrap repeats."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.binarymetrics import threshold_row
from driftbus.detectors.outcomecells import codes_to_rows, reliability_bins, score_rows
from driftbus.detectors.outcomes import LEAST_PROBABILITY, RELIABILITY_BINS
from driftbus.stream.gate.task import Scored

Int = NDArray[np.int64]
Float = NDArray[np.float64]

OUTSIDE = "scores are not all probabilities"


class Exact:
    """Metrics of some rows under changing weights. Definitions are those of docs/performance.md.

    Args:
        rows: the rows.
    """

    def __init__(self, rows: Scored) -> None:
        self._rows = rows
        kind = rows.shape.kind
        known: dict[str, Callable[[Float], float]]
        if kind == "binary":
            known = {
                "accuracy": lambda w: _ratio(self._confusion(w).trace(), self._confusion(w).sum()),
                "precision": lambda w: _ratio(self._confusion(w)[1, 1], self._confusion(w)[1].sum()),
                "recall": lambda w: _ratio(self._confusion(w)[1, 1], self._confusion(w)[:, 1].sum()),
                "balanced_accuracy": lambda w: float(_balanced(self._confusion(w))),
                "f1": lambda w: _f1(self._confusion(w)),
                "auc": lambda w: _auc(*self._ranked(w)),
                "average_precision": lambda w: _average_precision(*self._ranked(w)),
                "prevalence": self._prevalence,
                "label_mean": self._prevalence,
                "log_loss": lambda w: _mean(self._log_losses, w),
                "brier": lambda w: _mean(self._briers, w),
                "ece": self._ece,
            }
        elif kind == "multiclass":
            known = {
                "accuracy": lambda w: _ratio(np.diagonal(self._table(w))[:-1].sum(), self._table(w).sum()),
                "precision": lambda w: _macro(self._table(w), 1.0, 0.0),
                "recall": lambda w: _macro(self._table(w), 0.0, 1.0),
                "balanced_accuracy": lambda w: _macro(self._table(w), 0.0, 1.0),
                "f1": lambda w: _macro(self._table(w), 0.5, 0.5),
                "ece": self._ece,
            }
        else:
            known = {
                "mae": lambda w: _mean(np.abs(self._errors), w),
                "rmse": lambda w: _mean(self._errors**2, w) ** 0.5,
                "bias": lambda w: _mean(self._errors, w),
                "label_mean": lambda w: _mean(rows.label, w),
            }
        self._known = known

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that rows of this kind have."""
        return tuple(self._known)

    def value(self, metric: str, weights: Float | None = None) -> float:
        """A metric, NaN where it is undefined.

        Args:
            metric: one of `names`.
            weights: float64[n], how often each row counts; None: once.
        """
        return self._known[metric](np.ones(self._rows.n) if weights is None else weights)

    # Binary

    @cached_property
    def _cells(self) -> Int:
        """Cell of each row in a 2 x 2 table [prediction, label], 4 for rows that are left out."""
        rows, label = self._rows, self._labels
        if rows.shape.predicted:
            guess = codes_to_rows(rows.shape, rows.guess.astype(np.float64))
        else:
            at = score_rows(rows.shape, rows.score)
            guess = np.where(at == rows.shape.score_cells - 1, 3, (at >= threshold_row(rows.shape)).astype(np.int64))
        return np.asarray(np.where((label < 2) & (guess < 2), guess * 2 + label, 4), np.int64)

    @cached_property
    def _labels(self) -> Int:
        return codes_to_rows(self._rows.shape, self._rows.label)

    def _confusion(self, weights: Float) -> Float:
        return np.asarray(np.bincount(self._cells, weights, 5)[:4].reshape(2, 2), np.float64)

    @cached_property
    def _ranks(self) -> tuple[Int, Int, Int]:
        """Rows with score and label, their labels, and which distinct score each has, ascending."""
        held = np.flatnonzero((self._labels < 2) & ~np.isnan(self._rows.score))
        _, which = np.unique(self._rows.score[held], return_inverse=True)
        return held, self._labels[held], np.asarray(which, np.int64)

    def _ranked(self, weights: Float) -> tuple[Float, Float]:
        held, label, which = self._ranks
        bins = int(which.max()) + 1 if which.size else 1
        w = weights[held]
        positive, negative = np.bincount(which, w * label, bins), np.bincount(which, w * (1 - label), bins)
        return positive.astype(np.float64), negative.astype(np.float64)

    def _prevalence(self, weights: Float) -> float:
        known = self._labels < 2
        return _ratio(float(weights[known & (self._labels == 1)].sum()), float(weights[known].sum()))

    @cached_property
    def _probable(self) -> Float:
        """Score of each row, NaN where it or the label is missing; all NaN where scores are no probabilities."""
        score = self._rows.score
        bad = self._rows.shape.probability and np.nanmax(np.abs(score - 0.5), initial=0) > 0.5 + 1e-6
        held = (self._labels < 2) & np.isfinite(score) if self._rows.shape.kind == "binary" else np.isfinite(score)
        return np.where(held & (not bad) & self._rows.shape.probability, np.clip(score, 0.0, 1.0), np.nan)

    @cached_property
    def _log_losses(self) -> Float:
        right = np.where(self._labels == 1, self._probable, 1 - self._probable)
        return np.asarray(-np.log(np.clip(right, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)), np.float64)

    @cached_property
    def _briers(self) -> Float:
        return np.asarray((self._probable - self._labels) ** 2, np.float64)

    @cached_property
    def _gaps(self) -> tuple[Int, Int, Float]:
        """Rows with a probability, the tenth each is in, and score minus outcome."""
        score = self._probable
        if self._rows.shape.kind == "multiclass":
            table, width = self._classes, self._rows.shape.labels + 1
            right = (table // width == table % width).astype(np.float64)
            held = np.flatnonzero(~np.isnan(score) & (table < width * width - 1))
        else:
            right, held = self._labels.astype(np.float64), np.flatnonzero(~np.isnan(score))
        return held, reliability_bins(score[held]), score[held] - right[held]

    def _ece(self, weights: Float) -> float:
        held, tenth, gap = self._gaps
        w = weights[held]
        return _ratio(float(np.abs(np.bincount(tenth, w * gap, RELIABILITY_BINS)).sum()), float(w.sum()))

    # Multiclass

    @cached_property
    def _classes(self) -> Int:
        """Cell of each row in the table [prediction, label] of the classes and *other*; the last: left out."""
        shape, width = self._rows.shape, self._rows.shape.labels + 1
        guess = codes_to_rows(shape, self._rows.guess.astype(np.float64))
        unknown = (np.maximum(guess, self._labels) > shape.labels) | (np.minimum(guess, self._labels) == shape.labels)
        return np.asarray(np.where(unknown, width * width - 1, guess * width + self._labels), np.int64)

    def _table(self, weights: Float) -> Float:
        width = self._rows.shape.labels + 1
        found = np.bincount(self._classes, weights, width * width).astype(np.float64).reshape(width, width)
        found[-1, -1] = 0
        return found

    # Regression

    @cached_property
    def _errors(self) -> Float:
        error = self._rows.score - self._rows.label
        return np.where(np.isfinite(error), error, np.nan)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole > 0 else np.nan


def _mean(values: Float, weights: Float) -> float:
    held = ~np.isnan(values)
    return _ratio(float((weights[held] * values[held]).sum()), float(weights[held].sum()))


def _balanced(table: Float) -> float:
    return (_ratio(table[1, 1], table[:, 1].sum()) + _ratio(table[0, 0], table[:, 0].sum())) / 2


def _f1(table: Float) -> float:
    return _ratio(2 * table[1, 1], 2 * table[1, 1] + table[0, 1] + table[1, 0])


def _auc(positive: Float, negative: Float) -> float:
    below = np.cumsum(negative) - negative / 2
    return _ratio(float((positive * below).sum()), float(positive.sum() * negative.sum()))


def _average_precision(positive: Float, negative: Float) -> float:
    p, q = positive[::-1], negative[::-1]
    hits, seen = np.cumsum(p), np.cumsum(p + q)
    return _ratio(float((p * hits / np.maximum(seen, 1e-300)).sum()), float(p.sum())) if q.any() else np.nan


def _macro(table: Float, guessed: float, labelled: float) -> float:
    """Mean over the classes that occur of right / (guessed x predictions + labelled x labels)."""
    of = guessed * table[:-1].sum(axis=1) + labelled * table[:, :-1].sum(axis=0)
    held = of > 0
    return float((np.diagonal(table)[:-1][held] / of[held]).mean()) if held.any() else np.nan

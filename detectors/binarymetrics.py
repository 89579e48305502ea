"""Metrics of binary classifiers from counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import intervals
from driftbus.detectors.intervals import Estimate, bounded, mean_of, positive_mean, wilson
from driftbus.detectors.outcomes import LOSS_UNIT, OutcomeShape
from driftbus.detectors.ranking import auc, average_precision
from driftbus.detectors.reliability import calibration_error, reliability_curve

Int = NDArray[np.int64]
Measured = dict[str, Estimate | str]

NO_LABELS, NO_POSITIVES, NO_NEGATIVES = "no label of a known class", "no positive label", "no negative label"
NO_PREDICTIONS, OUTSIDE = "no positive prediction", "scores are not all probabilities"


@dataclass(frozen=True, slots=True)
class Confusion:
    """The four counts of a binary classifier."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n(self) -> int:
        """Rows."""
        return self.tp + self.fp + self.fn + self.tn


def threshold_row(shape: OutcomeShape) -> int:
    """The first score cell that predicts the positive class; all from there but the last (*none*) do."""
    if shape.probability and shape.threshold <= 0:
        return 1
    return int(np.searchsorted(np.array(shape.edges, np.float64), shape.threshold)) + 2


def confusion(shape: OutcomeShape, pairs: Int) -> Confusion:
    """From the predicted class where it is a field of its own, else from score and threshold."""
    if shape.predicted:
        table = shape.table("confusion", pairs)
        return Confusion(int(table[1, 1]), int(table[1, 0]), int(table[0, 1]), int(table[0, 0]))
    score, row = shape.table("score", pairs), threshold_row(shape)
    yes, no = score[row:-1].sum(axis=0), score[:row].sum(axis=0)
    return Confusion(int(yes[1]), int(yes[0]), int(no[1]), int(no[0]))


def measure(shape: OutcomeShape, pairs: Int, confidence: float) -> Measured:
    """Every binary metric, or the reason why it is undefined.

    Args:
        shape: of kind ``binary``.
        pairs: int64[pairs], at least 0.
        confidence: of the intervals.
    """
    found = _decisions(confusion(shape, pairs), confidence)
    score = shape.table("score", pairs)
    found["prevalence"] = _share(int(score[:, 1].sum()), int(score[:, :2].sum()), confidence, NO_LABELS)
    found["label_mean"] = found["prevalence"]
    found |= _rankings(score[:-1, 1], score[:-1, 0], confidence)
    if not shape.probability or score[0, :2].any() or score[-2, :2].any():
        return found | dict.fromkeys(("log_loss", "brier", "ece"), OUTSIDE)
    n = int(score[:-1, :2].sum())
    for name in ("log_loss", "brier"):
        found[name] = _loss(shape, pairs, name, n, confidence)
    curve = reliability_curve(shape, pairs)
    found["ece"] = Estimate(*calibration_error(curve, confidence), n) if curve else NO_LABELS
    return found


def _decisions(c: Confusion, confidence: float) -> Measured:
    positives, negatives, wrong = c.tp + c.fn, c.tn + c.fp, c.fp + c.fn
    found: Measured = {
        "accuracy": _share(c.tp + c.tn, c.n, confidence, NO_LABELS),
        "precision": _share(c.tp, c.tp + c.fp, confidence, NO_PREDICTIONS),
        "recall": _share(c.tp, positives, confidence, NO_POSITIVES),
        "f1": "no positive label and no positive prediction",
        "balanced_accuracy": NO_NEGATIVES if positives else NO_POSITIVES,
    }
    if c.tp + wrong:
        found["f1"] = Estimate(2 * c.tp / (2 * c.tp + wrong), *intervals.f1(c.tp, wrong, confidence), c.n)
    if positives and negatives:
        sides = [(k / n, *wilson(k, n, confidence)) for k, n in ((c.tp, positives), (c.tn, negatives))]
        found["balanced_accuracy"] = Estimate((sides[0][0] + sides[1][0]) / 2, *mean_of(sides), c.n)
    return found


def _rankings(positive: Int, negative: Int, confidence: float) -> Measured:
    p, q = int(positive.sum()), int(negative.sum())
    if not p or not q:
        return dict.fromkeys(("auc", "average_precision"), NO_NEGATIVES if p else NO_POSITIVES)
    area, variance = auc(positive, negative)
    precision, its = average_precision(positive, negative)
    return {
        "auc": Estimate(area, *bounded(area, variance, min(p, q), confidence), p + q),
        "average_precision": Estimate(precision, *bounded(precision, its, p, confidence), p + q),
    }


def _share(hits: int, n: int, confidence: float, reason: str) -> Estimate | str:
    return Estimate(hits / n, *wilson(hits, n, confidence), n) if n else reason


def _loss(shape: OutcomeShape, pairs: Int, name: str, n: int, confidence: float) -> Estimate | str:
    if not n:
        return NO_LABELS
    mean, square = (int(shape.table(each, pairs)[0]) * LOSS_UNIT / n for each in (name, f"{name}2"))
    variance = (square - mean * mean) * n / max(1, n - 1)
    return Estimate(mean, *positive_mean(mean, variance, n, confidence), n)

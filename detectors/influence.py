"""What one more row does to a metric: influence functions on tables of counts.

Source: F. R. Hampel, The influence curve and its role in robust estimation, JASA 69 (1974). Each metric is a function
of the shares of a table's cells; a row in a cell pulls it by the function's derivative there, which is given here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.binarymetrics import confusion
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.ranking import auc, average_precision

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Influence:
    """A metric at some table, and its derivative there.

    Args:
        value: the metric there.
        pull: float64[k], what a row in each cell pulls it by, times the rows of the table; its mean there is 0.
        counts: int64[k] of a pair table.
    """

    value: float
    pull: Float
    counts: Callable[[Int], Int]

    def contribution(self, pairs: Int) -> tuple[int, float, float]:
        """(rows, mean, variance) of value + pull over the rows of a pair table."""
        counts = self.counts(pairs)
        n = int(counts.sum())
        mean = float((counts * self.pull).sum()) / n
        return n, self.value + mean, float((counts * (self.pull - mean) ** 2).sum()) / n

    def effective(self, pairs: Int) -> float:
        """How many rows of the largest pull the metric's variance amounts to; few mean that it is not normal yet."""
        counts = self.counts(pairs)
        squares = self.pull * self.pull
        most = float(np.where(counts > 0, squares, 0.0).max())
        return float((counts * squares).sum()) / most if most > 0 else float(counts.sum())


def influence(shape: OutcomeShape, metric: str, pairs: Int) -> Influence | None:
    """The metric at a pair table and its derivative, None if it is undefined there.

    Args:
        shape: of the outcomes.
        metric: ``auc``, ``average_precision`` or ``f1`` (binary); ``precision``, ``recall``, ``balanced_accuracy`` or
            ``f1`` (multiclass, macro averages over the classes that occur).
        pairs: int64[shape.pairs], at least 0.
    """
    if shape.kind == "multiclass":
        return _macro(shape, metric, pairs)
    if metric == "f1":
        return _f1(shape, pairs)
    score = _scores(shape, pairs).reshape(-1, 2)
    negative, positive = score[:, 0].astype(np.float64), score[:, 1].astype(np.float64)
    if not negative.any() or not positive.any():
        return None
    value, pull = (_auc if metric == "auc" else _average_precision)(positive, negative)
    return Influence(value, pull, lambda table: _scores(shape, table))


def known_confusion(shape: OutcomeShape, pairs: Int) -> Int:
    """int64[predicted, label] of a multiclass table without missing ones and without pairs of two unknown ones."""
    table = np.array(shape.table("confusion", pairs)[:-1, :-1])
    table[-1, -1] = 0
    return table


def _scores(shape: OutcomeShape, pairs: Int) -> Int:
    return np.asarray(shape.table("score", pairs)[:-1, :2].ravel(), np.int64)


def _auc(p: Float, q: Float) -> tuple[float, Float]:
    """Placement values: the derivative of the Mann-Whitney statistic by the shares of both classes."""
    n, n_p, n_q = p.sum() + q.sum(), p.sum(), q.sum()
    value, _ = auc(p, q)
    below = (np.cumsum(q) - q / 2) / n_q
    above = 1 - (np.cumsum(p) - p / 2) / n_p
    return value, np.stack([(above - value) * n / n_q, (below - value) * n / n_p], axis=1).ravel()


def _average_precision(p: Float, q: Float) -> tuple[float, Float]:
    """Derivative of sum p_b hits_b / seen_b / positives; hits and seen add up from the highest score down to b."""
    value, _ = average_precision(p, q)
    n, positives = p.sum() + q.sum(), p.sum()
    hits, seen = np.cumsum(p[::-1])[::-1], np.cumsum((p + q)[::-1])[::-1]
    held = np.maximum(seen, 1.0)
    gained, lost = np.cumsum(p * (seen - hits) / held**2), np.cumsum(p * hits / held**2)
    return value, np.stack([-lost, hits / held + gained - value], axis=1).ravel() * n / positives


def _f1(shape: OutcomeShape, pairs: Int) -> Influence | None:
    def counts(table: Int) -> Int:
        c = confusion(shape, table)
        return np.array([c.tp, c.fp + c.fn, c.tn], np.int64)

    right, wrong, rest = counts(pairs).tolist()
    both = 2 * right + wrong
    if not both:
        return None
    value = 2 * right / both
    pull = np.array([2 * (1 - value), -value, 0.0]) * (right + wrong + rest) / both
    return Influence(value, pull, counts)


def _macro(shape: OutcomeShape, metric: str, pairs: Int) -> Influence | None:
    table = known_confusion(shape, pairs).astype(np.float64)
    right = np.diagonal(table)[:-1]
    guessed, labels = table[:-1].sum(axis=1), table[:, :-1].sum(axis=0)
    of, both = {"precision": (guessed, 1.0), "f1": (guessed + labels, 2.0)}.get(metric, (labels, 1.0))
    held = of > 0
    if not held.any():
        return None
    each = np.where(held, both * right / np.maximum(of, 1), 0.0)
    loss = np.append(np.where(held, each / np.maximum(of, 1), 0.0), 0.0)
    pull = np.zeros_like(table)
    if metric != "recall" and metric != "balanced_accuracy":
        pull -= loss[:, None]
    if metric != "precision":
        pull -= loss[None, :]
    classes = np.arange(right.size)
    pull[classes, classes] += np.where(held, both / np.maximum(of, 1), 0.0)
    pull *= table.sum() / int(held.sum())
    return Influence(
        float(each.sum()) / int(held.sum()), pull.ravel(), lambda t: np.asarray(known_confusion(shape, t).ravel())
    )

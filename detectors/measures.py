"""A metric as a mean of its rows' contributions: what sequential comparisons add up.

Some metrics are means of values in [0, 1] (accuracy, Brier score), or means within one class (precision, recall): of
those bounds hold for every number of labels. The others are taken as linear near what is already known: a row's
contribution is the metric's derivative there (its influence function), so their bounds hold for many labels.

Source: M. van der Laan and S. Lendle, Online targeted learning, UC Berkeley working paper 330 (2014), section 3:
one-step estimates, each batch linearised at what came before it. F. R. Hampel, The influence curve and its role in
robust estimation, JASA 69 (1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.binarymetrics import confusion
from driftbus.detectors.influence import influence, known_confusion
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomes import ERROR_UNIT, LOSS_UNIT, SQUARE_UNIT, OutcomeShape
from driftbus.detectors.regressionmetrics import label_moments, variance_of_squares
from driftbus.schemas.errors import ConfigError

Int = NDArray[np.int64]

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})

LEAST_KNOWN, EXTREMES = 500, 50
"""A metric that bounds hold for only approximately is used once so many rows are known, and once its influence rests
on at least so many of them."""

UNCOMPARED = {
    "bias": ("it has no better side", "mae or rmse"),
    "quantile_coverage": ("it has no better side", "mae or rmse"),
    "ece": ("it has no derivative where scores are calibrated", "brier or log_loss"),
}
"""Metrics without a comparison: why, and what to take."""

_MEANS = {
    "binary": {"accuracy", "precision", "recall", "balanced_accuracy", "prevalence", "label_mean", "brier"},
    "multiclass": {"accuracy"},
    "regression": set[str](),
}
_LINEAR = {
    "binary": {"f1", "auc", "average_precision", "log_loss"},
    "multiclass": {"precision", "recall", "balanced_accuracy", "f1"},
    "regression": {"mae", "rmse", "label_mean"},
}
_MOMENTS = ("log_loss", "mae", "label_mean")


@dataclass(frozen=True, slots=True)
class Sample:
    """n values: their mean and variance (divided by n)."""

    n: int
    mean: float
    variance: float


Contribution = Callable[[Int], Sample]


@dataclass(frozen=True)
class _Base:
    shape: OutcomeShape
    metric: str

    @property
    def cells(self) -> int:
        """Cells of a pair table."""
        return self.shape.pairs

    @property
    def better(self) -> float:
        """1.0 where larger is better, else -1.0."""
        return -1.0 if self.metric in LOWER_IS_BETTER else 1.0

    def rows(self, pairs: Int) -> int:
        """Pairs in a table, whatever is known of them."""
        names = ("error", "missing") if self.shape.kind == "regression" else ("score",)
        return int(sum(int(self.shape.table(name, pairs).sum()) for name in names))

    def value(self, pairs: Int) -> float | None:
        """The metric itself, None if undefined."""
        found = metrics(self.shape, pairs, [self.metric])
        return found[self.metric].value if found else None


@dataclass(frozen=True)
class Means(_Base):
    """A metric that is a mean, or the mean of several, of values in [0, 1]."""

    method: ClassVar[Literal["bounded"]] = "bounded"

    def samples(self, pairs: Int) -> tuple[Sample, ...]:
        """The values behind the metric, which is the mean of their means."""
        if self.shape.kind == "multiclass":
            table = known_confusion(self.shape, pairs)
            return (_share(int(np.diagonal(table)[:-1].sum()), int(table.sum())),)
        if self.metric in ("prevalence", "label_mean"):
            labels = self.shape.table("score", pairs).sum(axis=0)
            return (_share(int(labels[1]), int(labels[:2].sum())),)
        if self.metric == "brier":
            return (_moments(self.shape, pairs, "brier"),)
        c = confusion(self.shape, pairs)
        recall, specificity = _share(c.tp, c.tp + c.fn), _share(c.tn, c.tn + c.fp)
        return {
            "accuracy": (_share(c.tp + c.tn, c.n),),
            "precision": (_share(c.tp, c.tp + c.fp),),
            "recall": (recall,),
            "balanced_accuracy": (recall, specificity),
        }[self.metric]


@dataclass(frozen=True)
class Linear(_Base):
    """A metric by its derivative, or a mean of values without bounds."""

    method: ClassVar[Literal["asymptotic"]] = "asymptotic"

    def around(self, known: Int) -> Contribution | None:
        """Contributions of rows, linear around what is known; None while that is too little.

        Their mean over the rows of a table estimates the metric.
        """
        n = self.least(known)
        if n < LEAST_KNOWN:
            return None
        if self.metric in _MOMENTS:
            return lambda pairs: _moments(self.shape, pairs, self.metric)
        if self.metric == "rmse":
            mean = _squares(self.shape, known).mean
            return (lambda pairs: _root(mean, _squares(self.shape, pairs))) if mean > 0 else None
        at = influence(self.shape, self.metric, known)
        if at is None or at.effective(known) < EXTREMES:
            return None
        return lambda pairs: Sample(*at.contribution(pairs))

    def least(self, pairs: Int) -> int:
        """Rows that the metric is made of."""
        if self.metric in _MOMENTS:
            return _moments(self.shape, pairs, self.metric).n
        if self.shape.kind == "regression":
            return int(self.shape.table("error", pairs).sum())
        if self.shape.kind == "multiclass":
            return int(known_confusion(self.shape, pairs).sum())
        if self.metric == "f1":
            return confusion(self.shape, pairs).n
        return int(self.shape.table("score", pairs)[:-1, :2].sum())


Measure = Means | Linear


def measure_of(shape: OutcomeShape, metric: str) -> Measure:
    """What versions are compared by.

    Raises:
        ConfigError: outcomes of this kind don't define the metric, or versions can't be compared by it.
    """
    if metric in UNCOMPARED:
        reason, instead = UNCOMPARED[metric]
        raise ConfigError(
            f"versions can't be compared by {metric}: {reason}", key="comparisons.metric", fix=f"choose {instead}"
        )
    means = _MEANS[shape.kind]
    linear = _LINEAR[shape.kind]
    if not shape.probability:
        means, linear = means - {"brier"}, linear - {"log_loss"}
    if metric in means:
        return Means(shape, metric)
    if metric not in linear:
        raise ConfigError(
            f"{metric} is not defined for {shape.kind} outcomes as they are counted here",
            key="comparisons.metric",
            fix=f"choose from {', '.join(sorted(means | linear))}",
        )
    return Linear(shape, metric)


def _share(hits: int, n: int) -> Sample:
    mean = hits / n if n else 0.0
    return Sample(n, mean, mean * (1 - mean))


def _moments(shape: OutcomeShape, pairs: Int, metric: str) -> Sample:
    """Mean and variance from sums in fixed units."""

    if metric == "label_mean":
        return Sample(*label_moments(shape, pairs))

    def total(name: str) -> int:
        return int(shape.table(name, pairs)[0])

    if shape.kind == "binary":
        n = int(shape.table("score", pairs)[1:-2, :2].sum())
        mean, square = total(metric) * LOSS_UNIT, total(f"{metric}2") * LOSS_UNIT
    else:
        n = int(shape.table("error", pairs).sum())
        mean = (total("over") + total("under")) * ERROR_UNIT * shape.scale
        square = total("square") * SQUARE_UNIT * shape.scale**2
    if not n:
        return Sample(0, 0.0, 0.0)
    return Sample(n, mean / n, max(0.0, square / n - (mean / n) ** 2))


def _squares(shape: OutcomeShape, pairs: Int) -> Sample:
    counts = shape.table("error", pairs)
    n = int(counts.sum())
    square = int(shape.table("square", pairs)[0]) * SQUARE_UNIT * shape.scale**2
    return Sample(n, square / n, variance_of_squares(shape, counts, square / n, n)) if n else Sample(0, 0.0, 0.0)


def _root(known: float, squares: Sample) -> Sample:
    """sqrt(mean of squares), linear around the known mean."""
    root = math.sqrt(known)
    return Sample(squares.n, root + (squares.mean - known) / (2 * root), squares.variance / (4 * known))

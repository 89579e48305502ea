"""The shape of a monitor's outcomes from its configuration and from the reference of its predictions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import MOST_CLASSES, OutcomeKind, OutcomeShape
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig

# exactly 0 and exactly 1 have bins of their own: their log loss is like no other's
_ENDS = (2.0**-52, 1e-6, 1e-4, 1e-3, 0.01, 0.99, 0.999, 1 - 1e-4, 1 - 1e-6, 1.0)
_WITH_PROFILE = (*_ENDS, *(i / 20 for i in range(1, 20)))
_WITHOUT = (
    *_ENDS,
    *(scale * i / 40 for scale in (0.001, 0.01) for i in range(4, 40, 2)),  # where few are positive, scores are small
    *(i / 400 for i in range(4, 40)),
    *(round(1 - i / 400, 4) for i in range(4, 40, 2)),
    *(i / 100 for i in range(1, 100)),
)


def outcome_shape(
    profile: Profile | None,
    config: PerformanceConfig,
    *,
    predicted: bool | None = None,
    labels: tuple[str, ...] = (),
) -> OutcomeShape:
    """How the outcomes of a monitor are counted: as in its reference, if the configuration agrees with that.

    Score bins are those of the profile's score column, cut further at twentieths, near 0 and 1,
    and at the threshold; without a profile hundredths, finer at both ends. Scores are probabilities unless
    the reference has one outside [0, 1].

    Kind ``auto``: multiclass if the configuration or the reference names three classes or more; else
    binary if a score is known; else, if the predicted value is a number of more than two values,
    regression; else binary.

    Args:
        profile: reference of the predictions, None without one.
        config: the monitor's section ``performance``.
        predicted: whether the predicted class or value is a field of its own; None: as in the profile.
        labels: labels known from a reference (training rows, or the profile of the labels), in any order.

    Raises:
        ConfigError: multiclass, and nobody names the classes; or the classes contradict the kind.
    """
    score, guess = _column(profile, "score"), _column(profile, "prediction")
    predicted = guess is not None if predicted is None else predicted
    known = profile.outcome if profile is not None else None
    if known is not None and _agrees(known.shape, config, predicted):
        return known.shape
    names = config.classes or sorted({*labels, *(guess.categories if guess else ())})
    kind = _kind(config, score, guess, names)
    if kind == "regression":
        return _regression(guess if guess and guess.kind == "numeric" else score)
    edges = () if score is None else score.edges
    probability = score is None or (score.low >= 0 and score.high <= 1)
    if kind == "multiclass":
        if len(names) < 2:
            raise ConfigError(
                "the classes are not known", key="performance.classes", fix="write them, or make a profile with labels"
            )
        classes = tuple(names[:MOST_CLASSES])
        return OutcomeShape(
            kind, _bins(edges, probability, ()), classes, probability=probability, reference_edges=edges
        )
    negatives = tuple(name for name in names if name != config.positive) if len(names) > 1 else ()
    return OutcomeShape(
        kind, _bins(edges, probability, (config.threshold,)), positive=config.positive, negatives=negatives,
        threshold=config.threshold, probability=probability, predicted=predicted, reference_edges=edges,
    )  # fmt: skip


def _agrees(shape: OutcomeShape, config: PerformanceConfig, predicted: bool) -> bool:
    """Whether a reference was counted as the configuration wants it."""
    classes = shape.classes if shape.kind == "multiclass" else (shape.positive, *shape.negatives)
    if config.kind not in ("auto", shape.kind) or (config.classes and set(config.classes) != set(classes)):
        return False
    binary = (config.positive, config.threshold, predicted) == (shape.positive, shape.threshold, shape.predicted)
    return shape.kind != "binary" or binary


def _kind(
    config: PerformanceConfig, score: ColumnProfile | None, guess: ColumnProfile | None, names: list[str]
) -> OutcomeKind:
    if config.kind != "auto":
        return config.kind
    if len(names) > 2:
        return "multiclass"
    numeric = guess is not None and guess.kind == "numeric" and guess.bins > 2
    return "regression" if score is None and numeric else "binary"


def _regression(column: ColumnProfile | None) -> OutcomeShape:
    if column is None:
        return OutcomeShape("regression", probability=False)
    return OutcomeShape(
        "regression", _after(column.edges), probability=False, scale=_scale(column), reference_edges=column.edges
    )


def _scale(column: ColumnProfile) -> float:
    """The power of two next to half of what holds the middle 68 % of the reference values."""
    below = np.cumsum(column.counts[1:-1]) / max(1, sum(column.counts))
    edges: NDArray[np.float64] = np.array([column.low, *column.edges, column.high])
    low, high = (
        float(edges[min(int(np.searchsorted(below, q)) + up, edges.size - 1)]) for q, up in ((0.16, 0), (0.84, 1))
    )
    spread = (high - low) / 2 or max(abs(low), abs(high))
    return 2.0 ** round(math.log2(spread)) if spread > 0 else 1.0


def _bins(edges: tuple[float, ...], probability: bool, more: tuple[float, ...]) -> tuple[float, ...]:
    if not probability:
        return tuple(sorted({*_after(edges), *more}))
    inner = {*_after(edges), *(_WITH_PROFILE if edges else _WITHOUT), *more}
    return tuple(sorted(edge for edge in inner if 0 < edge <= 1))


def _after(edges: tuple[float, ...]) -> tuple[float, ...]:
    """A profile's bins hold (low, high], ours [low, high): the next double makes them the same."""
    return tuple(math.nextafter(edge, math.inf) for edge in edges)


def _column(profile: Profile | None, role: str) -> ColumnProfile | None:
    return next((column for column in profile.columns if column.role == role), None) if profile else None

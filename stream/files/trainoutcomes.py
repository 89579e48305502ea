"""Outcomes of training rows: what labels said of the scores and predictions beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomereference import codes_of, outcome_reference
from driftbus.detectors.outcomes import MOST_CLASSES, OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import Profile, Role
from driftbus.detectors.reference import CategoryData, NumericData
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.files.survey import Data


def with_outcomes(
    profile: Profile, data: Mapping[str, Data], label: str, config: PerformanceConfig
) -> tuple[Profile, str]:
    """A profile with the reference of outcomes, and a note for people why it has none ("" if it has).

    Args:
        profile: of the predictions.
        data: columns of the same rows, the label among them.
        label: its column.
        config: how outcomes are counted.
    """
    score, guess = _of_role(profile, data, "score"), _of_role(profile, data, "prediction")
    if label not in data or (score is None and guess is None):
        return profile, ""
    truth = data[label]
    try:
        shape = outcome_shape(profile, config, labels=_classes(truth))
    except ConfigError as error:
        return profile, f"{label}: performance is not measured, {error}"
    regression = shape.kind == "regression"
    value = guess if regression and isinstance(guess, NumericData) else score
    n = len(truth.values)
    reference = outcome_reference(
        shape,
        _numbers(value, n),
        np.full(n, -1, np.int64) if guess is None or regression else codes_of(shape, _texts(guess)),
        _numbers(truth, n) if regression else codes_of(shape, _texts(truth)).astype(np.float64),
    )
    if reference is None:
        return profile, f"{label}: no reference of performance, {_why(shape)}"
    return replace(profile, outcome=reference), ""


def _why(shape: OutcomeShape) -> str:
    if shape.kind != "binary":
        return "no row has a label"
    return f"all labels are one class; the positive one is {shape.positive!r} (performance.positive)"


def _of_role(profile: Profile, data: Mapping[str, Data], role: Role) -> Data | None:
    return next((data[c.name] for c in profile.columns if c.role == role and c.name in data), None)


def _classes(data: Data) -> tuple[str, ...]:
    """Labels as texts, () when there are too many to be classes."""
    names = {text for text in _texts(data) if text is not None} if isinstance(data, CategoryData) else set()
    return tuple(sorted(names)) if len(names) <= MOST_CLASSES else ()


def _texts(data: Data) -> NDArray[np.object_]:
    if isinstance(data, CategoryData):
        return np.asarray(data.values, np.object_)
    numbers = _numbers(data, data.values.size).tolist()
    return np.array([None if v != v else repr(v) for v in numbers], np.object_)


def _numbers(data: Data | None, n: int) -> NDArray[np.float64]:
    """float64[n], NaN where there is none."""
    if not isinstance(data, NumericData):
        return np.full(n, np.nan)
    return data.values if data.present is None else np.where(data.present, data.values, np.nan)

"""Performance estimated from scores alone holds what labels then say, as long as scores mean the same."""

from __future__ import annotations

import gzip
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import csv
from sklearn.isotonic import IsotonicRegression

from driftbus.detectors.cbpe import estimate
from driftbus.detectors.isotonic import calibrate
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomecells import pair_cells, score_rows
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.outcomeconfig import PerformanceConfig

Int = NDArray[np.int64]
Float = NDArray[np.float64]


def counted(shape: OutcomeShape, score: Float, label: Any, prediction: Any = None) -> Int:
    """The pair table of some pairs."""
    guess = np.full(score.size, -1, np.int64) if prediction is None else np.asarray(prediction, np.int64)
    cells, amounts = pair_cells(shape, score, guess, np.asarray(label, np.float64))
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells, amounts)
    return table


def in_profile(column: ColumnProfile, values: Float) -> Int:
    """Values in the cells of a profile's column."""
    cells = 1 + np.searchsorted(np.array(column.edges), values, side="left")
    cells = np.where(values < column.low, 0, np.where(values > column.high, column.bins + 1, cells))
    return np.bincount(cells, minlength=column.width)


def labels_of(random: np.random.Generator, score: Float) -> Int:
    """Labels of a model that is overconfident."""
    return (random.random(score.size) < 0.1 + 0.7 * score).astype(np.int64)


RANDOM = np.random.default_rng(11)
SCORE = RANDOM.beta(1, 2, 20_000)
LABEL = labels_of(RANDOM, SCORE)
PROFILE = build_profile("m", "predictions", {"score": NumericData(SCORE, role="score")})
SHAPE = outcome_shape(PROFILE, PerformanceConfig(threshold=0.42))
REFERENCE = counted(SHAPE, SCORE, LABEL)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30))
@settings(deadline=None)
def test_the_calibration_is_isotonic_regression(cells: list[tuple[int, int]]) -> None:
    positive, negative = np.array(cells, np.int64).T
    rows = positive + negative
    if not rows.any():
        return
    found = calibrate(positive, negative)
    held = np.flatnonzero(rows)
    expected = IsotonicRegression().fit_transform(held, positive[held] / rows[held], sample_weight=rows[held])
    assert found.share[held] == pytest.approx(expected, abs=1e-9)
    assert (np.diff(found.share) >= 0).all()
    assert found.rows.sum() == rows.sum()


def test_the_reference_is_estimated_as_it_is() -> None:
    found = estimate(SHAPE, REFERENCE, in_profile(PROFILE.columns[0], SCORE))
    known = metrics(SHAPE, REFERENCE)
    assert set(found) == set(known) - {"ece", "label_mean"}
    for name, each in found.items():
        assert each.value == pytest.approx(known[name].value, abs=0.003), name
        assert each.n == 20_000


def covered(a: float, b: float, windows: int = 200, rows: int = 1_000, twist: float = 0.0) -> dict[str, float]:
    """Share of windows whose labels give a value within the interval; scores are beta(a, b)."""
    random = np.random.default_rng(77)
    inside: dict[str, list[bool]] = {}
    for _ in range(windows):
        score = random.beta(a, b, rows)
        label = np.where(random.random(rows) < twist, 0, labels_of(random, score))
        realised = metrics(SHAPE, counted(SHAPE, score, label))
        for name, each in estimate(SHAPE, REFERENCE, in_profile(PROFILE.columns[0], score)).items():
            inside.setdefault(name, []).append(each.low <= realised[name].value <= each.high)
    return {name: float(np.mean(hits)) for name, hits in inside.items()}


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 2)])
def test_labels_are_within_the_interval_whether_or_not_scores_shift(a: float, b: float) -> None:
    shares = covered(a, b)
    assert min(shares.values()) >= 0.9, shares
    assert np.mean(list(shares.values())) <= 0.99, shares


def test_a_change_of_what_scores_mean_is_not_within_the_interval() -> None:
    shares = covered(1, 2, windows=50, twist=0.3)
    assert shares["recall"] > 0.5
    assert shares["precision"] < 0.5
    assert shares["prevalence"] < 0.5


def test_few_reference_labels_widen_the_interval() -> None:
    few = counted(SHAPE, SCORE[:500], LABEL[:500])
    window = in_profile(PROFILE.columns[0], SCORE[:5_000])
    narrow, wide = estimate(SHAPE, REFERENCE, window)["accuracy"], estimate(SHAPE, few, window)["accuracy"]
    assert wide.error > 2 * narrow.error


def test_without_a_profile_scores_come_in_the_cells_of_the_shape() -> None:
    shape = outcome_shape(None, PerformanceConfig(threshold=0.42))
    window = np.bincount(score_rows(shape, SCORE[:3_000]), minlength=shape.score_cells)
    found = estimate(shape, counted(shape, SCORE, LABEL), window)
    other = estimate(SHAPE, REFERENCE, in_profile(PROFILE.columns[0], SCORE[:3_000]))
    assert found["auc"].value == pytest.approx(other["auc"].value, abs=0.003)
    with pytest.raises(ValueError, match="cells"):
        estimate(shape, counted(shape, SCORE, LABEL), window[1:])


def test_a_predicted_class_may_follow_a_threshold_of_its_own() -> None:
    shape = outcome_shape(PROFILE, PerformanceConfig(), predicted=True)
    pairs = counted(shape, SCORE, LABEL, SCORE >= 0.613)
    window = SCORE[:4_000]
    found = estimate(shape, pairs, in_profile(PROFILE.columns[0], window))
    realised = metrics(shape, counted(shape, window, LABEL[:4_000], window >= 0.613))
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found[name].low <= realised[name].value <= found[name].high


def test_decisions_that_no_threshold_explains_are_not_estimated() -> None:
    shape = outcome_shape(PROFILE, PerformanceConfig(), predicted=True)
    guess = np.random.default_rng(3).integers(0, 2, SCORE.size)
    found = estimate(shape, counted(shape, SCORE, LABEL, guess), in_profile(PROFILE.columns[0], SCORE))
    assert set(found) == {"auc", "average_precision", "prevalence", "log_loss", "brier"}


def test_metrics_of_true_positives_need_some() -> None:
    few = in_profile(PROFILE.columns[0], SCORE[SCORE < 0.1][:1_000])
    assert {"precision", "recall", "f1"} & set(estimate(SHAPE, REFERENCE, few)) == set()
    assert "accuracy" in estimate(SHAPE, REFERENCE, few)


def test_of_several_classes_accuracy_alone_follows_from_the_top_score() -> None:
    shape = outcome_shape(PROFILE, PerformanceConfig(kind="multiclass", classes=["a", "b", "c"]))
    truth = np.where(LABEL == 1, 0, 1)
    found = estimate(
        shape, counted(shape, SCORE, truth, np.zeros(SCORE.size)), in_profile(PROFILE.columns[0], SCORE[:2_000])
    )
    assert set(found) == {"accuracy"}
    assert found["accuracy"].low <= LABEL[:2_000].mean() <= found["accuracy"].high


def values_profile(values: Float) -> Profile:
    return build_profile("m", "predictions", {"prediction": NumericData(values, role="prediction")})


def test_errors_that_grow_with_the_value_are_estimated() -> None:
    random = np.random.default_rng(8)
    value = random.gamma(2, 10, 20_000)
    profile = values_profile(value)
    shape = outcome_shape(profile, PerformanceConfig())
    reference = counted(shape, value, value + 0.2 * value * random.normal(size=value.size))
    inside: dict[str, list[bool]] = {"mae": [], "rmse": []}
    for _ in range(200):
        window = random.gamma(3, 10, 800)
        realised = metrics(shape, counted(shape, window, window + 0.2 * window * random.normal(size=800)))
        for name, each in estimate(shape, reference, in_profile(profile.columns[0], window)).items():
            inside[name].append(each.low <= realised[name].value <= each.high)
    assert min(np.mean(hits) for hits in inside.values()) >= 0.85
    flat = counted(shape, value, value + 6 * random.normal(size=value.size))
    assert estimate(shape, flat, in_profile(profile.columns[0], value))["mae"].value == pytest.approx(4.8, abs=0.15)


def test_nothing_follows_from_nothing() -> None:
    empty = np.zeros(SHAPE.pairs, np.int64)
    window = in_profile(PROFILE.columns[0], SCORE)
    assert estimate(SHAPE, empty, window) == {}
    assert estimate(SHAPE, REFERENCE, np.zeros_like(window)) == {}
    with pytest.raises(ValueError, match="cells"):
        estimate(SHAPE, empty[1:], window)
    values = replace(SHAPE, kind="regression", probability=False)
    assert estimate(values, np.zeros(values.pairs, np.int64), window) == {}


def test_car_loans_are_estimated_as_their_labels_then_say() -> None:
    """Before the change at row 25,000 nine windows of ten at least are within the bounds."""
    data = files("driftbus.stream.demo") / "data"
    reference, analysis, target = (
        csv.read_csv(pa.BufferReader(gzip.decompress((data / f"car_loan_{name}.csv.gz").read_bytes())))
        for name in ("reference", "analysis", "analysis_target")
    )
    score, guess = (np.asarray(reference[name].to_numpy(), np.float64) for name in ("y_pred_proba", "y_pred"))
    profile = build_profile("m", "predictions", {"y_pred_proba": NumericData(score, role="score")})
    shape = outcome_shape(profile, PerformanceConfig(), predicted=True)
    known = counted(shape, score, reference["repaid"].to_numpy(), guess)
    rows = [np.asarray(analysis[name].to_numpy(), np.float64) for name in ("y_pred_proba", "y_pred")]
    labels = np.asarray(target["repaid"].to_numpy(), np.float64)
    for size in (1_000, 2_500):
        inside: dict[str, list[bool]] = {"auc": [], "accuracy": []}
        for begin in range(0, 25_000, size):
            scores, guesses, label = (each[begin : begin + size] for each in (*rows, labels))
            realised = metrics(shape, counted(shape, scores, label, guesses))
            found = estimate(shape, known, in_profile(profile.columns[0], scores))
            for name, hits in inside.items():
                hits.append(found[name].low <= realised[name].value <= found[name].high)
        assert min(np.mean(hits) for hits in inside.values()) >= 0.9, inside

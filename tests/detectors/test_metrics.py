"""Metrics from counts are scikit-learn's on the rows, up to what bins hide."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from driftbus.detectors import intervals
from driftbus.detectors.metrics import METRICS, Estimate, left_out, metrics, undefined
from driftbus.detectors.multiclassmetrics import worst_class
from driftbus.detectors.outcomecells import pair_cells, score_rows
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.ranking import auc, average_precision, tied
from driftbus.detectors.regressionmetrics import error_edges, interval_of, label_moments
from driftbus.detectors.reliability import reliability_curve
from driftbus.schemas.outcomeconfig import PerformanceConfig

Int = NDArray[np.int64]
Float = NDArray[np.float64]

BINARY = outcome_shape(None, PerformanceConfig(threshold=0.37))
CLASSES = outcome_shape(None, PerformanceConfig(kind="multiclass", classes=["a", "b", "c", "d"]))
VALUES = OutcomeShape("regression", (0.0, 10.0), probability=False, scale=4.0)


def counted(shape: OutcomeShape, score: Any, label: Any, prediction: Any = None) -> Int:
    """The pair table of some pairs."""
    guess = np.full(len(score), -1, np.int64) if prediction is None else np.asarray(prediction, np.int64)
    cells, amounts = pair_cells(shape, np.asarray(score, np.float64), guess, np.asarray(label, np.float64))
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells, amounts)
    return table


def binary_rows(seed: int, n: int, rate: float) -> tuple[Float, Int]:
    random = np.random.default_rng(seed)
    label = (random.random(n) < rate).astype(np.int64)
    return random.beta(2 + 2 * label, 5 - 2 * label), label


binary = st.tuples(st.integers(0, 2**32), st.integers(2, 2_000), st.sampled_from([0.02, 0.3, 0.5, 0.95])).map(
    lambda drawn: binary_rows(*drawn)
)


@given(binary)
@settings(max_examples=60, deadline=None)
def test_decisions_and_losses_are_exact(rows: tuple[Float, Int]) -> None:
    score, label = rows
    found = metrics(BINARY, counted(BINARY, score, label))
    guess = score >= 0.37
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(label, guess), abs=1e-12)
    assert found["prevalence"].value == pytest.approx(label.mean(), abs=1e-12)
    assert found["log_loss"].value == pytest.approx(sk.log_loss(label, score, labels=[0, 1]), abs=1e-6)
    assert found["brier"].value == pytest.approx(sk.brier_score_loss(label, score, pos_label=1), abs=1e-6)
    exact = {
        "precision": (guess.any(), sk.precision_score),
        "recall": (label.any(), sk.recall_score),
        "f1": (label.any() or guess.any(), sk.f1_score),
        "balanced_accuracy": (0 < label.sum() < label.size, sk.balanced_accuracy_score),
    }
    for name, (defined, function) in exact.items():
        assert (name in found) == defined
        if defined:
            assert found[name].value == pytest.approx(function(label, guess), abs=1e-12)
    of = {"precision": guess.sum(), "recall": label.sum()}
    for name, estimate in found.items():
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n == of.get(name, label.size)


@given(binary)
@settings(max_examples=60, deadline=None)
def test_rankings_are_scikit_learns_on_the_binned_scores_and_near_it_on_the_scores(rows: tuple[Float, Int]) -> None:
    score, label = rows
    pairs = counted(BINARY, score, label)
    found, table = metrics(BINARY, pairs), BINARY.table("score", pairs)
    if not 0 < label.sum() < label.size:
        assert {"auc", "average_precision"} <= set(undefined(BINARY, pairs))
        return
    bins = score_rows(BINARY, score)
    assert found["auc"].value == pytest.approx(sk.roc_auc_score(label, bins), abs=1e-9)
    assert found["average_precision"].value == pytest.approx(sk.average_precision_score(label, bins), abs=1e-9)
    assert abs(found["auc"].value - sk.roc_auc_score(label, score)) <= tied(table[:, 1], table[:, 0]) / 2 + 1e-9


@given(binary)
@settings(max_examples=40, deadline=None)
def test_the_calibration_error_is_that_of_its_definition(rows: tuple[Float, Int]) -> None:
    score, label = rows
    pairs = counted(BINARY, score, label)
    which = np.minimum((score * 10).astype(int), 9)
    gaps = [(which == b).sum() * abs(label[which == b].mean() - score[which == b].mean()) for b in np.unique(which)]
    found = metrics(BINARY, pairs, ["ece"])["ece"]
    assert found.value == pytest.approx(sum(gaps) / score.size, abs=1e-5)
    assert sum(each.n for each in reliability_curve(BINARY, pairs)) == score.size


@pytest.mark.parametrize("score", [0.0, 1e-300, 1e-17, 1e-12, 1e-6, 1 - 1e-12, 1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_the_log_loss_of_scores_at_the_ends_is_scikit_learns(score: float, label: int) -> None:
    found = metrics(BINARY, counted(BINARY, [score], [label]), ["log_loss"])["log_loss"]
    assert found.value == pytest.approx(sk.log_loss([label], [score], labels=[0, 1]), abs=1e-6)


def delong(label: Int, score: Float) -> float:
    """The variance by its definition, of all pairs, with one row more of each class."""
    p, q = score[label == 1], score[label == 0]
    psi = (p[:, None] > q[None, :]) + 0.5 * (p[:, None] == q[None, :])
    most = psi.mean() * (1 - psi.mean())
    return float(
        sum(
            (place.var(ddof=1) * (place.size - 1) + most) / place.size**2
            for place in (psi.mean(axis=1), psi.mean(axis=0))
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_of_the_auc_is_delongs(seed: int) -> None:
    score, label = binary_rows(seed, 300, 0.2)
    rows = score_rows(BINARY, score)
    positive, negative = (np.bincount(rows[label == y], minlength=BINARY.score_cells) for y in (1, 0))
    assert auc(positive, negative)[1] == pytest.approx(delong(label, rows.astype(float)), rel=1e-9)


def test_the_jackknife_is_by_leaving_rows_out() -> None:
    score, label = binary_rows(3, 80, 0.3)
    rows = score_rows(BINARY, score)
    positive, negative = (np.bincount(rows[label == y], minlength=BINARY.score_cells) for y in (1, 0))
    without = [sk.average_precision_score(np.delete(label, i), np.delete(rows, i)) for i in range(80)]
    expected = 79 / 80 * float(np.square(np.array(without) - np.mean(without)).sum())
    value, variance = average_precision(positive, negative)
    assert variance == pytest.approx(expected + value * (1 - value) / label.sum() ** 2, rel=1e-9)


@given(st.integers(0, 2**32), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_multiclass_metrics_are_scikit_learns(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    label = random.choice(5, n, p=[0.5, 0.3, 0.15, 0.0, 0.05])
    guess = np.where(random.random(n) < 0.6, np.minimum(label, 3), random.integers(0, 3, n))
    score = random.beta(4, 2, n)
    pairs = counted(CLASSES, score, label, guess)
    found, known = metrics(CLASSES, pairs), {"labels": range(4), "average": "macro", "zero_division": np.nan}
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(label, guess), abs=1e-12)
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        if name in found:
            assert found[name].value == pytest.approx(function(label, guess, **known), abs=1e-12)
            assert 0 <= found[name].low <= found[name].value <= found[name].high <= 1
        else:
            assert np.isnan(function(label, guess, **known))
    assert set(undefined(CLASSES, pairs)) >= {"auc", "log_loss", "brier", "average_precision", "mae"}


def test_the_worst_class() -> None:
    label = [0] * 50 + [1] * 50 + [2] * 2
    pairs = counted(CLASSES, [0.5] * 102, label, [0] * 50 + [0] * 30 + [1] * 20 + [2] * 2)
    name, recall = worst_class(CLASSES, pairs) or ("", None)
    assert name == "b"
    assert recall
    assert recall.value == 0.4
    assert worst_class(CLASSES, np.zeros(CLASSES.pairs, np.int64)) is None


@given(st.integers(0, 2**32), st.integers(2, 500), st.sampled_from([0.05, 1.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_regression_is_scikit_learns(seed: int, n: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    label = random.normal(5, 4, n)
    value = label + spread * random.standard_t(4, n)
    error = np.clip(value - label, -64 * 4, 64 * 4)
    found = metrics(VALUES, counted(VALUES, value, label))
    assert found["mae"].value == pytest.approx(np.abs(error).mean(), abs=4 * 2**-21)
    assert found["bias"].value == pytest.approx(error.mean(), abs=4 * 2**-21)
    assert found["rmse"].value ** 2 == pytest.approx(np.square(error).mean(), abs=16 * 2**-25)
    assert "quantile_coverage" not in found
    assert found["label_mean"].value == pytest.approx(label.mean(), abs=4 * 2**-21)
    _, mean, variance = label_moments(VALUES, counted(VALUES, value, label))
    assert mean == found["label_mean"].value
    assert variance == pytest.approx(label.var(), abs=16 * 2**-14)


def test_the_interval_of_the_reference_leaves_out_no_more_than_it_says() -> None:
    error = np.random.default_rng(1).normal(1, 3, 20_000)
    pairs = counted(VALUES, error, np.zeros(error.size))
    interval = interval_of(VALUES, pairs)
    assert interval
    low, high = interval
    assert low in error_edges(VALUES)
    assert np.mean(error < low) <= 0.05
    assert np.mean(error >= high) <= 0.05
    found = metrics(replace(VALUES, interval=interval), pairs, ["quantile_coverage"])["quantile_coverage"]
    assert found.value == pytest.approx(np.mean((error >= low) & (error < high)), abs=1e-12)
    assert 0.9 <= found.value <= 0.94


def test_a_predicted_class_decides_before_the_threshold() -> None:
    shape = outcome_shape(None, PerformanceConfig(), predicted=True)
    found = metrics(shape, counted(shape, [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], [0, 0, 0, 1]))
    assert found["accuracy"].value == 0.25
    assert found["auc"].value == 1


def test_scores_that_are_no_probabilities_rank_and_decide() -> None:
    shape = OutcomeShape("binary", (-100.0, 0.0, 40.0), threshold=0.0, probability=False)
    pairs = counted(shape, [-300, -5, 3, 100], [0, 1, 0, 1])
    assert metrics(shape, pairs)["auc"].value == 0.75
    assert metrics(shape, pairs)["accuracy"].value == 0.5
    assert undefined(shape, pairs)["brier"] == "scores are not all probabilities"


def test_one_score_that_is_no_probability_leaves_no_metric_silently_wrong() -> None:
    pairs = counted(BINARY, [0.1, 0.9, 7.0], [0, 1, 1])
    assert set(undefined(BINARY, pairs)) == {"log_loss", "brier", "ece", "mae", "rmse", "bias", "quantile_coverage"}
    assert left_out(BINARY, pairs) == {"score outside 0 to 1": 1}


@pytest.mark.parametrize("shape", [BINARY, CLASSES, VALUES])
def test_nothing_is_defined_of_nothing(shape: OutcomeShape) -> None:
    empty = np.zeros(shape.pairs, np.int64)
    assert metrics(shape, empty) == {}
    assert set(undefined(shape, empty)) == set(METRICS)
    assert left_out(shape, empty) == {}
    with pytest.raises(ValueError, match="cells"):
        metrics(shape, empty[1:])


def test_rows_without_label_or_score_are_counted_apart() -> None:
    pairs = counted(BINARY, [0.5, math.nan, 0.4, 0.9], [math.nan, 1, 2, 1])
    assert left_out(BINARY, pairs) == {"label missing": 1, "label of no known class": 1, "score missing": 1}
    assert metrics(BINARY, pairs)["accuracy"].n == 1
    values = counted(VALUES, [1.0, math.nan, 1e6], [math.nan, 2.0, 0.0])
    assert left_out(VALUES, values) == {"label missing": 1, "prediction missing": 1, "error clipped": 1}


def test_one_class_and_all_ties() -> None:
    only = counted(BINARY, [0.2, 0.9], [1, 1])
    assert undefined(BINARY, only)["auc"] == "no negative label"
    assert metrics(BINARY, only)["recall"].value == 0.5
    ties = metrics(BINARY, counted(BINARY, [0.5] * 40, [0, 1] * 20))["auc"]
    assert ties.value == 0.5
    assert ties.low < 0.45
    perfect = metrics(BINARY, counted(BINARY, [0.1, 0.9] * 20, [0, 1] * 20))
    assert perfect["auc"].value == 1
    assert perfect["auc"].low < 0.9
    assert perfect["average_precision"].low < 0.9


def test_the_intervals_are_those_of_their_sources() -> None:
    low, high = intervals.wilson(7, 50)
    expected = stats.binomtest(7, 50).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert intervals.wilson(0, 10)[0] == 0
    assert intervals.wilson(10, 10)[1] == 1
    assert intervals.bounded(0.3, 0.3 * 0.7 / 80, 1) == pytest.approx(intervals.wilson(24, 80), abs=1e-12)
    low, high = intervals.f1(30, 20)
    assert low / (2 - low) == pytest.approx(intervals.wilson(30, 50)[0])
    values = np.random.default_rng(2).normal(3, 2, 40)
    expected = stats.t.interval(0.95, 39, values.mean(), values.std(ddof=1) / math.sqrt(40))
    assert intervals.mean(values.mean(), values.var(ddof=1), 40) == pytest.approx(expected, abs=1e-12)
    assert Estimate(0.5, 0.4, 0.7, 9).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.7, "n": 9}

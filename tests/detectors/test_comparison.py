"""Verdicts on two versions: when they come, that they come once, and how rarely they are wrong."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbus.detectors.comparison import Comparison, Rules, Verdict
from driftbus.detectors.influence import influence
from driftbus.detectors.measures import UNCOMPARED, measure_of
from driftbus.detectors.metrics import METRICS, metrics
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.errors import ConfigError

Int = NDArray[np.int64]

BINARY = OutcomeShape("binary", tuple(i / 20 for i in range(1, 20)))
CLASSES = OutcomeShape("multiclass", (0.5,), ("a", "b", "c"))
VALUES = OutcomeShape("regression", (0.0,), probability=False, scale=2.0)


def table(shape: OutcomeShape, score: Any, label: Any, guess: Any = None) -> Int:
    """The pair table of some rows."""
    score, label = np.asarray(score, np.float64), np.asarray(label, np.float64)
    guess = np.full(score.size, -1) if guess is None else np.asarray(guess)
    cells, amounts = pair_cells(shape, score, guess.astype(np.int64), label)
    pairs = np.zeros(shape.pairs, np.int64)
    np.add.at(pairs, cells.ravel(), amounts.ravel())
    return pairs


def outcomes(rng: np.random.Generator, shape: OutcomeShape, n: int, worse: float = 0.0) -> Int:
    """n rows of a decent model; `worse` of them scored by chance."""
    lost = rng.random(n) < worse
    if shape.kind == "regression":
        label = rng.normal(5, 2, n)
        return table(shape, label + rng.standard_t(5, n) * np.where(lost, 4, 1), label)
    label = rng.integers(0, 3, n) if shape.kind == "multiclass" else (rng.random(n) < 0.3).astype(np.int64)
    if shape.kind == "multiclass":
        guess = np.where(lost | (rng.random(n) < 0.2), rng.integers(0, 3, n), label)
        return table(shape, rng.random(n), label, guess)
    score = np.where(lost, rng.random(n), np.clip(rng.normal(0.35 + 0.3 * label, 0.15), 0, 1))
    return table(shape, score, label)


@lru_cache(maxsize=128)
def panes(
    seed: int, shape: OutcomeShape, count: int, worse: float = 0.0, rows: tuple[int, int] = (40, 40)
) -> list[tuple[Int, Int]]:
    """Panes of (champion, challenger)."""
    rng = np.random.default_rng(seed)
    return [(outcomes(rng, shape, rows[0]), outcomes(rng, shape, rows[1], worse)) for _ in range(count)]


COMPARED = [
    (shape, metric)
    for shape, names in (
        (BINARY, "accuracy balanced_accuracy precision recall f1 auc average_precision log_loss brier prevalence"),
        (CLASSES, "accuracy balanced_accuracy precision recall f1"),
        (VALUES, "mae rmse label_mean"),
    )
    for metric in names.split()
]
TOLD_APART = [(shape, metric) for shape, metric in COMPARED if metric not in ("prevalence", "label_mean")]


def ids(case: Any) -> str:
    return case.kind if isinstance(case, OutcomeShape) else str(case)


@pytest.mark.parametrize(("shape", "metric"), TOLD_APART, ids=ids)
def test_a_worse_challenger_is_found_out_once(shape: OutcomeShape, metric: str) -> None:
    comparison = Comparison(measure_of(shape, metric), Rules())
    found = [v for pair in panes(1, shape, 400, worse=0.5) for v in comparison.update(*pair)]
    assert found == [Verdict("worse")]
    at = comparison.standing()
    assert at.low is not None
    assert at.high is not None
    assert at.difference is not None
    assert at.low < at.difference < at.high
    assert at.champion_labels == at.challenger_labels == 16_000
    assert at.champion_value is not None
    assert at.challenger_value is not None
    assert at.low < at.challenger_value - at.champion_value < at.high < 0 or measure_of(shape, metric).better < 0


def test_a_better_challenger_is_told_and_what_is_better_depends_on_the_metric() -> None:
    for metric in ("accuracy", "log_loss"):
        comparison = Comparison(measure_of(BINARY, metric), Rules())
        found = [v for old, new in panes(2, BINARY, 400, worse=0.5) for v in comparison.update(new, old)]
        assert found == [Verdict("better")]


def test_within_the_margin_is_not_worse() -> None:
    for margin, told in ((0.0, ["worse"]), (0.2, ["not_worse"])):
        comparison = Comparison(measure_of(BINARY, "accuracy"), Rules(margin))
        found = [v.status for pair in panes(3, BINARY, 400, worse=0.25) for v in comparison.update(*pair)]
        assert found == told


def test_a_verdict_that_does_not_hold_any_more_is_resolved() -> None:
    """The mean difference is what the interval is of: a challenger that has come back is no longer worse, once."""
    comparison = Comparison(measure_of(BINARY, "accuracy"), Rules(0.02))
    found = [v for pair in panes(4, BINARY, 40, worse=0.4) for v in comparison.update(*pair)]
    found += [v for pair in panes(5, BINARY, 1_500) for v in comparison.update(*pair)]
    assert found[0] == Verdict("worse")
    assert found.count(Verdict("resolved", "worse")) == 1
    assert [v.status for v in found].count("worse") == 1


def test_what_both_versions_share_is_in_no_difference() -> None:
    """The base rate swings, and the challenger has most of its traffic in the bad hours: means over all rows differ."""
    comparison, rng = Comparison(measure_of(BINARY, "accuracy"), Rules()), np.random.default_rng(6)
    found: list[Verdict] = []
    for hour in range(400):
        bad = hour % 2
        old, new = (outcomes(rng, BINARY, n, worse=0.5 * bad) for n in ((100, 30) if not bad else (30, 100)))
        found += comparison.update(old, new)
    at = comparison.standing()
    assert found == []
    assert at.champion_value is not None
    assert at.challenger_value is not None
    assert at.challenger_value - at.champion_value < -0.05
    assert abs(at.difference or 1) < 0.02


def test_a_version_without_labels_is_waited_for() -> None:
    comparison = Comparison(measure_of(BINARY, "accuracy"), Rules())
    rng = np.random.default_rng(7)
    for _ in range(50):
        assert comparison.update(outcomes(rng, BINARY, 30), None) == []
    assert comparison.standing().difference is None
    for _ in range(2):
        comparison.update(None, outcomes(rng, BINARY, 10))
    assert comparison.standing().difference is not None


@pytest.mark.parametrize(("shape", "metric"), COMPARED, ids=ids)
def test_two_equal_versions_are_rarely_told_apart(shape: OutcomeShape, metric: str) -> None:
    """40 runs that are looked at after each of 40 panes, at alpha .1: docs/comparisons.md has 2,000 runs of more."""
    wrong = 0
    for run in range(40):
        comparison = Comparison(measure_of(shape, metric), Rules(alpha=0.1))
        wrong += any(comparison.update(*pair) for pair in panes(100 + run, shape, 40, rows=(90, 45)))
    assert wrong <= 4 + 3 * 2


@pytest.mark.parametrize(("shape", "metric"), COMPARED, ids=ids)
def test_state_goes_on_where_it_was(shape: OutcomeShape, metric: str) -> None:
    rules = Rules(0.01, 0.05, 0.5)
    whole, first = (Comparison(measure_of(shape, metric), rules) for _ in range(2))
    found: list[list[Verdict]] = [[], []]
    for i, pair in enumerate(panes(9, shape, 120, worse=0.5)):
        if i == 50:
            saved = json.loads(json.dumps(first.state()))
            first = Comparison(measure_of(shape, metric), rules)
            first.restore(saved)
        found[0] += whole.update(*pair)
        found[1] += first.update(*pair)
    assert found[0] == found[1]
    assert whole.state() == first.state()
    assert whole.standing() == first.standing()


@pytest.mark.parametrize(
    ("shape", "metric"),
    [c for c in COMPARED if measure_of(*c).method == "asymptotic" and c[1] != "log_loss" and c[0] is not VALUES],
    ids=ids,
)
def test_influence_is_the_derivative(shape: OutcomeShape, metric: str) -> None:
    rng = np.random.default_rng(10)
    pairs = outcomes(rng, shape, 5_000)
    at = influence(shape, metric, pairs)
    assert at is not None
    value = metrics(shape, pairs, [metric])[metric].value
    assert at.value == pytest.approx(value)
    n, mean, variance = at.contribution(pairs)
    assert mean == pytest.approx(value)
    for _ in range(20):
        one = outcomes(rng, shape, 1)
        moved = metrics(shape, pairs + one, [metric])[metric].value - value
        assert at.contribution(one)[1] - value == pytest.approx(moved * (n + 1), abs=0.01)
    error = metrics(shape, pairs, [metric], confidence=0.95)[metric].error
    assert 1.96 * (variance / n) ** 0.5 == pytest.approx(error, rel=0.1)


def test_shares_that_are_not_as_they_should_be_are_told_and_when_they_are_again() -> None:
    comparison, found = Comparison(measure_of(BINARY, "accuracy"), Rules(share=0.5)), []
    for rows, count in (((50, 50), 100), ((60, 40), 100), ((50, 50), 400), ((40, 60), 200)):
        for pair in panes(11 + rows[0], BINARY, count, rows=rows):
            found += comparison.update(*pair)
    told = [v for v in found if v.status in ("mismatch", "resolved")]
    assert told == [Verdict("mismatch"), Verdict("resolved", "mismatch"), Verdict("mismatch")]
    assert comparison.standing().share_value == pytest.approx(0.6)


def test_metrics_without_a_comparison_say_what_to_take() -> None:
    assert {metric for _, metric in COMPARED} | UNCOMPARED.keys() == {*METRICS}
    for metric in UNCOMPARED:
        with pytest.raises(ConfigError, match="can't be compared"):
            measure_of(BINARY, metric)
    with pytest.raises(ConfigError, match="not defined for regression"):
        measure_of(VALUES, "auc")

"""Estimates are scored once, by the labels that came."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftbus.detectors.intervals import Estimate, quantile
from driftbus.detectors.scored import Scored, Tally, score


def around(value: float, error: float) -> Estimate:
    return Estimate(value, value - error * quantile(0.95), value + error * quantile(0.95), 1_000)


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value, 1_000)


def test_z_is_in_standard_errors_of_the_side_that_was_missed() -> None:
    assert score(around(0.9, 0.01), 0.92).z == pytest.approx(2)
    assert score(around(0.9, 0.01), 0.885).z == pytest.approx(-1.5)
    assert score(Estimate(0.9, 0.8, 0.91, 10), 0.92).within is False
    assert score(Estimate(0.9, 0.8, 0.91, 10), 0.82).within is True
    assert score(exactly(1.0), 1.0).z == 0


def test_right_intervals_hold_as_often_as_they_say() -> None:
    random, scored = np.random.default_rng(6), Scored()
    for cohort in range(2_000):
        scored.expect(cohort, {"auc": around(0.8 + 0.01 * random.normal(), 0.01)})
        scored.realise(cohort, {"auc": exactly(0.8)})
    tally = scored.tallies["auc"]
    assert tally.share == pytest.approx(0.95, abs=0.02)
    assert tally.off / tally.cohorts == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)


def test_a_cohort_is_scored_once_and_by_its_latest_estimates() -> None:
    scored = Scored()
    scored.expect(7, {"auc": around(0.5, 0.01), "f1": around(0.5, 0.01)})
    scored.expect(7, {"auc": around(0.8, 0.01)})
    assert set(scored.realise(7, {"auc": exactly(0.81), "f1": exactly(0.5)})) == {"auc"}
    assert scored.realise(7, {"auc": exactly(0.81)}) == {}
    assert scored.realise(8, {"auc": exactly(0.81)}) == {}
    assert scored.tallies["auc"].cohorts == 1
    assert Tally().share is None


def test_cohorts_without_labels_are_given_up_the_oldest_first() -> None:
    scored = Scored(most=3)
    for cohort in (5, 1, 2, 3, 4):
        scored.expect(cohort, {"auc": exactly(0.5)})
    assert sorted(scored.waiting) == [3, 4, 5]


def test_it_continues_where_its_state_was_taken() -> None:
    one, two = Scored(), Scored()
    one.expect(1, {"auc": around(0.8, 0.01), "f1": around(0.6, 0.02)})
    one.expect(2, {"auc": around(0.7, 0.01)})
    one.realise(1, {"auc": exactly(0.83)})
    two.restore(json.loads(json.dumps(one.state())))
    assert two == one
    assert two.realise(2, {"auc": exactly(0.7)}) == one.realise(2, {"auc": exactly(0.7)})

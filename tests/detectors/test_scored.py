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
    for _ in range(2_000):
        scored.realise("1", {"auc": around(0.8 + 0.01 * random.normal(), 0.01)}, {"auc": 0.8})
    tally = scored.tallies["1"]["auc"]
    assert tally.share == pytest.approx(0.95, abs=0.02)
    assert tally.off / tally.cohorts == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)


def test_only_what_was_estimated_and_came_is_scored() -> None:
    scored = Scored()
    scored.realise("1", {"auc": around(0.8, 0.01), "f1": around(0.5, 0.01)}, {"auc": 0.81, "brier": 0.1})
    assert list(scored.tallies["1"]) == ["auc"]
    assert Tally().share is None


def test_the_version_scored_longest_ago_is_given_up() -> None:
    scored = Scored(most=2)
    for version in ("1", "2", "1", "3"):
        scored.realise(version, {"auc": around(0.8, 0.01)}, {"auc": 0.8})
    assert list(scored.tallies) == ["1", "3"]
    assert scored.tallies["1"]["auc"].cohorts == 2


def test_it_continues_where_its_state_was_taken() -> None:
    one, two = Scored(), Scored()
    one.realise("1", {"auc": around(0.8, 0.01), "f1": around(0.6, 0.02)}, {"auc": 0.83, "f1": 0.6})
    two.restore(json.loads(json.dumps(one.state())))
    for scored in (one, two):
        scored.realise("1", {"auc": around(0.7, 0.01)}, {"auc": 0.7})
    assert two.tallies == one.tallies

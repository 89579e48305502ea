"""Confidence sequences: the formulas against their definitions, and how often they miss when always looked at."""

from __future__ import annotations

from itertools import permutations
from math import exp, log

import numpy as np
import pytest
from scipy.integrate import quad

from driftbus.detectors.sequential import (
    boundary,
    log_evidence,
    log_share_evidence,
    normal_boundary,
    share_interval,
    squares_ahead,
    tuned_at,
)


@pytest.mark.parametrize(("s", "v"), [(10.0, 5.0), (30.0, 100.0), (3.0, 1.0), (60.0, 400.0), (2.0, 0.0)])
def test_evidence_is_the_mixture_over_all_bets(s: float, v: float) -> None:
    """Howard et al.: exp(bet * s - psi(bet) * v) with psi(x) = -log(1 - x) - x, weighed by a truncated gamma law."""
    rho = tuned_at(100.0, 0.025)

    def weight(bet: float) -> float:
        return exp(-rho * (1 - bet)) * (1 - bet) ** (rho - 1)

    def weighed(bet: float) -> float:
        return exp(bet * s + v * (log(1 - bet) + bet)) * weight(bet)

    mixture = quad(weighed, 0, 1, limit=200)[0] / quad(weight, 0, 1, limit=200)[0]
    assert log_evidence(s, v, rho) == pytest.approx(log(mixture), abs=1e-9)


@pytest.mark.parametrize("v", [0.0, 1.0, 250.0, 1e7])
def test_the_boundary_is_where_evidence_is_enough(v: float) -> None:
    rho = tuned_at(100.0, 0.025)
    assert log_evidence(boundary(v, 0.025, rho), v, rho) == pytest.approx(log(40), abs=1e-6)


def test_the_boundary_is_narrowest_where_it_is_tuned() -> None:
    widths = [boundary(1_000.0, 0.025, tuned_at(v, 0.025)) for v in (10.0, 1_000.0, 100_000.0)]
    assert widths[1] < min(widths[0], widths[2])


def test_for_much_variance_both_boundaries_agree() -> None:
    rho = tuned_at(1e6, 0.025)
    assert boundary(1e6, 0.025, rho) == pytest.approx(normal_boundary(1e6, 0.05, rho), rel=0.01)


def test_squares_are_the_average_over_all_orders() -> None:
    values, known, expected = np.random.default_rng(1).random(6), 3.0, 0.4
    total, orders = 0.0, 0
    for order in permutations(values):
        weight, mean = known, expected
        for value in order:
            total += (value - mean) ** 2
            mean += (value - mean) / (weight + 1)
            weight += 1
        orders += 1
    assert squares_ahead(6, values.mean(), values.var(), known, expected) == pytest.approx(total / orders)
    assert squares_ahead(1, 0.3, 0.0, known, expected) == pytest.approx(0.01)


def test_a_mean_that_is_looked_at_after_every_value_is_missed_as_rarely_as_promised() -> None:
    """1,000 runs of 1,500 values; both sides of the interval, all times. Binomial: 4 deviations above alpha."""
    alpha, rho = 0.1, tuned_at(100.0, 0.05)
    target, missed = log(2 / alpha), 0
    for run in range(1_000):
        values = (np.random.default_rng([7, run]).random(1_500) < 0.1).astype(float)
        s = v = 0.0
        known, expected = 1.0, 0.5
        for batch in values.reshape(-1, 30):
            v += squares_ahead(batch.size, batch.mean(), batch.var(), known, expected)
            s += float((batch - 0.1).sum())
            expected = (known * expected + batch.sum()) / (known + batch.size)
            known += batch.size
            if log_evidence(abs(s), v, rho) > target:
                missed += 1
                break
    assert 0 < missed / 1_000 < alpha + 4 * (alpha * (1 - alpha) / 1_000) ** 0.5


def test_the_interval_of_a_share_holds_the_shares_without_evidence() -> None:
    low, high = share_interval(5_200, 4_800, 0.05, 0.5)
    assert low < 0.52 < high
    for end in (low, high):
        assert log_share_evidence(5_200, 4_800, end, 0.5) == pytest.approx(log(20), abs=1e-6)
    assert share_interval(0, 0, 0.05, 0.5) == (0.0, 1.0)
    assert share_interval(0, 10, 0.05, 0.5)[0] == pytest.approx(0, abs=1e-9)


def test_a_share_that_is_right_is_rarely_contradicted_and_a_wrong_one_always() -> None:
    for share, told in ((0.1, (0, 25)), (0.12, (200, 200))):
        found = 0
        for run in range(200):
            ones = np.cumsum(np.random.default_rng([8, run]).binomial(100, share, 300)).tolist()
            rows = range(100, 30_001, 100)
            evidence = (log_share_evidence(one, n - one, 0.1, 0.1) for one, n in zip(ones, rows, strict=True))
            found += any(e > log(20) for e in evidence)
        assert told[0] <= found <= told[1]

"""Cumulative sums: the recursion, run lengths, and episodes that they open and close."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from driftbus.detectors.adwin import AdwinBank, AdwinRules
from driftbus.detectors.cusum import ALLOWANCE, CusumBank, exponent, limit_of
from driftbus.detectors.settings import Settings

from .synthetic import PANE, UNDIVIDED, profile_of, transitions_of

MANY = 1e12


def bank_of(limit: float, *, running: bool = False, reference: float = MANY, variance: float = 1.0) -> CusumBank:
    """One score, reference mean 0; variance at least that of the reference."""
    measured = AdwinBank(np.array([0.002]), AdwinRules(longrun=False, alarms=False))
    moments = np.array([[reference], [0.0], [variance]])
    return CusumBank(running, moments, np.full((1, 2), limit), measured)


def run_lengths(draw: NDArray[np.float64], limit: float, variance: float) -> float:
    """Mean number of values to an alarm of the upper side, one value a pane, by the definition."""
    lengths, s, start = [], np.zeros(draw.shape[0]), np.zeros(draw.shape[0])
    for i in range(draw.shape[1]):
        s = np.maximum(0, s + draw[:, i] / np.sqrt(variance) - ALLOWANCE)
        hit = s > limit
        lengths += list(i + 1 - start[hit])
        start[hit], s[hit] = i + 1, 0
    return draw.size / max(1, len(lengths))


@pytest.mark.parametrize("running", [False, True])
def test_the_sums_are_pages_recursion(running: bool) -> None:
    rng, limit, reference = np.random.default_rng(0), 12.0, 400.0
    bank = bank_of(limit, running=running, reference=reference)
    up = down = total = 0.0
    size, found, expected = reference, [], []
    for tick in range(900):
        x = rng.standard_normal(8) + 0.6 * (tick > 500)
        alarms = bank.update(tick, np.array([8.0]), np.array([x.sum()]))
        found += [(tick, alarm.before_mean) for alarm in alarms]
        mean = total / size if running and size else 0.0
        drift = 8 * (ALLOWANCE + limit / size) if size else np.inf
        up = max(0.0, up + x.sum() - 8 * mean - drift)
        down = max(0.0, down - x.sum() + 8 * mean - drift)
        if max(up, down) > limit:
            expected.append((tick, pytest.approx(mean)))
            up = down = 0.0
            total, size = (0.0, 0.0) if running else (total, size)
        if running:
            total, size = total + x.sum(), size + 8
    assert found == expected
    assert any(tick > 500 for tick, _ in found)


def test_an_alarm_tells_when_and_how_far() -> None:
    rng, bank, alarms = np.random.default_rng(4), bank_of(40.0), []
    for tick in range(200):
        x = rng.standard_normal(PANE) + 1.0 * (tick >= 120)
        alarms += [(tick, alarm) for alarm in bank.update(tick, np.array([32.0]), np.array([x.sum()]))]
    tick, alarm = alarms[0]
    assert 120 < tick <= 122
    assert alarm.since_low <= alarm.since <= 120 <= alarm.since_high + 1
    assert alarm.after_mean == pytest.approx(1, abs=0.35)
    assert alarm.statistic > alarm.threshold == 40
    assert alarm.p_value is None


def test_lundbergs_exponent() -> None:
    grid = np.linspace(-6, 6, 2_001)
    share = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])))
    assert exponent(grid, share, 0.125) == pytest.approx(0.25, rel=0.01)
    p = 0.01
    values, share = np.array([1 - p, -p]) / np.sqrt(p * (1 - p)), np.array([p, 1 - p])
    expected = optimize.brentq(lambda t: np.log(share @ np.exp(t * (values - 0.125))), 1e-4, 4)
    assert exponent(values, share, 0.125) == pytest.approx(expected)
    assert exponent(values, share, 0.125) < 0.2 < exponent(-values, share, 0.125)


def test_run_lengths_of_normal_values_are_siegmunds() -> None:
    for length in (500, 3_000):
        limit = limit_of(length, 2 * ALLOWANCE)
        draw = np.random.default_rng(1).standard_normal((400, 20_000))
        assert run_lengths(draw, limit, 1.0) == pytest.approx(length, rel=0.08)


@pytest.mark.parametrize("p", [0.5, 0.05, 0.005])
def test_run_lengths_of_shares_are_not_shorter_than_promised(p: float) -> None:
    variance = p * (1 - p)
    values, share = np.array([1 - p, -p]) / np.sqrt(variance), np.array([p, 1 - p])
    limit = limit_of(5_000, exponent(values, share, ALLOWANCE))
    draw = (np.random.default_rng(2).random((400, 30_000)) < p) - p
    length = run_lengths(draw, limit, variance)
    assert 0.9 * 5_000 < length < 4 * 5_000


def test_a_short_reference_raises_the_allowance() -> None:
    slightly = np.full(1, 0.3 * 32)
    long, short = bank_of(40.0), bank_of(40.0, reference=200.0)
    told = [bank.update(tick, np.array([32.0]), slightly) for tick in range(20) for bank in (long, short)]
    assert any(told[::2])
    assert not any(told[1::2])


@pytest.mark.parametrize("name", ["cusum", "page_hinkley"])
def test_alone_they_open_and_close_episodes(name: str) -> None:
    rng = np.random.default_rng(9)
    values = rng.standard_normal(20_000)
    values[6_400:11_200] += 0.7
    profile, settings = profile_of({"x": rng.standard_normal(10_000)}), Settings(pane_ms=10_000, detectors=(name,))
    told = [t for t in transitions_of(profile, {"x": values}, settings) if t.status != "changed"]
    opened, closed = told[0], told[-1]
    assert (opened.detector, opened.status, opened.what, opened.direction) == (name, "opened", "shift", "up")
    assert 6_400 <= opened.opened_tick * PANE < 6_700
    assert abs(opened.since_tick * PANE - 6_400) < 200
    assert closed.status == "closed"
    assert {t.aspect for t in told} == {"distribution"}


def test_the_default_has_none_of_them() -> None:
    rng = np.random.default_rng(9)
    profile = profile_of({"x": rng.standard_normal(5_000)})
    told = transitions_of(profile, {"x": rng.standard_normal(5_000) + 1}, UNDIVIDED)
    assert {t.detector for t in told} <= {"adwin", "psi_1000", "psi_5000"}


def test_page_hinkley_says_a_share_that_came_from_nothing_once() -> None:
    """The reference's law, nearly no nulls, sets no limit for the time after: .3 of nulls vary by themselves."""
    rng = np.random.default_rng(4)
    stream = np.where(rng.random(20_000) < 0.3, np.nan, rng.standard_normal(20_000))
    profile = profile_of({"x": rng.standard_normal(6_000)})
    told = transitions_of(profile, {"x": stream}, Settings(pane_ms=10_000, detectors=("page_hinkley",)))
    assert [(t.what, t.status) for t in told] == [("nulls", "opened")]

"""Calibrated distances: laws without drift, statistic, thresholds, design effect, closing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftbus.detectors import distancebank, distances, nulls
from driftbus.detectors.distancebank import DISTANCE, LEAST, NU, STATISTIC, THRESHOLD, DistanceBank
from driftbus.detectors.windows import SlidingWindows

from .synthetic import autoregressive

NAMES = tuple(LEAST)
ORACLES = {
    "ks": distances.ks, "js": distances.jensen_shannon, "hellinger": distances.hellinger,
    "wasserstein": distances.wasserstein, "chi2": distances.chi_square, "tv": distances.total_variation,
}  # fmt: skip
PANE = 32


def run(
    name: str, bins: NDArray[np.int64], reference: NDArray[np.float64], sizes: tuple[int, ...] = (1_000, 5_000)
) -> tuple[DistanceBank, SlidingWindows, list[tuple[int, int]]]:
    """One ordered column of coarse bins in panes; the alarms as (pane, window)."""
    windows = SlidingWindows(sizes, np.array([reference.size]))
    bank, alarms = DistanceBank(name, [reference], [True], sizes, 1e-6), []
    for tick in range(bins.size // PANE):
        counts = np.bincount(bins[tick * PANE : (tick + 1) * PANE], minlength=reference.size).astype(np.float64)
        n = np.array([float(PANE)])
        windows.update(tick, n, counts)
        bank.update(n, counts, windows.start, windows.judged, windows.n, windows.sums)
        alarms += [(tick, int(w)) for w in np.flatnonzero(bank.opened[:, 0])]
    return bank, windows, alarms


def deciles(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.digitize(stats.norm.cdf(values), np.arange(1, 10) / 10).astype(np.int64)


@pytest.mark.parametrize("name", NAMES)
def test_a_judgement_is_the_distance_of_the_window_and_its_law(name: str) -> None:
    reference = np.full(10, 2_000.0)
    bank, windows, _ = run(name, np.random.default_rng(0).integers(0, 10, 4_000), reference)
    distance, threshold, statistic, nu = bank.judgement[0, 0]
    assert distance == pytest.approx(ORACLES[name](reference, windows.sums[0]))
    unit, _, freedom = nulls.null_law(nulls.LAWS[name], (0.1,) * 10, 1e-6)
    scale = unit * (1 / windows.n[0, 0] + 1 / 20_000)
    power, stretch = (1, 1) if name == "chi2" else (2, 8 if name in ("js", "hellinger") else 1)
    assert statistic == pytest.approx(distance**power * stretch / scale)
    assert nu == pytest.approx(freedom)
    least = LEAST[name] * (10 if name == "wasserstein" else 1)
    exact = (stats.chi2.isf(1e-6, freedom) / freedom * scale / stretch) ** (1 / power)
    assert threshold == pytest.approx(max(least, exact), rel=1e-4)
    assert bank.p_value(0, 0) == pytest.approx(stats.chi2.sf(statistic * nu, nu))


@pytest.mark.parametrize("name", ["ks", "tv", "wasserstein"])
@pytest.mark.parametrize("share", [(0.1,) * 10, (0.5, 0.25, 0.15, 0.06, 0.04), (0.7, 0.3)])
def test_quantiles_bound_those_of_simulated_samples_and_not_by_much(name: str, share: tuple[float, ...]) -> None:
    rng, alpha = np.random.default_rng(3), 1e-3
    a, b = rng.multinomial(8_000, share, 60_000) / 8_000, rng.multinomial(2_000, share, 60_000) / 2_000
    d = a - b
    running = np.abs(np.cumsum(d, axis=1)[:, :-1])
    drawn = {"ks": running.max(axis=1), "tv": np.abs(d).sum(axis=1) / 2, "wasserstein": running.sum(axis=1)}[name]
    drawn /= np.sqrt(1 / 8_000 + 1 / 2_000)
    unit, full, nu = nulls.null_law(nulls.LAWS[name], share, alpha)
    assert unit == pytest.approx(np.mean(drawn**2), rel=0.03)
    assert full == pytest.approx(2 * np.mean(drawn**2) ** 2 / np.var(drawn**2), rel=0.15)
    quantile = np.sqrt(unit * stats.chi2.isf(alpha, nu) / nu)
    assert 0.96 <= quantile / np.quantile(drawn, 1 - alpha) <= 1.08


def test_ks_of_many_bins_has_kolmogorovs_quantile() -> None:
    share = np.full(2_000, 1 / 2_000)
    assert nulls.upper_quantile(nulls.KS, share, 1e-4) == pytest.approx(stats.kstwobign.isf(1e-4))
    assert nulls.upper_quantile(nulls.KS, np.full(10, 0.1), 1e-4) < 0.96 * stats.kstwobign.isf(1e-4)


@pytest.mark.parametrize("name", ["js", "hellinger", "chi2"])
def test_without_drift_quadratic_distances_are_chi_squared(name: str) -> None:
    reference, seen = np.full(10, 50_000.0), []
    for seed in range(120):
        bank, _, alarms = run(name, np.random.default_rng(seed).integers(0, 10, 1_024), reference, (1_000,))
        seen.append(bank.judgement[0, 0, STATISTIC] * 9)
        assert not alarms
    assert stats.kstest(seen, stats.chi2(9).cdf).pvalue > 0.001


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_is_found_and_an_alarm_closes_when_the_window_is_back(name: str) -> None:
    values = np.random.default_rng(1).standard_normal(24_000)
    values[5_000:10_000] += 1
    bank, _, alarms = run(name, deciles(values), np.full(10, 5_000.0))
    assert sorted(w for _, w in alarms) == [0, 1]
    assert all(5_000 < tick * PANE < 7_500 for tick, _ in alarms)
    assert not bank.open.any()


@pytest.mark.parametrize("name", NAMES)
def test_autocorrelation_raises_the_threshold_and_not_the_alarms(name: str) -> None:
    independent = run(name, np.random.default_rng(0).integers(0, 10, 20_000), np.full(10, 5_000.0))[0]
    alarms = []
    for seed in range(3):
        bank, _, found = run(name, deciles(autoregressive(np.random.default_rng(seed), 40_000, 0.9)), np.full(10, 5e3))
        alarms += [tick for tick, _ in found if tick * PANE > 5_000]
        assert bank.judgement[0, 0, THRESHOLD] > 1.5 * independent.judgement[0, 0, THRESHOLD]
        assert bank.judgement[0, 0, NU] <= independent.judgement[0, 0, NU]
    assert not alarms


def test_an_order_is_needed_by_some_and_rare_bins_join_their_neighbours() -> None:
    reference = [np.array([500.0, 300.0, 200.0]), np.array([990.0, 10.0])]
    counts, start = np.array([5.0, 3.0, 2.0, 9.0, 1.0]), np.array([0, 3, 5])
    n, judged = np.full(2, 10.0), np.ones((1, 2), np.bool_)
    for name in NAMES:
        bank = DistanceBank(name, reference, [False, True], (1_000,), 1e-6)
        bank.update(n, counts, start, judged, np.full((1, 2), 1_000.0), counts[None] * 100)
        assert (bank.judgement[0, 0, NU] > 0) == (name not in distancebank.ORDERED)
        assert bank.judgement[0, 1].tolist() == [0, 0, 0, 0]  # 10 of 1,000 expected: one bin, nothing to compare
        assert bank.judgement[0, 0, DISTANCE] == pytest.approx(0, abs=1e-9)


def test_merged_bins_hold_enough() -> None:
    counts = np.array([1.0, 50.0, 1.0, 1.0, 30.0, 2.0])
    group = distancebank.merged_bins(counts, 0.1)
    assert group.tolist() == [0, 0, 1, 1, 1, 1]
    assert np.bincount(group, weights=counts).min() / counts.sum() >= 0.1
    assert distancebank.merged_bins(np.array([1.0, 1.0]), 0.9).tolist() == [0, 0]

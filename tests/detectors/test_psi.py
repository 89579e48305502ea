"""The calibrated index: windows, statistic, thresholds, design effect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from driftbus.detectors import distances, psi
from driftbus.detectors.windows import SlidingWindows

from .synthetic import autoregressive


def run(
    bins: NDArray[np.int64], reference: NDArray[np.float64], sizes: tuple[int, ...] = (1_000, 5_000), pane: int = 32
) -> tuple[psi.PsiBank, SlidingWindows, list[tuple[int, int]]]:
    """One column of coarse bins in panes; the alarms as (pane, window)."""
    windows, bank = SlidingWindows(sizes, np.array([reference.size])), psi.PsiBank([reference], len(sizes), 1e-6, 0.02)
    alarms = []
    for tick in range(bins.size // pane):
        counts = np.bincount(bins[tick * pane : (tick + 1) * pane], minlength=reference.size).astype(np.float64)
        windows.update(tick, np.array([float(pane)]), counts)
        bank.update(np.array([float(pane)]), counts, windows.start, windows.judged, windows.n, windows.sums)
        alarms += [(tick, int(w)) for w in np.flatnonzero(bank.opened[:, 0])]
    return bank, windows, alarms


def deciles(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.digitize(stats.norm.cdf(values), np.arange(1, 10) / 10).astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(10,), (80, 400), (7, 64)]))
def test_a_window_holds_the_latest_panes_with_enough_values(seed: int, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    windows, history = SlidingWindows(sizes, np.array([3])), []
    for tick in range(400):
        counts = rng.integers(0, rng.choice([2, 9, 300]), 3).astype(np.float64)
        windows.update(tick, counts.sum(keepdims=True), counts)
        if counts.sum():
            history.append((tick, counts))
        for w, size in enumerate(sizes):
            if windows.judged[w, 0]:
                held = [c for t, c in history if t >= windows.first_tick[w, 0]]
                assert np.array_equal(np.sum(held, axis=0), windows.sums[w])
                assert windows.n[w, 0] == windows.sums[w].sum() >= size
                assert windows.closed_buckets(w, 0)[0].shape[0] <= 8


def test_statistic_and_threshold_are_the_formulas() -> None:
    rng, reference = np.random.default_rng(0), np.full(10, 2_000.0)
    bank, windows, _ = run(rng.integers(0, 10, 4_000), reference)
    n = windows.n[0, 0]
    index, statistic, threshold, design, freedom = bank.judgement[0, 0]
    assert index == pytest.approx(distances.psi(reference, windows.sums[0]))
    assert (design, freedom) == (1, 9)
    assert statistic == pytest.approx(index / (1 / n + 1 / 20_000))
    assert threshold == pytest.approx(stats.chi2.isf(1e-6, 9), rel=1e-9)
    assert bank.p_value(0, 0) == pytest.approx(stats.chi2.sf(statistic, 9))
    assert bank.corrected(0, 0, n) == pytest.approx(max(0, index - 9 * (1 / n + 1 / 20_000)))


def test_without_drift_the_statistic_is_chi_squared() -> None:
    reference, seen = np.full(10, 50_000.0), []
    for seed in range(150):
        bank, _, alarms = run(np.random.default_rng(seed).integers(0, 10, 1_024), reference)
        seen.append(bank.judgement[0, 0, psi.STATISTIC])
        assert not alarms
    assert stats.kstest(seen, stats.chi2(9).cdf).pvalue > 0.001


@pytest.mark.parametrize(("shift", "window", "power"), [(0.25, 1, 1.0), (0.5, 0, 1.0)])
def test_power(shift: float, window: int, power: float) -> None:
    found = 0
    for seed in range(20):
        values = np.random.default_rng(seed).standard_normal(20_000)
        values[10_000:] += shift
        alarms = run(deciles(values), np.full(10, 5_000.0))[2]
        assert all(tick * 32 > 9_900 for tick, _ in alarms)
        found += window in {w for _, w in alarms}
    assert found / 20 >= power


def test_autocorrelation_raises_the_threshold_and_not_the_alarms() -> None:
    alarms = []
    for seed in range(4):
        bank, _, found = run(deciles(autoregressive(np.random.default_rng(seed), 60_000, 0.9)), np.full(10, 5_000.0))
        alarms += [tick for tick, _ in found if tick * 32 > 5_000]
        design, freedom = bank.judgement[0, 0, [psi.DESIGN, psi.FREEDOM]]
        assert design > 2
        assert freedom < 7
        assert bank.judgement[0, 0, psi.THRESHOLD] == pytest.approx(
            9 * stats.chi2.isf(1e-6, freedom) / freedom, rel=1e-3
        )
    assert not alarms


def test_an_alarm_closes_when_the_window_is_back() -> None:
    values = np.random.default_rng(1).standard_normal(20_000)
    values[5_000:10_000] += 1
    bank, _, alarms = run(deciles(values), np.full(10, 5_000.0))
    assert sorted(w for _, w in alarms) == [0, 1]
    assert not bank.open.any()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=80), st.integers(2, 12))
def test_coarse_bins_are_ordered_without_gaps(counts: list[int], bins: int) -> None:
    coarse = psi.coarse_bins(np.array(counts, np.int64), bins)
    assert np.all(np.diff(coarse) >= 0)
    assert set(coarse.tolist()) == set(range(int(coarse.max()) + 1))
    if any(counts):
        assert np.bincount(coarse, weights=counts).min() > 0
    assert coarse.max() < bins

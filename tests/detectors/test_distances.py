"""Distances and indices agree with scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cityblock, jensenshannon

from driftbus.detectors import distances

counts = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=40).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


def split(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b = np.array(pairs, np.int64).T
    return a, b


@given(counts)
def test_psi_is_the_symmetric_relative_entropy(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    expected = stats.entropy(a + 0.5, b + 0.5) + stats.entropy(b + 0.5, a + 0.5)
    assert distances.psi(a, b) == pytest.approx(expected, abs=1e-12)
    assert distances.psi(a, b) == pytest.approx(distances.psi(b, a), abs=1e-12)
    assert distances.psi(a, a) == 0


@given(counts)
def test_ks_is_scipys_on_the_bins(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    bins = np.arange(a.size)
    expected = stats.ks_2samp(np.repeat(bins, a), np.repeat(bins, b), method="asymp").statistic
    assert distances.ks(a, b) == pytest.approx(expected, abs=1e-12)


@given(counts)
def test_jensen_shannon_is_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    expected = jensenshannon(a / a.sum(), b / b.sum())
    assert distances.jensen_shannon(a, b) == pytest.approx(expected, abs=1e-7)


@given(counts)
def test_hellinger(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    affinity = np.sum(np.sqrt((a / a.sum()) * (b / b.sum())))
    assert distances.hellinger(a, b) ** 2 == pytest.approx(1 - affinity, abs=1e-12)


@given(counts)
def test_wasserstein_is_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    positions = np.cumsum(np.arange(1, a.size + 1)).astype(np.float64)
    expected = stats.wasserstein_distance(positions, positions, a, b)
    assert distances.wasserstein(a, b, positions) == pytest.approx(expected, abs=1e-9)


@given(counts)
def test_wasserstein_in_bins_is_scipys_at_their_numbers(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    numbers = np.arange(a.size)
    expected = stats.wasserstein_distance(numbers, numbers, a, b)
    assert distances.wasserstein(a, b) == pytest.approx(expected, abs=1e-9)


@given(counts)
def test_chi_square_is_pearsons_statistic(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    held = a + b > 0
    if held.sum() > 1:
        expected = stats.chi2_contingency(np.array([a[held], b[held]]), correction=False).statistic
        assert distances.chi_square(a, b) / (1 / a.sum() + 1 / b.sum()) == pytest.approx(expected, abs=1e-9)


@given(counts)
def test_total_variation_is_half_of_the_city_block_distance(pairs: list[tuple[int, int]]) -> None:
    a, b = split(pairs)
    assert distances.total_variation(a, b) == pytest.approx(cityblock(a / a.sum(), b / b.sum()) / 2, abs=1e-12)


def test_all_distances_are_told_and_those_of_order_only_with_it() -> None:
    a, b = np.array([50, 30, 20]), np.array([20, 30, 50])
    named = distances.all_distances(a, b)
    ordered = distances.all_distances(a, b, np.array([0.0, 10.0, 30.0]))
    assert set(named) == {"psi", "js", "hellinger", "chi2", "tv"}
    assert set(ordered) - set(named) == {"ks", "wasserstein", "wasserstein_data"}
    assert ordered["wasserstein"] == pytest.approx(0.6)
    assert ordered["wasserstein_data"] == pytest.approx(0.3 * 10 + 0.3 * 20)
    assert distances.all_distances(a, np.zeros(3, np.int64)) == {}


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_expected_psi_is_the_mean_under_no_drift(seed: int) -> None:
    rng, p = np.random.default_rng(seed), np.full(10, 0.1)
    mean = np.mean([distances.psi(rng.multinomial(4000, p), rng.multinomial(1000, p)) for _ in range(300)])
    assert mean == pytest.approx(distances.expected_psi(10, 4000, 1000), rel=0.15)


def test_psi_of_shares_is_psi_of_two_bins_without_bias() -> None:
    raw = distances.psi(np.array([9_500, 500]), np.array([800, 200]))
    assert distances.psi_of_shares(0.05, 0.2, 10_000, 1_000) == pytest.approx(raw - 0.0011, abs=1e-12)
    assert distances.psi_of_shares(0.05, 0.05, 10_000, 1_000) == 0


def test_psi_of_a_normal_shift_is_its_square() -> None:
    edges = np.linspace(-5, 6, 400)
    a, b = (np.diff(stats.norm(mean).cdf(edges)) * 1e9 for mean in (0, 0.5))
    assert distances.psi(a, b) == pytest.approx(0.25, rel=0.01)

"""Score tables are standardised and capped; a pane's moments are those of its values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from driftbus.detectors.scores import capped, column_scores, normal_scores, score_table, skew_table
from driftbus.detectors.settings import Settings

from .synthetic import UNDIVIDED, cells_of, counts_of, profile_of

RNG = np.random.default_rng(0)
REFERENCE = {
    "x": RNG.standard_cauchy(10_000),
    "three": RNG.choice([0.0, 1.0, 2.0], 10_000, p=[0.98, 0.015, 0.005]),
    "flag": (RNG.random(10_000) < 0.3) * 1.0,
    "constant": np.full(10_000, 7.0),
    "kind": list(RNG.choice(list("abcdef"), 10_000)),
    "yes": list(RNG.choice(["no", "yes"], 10_000, p=[0.8, 0.2])),
}


def names(column: str, settings: Settings = UNDIVIDED) -> list[str]:
    return [score.name for score in column_scores(profile_of(REFERENCE).column(column), 0, settings)]


def test_which_scores_a_column_has() -> None:
    assert names("x") == ["loc", "spr", "skw", "nulls", "invalid"]
    assert names("x", Settings(pane_ms=1, range=True)) == ["loc", "spr", "skw", "range", "nulls", "invalid"]
    assert names("flag") == ["two", "range", "nulls", "invalid"]
    assert names("constant") == ["range", "nulls", "invalid"]
    assert sorted(names("kind")) == sorted([*(f"is:{c}" for c in "abcdef"), "unseen", "nulls", "invalid"])
    assert names("yes") == ["is:yes", "unseen", "nulls", "invalid"]


def test_tables_are_standard_under_the_reference() -> None:
    for name in ("x", "three"):
        counts = np.array(profile_of(REFERENCE).column(name).counts, np.int64)
        share = counts / counts.sum()
        for table in normal_scores(counts):
            assert share @ table == pytest.approx(0, abs=1e-12)
            assert share @ table**2 == pytest.approx(1)


def test_location_of_a_continuous_column_is_normal() -> None:
    column = profile_of(REFERENCE).column("x")
    location, _ = normal_scores(np.array(column.counts, np.int64))
    assert stats.kstest(location[cells_of(column, REFERENCE["x"])], "norm").statistic < 0.02
    assert np.all(np.diff(location) >= 0)


def test_skewness_is_the_third_component_and_needs_four_values() -> None:
    counts = np.array(profile_of(REFERENCE).column("x").counts, np.int64)
    share = counts / counts.sum()
    location, spread = normal_scores(counts)
    skew = skew_table(location, share)
    means = [share @ (skew * other) for other in (np.ones(share.size), location, spread, skew)]
    assert means == pytest.approx([0, 0, 0, 1], abs=1e-9)
    assert skew[-1] > 2 > -2 > skew[0]
    assert names("three") == ["loc", "spr", "nulls", "invalid"]


def test_caps() -> None:
    for name in ("x", "three"):
        location, spread = (s for s in column_scores(profile_of(REFERENCE).column(name), 0, UNDIVIDED)[:2])
        assert max(map(abs, location.table)) <= 2.8 + 1e-12
        assert max(map(abs, spread.table)) <= 4.9 + 1e-12
    assert capped(np.array([-1.0, 0.5]), 2.0).tolist() == [-1.0, 0.5]


def test_many_categories_share_the_level_and_are_bounded() -> None:
    many = {"c": [f"{i % 50}" for i in range(5_000)]}
    scores = column_scores(profile_of(many).columns[0], 0, UNDIVIDED)
    shares = [s for s in scores if s.name.startswith("is:")]
    assert len(shares) == UNDIVIDED.category_scores
    assert {s.delta for s in shares} == {0.005 * 4 / 16}


def test_moments_of_counts_are_those_of_the_values() -> None:
    profile = profile_of(REFERENCE)
    table = score_table(profile, UNDIVIDED)
    rows = {
        "x": np.array([1.0, -2.0, np.nan, np.inf, 1e9, 0.3]),
        "three": np.array([0.0, 1, 2, 0, np.nan, 0]),
        "flag": np.array([1.0, 1, 0, 1, 1, 9]),
        "constant": np.array([7.0, 7, 7, 8, 6, np.nan]),
        "kind": ["a", "b", None, "zebra", "a", "f"],
        "yes": ["no", "yes", "yes", None, None, "perhaps"],
    }
    size = len(table.scores)
    n, total, m2, valid = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(len(profile.columns), np.int64)
    table.moments(counts_of(profile, rows), n, total, m2, valid)
    whole = [s for i, column in enumerate(profile.columns) for s in column_scores(column, i, UNDIVIDED)]
    for i, score in enumerate(whole):
        column = profile.columns[score.column]
        lookup = np.zeros(column.width)
        lookup[list(score.cells)] = score.table
        cells = cells_of(column, rows[column.name])
        values = lookup[cells if score.of_rows else cells[cells < column.value_cells]]
        assert (n[i], total[i]) == (values.size, pytest.approx(values.sum()))
        assert m2[i] == pytest.approx(((values - values.mean()) ** 2).sum(), abs=1e-9)
    assert valid.tolist() == [4, 5, 6, 5, 5, 4]


def test_the_reference_itself_has_mean_zero_and_variance_one() -> None:
    table = score_table(profile_of(REFERENCE), UNDIVIDED)
    assert table.ref_sum[0] == pytest.approx(0, abs=1e-9)
    assert table.ref_m2[0] / table.ref_n[0] == pytest.approx(1)

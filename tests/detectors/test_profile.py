"""Profiles: bins, counts, round trip, identity."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.detectors.profile import Profile, RowsSample
from driftbus.detectors.reference import (
    MOST_CATEGORIES,
    CategoryData,
    NumericData,
    bin_edges,
    build_profile,
    profile_column,
)
from driftbus.schemas.errors import ConfigError

from .synthetic import Values, autoregressive, cells_of, counts_of, profile_of

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.standard_normal(5_000),
    "few": RNG.choice([0.0, 1.0, 5.0], 5_000, p=[0.01, 0.98, 0.01]),
    "flag": (RNG.random(5_000) < 0.999) * 1.0,
    "kind": list(RNG.choice(["a", "b", "c"], 5_000)),
}


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300))
def test_every_reference_value_lands_in_a_bin(values: list[float]) -> None:
    column = profile_column("x", np.array(values), kind="numeric")
    cells = cells_of(column, np.array(values) + 0.0)
    assert column.values == len(values)
    assert np.bincount(cells, minlength=column.width)[: column.value_cells].tolist() == list(column.counts)
    assert column.counts[0] == column.counts[-1] == 0
    assert min(column.counts[1:-1]) > 0


def test_few_values_have_a_bin_each_and_many_have_quantiles() -> None:
    profile = profile_of(COLUMNS)
    assert profile.column("few").bins == 3
    assert profile.column("flag").counts == (0, 5_000 - int(COLUMNS["flag"].sum()), int(COLUMNS["flag"].sum()), 0)
    normal = profile.column("normal")
    assert normal.bins == 64
    assert max(normal.counts) - min(normal.counts[1:-1]) <= 1
    assert bin_edges(np.arange(64.0)).size == 63
    assert bin_edges(np.zeros(5)).size == 0


def test_nulls_invalid_and_rare_categories_are_counted() -> None:
    values, present = np.array([1.0, np.nan, np.inf, 2.0, 0.0]), np.array([True, True, True, True, False])
    names = [f"{i:03}" for i in range(300)] + ["000"] * 5 + [None]
    profile = build_profile("m", "features", {"x": NumericData(values, present), "c": CategoryData(names, invalid=2)})
    x, c = profile.columns
    assert (x.values, x.nulls, x.invalid, x.low, x.high) == (2, 1, 2, 1.0, 2.0)
    assert (len(c.categories), c.categories[0], c.counts[0], c.counts[-1]) == (MOST_CATEGORIES, "000", 6, 44)
    assert (c.nulls, c.invalid, profile.rows) == (1, 2, 308)


def test_a_column_without_values_still_has_a_profile() -> None:
    profile = build_profile(
        "m", "features", {"x": NumericData(np.full(10, np.nan), np.zeros(10, bool)), "c": CategoryData([None] * 10)}
    )
    assert [column.nulls for column in profile.columns] == [10, 10]


def test_json_round_trip_and_identity() -> None:
    profile = profile_of({**COLUMNS, "slow": autoregressive(RNG, 5_000, 0.9)}, ordered=True)
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again == profile
    assert again.profile_id == profile.profile_id
    assert replace(profile, source="elsewhere", created_ms=5).profile_id == profile.profile_id
    assert replace(profile, rows=1).profile_id != profile.profile_id
    assert len(profile.profile_id) == 32


def test_layout_is_the_order_of_counts() -> None:
    profile = profile_of(COLUMNS)
    layout = profile.layout()
    assert layout.widths.tolist() == [68, 7, 6, 6]
    assert layout.total == 87
    assert layout.offsets.tolist() == [0, 68, 75, 81]
    assert np.array_equal(profile.reference_counts(), counts_of(profile, COLUMNS))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("columns"),
        lambda d: d.update(rows="many"),
        lambda d: d["columns"][0].update(counts=[1]),
        lambda d: d["columns"][0]["edges"].reverse(),
        lambda d: d["columns"].append(d["columns"][0]),
        lambda d: d["columns"][0].update(kind="text"),
        lambda d: d.update(rows=d["rows"] + 1),
    ],
)
def test_a_damaged_profile_is_refused_with_a_fix(damage: object) -> None:
    data = json.loads(json.dumps(profile_of(COLUMNS).to_dict()))
    damage(data)  # type: ignore[operator]
    with pytest.raises(ConfigError, match="driftbus profile"):
        Profile.from_dict(data)


def test_autocorrelation_of_an_ordered_reference_is_kept_and_independence_is_not() -> None:
    slow = autoregressive(np.random.default_rng(1), 20_000, 0.9)
    found = {r.score for r in profile_of({"x": slow}, ordered=True).columns[0].longrun}
    assert found == {"loc", "spr", "skw", "psi", "ks", "tv", "wasserstein"}
    largest = profile_of({"x": slow}, ordered=True).columns[0].longrun[0].variances[-1]
    assert 10 < largest < 30  # 19 in theory, for the values themselves
    assert profile_of({"x": slow}).columns[0].longrun == ()
    shuffled = np.random.default_rng(3).permutation(slow)  # in one of some 200 orders chance looks like it
    assert profile_of({"x": shuffled}, ordered=True).columns[0].longrun == ()


def test_a_profile_keeps_some_rows_whole_whatever_else_is_asked_of_it() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal(3_000)
    columns: dict[str, Values] = {
        "x": x,
        "one": np.ones(3_000),
        "half": np.where(rng.random(3_000) < 0.5, np.nan, x),
        "word": ["a", "b", None] * 1_000,
    }
    profile = profile_of(columns)
    assert profile.sample is not None
    assert profile.sample.columns == ("x", "half", "word")  # a constant column has no relations
    table = profile.sample.table()
    assert table.shape == (2_000, 3)
    whole = np.array([cells_of(profile.column(name), columns[name]) for name in profile.sample.columns]).T
    rows = {tuple(row) for row in whole.tolist()}
    assert all(tuple(row) in rows for row in table.tolist())
    assert np.bincount(table[:, 2], minlength=4)[[0, 1, 3]] == pytest.approx([667, 667, 667], abs=60)
    assert Profile.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile
    assert replace(profile, sample=None).profile_id != profile.profile_id
    assert profile_of({"x": x, "one": np.ones(3_000)}).sample is None


def test_sampled_rows_that_do_not_fit_the_columns_are_refused() -> None:
    profile = profile_of({"x": np.arange(500.0), "y": np.arange(500.0)})
    assert profile.sample is not None
    for sample in (
        RowsSample(("x", "z"), profile.sample.cells),
        RowsSample(("x", "y"), profile.sample.cells[:-2]),
        RowsSample(("x", "y"), b"\xff\xff" * 4),
    ):
        with pytest.raises(ConfigError, match="sampled rows"):
            replace(profile, sample=sample)

"""What a person sees of an episode: bins that mean something, counts that are those of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbus.detectors.histogram import labels, places
from driftbus.detectors.verdict import Transition

from .synthetic import PANE, UNDIVIDED, Values, profile_of, transitions_of

START = 5_000
SETTINGS = replace(UNDIVIDED, divisor=40.0)


def opened(reference: Values, stream: Values) -> Transition:
    return next(
        t for t in transitions_of(profile_of({"x": reference}), {"x": stream}, SETTINGS) if t.status == "opened"
    )


def counted(values: NDArray[np.float64], edges: tuple[float, ...]) -> list[int]:
    """Values per bin; one on an edge belongs to the bin below it."""
    return [int(n) for n in np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)]


def test_counts_are_those_of_the_rows_around_the_change() -> None:
    rng = np.random.default_rng(0)
    reference, stream = rng.standard_normal(10_000), rng.standard_normal(10_000)
    stream[START:] += 1.0
    t = opened(reference, stream)
    shown = t.histogram
    assert shown is not None
    assert shown.categories == ()
    assert list(shown.reference) == counted(reference, shown.edges)
    rows = stream[: (t.opened_tick + 1) * PANE]
    assert 0 < sum(shown.current) <= 125 + 2 * PANE
    newest = rows[-sum(shown.current) :]
    assert list(shown.current) == counted(newest, shown.edges)
    assert sum(shown.current[5:]) > 0.6 * sum(shown.current)


def test_categories_are_named_and_few_ones_together() -> None:
    rng = np.random.default_rng(1)
    names = [f"c{i}" for i in range(30)]
    weights = np.array([0.3, 0.2, *[0.5 / 28] * 28])
    before: list[str | None] = list(rng.choice(names, 10_000, p=weights))
    after: list[str | None] = list(rng.choice(names, 4_000, p=weights[::-1]))
    t = opened(before, [*before[:START], *after])
    assert t.histogram is not None
    shown = t.histogram
    assert shown.edges == ()
    assert len(shown.categories) == len(shown.reference) == len(shown.current) <= 10
    assert shown.categories[:2] == ("c0", "c1")
    assert shown.reference[0] == before.count("c0")
    assert any(name.endswith(" more") for name in shown.categories)
    assert sum(shown.reference) == 10_000


def test_of_a_quality_the_bins_are_rows_with_it_and_others() -> None:
    rng = np.random.default_rng(2)
    reference, stream = rng.standard_normal(10_000), rng.standard_normal(10_000)
    reference[rng.random(10_000) < 0.01] = np.nan
    stream[rng.random(10_000) < np.where(np.arange(10_000) < START, 0.01, 0.3)] = np.nan
    t = opened(reference, stream)
    assert (t.aspect, t.what) == ("quality", "nulls")
    assert t.histogram is not None
    assert t.histogram.categories == ("nulls", "others")
    assert t.histogram.reference == (int(np.isnan(reference).sum()), int((~np.isnan(reference)).sum()))
    assert t.histogram.current[0] / sum(t.histogram.current) == pytest.approx(0.3, abs=0.2)


def test_the_curve_holds_the_latest_indices_in_order() -> None:
    rng = np.random.default_rng(3)
    stream = rng.standard_normal(20_000)
    stream[12_000:15_000] += 1.0
    told = transitions_of(profile_of({"x": rng.standard_normal(10_000)}), {"x": stream}, SETTINGS)
    opening, closing = told[0], told[-1]
    assert (opening.status, closing.status) == ("opened", "closed")
    assert len(opening.curve) == len(closing.curve) == 32
    assert max(opening.curve) < 0.2
    assert max(closing.curve) > 0.5
    assert closing.curve[-1] < 0.1
    assert closing.histogram is not None
    assert sum(closing.histogram.current) >= 1_000


def test_bins_of_a_column_outside_the_whole_s_range_have_edges_too() -> None:
    """A segment's reference may lie outside the range of the rows that made the bins."""
    column = profile_of({"x": np.arange(10.0)}).columns[0]
    counts = (5, *[1] * column.bins, 5)
    edges, names = labels(replace(column, counts=counts), 64)
    assert (edges[0], edges[-1], names) == (column.low, column.high, ())
    assert list(edges) == sorted(edges)


def test_places_are_reference_means_of_the_bins() -> None:
    values = np.random.default_rng(3).lognormal(0, 1, 20_000)
    at = places(profile_of({"x": values}).columns[0], 10)
    order = np.array_split(np.sort(values), 10)
    assert at[:9] == pytest.approx([part.mean() for part in order[:9]], rel=0.05)
    flag = places(profile_of({"x": np.repeat([0.0, 1.0], [700, 300])}).columns[0], 10)
    assert flag.tolist() == [0, 1]

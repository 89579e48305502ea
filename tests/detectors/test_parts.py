"""References of segments: their counts are those of their rows, and they travel with the profile."""

from __future__ import annotations

import numpy as np

from driftbus.detectors.parts import LEAST_ROWS, with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile

RNG = np.random.default_rng(3)
ROWS = 4_000
COUNTRY = np.array([None if u < 0.05 else "PT" if u < 0.7 else "ES" if u < 0.98 else "FR" for u in RNG.random(ROWS)])
X = RNG.normal(size=ROWS) + (COUNTRY == "PT")
X[:5] = [np.nan, np.inf, -np.inf, 1e300, -1e300]
PRESENT = RNG.random(ROWS) > 0.1
COLUMNS = {"x": NumericData(X, PRESENT), "country": CategoryData(COUNTRY)}


def profile(mask: np.ndarray | slice = slice(None)) -> Profile:
    data = {"x": NumericData(X[mask], PRESENT[mask]), "country": CategoryData(COUNTRY[mask])}
    return build_profile("m", "predictions", data)


def test_parts_hold_the_rows_of_their_segment_only() -> None:
    whole = with_parts(profile(), COLUMNS, {"country": list(COUNTRY)})
    assert [part.segment for part in whole.parts] == ["country=ES", "country=PT"]  # FR has too few rows
    assert (COUNTRY == "FR").sum() < LEAST_ROWS
    for part in whole.parts:
        mine = part.segment.partition("=")[2] == COUNTRY
        own = whole.of_segment(part.segment)
        assert own is not None
        alone = profile(mine)
        assert (own.rows, own.columns[0].nulls, own.columns[0].invalid) == (
            mine.sum(), alone.columns[0].nulls, alone.columns[0].invalid,
        )  # fmt: skip
        inside = X[mine & PRESENT & np.isfinite(X)]
        expected = np.bincount(1 + np.searchsorted(whole.columns[0].edges, inside), minlength=66)
        assert list(own.columns[0].counts) == expected.tolist()
        assert sum(own.columns[1].counts) == mine.sum()
    assert whole.of_segment("country=FR") is None


def test_all_parts_together_are_the_whole() -> None:
    halves = ["a" if i % 2 else "b" for i in range(ROWS)]
    whole = with_parts(profile(), COLUMNS, {"half": halves})
    assert np.sum([part.counts for part in whole.parts], axis=0).tolist() == whole.reference_counts().tolist()


def test_parts_travel_and_change_the_identity() -> None:
    whole = with_parts(profile(), COLUMNS, {"country": list(COUNTRY)})
    assert Profile.from_dict(whole.to_dict()) == whole
    assert whole.profile_id != profile().profile_id

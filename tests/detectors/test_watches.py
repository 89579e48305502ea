"""What sampled rows, sampled ids and delays tell: distinct and stuck values, repeated ids, late records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbus.detectors.cardinality import CardinalityWatch
from driftbus.detectors.distinct import distinct_of
from driftbus.detectors.duplicates import DuplicatesWatch, chernoff
from driftbus.detectors.freshness import FreshnessWatch
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition

from .sketching import PROFILE, K, delays_of, ids_of, rows_of, stream_of


def said(profile: Profile, columns: dict[str, NDArray[Any]], alpha: float = 1e-6) -> list[Transition]:
    watch = CardinalityWatch(profile, alpha)
    return [t for tick, s in enumerate(rows_of(profile, columns)) for t in watch.update(tick, s)]


def brief(transitions: list[Transition]) -> list[tuple[str, str, str, str]]:
    return [(t.column, t.what, t.status, t.severity) for t in transitions]


class TestExpectedNumberOfDifferentValues:
    def test_it_is_the_mean_over_all_draws_without_replacement(self) -> None:
        assert distinct_of(np.arange(499), ordered=False) is None
        many = distinct_of(np.repeat(np.arange(400), 3), ordered=False)
        rng = np.random.default_rng(0)
        simulated = [np.unique(rng.permutation(np.repeat(np.arange(400), 3))[:600]).size for _ in range(400)]
        assert many is not None
        assert many.expected == pytest.approx(np.mean(simulated), abs=4 * np.std(simulated) / 20)
        assert np.var(simulated) < many.variance

    def test_ordered_rows_show_their_windows_and_runs(self) -> None:
        codes = np.repeat(np.arange(40), 50)
        loose, ordered = distinct_of(codes, ordered=False), distinct_of(codes, ordered=True)
        assert loose is not None
        assert ordered is not None
        assert loose.least == loose.expected == pytest.approx(40)
        assert (ordered.least, ordered.run, loose.run) == (20, 50, 0)


class TestCardinality:
    profile = PROFILE

    def test_an_unchanged_stream_is_quiet(self) -> None:
        assert said(self.profile, stream_of(100_000)) == []

    def test_rounded_numbers_have_fewer_values(self) -> None:
        stream = stream_of(12_000)
        stream["x"][4_000:8_000] = np.round(stream["x"][4_000:8_000], 1)
        told = said(self.profile, stream)
        assert brief(told) == [("x", "distinct", "opened", "severe"), ("x", "distinct", "closed", "severe")]
        assert told[0].direction == "down"
        assert told[0].reference_value == pytest.approx(1_000, rel=0.01)
        assert 40 < told[0].current_value < 90
        assert told[0].opened_tick * 32 < 4_000 + 2 * 1_000 + 64
        assert told[0].since_low_tick <= 4_000 // 32 <= told[0].since_high_tick

    def test_new_values_without_end_are_more_values(self) -> None:
        stream = stream_of(10_000)
        stream["shop"] = np.where(np.arange(10_000) < 5_000, stream["shop"], [f"token {i}" for i in range(10_000)])
        assert [t[:3] for t in brief(said(self.profile, stream))] == [("shop", "distinct", "opened")]

    @pytest.mark.parametrize("column", ["x", "shop", "flag"])
    def test_a_stuck_column_is_severe_and_over_when_it_varies_again(self, column: str) -> None:
        stream = stream_of(16_000)
        stream[column][4_000:9_000] = stream[column][4_000]
        told = said(self.profile, stream)
        assert {t[0] for t in brief(told)} == {column}
        assert brief(told)[-1][1:] == ("stuck", "closed", "severe")
        first = next(t for t in told if t.what == "stuck")
        assert first.since_tick in (4_000 // 32 - 1, 4_000 // 32)
        assert first.opened_tick * 32 < 4_000 + 1_000

    def test_runs_that_the_ordered_reference_has_are_not_stuck(self) -> None:
        values = np.repeat(np.random.default_rng(1).normal(size=100), 100)
        profile = build_profile("m", "predictions", {"x": NumericData(values)}, ordered=True)
        assert said(profile, {"x": np.repeat(np.random.default_rng(2).normal(size=100), 250)}) == []

    def test_nulls_are_no_values(self) -> None:
        stream = stream_of(8_000)
        stream["x"][2_000:6_000] = np.nan
        assert said(self.profile, stream) == []

    def test_an_old_profile_watches_nothing(self) -> None:
        old = Profile.from_dict(
            {**self.profile.to_dict(), "profile_id": ""}
            | {"columns": [{k: v for k, v in c.items() if k != "distinct"} for c in self.profile.to_dict()["columns"]]}
        )
        stream = stream_of(4_000)
        stream["x"][:] = 0.5
        assert said(old, stream) == []


class TestDuplicates:
    def told(self, ids: NDArray[Any], *, unique: bool = True, pane: int = 100, k: int = K) -> list[Transition]:
        watch = DuplicatesWatch(unique, 1e-6)
        parts = [ids[at : at + pane] for at in range(0, ids.size, pane)]
        return [t for i, part in enumerate(parts) for t in watch.update(i, part.size, ids_of(part, k))]

    def test_ids_that_come_once_are_quiet(self) -> None:
        assert self.told(np.arange(200_000)) == []

    def test_a_few_retries_are_quiet(self) -> None:
        ids = np.arange(100_000)
        ids[200::200] = ids[199:-1:200]
        assert self.told(ids) == []

    @pytest.mark.parametrize("distance", [1, 41, 701])
    def test_repeated_ids_are_found_inside_a_pane_and_across_panes(self, distance: int) -> None:
        ids = np.arange(60_000)
        again = np.arange(20_000, 40_000, 10)
        ids[again] = ids[again - distance]
        told = self.told(ids)
        assert [t.status for t in told if t.status != "escalated"] == ["opened", "closed"]
        assert told[0].since_low_tick <= 200 <= told[0].opened_tick < 200 + 50
        assert told[0].current_value == pytest.approx(0.1, abs=0.06)
        assert told[-1].opened_tick == told[0].opened_tick

    def test_the_share_does_not_depend_on_how_many_rows_a_pane_has(self) -> None:
        ids = np.arange(50_000)
        again = np.arange(20_000, 50_000, 10)
        ids[again] = ids[again - 3]
        shares = [self.told(ids, pane=pane)[-1].current_value for pane in (20, 1_000, 4_000)]
        assert max(shares) - min(shares) < 0.08

    def test_duplicates_from_the_first_record_are_found_where_ids_are_unique(self) -> None:
        few = np.arange(20_000)
        few[np.arange(10, 20_000, 20)] = few[np.arange(10, 20_000, 20) - 1]
        assert [t.status for t in self.told(few)][:1] == ["opened"]
        assert self.told(few, unique=False) == []

    def test_ids_that_recur_by_nature_are_quiet(self) -> None:
        customers = np.random.default_rng(0).integers(0, 5_000, 100_000)
        assert self.told(customers) == []

    def test_the_bound_is_one(self) -> None:
        rng = np.random.default_rng(0)
        hits = rng.binomial(500, 0.02, 20_000)
        found = np.array([chernoff(int(x), 500, 0.02) for x in hits])
        for level in (0.1, 0.01, 0.001):
            assert (found < level).mean() < level

    def test_without_ids_nothing_is_said(self) -> None:
        assert self.told(np.zeros(0, np.int64)) == []


class TestFreshness:
    def told(self, medians: list[float], *, n: int = 1_000, spread: float = 1.0) -> list[Transition]:
        watch, rng = FreshnessWatch(3_600_000), np.random.default_rng(3)
        found = []
        for hour, median in enumerate([*medians, medians[-1]]):
            delays = np.round(median * np.exp(spread * rng.normal(size=n))) if median > 0 else np.full(n, median)
            found += watch.update(hour, delays_of(delays.astype(np.int64)))
        return found

    def test_usual_delays_are_quiet_whatever_their_shape(self) -> None:
        assert self.told([500.0] * 24 * 28) == []
        assert self.told([20_000.0] * 24 * 28, n=200, spread=2.0) == []
        assert self.told([5_000 * (2 + np.sin(h / 24 * 2 * np.pi)) for h in range(24 * 21)]) == []

    def test_a_delay_opens_escalates_and_closes(self) -> None:
        told = self.told([2_000.0] * 48 + [8_000.0] * 2 + [60_000.0] * 3 + [2_000.0] * 3)
        assert [(t.status, t.severity) for t in told] == [
            ("opened", "moderate"),
            ("escalated", "severe"),
            ("closed", "severe"),
        ]
        assert (told[0].since_tick, told[0].opened_tick) == (48, 48)
        assert told[0].direction == "up"
        assert told[0].current_value == pytest.approx(8_000 * np.exp(1.645), rel=0.5)

    def test_a_delay_that_lasts_is_the_new_normal_after_a_week(self) -> None:
        told = self.told([2_000.0] * 48 + [60_000.0] * 400 + [600_000.0])
        assert [t.status for t in told] == ["opened", "closed", "opened"]
        assert told[1].window_start_tick - told[0].window_start_tick <= 168
        assert told[2].reference_value == pytest.approx(60_000 * np.exp(1.645), rel=0.5)

    def test_a_delay_of_more_than_a_week_is_over_when_it_is(self) -> None:
        told = self.told([2_000.0] * 48 + [60_000.0] * 24 * 8 + [2_000.0] * 3)
        assert [t.status for t in told] == ["opened", "closed"]

    def test_jitter_near_zero_is_nothing(self) -> None:
        assert self.told([3.0] * 48 + [300.0] * 10, spread=0.1) == []

    def test_event_times_ahead_of_kafka_are_told(self) -> None:
        told = self.told([50.0] * 48 + [-30_000.0] * 4 + [50.0] * 3)
        assert [(t.status, t.direction) for t in told] == [("opened", "down"), ("closed", "down")]
        assert told[0].current_value == 1.0

    def test_little_is_no_evidence(self) -> None:
        assert self.told([100.0] * 10 + [90_000.0] * 20) == []
        assert self.told([100.0] * 48 + [90_000.0] * 5, n=50) == []

    def test_a_stream_without_delays_says_nothing(self) -> None:
        watch = FreshnessWatch(10_000)
        assert [t for tick in range(0, 100_000, 7) for t in watch.update(tick, None)] == []


def test_a_group_holds_the_watches_in_its_state_and_its_open_episodes() -> None:
    profile, config = PROFILE, Settings(pane_ms=10_000)
    stream = stream_of(200 * 32)
    stream["x"][2_000:] = 0.125
    group = GroupDetector(profile, config)
    counts = np.zeros(profile.layout().total, np.int64)
    told = []
    for tick, sketches in enumerate(rows_of(profile, stream)):
        told += group.update(tick, counts, 32, sketches)
        if tick == 100:
            group = GroupDetector.load(profile, config, group.dump())
    assert ("x", "stuck", "opened", "severe") in brief(told)
    assert [(e.column, e.aspect, e.what) for e in group.open_episodes()] == [("x", "cardinality", "stuck")]

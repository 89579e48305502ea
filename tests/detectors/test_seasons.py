"""Seasons: slots against zoneinfo, the choice, quiet on cycles, found shifts, laws of the state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.season_choice import with_season
from driftbus.detectors.seasonal import rank_spans, slot_tables, spread_over
from driftbus.detectors.seasons import SLOT_OF, WEEK_HOURS, hour_of_week, local_hours, shares_of, zone_of
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition
from driftbus.schemas.codec import pack_profile, unpack_profile
from driftbus.schemas.config import SeasonConfig
from driftbus.schemas.errors import ConfigError

from .synthetic import Values, panes_of

MONDAY = 1_704_067_200_000  # 2024-01-01T00:00:00Z
STEP, HOUR, DAY = 120_000, 3_600_000, 86_400_000
PER_DAY, PANE_MS = DAY // STEP, 30 * STEP
SETTINGS = Settings(pane_ms=PANE_MS)
ZONES = ("UTC", "Europe/Lisbon", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


@given(st.integers(0, 4_102_444_800_000), st.sampled_from(ZONES))
def test_a_slot_is_what_the_clock_on_the_wall_says(time_ms: int, zone: str) -> None:
    local = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    assert hour_of_week(time_ms, zone_of(zone)) == local.weekday() * 24 + local.hour
    days, hours = local_hours(np.array([time_ms]), zone_of(zone))
    assert hours[0] == local.weekday() * 24 + local.hour
    assert days[0] == local.date().toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()


def test_an_hour_is_missing_in_spring_and_comes_twice_in_autumn() -> None:
    def hours(date: datetime) -> list[int]:
        start = int(date.timestamp() * 1000)
        return [hour_of_week(start + i * HOUR, zone_of("Europe/Lisbon")) % 24 for i in range(5)]

    assert hours(datetime(2024, 3, 31, tzinfo=UTC)) == [0, 2, 3, 4, 5]
    assert hours(datetime(2024, 10, 26, 23, tzinfo=UTC)) == [0, 1, 1, 2, 3]


def test_times_beyond_the_calendar_have_a_slot_too() -> None:
    assert 0 <= hour_of_week(2**62, zone_of("Europe/Lisbon")) < WEEK_HOURS


def test_an_unknown_time_zone_is_said() -> None:
    with pytest.raises(ConfigError, match="Lissabon"):
        zone_of("Europe/Lissabon")
    with pytest.raises(ValueError, match="Lissabon"):
        SeasonConfig(time_zone="Europe/Lissabon")


def columns_of(seed: int, time_ms: NDArray[np.int64], shift: float = 0.0) -> dict[str, Values]:
    """A number, a flag, a category and the nulls of one with a cycle of the day; and one without a cycle."""
    rng, n = np.random.default_rng(seed), time_ms.size
    wave = np.sin(2 * np.pi * (time_ms % DAY) / DAY)
    holes = rng.standard_normal(n)
    holes[rng.random(n) < 0.02 + 0.1 * (wave > 0)] = np.nan
    return {
        "x": wave + rng.standard_normal(n) + shift,
        "flag": (rng.random(n) < 0.4 + 0.3 * wave) * 1.0,
        "kind": np.where(rng.random(n) < 0.5 + 0.3 * wave, "a", np.where(rng.random(n) < 0.5, "b", "c")).tolist(),
        "holes": holes,
        "plain": rng.standard_normal(n),
    }


def times(days: int, first: int = MONDAY) -> NDArray[np.int64]:
    return first + np.arange(days * PER_DAY, dtype=np.int64) * STEP


def seasonal(columns: dict[str, Values], time_ms: NDArray[np.int64], kind: str = "auto", zone: str = "UTC") -> Profile:
    data = {
        name: CategoryData(v) if isinstance(v, list) else NumericData(v, ~np.isnan(v)) for name, v in columns.items()
    }
    profile = build_profile("m", "predictions", data, ordered=True)
    config = SeasonConfig.model_validate({"kind": kind, "time_zone": zone})
    return with_season(profile, data, time_ms, config, ordered=True)


@lru_cache
def world() -> Profile:
    return seasonal(columns_of(1, times(8)), times(8))


def said(profile: Profile, columns: dict[str, Values], first: int, settings: Settings = SETTINGS) -> list[Transition]:
    group, pane = GroupDetector(profile, settings), PANE_MS // STEP
    told = [
        t for i, counts in enumerate(panes_of(profile, columns, pane)) for t in group.update(first + i, counts, pane)
    ]
    return [t for t in told if t.aspect != "volume"]


def test_columns_with_a_cycle_get_a_season_and_others_none() -> None:
    season = world().season
    assert season is not None
    kinds = {column.column: (column.kind, column.presence) for column in season.columns}
    assert kinds == {
        "x": ("hour_of_day", "none"),
        "flag": ("hour_of_day", "none"),
        "kind": ("hour_of_day", "none"),
        "holes": ("none", "hour_of_day"),
    }
    assert "8 days" in season.reason
    assert "hour_of_day" in season.reason


def test_shuffled_rows_have_no_season() -> None:
    order = np.random.default_rng(2).permutation(8 * PER_DAY)
    columns = {
        name: [v[i] for i in order] if isinstance(v, list) else v[order] for name, v in columns_of(1, times(8)).items()
    }
    season = seasonal(columns, times(8)).season
    assert season is not None
    assert season.columns == ()
    assert "no column has a significant cycle" in season.reason


def test_too_few_days_have_no_season_unless_it_is_configured() -> None:
    columns = {"x": columns_of(1, times(5))["x"]}
    season = seasonal(columns, times(5)).season
    assert season is not None
    assert season.columns == ()
    assert season.reason == "5 days of reference, 7 are needed"
    forced = seasonal(columns, times(5), "hour_of_day").season
    assert forced is not None
    assert [column.kind for column in forced.columns] == ["hour_of_day"]
    assert seasonal(columns, times(5), "none").season is None


def test_weekends_are_found_in_three_weeks() -> None:
    time_ms = times(21)
    weekend = (time_ms // DAY + 3) % 7 >= 5
    x = np.sin(2 * np.pi * (time_ms % DAY) / DAY) - weekend + np.random.default_rng(4).standard_normal(time_ms.size)
    season = seasonal({"x": x}, time_ms).season
    assert season is not None
    assert [column.kind for column in season.columns] == ["day_type"]


def test_a_cycle_is_quiet_and_a_shift_is_found_within_a_day() -> None:
    day = times(6, MONDAY + 8 * DAY)
    first = int(day[0]) // PANE_MS
    assert said(world(), columns_of(2, day), first) == []
    x = columns_of(2, day)
    before, after = columns_of(2, day)["x"], columns_of(2, day, 0.5)["x"]
    assert isinstance(before, np.ndarray)
    assert isinstance(after, np.ndarray)
    x["x"] = np.where(day < day[0] + 3 * DAY, before, after)
    opened = [t for t in said(world(), x, first) if t.status == "opened"]
    change = (int(day[0]) + 3 * DAY) // PANE_MS
    assert {t.column for t in opened} == {"x"}
    assert change <= opened[0].opened_tick <= change + DAY // PANE_MS
    assert opened[0].direction == "up"


def test_without_its_season_the_same_profile_is_another_detector() -> None:
    day = times(2, MONDAY + 8 * DAY)
    off = Settings(pane_ms=PANE_MS, season=False)
    assert off.fingerprint() != SETTINGS.fingerprint()
    assert GroupDetector(world(), off).dump() != GroupDetector(world(), SETTINGS).dump()
    assert all(t.column != "plain" for t in said(world(), columns_of(2, day), int(day[0]) // PANE_MS, off))


def test_panes_longer_than_an_hour_have_no_season() -> None:
    long = Settings(pane_ms=2 * HOUR)
    assert "season" not in {name.split(".")[0] for name, _ in GroupDetector(world(), long)._parts()}
    assert "season" in {name for name, _ in GroupDetector(world(), SETTINGS)._parts()}


def test_the_wall_clock_moves_the_slots() -> None:
    """A cycle of Lisbon's day, learned in winter, is quiet in summer only with the time zone."""
    zone = zone_of("Europe/Lisbon")

    def busy(time_ms: NDArray[np.int64], seed: int) -> dict[str, Values]:
        hour = local_hours(time_ms, zone)[1] % 24
        level = 2.0 * np.isin(hour, (9, 10, 11, 18, 19))
        return {"x": level + np.random.default_rng(seed).standard_normal(time_ms.size)}

    winter, summer = times(8), times(6, MONDAY + 180 * DAY)
    first = int(summer[0]) // PANE_MS
    quiet = said(seasonal(busy(winter, 1), winter, zone="Europe/Lisbon"), busy(summer, 2), first)
    loud = said(seasonal(busy(winter, 1), winter), busy(summer, 2), first)
    assert quiet == []
    assert loud != []


@pytest.mark.parametrize("cut", [1, 77, 150])
def test_dump_and_load_at_any_cut_is_no_cut(cut: int) -> None:
    time_ms, pane = times(8, MONDAY + 8 * DAY), PANE_MS // STEP
    panes = list(panes_of(world(), columns_of(3, time_ms, 0.3), pane))
    first = int(time_ms[0]) // PANE_MS
    whole = GroupDetector(world(), SETTINGS)
    told = [t for i, counts in enumerate(panes) for t in whole.update(first + i, counts, pane)]
    again = GroupDetector(world(), SETTINGS)
    repeated = [t for i, counts in enumerate(panes[:cut]) for t in again.update(first + i, counts, pane)]
    again = GroupDetector.load(world(), SETTINGS, again.dump())
    repeated += [t for i, counts in enumerate(panes[cut:], cut) for t in again.update(first + i, counts, pane)]
    assert repeated == told
    assert told
    assert again.dump() == whole.dump()


@pytest.mark.parametrize("cut", [1, 3, 77])
def test_thresholds_after_a_cut_inside_a_slot_are_those_without_it(cut: int) -> None:
    """A slot of an hour holds six panes: what widens its thresholds is state, not a matter of when it was read."""
    short, time_ms, pane = Settings(pane_ms=HOUR // 6), times(2, MONDAY + 8 * DAY), HOUR // 6 // STEP
    first, group = int(time_ms[0]) // short.pane_ms, GroupDetector(world(), short)
    panes = list(panes_of(world(), columns_of(3, time_ms), pane))[:cut]
    for i, counts in enumerate(panes):
        group.update(first + i, counts, pane)
    again = GroupDetector.load(world(), short, group.dump())
    for score in range(len(group._table.scores)):
        assert again._bank.variance(score, 500.0) == group._bank.variance(score, 500.0)


def test_a_slot_holds_all_the_values_of_its_visits() -> None:
    time_ms, pane = times(1, MONDAY + 8 * DAY), HOUR // 6 // STEP
    clock = GroupDetector(world(), Settings(pane_ms=HOUR // 6))._clock
    assert clock is not None
    floors = []
    for i in range(13):
        clock.visit(int(time_ms[0]) // (HOUR // 6) + i, pane)
        floors.append(float(clock.floor()[0]))
    excess = np.array(floors) - 1
    assert np.allclose(excess[:6], excess[0] * np.arange(1, 7))  # the first visit counts as far as it has come
    assert np.allclose(excess[6:], excess[5])


def test_a_batch_a_day_is_a_visit_a_day() -> None:
    clock = GroupDetector(world(), SETTINGS)._clock
    assert clock is not None
    floors = []
    for day in range(20):
        clock.visit((MONDAY + day * DAY) // PANE_MS, 30)
        floors.append(float(clock.floor()[0]))
    assert np.allclose(floors, floors[0])


def test_a_season_survives_its_contract() -> None:
    profile = world()
    again = Profile.from_dict(unpack_profile(pack_profile(profile.to_dict())))
    assert again == profile
    assert again.profile_id == profile.profile_id
    other = seasonal(columns_of(1, times(8)), times(8), "none")
    assert other.profile_id != profile.profile_id


@pytest.mark.parametrize("damage", [{"kind": "hour_of_year"}, {"counts": ""}, {"counts": "AAAA"}, {"cells": 3}])
def test_a_damaged_season_is_refused(damage: dict[str, object]) -> None:
    data = world().to_dict()
    data["season"]["columns"][0] |= damage
    with pytest.raises(ConfigError):
        Profile.from_dict(data)


def test_segments_are_compared_without_a_season() -> None:
    whole = world()
    assert whole.recounted(whole.reference_counts(), whole.rows).season is None


def test_shares_lean_on_the_coarser_slot() -> None:
    histograms = np.zeros((WEEK_HOURS, 2))
    histograms[:, 0], histograms[3] = 10.0, (0.0, 10.0)
    all_rows = shares_of(histograms, np.arange(24), "none", 0)
    assert np.allclose(all_rows, all_rows[0])
    loose, strict = (shares_of(histograms, np.arange(24), "hour_of_week", weight) for weight in (1, 1_000))
    assert np.allclose(loose.sum(axis=1), 1)
    assert loose[3, 1] > strict[3, 1] > all_rows[3, 1]


def test_slots_partition_the_week() -> None:
    for kind, slots in SLOT_OF.items():
        assert slots.shape == (WEEK_HOURS,)
        assert set(slots) == set(range(slots.max() + 1)), kind


def test_scores_of_a_slot_are_standard_in_it() -> None:
    share = np.random.default_rng(5).dirichlet(np.ones(40), size=6)
    tables = slot_tables(share, Settings(pane_ms=1, cap_location=99, cap_spread=99))
    location, spread = tables["loc"], tables["spr"]
    for table in (location, spread):
        assert np.allclose((table * share).sum(axis=1), 0)
        assert np.allclose((table * table * share).sum(axis=1), 1)


def test_ranks_inside_a_slot_are_uniform() -> None:
    share = np.random.default_rng(6).dirichlet(np.ones(12), size=3)
    begin, end = rank_spans(share, 10)
    for slot in range(3):
        assert np.allclose(share[slot] @ spread_over(begin[slot], end[slot], 10), 0.1)


def test_what_a_season_does_not_know_widens_thresholds() -> None:
    """Two weeks are too few for weekends, so hours of the day are taken, and weekends pass for days that differ."""

    def busy(time_ms: NDArray[np.int64], seed: int) -> dict[str, Values]:
        weekend = (time_ms // DAY + 3) % 7 >= 5
        noise = np.random.default_rng(seed).standard_normal(time_ms.size)
        return {"x": np.sin(2 * np.pi * (time_ms % DAY) / DAY) - weekend + noise}

    learned, later = times(14), times(28, MONDAY + 14 * DAY)
    profile = seasonal(busy(learned, 1), learned)
    assert profile.season is not None
    column = profile.season.columns[0]
    assert column.kind == "hour_of_day"
    steps = {run.score: run for run in column.longrun}
    assert steps["loc"].lengths[-1] == PER_DAY
    assert steps["loc"].variances[-1] > 20
    assert 1 <= steps["psi"].freedom[-1] <= 9
    assert said(profile, busy(later, 2), int(later[0]) // PANE_MS) == []


def test_days_alike_widen_nothing() -> None:
    season = world().season
    assert season is not None
    steps = {(c.column, run.score): run for c in season.columns for run in c.longrun}
    assert ("x", "loc") not in steps


def test_an_episode_in_a_cycle_stays_open_for_a_day() -> None:
    day = times(8, MONDAY + 8 * DAY)
    x, off = columns_of(2, day)["x"], columns_of(2, day, 1.5)["x"]
    assert isinstance(x, np.ndarray)
    assert isinstance(off, np.ndarray)
    nights = (day % DAY < DAY // 3) & (day >= day[0] + 4 * DAY)
    x = np.where(nights, off, x)
    season = world().season
    assert season is not None
    one = replace(season, columns=season.columns[:1])
    only = replace(world(), columns=world().columns[:1], sample=None, season=one)
    told = said(only, {"x": x}, int(day[0]) // PANE_MS)
    assert [t.status for t in told].count("opened") == 1
    assert all(t.status != "closed" for t in told)

"""The rate of records per hour: quiet on cycles, loud on outages and floods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from driftbus.detectors.volume import VolumeChange, VolumeWatch, poisson_bound

PANE_MS, PER_HOUR = 600_000, 6


def run(rate: Callable[[int], float], days: int, *, skip_empty: bool = True, seed: int = 0) -> list[VolumeChange]:
    """Panes of ten minutes with Poisson counts of rate(hour) per pane."""
    rng, watch, changes = np.random.default_rng(seed), VolumeWatch(PANE_MS, 1e-6), []
    for tick in range(days * 24 * PER_HOUR):
        rows = int(rng.poisson(rate(tick // PER_HOUR)))
        if rows or not skip_empty:
            changes += watch.update(tick, rows)
    return changes


def cycle(hour: int) -> float:
    weekend = 0.4 if hour // 24 % 7 >= 5 else 1.0
    return 60 * weekend * (1.2 + np.sin(2 * np.pi * hour / 24))


def told(changes: list[VolumeChange]) -> list[tuple[str, str, int]]:
    return [(c.status, c.direction, c.start_tick // PER_HOUR) for c in changes]


def test_daily_and_weekly_cycles_are_quiet() -> None:
    assert run(cycle, 35) == []
    assert run(lambda _: 3.0, 35) == []


def test_an_outage_opens_and_its_end_closes() -> None:
    changes = run(lambda h: 0 if 80 <= h < 90 else 50, 10)
    assert told(changes) == [("opened", "down", 80), ("closed", "down", 90)]
    opened = changes[0]
    assert (opened.severity, opened.count, opened.since_tick, opened.opened_tick) == (3, 0, 480, 485)
    assert opened.p_value < 1e-6


def test_it_says_the_same_whether_empty_panes_are_reported_or_left_out() -> None:
    def rate(hour: int) -> float:
        return 0 if 80 <= hour < 90 else 50

    assert run(rate, 10, skip_empty=False) == run(rate, 10)


def test_a_flood_opens_escalates_and_closes() -> None:
    changes = run(lambda h: 130 if 60 <= h < 63 else 300 if 63 <= h < 65 else 50, 6)
    assert told(changes) == [("opened", "up", 60), ("escalated", "up", 63), ("closed", "up", 65)]
    assert [c.severity for c in changes] == [2, 3, 3]


def test_the_night_is_no_yardstick_for_the_day_once_two_weeks_are_known() -> None:
    changes = run(lambda h: cycle(h) * (0.3 if 18 * 24 + 5 <= h < 18 * 24 + 8 else 1), 21)
    assert told(changes)[0][:2] == ("opened", "down")
    assert changes[-1].status == "closed"


def test_a_level_that_holds_for_a_week_is_the_new_normal() -> None:
    changes = run(lambda h: 50 if h < 100 else 18, 30)
    assert [c.status for c in changes] == ["opened", "closed"]
    assert 24 * 5 < changes[1].start_tick // PER_HOUR - 100 < 24 * 8


def test_little_history_and_few_records_are_no_evidence() -> None:
    assert run(lambda h: 50 if h < 23 else 0.5, 2) == []
    assert run(lambda h: 0.5 if h < 100 else 0.2, 10) == []


def test_a_very_long_gap_is_bounded() -> None:
    watch = VolumeWatch(PANE_MS, 1e-6)
    for tick in range(48 * PER_HOUR):
        watch.update(tick, 50)
    changes = watch.update(50_000_000_000, 50)
    assert [c.status for c in changes] == ["opened", "closed"]
    assert watch.severity == 0


def test_panes_longer_than_an_hour() -> None:
    watch = VolumeWatch(86_400_000, 1e-6)
    changes = [c for day in range(60) for c in watch.update(day, 0 if day == 40 else 1_000)]
    assert [(c.status, c.start_tick) for c in changes] == [("opened", 40), ("closed", 41)]


def test_the_bound_bounds() -> None:
    for a, b in ((0, 10), (3, 30), (50, 20), (7, 7)):
        exact = stats.binom.cdf(min(a, b), a + b, 0.5)
        assert exact <= poisson_bound(a, b) <= 1


def test_years_without_rows_are_passed_over_as_hour_by_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that claim to be of another year, again and again, cost no more than others."""

    def seen(seed: int) -> tuple[list[VolumeChange], bytes]:
        rng, watch, changes, tick = np.random.default_rng(seed), VolumeWatch(PANE_MS, 1e-6), [], 0
        for _ in range(150):
            tick += int(rng.choice([1, 1, 1, 7, 40, 900, 3_000, 52_000, 10_000_000]))
            changes += watch.update(tick, int(rng.choice([1, 3, 400])))
        return changes, b"".join(array.tobytes() for array in watch.arrays().values())

    quick = [seen(seed) for seed in range(4)]
    monkeypatch.setattr(VolumeWatch, "_empty_are_nothing", lambda _: False)
    assert quick == [seen(seed) for seed in range(4)]
    assert any(changes for changes, _ in quick)

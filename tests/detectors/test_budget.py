"""The false-alarm budget and the settings made from it."""

from __future__ import annotations

from typing import get_args

import pytest

from driftbus.detectors.budget import divisor, false_alarms_per_million
from driftbus.detectors.settings import Settings
from driftbus.schemas.config import DetectionConfig, Detector


def test_more_detectors_divide_further_and_in_any_order() -> None:
    alone = divisor(1, 10, 10, ("adwin", "psi"))
    assert alone == divisor(1, 10, 10) == divisor(1, 10, 10, {"psi", "adwin"})
    more = divisor(1, 10, 10, ("adwin", "psi", "ks", "cusum"))
    assert more / alone == pytest.approx(0.72 / 0.6)
    assert false_alarms_per_million(get_args(Detector)) <= 1
    assert divisor(1, 10, 10, ("ks",)) >= 1


def test_one_false_alarm_a_week_at_ten_events_a_second_divides_by_about_four_times_the_columns() -> None:
    for columns in (5, 50, 500):
        assert divisor(1.0, columns, 10.0) == pytest.approx(4 * columns, rel=0.1)


def test_more_events_or_fewer_accepted_alarms_divide_more() -> None:
    assert divisor(1.0, 10, 100.0) == pytest.approx(10 * divisor(1.0, 10, 10.0))
    assert divisor(0.5, 10, 10.0) == pytest.approx(2 * divisor(1.0, 10, 10.0))
    assert divisor(1e6, 10, 10.0) == 1


def test_a_slow_stream_is_not_allowed_more_per_value() -> None:
    assert divisor(1.0, 10, 0.001) == divisor(1.0, 10, 10.0)


def test_no_budget_leaves_levels_undivided() -> None:
    assert divisor(None, 500, 1e6) == 1


def test_settings_follow_the_configuration() -> None:
    config = DetectionConfig(windows=(5_000, 1_000), psi_min=0.05, range=True)
    settings = Settings.from_config(config, 10, 60_000)
    assert (settings.psi_windows, settings.psi_min, settings.range, settings.pane_ms) == (
        (1_000, 5_000),
        0.05,
        True,
        60_000,
    )
    assert settings.divisor == divisor(1.0, 10, 10.0)


def test_fingerprints_tell_settings_apart() -> None:
    a, b = Settings(pane_ms=1), Settings(pane_ms=2)
    assert a.fingerprint() == Settings(pane_ms=1).fingerprint() != b.fingerprint()
    assert len(a.fingerprint()) == 16


def test_severity_classes() -> None:
    assert [Settings(pane_ms=1).severity(effect) for effect in (0, 0.0999, 0.1, 0.2499, 0.25, 9)] == [1, 1, 2, 2, 3, 3]

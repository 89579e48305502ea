"""Episodes of a group: what opens, escalates and closes, and what stays quiet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbus.detectors.group import GroupDetector
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition

from .synthetic import PANE, UNDIVIDED, Values, autoregressive, panes_of, profile_of, transitions_of

BUDGET = replace(UNDIVIDED, divisor=40.0)
START = 5_000
"""Row at which a stream changes; about tick 156."""


def normal(seed: int, size: int = 10_000) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(size)


def said(reference: Values, stream: Values, settings: Settings = BUDGET, *, ordered: bool = False) -> list[Transition]:
    return transitions_of(profile_of({"x": reference}, ordered=ordered), {"x": stream}, settings)


def unmoved(transitions: list[Transition]) -> list[Transition]:
    """Without those that only say that an open episode's column moved again."""
    return [t for t in transitions if t.status != "changed"]


def told(transitions: list[Transition]) -> list[tuple[str, str, str, str]]:
    return [(t.status, t.severity, t.what, t.direction) for t in transitions]


def changed(change: NDArray[np.float64] | float, *, until: int = 25_000, scale: float = 1.0) -> Values:
    stream = normal(7, 25_000)
    stream[START:until] = stream[START:until] * scale + change
    return stream


def test_a_shift_opens_one_episode_that_stays_open() -> None:
    found = said(normal(1), changed(1.0))
    assert told(found) == [("opened", "severe", "shift", "up")]
    assert 0 < (found[0].opened_tick + 1) * PANE - START < 150
    assert found[0].since_low_tick * PANE <= START <= found[0].since_high_tick * PANE
    assert found[0].statistic > found[0].threshold
    assert found[0].p_value is not None
    assert found[0].p_value < 1e-3
    assert found[0].effect == pytest.approx(1.0, abs=0.6)


def test_a_shift_that_ends_closes_its_episode_and_opens_no_other() -> None:
    found = said(normal(1), changed(-1.0, until=12_000))
    assert told(unmoved(found)) == [("opened", "severe", "shift", "down"), ("closed", "severe", "shift", "down")]
    assert told(found)[1] == ("changed", "severe", "shift", "up")
    assert len({t.opened_tick for t in found}) == 1
    assert found[1].since_low_tick * PANE <= 12_000 <= found[1].since_high_tick * PANE
    assert found[-1].statistic <= found[-1].threshold


def test_a_short_shift_closes_too() -> None:
    found = said(normal(1), changed(1.0, until=START + 400))
    assert [t.status for t in unmoved(found)] == ["opened", "closed"]


def test_a_growing_shift_escalates_through_the_classes() -> None:
    ramp = np.minimum(np.arange(20_000) / 10_000, 1.0)
    found = unmoved(said(normal(1), changed(ramp)))
    assert [(t.status, t.severity) for t in found] == [
        ("opened", "minor"), ("escalated", "moderate"), ("escalated", "severe"),
    ]  # fmt: skip
    assert len({t.opened_tick for t in found}) == 1


def test_spread() -> None:
    assert told(said(normal(1), changed(0.0, scale=1.6)))[0][2:] == ("spread", "up")
    assert told(said(normal(1), changed(0.0, scale=0.5)))[0][2:] == ("spread", "down")


def test_a_shape_that_keeps_mean_and_variance_is_seen_by_the_index() -> None:
    stream = normal(7, 25_000)
    stream[START:] = np.sign(stream[START:]) * 0.94 + 0.35 * normal(8, 20_000)
    found = said(normal(1), stream)
    assert (found[0].status, found[0].what, found[-1].severity) == ("opened", "shape", "severe")
    assert found[0].detector.startswith("psi")
    assert found[0].since_low_tick * PANE <= START <= found[0].since_high_tick * PANE


def test_a_two_valued_number_shifts() -> None:
    rng = np.random.default_rng(1)
    reference, stream = (rng.random(10_000) < 0.5) * 1.0, (rng.random(20_000) < 0.5) * 1.0
    stream[START:] = (rng.random(15_000) < 0.65) * 1.0
    assert told(said(reference, stream))[0][::2] == ("opened", "shift")


def test_a_flag_that_was_nearly_always_high_falls() -> None:
    rng = np.random.default_rng(1)
    reference, stream = (rng.random(10_000) < 0.999) * 1.0, (rng.random(10_000) < 0.999) * 1.0
    stream[START:] = (rng.random(5_000) < 0.9) * 1.0
    found = said(reference, stream)
    assert told(found)[0][2:] == ("shift", "down")
    assert (found[0].opened_tick + 1) * PANE - START < 300


def test_categories_are_named() -> None:
    rng = np.random.default_rng(1)
    names, before, after = list("abcde"), [0.4, 0.2, 0.2, 0.1, 0.1], [0.2, 0.4, 0.2, 0.1, 0.1]
    stream = [*rng.choice(names, START, p=before), *rng.choice(names, 10_000, p=after)]
    found = said(list(rng.choice(names, 10_000, p=before)), stream)
    assert found[0].what == "category"
    assert found[0].category in ("a", "b")
    assert found[0].direction == {"a": "down", "b": "up"}[found[0].category]
    assert found[0].reference_value == pytest.approx({"a": 0.4, "b": 0.2}[found[0].category], abs=0.02)


def test_an_unknown_category_is_a_quality_episode() -> None:
    rng = np.random.default_rng(1)
    stream = [*rng.choice(list("ab"), START), *rng.choice(list("abz"), 5_000, p=[0.49, 0.49, 0.02])]
    found = said(list(rng.choice(list("ab"), 10_000)), stream)
    assert [(t.aspect, t.what, t.direction) for t in found] == [("quality", "unseen", "up")]


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "nulls"), (np.inf, "invalid")])
def test_nulls_and_invalid_values_open_escalate_and_close(bad: float, what: str) -> None:
    rng, stream = np.random.default_rng(1), normal(7, 30_000)
    stream[START:10_000][rng.random(5_000) < 0.01] = bad
    stream[10_000:15_000][rng.random(5_000) < 0.3] = bad
    found = said(normal(1), stream)
    assert {(t.aspect, t.what) for t in found} == {("quality", what)}
    assert (found[0].status, found[0].severity) == ("opened", "minor")
    assert [(t.status, t.severity) for t in unmoved(found)][-2:] == [("escalated", "severe"), ("closed", "severe")]


def test_range_alarms_only_where_asked_or_two_valued() -> None:
    stream = normal(7, 15_000)
    stream[START:][np.random.default_rng(1).random(10_000) < 0.02] = 50.0
    assert {t.what for t in said(normal(1), stream)}.isdisjoint({"range"})
    assert "range" in {t.what for t in said(normal(1), stream, replace(BUDGET, range=True))}
    flag = np.where(np.arange(15_000) % 3 == 0, 1.0, 0.0)
    stray = flag.copy()
    stray[START::50] = -1.0
    assert [t.what for t in said(flag, stray)] == ["range"]


def test_no_drift_no_episode() -> None:
    columns: dict[str, Values] = {f"n{i}": normal(100 + i) for i in range(8)}
    columns |= {f"t{i}": np.random.default_rng(i).standard_cauchy(10_000) for i in range(4)}
    columns |= {f"c{i}": list(np.random.default_rng(i).choice(list("abcdefgh"), 10_000)) for i in range(4)}
    stream: dict[str, Values] = {f"n{i}": normal(200 + i, 60_000) for i in range(8)}
    stream |= {f"t{i}": np.random.default_rng(50 + i).standard_cauchy(60_000) for i in range(4)}
    stream |= {f"c{i}": list(np.random.default_rng(50 + i).choice(list("abcdefgh"), 60_000)) for i in range(4)}
    assert transitions_of(profile_of(columns), stream, replace(BUDGET, divisor=64.0)) == []


def test_undivided_levels_raise_less_than_two_false_alarms_per_million_values() -> None:
    columns = {f"n{i}": normal(300 + i) for i in range(20)}
    stream = {f"n{i}": normal(400 + i, 100_000) for i in range(20)}
    found = transitions_of(profile_of(columns), stream)
    assert sum(t.status == "opened" for t in found) <= 4


def test_autocorrelation_with_an_ordered_reference_is_quiet() -> None:
    rng = np.random.default_rng(3)
    found = Counter(
        t.status
        for _ in range(4)
        for t in said(autoregressive(rng, 10_000, 0.95), autoregressive(rng, 40_000, 0.95), BUDGET, ordered=True)
    )
    assert found["opened"] <= 1


def test_volume_speaks_for_the_group() -> None:
    profile = profile_of({"x": normal(1)})
    group, found = GroupDetector(profile, Settings(pane_ms=600_000)), []
    pane = profile.reference_counts()
    for tick in range(6 * 24 * 4):
        quiet = 6 * 60 <= tick < 6 * 66
        found += group.update(tick, pane * 0 if quiet else pane, 0 if quiet else PANE)
        if tick == 6 * 65:
            assert [(e.column, e.aspect, e.severity) for e in group.open_episodes()] == [("", "volume", "severe")]
    volume = [t for t in found if t.aspect == "volume"]
    assert [(t.status, t.direction, t.column) for t in volume] == [("opened", "down", ""), ("closed", "down", "")]


def test_views_and_open_episodes() -> None:
    profile = profile_of({"x": normal(1), "c": ["a", "b"] * 5_000})
    group = GroupDetector(profile, BUDGET)
    assert [(v.psi, v.mean, v.null_rate, v.severity) for v in group.views()] == [(None, None, None, "")] * 2
    stream: dict[str, Values] = {"x": changed(1.0), "c": ["a", "b", "b", "a", None] * 5_000}
    for tick, counts in enumerate(panes_of(profile, stream)):
        group.update(tick, counts, PANE)
    x, c = group.views()
    assert (x.column, x.severity, x.what) == ("x", "severe", "shift")
    assert x.psi == pytest.approx(1.0, abs=0.3)
    assert x.mean == pytest.approx(1.0, abs=0.1)
    assert (x.null_rate, c.mean, c.what) == (0, None, "nulls")
    assert c.null_rate == pytest.approx(0.2, abs=0.01)
    assert [(e.column, e.aspect) for e in group.open_episodes()] == [("x", "distribution"), ("c", "quality")]


def test_ticks_must_increase() -> None:
    profile = profile_of({"x": normal(1)})
    group, counts = GroupDetector(profile, BUDGET), np.zeros(profile.layout().total, np.int64)
    group.update(5, counts, 0)
    with pytest.raises(ValueError, match="pane 5 after pane 5"):
        group.update(5, counts, 0)


def test_columns_that_cannot_be_watched_are_harmless() -> None:
    profile = profile_of({"empty": np.full(100, np.nan), "constant": np.zeros(100), "none": [None] * 100})
    stream: dict[str, Values] = {"empty": np.full(9_600, np.nan), "constant": np.zeros(9_600), "none": [None] * 9_600}
    assert transitions_of(profile, stream) == []
    stream["constant"] = np.r_[np.zeros(4_800), np.full(4_800, 3.0)]
    assert [(t.column, t.what) for t in transitions_of(profile, stream)] == [("constant", "range")]


def test_detection_without_index_windows() -> None:
    found = said(normal(1), changed(1.0, until=12_000), replace(BUDGET, psi_windows=()))
    assert [(t.status, t.detector) for t in unmoved(found)] == [("opened", "adwin"), ("closed", "adwin")]


def test_a_reference_without_rows_says_nothing() -> None:
    profile, stream = profile_of({"x": np.zeros(0)}), {"x": np.arange(3_000.0)}
    assert transitions_of(profile, stream) == []

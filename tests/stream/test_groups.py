"""Groups: a segment's own reference, saved state at any point, and the offsets behind a run of panes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, Group, OffsetRange
from driftbus.stream.groups import GroupJudge, GroupPane, OffsetMarks
from driftbus.stream.plan import MonitorPlan, build_plans

ROWS = 100


def plan() -> MonitorPlan:
    rng = np.random.default_rng(0)
    country = rng.choice(["PT", "ES"], 4000)
    profile = build_profile(
        "m",
        "predictions",
        {"x": NumericData(rng.normal(size=4000) + (country == "PT")), "country": CategoryData(country.astype(object))},
    )
    stream = {"topic": "t", "time": "ts"}
    monitor = {"predictions": stream, "segments": ["country"], "learn": {"segment_rows": 5_000}}
    config = Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"m": monitor}})
    return build_plans(config, {("m", "predictions"): profile}, {"t": 1}).monitors["m"]


PLAN = plan()
STREAM = PLAN.streams[0]


def pane(seed: int, shift: float = 0.0) -> GroupPane:
    """A pane of a segment: everything is PT, and x lies one higher than for all rows."""
    rng = np.random.default_rng(seed)
    x, country = STREAM.profile.columns
    layout = STREAM.layout
    counts = np.zeros(layout.total, np.int64)
    cells = 1 + np.searchsorted(x.edges, rng.normal(1 + shift, 1, ROWS))
    np.add.at(counts, layout.offsets[0] + cells, 1)
    counts[layout.offsets[1] + country.categories.index("PT")] = ROWS
    return GroupPane(counts, ROWS, {0: (seed * ROWS, (seed + 1) * ROWS)})


def run(group: Group, shift_at: int, panes: int, restore_at: int = -1) -> list[DriftEvent]:
    judge, events = GroupJudge(PLAN, STREAM, group), []
    for tick in range(panes):
        if tick == restore_at:
            judge = GroupJudge.restored(PLAN, STREAM, group, judge.state())
        events += judge.update(tick, pane(tick, shift=1.0 if tick >= shift_at else 0.0))
    return events


def test_a_segment_is_compared_with_itself_and_not_with_all_rows() -> None:
    everything = run(Group("m", "predictions"), shift_at=200, panes=60)
    assert {e.column for e in everything} == {"x", "country"}
    segment = Group("m", "predictions", "", "country=PT")
    assert run(segment, shift_at=200, panes=150) == []
    (opened,) = [e for e in run(segment, shift_at=100, panes=150) if e.status == "opened"]
    assert (opened.column, opened.what, opened.direction, opened.segment) == ("x", "shift", "up", "country=PT")
    assert abs(opened.since_ms / PLAN.pane_ms - 100) <= 2


@pytest.mark.parametrize("cut", [10, 49, 50, 51, 101, 103])
def test_state_goes_on_at_any_point(cut: int) -> None:
    segment = Group("m", "predictions", "", "country=PT")
    assert run(segment, 100, 150, restore_at=cut) == run(segment, 100, 150)


ranges = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=300)


@given(ranges, st.data())
def test_marks_cover_the_window_and_not_much_more(steps: list[tuple[int, int]], data: Any) -> None:
    marks, tick, at, panes = OffsetMarks(), 0, 0, []
    for gap, rows in steps:
        tick += gap + 1
        panes.append((tick, at, at + rows))
        marks.add(tick, {0: (at, at + rows)})
        at += rows
    start = data.draw(st.integers(0, tick))
    inside = [p for p in panes if p[0] >= start]
    (found,) = OffsetMarks.restored(marks.state()).ranges("t", start)
    assert found == marks.ranges("t", start)[0]
    assert found.from_offset <= inside[0][1]
    assert found == OffsetRange("t", 0, found.from_offset, at)
    extra = sum(1 for p in panes if found.from_offset <= p[1] < inside[0][1])
    assert extra <= len(inside) / 2
    assert len(str(marks.state())) < 20_000

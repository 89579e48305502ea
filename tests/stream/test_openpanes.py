from __future__ import annotations

import random

import numpy as np

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import Entry, Group
from driftbus.stream.crowding import OTHER
from driftbus.stream.join.ranges import packed
from driftbus.stream.outcomes import openpanes
from driftbus.stream.outcomes.content import Content, Key
from driftbus.stream.outcomes.openpanes import OpenPanes

SHAPE = OutcomeShape(kind="multiclass", classes=("a", "b"))
MOST = 2


def entry(version: str, segment: str = "", tick: int = 1, cohort: int = 0) -> Entry:
    counts, width, cells = packed(np.array([3]), np.array([1]), SHAPE.size)
    return Entry(
        Group("credit", "outcomes", version, segment), tick, 1, 0, 1, counts, width, cohort=cohort, cells=cells
    )  # fmt: skip


def rows(pane: dict[Key, Content]) -> dict[Key, int]:
    assert all(content.counts.sum() == content.rows for content in pane.values())
    return {key: content.rows for key, content in pane.items()}


def filled(entries: list[Entry], known: set[tuple[str, str]]) -> dict[Key, int]:
    panes = OpenPanes(SHAPE, MOST, lambda: known)
    panes._most_groups = 6
    for one in entries:
        assert panes.add(one, 0) == 0
    again = OpenPanes(SHAPE, MOST, lambda: known)
    again.restore(panes.state())
    assert again.size == panes.size
    sealed, restored = panes.pop(1), again.pop(1)
    assert rows(sealed) == rows(restored)
    panes.narrow(sealed)
    found = rows(sealed)
    assert again.size == panes.size == 0
    return found


def test_versions_beyond_the_bound_are_put_together_and_none_of_their_rows_is_lost() -> None:
    entries = [entry(f"v{i:02}", segment, cohort=i % 2) for i in range(40) for segment in ("", f"country=c{i:02}")]
    known = {("v30", ""), ("v30", "country=c30")}
    found = filled(entries, known)
    assert sum(n for (_, segment, _), n in found.items() if not segment) == 40
    assert {("v00", "", 0), ("v01", "", 1), ("v30", "", 0), ("v30", "country=c30", 0)} <= found.keys()
    assert found[OTHER, "", 0] > 10
    assert len(found) < 14


def test_the_order_in_which_they_come_does_not_matter() -> None:
    entries = [entry(f"v{i:02}", segment) for i in range(30) for segment in ("", f"country=c{i % 7}")]
    wanted = filled(entries, {("v29", "")})
    assert wanted.keys() >= {("v00", "", 0), ("v01", "", 0), ("v29", "", 0), (OTHER, "", 0)}
    assert len(wanted) == 6
    for seed in range(50):
        random.Random(seed).shuffle(entries)
        assert filled(entries, {("v29", "")}) == wanted


def test_times_far_ahead_are_let_go_first() -> None:
    panes = OpenPanes(SHAPE, MOST, set)
    panes._most_open = 10
    dropped = sum(panes.add(entry("1", tick=tick), 0) for tick in (*range(100, 200), 1, 2, 3))
    assert dropped == 93
    assert sorted(panes) == [1, 2, 3, *range(100, 107)]


def test_bounds_are_those_of_the_streams() -> None:
    panes = OpenPanes(SHAPE, 64, set)
    assert panes._most_groups == openpanes.most_groups(128, SHAPE.size)
    assert panes._most_open == openpanes.most_open(SHAPE.size)

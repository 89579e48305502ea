"""A replay from the middle of history: what is the same as in one from the beginning, and what is not."""

from __future__ import annotations

from driftbus.schemas.events import DriftEvent, Group, Published
from driftbus.stream.driver import Driver
from driftbus.stream.groups import GroupJudge, GroupPane
from harness.savedstate import BATCH, ROWS, START_MS, feed, plans_with, reference

PANE_MS = 10_000
FROM = ROWS // 6 // BATCH * BATCH
"""The first row that is replayed: before the drift."""


class Panes:
    """Content of every pane that was judged."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, Group], object] = {}

    def pane(
        self, tick: int, group: Group, content: GroupPane | None, judge: GroupJudge, events: list[DriftEvent]
    ) -> None:
        if content is not None:
            self.seen[tick, group] = content.state()


def replayed(first: int) -> tuple[dict[tuple[int, Group], object], list[Published]]:
    panes = Panes()
    decided = feed(Driver(plans_with(reference()), panes), first)
    return panes.seen, decided


def test_panes_after_the_start_are_the_same_and_verdicts_know_nothing_of_before() -> None:
    (whole, live), (part, late) = replayed(0), replayed(FROM)
    start = (START_MS + FROM * 1_000) // PANE_MS
    assert part == {key: content for key, content in whole.items() if key[0] >= start}
    opened = [
        {e.id: e for e in events if isinstance(e, DriftEvent) and e.status == "opened" and not e.segment}
        for events in (live, late)
    ]
    found = [{(e.version, e.column, e.what) for e in one.values()} for one in opened]
    assert {("1", "income", "shift"), ("2", "income", "shift")} <= found[0] & found[1]
    same = [(opened[0][i], opened[1][i]) for i in opened[0].keys() & opened[1].keys()]
    assert any(a != b for a, b in same) or opened[0].keys() != opened[1].keys(), "windows begin empty, and it shows"

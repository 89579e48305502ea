"""The bound on groups: a flood of segments or versions stays bounded and never hides a model version."""

from __future__ import annotations

import numpy as np
import pytest

from driftbus.detectors.summary import pack_counts
from driftbus.schemas.events import DriftEvent, Entry, Group, Source, SummaryPart
from driftbus.stream import groups
from driftbus.stream.judge import OTHER, MonitorJudge
from driftbus.stream.plan import Plans

from .world import TOPIC, FoldingDetector, Schedule, plans_of

SCHEDULE = Schedule(1, 1, 10, 0, 1000, 1000, frozenset(), ((),), ())


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    monkeypatch.setattr(groups, "GroupDetector", FoldingDetector)
    return plans_of(SCHEDULE)


def part(plans: Plans, tick: int, names: list[Group], rows: int = 3) -> SummaryPart:
    topic = plans.topics[TOPIC]
    counts = np.zeros(topic.streams[0].layout.total, np.int64)
    counts[1] = rows
    data, width = pack_counts(counts)
    entries = tuple(Entry(g, tick, rows, 0, rows, data, width) for g in sorted(names))
    return SummaryPart("final", Source(TOPIC, 0, topic.epoch), 0, tick * 10, tick * 10 + 10, tick, entries)


def test_versions_and_segments_have_bounds_of_their_own(plans: Plans) -> None:
    judge = MonitorJudge(plans.monitors["m0"])
    most = plans.monitors["m0"].config.detection.max_groups
    segments = [Group("m0", "predictions", "1", f"country={i:05}") for i in range(1000)]
    versions = [Group("m0", "predictions", f"{i:04}") for i in range(most + 10)]
    decided = []
    for offset, (tick, names) in enumerate([(0, segments), (1, versions), (2, [*versions, *segments]), (3, [])]):
        decided += judge.apply(offset, part(plans, tick, names))
    known = set(judge.streams[0].groups)
    assert sum(bool(g.segment) for g in known) == most
    whole = {g.version for g in known if not g.segment}
    assert whole == {f"{i:04}" for i in range(most)} | {OTHER}
    others = [e for e in decided if isinstance(e, DriftEvent) and e.version == OTHER and e.status == "opened"]
    assert [e.count for e in others] == [10 * 3, 10 * 3]

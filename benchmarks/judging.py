"""Many monitors of the events, and the parts that reach their judges: for the benchmarks of stage 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks import events
from driftbus.detectors.profile import Profile
from driftbus.detectors.summary import pack_counts
from driftbus.schemas.columns import Block
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.events import Entry, Group, Source, SummaryPart
from driftbus.stream.plan import Plans, build_plans

FEATURES = 25
_VARIANTS = 50


def many(monitors: int) -> tuple[Plans, Block]:
    """Plans of so many monitors, each with a topic of one partition, a profile of its own and 25 columns; a block."""
    data = events.rows(20_000)
    names = [f"model-{i:04d}" for i in range(monitors)]
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "unused:9092"},
            "monitors": {name: {"predictions": {"topic": name, "time": "ts"}} for name in names},
        }
    )
    plans = build_plans(config, profiles_of(data, names), dict.fromkeys(names, 1))
    projection = plans.topics[names[0]].projection
    return plans, BatchDecoder(projection, events.OneSchema()).decode(events.Encoded(data).values(0, 20_000)).block


def profiles_of(data: events.Rows, names: Iterable[str]) -> dict[tuple[str, str], Profile]:
    """A profile of 25 columns for each monitor."""
    plain = events.profile(data).to_dict()
    plain["columns"] = plain["columns"][:FEATURES]
    for key in ("profile_id", "sample"):
        plain.pop(key, None)  # of all the columns
    return {(name, "predictions"): Profile.from_dict(plain | {"monitor": name}) for name in names}


class Parts:
    """Parts as stage 1 sends them when every monitor has one range a pane.

    Args:
        plans, block: of `many`.
        rows: records of a pane.
    """

    def __init__(self, plans: Plans, block: Block, rows: int) -> None:
        self._plans, self._rows = plans, rows
        first = next(iter(plans.topics.values()))
        entry = np.full(block.n, -1, np.int64)
        entry[: _VARIANTS * rows] = np.arange(_VARIANTS * rows) // rows
        counts, _ = first.streams[0].counter.count(block, entry, _VARIANTS)
        self._packed = [pack_counts(row) for row in counts]

    def of_pane(self, tick: int, start: int) -> Iterator[tuple[str, SummaryPart]]:
        """(monitor, its part) of one pane; `start` is the first pane."""
        a = (tick - start) * self._rows
        for i, topic in enumerate(self._plans.topics.values()):
            packed, width = self._packed[(tick * 7 + i) % _VARIANTS]
            monitor = topic.streams[0].monitor
            entry = Entry(Group(monitor, "predictions"), tick, self._rows, a, a + self._rows, packed, width)
            source = Source(topic.topic, 0, topic.epoch)
            yield monitor, SummaryPart("final", source, 0, a, a + self._rows, tick, (entry,))

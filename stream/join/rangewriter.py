"""Ranges of labels and the parts they become; where each begins is what may be committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftbus.schemas.events import Entry, Group, Source, SummaryPart
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.pairs import add_to
from driftbus.stream.join.ranges import Derived, OpenRange, cut
from driftbus.stream.join.waiting import Waiting
from driftbus.stream.summarise import ShardPart


@dataclass(slots=True)
class Mark:
    """What is known right before the first label of a range: its offset, and the clock of the label log."""

    boundary: int
    clock: int


class RangeWriter:
    """The open range of a label partition.

    Args:
        plan: the label topic.
        source: what its parts say of where they come from.
        base: offset at which the epoch began.
        position: committed range boundary, or `base`; labels before it are in ranges that are closed.

    Attributes:
        commit_offset: start of the open range, None before the first cut.
        clock: greatest pane of a counted label, -1 before the first.
        records: labels in the open range.
        emit_from: first label that ranges are made of.
    """

    def __init__(self, plan: OutcomePlan, source: Source, base: int, position: int) -> None:
        self.commit_offset: int | None = None
        self.clock = -1
        self.records = 0
        self.emit_from = position
        self._plan, self._source, self._base = plan, source, base
        self._range = OpenRange({join.monitor: join.shape.size for join in plan.joins})
        self._a: int | None = base if position == base else None
        self._max_tick = -1
        self._marks: list[Mark] = []

    def count(self, chunk: Waiting, derived: Sequence[tuple[list[Group], int, list[Derived]]]) -> list[ShardPart]:
        """Count resolved labels; returns the parts of the ranges that end among them.

        Args:
            chunk: the labels.
            derived: of each join the groups by number, the cells of a vector, and what the labels add.
        """
        emitted = int(np.searchsorted(chunk.offsets, self.emit_from))
        if emitted == chunk.offsets.size:
            return []
        parts: list[ShardPart] = []
        ticks = chunk.ticks[emitted:]
        if self._a is None:
            self._a = int(chunk.offsets[emitted])
        cuts, closed, records, tick = cut(ticks, self.records, self._max_tick, self._plan.range_records)
        begin = emitted
        for at, greatest in zip((cuts + emitted).tolist(), closed.tolist(), strict=True):
            self._add(chunk, derived, begin, at)
            boundary = int(chunk.offsets[at])
            parts += self._close(boundary, greatest)
            self._marks.append(Mark(boundary, int(chunk.before[at])))
            begin = at
        self._add(chunk, derived, begin, chunk.offsets.size)
        self.records, self._max_tick = records, tick
        self.clock = max(self.clock, int(ticks.max()))
        return parts

    def preview(self, position: int) -> list[ShardPart]:
        """The whole open range, which reaches up to a position, for every shard."""
        if not self.records:
            return []
        assert self._a is not None
        return self._parts("preview", self._a, position, self._max_tick)

    def finish(self, position: int) -> list[ShardPart]:
        """The open range as a final one."""
        if not self.records:
            return []
        parts = self._close(position, self._max_tick)
        self.records, self._max_tick = 0, -1
        return parts

    def durable(self, acknowledged: int | None, offset: int, clock: int) -> dict[str, Any] | None:
        """What may be written when parts up to a boundary are acknowledged; None: nothing.

        Args:
            acknowledged: the boundary, None for none.
            offset, clock: where the label log is now: offset of the next label, and the log's clock.
        """
        boundary = self.emit_from if acknowledged is None else acknowledged
        while self._marks and self._marks[0].boundary < boundary:
            self._marks.pop(0)
        common = {"emit_from": self.emit_from, "tick": self.clock}
        if not self._marks or self._marks[-1].boundary <= boundary:
            return common | {
                "offset": offset, "clock": clock, "a": self._a, "records": self.records,
                "max_tick": self._max_tick, "range": self._range.dump(),
            }  # fmt: skip
        if self._marks[0].boundary != boundary:
            return None
        closed = {"offset": boundary, "clock": self._marks[0].clock, "a": boundary}
        return common | closed | {"records": 0, "max_tick": -1, "range": b""}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with what `durable` gave."""
        self._a, self.records, self._max_tick = state["a"], state["records"], state["max_tick"]
        self.emit_from, self.clock = state["emit_from"], state["tick"]
        if state["range"]:
            self._range.load(state["range"])

    def _add(
        self, chunk: Waiting, derived: Sequence[tuple[list[Group], int, list[Derived]]], begin: int, end: int
    ) -> None:
        for groups, size, pieces in derived:
            for piece in pieces:
                add_to(self._range, groups, size, piece, chunk, begin, end)

    def _close(self, boundary: int, max_tick: int) -> list[ShardPart]:
        assert self._a is not None  # a range with records has a name
        parts = self._parts("final", self._a, boundary, max_tick)
        self._a = self.commit_offset = boundary
        self._range.clear()
        return parts

    def _parts(self, kind: str, a: int, b: int, max_tick: int) -> list[ShardPart]:
        shards = {join.monitor: join.shard for join in self._plan.joins}
        by_shard: dict[int, list[Entry]] = {}
        for monitor, entry in self._range.entries():
            by_shard.setdefault(shards[monitor], []).append(entry)
        return [
            (shard, SummaryPart(kind, self._source, self._base, a, b, max_tick, tuple(by_shard.get(shard, ()))))
            for shard in range(self._plan.shards)
        ]

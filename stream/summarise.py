"""Stage 1: a source partition, in offset order, becomes counts of offset ranges.

The only state is the open range. Ranges are cut where the log alone says so, never by a timer,
a batch boundary or a shutdown, so a restart at a committed boundary repeats identical parts.
docs/protocol.md has the rules and why each is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.sampling import NO_DELAY
from driftbus.detectors.sketches import merged
from driftbus.detectors.summary import UNSEEN_KEPT, merge_unseen
from driftbus.schemas.columns import MISSING_TIME, Block
from driftbus.schemas.events import Entry, Group, Source, SummaryPart
from driftbus.schemas.fields import WriterFields
from driftbus.schemas.hashing import hash_bytes
from driftbus.schemas.textparts import with_text_parts
from driftbus.stream.cutting import arrival_delays, cut_ranges, extents, renumber
from driftbus.stream.eventtimes import refused_times
from driftbus.stream.factorise import matching, names_of
from driftbus.stream.plan import StreamPlan, TopicPlan
from driftbus.stream.rangecontent import Content, as_entry, in_order, told

ShardPart = tuple[int, SummaryPart]
Rejection = tuple[int, str, str]

MOST_COUNTED_BYTES = 64 << 20
"""Of the counts of one batch. One whose rows all belong to groups of their own is counted in pieces."""

_MAX_GROUPS_REMEMBERED = 4096
_MAX_WRITERS_REMEMBERED = 256


@dataclass(slots=True)
class Output:
    """What a batch gave: parts to publish in order, and rows that can't be counted with reason and message."""

    parts: list[ShardPart] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


class Summariser:
    """Stage 1 of one source partition.

    Args:
        plan: the topic.
        partition: partition number.
        base: offset at which this epoch of the source began; names the first range.
        position: offset of the next record to read: `base`, or a committed range boundary.

    Attributes:
        position: offset after the last record fed.
        commit_offset: start of the open range: safe to commit once every part returned so far
            is acknowledged. None before the first cut.
        clock: greatest tick seen since the start, -1 before the first record.
    """

    def __init__(self, plan: TopicPlan, partition: int, *, base: int, position: int) -> None:
        self.plan = plan
        self.source = Source(plan.topic, partition, plan.epoch)
        self._seed = hash_bytes(f"{plan.topic}/{partition}".encode())
        self.base = base
        self.position = position
        self.commit_offset: int | None = None
        self.clock = -1
        # A committed boundary may be any offset up to the next range's first record, so the
        # range after it is named by the record found there.
        self._a: int | None = base if position == base else None
        self._records = 0
        self._max_tick = -1
        self._entries: dict[tuple[int, int], Content] = {}
        self._writers: dict[int, WriterFields] = {}
        plans = [each for stream in plan.streams for each in (stream, *stream.own.values())]
        self._width = max(map(_width, plans), default=1)
        self._groups: list[tuple[StreamPlan, Group]] = []
        self._group_ids: dict[Group, int] = {}

    @property
    def open_records(self) -> int:
        """Records in the open range."""
        return self._records

    def feed(
        self, block: Block, offsets: NDArray[np.int64], timestamps: NDArray[np.int64], good: NDArray[np.bool_]
    ) -> Output:
        """Count the next records.

        Args:
            block: n decoded records, in offset order.
            offsets: int64[n].
            timestamps: int64[n], Kafka timestamps in milliseconds, -1 for none.
            good: bool[n], False where the record could not be decoded.
        """
        output = Output()
        if not block.n:
            return output
        decoded, found = block, good
        if len(self._writers) > _MAX_WRITERS_REMEMBERED:
            self._forget_writers()
        self._writers |= {writer.fingerprint: writer for writer in block.writers}
        if not self.plan.projection.time:
            block.time_ms = np.where(timestamps >= 0, timestamps, MISSING_TIME)
        block = with_text_parts(block, self.plan.texts)
        good = good & self._valid_times(block, timestamps, good, output.rejected)
        groups = self._group_rows(block, good)
        ticks = np.where(good, block.time_ms // self.plan.pane_ms, -1)
        keys = list(self._entries)
        open_keys = np.array(keys, np.int64).reshape(len(keys), 2)
        records, max_tick = self._records, self._max_tick
        cuts, cut_ticks, entry_of, entry_keys, entry_range, self._records, self._max_tick = cut_ranges(
            ticks, good, groups, open_keys, self._records, self._max_tick,
            self.plan.range_records, self.plan.range_entries,
        )  # fmt: skip
        if entry_keys.shape[0] * self._entry_bytes(block) > MOST_COUNTED_BYTES and block.n > 1:
            self._records, self._max_tick = records, max_tick
            return self._halves(decoded, offsets, timestamps, found)
        if self._a is None and good.any():
            self._a = int(offsets[np.argmax(good)])
        known = [
            self._entries.get((g, tick)) if not r else None
            for (g, tick), r in zip(entry_keys.tolist(), entry_range.tolist(), strict=True)
        ]
        plans = [self._groups[g][0] for g in entry_keys[:, 0].tolist()]
        fresh = self._count(block, offsets, self._delays(block, timestamps), entry_of, known, plans)
        bounds = np.searchsorted(entry_range, np.arange(len(cuts) + 2)).tolist()
        for r in range(len(cuts) + 1):
            for e in range(bounds[r], bounds[r + 1]):
                self._add((int(entry_keys[e, 0]), int(entry_keys[e, 1])), fresh[e])
            if r < len(cuts):
                output.parts += self._close(int(offsets[cuts[r]]), int(cut_ticks[r]))
        self.position = int(offsets[-1]) + 1
        self.clock = max(self.clock, int(ticks.max(initial=-1)))
        return output

    def _entry_bytes(self, block: Block) -> int:
        """Bytes that the counts of one more entry of a batch take, at most."""
        return self._width + 8 * len(block.writers)

    def _halves(
        self, block: Block, offsets: NDArray[np.int64], timestamps: NDArray[np.int64], good: NDArray[np.bool_]
    ) -> Output:
        """`feed`, one half after the other: what is published does not depend on batches."""
        half = block.n // 2
        first = self.feed(block.rows_from(0, half), offsets[:half], timestamps[:half], good[:half])
        rest = self.feed(block.rows_from(half), offsets[half:], timestamps[half:], good[half:])
        first.parts += rest.parts
        first.rejected += [(row + half, reason, message) for row, reason, message in rest.rejected]
        return first

    def preview(self) -> list[ShardPart]:
        """The whole open range so far, for every shard; replaceable, never committed."""
        if not self._records:
            return []
        assert self._a is not None
        return self._parts("preview", self._a, self.position, self._max_tick, self._entries)

    def force(self, tick: int = -1) -> list[ShardPart]:
        """A forced clock: the source is silent, and is held to have passed all panes before `tick`.

        Without a tick it is held to have come as far as the topic's other partitions. Publish
        `preview` first, so that the open range counts.
        """
        part = SummaryPart("clock", self.source, self.base, self.position, self.position, tick)
        return [(shard, part) for shard in range(self.plan.shards)]

    def finish(self) -> list[ShardPart]:
        """The end of a log that will never grow: the open range as a final one."""
        if not self._records:
            return []
        parts = self._close(self.position, self._max_tick)
        self._records, self._max_tick = 0, -1
        return parts

    def _valid_times(
        self, block: Block, timestamps: NDArray[np.int64], good: NDArray[np.bool_], rejected: list[Rejection]
    ) -> NDArray[np.bool_]:
        bad, why = refused_times(block.time_ms, timestamps, good, self.plan.future_ms, self.plan.projection.time)
        rejected += [(row, "bad_event_time", said) for row, said in why]
        return ~bad

    def _group_rows(self, block: Block, good: NDArray[np.bool_]) -> NDArray[np.int64]:
        """int64[slots, n]: for each stream and segment field, the group id of each row, -1 for none."""
        if len(self._groups) > _MAX_GROUPS_REMEMBERED:
            self._forget_groups()
        slots = []
        for stream in self.plan.streams:
            mask = good
            for row, text in stream.where:
                mask = mask & matching(block, row, text)
            versions, names = names_of(block, stream.version, mask)
            ids = [self._group_id(stream.of(name), Group(stream.monitor, stream.stream, name)) for name in names]
            slots.append(_lookup(ids, versions))
            for segment, row in stream.segments:
                values, texts = names_of(block, row, mask)
                pairs, at = np.unique(versions * len(texts) + values, return_inverse=True)
                ids = [
                    -1
                    if pair < 0 or not texts[pair % len(texts)]
                    else self._group_id(
                        stream.of(names[pair // len(texts)]),
                        Group(
                            stream.monitor,
                            stream.stream,
                            names[pair // len(texts)],
                            f"{segment}={texts[pair % len(texts)]}",
                        ),
                    )
                    for pair in pairs.tolist()
                ]
                slots.append(np.where(mask, np.array(ids, np.int64)[at], -1))
        return np.array(slots, np.int64).reshape(len(slots), block.n)

    def _group_id(self, stream: StreamPlan, group: Group) -> int:
        known = self._group_ids.get(group)
        if known is None:
            known = self._group_ids[group] = len(self._groups)
            self._groups.append((stream, group))
        return known

    def _forget_writers(self) -> None:
        open_sketches = [e.sketches for e in self._entries.values() if e.sketches is not None]
        used = {one for sketches in open_sketches for one in sketches.writers.hashes.tolist()}
        self._writers = {one: writer for one, writer in self._writers.items() if one in used}

    def _forget_groups(self) -> None:
        used = sorted({g for g, _ in self._entries})
        kept = [self._groups[g] for g in used]
        new = {old: i for i, old in enumerate(used)}
        self._entries = {(new[g], tick): entry for (g, tick), entry in self._entries.items()}
        self._groups = kept
        self._group_ids = {group: i for i, (_, group) in enumerate(kept)}

    def _count(
        self,
        block: Block,
        offsets: NDArray[np.int64],
        delays: NDArray[np.int64],
        entry_of: NDArray[np.int64],
        known: list[Content | None],
        plans: list[StreamPlan],
    ) -> list[Content]:
        """The content that this block adds to each entry, of which `known` is there already."""
        entries = len(known)
        fresh: list[Content] = [_EMPTY] * entries
        rows, first, last = extents(entry_of, offsets, entries)
        slot = 0
        for stream in self.plan.streams:
            for number in range(1 + len(stream.segments)):
                for plan, mine in _by_plan(stream, entry_of[slot], plans):
                    local, used = renumber(mine, entries)
                    counts, unseen = plan.counter.count(block, local, used.size)
                    for i, e in enumerate(used.tolist()):
                        fresh[e] = Content(counts[i], int(rows[e]), int(first[e]), int(last[e]) + 1, {})
                    if number == 0 and plan.sampler is not None:
                        before = [k.sketches if (k := known[e]) is not None else None for e in used.tolist()]
                        found = plan.sampler.sketch(block, self._seed, offsets, delays, local, before)
                        for e, sketches in zip(used.tolist(), found, strict=True):
                            fresh[e].sketches = sketches
                    for i, column, name, times in unseen:
                        merge_unseen(fresh[int(used[i])].unseen, column, [(name, times)])
                slot += 1
        return fresh

    def _close(self, boundary: int, max_tick: int) -> list[ShardPart]:
        assert self._a is not None  # a range with records has a name
        parts = self._parts("final", self._a, boundary, max_tick, self._entries)
        self._a = self.commit_offset = boundary
        self._entries = {}
        return parts

    def _add(self, key: tuple[int, int], fresh: Content) -> None:
        known = self._entries.get(key)
        if known is None:
            self._entries[key] = fresh
            return
        known.counts += fresh.counts
        known.rows += fresh.rows
        known.to_offset = max(known.to_offset, fresh.to_offset)
        for column, names in fresh.unseen.items():
            merge_unseen(known.unseen, column, names.items())
        known.sketches = merged(known.sketches, fresh.sketches)

    def _delays(self, block: Block, timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Kafka timestamp minus event time; an event time that is the timestamp says nothing."""
        if not self.plan.projection.time:
            return np.full(block.n, NO_DELAY, np.int64)
        delays = np.empty(block.n, np.int64)
        arrival_delays(timestamps, block.time_ms, delays)
        return delays

    def _parts(
        self, kind: str, a: int, b: int, max_tick: int, entries: dict[tuple[int, int], Content]
    ) -> list[ShardPart]:
        by_shard: dict[int, list[Entry]] = {}
        met: dict[int, set[int]] = {}
        for (g, tick), content in entries.items():
            stream, group = self._groups[g]
            by_shard.setdefault(stream.shard, []).append(as_entry(group, tick, content, stream.mark))
            if content.sketches is not None:
                met.setdefault(stream.shard, set()).update(content.sketches.writers.hashes.tolist())
        return [
            (
                shard,
                SummaryPart(
                    kind,
                    self.source,
                    self.base,
                    a,
                    b,
                    max_tick,
                    tuple(in_order(by_shard.get(shard, ()))),
                    tuple(told(self._writers[one] for one in sorted(met.get(shard, ())))),
                ),
            )
            for shard in range(self.plan.shards)
        ]


_EMPTY = Content(np.zeros(0, np.int64), 0, 0, 0, {})


def _by_plan(
    stream: StreamPlan, entry: NDArray[np.int64], plans: list[StreamPlan]
) -> Iterator[tuple[StreamPlan, NDArray[np.int64]]]:
    """The entries of a stream by what they are counted with; -1 where a row's entry is another's."""
    if not stream.own:
        yield stream, entry
        return
    for plan in (stream, *stream.own.values()):
        mine = np.array([*(each is plan for each in plans), False])
        if mine.any():
            yield plan, np.where(mine[entry], entry, -1)


def _width(plan: StreamPlan) -> int:
    """Bytes that the counts of a (group, pane) take while a batch is counted."""
    texts = sum(column.kind != "numeric" for column in plan.profile.columns)
    return 8 * plan.layout.total + 16 * UNSEEN_KEPT * texts + 8 * plan.shape.most_bytes


def _lookup(ids: list[int], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(codes >= 0, np.array([*ids, -1], np.int64)[codes], -1)

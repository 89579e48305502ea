"""The join of one label partition: labels in offset order, each once the predictions' clock has passed it.

What it publishes is a function of two logs: the labels, and the predictions of the same partition number.
How their records are interleaved, and what crashes or is lost in between, changes nothing. docs/labels.md
has the rules for people, docs/protocol.md why each is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import Block, Projection
from driftbus.schemas.events import Entry, Source, SummaryPart
from driftbus.stream.join.blobs import Blobs
from driftbus.stream.join.joiner import Joiner, Waiting, add_to
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.ranges import Derived, OpenRange, cut
from driftbus.stream.join.rows import NEVER, clock_of, event_times, valid_times, words_of
from driftbus.stream.join.store import JoinStore
from driftbus.stream.summarise import Output, ShardPart

MOST_WAITING = 200_000
"""Labels that may wait for predictions before no more should be fed."""


@dataclass(slots=True)
class _Mark:
    """What is known right before the first label of a range."""

    boundary: int
    clock: int


@dataclass(slots=True)
class _Side:
    """How far one topic of predictions has been read."""

    position: int = 0
    clock: int = -1
    seen_end_ms: int = -1


@dataclass(frozen=True, slots=True)
class Rebuild:
    """From where both logs have to be read when nothing is stored.

    Args:
        labels_ms: the first label whose Kafka timestamp is at least this; -1: from the beginning.
        predictions_ms: topic → the same for its predictions.
    """

    labels_ms: int
    predictions_ms: Mapping[str, int] = field(default_factory=dict)

    def missing_ms(self, topic: str, first_offset: int, first_ms: int) -> int:
        """How much of what has to be read a log no longer has, in milliseconds of Kafka timestamps; 0: nothing.

        Outcomes of labels whose predictions lay there become orphans, and differ from what a worker that
        still had them would have said.

        Args:
            topic: of predictions.
            first_offset: first offset that is left in the log's partition.
            first_ms: Kafka timestamp of the record there.
        """
        wanted = self.predictions_ms.get(topic, -1)
        return max(0, first_ms - wanted) if first_offset > 0 and wanted >= 0 else 0


class OutcomeMachine:
    """One label partition and the predictions that its labels are about.

    It continues where its store stands, before or behind `position`. With an empty store and a position
    behind the log's beginning call `rebuild` and `begin` before the first record.

    Args:
        plan: the label topic.
        partition: partition number.
        blobs: what is stored; nobody else may use it meanwhile.
        base: label offset at which the epoch began; names the first range.
        position: committed range boundary, or `base`.

    Attributes:
        position: label offset from which on labels have to be fed; behind the last one fed.
        commit_offset: start of the open range: safe to commit once every part returned so far is
            acknowledged. None before the first cut.
        clock: greatest pane of a counted label, -1 before the first.
        contradictions: predictions that came although their labels had been resolved without them.
    """

    def __init__(self, plan: OutcomePlan, partition: int, blobs: Blobs, *, base: int, position: int) -> None:
        self.plan = plan
        self.source = Source(plan.topic, partition, plan.epoch)
        self.base = base
        self.commit_offset: int | None = None
        self.clock = -1
        self.contradictions = 0
        self.store = JoinStore(blobs, [words_of(join) for join in plan.joins])
        self._joiners = [Joiner(i, join, self.store, plan.labels) for i, join in enumerate(plan.joins)]
        self._sides = {topic: _Side() for topic in plan.predictions}
        self._range = OpenRange({join.monitor: join.shape.size for join in plan.joins})
        self._a: int | None = base if position == base else None
        self._records, self._max_tick = 0, -1
        self._emit_from = position
        self._waiting: list[Waiting] = []
        self._marks: list[_Mark] = []
        self._done = position  # labels before this are resolved
        self._done_clock = -1
        self._fed_clock = -1
        self.position = self._done
        self._silent_ms = -1
        state = self.store.state
        if state:
            self._resume(state)

    # Where to begin

    @property
    def fresh(self) -> bool:
        """Whether nothing is stored and nothing was read."""
        return not self.store.state and not self._waiting and self._fed_clock < 0 and self._done == self._emit_from

    @property
    def rebuilding(self) -> bool:
        """Whether labels before the committed boundary are still being read again."""
        return self._done < self._emit_from

    def rebuild(self, first_label_ms: int) -> Rebuild:
        """From where to read, when nothing is stored.

        Args:
            first_label_ms: Kafka timestamp of the first label at or after `position`, else of the last before
                it; -1 if there is none: everything is read.
        """
        if first_label_ms < 0:
            return Rebuild(-1, dict.fromkeys(self._sides, -1))
        starts: dict[str, int] = {}
        labels = first_label_ms
        for joiner in self._joiners:
            if joiner.plan.topic:
                start = joiner.first_segment(first_label_ms) * joiner.plan.segment_ms
                starts[joiner.plan.topic] = min(starts.get(joiner.plan.topic, start), start)
                labels = min(labels, start - joiner.plan.wait_ms)
        return Rebuild(max(-1, labels), {topic: max(-1, start) for topic, start in starts.items()})

    def begin(self, labels: int, predictions: Mapping[str, int], first_label_ms: int = -1) -> None:
        """Read from these offsets on: what `rebuild` asked for, as the brokers know it."""
        assert self.fresh
        self._done = self.position = min(labels, self._emit_from)
        for topic, offset in predictions.items():
            self._sides[topic].position = offset
        if first_label_ms >= 0:
            for joiner in self._joiners:
                joiner.low = joiner.first_segment(first_label_ms)

    # Predictions

    def prediction_position(self, topic: str) -> int:
        """Offset of the next prediction to feed."""
        return self._sides[topic].position

    def prediction_clock(self, topic: str) -> int:
        """Greatest Kafka timestamp of the predictions fed, -1 before the first."""
        return self._sides[topic].clock

    def feed_predictions(
        self,
        topic: str,
        block: Block,
        offsets: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        good: NDArray[np.bool_],
        projection: Projection | None = None,
    ) -> None:
        """Take the next predictions, any distance ahead of the labels; call `advance` after it.

        Args:
            topic: one of the plan's.
            block: n decoded records, in offset order.
            offsets: int64[n].
            timestamps: int64[n], Kafka timestamps in milliseconds, -1 for none.
            good: bool[n], False where the record could not be decoded.
            projection: columns of the block; None: those of the plan.
        """
        side = self._sides[topic]
        skip = int(np.searchsorted(offsets, side.position))
        if skip == offsets.size:
            return
        clock = clock_of(timestamps, side.clock)
        for joiner in self._joiners:
            if joiner.plan.topic == topic:
                fed = good & (offsets >= side.position) if skip else good
                self.contradictions += joiner.take(block, clock, timestamps, fed, projection or self._columns(topic))
        side.clock = int(clock[-1])
        side.position = int(offsets[-1]) + 1
        side.seen_end_ms = -1

    def predictions_end(self, topic: str, at_ms: int) -> None:
        """Everything that was visible at this wall clock has been fed. `NEVER`: the log has ended for ever."""
        side = self._sides[topic]
        side.seen_end_ms = max(side.seen_end_ms, at_ms)

    def labels_end(self, at_ms: int) -> None:
        """All labels that were visible at this wall clock have been fed."""
        self._silent_ms = max(self._silent_ms, at_ms)

    # Labels

    @property
    def waiting(self) -> int:
        """Labels that wait for predictions; above `MOST_WAITING` feed no more."""
        return sum(chunk.offsets.size for chunk in self._waiting)

    @property
    def wants_labels(self) -> bool:
        """Whether more labels should be fed now."""
        return self.waiting < MOST_WAITING

    @property
    def open_records(self) -> int:
        """Labels in the open range."""
        return self._records

    def feed_labels(
        self, block: Block, offsets: NDArray[np.int64], timestamps: NDArray[np.int64], good: NDArray[np.bool_]
    ) -> Output:
        """Take the next labels, and resolve those that can be; the arguments are those of `Summariser.feed`.

        What is before `position` is passed over. Nothing is rejected here: the summariser of the same
        partition does it, by the same rules.
        """
        skip = int(np.searchsorted(offsets, self.position))
        if skip == offsets.size:
            return Output()
        clock = clock_of(timestamps, self._fed_clock)
        times = event_times(self.plan.labels, block, timestamps)
        usable = good & valid_times(times, timestamps, self.plan.future_ms) & (offsets >= self.position)
        taken = np.flatnonzero(usable)
        if taken.size:
            ticks = (clock if self.plan.log_time else times)[taken] // self.plan.pane_ms
            said = [joiner.labels(block, times, usable, taken) for joiner in self._joiners]
            before = np.concatenate([[self._fed_clock], clock[:-1]])[taken]
            self._waiting.append(Waiting(offsets[taken], before, clock[taken], ticks, said))
        self._fed_clock = int(clock[-1])
        self.position = int(offsets[-1]) + 1
        self._silent_ms = -1
        return self.advance()

    def advance(self) -> Output:
        """Resolve what can be resolved by now."""
        output = Output()
        while self._waiting:
            chunk = self._waiting[0]
            passed = [self._passed(joiner, chunk.clock) for joiner in self._joiners]
            ready = min(max(pair) for pair in passed)
            if not ready:
                break
            for joiner, (by_clock, _) in zip(self._joiners, passed, strict=True):
                if by_clock < ready:
                    joiner.claim(int(chunk.clock[ready - 1]))
            output.parts += self._resolve(chunk.part(slice(ready)))
            if ready < chunk.offsets.size:
                self._waiting[0] = chunk.part(slice(ready, None))
                break
            self._waiting.pop(0)
        if not self._waiting:
            self._done, self._done_clock = self.position, self._fed_clock
        return output

    def preview(self) -> list[ShardPart]:
        """The whole open range so far, for every shard; replaceable, never committed."""
        if not self._records:
            return []
        assert self._a is not None
        return self._parts("preview", self._a, self._done, self._max_tick)

    def force(self, tick: int = -1) -> list[ShardPart]:
        """A forced clock, as `Summariser.force`."""
        part = SummaryPart("clock", self.source, self.base, self._done, self._done, tick)
        return [(shard, part) for shard in range(self.plan.shards)]

    def finish(self) -> list[ShardPart]:
        """The end of a log that will never grow: the open range as a final one."""
        if not self._records:
            return []
        parts = self._close(self._done, self._max_tick)
        self._records, self._max_tick = 0, -1
        return parts

    def persist(self, acknowledged: int | None) -> bool:
        """Write what may outlive a crash; False if that is nothing new.

        Args:
            acknowledged: a `commit_offset` whose parts, and all before them, are acknowledged; None for none.
                Labels behind it stay in memory while parts are on their way.
        """
        boundary = self._emit_from if acknowledged is None else acknowledged
        while self._marks and self._marks[0].boundary < boundary:
            self._marks.pop(0)
        if not self._marks or self._marks[-1].boundary <= boundary:
            offset, clock = self._done, self._done_clock
            a, records, tick, content = self._a, self._records, self._max_tick, self._range.dump()
        elif self._marks[0].boundary == boundary:
            offset, clock = boundary, self._marks[0].clock
            a, records, tick, content = boundary, 0, -1, b""
        else:
            return False
        if self.store.state and offset < self.store.state["offset"]:
            return False
        for joiner in self._joiners:
            joiner.forget(clock, self._silent_ms if offset == self._done and not self._waiting else -1)
        self.store.write(
            {
                "epoch": self.plan.epoch,
                "offset": offset,
                "clock": clock,
                "a": a,
                "records": records,
                "max_tick": tick,
                "range": content,
                "emit_from": self._emit_from,
                "tick": self.clock,
                "predictions": {topic: [side.position, side.clock] for topic, side in self._sides.items()},
                "joins": [joiner.state() for joiner in self._joiners],
            },
            offset,
        )
        return True

    def close(self) -> None:
        """Give the store back."""
        self.store.close()

    def _resume(self, state: Mapping[str, object]) -> None:
        values: dict[str, object] = dict(state)
        self._done = self.position = values["offset"]  # type: ignore[assignment]
        self._done_clock = self._fed_clock = values["clock"]  # type: ignore[assignment]
        self._a, self._records, self._max_tick = values["a"], values["records"], values["max_tick"]  # type: ignore[assignment]
        self._emit_from, self.clock = values["emit_from"], values["tick"]  # type: ignore[assignment]
        if values["range"]:
            self._range.load(values["range"])  # type: ignore[arg-type]
        for topic, (position, clock) in values["predictions"].items():  # type: ignore[attr-defined]
            self._sides[topic] = _Side(position, clock)
        for joiner, saved in zip(self._joiners, values["joins"], strict=True):  # type: ignore[call-overload]
            joiner.restore(saved)

    def _columns(self, topic: str) -> Projection:
        return self.plan.predictions[topic].projection

    def _passed(self, joiner: Joiner, clock: NDArray[np.int64]) -> tuple[int, int]:
        """How many of these labels the predictions have passed, and how many need not be waited for."""
        if not joiner.plan.topic:
            return clock.size, clock.size
        side = self._sides[joiner.plan.topic]
        if side.seen_end_ms == NEVER:
            return int(np.searchsorted(clock, side.clock - joiner.plan.wait_ms)), clock.size
        silent = side.seen_end_ms - joiner.plan.grace_ms
        by_clock, by_silence = np.searchsorted(clock, np.array([side.clock, silent]) - joiner.plan.wait_ms).tolist()
        return by_clock, by_silence

    def _resolve(self, chunk: Waiting) -> list[ShardPart]:
        """Count labels that are ready, and close the ranges that end among them."""
        derived: list[list[Derived]] = []
        for joiner in self._joiners:
            joiner.trim()
            found, contradicted = joiner.resolve(chunk)
            derived.append(found)
            self.contradictions += contradicted
        emitted = int(np.searchsorted(chunk.offsets, self._emit_from))
        parts: list[ShardPart] = []
        if emitted < chunk.offsets.size:
            ticks = chunk.ticks[emitted:]
            if self._a is None:
                self._a = int(chunk.offsets[emitted])
            cuts, closed, records, tick = cut(ticks, self._records, self._max_tick, self.plan.range_records)
            begin = emitted
            for at, greatest in zip((cuts + emitted).tolist(), closed.tolist(), strict=True):
                self._add(chunk, derived, begin, at)
                boundary = int(chunk.offsets[at])
                parts += self._close(boundary, greatest)
                self._marks.append(_Mark(boundary, int(chunk.before[at])))
                begin = at
            self._add(chunk, derived, begin, chunk.offsets.size)
            self._records, self._max_tick = records, tick
            self.clock = max(self.clock, int(ticks.max()))
        self._done, self._done_clock = int(chunk.offsets[-1]) + 1, int(chunk.clock[-1])
        return parts

    def _add(self, chunk: Waiting, derived: list[list[Derived]], begin: int, end: int) -> None:
        for joiner, pieces in zip(self._joiners, derived, strict=True):
            for piece in pieces:
                add_to(self._range, joiner, piece, chunk, begin, end)

    def _close(self, boundary: int, max_tick: int) -> list[ShardPart]:
        assert self._a is not None  # a range with records has a name
        parts = self._parts("final", self._a, boundary, max_tick)
        self._a = self.commit_offset = boundary
        self._range.clear()
        return parts

    def _parts(self, kind: str, a: int, b: int, max_tick: int) -> list[ShardPart]:
        shards = {join.monitor: join.shard for join in self.plan.joins}
        by_shard: dict[int, list[Entry]] = {}
        for monitor, entry in self._range.entries():
            by_shard.setdefault(shards[monitor], []).append(entry)
        return [
            (shard, SummaryPart(kind, self.source, self.base, a, b, max_tick, tuple(by_shard.get(shard, ()))))
            for shard in range(self.plan.shards)
        ]

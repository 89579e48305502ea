"""The join of one label partition: labels in offset order, each once the predictions' clock has passed it.

What it publishes is a function of two logs: the labels, and the predictions of the same partition number.
How their records are interleaved, and what crashes or is lost in between, changes nothing. docs/labels.md
has the rules for people, docs/protocol.md why each is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import Block, Projection
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import Source, SummaryPart
from driftbus.stream.join.blobs import Blobs
from driftbus.stream.join.joiner import Joiner
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.places import Rebuild, Side
from driftbus.stream.join.rangewriter import RangeWriter
from driftbus.stream.join.rows import NEVER, clock_of, event_times, valid_times, words_of
from driftbus.stream.join.store import JoinStore
from driftbus.stream.join.waiting import Waiting
from driftbus.stream.summarise import Output, ShardPart

MOST_WAITING = 200_000
"""Labels that may wait for predictions before no more should be fed."""


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

    Raises:
        StateError: what is stored is of another epoch or partition.

    Attributes:
        position: label offset from which on labels have to be fed; behind the last one fed.
        contradictions: predictions that came although their labels had been resolved without them.
    """

    def __init__(self, plan: OutcomePlan, partition: int, blobs: Blobs, *, base: int, position: int) -> None:
        self.plan = plan
        self.source = Source(plan.topic, partition, plan.epoch)
        self.base = base
        self.contradictions = 0
        self.store = JoinStore(blobs, [words_of(join) for join in plan.joins])
        self._joiners = [Joiner(i, join, self.store, plan.labels) for i, join in enumerate(plan.joins)]
        self._sides = {topic: Side() for topic in plan.predictions}
        self._ranges = RangeWriter(plan, self.source, base, position)
        self._waiting: list[Waiting] = []
        self._done = position  # labels before this are resolved
        self._done_clock = -1
        self._fed_clock = -1
        self.position = self._done
        self._silent_ms = -1
        state = self.store.state
        if state:
            if (state["epoch"], state["partition"]) != (plan.epoch, partition):
                raise StateError(f"{plan.topic}[{partition}]: what is stored is of another configuration or partition")
            self._resume(state)

    # Where to begin

    @property
    def fresh(self) -> bool:
        """Whether nothing is stored and nothing was read."""
        return (
            not self.store.state and not self._waiting and self._fed_clock < 0 and self._done == self._ranges.emit_from
        )

    @property
    def rebuilding(self) -> bool:
        """Whether labels before the committed boundary are still being read again."""
        return self._done < self._ranges.emit_from

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
        self._done = self.position = min(labels, self._ranges.emit_from)
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
        return self._ranges.records

    @property
    def commit_offset(self) -> int | None:
        """Start of the open range: safe to commit once every part returned so far is acknowledged.

        None before the first cut.
        """
        return self._ranges.commit_offset

    @property
    def clock(self) -> int:
        """Greatest pane of a counted label, -1 before the first."""
        return self._ranges.clock

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
        return self._ranges.preview(self._done)

    def force(self, tick: int = -1) -> list[ShardPart]:
        """A forced clock, as `Summariser.force`."""
        part = SummaryPart("clock", self.source, self.base, self._done, self._done, tick)
        return [(shard, part) for shard in range(self.plan.shards)]

    def finish(self) -> list[ShardPart]:
        """The end of a log that will never grow: the open range as a final one."""
        return self._ranges.finish(self._done)

    def persist(self, acknowledged: int | None) -> bool:
        """Write what may outlive a crash; False if that is nothing new.

        Args:
            acknowledged: a `commit_offset` whose parts, and all before them, are acknowledged; None for none.
                Labels behind it stay in memory while parts are on their way.
        """
        state = self._ranges.durable(acknowledged, self._done, self._done_clock)
        if self.store.lost or state is None or (self.store.state and state["offset"] < self.store.state["offset"]):
            return False
        offset = state["offset"]
        silent_ms = self._silent_ms if offset == self._done and not self._waiting else -1
        for joiner in self._joiners:
            joiner.forget(state["clock"], silent_ms)
        state |= {
            "epoch": self.plan.epoch,
            "partition": self.source.partition,
            "predictions": {topic: [side.position, side.clock] for topic, side in self._sides.items()},
            "joins": [joiner.state() for joiner in self._joiners],
        }
        self.store.write(state, offset)
        return True

    def close(self) -> None:
        """Give the store back."""
        self.store.close()

    def _resume(self, state: Mapping[str, Any]) -> None:
        self._done = self.position = state["offset"]
        self._done_clock = self._fed_clock = state["clock"]
        self._ranges.resume(state)
        for topic, (position, clock) in state["predictions"].items():
            self._sides[topic] = Side(position, clock)
        for joiner, saved in zip(self._joiners, state["joins"], strict=True):
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
        derived = []
        for joiner in self._joiners:
            joiner.trim()
            found, contradicted = joiner.resolve(chunk)
            derived.append((joiner.groups, joiner.plan.shape.size, found))
            self.contradictions += contradicted
        parts = self._ranges.count(chunk, derived)
        self._done, self._done_clock = int(chunk.offsets[-1]) + 1, int(chunk.clock[-1])
        return parts

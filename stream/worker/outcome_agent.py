"""All joins of a worker: takes them up and gives them away with their label partitions, and feeds them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer
from faust.types import TP

from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Resolver
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.ranges import vector_of
from driftbus.stream.summarise import ShardPart
from driftbus.stream.transport.batch import Batch
from driftbus.stream.worker.join_start import Begun, begin
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outcome_task import Lane, OutcomeTask, Records
from driftbus.stream.worker.prediction_reader import PredictionReader
from driftbus.stream.worker.publish import Publisher
from driftbus.stream.worker.sourcestate import Place, Start
from driftbus.stream.worker.storefolder import StoreFolder

LOG = logging.getLogger(__name__)

QUEUED_BYTES = 64 << 20
"""Predictions that may wait for the joins of a label topic, in memory; what is beyond is read again later."""

PERSIST_S = 5.0
"""What a join holds goes to the disk so often, or as often as snapshots are taken if that is more."""

ROOM_S = 1.0
"""A join that has fed nothing for this long, with a full queue, is no longer waited for."""


class _Owned(NamedTuple):
    task: OutcomeTask
    folder: StoreFolder
    start: Start


class OutcomeAgent:
    """The joins of the label partitions that this worker owns.

    Args:
        config: where stores are, limits.
        plans: label topic → plan of its outcomes.
        resolvers: topic → where its writer schemas come from.
        publish: where parts go.
        lock: shared with everything that makes outputs or a checkpoint.
        hold: stops (True) or goes on with (False) the delivery of one label partition.
        fail: stops the worker.
        metrics: of the worker.
    """

    def __init__(
        self,
        config: Config,
        plans: Mapping[str, OutcomePlan],
        resolvers: Mapping[str, Resolver],
        *,
        publish: Publisher,
        lock: asyncio.Lock,
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
        metrics: Metrics,
    ) -> None:
        self._config, self._plans, self._resolvers = config, plans, resolvers
        self._publish, self._lock, self._hold, self._fail, self._metrics = publish, lock, hold, fail, metrics
        self._readers: dict[str, PredictionReader] = {}
        self._contradictions: dict[TP, int] = {}
        self.owned: dict[TP, _Owned] = {}

    # Partitions come and go.

    async def take(self, starts: Mapping[TP, Start]) -> dict[TP, int]:
        """Begin with newly assigned label partitions; where each wants its labels from."""
        for topic, plan in self._plans.items():
            mine = [(tp.partition, start) for tp, start in starts.items() if tp.topic == topic]
            if mine:
                root = Path(self._config.run.store) / self._config.app
                for partition, begun in (await asyncio.to_thread(begin, self._config.kafka, root, plan, mine)).items():
                    self._begin(plan, TP(topic, partition), begun, starts[TP(topic, partition)])
        return {tp: self.owned[tp].task.machine.position for tp in starts}

    def _begin(self, plan: OutcomePlan, tp: TP, begun: Begun, start: Start) -> None:
        limit = self._config.limits.record_bytes
        lanes = {
            topic: Lane(
                TP(topic, tp.partition),
                BatchDecoder(plan.predictions[topic].projection, self._resolvers[topic], max_bytes=limit),
                position,
                end,
            )
            for topic, (position, end) in begun.predictions.items()
        }
        task = OutcomeTask(
            tp, begun.machine, lanes, rebuilding=begun.rebuilding,
            persist_s=min(PERSIST_S, self._config.run.snapshot_every / 1000), lock=self._lock,
            publish=lambda parts: self._send(plan, parts), hold=self._hold, fail=self._fail,
        )  # fmt: skip
        self.owned[tp] = _Owned(task, begun.folder, start)

    def find_predictions(self, position: Callable[[TP], int | None]) -> None:
        """Read ourselves what the group's consumer won't bring.

        Args:
            position: offset from which it brings a partition; None when it doesn't.
        """
        for tp, owned in self.owned.items():
            for lane in owned.task.lanes.values():
                brought = position(lane.tp)
                if not lane.number and (brought is None or brought > lane.next):
                    lane.number = self._reader(tp.topic).open(lane.tp, lane.next)

    async def forget(self, tp: TP) -> None:
        """A label partition went away: its next owner goes on where it is stored, or reads again."""
        owned = self.owned.pop(tp)
        for lane in owned.task.lanes.values():
            self._close_reading(tp.topic, lane)
        await owned.task.stop()
        owned.folder.release()
        self._contradictions.pop(tp, None)
        self._metrics.forget_join(*tp)

    async def close(self) -> None:
        """Give everything back."""
        for tp in list(self.owned):
            await self.forget(tp)
        for reader in self._readers.values():
            reader.stop()

    # What the joins are fed.

    def offer_labels(self, tp: TP, records: Records) -> None:
        """Labels that were just decoded."""
        if (owned := self.owned.get(tp)) is not None:
            owned.task.offer_labels(records)

    async def offer_predictions(self, tp: TP, begin: int, records: Records) -> None:
        """Predictions that the group's consumer brought: all there are from an offset on.

        A join takes them when they go on where it stands, or overlap; then it needs no reader of its own. One
        that is a little slower is waited for, because reading them twice costs more. One that hangs is not:
        it leaves them out, and reads them again later.
        """
        for label_topic, plan in self._plans.items():
            owned = self.owned.get(TP(label_topic, tp.partition)) if tp.topic in plan.predictions else None
            if owned is None:
                continue
            lane = owned.task.lanes[tp.topic]
            room = begin > lane.next or await self._room(label_topic, owned.task, lane, records.held)
            if self.owned.get(TP(label_topic, tp.partition)) is not owned:
                continue
            if begin <= lane.next and room:
                self._close_reading(label_topic, lane)
                behind = int(records.offsets[-1]) + 1
                if behind > lane.next:
                    owned.task.offer_predictions(lane, records, behind)
            elif not lane.number:
                lane.number = self._reader(label_topic).open(lane.tp, lane.next)

    def see_ends(self, ends: Mapping[TP, int], at_ms: int, caught_up: Callable[[TP], int | None]) -> None:
        """What the brokers said of the ends of partitions.

        Args:
            ends: partition → offset of the next record to come, whether or not its transaction is decided.
            at_ms: wall clock before they were asked.
            caught_up: end up to which the group's consumer has brought everything, None while it hasn't.
        """
        for tp, owned in self.owned.items():
            for lane in owned.task.lanes.values():
                reached = max(lane.next, lane.end if lane.number else caught_up(lane.tp) or 0)
                if ends.get(lane.tp, reached + 1) <= reached:
                    owned.task.predictions_end(lane, at_ms)
            end = caught_up(tp)
            if end is not None and ends.get(tp, end + 1) <= end:
                owned.task.labels_end(at_ms)

    def call_readers(self, command: Callable[[Consumer], None]) -> None:
        """Run a command on the consumer of each reader of predictions."""
        for reader in self._readers.values():
            reader.call(command)

    def _reader(self, label_topic: str) -> PredictionReader:
        reader = self._readers.get(label_topic)
        if reader is None:
            reader = self._readers[label_topic] = PredictionReader(
                self._config.kafka,
                asyncio.get_running_loop(),
                _Ear(self, label_topic),
                self._fail,
                lambda: self._queued(label_topic) > QUEUED_BYTES,
            )
        return reader

    async def _room(self, label_topic: str, task: OutcomeTask, lane: Lane, size: int) -> bool:
        """Whether there is room for more predictions, by now or within a moment."""
        while lane.queue and self._queued(label_topic) + size > QUEUED_BYTES:
            task.fed_some.clear()
            try:
                await asyncio.wait_for(task.fed_some.wait(), ROOM_S)
            except TimeoutError:
                return False
        return True

    def _queued(self, label_topic: str) -> int:
        mine = [owned.task for tp, owned in list(self.owned.items()) if tp.topic == label_topic]
        return sum(lane.bytes for task in mine for lane in task.lanes.values())

    def _close_reading(self, label_topic: str, lane: Lane) -> None:
        if lane.number:
            self._readers[label_topic].close_partition(lane.tp)
            lane.number, lane.end = 0, -1

    async def _send(self, plan: OutcomePlan, parts: list[ShardPart]) -> None:
        await self._publish.parts(parts)
        shapes = {join.monitor: join.shape for join in plan.joins}
        for _, part in parts:
            for entry in part.entries if part.kind == "final" else ():
                if entry.group.segment:
                    continue
                shape = shapes[entry.group.monitor]
                counts = vector_of(entry, shape.size)
                orphans, dups = int(counts[shape.orphan]), int(counts[shape.dup])
                lags = int(counts[shape.lag].sum())
                for result, count in (
                    ("orphan", orphans), ("duplicate", dups), ("first", lags),
                    ("revised", entry.rows - orphans - dups - lags),
                ):  # fmt: skip
                    self._metrics.labels.labels(entry.group.monitor, result).inc(max(0, count))

    # Commits, timers, and what is told of them.

    def place(self, tp: TP) -> Place | None:
        """Where the join of a partition is to begin again; None: there is none. Call it under the lock."""
        owned = self.owned.get(tp)
        if owned is None:
            return None
        machine = owned.task.machine
        position = owned.start.position if machine.commit_offset is None else machine.commit_offset
        return Place(machine.plan.epoch, machine.base, position)

    def moved(self, tp: TP) -> bool:
        """Whether the join of a partition has cut a range since it was taken up."""
        return tp in self.owned and self.owned[tp].task.machine.commit_offset is not None

    def marks(self) -> dict[TP, int]:
        """Commit offsets whose parts are queued. Call it under the lock."""
        offsets = {tp: owned.task.machine.commit_offset for tp, owned in self.owned.items()}
        return {tp: offset for tp, offset in offsets.items() if offset is not None}

    def acknowledged(self, marks: Mapping[TP, int]) -> None:
        """Everything that was queued before `marks` is acknowledged."""
        for tp, offset in marks.items():
            if tp in self.owned:
                self.owned[tp].task.acknowledged = offset

    async def preview(self) -> None:
        """Show the open ranges that have grown."""
        for owned in list(self.owned.values()):
            await owned.task.preview(force=False)

    async def force(self, tp: TP) -> None:
        """Pass over a partition whose labels are silent."""
        if tp in self.owned:
            await self.owned[tp].task.preview(force=True)

    def partitions(self) -> Iterable[TP]:
        """Partitions of predictions that joins wait for."""
        return {lane.tp for owned in self.owned.values() for lane in owned.task.lanes.values()}

    async def show(self, ends: Mapping[TP, int]) -> None:
        """Set the gauges."""
        for tp, (task, folder, _) in list(self.owned.items()):
            held = await task.look()
            gauges, where = self._metrics, (tp.topic, tp.partition)
            gauges.join_predictions.labels(*where).set(held.predictions)
            gauges.join_remembered.labels(*where).set(held.labels)
            gauges.join_waiting.labels(*where).set(held.waiting)
            gauges.join_bytes.labels(*where).set(folder.size)
            gauges.join_rebuilt.labels(*where).set(task.progress if task.rebuilding else 1.0)
            new = held.contradictions - self._contradictions.get(tp, 0)
            self._contradictions[tp] = held.contradictions
            self._metrics.join_contradictions.labels(tp.topic).inc(new)
            behind = [max(0, ends[lane.tp] - task.fed(lane)) for lane in task.lanes.values() if lane.tp in ends]
            if behind:
                gauges.join_lag.labels(*where).set(max(behind))
            clocks = [task.machine.prediction_clock(topic) for topic in task.lanes]
            if clocks and min(clocks) >= 0:
                gauges.join_delay.labels(*where).set(time.time() - min(clocks) / 1000)

    def rebuilds(self) -> tuple[str, ...]:
        """Partitions whose store is being made again, and how far that is."""
        return tuple(
            f"{tp.topic}[{tp.partition}]: predictions that labels wait for are read again, {owned.task.progress:.0%}"
            for tp, owned in self.owned.items()
            if owned.task.rebuilding
        )

    def waits(self) -> tuple[str, ...]:
        """Partitions that wait for something outside, and for what."""
        return tuple(
            f"predictions for {tp.topic}[{tp.partition}]: {owned.task.reason}"
            for tp, owned in self.owned.items()
            if owned.task.reason
        )

    def _lane(self, label_topic: str, tp: TP, number: int) -> tuple[OutcomeTask, Lane] | None:
        owned = self.owned.get(TP(label_topic, tp.partition))
        lane = owned.task.lanes.get(tp.topic) if owned is not None else None
        return (owned.task, lane) if owned is not None and lane is not None and lane.number == number else None


class _Ear:
    """Hears what the reader of one label topic has read."""

    def __init__(self, agent: OutcomeAgent, label_topic: str) -> None:
        self._agent, self._topic = agent, label_topic

    def records(self, tp: TP, number: int, batch: Batch) -> None:
        if (found := self._agent._lane(self._topic, tp, number)) is not None:
            task, lane = found
            lane.end = -1
            task.offer_predictions(lane, batch, batch.last + 1)

    def end(self, tp: TP, number: int, offset: int) -> None:
        if (found := self._agent._lane(self._topic, tp, number)) is not None:
            found[1].end = offset
            found[1].next = max(found[1].next, offset)

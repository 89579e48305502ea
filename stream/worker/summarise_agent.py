"""Drives stage 1: a batch of a source partition is decoded, counted, and its parts are queued.

Counting and queueing are one step under the worker's lock, so that a checkpoint never falls between
them. Decoding is outside of it, in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from faust.types import TP

from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Resolver
from driftbus.stream.plan import TopicPlan
from driftbus.stream.records import RecordBatch
from driftbus.stream.summarise import Summariser
from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.deadletter import dead_letter, send_dead_letters
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outbox import Outbox
from driftbus.stream.worker.outcome_agent import OutcomeAgent
from driftbus.stream.worker.outcome_task import Records
from driftbus.stream.worker.patience import Patience
from driftbus.stream.worker.publish import Publisher
from driftbus.stream.worker.sourcestate import Place, Start, commit_of


@dataclass(slots=True)
class SourceTask:
    """One owned source partition.

    Attributes:
        machine: its open range.
        start: how it was taken up.
        decoder: its own: the batches that wait are decoded beside those of other partitions.
        heard: `time.monotonic` of its last batch.
        shown: position of the last preview.
        queue: its batches, in order.
    """

    machine: Summariser
    start: Start
    decoder: BatchDecoder
    queue: Patience
    heard: float = field(default_factory=time.monotonic)
    shown: int = -1


class SummariseAgent:
    """All source partitions of a worker.

    Args:
        config: limits and intervals.
        plans: source topic → plan.
        resolvers: source topic → where its schemas come from.
        outcomes: joins, which are fed from the same records.
        outbox, publish: where parts and dead letters go.
        lock: shared with everything that makes outputs or a checkpoint.
        hold: stops (True) or goes on with (False) the delivery of one partition.
        fail: stops the worker.
        metrics: of the worker.
        partitions: topic → how many partitions it has by now.
    """

    def __init__(
        self,
        config: Config,
        plans: Mapping[str, TopicPlan],
        resolvers: Mapping[str, Resolver],
        *,
        outcomes: OutcomeAgent,
        outbox: Outbox,
        publish: Publisher,
        lock: asyncio.Lock,
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
        metrics: Metrics,
        partitions: Callable[[str], int],
    ) -> None:
        self._partitions = partitions
        self._config, self._plans, self._resolvers = config, plans, resolvers
        self._outcomes, self._outbox, self._publish, self._lock = outcomes, outbox, publish, lock
        self._hold, self._fail, self._metrics = hold, fail, metrics
        self.sources: dict[TP, SourceTask] = {}

    def take(self, tp: TP, start: Start) -> None:
        """Begin with a newly assigned partition."""
        plan = self._plans[tp.topic]
        machine = Summariser(plan, tp.partition, base=start.base, position=start.position)
        decoder = BatchDecoder(plan.projection, self._resolvers[tp.topic], max_bytes=self._config.limits.record_bytes)
        queue = Patience(tp, self._step, self._hold, self._fail, self._metrics.waiting)
        self.sources[tp] = SourceTask(machine, start, decoder, queue)

    async def handle(self, batch: Batch) -> None:
        """The next batch of a partition."""
        await self.sources[batch.tp].queue.take(batch)

    async def _step(self, batch: Batch) -> None:
        tp, records = batch.tp, batch.records()
        source = self.sources[tp]
        with self._metrics.decode.time():
            decoded = await asyncio.to_thread(source.decoder.decode, records.values, records.headers_of)
        begin = source.machine.position
        skip = int(np.searchsorted(records.offsets, begin))  # a join may begin before the summariser
        new = decoded.block.rows_from(skip) if skip else decoded.block
        async with self._lock:
            if self.sources.get(tp) is not source:
                return
            with self._metrics.step.labels("summarise").time():
                output = await asyncio.to_thread(
                    source.machine.feed, new, records.offsets[skip:], records.timestamps[skip:], decoded.good[skip:]
                )
            unreadable = [bad for bad in decoded.bad if bad[0] >= skip]
            uncounted = [(row + skip, reason, message) for row, reason, message in output.rejected]
            rejected = sorted([*unreadable, *uncounted])
            await self._refuse(records, rejected)
            await self._publish.parts(output.parts)
        source.heard = time.monotonic()
        self._count(tp, len(batch) - skip - len(rejected), batch.size)
        columns = source.machine.plan.projection
        held = decoded.block.held
        for_joins = Records(decoded.block, records.offsets, records.timestamps, decoded.good, columns, held)
        self._outcomes.offer_labels(tp, for_joins)
        await self._outcomes.offer_predictions(tp, begin, for_joins)

    async def _refuse(self, records: RecordBatch, rejected: Iterable[tuple[int, str, str]]) -> None:
        letters = [dead_letter(records, row, reason, message) for row, reason, message in rejected]
        await send_dead_letters(self._outbox, self._config.topics.deadletter, letters)
        for letter in letters:
            self._metrics.dead_letters.labels(letter.topic, letter.reason).inc()

    def position(self, tp: TP) -> int | None:
        """Offset of the next record to be counted, None when the partition is not ours."""
        return self.sources[tp].machine.position if tp in self.sources else None

    def commits(self) -> dict[TP, Committed]:
        """What may be committed once everything queued so far is acknowledged. Call it under the lock."""
        found = {}
        for tp, source in self.sources.items():
            machine, beside = source.machine, self._outcomes.place(tp)
            if machine.commit_offset is not None or self._outcomes.moved(tp):
                offset = source.start.position if machine.commit_offset is None else machine.commit_offset
                own = Place(machine.plan.epoch, machine.base, offset)
                found[tp] = commit_of(own) if beside is None else commit_of(own, beside)
        return found

    async def preview(self) -> None:
        """Show the open ranges that have grown since they were last shown."""
        for tp, source in list(self.sources.items()):
            async with self._lock:
                if self.sources.get(tp) is source and source.machine.position != source.shown:
                    await self._show(source)

    async def force_silent(self, caught_up: Callable[[TP], bool]) -> None:
        """Pass over partitions that have been silent for ``seal_after``.

        A silent partition is held to have come as far as the topic's others, again and again while
        it is silent, because they go on.
        """
        after_s = self._config.run.seal_after / 1000
        if not after_s:
            return
        for tp, source in list(self.sources.items()):
            silent = time.monotonic() - source.heard >= after_s and not source.queue.reason
            if not silent or not caught_up(tp):
                continue
            if self._partitions(tp.topic) > 1:
                async with self._lock:
                    if self.sources.get(tp) is source:
                        await self._show(source)  # first, so that its open range counts
                        await self._publish.parts(source.machine.force())
            await self._outcomes.force(tp)

    async def _show(self, source: SourceTask) -> None:
        source.shown = source.machine.position
        await self._publish.parts(source.machine.preview())

    def forget(self, tp: TP) -> None:
        """A partition went away; its open range is read again by the next owner."""
        source = self.sources.pop(tp)
        source.queue.cancel()
        self._metrics.forget_partition(*tp)
        if not any(other.topic == tp.topic for other in self.sources):
            self._metrics.forget_topic(tp.topic)

    def waits(self) -> tuple[str, ...]:
        """Partitions that wait for something outside, and for what."""
        return tuple(
            f"{tp.topic}[{tp.partition}]: {s.queue.reason}" for tp, s in self.sources.items() if s.queue.reason
        )

    def _count(self, tp: TP, rows: int, size: int) -> None:
        plan = self._plans[tp.topic]
        for stream in {stream.stream for stream in plan.streams}:
            self._metrics.events.labels(tp.topic, stream).inc(rows)
        self._metrics.bytes.labels(tp.topic).inc(size)
        clock = min(s.machine.clock for other, s in self.sources.items() if other.topic == tp.topic)
        if clock >= 0:
            self._metrics.watermark_delay.labels(tp.topic).set(time.time() - clock * plan.pane_ms / 1000)

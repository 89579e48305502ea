"""Drives stage 1: a batch of a source partition is decoded, counted, and its parts are queued.

Counting and queueing are one step under the worker's lock, so that a checkpoint never falls between
them. Decoding is outside of it, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from faust.types import TP

from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Resolver
from driftbus.schemas.errors import StateError, Unavailable
from driftbus.stream.plan import TopicPlan
from driftbus.stream.records import RecordBatch
from driftbus.stream.summarise import Summariser
from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.deadletter import dead_letter, send_dead_letters
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outbox import Outbox
from driftbus.stream.worker.publish import Publisher
from driftbus.stream.worker.sourcestate import Start, metadata

LOG = logging.getLogger(__name__)

_RETRY_S = (0.5, 15.0)


@dataclass(slots=True)
class SourceTask:
    """One owned source partition.

    Attributes:
        machine: its open range.
        decoder: its own: the batches that wait are decoded beside those of other partitions.
        heard: `time.monotonic` of its last batch.
        shown: position of the last preview.
        waiting: batches kept back while something outside can't be reached.
        retry: works them off.
        reason: what it waits for, "" while it doesn't.
    """

    machine: Summariser
    decoder: BatchDecoder
    heard: float = field(default_factory=time.monotonic)
    shown: int = -1
    waiting: deque[Batch] = field(default_factory=deque)
    retry: asyncio.Task[None] | None = None
    reason: str = ""


class SummariseAgent:
    """All source partitions of a worker.

    Args:
        config: limits and intervals.
        plans: source topic → plan.
        resolvers: source topic → where its schemas come from.
        outbox, publish: where parts and dead letters go.
        lock: shared with everything that makes outputs or a checkpoint.
        hold: stops (True) or goes on with (False) the delivery of one partition.
        fail: stops the worker.
        metrics: of the worker.
    """

    def __init__(
        self,
        config: Config,
        plans: Mapping[str, TopicPlan],
        resolvers: Mapping[str, Resolver],
        *,
        outbox: Outbox,
        publish: Publisher,
        lock: asyncio.Lock,
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
        metrics: Metrics,
    ) -> None:
        self._config, self._plans, self._resolvers = config, plans, resolvers
        self._outbox, self._publish, self._lock = outbox, publish, lock
        self._hold, self._fail, self._metrics = hold, fail, metrics
        self.sources: dict[TP, SourceTask] = {}

    def take(self, tp: TP, start: Start) -> None:
        """Begin with a newly assigned partition."""
        plan = self._plans[tp.topic]
        if tp.partition >= plan.partitions:
            raise StateError(
                f"{tp.topic} has got a partition {tp.partition}, {plan.partitions} were known at the start: "
                "restart all workers to take up the new partitions"
            )
        machine = Summariser(plan, tp.partition, base=start.base, position=start.position)
        decoder = BatchDecoder(plan.projection, self._resolvers[tp.topic], max_bytes=self._config.limits.record_bytes)
        self.sources[tp] = SourceTask(machine, decoder)

    async def handle(self, batch: Batch) -> None:
        """The next batch of a partition."""
        source = self.sources[batch.tp]
        if source.reason:
            source.waiting.append(batch)
            return
        try:
            await self._step(batch.tp, source, batch)
        except Unavailable as error:
            source.waiting.append(batch)
            source.reason = str(error)
            source.retry = asyncio.create_task(self._retry(batch.tp, source))

    async def _step(self, tp: TP, source: SourceTask, batch: Batch) -> None:
        records = batch.records()
        with self._metrics.decode.time():
            decoded = await asyncio.to_thread(source.decoder.decode, records.values, records.headers_of)
        async with self._lock:
            if self.sources.get(tp) is not source:
                return
            with self._metrics.step.labels("summarise").time():
                output = await asyncio.to_thread(
                    source.machine.feed, decoded.block, records.offsets, records.timestamps, decoded.good
                )
            rejected = sorted([*decoded.bad, *output.rejected])
            await self._refuse(records, rejected)
            await self._publish.parts(output.parts)
        source.heard = time.monotonic()
        self._count(tp, len(batch) - len(rejected), batch.size)

    async def _refuse(self, records: RecordBatch, rejected: Iterable[tuple[int, str, str]]) -> None:
        letters = [dead_letter(records, row, reason, message) for row, reason, message in rejected]
        await send_dead_letters(self._outbox, self._config.topics.deadletter, letters)
        for letter in letters:
            self._metrics.dead_letters.labels(letter.topic, letter.reason).inc()

    async def _retry(self, tp: TP, source: SourceTask) -> None:
        """Work off what waits; the partition is paused meanwhile, the others go on."""
        LOG.warning("%s[%d] waits: %s", tp.topic, tp.partition, source.reason)
        self._hold(tp, True)
        self._metrics.waiting.labels(tp.topic).inc()
        pause_s, most_s = _RETRY_S
        try:
            while source.waiting:
                try:
                    await self._step(tp, source, source.waiting[0])
                except Unavailable as error:
                    source.reason = str(error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, most_s)
                else:
                    source.waiting.popleft()
            LOG.info("%s[%d] goes on", tp.topic, tp.partition)
            source.reason = ""
            self._hold(tp, False)
        except Exception as error:  # noqa: BLE001 - stops the worker
            self._fail(error)
        finally:
            self._metrics.waiting.labels(tp.topic).dec()

    def commits(self) -> dict[TP, Committed]:
        """What may be committed once everything queued so far is acknowledged. Call it under the lock."""
        return {
            tp: Committed(offset, metadata(source.machine.plan.epoch, source.machine.base))
            for tp, source in self.sources.items()
            if (offset := source.machine.commit_offset) is not None
        }

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
            silent = time.monotonic() - source.heard >= after_s and not source.reason
            if not silent or source.machine.plan.partitions == 1 or not caught_up(tp):
                continue
            async with self._lock:
                if self.sources.get(tp) is source:
                    await self._show(source)  # first, so that its open range counts
                    await self._publish.parts(source.machine.force())

    async def _show(self, source: SourceTask) -> None:
        source.shown = source.machine.position
        await self._publish.parts(source.machine.preview())

    def forget(self, tp: TP) -> None:
        """A partition went away; its open range is read again by the next owner."""
        source = self.sources.pop(tp)
        if source.retry is not None:
            source.retry.cancel()
        self._metrics.forget_partition(*tp)
        if not any(other.topic == tp.topic for other in self.sources):
            self._metrics.forget_topic(tp.topic)

    def waits(self) -> tuple[str, ...]:
        """Partitions that wait for something outside, and for what."""
        return tuple(f"{tp.topic}[{tp.partition}]: {s.reason}" for tp, s in self.sources.items() if s.reason)

    def _count(self, tp: TP, rows: int, size: int) -> None:
        plan = self._plans[tp.topic]
        for stream in {stream.stream for stream in plan.streams}:
            self._metrics.events.labels(tp.topic, stream).inc(rows)
        self._metrics.bytes.labels(tp.topic).inc(size)
        clock = min(s.machine.clock for other, s in self.sources.items() if other.topic == tp.topic)
        if clock >= 0:
            self._metrics.watermark_delay.labels(tp.topic).set(time.time() - clock * plan.pane_ms / 1000)

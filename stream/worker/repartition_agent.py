"""Writes labels that are keyed otherwise to a topic that is partitioned as the predictions are, by their id.

Each record keeps its value, headers and Kafka timestamp. Its key is the id, its partition the one
that the predictions' producer gives that id. What has no id goes along, to be refused where it is
read. After a crash some labels are written once more: a label that says the same again counts as a
duplicate, so no figure of performance changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from faust.types import TP
from numpy.typing import NDArray

from driftbus.schemas.columns import PRESENT, Block, Projection
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Resolver
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.partitioning import Partitioner, partitions_of
from driftbus.stream.plan import topics_of
from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outbox import Outbox
from driftbus.stream.worker.patience import Patience


@dataclass(frozen=True, slots=True)
class Target:
    """Where the labels of a topic are written to.

    Args:
        topic: the topic that is joined.
        partitions: how many it has.
        id: field of the prediction's id.
        partitioner: of the predictions' producer.
    """

    topic: str
    partitions: int
    id: str
    partitioner: Partitioner

    def partitions_of(self, block: Block, source: int) -> NDArray[np.int64]:
        """int64[n], the partition of each row; rows without an id keep the number they have, as far as there is one."""
        places = np.full(block.n, source % self.partitions, np.int64)
        rows = np.flatnonzero(block.text_status[0] == PRESENT)
        places[rows] = partitions_of(
            self.partitioner, block.text, block.text_start[0, rows], block.text_length[0, rows], self.partitions
        )
        return places


def targets_of(config: Config, counts: Mapping[str, int]) -> dict[str, Target]:
    """Topic of labels that are keyed otherwise → where they are written to.

    Raises:
        ConfigError: such a topic is written to two topics, or a monitor reads it as well.
    """
    found: dict[str, Target] = {}
    for name, monitor in config.monitors.items():
        labels = monitor.labels
        if labels is None or not labels.repartition:
            continue
        key = f"monitors.{name}.labels.repartition"
        target = Target(labels.topic, counts[labels.topic], labels.id, labels.partitioner)
        if found.setdefault(labels.repartition, target) != target:
            raise ConfigError(
                f"topic {labels.repartition} is repartitioned in two ways",
                key=key,
                fix="write the same topic, id and partitioner everywhere",
            )
        if labels.repartition in topics_of(config):
            raise ConfigError(
                f"topic {labels.repartition} is read by a monitor as well", key=key, fix=f"let it read {labels.topic}"
            )
    return found


@dataclass(slots=True)
class _Task:
    """One owned partition.

    Attributes:
        start, position: offset of the next record to be written, at the beginning and now.
    """

    decoder: BatchDecoder
    queue: Patience
    start: int
    position: int


class RepartitionAgent:
    """All partitions of labels that are keyed otherwise.

    Args:
        config: limits.
        targets: topic → where its records go.
        resolvers: topic → where its writer schemas come from.
        outbox: where they are sent.
        lock: shared with everything that makes outputs or a checkpoint.
        hold: stops (True) or goes on with (False) the delivery of one partition.
        fail: stops the worker.
        metrics: of the worker.
    """

    def __init__(
        self,
        config: Config,
        targets: Mapping[str, Target],
        resolvers: Mapping[str, Resolver],
        *,
        outbox: Outbox,
        lock: asyncio.Lock,
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
        metrics: Metrics,
    ) -> None:
        self._max_bytes, self._targets, self._resolvers = config.limits.record_bytes, targets, resolvers
        self._outbox, self._lock, self._hold, self._fail, self._metrics = outbox, lock, hold, fail, metrics
        self.tasks: dict[TP, _Task] = {}

    def take(self, tp: TP, committed: Committed | None) -> None:
        """Begin with a newly assigned partition."""
        start = committed.offset if committed else 0
        projection = Projection((), (self._targets[tp.topic].id,), "")
        decoder = BatchDecoder(projection, self._resolvers[tp.topic], max_bytes=self._max_bytes)
        queue = Patience(tp, self._step, self._hold, self._fail, self._metrics.waiting)
        self.tasks[tp] = _Task(decoder, queue, start, start)

    async def handle(self, batch: Batch) -> None:
        """The next batch of a partition."""
        await self.tasks[batch.tp].queue.take(batch)

    async def _step(self, batch: Batch) -> None:
        task, target, records = self.tasks[batch.tp], self._targets[batch.tp.topic], batch.records()
        block = (await asyncio.to_thread(task.decoder.decode, records.values, records.headers_of)).block
        places, timestamps = target.partitions_of(block, batch.tp.partition).tolist(), records.timestamps.tolist()
        async with self._lock:
            if self.tasks.get(batch.tp) is not task:
                return
            for row, value in enumerate(records.values):
                text = block.string(0, row)
                await self._outbox.send(
                    target.topic,
                    value,
                    key=records.key_of(row) if text is None else text.encode(),
                    headers=records.headers_of(row),
                    partition=places[row],
                    timestamp_ms=timestamps[row] if timestamps[row] >= 0 else None,
                )
            task.position = batch.last + 1
        self._metrics.repartitioned.labels(batch.tp.topic).inc(len(batch))

    def position(self, tp: TP) -> int | None:
        """Offset of the next record to be written, None when the partition is not ours."""
        return self.tasks[tp].position if tp in self.tasks else None

    def commits(self) -> dict[TP, Committed]:
        """What may be committed once everything queued so far is acknowledged. Call it under the lock."""
        return {tp: Committed(task.position, "") for tp, task in self.tasks.items() if task.position > task.start}

    def forget(self, tp: TP) -> None:
        """A partition went away."""
        self.tasks.pop(tp).queue.cancel()
        self._metrics.forget_partition(*tp)

    def waits(self) -> tuple[str, ...]:
        """Partitions that wait for something outside, and for what."""
        return tuple(f"{tp.topic}[{tp.partition}]: {t.queue.reason}" for tp, t in self.tasks.items() if t.queue.reason)

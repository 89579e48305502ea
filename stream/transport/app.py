"""The Faust application on our transport: agents over batches, and five hooks for state."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import faust
from faust.types import TP
from mode.utils.queues import ThrowableQueue

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import StateError
from driftbus.stream.transport.batch import Batch, BatchSchema
from driftbus.stream.transport.consumer import BusConsumer, BusTransport
from driftbus.stream.transport.poller import Committed, Starts
from driftbus.stream.transport.properties import consumer_properties

LOG = logging.getLogger(__name__)

Plan = Mapping[TP, Committed]
"""Offsets to commit, with their metadata."""

_BUFFERED = 64


class BusApp(faust.App):
    """A Faust application whose state follows its partitions.

    Subclasses override `restore`, `checkpoint`, `committed` and `forget`, and add their agents with
    `consume`. Web server, tables, changelogs and leader election of Faust are off.

    Args:
        group: consumer group.
        kafka: how to reach the brokers.
        commit_s: seconds between commits.

    Attributes:
        poisoned: why the worker is stopping, None while it isn't.
        joined: whether the group has given a first assignment and its state is restored.
    """

    def __init__(self, group: str, kafka: KafkaConfig, *, commit_s: float = 1.0) -> None:
        self.poisoned: BaseException | None = None
        self.joined = False
        self._poisoned = asyncio.Event()
        self.consumer_properties = consumer_properties(kafka, group)
        self._crashing: asyncio.Future[None] | None = None
        super().__init__(
            group,
            broker="kafka://",  # not used: the addresses are in consumer_properties
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            agent_supervisor="mode.CrashingSupervisor",
            broker_commit_interval=commit_s,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=_BUFFERED,
            stream_recovery_delay=0.0,
            worker_redirect_stdouts=False,
        )
        self.on_rebalance_complete.connect(self._restore_new)

    def _create_directories(self) -> None:
        """Faust keeps tables on disk; there are none."""

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> ThrowableQueue[Any]:  # noqa: N802
        """A queue that keeps what it holds.

        Faust empties the queues of its streams whenever a rebalance is complete, with batches of
        partitions that were kept. Ours are told apart by their assignment, see `BusConsumer.is_current`.
        """
        return super().FlowControlQueue(maxsize)

    @property
    def delivery(self) -> BusConsumer:
        """Our consumer, under its own type."""
        return cast(BusConsumer, self.consumer)

    def _new_transport(self) -> BusTransport:
        return BusTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> BusTransport:
        return BusTransport(self.conf.broker_producer, self)

    async def _restore_new(self, *args: Any, **kwargs: Any) -> None:
        try:
            await self.delivery.restore_new()
            self.joined = True
        except Exception as error:  # noqa: BLE001 - stops the worker
            self.poison(error)

    def consume(self, name: str, topics: Iterable[str], handle: Callable[[Batch], Awaitable[None]]) -> None:
        """Add an agent: batches of the topics, one after the other, to `handle`.

        Batches of partitions that went away are left out. An exception stops the worker, and nothing
        is committed after it.
        """

        async def agent(stream: Any) -> None:
            async for batch in self._batches(stream):
                try:
                    await handle(batch)
                except Exception as error:
                    self.poison(error)
                    raise

        self.agent(self.topic(*topics, schema=BatchSchema()), name=name)(agent)

    async def _batches(self, stream: Any) -> AsyncIterator[Batch]:
        async for event in stream.events():
            batch: Batch = event.value
            try:
                if self.delivery.is_current(batch) and not self.poisoned:
                    if not self.delivery.follows(batch):
                        lost = StateError(
                            f"{batch.tp.topic}[{batch.tp.partition}]: records between {batch.after} and {batch.first} "
                            "were lost inside the worker. Nothing after them is committed; start it again, and please "
                            "report this"
                        )
                        self.poison(lost)
                        raise lost
                    yield batch
            finally:
                self.delivery.finished(batch)

    def poison(self, error: BaseException) -> None:
        """Stop the worker: no later commit, exit code 1."""
        if self.poisoned is None:
            self.poisoned = error
            LOG.critical("%s", error, exc_info=error)
            self._poisoned.set()
        if self._crashing is None:
            self._crashing = asyncio.ensure_future(self.crash(error))

    async def wait_poisoned(self) -> None:
        """Return when the worker has to stop."""
        await self._poisoned.wait()

    async def boot(self) -> None:
        """Start and run until crash; returns once the first assignment is complete.

        Run it as a task: it waits for the group.
        """
        self.finalize()
        self.worker_init()
        self.worker_init_post_autodiscover()
        self.in_worker = True
        tune_gc()
        await self.start()

    # For subclasses.

    async def restore(self, new: Starts) -> Mapping[TP, int]:
        """Get the state of newly assigned partitions; nothing is delivered before it returns.

        Args:
            new: partition → what is committed for it, None without a commit.

        Returns:
            Where to start reading, for partitions that don't start at their committed offset (or,
            without a commit, at the beginning).
        """
        return {}

    async def checkpoint(self, assignment: set[TP]) -> Plan:
        """Offsets that may be committed now: everything that follows from them is acknowledged."""
        return {}

    def committed(self, plan: Plan) -> None:
        """A plan has been committed."""

    async def forget(self, tps: set[TP]) -> None:
        """Partitions are gone, after the last commit."""

    async def drained(self) -> None:
        """The worker was asked to stop: agents are done, and the group is about to be left."""


def tune_gc() -> None:
    """Keep the cyclic garbage collector away from batches of thousands of records.

    Default thresholds cost a fifth of the wall time: each new batch is walked again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)

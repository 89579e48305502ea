"""Faust's consumer and transport on top of the poll thread.

Faust calls these methods in an order we rely on: ``on_rebalance_complete``, then
``resume_partitions``, then ``perform_seek`` (``TableManager``'s recovery service). Its own books of
acknowledged offsets are not used: every offset comes from `BusApp.checkpoint`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import confluent_kafka
from confluent_kafka import TopicPartition
from faust.transport import base
from faust.transport.consumer import Consumer
from faust.transport.producer import Producer
from faust.types import TP, ConsumerMessage
from mode import ServiceT

from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed, Poller, Starts
from driftbus.stream.transport.properties import MOVED, may_pass
from driftbus.stream.transport.rights import refusal

if TYPE_CHECKING:
    from driftbus.stream.transport.app import BusApp

LOG = logging.getLogger(__name__)

COMMIT_S = 5.0
"""A commit that is not answered within this time is given up: its outcome is unknown, which is harmless,
because an offset that was not committed only repeats identical ranges."""


class BusConsumer(Consumer):
    """Delivers batches to Faust, and is the one funnel of all commits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bus = cast("BusApp", self.app)
        self.poller = Poller(self, asyncio.get_running_loop(), self._bus.consumer_properties)
        self.ends: dict[TP, int] = {}
        self._under_way: Counter[TP] = Counter()
        self._delivered: dict[TP, tuple[int, int]] = {}
        self._inbox: asyncio.Queue[Batch] = asyncio.Queue()
        self._mine: set[TP] = set()
        self._new: Starts = {}
        self._starts: dict[TP, int | None] = {}
        self._committing, self._rebalancing = asyncio.Lock(), asyncio.Lock()
        self._spawned: set[asyncio.Task[Any]] = set()

    def fail(self, error: BaseException) -> None:
        self._bus.poison(error)

    # Delivery.

    async def subscribe(self, topics: Iterable[str]) -> None:
        if self.poller.is_alive():
            raise NotImplementedError("the set of topics is fixed for the life of a worker")
        self.poller.topics = sorted(topics)
        self.poller.start()

    def put(self, batches: list[Batch], ends: Mapping[TP, int]) -> None:
        for batch in batches:
            self._under_way[batch.tp] += 1
            self.ends.pop(batch.tp, None)
            self._inbox.put_nowait(batch)
        last = {batch.tp: batch.last for batch in batches}
        self.ends.update({tp: end for tp, end in ends.items() if end > last.get(tp, -1)})

    def finished(self, batch: Batch) -> None:
        """An agent is done with a batch, or it was thrown away as stale."""
        self._under_way[batch.tp] -= 1
        self.poller.brake.finished(batch)

    def is_current(self, batch: Batch) -> bool:
        """Whether the batch's partition is still assigned as it was when the batch was read."""
        return self.poller.assignments.get(batch.tp) == batch.assignment

    def follows(self, batch: Batch) -> bool:
        """Whether the batch continues what was delivered of its partition before; from here on it is delivered."""
        assignment, last = self._delivered.get(batch.tp, (-1, -1))
        self._delivered[batch.tp] = (batch.assignment, batch.last)
        return batch.after is None or (assignment, last) == (batch.assignment, batch.after)

    def caught_up(self, tp: TP) -> int | None:
        """End of a partition of which everything has been delivered and worked off, else None."""
        return None if self._under_way[tp] else self.ends.get(tp)

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        while not (self.should_stop or fetcher.should_stop):
            batch = await self._inbox.get()
            if self.is_current(batch):
                await self.callback(self._to_message(batch.tp, batch))
            else:
                self.finished(batch)

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.last,
            timestamp=0.0,
            timestamp_type=0,
            headers=None,
            key=None,
            value=cast(Any, record),
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=record.size,
            tp=tp,
            # constant: with Faust's own counting, streams would drop batches of partitions that are kept
            generation_id=self._bus.consumer_generation_id,
        )

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Nothing: Faust pauses everything at each assignment, and new partitions come paused."""

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        # Faust resumes its flow only later, and until then its streams skip what they get
        self._bus.flow_control.resume()
        for tp in set(tps) & self._starts.keys():
            self.poller.release(tp, self._starts.pop(tp))

    async def perform_seek(self) -> None:
        """Nothing: the position came with the assignment or from `BusApp.restore`."""

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the brake counts batches until an agent has worked them off."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, as above."""

    # Rebalance.

    def assigned_soon(self, starts: Starts) -> None:
        self._spawn(self._assigned(starts))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def _assigned(self, starts: Starts) -> None:
        try:
            async with self._rebalancing:
                new = {tp: start for tp, start in starts.items() if tp in self.poller.assignments}
                self._mine |= new.keys()
                self._new |= new
                if not self._bus.rebalancing:
                    self._bus.on_rebalance_start()
                # Faust's chain; it ends in restore_new()
                await self.on_partitions_assigned(set(self._mine), self._bus.consumer_generation_id)
        except Exception as error:  # noqa: BLE001 - stops the worker
            self.fail(error)

    async def restore_new(self) -> None:
        """Let the application restore what is new; called from Faust's signal that a rebalance is complete."""
        async with self._rebalancing:
            new = {tp: start for tp, start in self._new.items() if tp in self._mine}
            self._new.clear()
            if new:
                positions = await self._bus.restore(new)
                self._starts |= {tp: positions.get(tp) for tp in new}

    async def revoked(self, tps: set[TP], lost: bool) -> None:
        if not self.poller.incremental and not self._bus.rebalancing:
            self._bus.on_rebalance_start()
        async with self._rebalancing:  # a restore under way is finished first
            while not self._bus.poisoned and any(m.tp in tps and not m.acked for m in list(self._unacked_messages)):
                await self._wait_for_ack(1)
            if not lost:
                await self.commit()
            self._mine -= tps
            for tp in tps:
                self._new.pop(tp, None)
                self._starts.pop(tp, None)
                self.ends.pop(tp, None)
            await self._bus.forget(tps)
            await self._bus.on_partitions_revoked.send(tps)
        LOG.info("gave up %d partitions%s", len(tps), ", lost to the group" if lost else "")

    # Commits: timer, revoke and stop all come here.

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        async with self._committing:
            self._acked.clear()  # Faust's books would grow for ever
            self._acked_index.clear()
            self._clean_unacked_messages()
            if self._bus.poisoned or not self._mine:
                return False
            try:
                plan = await self._bus.checkpoint(set(self._mine))
            except Exception as error:  # noqa: BLE001 - stops the worker
                self.fail(error)
                return False
            plan = {tp: committed for tp, committed in plan.items() if tp in self._mine}
            return bool(plan) and not self._bus.poisoned and await self._commit_plan(plan)

    async def commit_now(self, tp: TP, committed: Committed) -> None:
        """Commit one offset before anything else happens; returns when it is done or the partition is gone."""
        while tp in self.poller.assignments and not self._bus.poisoned:
            async with self._committing:
                if await self._commit_plan({tp: committed}):
                    return
            await asyncio.sleep(0.2)

    async def _commit_plan(self, plan: Mapping[TP, Committed]) -> bool:
        offsets = [TopicPartition(tp.topic, tp.partition, c.offset, c.metadata) for tp, c in plan.items()]
        try:
            errors = await asyncio.wait_for(self.poller.commit(offsets), COMMIT_S)
        except TimeoutError:
            LOG.warning("a commit is not answered for %g s; its outcome is unknown", COMMIT_S)
            return False
        for error in errors:
            if error.code() in MOVED or may_pass(error):
                LOG.warning("not committed: %s", error.str())
            else:
                self.fail(refusal(error, "READ", next(iter(plan)).topic, self._bus.conf.id))
        if not errors:
            self._bus.committed(plan)
        return not errors

    async def on_stop(self) -> None:
        await super().on_stop()  # waits until agents are done with what they hold, and commits
        if not self._bus.poisoned:
            await self._bus.drained()  # while the partitions are still ours: the next owner finds what it writes
            await self.commit()
        self.poller.stop()
        if self.poller.is_alive():
            await asyncio.to_thread(self.poller.join, COMMIT_S)

    # The rest of the abstract interface.

    def assignment(self) -> set[TP]:
        return set(self._mine)

    def highwater(self, tp: TP) -> int:
        return self.ends.get(tp, 0)

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return {tp: self.highwater(tp) for tp in partitions}

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Nothing: there are no tables to recover."""

    def _unused(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("not part of this transport")

    create_topic = seek_to_committed = position = seek_wait = _seek = _unused
    earliest_offsets = topic_partitions = key_partition = _commit = _getmany = getmany = _unused


class InertProducer(Producer):
    """Faust wants a producer; ours is the `Outbox`."""

    async def flush(self) -> None:
        """Nothing was sent through it."""


class BusTransport(base.Transport):
    """Ties the classes above together for Faust."""

    Consumer = BusConsumer
    Producer = InertProducer
    default_port = 9092
    driver_version = f"confluent_kafka={confluent_kafka.version()}"

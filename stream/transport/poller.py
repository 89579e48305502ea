"""The poll thread: the only thread that touches the confluent Consumer.

Since 2.16 the Consumer serialises its methods behind a spin lock that a polling loop never yields:
``commit()`` from another thread never returns. So others send commands (`Poller.call`), which run
between two polls or while a rebalance callback waits for the event loop.

Partitions are assigned paused and delivered only after `Poller.release`. A batch carries the number
of its assignment; once the partition is revoked the number is gone and the batch is stale.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from driftbus.schemas.errors import StateError
from driftbus.stream.transport.batch import Batch, partition_of
from driftbus.stream.transport.brake import Brake
from driftbus.stream.transport.properties import is_incremental, may_pass
from driftbus.stream.transport.rights import refusal

LOG = logging.getLogger(__name__)


class Committed(NamedTuple):
    """A committed offset of the group and the text that was committed with it."""

    offset: int
    metadata: str


Starts = dict[TP, Committed | None]
"""Newly assigned partitions and what is committed for them."""


class Listener(Protocol):
    """What the poll thread tells the event loop. All of it is called on the loop."""

    def put(self, batches: list[Batch], ends: Mapping[TP, int]) -> None:
        """New batches; and the ends of partitions that were read to their end after these."""

    def assigned_soon(self, starts: Starts) -> None:
        """Partitions have come, paused."""

    async def revoked(self, tps: set[TP], lost: bool) -> None:
        """Partitions go. The poll thread waits; unless they are lost, offsets can still be committed."""

    def fail(self, error: BaseException) -> None:
        """The consumer can't go on."""


def _tell_once(answer: Future[list[KafkaError]], errors: list[KafkaError]) -> None:
    """Answer a commit, unless nobody waits for it any more: the event loop may cancel it at any moment."""
    if not answer.done() and answer.set_running_or_notify_cancel():
        answer.set_result(errors)


class Poller(threading.Thread):
    """Polls, commits and rebalances for one `Listener`.

    Args:
        listener: receives batches and rebalances.
        loop: the event loop the listener lives on.
        properties: of the confluent Consumer.
        batches: batches that may be under way before polling pauses; raising it costs memory.
        bytes_: bytes that may be under way before polling pauses.
    """

    POLL_RECORDS = 5_000
    POLL_S = 0.05
    GRACE_S = 0.5
    REVOKE_S = 120.0
    KICK_S = 1.2

    def __init__(
        self,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        properties: Mapping[str, Any],
        *,
        batches: int = 8,
        bytes_: int = 64 << 20,
    ) -> None:
        super().__init__(daemon=True, name="kafka-poll")
        self.topics: list[str] = []
        self.assignments: dict[TP, int] = {}
        self.last_poll = time.monotonic()
        self.brake = Brake(batches, bytes_)
        self._listener, self._loop, self._properties = listener, loop, dict(properties)
        self._incremental = is_incremental(properties)
        self._group = str(properties.get("group.id", ""))
        self._numbers = itertools.count(1)
        self._released: set[TP] = set()
        self._held: set[TP] = set()
        self._gone: set[TP] = set()
        self._asleep: set[TP] = set()
        self._read: dict[TP, int] = {}
        self._kick_until = 0.0
        self._seeks: dict[TP, int] = {}
        self._commands: deque[tuple[Future[Any], Callable[[Consumer], Any]]] = deque()
        self._committing: Future[list[KafkaError]] | None = None
        self.choked = False
        self._revoking = self._stopping = self._closed = False
        self._consumer: Consumer

    # Called from the event loop.

    @property
    def incremental(self) -> bool:
        """Whether a rebalance takes and gives single partitions."""
        return self._incremental

    def call(self, command: Callable[[Consumer], Any]) -> asyncio.Future[Any]:
        """Run a command on the poll thread.

        Raises:
            RuntimeError: (from the future) the consumer is closed.
        """
        future: Future[Any] = Future()
        self._commands.append((future, command))
        self.brake.wake()
        if self._closed:
            self._serve()
        return asyncio.wrap_future(future, loop=self._loop)

    def release(self, tp: TP, start: int | None = None) -> None:
        """Deliver a newly assigned partition from now on, from `start` instead of its committed offset if given."""
        number = self.assignments.get(tp)

        def command(consumer: Consumer) -> None:
            if number is None or self.assignments.get(tp) != number:
                return
            self._released.add(tp)
            if start is not None:
                self._seeks[tp] = start
            elif not self.choked:
                self._resume({tp})

        self._post(command)

    def hold(self, tp: TP, held: bool) -> None:
        """Stop, or go on with, the delivery of one partition."""

        def command(consumer: Consumer) -> None:
            if tp not in self._released or (tp in self._held) == held:
                return
            (self._held.add if held else self._held.discard)(tp)
            if not self.choked:
                consumer.pause([TopicPartition(*tp)]) if held else self._resume({tp})

        self._post(command)

    def _post(self, command: Callable[[Consumer], Any]) -> None:
        """Run a command whose failure is the consumer's failure."""

        def check(done: asyncio.Future[Any]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None and not self._closed:
                self._listener.fail(error)

        self.call(command).add_done_callback(check)

    def commit(self, offsets: list[TopicPartition]) -> asyncio.Future[list[KafkaError]]:
        """Commit; the result is the errors.

        Asynchronous while polling: a commit that meets a rebalance is answered up to 1 s late and
        must not stop the poll. Synchronous inside a revoke, where nobody polls.
        """
        answer: Future[list[KafkaError]] = Future()

        def command(consumer: Consumer) -> None:
            try:
                if self._revoking:
                    done = consumer.commit(offsets=offsets, asynchronous=False)
                    _tell_once(answer, [p.error for p in done or () if p.error])
                elif self._committing is not None:
                    busy = KafkaError(KafkaError._IN_PROGRESS, "the previous commit is not answered yet")
                    _tell_once(answer, [busy])
                else:
                    self._committing = answer
                    consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                self._committing = None
                _tell_once(answer, [error.args[0]])

        self.call(command).add_done_callback(lambda f: answer.cancel() if f.cancelled() or f.exception() else None)
        return asyncio.wrap_future(answer, loop=self._loop)

    def stop(self) -> None:
        """Leave the group and end the thread; `join` waits for it. Never commits."""
        self._stopping = True
        self.brake.wake()

    # The thread.

    def run(self) -> None:
        try:
            logger = logging.getLogger("librdkafka")
            self._consumer = Consumer(self._properties | {"on_commit": self._on_commit}, logger=logger)
            self._consumer.subscribe(
                self.topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=lambda consumer, parts: self._on_revoke(consumer, parts, lost=True),
            )
            while not self._stopping:
                self._serve()
                self._seek_some()
                if self._braked():
                    continue
                if self._asleep:
                    self._kick()
                wait_s = 0.1 if self.choked else 0.01 if self._asleep else self.POLL_S
                messages = self._consumer.consume(self.POLL_RECORDS, wait_s)
                self.last_poll = time.monotonic()
                if messages or self._gone:
                    self._hand_over(messages)
        except BaseException as error:  # noqa: BLE001 - handed to the event loop
            self._fail(error)
        finally:
            self._stopping = self._closed = True
            self._serve()
            try:
                self._consumer.close()
            except (AttributeError, KafkaException, RuntimeError) as error:
                LOG.warning("closing the consumer: %s", error)

    def _fail(self, error: BaseException) -> None:
        self._tell(self._listener.fail, error)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _serve(self) -> None:
        while self._commands:
            future, command = self._commands.popleft()
            # from here on the event loop can't cancel it: a result for a cancelled future would be an error here
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if self._closed:
                    raise RuntimeError("the consumer is closed")
                future.set_result(command(self._consumer))
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

    # Delivery.

    def _hand_over(self, messages: list[Message]) -> None:
        gone, self._gone = self._gone, set()  # revoked during this very poll: what came with it is stale
        ends: dict[TP, int] = {}
        if any(map(Message.error, messages)):
            for message in messages:
                if (error := message.error()) is not None:
                    self._on_error(message, error, ends)
            messages = [m for m in messages if m.error() is None]
        parts: dict[TP, list[Message]] = {}
        for _, run in itertools.groupby(messages, Message.topic):
            for _, group in itertools.groupby(run, Message.partition):
                records = list(group)
                parts.setdefault(partition_of(records[0]), []).extend(records)
        batches = [
            Batch(tp, self.assignments[tp], records, self._read.get(tp))
            for tp, records in parts.items()
            if tp in self.assignments and tp not in gone and tp not in self._seeks
        ]
        self._read.update((batch.tp, batch.last) for batch in batches)
        self._asleep.difference_update(batch.tp for batch in batches)
        ends = {tp: end for tp, end in ends.items() if tp in self._released and tp not in gone}
        if batches or ends:
            self.brake.took(batches)
            self._tell(self._listener.put, batches, ends)

    def _on_error(self, message: Message, error: KafkaError, ends: dict[TP, int]) -> None:
        tp = partition_of(message)
        if error.code() == KafkaError._PARTITION_EOF:
            ends[tp] = message.offset() or 0
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._fail(
                StateError(
                    f"{tp.topic}[{tp.partition}]: the offset to go on from is no longer in the log ({error.str()}). "
                    "Records were deleted before they were read; docs/operations.md says how to go on"
                )
            )
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED or may_pass(error):
            LOG.warning("%s", error.str())
        else:
            self._fail(refusal(error, "READ", tp.topic, self._group))

    def _braked(self) -> bool:
        """Whether to leave out this poll.

        Not polling is the normal brake: librdkafka's own queue is bounded. After a grace time
        without room, all partitions are paused and polling goes on, so that rebalances are answered
        and ``max.poll.interval.ms`` is kept however long an agent takes.
        """
        full = self.brake.wait(0.0 if self.choked else self.GRACE_S, lambda: self._stopping or bool(self._commands))
        if full and not self.choked and self.brake.full_s < self.GRACE_S:
            return True
        if full != self.choked:
            self.choked = full
            active = self._released - self._held - self._seeks.keys()
            if full and active:
                self._consumer.pause([TopicPartition(*tp) for tp in active])
            elif active:
                self._resume(active)
        return False

    def _resume(self, tps: Iterable[TP]) -> None:
        self._consumer.resume([TopicPartition(*tp) for tp in tps])
        self._wake(tps)

    def _wake(self, tps: Iterable[TP]) -> None:
        self._asleep |= set(tps)
        self._kick_until = time.monotonic() + self.KICK_S

    def _kick(self) -> None:
        """Wake one resumed partition.

        It is fetched only when librdkafka's idle broker thread next wakes, .93 s later, and no
        setting changes that; any request to its leader wakes the thread within milliseconds.
        librdkafka pauses kept partitions as well in each rebalance.
        """
        self._asleep &= self._released - self._held
        if self.choked or time.monotonic() > self._kick_until:
            self._asleep.clear()
        if self._asleep:
            try:
                self._consumer.get_watermark_offsets(TopicPartition(*random.choice(sorted(self._asleep))), timeout=2)
            except KafkaException as error:
                LOG.debug("waking a partition: %s", error)

    def _seek_some(self) -> None:
        """Move newly released partitions to where their state asks to start.

        librdkafka refuses a seek until it has begun to look at an assigned partition.
        """
        for tp, offset in list(self._seeks.items()):
            try:
                self._consumer.seek(TopicPartition(tp.topic, tp.partition, offset))
            except KafkaException as error:
                if error.args[0].code() == KafkaError._STATE or may_pass(error.args[0]):
                    continue
                raise
            del self._seeks[tp]
            if not self.choked and tp not in self._held:
                self._resume({tp})

    def _on_commit(self, error: KafkaError | None, parts: list[TopicPartition]) -> None:
        answer, self._committing = self._committing, None
        if answer is not None:
            _tell_once(answer, [error] if error else [p.error for p in parts if p.error])

    # Rebalance callbacks, called by librdkafka inside consume() or close().

    def _on_assign(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        try:
            starts: Starts = {}
            for part in self._committed(parts):
                tp = TP(part.topic, part.partition)
                starts[tp] = Committed(part.offset, part.metadata or "") if part.offset >= 0 else None
            positions = [
                TopicPartition(tp.topic, tp.partition, start.offset if start else OFFSET_BEGINNING)
                for tp, start in starts.items()
            ]
            (consumer.incremental_assign if self._incremental else consumer.assign)(positions)
            self._wake(self._released)
            if positions:
                consumer.pause(positions)
            for tp in starts:
                self.assignments[tp] = next(self._numbers)
            self._tell(self._listener.assigned_soon, starts)
        except BaseException as error:  # noqa: BLE001 - handed to the event loop
            self._fail(error)

    def _committed(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        while parts and not self._stopping:
            try:
                found = self._consumer.committed([TopicPartition(p.topic, p.partition) for p in parts], timeout=10)
                errors = [p.error for p in found if p.error]
            except KafkaException as error:
                found, errors = [], [error.args[0]]
            if not errors:
                return list(found)
            if not all(map(may_pass, errors)):
                raise refusal(errors[0], "READ", parts[0].topic, self._group)
            LOG.warning("asking for committed offsets: %s; trying again", errors[0].str())
            time.sleep(0.2)
        return []

    def _on_revoke(self, consumer: Consumer, parts: list[TopicPartition], lost: bool = False) -> None:
        try:
            tps = {TP(p.topic, p.partition) for p in parts}
            self._gone |= tps
            for known in (self._released, self._held, self._asleep):
                known.difference_update(tps)
            for tp in tps:
                self.assignments.pop(tp, None)
                self._seeks.pop(tp, None)
                self._read.pop(tp, None)
            if not self._stopping and not self._loop.is_closed():
                self._let_go(tps, lost)
            if self._incremental:
                consumer.incremental_unassign(parts)
            else:
                consumer.unassign()
            self._wake(self._released)
        except BaseException as error:  # noqa: BLE001 - handed to the event loop
            self._fail(error)
        finally:
            self._revoking = False

    def _let_go(self, tps: set[TP], lost: bool) -> None:
        """Serve commands until the event loop has given the partitions up."""
        self._revoking = True
        if self._committing is not None:  # its answer can't arrive while this callback runs
            self._on_commit(KafkaError(KafkaError.REBALANCE_IN_PROGRESS, "outcome unknown"), [])
        done = asyncio.run_coroutine_threadsafe(self._listener.revoked(tps, lost), self._loop)
        end = time.monotonic() + self.REVOKE_S
        while not done.done() and time.monotonic() < end and not self._stopping:
            self._serve()
            self.brake.pause(0.01, lambda: bool(self._commands) or done.done())
        if done.done():
            done.result()

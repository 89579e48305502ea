"""Everything the worker writes: one idempotent producer, bounded, with tickets.

A ticket stands for all that was sent before it was cut. Waiting for a ticket does not wait for what
is sent meanwhile, as a flush would.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import DriftbusError, StateError, Unavailable
from driftbus.stream.transport.rights import RIGHTS, missing_right

LOG = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes | None]]

_FULL_S = 0.01


def producer_properties(kafka: KafkaConfig, client_id: str) -> dict[str, Any]:
    """Properties of the outbox's producer.

    It never gives a record up (``delivery.timeout.ms`` 0): through an outage the worker waits, and
    what it can't write holds back what it reads and commits.
    """
    return {
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 5,
        "delivery.timeout.ms": 0,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 65_536,
        # the topic's max.message.bytes decides, not the client: a dead letter is as long as the record was
        "message.max.bytes": 16 << 20,
    } | kafka.librdkafka()


class Outbox:
    """Sends records and says when they are acknowledged by all in-sync replicas.

    Create it on the event loop that uses it.

    Args:
        properties: of the confluent Producer.
        on_failure: called once, on the event loop, when a record was refused: what follows from it
            must never be committed.
    """

    def __init__(self, properties: Mapping[str, Any], on_failure: Callable[[DriftbusError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._failure: DriftbusError | None = None
        self._lock = threading.Lock()
        self._ticket = 0
        self._pending = {0: 0}
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False
        self.producer = Producer(
            dict(properties) | {"error_cb": self._on_error}, logger=logging.getLogger("librdkafka")
        )
        self._thread = threading.Thread(target=self._poll, daemon=True, name="outbox-poll")
        self._thread.start()

    @property
    def pending(self) -> int:
        """Records sent and not acknowledged."""
        with self._lock:
            return sum(self._pending.values())

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Queue one record; waits while the queue is full.

        Args:
            topic: where to.
            value: the record; None is a tombstone.
            key: its key.
            partition: where exactly; None: by hash of the key.
            headers: its headers.
            timestamp_ms: its Kafka timestamp; None: now.

        Raises:
            StateError: it is too large, or an earlier record was refused.
            Unavailable: an earlier one was not acknowledged in time.
        """
        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        if timestamp_ms is not None:
            where["timestamp"] = timestamp_ms
        while True:
            if self._failure:
                raise self._failure
            with self._lock:
                ticket = self._ticket
                self._pending[ticket] += 1
            try:
                self.producer.produce(
                    topic,
                    value,
                    key,
                    headers=list(headers) if headers else None,
                    on_delivery=partial(self._on_delivery, ticket),
                    **where,
                )
                return
            except BufferError:
                self._settle(ticket)
                await asyncio.sleep(_FULL_S)
            except KafkaException as error:  # refused at once, no callback follows
                self._settle(ticket)
                raise self._fail(_refusal(error.args[0], topic, len(value or b""))) from error

    def cut(self) -> int:
        """A ticket for everything sent so far."""
        with self._lock:
            ticket, self._ticket = self._ticket, self._ticket + 1
            self._pending[self._ticket] = 0
        return ticket

    async def acked(self, ticket: int) -> None:
        """Return when everything sent before the ticket was cut is acknowledged.

        Raises:
            StateError: a record was refused.
            Unavailable: one was not acknowledged in time, where a time is configured.
        """
        while True:
            if self._failure:
                raise self._failure
            with self._lock:
                for done in [t for t, n in self._pending.items() if n == 0 and t < self._ticket]:
                    del self._pending[done]
                if not any(t <= ticket for t in self._pending):
                    return
                waiter = self._loop.create_future()
                self._waiting.append(waiter)
            await waiter

    async def flush(self) -> None:
        """Return when everything sent so far is acknowledged; raises StateError."""
        await self.acked(self.cut())

    def close(self, timeout_s: float = 5.0) -> int:
        """Wait for what is queued, end the thread; returns how many records are still unacknowledged."""
        left = self.producer.flush(timeout_s)
        self._closed = True
        self._thread.join(1.0)
        return int(left)

    def _poll(self) -> None:
        while not self._closed:
            self.producer.poll(0.1)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            missing = missing_right(error, "WRITE")
            self._fail(missing or StateError(f"the producer can't go on: {error.str()}"))

    def _on_delivery(self, ticket: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._fail(_refusal(error, message.topic() or "", len(message.value() or b"")))
        self._settle(ticket)

    def _settle(self, ticket: int) -> None:
        with self._lock:
            self._pending[ticket] -= 1
            complete = self._pending[ticket] == 0 and ticket < self._ticket
        if complete:
            self._tell(self._wake)

    def _fail(self, failure: DriftbusError) -> DriftbusError:
        if self._failure is None:
            self._failure = failure
            self._tell(self._on_failure, failure)
        self._tell(self._wake)
        return self._failure

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)


def _refusal(error: KafkaError, topic: str, size: int) -> DriftbusError:
    told, end = f"topic {topic} refused a record of {size} bytes: {error.str()}", "nothing after it was committed"
    code = error.code()
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return StateError(
            f"a record of {size} bytes is too large for topic {topic}: raise the topic's max.message.bytes "
            f"(`driftbus topics` shows what it should be) and start again; {end}"
        )
    if code == KafkaError._MSG_TIMED_OUT:
        return Unavailable(
            f"topic {topic} did not acknowledge a record of {size} bytes in time (delivery.timeout.ms under "
            f"kafka.options; without it the worker waits): {end}"
        )
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return StateError(f"{told}. The login needs WRITE on it: give it back and start again; {RIGHTS}; {end}")
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return StateError(
            f"{told}. Was it deleted? `driftbus topics --create` makes it again, and docs/operations.md says what "
            f"then; {end}"
        )
    if code == KafkaError.INVALID_TIMESTAMP:
        return StateError(
            f"{told} Is this computer's clock right? With message.timestamp.type=LogAppendTime on the topic it does "
            f"not matter; {end}"
        )
    return StateError(f"{told}; {end}")

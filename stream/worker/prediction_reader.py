"""Reads partitions of prediction topics for joins: without a group, whoever owns them in the group.

One consumer and one thread for all of them. Records are handed over on the event loop in the order of
their offsets; so is the news that the end of a partition was reached.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import StateError
from driftbus.stream.transport.batch import Batch, partition_of
from driftbus.stream.transport.properties import is_transient, means_nothing_without_a_group
from driftbus.stream.transport.rights import refusal

LOG = logging.getLogger(__name__)

POLL_RECORDS = 5_000
_POLL_S = 0.1
_FULL_S = 0.01
IDLE_S = 30.0
"""A reader that has had nothing to read for so long leaves the brokers: its threads, sockets and buffers go."""


class Listener(Protocol):
    """What the reader tells the event loop. All of it is called on the loop."""

    def records(self, tp: TP, number: int, batch: Batch) -> None:
        """The next records of a partition, read since `PredictionReader.open` gave that number."""

    def end(self, tp: TP, number: int, offset: int) -> None:
        """Everything before this offset has been handed over, and there is no more now."""


class PredictionReader(threading.Thread):
    """The thread. It starts with the first partition that is opened.

    Args:
        kafka: how to connect.
        loop: the event loop the listener lives on.
        listener: receives what is read.
        fail: stops the worker, called on the loop.
        full: whether the listener has more than enough, asked on the thread; nothing is read meanwhile.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        fail: Callable[[BaseException], None],
        full: Callable[[], bool],
    ) -> None:
        super().__init__(daemon=True, name="kafka-predictions")
        self._properties: dict[str, Any] = {
            "group.id": "driftbus-predictions",  # required, but no group is joined and nothing is committed
            "client.id": "driftbus-predictions",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "fetch.queue.backoff.ms": 10,
            "fetch.wait.max.ms": 100,
            "queued.min.messages": 50_000,
            "queued.max.messages.kbytes": 16_384,
        }
        self._kafka = kafka
        self._loop, self._listener, self._on_failure, self._is_full = loop, listener, fail, full
        self._commands: deque[Callable[[Consumer], None]] = deque()
        self._numbers: dict[TP, int] = {}
        self._opened = 0
        self._wake = threading.Event()
        self._stopping = False

    # Called from the event loop.

    def open(self, tp: TP, offset: int) -> int:
        """Read a partition from an offset on; the number under which its records come."""
        self._opened += 1
        number = self._opened

        def command(consumer: Consumer) -> None:
            self._numbers[tp] = number
            consumer.incremental_assign([TopicPartition(tp.topic, tp.partition, offset)])

        self._post(command)
        if not self.is_alive():
            self.start()
        return number

    def close_partition(self, tp: TP) -> None:
        """Read it no more. Records that are on their way still come, under their old number."""

        def command(consumer: Consumer) -> None:
            if self._numbers.pop(tp, None) is not None:
                consumer.incremental_unassign([TopicPartition(*tp)])

        self._post(command)

    def call(self, command: Callable[[Consumer], None]) -> None:
        """Run a command on the thread, if it has been started."""
        if self.is_alive():
            self._post(command)

    def stop(self) -> None:
        """End the thread; `join` waits for it."""
        self._stopping = True
        self._wake.set()

    def _post(self, command: Callable[[Consumer], None]) -> None:
        self._commands.append(command)
        self._wake.set()

    # The thread.

    def run(self) -> None:
        consumer: Consumer | None = None
        try:
            while not self._stopping:
                while self._commands:
                    if consumer is None:
                        properties = self._properties | self._kafka.librdkafka()
                        consumer = Consumer(properties, logger=logging.getLogger("librdkafka"))
                    self._commands.popleft()(consumer)
                if not self._numbers or consumer is None:
                    if not self._wake.wait(IDLE_S) and consumer is not None:
                        consumer.close()
                        consumer = None
                    self._wake.clear()
                elif self._is_full():
                    self._wake.wait(_FULL_S)
                    self._wake.clear()
                else:
                    self._hand_over(consumer.consume(POLL_RECORDS, _POLL_S))
        except BaseException as error:  # noqa: BLE001 - handed to the event loop
            self._tell(self._on_failure, error)
        finally:
            if consumer is not None:
                consumer.close()

    def _hand_over(self, messages: list[Message]) -> None:
        # ends come behind the records of the same poll that they follow
        for tp, run in groupby(messages, partition_of):
            number = self._numbers.get(tp)
            records: list[Message] = []
            for message in run:
                error = message.error()
                if error is None:
                    records.append(message)
                    continue
                self._send(tp, number, records)
                records = []
                self._on_error(tp, number, message, error)
            self._send(tp, number, records)

    def _send(self, tp: TP, number: int | None, records: list[Message]) -> None:
        if records and number is not None:
            self._tell(self._listener.records, tp, number, Batch(tp, number, records))

    def _on_error(self, tp: TP, number: int | None, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if number is not None:
                self._tell(self._listener.end, tp, number, message.offset() or 0)
        elif means_nothing_without_a_group(error):
            return
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise StateError(
                f"{tp.topic}[{tp.partition}]: the next predictions to read are no longer in the log ({error.str()}): "
                "they were deleted before they were read; docs/labels-on-kafka.md says how to go on"
            )
        elif is_transient(error):
            LOG.warning("reading predictions: %s", error.str())
        else:
            raise refusal(error, "READ", tp.topic)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

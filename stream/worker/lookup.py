"""Questions about offsets and timestamps of partitions, answered without a group."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from faust.types import TP

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import Unavailable
from driftbus.stream.transport.properties import is_transient, means_nothing_without_a_group
from driftbus.stream.transport.rights import refusal

_ANSWER_S = 15.0


class Lookup:
    """Answers about offsets, over a consumer of its own that joins no group. Blocks: use a thread.

    Raises:
        Unavailable: (all methods) the brokers don't answer.
        KafkaException: (all methods) they refuse.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        properties: dict[str, Any] = {
            "group.id": "driftbus-lookup",  # required, but no group is joined and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            **kafka.librdkafka(),
        }
        self._consumer = Consumer(properties, logger=logging.getLogger("librdkafka"))

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def bounds(self, tp: TP) -> tuple[int, int]:
        """First offset that is still in the log, and the offset of the next record to come."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=_ANSWER_S)
        except KafkaException as error:
            raise _unavailable(tp, error) from error
        return int(low), int(high)

    def offset_at(self, tp: TP, time_ms: int) -> int:
        """Offset of the first record whose Kafka timestamp is at least this; the log's end if there is none."""
        low, high = self.bounds(tp)
        if time_ms < 0:
            return low
        try:
            asked = [TopicPartition(tp.topic, tp.partition, time_ms)]
            found = self._consumer.offsets_for_times(asked, timeout=_ANSWER_S)[0].offset
        except KafkaException as error:
            raise _unavailable(tp, error) from error
        return high if found < 0 else int(found)

    def time_near(self, tp: TP, offset: int) -> int:
        """Kafka timestamp of the first record at or after an offset, else of the last before it; -1 for none."""
        low, high = self.bounds(tp)
        first = self._first_time(tp, max(low, offset), high)
        step = 1
        while first < 0 and low < offset:  # before the end there may be nothing but marks of transactions
            offset = max(low, min(offset, high) - step)
            first, step = self._first_time(tp, offset, high, last=True), 2 * step
        return first

    def _first_time(self, tp: TP, offset: int, high: int, *, last: bool = False) -> int:
        found = -1
        if offset >= high:
            return found
        self._consumer.assign([TopicPartition(tp.topic, tp.partition, offset)])
        deadline = time.monotonic() + _ANSWER_S
        try:
            while time.monotonic() < deadline:
                for message in self._consumer.consume(500, 0.1):
                    error = message.error()
                    if error is None:
                        found = int(message.timestamp()[1])
                        if not last:
                            return found
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return found
                    elif not is_transient(error) and not means_nothing_without_a_group(error):
                        raise refusal(error, "READ", tp.topic)
        finally:
            self._consumer.unassign()
        raise Unavailable(f"{tp.topic}[{tp.partition}]: the brokers have not answered for {_ANSWER_S:g} s")


def _unavailable(tp: TP, error: KafkaException) -> Exception:
    answer = cast(KafkaError, error.args[0])
    if is_transient(answer):
        return Unavailable(f"{tp.topic}[{tp.partition}]: {answer.str()}")
    return refusal(answer, "DESCRIBE", tp.topic)

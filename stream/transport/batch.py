"""What one poll returns of one partition: the unit that travels through Faust."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, cast

import numpy as np
from confluent_kafka import Message
from faust.serializers.schemas import Schema
from faust.types import TP

from driftbus.stream.records import Headers, RecordBatch

_BESIDE = 300
"""Bytes that librdkafka and Python keep of a record beside two copies of its value; measured."""


class Batch:
    """Consecutive records of one partition, as librdkafka holds them.

    Args:
        tp: whose records.
        assignment: number of the assignment they were read under. When the partition goes away and
            comes back the number differs, and the batch is stale.
        messages: at least one message, none of them an error.
        after: offset of the last record that was read before under the same assignment, None for the first.

    Attributes:
        first, last: offsets of the first and the last record.
        size: bytes of all values.
        held: bytes of memory that it keeps, about.
    """

    __slots__ = ("after", "assignment", "first", "held", "last", "messages", "size", "tp", "values")

    def __init__(self, tp: TP, assignment: int, messages: list[Message], after: int | None = None) -> None:
        self.tp, self.assignment, self.messages, self.after = tp, assignment, messages, after
        self.values: list[bytes | None] = list(map(Message.value, messages))
        self.size = sum(map(len, filter(None, self.values)))
        self.held = 2 * self.size + _BESIDE * len(messages)
        self.first, self.last = cast(int, messages[0].offset()), cast(int, messages[-1].offset())

    def __len__(self) -> int:
        return len(self.messages)

    def records(self) -> RecordBatch:
        """The same records as the machines take them: arrays, and keys and headers on request."""
        messages, n = self.messages, len(self.messages)
        return RecordBatch(
            topic=self.tp.topic,
            partition=self.tp.partition,
            offsets=np.fromiter(map(Message.offset, messages), np.int64, n),
            timestamps=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, n),
            values=self.values,
            key_of=lambda row: messages[row].key(),
            headers_of=lambda row: cast(Headers, messages[row].headers() or ()),
        )


def partition_of(message: Message) -> TP:
    """Topic and partition of a message, also of an error about a partition."""
    return TP(cast(str, message.topic()), cast(int, message.partition()))


class BatchSchema(Schema[Any, Any]):
    """Tells Faust to hand a `Batch` through as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value

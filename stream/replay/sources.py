"""Source topics read without a group: ranges of offsets for replays, the beginning of a topic for learning."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftbus.schemas.columns import MISSING_TIME
from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.stream.files.timecells import TimeForm, times
from driftbus.stream.records import Headers, RecordBatch
from driftbus.stream.transport.properties import is_transient, means_nothing_without_a_group
from driftbus.stream.transport.rights import missing_right, refusal

LOG = logging.getLogger(__name__)

Part = tuple[str, int]
"""(topic, partition)."""

_ANSWER_S = 15.0
_PATIENCE_S = 60.0
_POLL_RECORDS = 5_000


@dataclass(frozen=True, slots=True)
class Point:
    """A place in all partitions of a topic.

    Args:
        time_ms: the first record whose Kafka timestamp is at least this.
        offset: an offset, for partitions that `offsets` doesn't name.
        offsets: partition → offset.
    """

    time_ms: int | None = None
    offset: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)


def parse_point(text: str, option: str) -> Point | None:
    """A point from the command line: ``2025-10-01T00:00``, ``1500`` or ``0:1500,1:1620``; None for "".

    Raises:
        ConfigError: it is none of these.
    """
    text = text.strip()
    if not text:
        return None
    if re.fullmatch(r"\d+", text):
        return Point(offset=int(text))
    if re.fullmatch(r"\d+:\d+(,\s*\d+:\d+)*", text):
        pairs = [pair.split(":") for pair in text.split(",")]
        return Point(offsets={int(partition): int(offset) for partition, offset in pairs})
    ms = int(times(pa.array([text]), TimeForm())[0])
    if ms == MISSING_TIME:
        raise ConfigError(
            f"{text!r} is neither a time nor offsets", key=option, fix="write 2025-10-01T00:00, 1500 or 0:1500,1:1620"
        )
    return Point(time_ms=ms)


class SourceReader:
    """Reads partitions in offset order, as batches.

    Args:
        kafka: how to connect.
        partitions: topic → number of partitions.
        begin, end: points in each topic; None: everything there is now.
        follow: True to go on beyond the present end, without end.

    Attributes:
        left: partitions that are not read to their end yet; with `follow` always all of them.
        resting: partitions whose present end was reached, and nothing has come since.
        ranges: (topic, partition) → (first offset, end).

    Raises:
        Unavailable: the brokers don't answer.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        partitions: Mapping[str, int],
        begin: Point | None = None,
        end: Point | None = None,
        *,
        follow: bool = False,
    ) -> None:
        self._follow = follow
        self._consumer = Consumer(
            {
                "group.id": "driftbus-source-reader",  # required, but no group is joined and nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "check.crcs": True,
                **kafka.librdkafka(),
            },
            logger=logging.getLogger("librdkafka"),
        )
        self.ranges: dict[Part, tuple[int, int]] = {}
        for topic, count in partitions.items():
            for partition in range(count):
                self.ranges[topic, partition] = self._range(TopicPartition(topic, partition), begin, end)
        self.left = {part for part, (low, high) in self.ranges.items() if follow or low < high}
        self.resting: set[Part] = set()
        self._held: set[Part] = set()
        self._heard = time.monotonic()
        self._consumer.assign([TopicPartition(*part, self.ranges[part][0]) for part in sorted(self.left)])

    @property
    def records(self) -> int:
        """Offsets in all ranges: the number of records, unless the topic is compacted."""
        return sum(max(0, high - low) for low, high in self.ranges.values())

    def poll(self, timeout_s: float = 0.2) -> list[RecordBatch]:
        """The next batches, at most one per partition.

        Raises:
            Unavailable: the brokers have not answered for a minute.
            KafkaException: they refuse.
        """
        found: list[Message] = []
        ended: list[Part] = []
        for message in self._consumer.consume(_POLL_RECORDS, timeout_s):
            error = message.error()
            part = (cast(str, message.topic()), cast(int, message.partition()))
            if error is None:
                found.append(message)
                self.resting.discard(part)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.resting.add(part)
                ended.append(part)
            elif means_nothing_without_a_group(error):
                continue
            elif not is_transient(error):
                raise refusal(error, "READ", part[0])
            else:
                LOG.warning("reading %s: %s", message.topic(), error.str())
                continue
            self._heard = time.monotonic()
        if self.left - self._held <= self.resting:
            self._heard = time.monotonic()
        if time.monotonic() - self._heard > _PATIENCE_S:
            raise Unavailable(f"the brokers have not answered for {_PATIENCE_S:g} s")
        batches = []
        for part, messages in groupby(sorted(found, key=_place), key=lambda m: _place(m)[:2]):
            batch = self._bounded(part, list(messages))
            if batch is not None:
                batches.append(batch)
        for part in ended:  # its last records may have come with the same poll
            self._end(part)
        return batches

    def hold(self, parts: Set[Part]) -> None:
        """Deliver nothing of these partitions, and go on with all others."""
        parts = parts & self.left
        if stop := parts - self._held:
            self._consumer.pause([TopicPartition(*part) for part in stop])
        if go := (self._held - parts) & self.left:
            self._consumer.resume([TopicPartition(*part) for part in go])
        self._held = set(parts)

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _range(self, place: TopicPartition, begin: Point | None, end: Point | None) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
            return self._offset(place, begin, low, low, high), self._offset(place, end, high, low, high)
        except KafkaException as e:
            if (missing := missing_right(e.args[0], "DESCRIBE", place.topic)) is not None:
                raise missing from e
            raise Unavailable(f"{place.topic}[{place.partition}]: {e.args[0].str()}") from e

    def _offset(self, place: TopicPartition, point: Point | None, default: int, low: int, high: int) -> int:
        if point is None:
            return default
        if point.time_ms is not None:
            asked = TopicPartition(place.topic, place.partition, point.time_ms)
            found = self._consumer.offsets_for_times([asked], timeout=_ANSWER_S)[0].offset
            return high if found < 0 else int(found)
        wanted = point.offsets.get(place.partition, point.offset)
        return default if wanted is None else min(high, max(low, wanted))

    def _bounded(self, part: Part, messages: list[Message]) -> RecordBatch | None:
        """A batch of the messages that lie before the end."""
        if part not in self.left:
            return None
        if not self._follow:
            end = self.ranges[part][1]
            if cast(int, messages[-1].offset()) >= end - 1:
                messages = [message for message in messages if cast(int, message.offset()) < end]
                self._end(part)
        return _batch(part, messages) if messages else None

    def _end(self, part: Part) -> None:
        if not self._follow and part in self.left:
            self.left.discard(part)
            self._consumer.pause([TopicPartition(*part)])


def _place(message: Message) -> tuple[Any, ...]:
    return message.topic(), message.partition(), message.offset()


def _batch(part: Part, messages: list[Message]) -> RecordBatch:
    n = len(messages)
    return RecordBatch(
        topic=part[0],
        partition=part[1],
        offsets=np.fromiter(map(Message.offset, messages), np.int64, n),
        timestamps=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, n),
        values=list(map(Message.value, messages)),
        key_of=lambda row: messages[row].key(),
        headers_of=lambda row: cast(Headers, messages[row].headers() or ()),
    )


Tell = Callable[[float, int], None]
"""Called with the share done (0 to 1) and the number of rows so far."""

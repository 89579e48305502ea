"""Reading whole partitions of our own topics, without a group: to restore state and to list profiles."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from driftbus.schemas.errors import Unavailable
from driftbus.stream.transport.properties import is_transient, means_nothing_without_a_group
from driftbus.stream.transport.rights import refusal

LOG = logging.getLogger(__name__)


def read_to_end(
    properties: Mapping[str, Any], topic: str, partitions: Iterable[int], *, patience_s: float = 120.0
) -> Iterator[Message]:
    """All committed records that partitions hold now, each partition in offset order. Blocks: use a thread.

    Args:
        properties: how to connect.
        topic: an existing topic.
        partitions: which of its partitions.
        patience_s: seconds without an answer after which it gives up.

    Raises:
        Unavailable: the brokers don't answer.
        ConfigError: we may not read it.
        KafkaException: they refuse.
    """
    left = set(partitions)
    consumer = Consumer(
        dict(properties)
        | {
            "group.id": "driftbus-read-to-end",  # required, but no group is joined and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "check.crcs": True,
        },
        logger=logging.getLogger("librdkafka"),
    )
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
        heard = time.monotonic()
        while left:
            for message in consumer.consume(5_000, 0.05):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                elif means_nothing_without_a_group(error):
                    continue
                elif not is_transient(error):
                    raise refusal(error, "READ", topic)
                else:
                    LOG.warning("reading %s: %s", topic, error.str())
                    continue
                heard = time.monotonic()
            if time.monotonic() - heard > patience_s:
                raise Unavailable(f"reading {topic}: the brokers have not answered for {patience_s:g} s")
    finally:
        consumer.close()

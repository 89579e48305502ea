"""What tests ask of an Apache Kafka, whatever it is made of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from driftbus.schemas.errors import Unavailable

T = TypeVar("T")


def patiently(ask: Callable[[], T], timeout_s: float = 60.0) -> T:
    """What brokers say, which may not have found themselves again right after a start."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except (KafkaException, Unavailable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Kafka:
    """Topics and records of one broker or of several."""

    replication = 1
    """Copies of each partition of new topics."""

    def __init__(self) -> None:
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """What the harness takes as bootstrap.servers: no fault of the network is on this way."""
        raise NotImplementedError

    @property
    def outside(self) -> str:
        """What workers take as bootstrap.servers: through proxies, where there are any."""
        return self.bootstrap

    @property
    def admin(self) -> AdminClient:
        """One client for the life of it: a temporary one would cancel its own futures."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap}, logger=quiet())
        return self._admin

    def create_topic(
        self, name: str = "topic", partitions: int = 1, config: Mapping[str, str] = {}, *, unique: bool = True
    ) -> str:
        """A new topic; its name.

        Args:
            name: the name, or its beginning when it is to be unique.
            partitions: number of partitions.
            config: topic settings, such as {"cleanup.policy": "compact"}.
            unique: append something that no other test has.
        """
        topic = f"{name}-{uuid4().hex[:8]}" if unique else name
        new = NewTopic(topic, num_partitions=partitions, replication_factor=self.replication, config=dict(config))
        self.admin.create_topics([new])[topic].result(30)
        return topic

    def delete_topics(self, *topics: str) -> None:
        """Remove topics and their records."""
        for future in self.admin.delete_topics(list(topics)).values():
            future.result(30)

    def configure(self, topic: str, settings: Mapping[str, str]) -> None:
        """Change settings of a topic; the rest stays as it is."""
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                   for name, value in settings.items()]  # fmt: skip
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(15)

    def produce(self, topic: str, records: Iterable[Mapping[str, Any]], settings: Mapping[str, Any] = {}) -> None:
        """Write records and wait for all acknowledgements.

        Args:
            topic: an existing topic.
            records: arguments of confluent_kafka.Producer.produce: value, key, headers, partition, timestamp.
            settings: more producer settings.

        Raises:
            KafkaException: a record was refused.
        """
        refused: list[Any] = []

        def delivered(error: Any, _: Message) -> None:
            if error is not None:
                refused.append(error)

        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, **settings}, logger=quiet())
        for record in records:
            while True:
                try:
                    producer.produce(topic, on_delivery=delivered, **record)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        left = producer.flush(60)
        if refused or left:
            raise KafkaException(refused[0] if refused else f"{left} records not acknowledged")

    def end_offsets(self, topic: str) -> list[int]:
        """Per partition, the offset that the next record gets."""
        return patiently(lambda: self._end_offsets(topic))

    def _end_offsets(self, topic: str) -> list[int]:
        consumer = self._consumer()
        try:
            partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)[1]
                for partition in sorted(partitions)
            ]
        finally:
            consumer.close()

    def read(self, topic: str) -> list[Message]:
        """All records that a topic holds now, by partition and offset; committed ones only."""
        return patiently(lambda: self._read(topic))

    def _read(self, topic: str) -> list[Message]:
        consumer = self._consumer()
        records: list[Message] = []
        try:
            for partition in range(len(self.end_offsets(topic))):
                consumer.assign([TopicPartition(topic, partition, 0)])
                at_end = False
                while not at_end:
                    for message in consumer.consume(10_000, timeout=0.1):
                        error = message.error()
                        if error is None:
                            records.append(message)
                        elif error.code() == KafkaError._PARTITION_EOF:
                            at_end = True
                        else:
                            raise KafkaException(error)
        finally:
            consumer.close()
        return records

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """Offset and metadata that a consumer group committed, per partition."""
        return patiently(lambda: self._committed(group, topic))

    def _committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        consumer = self._consumer(group)
        try:
            known = consumer.list_topics(topic, timeout=15).topics[topic].partitions
            found = consumer.committed([TopicPartition(topic, p) for p in sorted(known)], timeout=15)
            return {p.partition: (p.offset, p.metadata or "") for p in found if p.offset >= 0}
        finally:
            consumer.close()

    def _consumer(self, group: str = "harness") -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            },
            logger=quiet(),
        )


def quiet() -> logging.Logger:
    """A logger for librdkafka, which writes to stderr without one, and a lot while the broker is down."""
    logger = logging.getLogger("harness.librdkafka")
    logger.setLevel(logging.CRITICAL)
    return logger

"""A real Apache Kafka: one KRaft node, started in about two seconds."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from harness.cache import cached
from harness.java import java, kafka_key, kafka_libraries
from harness.process import Child, accepts, free_ports

_FLAGS = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.disable.jmx=true")
_CLUSTER_ID = "ZHJpZnRidXMtdGVzdHMtMQ"
_SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.min.session.timeout.ms": 6_000,  # a killed KIP-848 member is missed as soon as a classic one
    "group.consumer.session.timeout.ms": 6_000,
    "group.consumer.min.heartbeat.interval.ms": 1_000,
    "group.consumer.heartbeat.interval.ms": 1_000,
    "broker.heartbeat.interval.ms": 200,
    "broker.session.timeout.ms": 3_000,  # after SIGKILL a node is let in again only when its old session has ended
    "auto.create.topics.enable": "false",
    "log.cleaner.dedupe.buffer.size": 2_097_152,
}


class Broker:
    """One node that keeps its port and its data through `kill` and `start`.

    Args:
        settings: more lines of server.properties.
        users: SCRAM-SHA-512 users and their passwords, known from the start.
    """

    def __init__(self, settings: Mapping[str, object] = {}, users: Mapping[str, str] = {}) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="driftbus-kafka-"))
        self._port, controller = free_ports(2)
        self._child: Child | None = None
        self._admin: AdminClient | None = None
        self._properties = self._home / "server.properties"
        lines = {
            **_SETTINGS,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller}",
            "log.dirs": self._home / "data",
            **settings,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        shutil.copytree(_formatted_storage(users), self._home / "data")

    @property
    def bootstrap(self) -> str:
        """What clients take as bootstrap.servers."""
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self._home / "log"

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def admin(self) -> AdminClient:
        """One client for the broker's life: a temporary one would cancel its own futures."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap}, logger=_quiet())
        return self._admin

    def start(self) -> None:
        """Start, or start again on the data that is there. Returns when it answers."""
        self._child = Child(_program("kafka.Kafka", self._properties), self.log, cwd=self._home)
        self._child.wait_until(self._answers, 60.0, "Apache Kafka")

    def stop(self) -> None:
        """SIGTERM and wait: a clean shutdown."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """SIGKILL, as a crashed machine would."""
        self._running.kill()
        self._child = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, the end of `freeze`."""
        self._running.signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop and forget the data."""
        self._admin = None
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

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
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config))
        self.admin.create_topics([new])[topic].result(30)
        return topic

    def delete_topics(self, *topics: str) -> None:
        """Remove topics and their records."""
        for future in self.admin.delete_topics(list(topics)).values():
            future.result(30)

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

        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, **settings}, logger=_quiet())
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
        consumer = self._consumer(group)
        try:
            known = consumer.list_topics(topic, timeout=15).topics[topic].partitions
            found = consumer.committed([TopicPartition(topic, p) for p in sorted(known)], timeout=15)
            return {p.partition: (p.offset, p.metadata or "") for p in found if p.offset >= 0}
        finally:
            consumer.close()

    def tool(self, main_class: str, *arguments: str) -> str:
        """Output of one of Kafka's own programs, such as org.apache.kafka.tools.TopicCommand."""
        done = subprocess.run(
            _program(main_class, *arguments), capture_output=True, text=True, timeout=60, cwd=self._home
        )
        if done.returncode:
            raise RuntimeError(f"{main_class} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def _running(self) -> Child:
        assert self._child is not None, "the broker is not running"
        return self._child

    def _answers(self) -> bool:
        if not accepts(self._port):
            return False
        probe = AdminClient({"bootstrap.servers": self.bootstrap}, logger=_quiet())
        try:
            return len(probe.list_topics(timeout=2).brokers) == 1
        except KafkaException:
            return False

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
            logger=_quiet(),
        )


def _program(main_class: str, *arguments: str | Path) -> list[str | Path]:
    classes = ":".join(map(str, kafka_libraries()))
    return [java(), *_FLAGS, "-cp", classes, main_class, *arguments]


def _formatted_storage(users: Mapping[str, str]) -> Path:
    """A log directory as kafka-storage makes it, to be copied.

    Writing meta.properties by hand would leave the feature levels at 0: neither KIP-848 groups nor transactions.
    """

    def fill(folder: Path) -> None:
        properties = folder / "server.properties"
        lines = {
            **_SETTINGS,
            "controller.quorum.voters": "1@127.0.0.1:9093",
            "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
            "log.dirs": folder / "data",
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        scram = [
            word
            for name, password in sorted(users.items())
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        subprocess.run(
            _program("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", properties, *scram),
            check=True,
            capture_output=True,
            cwd=folder,
        )

    return cached("-".join([kafka_key(), "storage", *sorted(users)]), fill) / "data"


def _quiet() -> logging.Logger:
    """A logger for librdkafka, which writes to stderr without one, and a lot while the broker is down."""
    logger = logging.getLogger("harness.librdkafka")
    logger.setLevel(logging.CRITICAL)
    return logger

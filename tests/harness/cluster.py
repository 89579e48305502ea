"""A real Apache Kafka of three brokers and a controller, each in a process of its own, each behind a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from harness.clients import Kafka, quiet
from harness.kafkaserver import COMMON, KafkaServer, formatted_storage
from harness.process import free_ports, wait_for
from harness.proxy import Proxy

BROKERS = (1, 2, 3)
_CONTROLLER = 100
_LINES: Mapping[str, object] = {
    **COMMON,
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
    "min.insync.replicas": 2,
    "replica.lag.time.max.ms": 3_000,  # a broker that hangs leaves the replicas in sync as soon as a dead one
    "replica.fetch.wait.max.ms": 100,
    "replica.socket.timeout.ms": 3_000,
}


class Cluster(Kafka):
    """Three copies of each partition, two of them needed to write.

    The harness and the brokers among themselves talk directly; `outside` leads through one proxy per broker.

    Args:
        settings: more lines of server.properties of every broker.
        data: of brokers by number, an empty folder for its data instead of one of its own.
    """

    replication = len(BROKERS)

    def __init__(self, settings: Mapping[str, object] = {}, data: Mapping[int, Path] = {}) -> None:
        super().__init__()
        controller, *ports = free_ports(1 + 2 * len(BROKERS))
        voters = {"controller.quorum.voters": f"{_CONTROLLER}@127.0.0.1:{controller}"}
        self._ports = dict(zip(BROKERS, ports[: len(BROKERS)], strict=True))
        behind = dict(zip(BROKERS, ports[len(BROKERS) :], strict=True))
        self.proxies = {number: Proxy(behind[number]) for number in BROKERS}
        head = {
            **_LINES,
            **_node(_CONTROLLER),
            **voters,
            "listeners": f"CONTROLLER://127.0.0.1:{controller}",
        }
        self.controller = KafkaServer(head, _storage(_CONTROLLER), heap_mb=128)
        self.brokers = {}
        for number in BROKERS:
            inside = f"PLAINTEXT://127.0.0.1:{self._ports[number]}"
            lines = {
                **_LINES,
                **_node(number),
                **voters,
                "listeners": f"{inside},OUTSIDE://127.0.0.1:{behind[number]}",
                "advertised.listeners": f"{inside},OUTSIDE://127.0.0.1:{self.proxies[number].port}",
                "inter.broker.listener.name": "PLAINTEXT",
                **settings,
            }
            self.brokers[number] = KafkaServer(lines, _storage(number), data.get(number), heap_mb=192)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    @property
    def outside(self) -> str:
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies.values())

    def start(self) -> None:
        """Start everything. Returns when all brokers are there."""
        self.controller.launch()
        for broker in self.brokers.values():
            broker.launch()
        for proxy in self.proxies.values():
            proxy.start()
        self.wait_for_brokers()

    def restart(self, number: int) -> None:
        """Start a broker that was stopped or killed, or that ended by itself. It is not waited for."""
        self.brokers[number].launch()

    def wait_for_brokers(self, timeout_s: float = 90.0) -> None:
        """Return once every broker is alive and known."""
        wait_for(lambda: self._known() == set(BROKERS), timeout_s, "all brokers of the cluster")

    def wait_in_sync(self, *topics: str, timeout_s: float = 90.0) -> None:
        """Return once every replica of some topics is in sync, so that the next broker may go."""

        def in_sync() -> bool:
            found = self.admin.list_topics(timeout=10).topics
            partitions = [part for topic in topics for part in found[topic].partitions.values()]
            return all(len(partition.isrs) == self.replication for partition in partitions)

        wait_for(in_sync, timeout_s, "all replicas in sync")

    def leader(self, topic: str, partition: int = 0, timeout_s: float = 30.0) -> int:
        """The number of the broker that leads a partition; waits for one."""
        found: list[int] = []

        def led() -> bool:
            found[:] = [self.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader]
            return found[0] in BROKERS

        wait_for(led, timeout_s, f"a leader of {topic}-{partition}")
        return found[0]

    def coordinator(self, group: str) -> int:
        """The number of the broker that coordinates a consumer group."""
        described = self.admin.describe_consumer_groups([group])[group].result(30)
        return int(described.coordinator.id)

    def close(self) -> None:
        """Stop everything and forget the data."""
        self._admin = None
        for proxy in self.proxies.values():
            proxy.close()
        for server in (*self.brokers.values(), self.controller):
            if server.alive:
                server.kill()  # a clean shutdown waits for others that are gone
            server.close()

    def _known(self) -> set[int]:
        probe = AdminClient({"bootstrap.servers": self.bootstrap}, logger=quiet())
        try:
            return set(probe.list_topics(timeout=2).brokers)
        except KafkaException:
            return set()


def _node(number: int) -> dict[str, object]:
    return {"node.id": number, "process.roles": "controller" if number == _CONTROLLER else "broker"}


def _storage(number: int) -> Path:
    listeners = "CONTROLLER://127.0.0.1:9093" if number == _CONTROLLER else "PLAINTEXT://127.0.0.1:9092"
    voters = {"controller.quorum.voters": f"{_CONTROLLER}@127.0.0.1:9093", "listeners": listeners}
    inside = {} if number == _CONTROLLER else {"inter.broker.listener.name": "PLAINTEXT"}
    return formatted_storage(f"storage-node-{number}", {**_LINES, **_node(number), **voters, **inside})

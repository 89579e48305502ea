"""A real Apache Kafka: one KRaft node, started in about two seconds."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from harness.clients import Kafka, quiet
from harness.kafkaserver import COMMON, KafkaServer, formatted_storage, kafka_program
from harness.process import accepts, free_ports

_SETTINGS: Mapping[str, object] = {
    **COMMON,
    "process.roles": "broker,controller",
    "node.id": 1,
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
}


class Broker(Kafka):
    """One node that keeps its port and its data through `kill` and `start`.

    Args:
        settings: more lines of server.properties.
        users: SCRAM-SHA-512 users and their passwords, known from the start.
        data: an empty folder for its data, or None for one of its own.
        flags: more of Java's.
    """

    def __init__(
        self,
        settings: Mapping[str, object] = {},
        users: Mapping[str, str] = {},
        data: Path | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._port, controller = free_ports(2)
        lines = {
            **_SETTINGS,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller}",
            **settings,
        }
        self._server = KafkaServer(lines, _storage(users), data, flags=flags)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self._server.log

    @property
    def pid(self) -> int:
        return self._server.child.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._server.alive

    def start(self) -> None:
        """Start, or start again on the data that is there. Returns when it answers."""
        self._server.launch().wait_until(self._answers, 60.0, "Apache Kafka")

    def stop(self) -> None:
        """SIGTERM and wait: a clean shutdown."""
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL, as a crashed machine would."""
        self._server.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._server.freeze()

    def thaw(self) -> None:
        """SIGCONT, the end of `freeze`."""
        self._server.thaw()

    def close(self) -> None:
        """Stop and forget the data."""
        self._admin = None
        self._server.close()

    def script(self, main_class: str) -> str:
        """A shell script that runs one of Kafka's own programs, as kafka-topics.sh does."""
        return f'#!/bin/sh\nexec {shlex.join(map(str, kafka_program(main_class)))} "$@"\n'

    def tool(self, main_class: str, *arguments: str) -> str:
        """Output of one of Kafka's own programs, such as org.apache.kafka.tools.TopicCommand."""
        done = subprocess.run(
            kafka_program(main_class, *arguments), capture_output=True, text=True, timeout=60, cwd=self._server.home
        )
        if done.returncode:
            raise RuntimeError(f"{main_class} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _answers(self) -> bool:
        if not accepts(self._port):
            return False
        probe = AdminClient({"bootstrap.servers": self.bootstrap}, logger=quiet())
        try:
            return len(probe.list_topics(timeout=2).brokers) == 1
        except KafkaException:
            return False


def _storage(users: Mapping[str, str]) -> Path:
    lines = {
        **_SETTINGS,
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    }
    scram = [
        word
        for name, password in sorted(users.items())
        for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
    ]
    return formatted_storage("-".join(["storage", *sorted(users)]), lines, scram)

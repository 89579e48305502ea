"""One process of Apache Kafka: a broker, a controller, or both."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.cache import cached
from harness.java import java, kafka_key, kafka_libraries
from harness.process import Child

CLUSTER_ID = "ZHJpZnRidXMtdGVzdHMtMQ"
COMMON: Mapping[str, object] = {
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.num.partitions": 1,
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
"""Lines of server.properties that every node has: small, and quick to notice what is gone."""

_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.disable.jmx=true")


class KafkaServer:
    """A process that keeps its data through `kill` and `start`.

    Args:
        lines: its server.properties, without log.dirs.
        storage: formatted storage, to be copied.
        data: an empty folder for it, or None for one of its own.
        heap_mb: of Java's memory.
        flags: more of Java's.
    """

    def __init__(
        self,
        lines: Mapping[str, object],
        storage: Path,
        data: Path | None = None,
        heap_mb: int = 256,
        flags: Sequence[str] = (),
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="driftbus-kafka-"))
        self._child: Child | None = None
        self._heap_mb, self._flags = heap_mb, flags
        self._properties = self.home / "server.properties"
        data = data or self.home / "data"
        self._properties.write_text(_as_lines({**lines, "log.dirs": data}))
        shutil.copytree(storage, data, dirs_exist_ok=True)

    @property
    def log(self) -> Path:
        """What it has said."""
        return self.home / "log"

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "the broker is not running"
        return self._child

    @property
    def alive(self) -> bool:
        """Whether its process runs; frozen ones do."""
        return self._child is not None and self._child.returncode is None

    def launch(self) -> Child:
        """Start, or start again on the data that is there. It is not waited for."""
        command = kafka_program("kafka.Kafka", self._properties, heap_mb=self._heap_mb, flags=self._flags)
        self._child = Child(command, self.log, cwd=self.home)
        return self._child

    def stop(self) -> None:
        """SIGTERM and wait: a clean shutdown."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """SIGKILL, as a crashed machine would."""
        self.child.kill()
        self._child = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, the end of `freeze`."""
        self.child.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and forget the data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def kafka_program(
    main_class: str, *arguments: str | Path, heap_mb: int = 256, flags: Sequence[str] = ()
) -> list[str | Path]:
    """The command of one of Kafka's own programs."""
    classes = ":".join(map(str, kafka_libraries()))
    return [java(), f"-Xmx{heap_mb}m", *_FLAGS, *flags, "-cp", classes, main_class, *arguments]


def formatted_storage(name: str, lines: Mapping[str, object], options: Sequence[str] = ()) -> Path:
    """A log directory as kafka-storage makes it, to be copied.

    Writing meta.properties by hand would leave the feature levels at 0: neither KIP-848 groups nor transactions.

    Args:
        name: what distinguishes it from others of the same Kafka.
        lines: server.properties; ports don't matter.
        options: more arguments of kafka-storage.
    """

    def fill(folder: Path) -> None:
        properties = folder / "server.properties"
        properties.write_text(_as_lines({**lines, "log.dirs": folder / "data"}))
        command = kafka_program("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties, *options)
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    return cached(f"{kafka_key()}-{name}", fill) / "data"


def _as_lines(values: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())

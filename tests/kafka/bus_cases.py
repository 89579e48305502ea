"""What the tests of the transport share: a producer that knows what it sent, and workers to start and kill."""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from harness.broker import Broker
from harness.process import Child, wait_for

WORKER = Path(__file__).with_name("bus_worker.py")
PARTITIONS = 4


class Case:
    """One topic, one group, and what the group should have counted in the end."""

    def __init__(self, broker: Broker, folder: Path, kafka: Mapping[str, Any], *, bootstrap: str = "") -> None:
        self.broker, self.folder = broker, folder
        self.group = f"bus-{uuid.uuid4().hex[:8]}"
        self.topic = broker.create_topic("bus", PARTITIONS)
        self.kafka = {"bootstrap": bootstrap or broker.bootstrap, **kafka}
        self.expected = {p: [0, 0] for p in range(PARTITIONS)}
        self.workers: list[Worker] = []

    def worker(self, **settings: Any) -> Worker:
        """Start a worker; see bus_worker.py for its settings."""
        config = {"group": self.group, "topics": [self.topic], "kafka": self.kafka, **settings}
        worker = Worker(config, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def load(self, records: int, rate: int = 0) -> None:
        """Produce numbered records, `rate` a second (0: as fast as it goes)."""
        settings = {"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True, "log_level": 2}
        producer = Producer(settings)
        start = time.monotonic()
        for i in range(records):
            value = struct.pack("<q", i) + b"x" * 90
            while True:
                try:
                    producer.produce(self.topic, value, partition=i % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.05)
            self.expected[i % PARTITIONS][0] += 1
            self.expected[i % PARTITIONS][1] += i
            if i % 100 == 0:
                producer.poll(0)
                while rate and i > (time.monotonic() - start) * rate:
                    producer.poll(0.005)
        assert producer.flush(60) == 0

    def load_slowly(self, records: int, rate: int) -> threading.Thread:
        """`load` in the background."""
        thread = threading.Thread(target=self.load, args=(records, rate), daemon=True)
        thread.start()
        return thread

    def exact(self) -> bool:
        """Whether every record has been counted exactly once, and that is committed."""
        wanted = {p: (n, f"{n}|{total}") for p, (n, total) in self.expected.items() if n}
        return self.broker.committed(self.group, self.topic) == wanted

    def wait_exact(self, timeout_s: float = 25) -> None:
        try:
            wait_for(self.exact, timeout_s, "the exact result")
        except AssertionError:
            logs = "\n".join(f"--- {w.child.log.name}\n{w.child.tail(30)}" for w in self.workers)
            committed = self.broker.committed(self.group, self.topic)
            raise AssertionError(f"expected {self.expected}, committed {committed}\n{logs}") from None

    def close(self) -> None:
        for worker in self.workers:
            worker.child.kill()


class Worker:
    """A worker process and what it has said."""

    def __init__(self, config: dict[str, Any], log: Path) -> None:
        self.child = Child([sys.executable, WORKER, json.dumps(config)], log)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.child.log.read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in said if line["event"] == name]

    def wait(self, name: str, times: int = 1, timeout_s: float = 25) -> None:
        """Return once it has said `name` so many times."""
        wait_for(
            lambda: len(self.events(name)) >= times or self.child.returncode is not None,
            timeout_s,
            f"{name!r} of a worker",
        )
        assert len(self.events(name)) >= times, f"it ended:\n{self.child.tail(30)}"

    def stop(self, timeout_s: float = 25) -> int:
        """SIGTERM; the exit code."""
        return self.child.stop(timeout_s)

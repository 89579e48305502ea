"""librdkafka's own imitation of a cluster, in a process of its own: no Java, no disk, instant.

Every topic has 4 partitions, nothing can be created or compacted: good for quick tests, not for promises.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from confluent_kafka import Producer

from harness.process import Child


class MockCluster:
    """A running imitation; `bootstrap` is its address."""

    def __init__(self) -> None:
        self._log = Path(tempfile.mkdtemp(prefix="driftbus-mock-")) / "log"
        self._child = Child(
            [sys.executable, __file__], self._log, environment={"PYTHONPATH": str(Path(__file__).parents[1])}
        )
        self._child.wait_until(lambda: self._log.read_text().endswith("\n"), 15.0, "librdkafka's mock cluster")
        self.bootstrap = self._log.read_text().strip()

    def close(self) -> None:
        """Stop it; everything it held is gone."""
        self._child.kill()
        self._log.unlink()
        self._log.parent.rmdir()


def _serve() -> None:
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    brokers = producer.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    while True:
        producer.poll(1.0)


if __name__ == "__main__":
    _serve()

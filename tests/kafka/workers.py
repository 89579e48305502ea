"""What every test of workers on Kafka needs: to start one, to read what they published, and what it must be."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np

from driftbus.schemas.codec import decode_event
from driftbus.schemas.config import Config
from driftbus.schemas.contracts import contract
from driftbus.schemas.decode.batch import BatchDecoder, no_headers
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.events import Published
from driftbus.stream.driver import Driver
from driftbus.stream.plan import Plans
from harness.clients import Kafka
from harness.nursery import Fork, Nursery
from harness.process import Child, free_ports, wait_for

WORKER = [sys.executable, "-m", "driftbus", "run", "-c"]
ROLES = ("summaries", "drift", "incidents", "performance", "retrain", "state", "profiles", "deadletter")
"""Topics of driftbus's own, as driftbus.yaml names them."""

_BATCH = 1_000


@dataclass
class Worker:
    """`driftbus run` in a process of its own."""

    child: Child | Fork
    port: int

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def said(self) -> dict[str, Any]:
        """What /readyz tells."""
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).json()
        return found

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        wait_for(lambda: self.ready() or self.child.returncode is not None, timeout_s, "driftbus run")
        assert self.child.returncode is None, self.child.tail()

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text


def start_worker(
    folder: Path,
    document: Mapping[str, Any],
    number: int,
    nursery: Nursery | None = None,
    environment: Mapping[str, str] = {},
) -> Worker:
    """`driftbus run` on a configuration, with a metrics port of its own; it is not waited for.

    Args:
        folder: for its files.
        document: driftbus.yaml.
        number: of the worker.
        nursery: forks it, without an environment of its own.
        environment: added to this process's.
    """
    (port,) = free_ports(1)
    path = folder / f"worker-{number}.yaml"
    path.write_text(json.dumps({**document, "run": {**document["run"], "metrics_port": port}}))  # JSON is YAML
    log = folder / f"worker-{number}.log"
    if nursery is not None and not environment:
        return Worker(nursery.start(["run", "-c", path], log), port)
    return Worker(Child([*WORKER, path], log, environment=environment), port)


def event_of(value: bytes) -> Published:
    """An event in either framing; its registry id is that of the schema in the package."""
    if value[:1] != b"\0":
        return decode_event(value)
    for kind in get_args(Published):
        try:
            return decode_event(value, contract(kind.__name__))
        except DecodeError:
            continue
    raise AssertionError("none of our events")


def published(kafka: Kafka, config: Config) -> dict[str, Published]:
    """By id, what stands on the topics of results; the same id must always come with the same bytes."""
    found: dict[str, bytes] = {}
    for topic in (config.topics.drift, config.topics.incidents, config.topics.performance, config.topics.retrain):
        for message in kafka.read(topic):
            value = message.value() or b""
            assert found.setdefault(event_of(value).id, value) == value, "one id, two events"
    return {name: event_of(value) for name, value in found.items()}


def driven(plans: Plans, topic: str, decoder: BatchDecoder, logs: Sequence[Sequence[bytes]]) -> dict[str, Published]:
    """By id, what both stages decide from the partitions of a topic, without Kafka."""
    driver, decided = Driver(plans), []
    for partition, log in enumerate(logs):
        for at in range(0, len(log), _BATCH):
            values = log[at : at + _BATCH]
            decoded = decoder.decode(values, no_headers)
            offsets, never = np.arange(at, at + len(values)), np.full(len(values), -1, np.int64)
            decided += driver.feed(topic, partition, decoded.block, offsets, never, decoded.good).decided
    return {event.id: event for event in decided}

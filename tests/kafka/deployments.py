"""A small deployment for tests on Kafka: two monitors on one topic, workers to start and kill, and an oracle."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.codec import decode_event
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.registry import open_resolver
from driftbus.stream.driver import Driver
from driftbus.stream.judge import Decided
from driftbus.stream.plan import build_plans
from driftbus.stream.topics import admin_client, create_topics
from driftbus.stream.training import save_profile
from harness.broker import Broker
from harness.process import Child

SCHEMA = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "ts", "type": "long"},
        {"name": "income", "type": ["null", "double"]},
        {"name": "age", "type": "double"},
        {"name": "region", "type": "string"},
    ],
}
START_MS = 1_760_000_000_000
STEP_MS = 100
PANE_MS = 10_000
END_MS = START_MS + 40_000_000
PARTITIONS = 4


@dataclass
class Deployment:
    """Topics, configuration and workers of one test."""

    broker: Broker
    folder: Path
    config: Config
    workers: list[Child]

    @classmethod
    def make(cls, broker: Broker, folder: Path, **overrides: Any) -> Deployment:
        """Topics and a configuration of its own; `overrides` are whole keys of driftbus.yaml."""
        topic = broker.create_topic("predictions", PARTITIONS)
        (folder / "scored.avsc").write_text(json.dumps(SCHEMA))
        monitors = {}
        for name in ("credit", "fraud"):
            save_profile(reference(name), folder / f"{name}.json")
            monitors[name] = {
                "predictions": {"topic": topic, "time": "ts", "schema_file": str(folder / "scored.avsc")},
                "profile": str(folder / f"{name}.json"),
            }
        names = {
            role: f"{role}-{topic}" for role in ("summaries", "drift", "retrain", "state", "profiles", "deadletter")
        }
        values = {
            "app": f"app-{topic}",
            "kafka": {"bootstrap": broker.bootstrap, "session_timeout": "6s"},
            "monitors": monitors,
            "topics": {**names, "summaries_partitions": 2},
            "limits": {"lateness": "30s", "range_records": 5_000},
            "run": {
                "metrics_port": 0,
                "snapshot_every": "2s",
                "preview_every": "2s",
                "seal_after": "0s",
                "log": "json",
            },
        }
        values.update(overrides)
        config = Config.model_validate(values)
        (folder / "driftbus.yaml").write_text(json.dumps(values))
        create_topics(admin_client(config.kafka), config)
        return cls(broker, folder, config, [])

    @property
    def topic(self) -> str:
        stream = self.config.monitors["credit"].predictions
        assert stream is not None
        return stream.topic

    def worker(self) -> Child:
        """Start `driftbus run`."""
        entry = "from driftbus.stream.cli.main import main; main()"
        command = [sys.executable, "-c", entry, "run", "-c", self.folder / "driftbus.yaml"]
        child = Child(command, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(child)
        return child

    def events(self) -> dict[str, Decided]:
        """What was published so far, by id; the same id must always come with the same bytes."""
        found: dict[str, bytes] = {}
        for topic in (self.config.topics.drift, self.config.topics.retrain):
            for message in self.broker.read(topic):
                value = message.value() or b""
                event = decode_event(value)
                assert found.setdefault(event.id, value) == value
        return {name: decode_event(value) for name, value in found.items()}

    def committed(self) -> dict[int, tuple[int, str]]:
        return self.broker.committed(self.config.app, self.topic)

    def said(self) -> str:
        """The ends of all workers' logs."""
        return "\n".join(f"--- {worker.log.name}\n{worker.tail(25)}" for worker in self.workers)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


def reference(monitor: str) -> Profile:
    """What the stream looks like before it drifts."""
    rng = np.random.default_rng(1)
    regions = np.array(["north", "south", "west"], object)[rng.integers(0, 3, 20_000)]
    columns: Mapping[str, NumericData | CategoryData] = {
        "income": NumericData(rng.lognormal(10, 0.5, 20_000), np.ones(20_000, np.bool_)),
        "age": NumericData(rng.normal(40, 10, 20_000), np.ones(20_000, np.bool_)),
        "region": CategoryData(list(regions)),
    }
    return build_profile(monitor, "predictions", columns)


def stream(rows: int, drift_from: int, seed: int = 2) -> list[list[bytes]]:
    """Values per partition: `rows` records with a drift of income, then two far ahead that close every range."""
    rng = np.random.default_rng(seed)
    incomes, ages = rng.lognormal(10, 0.5, rows), rng.normal(40, 10, rows)
    incomes[drift_from:] *= 1.6
    regions = np.array(["north", "south", "west"])[rng.integers(0, 3, rows)]
    parsed = fastavro.parse_schema(SCHEMA)
    partitions: list[list[bytes]] = [[] for _ in range(PARTITIONS)]

    def put(partition: int, ts: int, i: int) -> None:
        out = io.BytesIO()
        record = {"ts": ts, "income": float(incomes[i]), "age": float(ages[i]), "region": str(regions[i])}
        fastavro.schemaless_writer(out, parsed, record)
        partitions[partition].append(out.getvalue())

    for i in range(rows):
        put(i % PARTITIONS, START_MS + i * STEP_MS, i)
    for partition in range(PARTITIONS):
        put(partition, END_MS, 0)
        put(partition, END_MS + 20 * PANE_MS, 0)
    return partitions


def records(partitions: list[list[bytes]]) -> list[dict[str, Any]]:
    """The same as arguments of produce, in order of time."""
    longest = max(map(len, partitions))
    return [
        {"value": values[i], "partition": p}
        for i in range(longest)
        for p, values in enumerate(partitions)
        if i < len(values)
    ]


def oracle(deployment: Deployment, partitions: list[list[bytes]]) -> dict[str, Decided]:
    """What the two stages decide from these logs, driven synchronously, by id."""
    config = deployment.config
    profiles = {(name, "predictions"): reference(name) for name in config.monitors}
    plans = build_plans(config, profiles, {deployment.topic: PARTITIONS})
    plan = plans.topics[deployment.topic]
    first = config.monitors["credit"].predictions
    assert first is not None
    decoder = BatchDecoder(plan.projection, open_resolver(first, None))
    driver = Driver(plans)
    decided: list[Decided] = []
    for partition, values in enumerate(partitions):
        decoded = decoder.decode(values)
        n = len(values)
        step = driver.feed(
            deployment.topic, partition, decoded.block, np.arange(n), np.full(n, -1, np.int64), decoded.good
        )
        decided += step.decided
    return {event.id: event for event in decided}

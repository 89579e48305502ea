"""A small deployment for tests on Kafka: two monitors on one topic, workers to start and kill, and an oracle."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import fastavro
import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.avscfiles import AvscFiles
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.stream.files.training import save_profile
from driftbus.stream.judge import Decided
from driftbus.stream.plan import build_plans
from driftbus.stream.worker.topics import admin_client, create_topics
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import Child, Process

from .workers import ROLES, WORKER, driven, published

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
    workers: list[Process]
    values: dict[str, Any]
    nursery: Nursery | None = None

    @classmethod
    def make(
        cls,
        broker: Broker,
        folder: Path,
        *,
        kafka_options: Mapping[str, Any] = MappingProxyType({}),
        schema_files: bool = True,
        seal_after: str = "0s",
        learn: Mapping[str, Any] = MappingProxyType({}),
        nursery: Nursery | None = None,
        **overrides: Any,
    ) -> Deployment:
        """Topics and a configuration of its own; `overrides` are whole keys of driftbus.yaml."""
        topic = broker.create_topic("predictions", PARTITIONS)
        (folder / "scored.avsc").write_text(json.dumps(SCHEMA))
        monitors = {}
        for name in ("credit", "fraud"):
            save_profile(reference(name), folder / f"{name}.json")
            source = {"topic": topic, "time": "ts"}
            if schema_files:
                source["schema_file"] = str(folder / "scored.avsc")
            known = {"learn": dict(learn)} if learn else {"profile": str(folder / f"{name}.json")}
            monitors[name] = {"predictions": source, **known}
        run = {"snapshot_every": "2s", "preview_every": "2s", "seal_after": seal_after}
        values = {
            "app": f"app-{topic}",
            "kafka": {"bootstrap": broker.outside, "session_timeout": "6s", **kafka_options},
            "monitors": monitors,
            "topics": {role: f"{role}-{topic}" for role in ROLES} | {"summaries_partitions": 2},
            "limits": {"lateness": "30s", "range_records": 5_000},
            "run": run | {"metrics_port": 0, "log": "json"},
            **overrides,
        }
        made = cls(broker, folder, Config.model_validate(values), [], values, nursery)
        made.configure()
        create_topics(admin_client(made.config.kafka), made.config)
        return made

    def configure(self, **changes: Any) -> None:
        """Write driftbus.yaml, with whole keys of it changed, for workers started from now on."""
        self.values.update(changes)
        (self.folder / "driftbus.yaml").write_text(json.dumps(self.values))

    def wait_said(self, worker: Process, words: str, times: int = 1, timeout_s: float = 120) -> None:
        """Return once a worker's log has said some words so many times."""
        try:
            worker.wait_until(lambda: worker.log.read_text().count(words) >= times, timeout_s, f"a worker ({words!r})")
        except RuntimeError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def get(self, worker: Process, path: str) -> tuple[int, str]:
        """Status and body of a worker's own HTTP endpoint."""
        self.wait_said(worker, "metrics and health on ")
        said = worker.log.read_text().split("metrics and health on ", 1)[1].split('"', 1)[0]
        try:
            with urllib.request.urlopen(said + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def topic(self) -> str:
        stream = self.config.monitors["credit"].predictions
        assert stream is not None
        return stream.topic

    def worker(self) -> Process:
        """Start `driftbus run`; forked, if there is a nursery, which saves seconds."""
        path, log = self.folder / "driftbus.yaml", self.folder / f"worker-{len(self.workers)}.log"
        worker = Child([*WORKER, path], log) if self.nursery is None else self.nursery.start(["run", "-c", path], log)
        self.workers.append(worker)
        return worker

    def events(self) -> dict[str, Decided]:
        """What was published so far, by id; the same id must always come with the same bytes."""
        return published(self.broker, self.config)

    def committed(self) -> dict[int, tuple[int, str]]:
        return self.broker.committed(self.config.app, self.topic)

    def snapshots(self) -> set[str]:
        """Monitors that have a snapshot."""
        keys = [message.key() or b"" for message in self.broker.read(self.config.topics.state)]
        return {key.decode().split("/")[1] for key in keys}

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
    decoder = BatchDecoder(plan.projection, AvscFiles(deployment.folder / "scored.avsc"))
    return driven(plans, deployment.topic, decoder, partitions)

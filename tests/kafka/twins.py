"""The same events on topics with other numbers of partitions: predictions and their labels, with everything in them.

Incomes drift, a country goes missing, labels turn against the scores; so that drift events, incidents, performance
reports and retrain triggers come out.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.config import Config
from driftbus.schemas.partitioning import partitions_of_keys
from driftbus.stream.cli.main import run
from driftbus.stream.explain.published import Event, read_published
from driftbus.stream.replay.canonical import canonical_lines
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.publish import topics_of
from driftbus.stream.worker.topics import create_topics
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .workers import ROLES, Worker, start_worker

MONITOR = "credit"
START_MS = time.time_ns() // 1_000_000 // 3_600_000 * 3_600_000 - 7_200_000
"""Long enough ago that nobody's wait is still running, recent enough that the broker does not delete it as too old."""
STEP_MS = 100
_SCORED = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "country", "type": ["null", "string"]},
        {"name": "income", "type": "double"},
        {"name": "score", "type": "double"},
    ],
}
_OUTCOME = {
    "type": "record",
    "name": "Outcome",
    "fields": [{"name": "id", "type": "string"}, {"name": "defaulted", "type": "string"}],
}
_PARSED = {"predictions": fastavro.parse_schema(_SCORED), "labels": fastavro.parse_schema(_OUTCOME)}

Record = dict[str, Any]
"""Arguments of `Broker.produce`."""


def events_of(count: int, seed: int = 3, *, labelled: bool = True) -> dict[str, list[Record]]:
    """Stream → its records in order of time; the second half drifts."""
    rng = np.random.default_rng(seed)
    drifted = np.arange(count) >= count // 2
    income = rng.lognormal(10, 0.5, count) * np.where(drifted, 1.6, 1.0)
    score, chance = rng.beta(2, 5, count), rng.random(count)
    missing = rng.random(count) < np.where(drifted, 0.3, 0.01)
    country = rng.choice(["PT", "ES", "FR"], count, p=[0.5, 0.3, 0.2])
    delay = rng.integers(1_000, 15_000, count)
    predictions, labels = [], []
    for i in range(count):
        at = START_MS + i * STEP_MS
        value = {
            "ts": at,
            "id": f"r{i}",
            "version": str(1 + i % 2),
            "country": None if missing[i] else str(country[i]),
            "income": float(income[i]),
            "score": float(score[i]),
        }
        predictions.append(_record("predictions", value, at))
        if labelled:
            said = (chance[i] < score[i]) ^ bool(drifted[i])
            labels.append(_record("labels", {"id": value["id"], "defaulted": str(int(said))}, at + int(delay[i])))
    labels.sort(key=lambda record: record["timestamp"])
    return {"predictions": predictions} | ({"labels": labels} if labelled else {})


def _record(stream: str, value: Mapping[str, Any], at_ms: int) -> Record:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED[stream], value)
    return {"key": value["id"].encode(), "value": out.getvalue(), "timestamp": at_ms}


@dataclass
class Twin:
    """Topics with so many partitions, and a configuration of them.

    Args:
        kafka: the broker.
        folder: for files of this test.
        partitions: of each source topic.
        streams: stream → its records.
        changes: to the configuration, section by section.
        monitor: changes to the monitor.
        nursery: forks workers, which saves seconds each; None: every worker is a program started anew.
    """

    kafka: Broker
    folder: Path
    partitions: int
    streams: Mapping[str, Sequence[Record]]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    monitor: Mapping[str, Any] = field(default_factory=dict)
    nursery: Nursery | None = None

    def __post_init__(self) -> None:
        self.topics = {stream: self.kafka.create_topic(stream, self.partitions) for stream in self.streams}
        self.workers: list[Worker] = []
        (self.folder / "predictions.avsc").write_text(json.dumps(_SCORED))
        (self.folder / "labels.avsc").write_text(json.dumps(_OUTCOME))
        for stream, records in self.streams.items():
            self.produce(stream, records)

    def produce(self, stream: str, records: Sequence[Record]) -> None:
        """Each record into the partition that a producer gives its key."""
        places = partitions_of_keys("crc32", [record["key"] for record in records], self.partitions).tolist()
        placed = [r | {"partition": p} for r, p in zip(records, places, strict=True)]
        # without it a retry on a new topic changes the order, and what comes late is another thing in each partition
        self.kafka.produce(self.topics[stream], placed, {"enable.idempotence": True})

    def document(self, app: str) -> dict[str, Any]:
        """driftbus.yaml of one deployment on these topics."""
        predictions = {
            "topic": self.topics["predictions"],
            "schema_file": str(self.folder / "predictions.avsc"),
            "time": "ts",
            "id": "id",
            "score": "score",
            "version": "version",
        }
        labels = {
            "topic": self.topics.get("labels", ""),
            "schema_file": str(self.folder / "labels.avsc"),
            "id": "id",
            "label": "defaulted",
        }
        outcomes = {
            "labels": labels,
            "join": {"horizon": "4m", "wait": "10s", "grace": "2s"},
            "performance": {"cohort": "30s", "min_labels": 50},
            "comparisons": [{"champion": "1", "challenger": "2", "margin": 0.1}],
        }
        document: dict[str, Any] = {
            "app": app,
            "kafka": {"bootstrap": self.kafka.bootstrap, "session_timeout": "6s"},
            "monitors": {
                MONITOR: {
                    "predictions": predictions,
                    **(outcomes if "labels" in self.topics else {}),
                    "segments": ["country"],
                    "detection": {"events_per_second": 10},
                    "retrain": {"any": [{"drift": {"columns": 1, "severity": "moderate"}}]},
                    **self.monitor,
                }
            },
            "topics": {role: f"{app}.{role}" for role in ROLES} | {"summaries_partitions": 2},
            "limits": {"pane": "1s", "lateness": "2s"},
            "run": {
                "seal_after": "2s",
                "preview_every": "500ms",
                "snapshot_every": "1s",
                "commit_every": "200ms",
                "log": "json",
                "store": str(self.folder / app),
            },
        }
        for section, values in self.changes.items():
            document[section] = {**document.get(section, {}), **values}
        return document

    def install(self, app: str) -> Path:
        """Make the deployment's own topics and profiles; its configuration."""
        config = Config.model_validate(self.document(app))
        create_topics(self.kafka.admin, config)
        rng = np.random.default_rng(1)
        columns: dict[str, NumericData | CategoryData] = {
            "income": NumericData(rng.lognormal(10, 0.5, 4_000)),
            "score": NumericData(rng.beta(2, 5, 4_000), role="score"),
            "country": CategoryData(list(rng.choice(["PT", "ES", "FR"], 4_000, p=[0.5, 0.3, 0.2]))),
        }
        publish_profile(config.kafka, config.topics.profiles, build_profile(MONITOR, "predictions", columns))
        if "labels" in self.topics:
            said = CategoryData(["0"] * 2_857 + ["1"] * 1_143, role="label")
            labels = build_profile(MONITOR, "labels", {"defaulted": said})
            publish_profile(config.kafka, config.topics.profiles, labels)
        path = self.folder / f"{app}.yaml"
        path.write_text(json.dumps(self.document(app)))  # JSON is YAML
        return path

    def config(self, app: str) -> Config:
        return Config.model_validate(self.document(app))

    def replayed(self, app: str, *arguments: str) -> list[str]:
        """What `driftbus replay` writes."""
        out = self.folder / f"{app}.jsonl"
        assert run(["replay", "-c", str(self.folder / f"{app}.yaml"), "--out", str(out), *arguments]) == 0
        return out.read_text(encoding="utf-8").splitlines()

    def start(self, app: str) -> Worker:
        """One more worker of a deployment; it is not waited for."""
        worker = start_worker(self.folder, self.document(app), len(self.workers), self.nursery)
        self.workers.append(worker)
        return worker

    def published(self, app: str) -> list[Event]:
        config = self.config(app)
        return read_published(config, topics_of(config).values()).events

    def settle(self, app: str, wanted: Sequence[str], timeout_s: float = 240.0) -> list[str]:
        """Wait until so many events are there, and stop the workers; the events in canonical order."""

        def done() -> bool:
            dead = [w.child.tail() for w in self.workers if w.child.returncode not in (None, 0)]
            assert not dead, dead[0]
            return len({event["id"] for event in self.published(app)}) >= len(wanted)

        try:
            wait_for(done, timeout_s, "all events")
        except AssertionError as error:
            ids = {event["id"] for event in self.published(app)}
            missing = [line[:200] for line in wanted if json.loads(line)["id"] not in ids]
            said = "\n".join(worker.child.tail(30) for worker in self.workers)
            raise AssertionError(f"{error}: missing {missing[:5]}\n{said}") from None
        for worker in self.workers:
            assert worker.child.stop() == 0, worker.child.tail()
        self.workers.clear()
        return canonical_lines(self.published(app))

    def close(self) -> None:
        for worker in self.workers:
            worker.child.kill()


def without_ranges(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Events without the source offsets that they rest on."""
    events = [json.loads(line) for line in lines]
    for event in events:
        event.pop("evidence", None)
    return events

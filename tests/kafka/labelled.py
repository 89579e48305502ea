"""A model with predictions and labels on a real Kafka, workers to start and kill, and what the logs must lead to."""

from __future__ import annotations

import io
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Message

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.avscfiles import AvscFiles
from driftbus.schemas.codec import decode_message, encode_part
from driftbus.schemas.config import Config, KafkaConfig
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.events import SummaryPart
from driftbus.schemas.partitioning import Partitioner, partitions_of_keys
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.rows import NEVER
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.summarise import ShardPart
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.topics import create_topics
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import Process, wait_for

from .workers import start_worker

MONITOR = "credit"
PARTITIONS = 4
START_MS = time.time_ns() // 1_000_000 // 3_600_000 * 3_600_000 - 7_200_000
"""Long enough ago that nobody's wait is still running, recent enough that the broker does not delete it as too old."""
PREDICTION: dict[str, Any] = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "country", "type": "string"},
        {"name": "score", "type": "double"},
    ],
}
LABEL: dict[str, Any] = {
    "type": "record",
    "name": "Outcome",
    "fields": [{"name": "id", "type": "string"}, {"name": "defaulted", "type": "string"}],
}
Range = tuple[int, int]
"""(partition, first offset)."""

Record = dict[str, Any]
"""Arguments of `Broker.produce`."""

_SCORED, _OUTCOME = fastavro.parse_schema(PREDICTION), fastavro.parse_schema(LABEL)


def _encoded(schema: Any, record: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def prediction(number: int, at_ms: int, seed: int = 0, name: str = "app") -> Record:
    """The prediction of an id, which says when it was appended."""
    rng = np.random.default_rng([seed, number])
    value = {
        "id": f"{name}-{number}",
        "version": str(1 + number % 2),
        "country": ("PT", "ES")[number % 3 == 0],
        "score": float(rng.beta(2, 5)),
    }
    return {"key": value["id"].encode(), "value": _encoded(_SCORED, value), "timestamp": at_ms}


def label(number: int, at_ms: int, said: str, name: str = "app") -> Record:
    """What became of an id."""
    value = {"id": f"{name}-{number}", "defaulted": said}
    return {"key": value["id"].encode(), "value": _encoded(_OUTCOME, value), "timestamp": at_ms}


def spread(records: Sequence[Record], partitioner: Partitioner = "crc32", partitions: int = PARTITIONS) -> list[Record]:
    """The same records, each in the partition that a producer gives its key."""
    places = partitions_of_keys(partitioner, [record["key"] for record in records], partitions).tolist()
    return [record | {"partition": place} for record, place in zip(records, places, strict=True)]


@dataclass
class Labelled:
    """Topics, a configuration and workers of one test.

    Args:
        kafka: the broker.
        overrides: changes to the configuration, section by section.
        monitor: changes to the monitor.
        labels: changes to its labels.
        label_partitions: of the label topic.
        nursery: forks workers, which saves seconds each; None: every worker is a program started anew.
    """

    kafka: Broker
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    monitor: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    label_partitions: int = PARTITIONS
    nursery: Nursery | None = None

    def __post_init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="driftbus-labelled-"))
        self.predicted = self.kafka.create_topic("predictions", PARTITIONS)
        made = self.labels.get("topic")  # a copy, which `create_topics` makes
        self.labelled = made or self.kafka.create_topic("labels", self.label_partitions)
        (self.home / "scored.avsc").write_text(json.dumps(PREDICTION))
        (self.home / "outcome.avsc").write_text(json.dumps(LABEL))
        rng = np.random.default_rng(1)
        columns: dict[str, NumericData | CategoryData] = {
            "score": NumericData(rng.beta(2, 5, 2_000), role="score"),
            "country": CategoryData(["PT", "ES", "PT", "PT"] * 500),
        }
        said = CategoryData(["0"] * 1_500 + ["1"] * 500, role="label")
        self.profiles = [
            build_profile(MONITOR, "predictions", columns),
            build_profile(MONITOR, "labels", {"defaulted": said}),
        ]
        self.config = Config.model_validate(self.document())
        admin = self.kafka.admin
        wait_for(lambda: self.predicted in admin.list_topics(timeout=10).topics, 15, "the new topics to be seen")
        create_topics(admin, self.config)
        for profile in self.profiles:
            publish_profile(KafkaConfig(bootstrap=self.kafka.bootstrap), self.config.topics.profiles, profile)
        self.workers: list[Process] = []
        self._ports: dict[int, int] = {}

    def document(self) -> dict[str, Any]:
        """driftbus.yaml."""
        tag = self.predicted
        roles = (
            "summaries", "drift", "incidents", "performance", "retrain", "state", "profiles", "deadletter",
        )  # fmt: skip
        document: dict[str, Any] = {
            "app": tag,
            "kafka": {"bootstrap": self.kafka.outside, "session_timeout": "6s"},
            "monitors": {
                MONITOR: {
                    "predictions": {
                        "topic": self.predicted,
                        "schema_file": str(self.home / "scored.avsc"),
                        "id": "id",
                        "score": "score",
                        "version": "version",
                    },
                    "labels": {
                        "topic": self.labelled,
                        "schema_file": str(self.home / "outcome.avsc"),
                        "id": "id",
                        "label": "defaulted",
                        **self.labels,
                    },
                    "segments": ["country"],
                    "retrain": None,
                    **self.monitor,
                }
            },
            "topics": {role: f"{tag}.{role}" for role in roles} | {"summaries_partitions": 1},
            "limits": {"pane": "1s", "lateness": "2s"},
            "run": {
                "snapshot_every": "1s",
                "commit_every": "200ms",
                "preview_every": "1s",
                "log": "json",
                "store": str(self.home / "store"),
            },
        }
        for section, values in self.overrides.items():
            document[section] = {**document.get(section, {}), **values}
        return document

    def start(self, **run: Any) -> Process:
        """One more worker; it is not waited for."""
        document = self.document()
        document["run"] = {**document["run"], **run}
        worker = start_worker(self.home, document, len(self.workers), self.nursery)
        self._ports[worker.child.pid] = worker.port
        self.workers.append(worker.child)
        return worker.child

    def get(self, worker: Process, path: str) -> tuple[int, str]:
        """Status and body of a worker's own HTTP endpoint; 0 while it doesn't answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[worker.pid]}{path}", timeout=5) as it:
                return it.status, it.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self, worker: Process, timeout_s: float = 90.0) -> None:
        worker.wait_until(lambda: self.get(worker, "/readyz")[0] == 200, timeout_s, "driftbus run")

    def plans(self) -> Plans:
        """What the worker counts by."""
        profiles = {(profile.monitor, profile.stream): profile for profile in self.profiles}
        return build_plans(self.config, profiles, {self.predicted: PARTITIONS, self.labelled: PARTITIONS})

    def parts(self) -> list[SummaryPart]:
        """Final parts of outcomes that stand on the summaries topic, each range once."""
        read = [decode_message(message.value() or b"") for message in self.kafka.read(self.config.topics.summaries)]
        parts = [part for part in read if isinstance(part, SummaryPart)]
        epoch = self.plans().outcomes[self.labelled].epoch
        found: dict[Range, SummaryPart] = {}
        for part in parts:
            if part.kind == "final" and part.source.epoch == epoch:
                known = found.setdefault((part.source.partition, part.a), part)
                assert known == part, f"one range, two contents:\n{known}\n{part}\n{self.said()}"
        return list(found.values())

    def published(self) -> dict[Range, bytes]:
        """The bytes of those parts."""
        return {(part.source.partition, part.a): encode_part(part) for part in self.parts()}

    def expected(self) -> dict[Range, bytes]:
        """The same, as the join of the two logs gives them when nothing disturbs it."""
        plans = self.plans()
        plan = plans.outcomes[self.labelled]
        files = {self.predicted: "scored.avsc", self.labelled: "outcome.avsc"}
        projections = {self.predicted: plan.predictions[self.predicted].projection, self.labelled: plan.labels}
        logs: dict[tuple[str, int], list[Message]] = {}
        for topic in files:
            for message in self.kafka.read(topic):
                logs.setdefault((topic, message.partition() or 0), []).append(message)
        found: dict[Range, bytes] = {}
        for partition in range(PARTITIONS):
            machine = OutcomeMachine(plan, partition, MemoryBlobs(), base=0, position=0)
            parts: list[ShardPart] = []
            for topic, file in files.items():
                messages = logs.get((topic, partition), [])
                if not messages:
                    continue
                decoder = BatchDecoder(projections[topic], AvscFiles(self.home / file))
                decoded = decoder.decode([m.value() for m in messages])
                offsets = np.array([m.offset() for m in messages], np.int64)
                times = np.array([m.timestamp()[1] for m in messages], np.int64)
                if topic == self.predicted:
                    machine.feed_predictions(topic, decoded.block, offsets, times, decoded.good)
                    machine.predictions_end(topic, NEVER)
                else:
                    parts += machine.feed_labels(decoded.block, offsets, times, decoded.good).parts
            found |= {(part.source.partition, part.a): encode_part(part) for _, part in parts if part.kind == "final"}
        return found

    def said(self) -> str:
        """The ends of all workers' logs."""
        return "\n".join(f"--- {worker.log.name}, {worker.returncode}\n{worker.tail(25)}" for worker in self.workers)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()

"""A stream on a real Kafka, workers in processes of their own, and what they must publish.

What is expected comes from the same records through `Driver`, without Kafka.
"""

from __future__ import annotations

import io
import json
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Producer

from driftbus.detectors.parts import with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.events import Published, RetrainTrigger
from driftbus.schemas.resolver import open_resolver
from driftbus.stream.plan import build_plans
from driftbus.stream.worker.topics import create_topics
from harness.clients import Kafka
from harness.nursery import Nursery
from harness.process import wait_for

from .workers import ROLES, Worker, driven, published, start_worker
from .workers import WORKER as WORKER

START_MS = 1_700_000_000_000
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "income", "type": ["null", "double"]},
        {"name": "age", "type": "int"},
        {"name": "country", "type": ["null", "string"]},
        {"name": "p_default", "type": "double"},
    ],
}
MONITOR = "credit"


def rows(count: int, seed: int, drift_at: int, step_ms: int = 20) -> list[dict[str, Any]]:
    """Scored applications every `step_ms`; from row `drift_at` on incomes are higher and country is often missing."""
    rng = np.random.default_rng(seed)
    income, age = rng.lognormal(10, 0.5, count), rng.integers(18, 80, count)
    income[drift_at:] *= 1.6
    country = rng.choice(["PT", "ES", "FR"], count, p=[0.5, 0.3, 0.2])
    missing = rng.random(count) < np.where(np.arange(count) >= drift_at, 0.3, 0.01)
    score = rng.beta(2, 5, count)
    return [
        {
            "ts": START_MS + i * step_ms,
            "id": f"r{i}",
            "version": "1",
            "income": float(income[i]),
            "age": int(age[i]),
            "country": None if missing[i] else str(country[i]),
            "p_default": float(score[i]),
        }
        for i in range(count)
    ]


PARSED = fastavro.parse_schema(SCHEMA)


def encode(row: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, row)
    return out.getvalue()


def profile(reference: Sequence[Mapping[str, Any]]) -> Profile:
    countries = [r["country"] for r in reference]
    columns: dict[str, NumericData | CategoryData] = {
        "income": NumericData(np.array([r["income"] for r in reference])),
        "age": NumericData(np.array([r["age"] for r in reference], float)),
        "country": CategoryData(np.array(countries, object)),
        "p_default": NumericData(np.array([r["p_default"] for r in reference]), role="score"),
    }
    whole = build_profile(MONITOR, "predictions", columns, source="scenario")
    return with_parts(whole, columns, {"country": countries})


@dataclass
class Scenario:
    """One configuration on topics of its own.

    Args:
        kafka: the broker.
        partitions: of the source topic.
        overrides: changes to the configuration, section by section.
        nursery: forks workers, which saves seconds each; None: every worker is a program started anew.
    """

    kafka: Kafka
    partitions: int = 4
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nursery: Nursery | None = None

    def __post_init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="driftbus-scenario-"))
        self.source = self.kafka.create_topic("source", partitions=self.partitions)
        self.tag = self.source
        (self.home / "scored.avsc").write_text(json.dumps(SCHEMA))
        self.profile = profile(rows(4000, seed=1, drift_at=4000))
        (self.home / "profile.json").write_text(json.dumps(self.profile.to_dict()))
        self.config = Config.model_validate(self._document())
        create_topics(self.kafka.admin, self.config)
        self.log: list[list[bytes]] = [[] for _ in range(self.partitions)]
        self.workers: list[Worker] = []

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "app": self.tag,
            "kafka": {"bootstrap": self.kafka.outside, "session_timeout": "6s"},
            "monitors": {
                MONITOR: {
                    "predictions": {
                        "topic": self.source,
                        "schema_file": str(self.home / "scored.avsc"),
                        "time": "ts",
                        "id": "id",
                        "score": "p_default",
                        "version": "version",
                    },
                    "segments": ["country"],
                    "profile": str(self.home / "profile.json"),
                    "detection": {"events_per_second": 50},
                    "retrain": {"any": [{"drift": {"columns": 2, "severity": "moderate"}}]},
                }
            },
            "topics": {role: f"{self.tag}.{role}" for role in ROLES} | {"replication": self.kafka.replication},
            "limits": {"pane": "1s", "lateness": "2s"},
            "run": {"snapshot_every": "1s", "commit_every": "200ms", "log": "json", "log_level": "info"},
        }
        for section, values in self.overrides.items():
            document[section] = {**document.get(section, {}), **values}
        return document

    def start(self, *, environment: Mapping[str, str] = {}, **run: Any) -> Worker:
        """One more worker; it is not waited for."""
        document = self._document()
        document["run"] = {**document["run"], **run}
        worker = start_worker(self.home, document, len(self.workers), self.nursery, environment)
        self.workers.append(worker)
        return worker

    def produce(self, records: Iterable[Mapping[str, Any]], per_second: float | None = None) -> None:
        """Records in order, round robin over the partitions; kept for `expected`."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 5, "acks": "all",
                             "enable.idempotence": True, "delivery.timeout.ms": 120_000})  # fmt: skip
        waiting = threading.Event()
        for i, record in enumerate(records):
            partition, value = i % self.partitions, encode(record)
            self.log[partition].append(value)
            while True:
                try:
                    producer.produce(self.source, value, key=record["id"].encode()[:99], partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            if per_second and i % 50 == 49:
                waiting.wait(50 / per_second)
        assert producer.flush(120) == 0

    def producing(self, records: Iterable[Mapping[str, Any]], per_second: float) -> threading.Thread:
        """`produce` in the background."""
        thread = threading.Thread(target=self.produce, args=(records, per_second), daemon=True)
        thread.start()
        return thread

    def expected(self) -> dict[str, Published]:
        """By id, what the records produced so far must lead to."""
        stream = self.config.monitors[MONITOR].predictions
        assert stream is not None
        plans = build_plans(self.config, {(MONITOR, "predictions"): self.profile}, {self.source: self.partitions})
        decoder = BatchDecoder(plans.topics[self.source].projection, open_resolver(stream, None))
        return driven(plans, self.source, decoder, self.log)

    def published(self) -> dict[str, Published]:
        """By id, what stands on the drift, incidents and retrain topics; the same id must always say the same."""
        return published(self.kafka, self.config)

    def settle(self, timeout_s: float = 200.0) -> None:
        """Wait until everything produced is judged, then compare with what is expected, to the last bit."""
        want = self.expected()
        assert any(isinstance(e, RetrainTrigger) for e in want.values()), "a scenario without a trigger proves little"

        def done() -> bool:
            dead = [w.child.tail() for w in self.workers if w.child.returncode not in (None, 0, -9, -15)]
            assert not dead, dead[0]
            return want.keys() <= self.published().keys()

        try:
            wait_for(done, timeout_s, "all expected events")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._unsettled(want)}") from None
        for worker in self.workers:
            worker.child.stop()
        assert self.published() == want

    def _unsettled(self, want: Mapping[str, Published]) -> str:
        """What is missing and what nobody expected, how far the group is, and the last words of each worker."""
        found = self.published()
        told = [
            f"{'missing' if i in want else 'unexpected'}: { {**found, **want}[i] }" for i in want.keys() ^ found.keys()
        ]
        told.append(f"committed {self.kafka.committed(self.tag, self.source)} of {[len(log) for log in self.log]}")
        told += [f"worker, exit code {w.child.returncode}:\n{w.child.tail(60)}" for w in self.workers]
        return "\n".join(told)

    def close(self) -> None:
        for worker in self.workers:
            worker.child.kill()

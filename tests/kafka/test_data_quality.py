"""Schema changes, repeated ids and late records on a real Kafka with a real registry: live, and replayed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import httpx
import numpy as np
import pytest
from confluent_kafka import Producer
from kafka.workers import ROLES, WORKER

from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.codec import decode_event
from driftbus.schemas.config import Config
from driftbus.schemas.contracts import contract
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.framing import by_id, frame
from driftbus.stream.cli.main import run
from driftbus.stream.worker.topics import create_topics
from harness.broker import Broker
from harness.process import Child, free_ports, wait_for
from harness.registry import Registry

pytestmark = pytest.mark.kafka

START_MS, STEP_MS, ROWS = 1_699_999_200_000, 15_000, 7_500
NEW_SCHEMA, AGAIN, LATE = 3_000, range(5_200, 5_800), 6_480
FIELDS: list[dict[str, Any]] = [
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "id", "type": "string"},
    {"name": "x", "type": "double"},
    {"name": "y", "type": ["null", "double"], "default": None},
]
SCHEMAS = [
    {"type": "record", "name": "Reading", "fields": FIELDS},
    {"type": "record", "name": "Reading", "fields": [*FIELDS, {"name": "shop", "type": "string", "default": ""}]},
]


@pytest.fixture
def readings(kafka: Broker, registry: Registry, tmp_path: Path) -> tuple[Path, Config]:
    """A topic of 31 hours: a field more, ids that come twice, a delay of a minute at the end; and its configuration."""
    topic = kafka.create_topic("readings", partitions=2, config={"retention.ms": "-1"})
    ids = [
        httpx.post(f"{registry.url}/subjects/{topic}-value/versions", json={"schema": json.dumps(s)}, timeout=15).json()
        for s in SCHEMAS
    ]
    rng = np.random.default_rng(4)
    reference = {name: NumericData(rng.normal(size=4_000)) for name in ("x", "y")}
    (tmp_path / "profile.json").write_text(json.dumps(build_profile("meter", "predictions", reference).to_dict()))
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all"})
    for i in range(ROWS):
        which, time = int(i >= NEW_SCHEMA), START_MS + i * STEP_MS
        name = f"r{i - i % 2 if i in AGAIN else i}"
        out = io.BytesIO()
        row = {"ts": time, "id": name, "x": float(rng.normal()), "y": float(rng.normal()), "shop": "a"}
        fastavro.schemaless_writer(out, SCHEMAS[which], row)
        value = frame(by_id(ids[which]["id"]), out.getvalue())
        delay = 60_000 if i >= LATE else 400
        producer.produce(topic, value, partition=i // 10 % 2, timestamp=time + delay)
        producer.poll(0)
    assert producer.flush(60) == 0
    document = {
        "app": topic,
        "kafka": {"bootstrap": kafka.bootstrap, "session_timeout": "6s"},
        "registry": {"url": registry.url},
        "monitors": {
            "meter": {
                "predictions": {"topic": topic, "time": "ts", "id": "id"},
                "profile": str(tmp_path / "profile.json"),
                "retrain": None,
            }
        },
        "topics": {role: f"{topic}.{role}" for role in ROLES},
        "limits": {"pane": "5m", "lateness": "5m"},
        "run": {"preview_every": "300ms", "commit_every": "200ms", "metrics_port": free_ports(1)[0]},
    }
    path = tmp_path / "driftbus.yaml"
    path.write_text(json.dumps(document))
    config = Config.model_validate(document)
    create_topics(kafka.admin, config)
    return path, config


def test_live_and_replayed_they_are_told_once_and_alike(
    kafka: Broker, readings: tuple[Path, Config], capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = readings
    assert run(["replay", "-c", str(path), "--out", "-"]) == 0
    replayed = {line["id"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    drift = [line for line in replayed.values() if "aspect" in line]
    opened = {line["aspect"]: line for line in drift if line["status"] == "opened"}
    assert opened.keys() == {"schema", "duplicates", "freshness"}
    assert "added shop" in opened["schema"]["message"]
    assert opened["freshness"]["severity"] == "severe"
    worker = Child([*WORKER, path], path.parent / "worker.log")
    try:

        def published() -> dict[str, DriftEvent]:
            events = (decode_event(m.value() or b"", contract("DriftEvent")) for m in kafka.read(config.topics.drift))
            return {e.id: e for e in events if isinstance(e, DriftEvent)}

        wait_for(lambda: {line["id"] for line in drift} <= published().keys(), 60.0, "the worker's events")
        assert {line["id"] for line in drift} == published().keys()
        assert {e.message for e in published().values()} == {line["message"] for line in drift}
    finally:
        worker.kill()

"""`driftbus doctor` and the schema registry."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from harness.broker import Broker
from harness.process import free_ports
from harness.registry import Registry

from .doctored import Doctored
from .labelled import MONITOR, PREDICTION, Labelled, prediction, spread

pytestmark = [pytest.mark.kafka, pytest.mark.registry]


@pytest.fixture
def doctor(kafka: Broker, registry: Registry, capsys: pytest.CaptureFixture[str]) -> Doctored:
    """A topic whose records were written with a schema of the registry."""
    made = Labelled(kafka)
    number = registry.register(f"{made.predicted}-value", json.dumps(PREDICTION))
    framed = [{**record, "value": b"\0" + number.to_bytes(4, "big") + record["value"]}
              for record in spread([prediction(i, 1_700_000_000_000) for i in range(40)])]  # fmt: skip
    kafka.configure(made.predicted, {"retention.ms": "-1"})
    kafka.produce(made.predicted, framed)
    document = made.document()
    watched = {**document["monitors"][MONITOR], "labels": None}
    watched["predictions"] = {**watched["predictions"], "schema_file": None}
    document |= {"monitors": {MONITOR: watched}, "registry": {"url": registry.url, "timeout": "3s"}}
    return Doctored(made.home / "driftbus.yaml", document, capsys)


def topic_of(doctor: Doctored) -> str:
    topic: str = doctor.document["monitors"][MONITOR]["predictions"]["topic"]
    return topic


def test_a_registry_that_is_fine(doctor: Doctored) -> None:
    assert doctor() == 0, doctor.said
    topic = topic_of(doctor)
    assert {"registry", "registry.outputs", f"records.{topic}", f"fields.{topic}"} <= doctor.found.keys()
    assert doctor.found[f"registry.{topic}-value"]["status"] == "ok"


def test_a_registry_that_is_not_there(doctor: Doctored, registry: Registry) -> None:
    (port,) = free_ports(1)
    assert doctor({"registry": {"url": f"http://127.0.0.1:{port}"}}) == 3
    assert list(doctor.wrong()) == ["registry"]
    assert "Correct registry.url" in doctor.wrong()["registry"]
    assert "records" in doctor.unchecked()
    assert doctor({"registry": {"url": registry.url.removesuffix("/apis/ccompat/v7")}}) == 1
    assert "up to and without /subjects" in doctor.wrong()["registry"]


def test_schemas_that_the_registry_refuses(doctor: Doctored, registry: Registry) -> None:
    drift = doctor.document["topics"]["drift"]
    other = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "long"}]}
    registry.register(f"{drift}-value", json.dumps(other))
    assert doctor() == 1
    assert f"Delete subject {drift}-value" in doctor.wrong()[f"registry.{drift}-value"]
    httpx.delete(f"{registry.url}/subjects/{drift}-value", timeout=15).raise_for_status()
    assert doctor() == 0, doctor.said


def test_any_schema_may_follow_another(doctor: Doctored, registry: Registry) -> None:
    subject = f"{topic_of(doctor)}-value"
    rule(registry, "NONE")
    try:
        assert doctor() == 0
        assert doctor.found[f"registry.{subject}"]["status"] == "advice"
    finally:
        rule(registry, "BACKWARD")


def rule(registry: Registry, name: str) -> None:
    httpx.put(f"{registry.url}/config", json={"compatibility": name}, timeout=15).raise_for_status()


def test_records_of_a_schema_that_the_registry_does_not_have(doctor: Doctored, kafka: Broker) -> None:
    foreign: Any = [{"value": b"\0\x7f\0\0\0" + b"x"} for _ in range(150)]
    kafka.produce(topic_of(doctor), spread([{**record, "key": str(i).encode()} for i, record in enumerate(foreign)]))
    assert doctor() == 1
    id_ = f"records.{topic_of(doctor)}"
    assert "unknown_schema" in doctor.found[id_]["found"]
    assert "Write the registry that the producers use" in doctor.wrong()[id_]

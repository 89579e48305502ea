"""`driftbus.Producer` on a real Kafka and a real registry: it never blocks, never raises, and counts what is lost."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import httpx
import pytest
from fastavro import schemaless_reader

from driftbus import Producer
from driftbus.schemas.codec import confluent_id
from driftbus.schemas.contracts import contract, writer_of
from harness.broker import Broker
from harness.registry import Registry

pytestmark = pytest.mark.kafka


def read(value: bytes | str | None, name: str = "PredictionEvent", header: int = 10) -> Any:
    assert isinstance(value, bytes)
    return schemaless_reader(io.BytesIO(value[header:]), contract(name).plain, None)


def test_three_lines_in_serving_code(kafka: Broker) -> None:
    topic = kafka.create_topic()
    with Producer(topic, bootstrap=kafka.bootstrap, monitor="credit") as events:
        row = {"income": 1200, "country": "PT", "age": None}
        events.prediction(id="r-1", version=12, features=row, score=0.25, segments={"country": "PT"}, time=1.5)
        events.prediction("r-2", prediction="reject")
        assert events.flush(30)
    assert (events.counters().sent, events.counters().dropped) == (2, {})
    first, second = kafka.read(topic)
    assert writer_of(first.value() or b"").name == "PredictionEvent"  # type: ignore[arg-type]
    assert (first.key(), second.key()) == (b"r-1", b"r-2")
    assert read(first.value()) == {
        "monitor": "credit",
        "id": "r-1",
        "version": "12",
        "time": 1_500,
        "score": 0.25,
        "prediction": None,
        "numeric_features": {"income": 1200.0, "age": None},
        "categorical_features": {"country": "PT"},
        "segments": {"country": "PT"},
    }
    assert abs(read(second.value())["time"] / 1000 - time.time()) < 60


def test_features_and_labels(kafka: Broker) -> None:
    features, labels = kafka.create_topic(), kafka.create_topic()
    with (
        Producer(features, bootstrap=kafka.bootstrap) as events,
        Producer(labels, bootstrap=kafka.bootstrap) as outcomes,
    ):
        events.features("c-1", {"x": 1.0}, version="3")
        outcomes.label("r-1", "paid")
        outcomes.label("r-1", 1)
    (feature,) = kafka.read(features)
    assert read(feature.value(), "FeatureEvent")["numeric_features"] == {"x": 1.0}
    assert [read(record.value(), "LabelEvent")["label"] for record in kafka.read(labels)] == ["paid", "1"]


@pytest.mark.registry
def test_with_a_registry_events_carry_its_id(kafka: Broker, registry: Registry) -> None:
    topic = kafka.create_topic()
    with Producer(topic, bootstrap=kafka.bootstrap, registry=registry.url) as events:
        events.label("r-1", "paid")
    (record,) = kafka.read(topic)
    value = record.value()
    assert isinstance(value, bytes)
    found = httpx.get(f"{registry.url}/schemas/ids/{confluent_id(value)}", timeout=15).json()
    assert json.loads(found["schema"])["name"] == "LabelEvent"
    assert read(value, "LabelEvent", header=5)["label"] == "paid"


@pytest.mark.registry
def test_events_wait_for_the_registry(kafka: Broker, fragile_registry: Registry) -> None:
    topic = kafka.create_topic()
    fragile_registry.kill()
    events = Producer(topic, bootstrap=kafka.bootstrap, registry=fragile_registry.url)
    events.label("r-1", "paid")
    assert not events.flush(1.0)
    fragile_registry.start()
    assert events.close(60)
    assert len(kafka.read(topic)) == 1


@pytest.mark.registry
def test_a_registry_that_refuses_is_said(kafka: Broker, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    topic = kafka.create_topic()
    registry.register(f"{topic}-value", json.dumps({"type": "record", "name": "Other", "fields": []}))
    with caplog.at_level(logging.WARNING, "driftbus.producer"):
        events = Producer(topic, bootstrap=kafka.bootstrap, registry=registry.url)
        events.label("r-1", "paid")
        events.label("r-2", "paid")
        events.close(30)
    assert events.counters().dropped == {"misconfigured": 2}
    assert "refuses the schema" in events.counters().last_error
    assert len([r for r in caplog.records if "were dropped" in r.getMessage()]) <= 2


def test_without_kafka_it_neither_blocks_nor_raises() -> None:
    events = Producer("t", bootstrap="127.0.0.1:1", queue=100)
    began = time.monotonic()
    for i in range(20_000):
        events.prediction(id=i, score=0.5)
    assert not events.close(0.5)
    assert time.monotonic() - began < 60
    counters = events.counters()
    assert counters.dropped["queue_full"] > 0
    assert counters.sent == 0
    assert counters.accepted + counters.dropped["queue_full"] == 20_000
    assert counters.dropped["undelivered"] == counters.accepted
    events.prediction(id="late")
    assert events.counters().dropped["closed"] == 1


@pytest.mark.parametrize(
    "bad", [{"features": [1]}, {"score": "high"}, {"time": "noon"}, {"segments": 3}, {"id": object}]
)
def test_bad_arguments_are_counted(bad: dict[str, Any]) -> None:
    events = Producer("t", bootstrap="127.0.0.1:1")
    events.prediction(**{"id": "x", **bad})
    counters = events.counters()
    assert counters.dropped.get("bad_event", 0) + counters.accepted == 1
    events.close(0)


def test_a_wrong_setting_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = Producer("t", bootstrap="127.0.0.1:1", kafka={"no.such.property": 1})
    events.label("a", 1)
    assert events.flush(10)
    events.label("b", 1)
    assert events.counters().dropped == {"misconfigured": 2}
    assert "no.such.property" in events.counters().last_error


def test_many_threads_lose_nothing(kafka: Broker) -> None:
    topic = kafka.create_topic(partitions=3)
    with Producer(topic, bootstrap=kafka.bootstrap) as events:
        threads = [
            threading.Thread(target=lambda n=n: [events.label(f"{n}-{i}", i) for i in range(500)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert events.counters().sent == 2_000
    assert len({record.key() for record in kafka.read(topic)}) == 2_000


def test_across_a_fork_each_process_sends_its_own(kafka: Broker) -> None:
    topic = kafka.create_topic()
    script = f"""
        import os
        from driftbus import Producer
        events = Producer({topic!r}, bootstrap={kafka.bootstrap!r})
        events.label("before", 1)
        assert events.flush(30)
        child = os.fork()
        events.label("child" if child == 0 else "parent", 1)
        closed = events.close(30)
        assert closed and events.counters().sent == (1 if child == 0 else 2), events.counters()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(record.key() or b"" for record in kafka.read(topic)) == [b"before", b"child", b"parent"]  # type: ignore[type-var]


def test_what_is_under_way_at_exit_is_sent(kafka: Broker) -> None:
    topic = kafka.create_topic()
    script = f"from driftbus import Producer; Producer({topic!r}, bootstrap={kafka.bootstrap!r}).label('last', 1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record.key() for record in kafka.read(topic)] == [b"last"]

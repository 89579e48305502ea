"""The first ten minutes, as README.md tells them: every command as a person types it, on a Kafka of its own."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftbus.schemas.events import DriftEvent, Published, RetrainTrigger
from harness.broker import Broker
from harness.process import Child, free_ports, wait_for
from harness.registry import Registry

from .installation import framed
from .workers import event_of

pytestmark = [pytest.mark.kafka, pytest.mark.registry]

START_MS = 1_760_000_000_000
STEP_MS = 100
SCORED = {
    "type": "record",
    "name": "Scored",
    "namespace": "shop",
    "fields": [
        {"name": "request_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "model_version", "type": "string"},
        {"name": "p_default", "type": "double"},
        {
            "name": "customer",
            "type": {
                "type": "record",
                "name": "Customer",
                "fields": [{"name": "age", "type": "int"}, {"name": "income", "type": ["null", "double"]}],
            },
        },
        {"name": "country", "type": "string"},
        {"name": "purpose", "type": ["null", "string"]},
        {"name": "debt", "type": "double"},
    ],
}


def scored(count: int, first: int = 0, drift: bool = False, version: str = "12") -> list[dict[str, Any]]:
    """Scored requests; with drift, incomes rise, debts double and purposes go missing."""
    rng = random.Random(first)
    return [
        {
            "request_id": f"r-{i}",
            "ts": START_MS + i * STEP_MS,
            "model_version": version,
            "p_default": rng.betavariate(2, 5),
            "customer": {
                "age": rng.randint(18, 90),
                "income": None if rng.random() < 0.02 else rng.gauss(1300 if drift else 1000, 150),
            },
            "country": rng.choice(["PT", "ES", "FR"]),
            "purpose": None if rng.random() < (0.5 if drift else 0.1) else rng.choice(["car", "house"]),
            "debt": rng.expovariate(1 / (400 if drift else 200)),
        }
        for i in range(first, first + count)
    ]


@dataclass
class User:
    """Someone with a terminal, a Kafka, a registry and a topic to watch."""

    kafka: Broker
    registry: Registry
    home: Path
    topic: str = field(init=False)
    schema_id: int = field(init=False)
    worker: Child | None = None
    said: str = ""

    def __post_init__(self) -> None:
        # the records' Kafka timestamps lie in the past, and must not expire
        self.topic = self.kafka.create_topic("predictions", 3, {"retention.ms": "-1"})
        self.schema_id = self.registry.register(f"{self.topic}-value", json.dumps(SCORED))

    def types(self, *arguments: str, expect: int = 0) -> str:
        """What a command says on standard output."""
        command = [str(Path(sys.executable).with_name("driftbus")), *arguments]
        environment = {**os.environ, "USER": "ana"}
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == expect, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        self.said = done.stderr
        return done.stdout

    def serves(self, requests: list[dict[str, Any]]) -> None:
        """The user's service answers requests and says so on the topic."""
        self.kafka.produce(
            self.topic,
            [
                {"value": framed(self.schema_id, SCORED, r), "partition": i % 3, "timestamp": r["ts"]}
                for i, r in enumerate(requests)
            ],
        )

    def init(self) -> Path:
        """`driftbus init`; the file that it wrote, with a port that is free here."""
        where = ["--bootstrap", self.kafka.bootstrap, "--topic", self.topic, "--registry", self.registry.url]
        self.types("init", *where, "--monitor", "credit", "--out", "driftbus.yaml")
        (self.port,) = free_ports(1)
        path = self.home / "driftbus.yaml"
        path.write_text(path.read_text() + f"run: {{metrics_port: {self.port}}}\n")
        return path

    def runs(self) -> None:
        program = Path(sys.executable).with_name("driftbus")
        self.worker = Child([program, "run"], self.home / "worker.log", cwd=self.home)

    def ready(self) -> tuple[int, dict[str, Any]]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()

    def metrics(self) -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        except httpx.TransportError:
            return ""

    def waits_for(self, condition: Any, what: str, timeout_s: float = 60.0) -> None:
        assert self.worker is not None
        self.worker.wait_until(lambda: bool(condition()), timeout_s, what)

    def drift(self) -> list[DriftEvent]:
        return [e for e in self._events("driftbus.drift") if isinstance(e, DriftEvent)]

    def triggers(self) -> list[RetrainTrigger]:
        return [e for e in self._events("driftbus.retrain") if isinstance(e, RetrainTrigger)]

    def triggers_once(self) -> list[RetrainTrigger]:
        """As a pipeline takes them: an id that came before is passed over."""
        return list({t.id: t for t in self.triggers()}.values())

    def _events(self, topic: str) -> list[Published]:
        return [event_of(message.value() or b"") for message in self.kafka.read(topic)]


@pytest.fixture
def user(fragile_kafka: Broker, registry: Registry, tmp_path: Path) -> Iterator[User]:
    made = User(fragile_kafka, registry, tmp_path)
    yield made
    if made.worker is not None:
        made.worker.kill()


def train_csv(path: Path, drift: bool = False) -> None:
    """Training data as an export has it: one column a field, nested ones with dots."""
    with path.open("w", newline="") as out:
        writer: Any = None
        for request in scored(6_000, first=10_000_000, drift=drift):
            row = {k: v for k, v in request.items() if k != "customer"}
            row |= {f"customer.{k}": v for k, v in request["customer"].items()}
            if writer is None:
                writer = csv.DictWriter(out, list(row))
                writer.writeheader()
            writer.writerow(row)


def test_from_training_data_to_drift_events(user: User) -> None:
    user.serves(scored(2_000))
    user.init()
    assert "next: driftbus topics --create; driftbus doctor; driftbus run" in user.said
    user.types("check")
    user.types("topics", expect=1)
    user.types("topics", "--create")
    user.types("topics")
    train_csv(user.home / "train.csv")
    told = user.types("profile", "train.csv", "--monitor", "credit", "-c", "driftbus.yaml", "--publish")
    assert "published credit/predictions on driftbus.profiles" in told
    assert re.search(r"p_default +numeric +score", told)
    assert "left out" in told
    user.runs()
    user.waits_for(lambda: user.ready()[0] == 200, "the worker to be ready")
    user.serves(scored(6_000, first=2_000) + scored(8_000, first=8_000, drift=True))
    user.waits_for(user.triggers, "a retrain trigger")
    opened = {e.column: e for e in user.drift() if e.status == "opened" and not e.segment}
    assert opened.keys() == {"customer.income", "purpose", "debt"}
    assert opened["purpose"].what == "nulls"
    began = START_MS + 8_000 * STEP_MS
    assert all(abs(e.since_ms - began) < 60_000 for e in opened.values())
    (trigger,) = user.triggers()
    assert (trigger.monitor, trigger.version, trigger.policy, trigger.dry_run) == ("credit", "12", "drift", False)
    assert set(trigger.columns) == opened.keys()
    assert trigger.profile_id == opened["debt"].profile_id
    assert {r.topic for r in trigger.ranges} == {user.topic}
    assert {r.partition for r in trigger.ranges} == {0, 1, 2}

    user.types("retrain", "credit", "--reason", "new pricing")
    user.waits_for(lambda: len(user.triggers()) == 2, "the trigger by hand")
    by_hand = user.triggers()[1]
    assert (by_hand.policy, by_hand.requested_by) == ("manual", "ana")
    assert "new pricing" in by_hand.reason
    assert "0 dead letters" in user.types("dlq", "ls")
    assert user.worker is not None
    assert user.worker.stop() == 0, user.worker.tail()


def test_a_retrained_version_takes_over(user: User) -> None:
    user.serves(scored(6_000))
    user.init()
    user.types("topics", "--create")
    train_csv(user.home / "train.csv")
    user.types("profile", "train.csv", "--monitor", "credit", "-c", "driftbus.yaml", "--publish")
    user.runs()
    user.waits_for(lambda: user.ready()[0] == 200, "the worker to be ready", 120)
    user.serves(scored(8_000, first=6_000, drift=True))
    user.waits_for(user.triggers, "a retrain trigger")
    user.waits_for(lambda: 'driftbus_retrain_pending{monitor="credit"} 1.0' in user.metrics(), "it to be pending")
    before = {e.id for e in user.drift()}

    train_csv(user.home / "new.csv", drift=True)
    made = ("--version", "13", "--model", "mlflow_run=7f3a", "--publish")
    told = user.types("profile", "new.csv", "--monitor", "credit", "-c", "driftbus.yaml", *made)
    assert "published credit/predictions/13 on driftbus.profiles" in told
    assert user.worker is not None
    assert user.worker.stop() == 0, user.worker.tail()
    user.runs()
    user.waits_for(lambda: user.ready()[0] == 200, "the next worker to be ready")
    user.serves(scored(8_000, first=14_000, drift=True, version="13"))
    user.waits_for(lambda: 'driftbus_retrain_pending{monitor="credit"} 0.0' in user.metrics(), "the new version")
    old = [e for e in user.drift() if e.id not in before]
    assert [e for e in old if e.status != "closed" and e.column] == []
    assert 'driftbus_unfit_rows_total{monitor="credit"} 0.0' in user.metrics()

    user.types("retrain", "credit", "--reason", "try it", "--dry-run")
    user.waits_for(lambda: len(user.triggers_once()) == 2, "the trial")
    assert user.triggers_once()[1].dry_run
    # what the new version learned has no drift; when its own input drifts, the trigger names its training
    user.serves(scored(8_000, first=22_000, version="13"))
    user.waits_for(lambda: any(e.version == "13" and e.column == "debt" for e in user.drift()), "drift of version 13")
    (new,) = {e.profile_id for e in user.drift() if e.version == "13" and e.column}
    assert new not in {e.profile_id for e in user.drift() if e.version == "12"}
    user.types("retrain", "credit", "--reason", "really")
    user.waits_for(lambda: len({t.reason for t in user.triggers_once() if t.policy == "manual"}) == 2, "that by hand")
    assert not next(t for t in user.triggers_once() if t.reason == "really").dry_run
    assert user.worker is not None
    assert user.worker.stop() == 0, user.worker.tail()


def test_from_the_stream_alone(user: User) -> None:
    user.serves(scored(4_000))
    path = user.init()
    text = path.read_text()
    learn, retrain = "learn: {period: 1d, min_rows: 1000}", "      cooldown: 24h\n"
    assert learn in text
    assert retrain in text
    text = text.replace(learn, "learn: {period: 10m, min_rows: 1000}").replace(
        retrain, retrain + "      dry_run: true\n"
    )
    path.write_text(text)
    user.types("check")
    user.types("topics", "--create")
    user.runs()
    user.waits_for(lambda: user.ready()[1].get("learning"), "the worker to say that it learns")
    status, said = user.ready()
    assert status == 503
    assert "not_learning" in said["failing"]
    assert said["learning"].startswith("credit/predictions: ")
    metrics = httpx.get(f"http://127.0.0.1:{user.port}/metrics", timeout=5).text
    assert 'driftbus_learning_ratio{monitor="credit",stream="predictions"} 0.' in metrics
    assert user.kafka.read("driftbus.profiles") == []
    user.serves(scored(6_000, first=4_000))
    user.waits_for(lambda: user.ready()[0] == 200, "the worker to have learned")
    assert len(user.kafka.read("driftbus.profiles")) == 1
    assert "driftbus_learning_ratio{" not in httpx.get(f"http://127.0.0.1:{user.port}/metrics", timeout=5).text
    user.serves(scored(8_000, first=10_000, drift=True))
    user.waits_for(user.triggers, "a retrain trigger")
    (trigger,) = user.triggers()
    assert trigger.dry_run
    opened = {e.column for e in user.drift() if e.status == "opened" and not e.segment}
    assert opened == {"customer.income", "purpose", "debt"}
    assert user.worker is not None
    assert user.worker.stop() == 0, user.worker.tail()
    user.runs()  # what was learned is not learned again
    user.waits_for(lambda: user.ready()[0] == 200, "the next worker to be ready")
    assert len(user.kafka.read("driftbus.profiles")) == 1
    assert "learning" not in user.worker.log.read_text().split("stopping", 1)[1]
    wait_for(lambda: user.worker is not None and user.worker.stop() == 0, 30, "its end")

"""`driftbus demo`: what a person sees in the first minute."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from driftbus.schemas.codec import decode_drift, decode_retrain
from harness.broker import Broker
from harness.process import Child, wait_for
from harness.registry import Registry

DRIFTING = {"car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car", "y_pred_proba"}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[object]:
    started: list[Child] = []

    def start(*options: str) -> Child:
        command = [sys.executable, "-m", "driftbus", "demo", "--rate", "10000", *options]
        started.append(Child(command, tmp_path / "demo.log", environment={"COLUMNS": "200"}))
        return started[-1]

    yield start
    for child in started:
        child.kill()


def summary(child: Child) -> str:
    assert child.wait(150) == 0, child.tail(40)
    text = child.log.read_text()
    assert "5 columns drifted" in text
    assert "3 of 3 negative controls stayed quiet" in text
    assert "incidents:" in text
    assert "5 of 9 columns have drifted" in text
    assert "accuracy has fallen to" in text
    assert "cohorts judged by their labels, the worst: accuracy 0.9" in text
    assert "1 retrain trigger:" in text
    assert "accuracy of version 1 is surely below 0.94" in text
    assert "Next:" in text
    return text


def test_the_demo_finds_the_drift_without_kafka_or_java(demo) -> None:
    text = summary(demo())
    assert all(f"{column}: " in text for column in DRIFTING)
    assert "watermark 2019-" in text


@pytest.mark.kafka
@pytest.mark.registry
def test_the_demo_plays_into_a_real_kafka(demo, kafka: Broker, registry: Registry) -> None:
    before = set(kafka.admin.list_topics(timeout=10).topics)
    summary(demo("--bootstrap", kafka.bootstrap, "--registry", registry.url))
    made = set(kafka.admin.list_topics(timeout=10).topics) - before
    drift, retrain = (next(t for t in made if t.endswith(end)) for end in (".drift", ".retrain"))
    opened = [e for e in (decode_drift((m.value() or b"")[5:]) for m in kafka.read(drift)) if e.status == "opened"]
    assert {e.column for e in opened if e.stream == "predictions"} == DRIFTING
    assert {"performance", "concept"} <= {e.aspect for e in opened if e.stream == "outcomes"}
    (trigger,) = {t.id: t for t in (decode_retrain((m.value() or b"")[5:]) for m in kafka.read(retrain))}.values()
    assert trigger.policy == "performance"


def test_ctrl_c_is_clean(demo) -> None:
    child = demo("--rate", "500")
    child.wait_until(lambda: "watermark" in child.log.read_text(), 120, "the demo")
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) >= 2
    child.signal(signal.SIGINT)
    assert child.wait(30) == 130, child.tail(40)
    wait_for(lambda: not any(p.is_running() for p in family), 10, "broker and worker to end")
    assert "Traceback" not in child.log.read_text()

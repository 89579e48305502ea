"""What lies in examples/ does what it says."""

from __future__ import annotations

import json
import stat
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from driftbus.schemas.cloudevents import binary_headers
from driftbus.schemas.codec import encode_event
from driftbus.schemas.contracts import schema_text
from driftbus.schemas.events import RetrainTrigger
from harness.broker import Broker
from harness.node import Node
from harness.process import Child, wait_for
from harness.registry import Registry
from harness.samples import RETRAIN

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.kafka


def publish(kafka: Broker, registry: Registry, topic: str, *triggers: RetrainTrigger) -> None:
    schema_id = registry.register(f"{topic}-value", schema_text("RetrainTrigger"))
    records = [
        {"value": encode_event(t, schema_id), "key": t.monitor.encode(), "headers": binary_headers(t, "driftbus")}
        for t in triggers
    ]
    kafka.produce(topic, records)


def a_command(folder: Path) -> Path:
    """Appends what it was told; fails when a file called `broken` is there."""
    script = folder / "train.sh"
    told = "$MONITOR $VERSION $POLICY $SEVERITY $TRAIN_FROM_MS $TRAIN_TO_MS"
    lines = f'test ! -e {folder}/broken || exit 1\necho "{told}" >> {folder}/told\n'
    lines += f'echo "$TRIGGER_ID $(cat)" >> {folder}/trained\n'
    script.write_text(f"#!/bin/sh\n{lines}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.mark.registry
@pytest.mark.node
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_command_runs_once_per_trigger(
    kafka: Broker, registry: Registry, node: Node, tmp_path: Path, language: str
) -> None:
    topic = kafka.create_topic("retrain")
    script, trained = a_command(tmp_path), tmp_path / "trained"
    environment = {"KAFKA": kafka.bootstrap, "REGISTRY": registry.url, "TOPIC": topic, "DONE": str(tmp_path / "done")}

    def start() -> Child:
        if language == "python":
            program: list[str | Path] = [sys.executable, EXAMPLES / "on_retrain.py", script]
            return Child(program, tmp_path / "log", environment=environment)
        program = node.command(EXAMPLES / "on_retrain.js", str(script))
        return Child(program, tmp_path / "log", environment=environment | node.environment)

    first, second, third = (replace(RETRAIN, id=id_, dry_run=False) for id_ in ("a1", "b2", "c3"))
    dry = replace(RETRAIN, id="d4", dry_run=True)
    publish(kafka, registry, topic, first, first, dry, second)
    worker = start()
    wait_for(lambda: trained.exists() and len(trained.read_text().splitlines()) == 2, 60, "two runs")
    worker.stop()
    (tmp_path / "broken").touch()
    publish(kafka, registry, topic, first, third, second)
    worker = start()
    if language == "python":
        assert worker.wait(60) != 0
    else:
        wait_for(lambda: "c3" in worker.log.read_text(), 60, "a failing run")
        worker.stop()
    (tmp_path / "broken").unlink()
    worker = start()
    wait_for(lambda: len(trained.read_text().splitlines()) == 3, 60, "the third run")
    worker.stop()
    told = [line.split(" ", 1) for line in trained.read_text().splitlines()]
    assert [id_ for id_, _ in told] == ["a1", "b2", "c3"]
    trigger = json.loads(told[0][1])
    assert trigger["columns"] == list(RETRAIN.columns)
    assert trigger["model"] == RETRAIN.model
    assert [rule["text"] for rule in trigger["rules"]] == [rule.text for rule in RETRAIN.rules]
    assert set((tmp_path / "told").read_text().splitlines()) == {
        "credit 12 drift severe 1760606400000 1760609400000",
    }


def test_a_service_sends_what_it_predicts(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic("predictions")
    environment = {"KAFKA": kafka.bootstrap, "TOPIC": topic, "PORT": "0"}
    service = Child([sys.executable, EXAMPLES / "serving.py"], tmp_path / "log", environment=environment)
    try:
        service.wait_until(lambda: "scoring on" in service.log.read_text(), 60, "the service")
        url = service.log.read_text().split("scoring on ")[1].split()[0]
        features = json.dumps({"income": 1200, "age": 41, "region": "north"}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, features), timeout=10) as answer:
            scored = json.load(answer)
        wait_for(lambda: len(kafka.read(topic)) == 1, 20, "the event")
    finally:
        service.kill()
    assert [m.key() for m in kafka.read(topic)] == [scored["id"].encode()]

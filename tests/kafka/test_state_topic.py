"""Saved state that is damaged, wiped or made anew is never used, and the way out that is written down leads out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftbus.schemas.codec import pack_state
from driftbus.schemas.events import MonitorState
from driftbus.stream.cli.main import run
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.worker.snapshots import find_states
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .scenario import MONITOR, Scenario, rows

pytestmark = pytest.mark.kafka

ROWS, DRIFT_AT = 12_000, 4_000


@pytest.fixture
def scenario(kafka: Broker, nursery: Nursery) -> Iterator[Scenario]:
    made = Scenario(kafka, overrides={"topics": {"summaries_partitions": 1}}, nursery=nursery)
    yield made
    made.close()


def a_run(scenario: Scenario) -> Path:
    """A worker until there is a snapshot of all that was produced; its configuration."""
    worker, wanted = scenario.start(), scenario.expected().keys()
    worker.wait_ready()

    def stored() -> bool:
        found = newest(scenario)
        return found is not None and found.offset > 0 and scenario.published().keys() >= wanted

    wait_for(stored, 90, "events and a snapshot")
    assert worker.child.stop(30) == 0, worker.child.tail()
    return scenario.home / f"worker-{len(scenario.workers) - 1}.yaml"


def newest(scenario: Scenario) -> MonitorState | None:
    records = scenario.kafka.read(scenario.config.topics.state)
    return find_states(scenario.config.app, ((m.key(), m.value()) for m in records)).states.get(MONITOR)


def damage(scenario: Scenario, times: int) -> None:
    """Damaged records under the key of the newest snapshot: in each a bit has turned over."""
    rng = random.Random(7)
    last = [m for m in scenario.kafka.read(scenario.config.topics.state) if m.value() is not None][-1]
    records = []
    for _ in range(times):
        value = bytearray(last.value() or b"")
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        records.append({"key": last.key(), "value": bytes(value), "partition": last.partition()})
    scenario.kafka.produce(scenario.config.topics.state, records)


def test_a_damaged_snapshot_is_never_used(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    applications = rows(ROWS, seed=5, drift_at=DRIFT_AT)
    scenario.produce(applications[: ROWS // 3])
    config = str(a_run(scenario))

    damage(scenario, 1)
    assert run(["state", "verify", "-c", config]) == 0
    assert "a newer snapshot is damaged" in capsys.readouterr().out
    assert run(["state", "list", "--json", "-c", config]) == 0
    [listed] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "the one before it under the same key is whole" in listed["state"]
    scenario.produce(applications[ROWS // 3 : ROWS * 2 // 3])
    a_run(scenario)
    assert "an older one is used" in scenario.workers[-1].child.log.read_text()

    damage(scenario, 2)
    refused = scenario.start()
    assert refused.child.wait(60) == 4, refused.child.tail()
    assert f"no snapshot of monitor {MONITOR} can be read" in refused.child.tail()
    assert f"driftbus state forget {MONITOR}" in refused.child.tail()
    scenario.workers.pop()
    assert run(["state", "verify", "-c", config]) == 1
    assert run(["state", "forget", MONITOR, "-c", config]) == 1, "not without being asked"
    assert run(["state", "forget", MONITOR, "-c", config, "--yes"]) == 0
    assert "records of credit deleted" in capsys.readouterr().out
    assert run(["state", "verify", "-c", config]) == 0
    assert "begins with what is left" in capsys.readouterr().out
    scenario.produce(applications[ROWS * 2 // 3 :])
    worker = scenario.start()
    worker.wait_ready()
    assert run(["state", "forget", MONITOR, "-c", config, "--yes"]) == 2, "a worker runs"
    scenario.settle()


def test_a_state_topic_that_is_made_anew_costs_time_only(scenario: Scenario) -> None:
    applications = rows(ROWS, seed=6, drift_at=DRIFT_AT)
    scenario.produce(applications[: ROWS // 2])
    config = str(a_run(scenario))
    scenario.kafka.delete_topics(scenario.config.topics.state)
    wait_for(lambda: scenario.config.topics.state not in scenario.kafka.admin.list_topics(timeout=10).topics, 15, "it")
    missing = scenario.start()
    assert missing.child.wait(60) == 2
    assert "driftbus topics --create" in missing.child.tail()
    scenario.workers.pop()
    assert run(["topics", "--create", "-c", config]) == 0
    scenario.produce(applications[ROWS // 2 :])
    scenario.start()
    scenario.settle()


def test_a_monitor_is_forgotten_and_no_other(kafka: Broker, tmp_path: Path) -> None:
    topic, shard = kafka.create_topic("state", 4, {"cleanup.policy": "compact"}), shard_of("credit", 4)
    summaries = kafka.create_topic("summaries", 4)
    values = {
        "kafka": {"bootstrap": kafka.bootstrap},
        "monitors": {name: {"predictions": {"topic": "p"}} for name in ("credit", "credit2")},
        "topics": {"state": topic, "summaries": summaries, "summaries_partitions": 4},
    }
    (tmp_path / "driftbus.yaml").write_text(json.dumps(values))
    keys = ["driftbus/credit/a", "driftbus/credit/b", "driftbus/credit2/a", "other/credit/a"]
    state = pack_state(MonitorState("credit", 7, b"x"))
    kafka.produce(topic, [{"key": key, "value": state, "partition": shard} for key in keys])
    assert run(["state", "forget", "fraud", "-c", str(tmp_path / "driftbus.yaml"), "--yes"]) == 2
    assert run(["state", "forget", "credit", "-c", str(tmp_path / "driftbus.yaml"), "--yes"]) == 0
    left = find_states("driftbus", ((m.key(), m.value()) for m in kafka.read(topic)))
    assert set(left.keys) == {"credit2"}

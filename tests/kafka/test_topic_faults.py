"""Topics that have lost what was not read: the worker says so, skips nothing, and the way out that
docs/operations.md names leads to the events that a replay gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from driftbus.stream.cli.main import run
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .scenario import Scenario, rows
from .workers import Worker, event_of, start_worker

pytestmark = pytest.mark.kafka

ROWS, DRIFT_AT = 12_000, 4_000


@pytest.fixture
def scenario(kafka: Broker, nursery: Nursery) -> Iterator[Scenario]:
    made = Scenario(kafka, overrides={"topics": {"summaries_partitions": 1}}, nursery=nursery)
    yield made
    made.close()


def ended(scenario: Scenario, worker: Worker, code: int, *said: str) -> str:
    """Its configuration, once it has ended by itself with an exit code and has said some words."""
    assert worker.child.wait(120) == code, worker.child.tail()
    for words in said:
        assert words in worker.child.log.read_text(), worker.child.tail()
    scenario.workers.remove(worker)
    return str(worker.child.log.with_suffix(".yaml"))


def truncate(scenario: Scenario, topic: str, offsets: dict[int, int]) -> None:
    """Delete records before these offsets, as retention does."""
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for future in scenario.kafka.admin.delete_records(places).values():
        future.result(15)


def test_summaries_deleted_before_they_were_judged_and_sources_before_they_were_read(
    scenario: Scenario, tmp_path: Path
) -> None:
    applications, topics = rows(ROWS, seed=16, drift_at=DRIFT_AT), scenario.config.topics
    scenario.produce(applications[: ROWS // 2])
    worker, wanted = scenario.start(), scenario.expected().keys()
    wait_for(lambda: scenario.published().keys() >= wanted, 120, "events")
    wait_for(lambda: len(scenario.kafka.read(topics.state)) > 0, 60, "a snapshot")
    assert worker.child.stop(40) == 0, worker.child.tail()
    last = scenario.kafka.read(topics.summaries)[-1]
    scenario.kafka.produce(topics.summaries, [{"value": last.value(), "partition": 0}] * 3)  # repeated, and not judged
    truncate(scenario, topics.summaries, {0: scenario.kafka.end_offsets(topics.summaries)[0]})
    config = ended(scenario, scenario.start(), 4, "were deleted before they were")
    assert run(["state", "verify", "-c", config]) == 1
    assert run(["state", "forget", "credit", "-c", config, "--yes"]) == 0
    assert run(["state", "verify", "-c", config]) == 0
    goes_on = scenario.start()
    goes_on.wait_ready(120)
    assert goes_on.child.stop(40) == 0, goes_on.child.tail()

    scenario.produce(applications[ROWS // 2 :])
    ends = scenario.kafka.end_offsets(scenario.source)
    truncate(scenario, scenario.source, {0: ends[0] - 1_000, 2: ends[2] - 500})
    ended(scenario, scenario.start(), 4, "Records were deleted before they were read")
    document = json.loads(Path(config).read_text()) | {"app": f"{scenario.config.app}-again"}
    (tmp_path / "again.yaml").write_text(json.dumps(document))
    out = tmp_path / "events.jsonl"
    assert run(["replay", "-c", str(tmp_path / "again.yaml"), "--out", str(out)]) == 0
    left = {json.loads(line)["id"] for line in out.read_text().splitlines()}
    outputs = (topics.drift, topics.incidents, topics.retrain)
    before = {topic: scenario.kafka.end_offsets(topic)[0] for topic in outputs}
    scenario.workers.append(start_worker(scenario.home, document, 99, scenario.nursery))

    def come_since() -> set[str]:
        """What is decided again has the id that it had, with the figures of what is left."""
        records = [m for topic in outputs for m in scenario.kafka.read(topic) if (m.offset() or 0) >= before[topic]]
        return {event_of(m.value() or b"").id for m in records}

    wait_for(lambda: come_since() >= left, 120, "events of what is left")
    assert come_since() == left

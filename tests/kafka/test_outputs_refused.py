"""Topics of ours that are deleted, or that the login may not write to any more, while a worker runs: it stops, says
which and what to do, and has committed nothing past it; the next one publishes the rest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from driftbus.schemas.events import DriftEvent, Published
from driftbus.stream.cli.main import run
from driftbus.stream.doctor.rights import run_rights
from harness.broker import Broker
from harness.missing import running
from harness.nursery import Nursery
from harness.process import wait_for
from harness.secure import PASSWORD, SecureBroker

from .scenario import Scenario, rows
from .workers import Worker, event_of

pytestmark = pytest.mark.kafka

ROWS, DRIFT_AT, AGAIN_AT = 12_000, 2_000, 7_000


@pytest.fixture
def scenario(kafka: Broker, nursery: Nursery) -> Iterator[Scenario]:
    made = Scenario(kafka, nursery=nursery)
    yield made
    made.close()


@pytest.fixture(scope="module")
def secure_kafka() -> Iterator[SecureBroker]:
    with running(SecureBroker) as broker:
        yield broker


def applications() -> list[dict[str, Any]]:
    """Drift in the first half, and another one in the second."""
    found = rows(ROWS, seed=23, drift_at=DRIFT_AT)
    for row in found[AGAIN_AT:]:
        row["age"] += 25
    return found


def first_half(scenario: Scenario) -> tuple[Worker, dict[str, Published]]:
    """A worker that has published what the first half leads to."""
    worker = scenario.start()
    scenario.produce(applications()[: ROWS // 2])
    wanted = scenario.expected()
    wait_for(lambda: worker.child.returncode is not None or scenario.published().keys() >= wanted.keys(), 180, "events")
    assert worker.child.returncode is None, worker.child.tail()
    return worker, wanted


def ended(scenario: Scenario, worker: Worker, *said: str) -> str:
    """Its configuration, once it has stopped by itself with exit code 4 and some words."""
    with suppress(subprocess.TimeoutExpired):
        worker.child.wait(180)
    assert worker.child.returncode == 4, worker.child.tail(40)
    for words in said:
        assert words in worker.child.log.read_text(), worker.child.tail()
    scenario.workers.remove(worker)
    return str(worker.child.log.with_suffix(".yaml"))


def test_the_topic_of_events_is_deleted(scenario: Scenario) -> None:
    drift = scenario.config.topics.drift
    worker, before = first_half(scenario)
    lost = {event_of(m.value() or b"").id for m in scenario.kafka.read(drift)}
    scenario.kafka.delete_topics(drift)
    scenario.produce(applications()[ROWS // 2 :])
    config = ended(scenario, worker, f"topic {drift}", "driftbus topics --create")
    assert run(["topics", "--create", "-c", config]) == 0
    worker = scenario.start()
    wanted = scenario.expected()
    rest = {name for name, event in wanted.items() if isinstance(event, DriftEvent) and name not in before}
    assert rest, "nothing was left to be published"
    needed = rest | (wanted.keys() - lost)
    wait_for(lambda: worker.child.returncode is not None or scenario.published().keys() >= needed, 180, "the rest")
    assert worker.child.stop(40) == 0, worker.child.tail()
    found = scenario.published()
    assert found == {name: wanted[name] for name in found}, "an event that no replay gives"
    assert rest <= {event_of(m.value() or b"").id for m in scenario.kafka.read(drift)}


def test_the_topic_of_dead_letters_is_deleted_while_nothing_is_written_to_it(scenario: Scenario) -> None:
    topics = scenario.config.topics
    worker, _ = first_half(scenario)
    scenario.kafka.delete_topics(topics.deadletter)
    config = ended(scenario, worker, f"topic {topics.deadletter} is gone", "driftbus topics --create")
    scenario.produce(applications()[ROWS // 2 :])
    assert run(["topics", "--create", "-c", config]) == 0
    worker = scenario.start()
    wait_for(worker.ready, 180, "the next worker")
    # whatever makes topics by itself, and with its own settings: the next looks find one
    log, missed = worker.child.log, f"topic {topics.deadletter} can't be seen"
    before = log.read_text().count(missed)  # the worker before it wrote into the same file
    scenario.kafka.delete_topics(topics.deadletter)
    wait_for(lambda: log.read_text().count(missed) > before, 30, "a look that misses it")
    wait_for(lambda: _made(scenario, topics.deadletter), 30, "the topic, made anew")
    ended(scenario, worker, f"topic {topics.deadletter}", "made anew")
    scenario.start()
    scenario.settle()


def _made(scenario: Scenario, topic: str) -> bool:
    """Whether a topic of a name that was just deleted could be created."""
    if topic in scenario.kafka.admin.list_topics(timeout=10).topics:
        return False
    scenario.kafka.create_topic(topic, unique=False)
    return True


@pytest.mark.parametrize("role", ["drift", "deadletter"])
def test_the_right_to_write_is_taken_away(
    secure_kafka: SecureBroker, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    scenario = Scenario(secure_kafka, overrides={"kafka": {**secure_kafka.section, "session_timeout": "6s"}})
    topic = getattr(scenario.config.topics, role)
    try:
        secure_kafka.allow(right.what for right in run_rights(scenario.config))
        worker, _ = first_half(scenario)
        # it may still see the topic: only what is written to it is refused
        secure_kafka.allow([("topic", topic, "DESCRIBE")])
        secure_kafka.take(("topic", topic, "WRITE"))
        at = len(scenario.log[0])
        if role == "deadletter":
            scenario.log[0].append(b"garbage")
            scenario.kafka.produce(scenario.source, [{"value": b"garbage", "partition": 0}])
        scenario.produce(applications()[ROWS // 2 :])
        ended(scenario, worker, f"topic {topic}", "WRITE", "driftbus doctor --acls")
        if role == "deadletter":
            assert scenario.kafka.committed(scenario.tag, scenario.source)[0][0] <= at, "committed past a dead letter"
            assert not scenario.kafka.read(topic)

        secure_kafka.allow([("topic", topic, "WRITE")])
        scenario.start()
        scenario.settle()
        if role == "deadletter":
            assert {m.value() for m in scenario.kafka.read(topic)} == {b"garbage"}
    finally:
        scenario.close()
        secure_kafka.forbid()


def test_a_right_that_hides_a_topic_is_taken_away_while_nothing_is_written_to_it(
    secure_kafka: SecureBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    scenario = Scenario(secure_kafka, overrides={"kafka": {**secure_kafka.section, "session_timeout": "6s"}})
    topic = scenario.config.topics.deadletter
    try:
        secure_kafka.allow(right.what for right in run_rights(scenario.config))
        worker = scenario.start()
        worker.wait_ready(180)
        secure_kafka.take(("topic", topic, "WRITE"))
        ended(scenario, worker, f"topic {topic}", "WRITE", "driftbus doctor --acls")
    finally:
        scenario.close()
        secure_kafka.forbid()

"""Partitions that are added to a source topic while workers run: noticed, waited for, and no verdict is another one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.cimpl import NewPartitions

from driftbus.schemas.codec import decode_message
from driftbus.schemas.events import Registration
from driftbus.stream.cli.main import run
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .twins import Twin, events_of

pytestmark = pytest.mark.kafka

Make = Callable[..., Twin]
ROWS, FROM, FEW = 4_000, 1_500, 400
"""Rows before the partitions are added; rows sent before anybody can have noticed: 40 s, less than the lateness."""


@pytest.fixture
def twin(kafka: Broker, tmp_path: Path, nursery: Nursery) -> Iterator[Make]:
    made: list[Twin] = []

    def make(*args: Any, **kw: Any) -> Twin:
        made.append(Twin(kafka, tmp_path, *args, nursery=nursery, **kw))
        return made[-1]

    yield make
    for one in made:
        one.close()


def add_partitions(kafka: Broker, topic: str, count: int) -> None:
    kafka.admin.create_partitions([NewPartitions(topic, count)])[topic].result(30)
    wait_for(lambda: len(kafka.admin.list_topics(topic, timeout=10).topics[topic].partitions) == count, 30, topic)


def registered(kafka: Broker, topics: Twin, app: str) -> list[set[int]]:
    """Per summaries partition, the numbers of partitions that were registered."""
    found: list[set[int]] = [set(), set()]
    for message in kafka.read(topics.config(app).topics.summaries):
        said = decode_message(message.value() or b"")
        if isinstance(said, Registration):
            found[message.partition() or 0].add(said.partitions)
    return found


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_new_partitions_are_noticed_and_change_no_verdict(kafka: Broker, twin: Make, protocol: str) -> None:
    records = events_of(ROWS, labelled=False)["predictions"]
    settings = {"bootstrap": kafka.bootstrap, "session_timeout": "6s", "group_protocol": protocol}
    limits = {"pane": "1s", "lateness": "60s"}
    topics = twin(2, {"predictions": records[:FROM]}, {"kafka": settings, "limits": limits})
    app, source = topics.topics["predictions"], topics.topics["predictions"]
    path = topics.install(app)
    first = topics.start(app)
    topics.start(app)
    wait_for(lambda: bool(kafka.committed(app, source)), 180, "a commit")
    add_partitions(kafka, source, 4)
    topics.partitions = 4
    topics.produce("predictions", records[FROM : FROM + FEW])
    wait_for(
        lambda: all(max(s) == 4 for s in registered(kafka, topics, app)), 180, "the new partitions on the summaries"
    )
    topics.produce("predictions", records[FROM + FEW :])
    wait_for(lambda: kafka.committed(app, source).keys() == {0, 1, 2, 3}, 180, "commits of the new partitions")
    replayed = topics.replayed(app)
    assert {json.loads(line)["kind"] for line in replayed} == {"drift", "incident", "retrain"}
    said = first.metrics()
    assert topics.settle(app, replayed) == replayed
    counted = [line.split()[-1] for line in said.splitlines() if line.startswith("driftbus_contradictions_total{")]
    assert set(counted) <= {"0.0"}
    assert run(["replay", "-c", str(path), "--verify"]) == 0


def test_topics_that_are_joined_need_the_same_number(kafka: Broker, twin: Make) -> None:
    topics = twin(2, events_of(600))
    app = topics.topics["predictions"]
    topics.install(app)
    worker = topics.start(app)
    worker.wait_ready(180)
    add_partitions(kafka, topics.topics["predictions"], 3)
    assert worker.child.wait(180) == 4
    assert f"{topics.topics['predictions']} has got 3 partitions instead of 2" in worker.child.tail(60)
    assert "give both of them 3, and start again" in worker.child.tail(60)
    again = topics.start(app)
    assert again.child.wait(180) == 2, "they still differ"
    assert "has 2 partitions and" in again.child.tail(60)
    add_partitions(kafka, topics.topics["labels"], 3)
    topics.start(app).wait_ready(180)

"""`driftbus run` on a real broker: the events are those of the log, whatever happens to workers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.deployments import PARTITIONS, SCHEMA, Deployment, oracle, records, stream

from driftbus.schemas.framing import by_id, frame
from driftbus.stream.worker.deadletter import read_dead_letter
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for
from harness.registry import Registry

pytestmark = pytest.mark.kafka

ROWS, DRIFT_FROM = 40_000, 20_000
Make = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path, nursery: Nursery) -> Iterator[Make]:
    made: list[Deployment] = []

    def make(broker: Broker, **overrides: Any) -> Deployment:
        made.append(Deployment.make(broker, tmp_path, nursery=nursery, **overrides))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


def wait_for_events(deployment: Deployment, wanted: dict[str, Any], timeout_s: float = 120) -> None:
    """All of them, and nothing else."""
    try:
        wait_for(lambda: deployment.events().keys() >= wanted.keys(), timeout_s, "all events")
    except AssertionError:
        missing = [event for name, event in wanted.items() if name not in deployment.events()]
        raise AssertionError(f"missing {missing}\n{deployment.said()}") from None
    assert deployment.events() == wanted


def test_one_worker_publishes_what_the_log_says(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    assert "income" in {getattr(event, "column", "") for event in wanted.values()}
    worker = deployment.worker()
    kafka.produce(deployment.topic, records(partitions))
    wait_for_events(deployment, wanted)
    assert worker.stop() == 0, worker.tail()
    ends = kafka.end_offsets(deployment.topic)
    assert all(offset == end - 1 for (offset, _), end in zip(deployment.committed().values(), ends, strict=True))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_workers_that_come_and_go_change_no_event(kafka: Broker, deploy: Make, protocol: str) -> None:
    deployment = deploy(kafka, kafka_options={"group_protocol": protocol})
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    first = deployment.worker()
    produced = records(partitions)
    kafka.produce(deployment.topic, produced[: len(produced) // 2])
    deployment.wait_said(first, "took up")
    second = deployment.worker()
    deployment.wait_said(second, "took up")
    first.kill()
    third = deployment.worker()
    kafka.produce(deployment.topic, produced[len(produced) // 2 :])
    deployment.wait_said(third, "took up")
    assert second.stop() == 0, second.tail()
    wait_for_events(deployment, wanted)
    assert third.stop() == 0, third.tail()


def test_a_restart_goes_on_from_snapshots_and_a_broker_outage_is_survived(fragile_kafka: Broker, deploy: Make) -> None:
    deployment = deploy(fragile_kafka)
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    produced = records(partitions)
    first = deployment.worker()
    fragile_kafka.produce(deployment.topic, produced[: len(produced) // 2])
    wait_for(lambda: len(deployment.snapshots()) == 2, 120, "snapshots of both monitors")
    fragile_kafka.kill()
    fragile_kafka.start()
    first.kill()
    second = deployment.worker()
    deployment.wait_said(second, "judging")
    resumed = re.findall(r"judging [1-9]\d* monitors of \S+ from offset (\d+)", second.log.read_text())
    assert resumed
    assert all(int(offset) > 0 for offset in resumed)
    fragile_kafka.produce(deployment.topic, produced[len(produced) // 2 :])
    deployment.wait_said(second, "drift opened")
    fragile_kafka.kill()
    fragile_kafka.start()
    wait_for_events(deployment, wanted)
    assert second.stop() == 0, second.tail()


def test_bad_records_become_dead_letters_and_neighbours_are_counted(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    values = stream(4_000, 4_000)[0]
    bad = {"value": b"\xff" * 7, "key": b"k", "headers": [("trace", b"1")], "partition": 0}
    kafka.produce(deployment.topic, [{"value": v, "partition": 0} for v in values[:10]])
    kafka.produce(deployment.topic, [bad])
    kafka.produce(deployment.topic, [{"value": v, "partition": 0} for v in values[10:]])
    worker = deployment.worker()
    wait_for(lambda: len(kafka.read(deployment.config.topics.deadletter)) == 1, 30, "a dead letter")
    letter = read_dead_letter(kafka.read(deployment.config.topics.deadletter)[0])
    assert (letter.topic, letter.partition, letter.offset) == (deployment.topic, 0, 10)
    assert (letter.key, letter.value, letter.headers) == (b"k", b"\xff" * 7, [("trace", b"1")])
    wait_for(
        lambda: (
            f'driftbus_events_total{{stream="predictions",topic="{deployment.topic}"}} {len(values)}.0'
            in deployment.get(worker, "/metrics")[1]
        ),
        15,
        "the neighbours in the metrics",
    )
    wait_for(lambda: deployment.get(worker, "/readyz")[0] == 200, 15, "readiness")
    assert json.loads(deployment.get(worker, "/healthz")[1])["partitions"] == 6


def test_a_dead_letter_that_is_refused_stops_the_worker_before_anything_is_lost(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    topic = deployment.config.topics.deadletter
    kafka.delete_topics(topic)
    wait_for(lambda: topic not in kafka.admin.list_topics(timeout=5).topics, 10, "the topic's end")
    kafka.create_topic(topic, 1, {"max.message.bytes": "1000"}, unique=False)
    values = stream(400, 400)[0]
    values.insert(0, random.Random(1).randbytes(5_000))
    kafka.produce(deployment.topic, [{"value": v, "partition": 0} for v in values])
    worker = deployment.worker()
    assert worker.wait(30) == 4
    assert "max.message.bytes" in worker.tail(40)
    assert deployment.committed() == {}


def test_a_partition_waits_while_the_registry_is_down(kafka: Broker, fragile_registry: Registry, deploy: Make) -> None:
    deployment = deploy(kafka, registry={"url": fragile_registry.url, "timeout": "1s"}, schema_files=False)
    worker = deployment.worker()
    deployment.wait_said(worker, "judging")
    schema_id = fragile_registry.register(f"{deployment.topic}-value", json.dumps(SCHEMA))
    partitions = [[frame(by_id(schema_id), value) for value in values] for values in stream(ROWS, DRIFT_FROM)]
    wanted = oracle(deployment, stream(ROWS, DRIFT_FROM))
    fragile_registry.freeze()
    kafka.produce(deployment.topic, records(partitions))
    deployment.wait_said(worker, "waits")
    wait_for(lambda: deployment.get(worker, "/readyz")[0] == 503, 10, "readyz to say so")
    assert "not_waiting" in json.loads(deployment.get(worker, "/readyz")[1])["failing"]
    assert deployment.get(worker, "/healthz")[0] == 200
    fragile_registry.thaw()
    wait_for_events(deployment, wanted)
    assert worker.stop() == 0, worker.tail()


def test_a_silent_partition_is_passed_over(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, seal_after="3s")
    partitions = stream(ROWS, DRIFT_FROM)
    partitions[3] = []
    kafka.produce(deployment.topic, records(partitions))
    worker = deployment.worker()
    deployment.wait_said(worker, "drift opened")
    assert worker.stop() == 0, worker.tail()


def test_a_new_configuration_begins_a_new_epoch_where_the_old_one_ended(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    values = stream(4_000, 4_000)
    kafka.produce(deployment.topic, records(values))
    worker = deployment.worker()
    wait_for(lambda: len(deployment.committed()) == PARTITIONS, 30, "commits")
    assert worker.stop() == 0
    before = deployment.committed()
    deployment.configure(limits={"lateness": "40s", "range_records": 5_000})
    worker = deployment.worker()
    deployment.wait_said(worker, "begins at offset", times=PARTITIONS)
    wait_for(
        lambda: all(b[1] != deployment.committed()[p][1] for p, b in before.items()), 10, "commits of the new epoch"
    )
    after = deployment.committed()
    assert {p: offset for p, (offset, _) in after.items()} == {p: offset for p, (offset, _) in before.items()}
    assert all(text.endswith(f":{offset}") for offset, text in after.values())
    assert worker.stop() == 0


def test_workers_that_learn_a_profile_at_the_same_time_agree_on_it(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, learn={"period": "20m", "min_rows": 1_000})
    kafka.produce(deployment.topic, records(stream(ROWS, DRIFT_FROM)))
    workers = [deployment.worker(), deployment.worker()]
    for worker in workers:
        deployment.wait_said(worker, "took up", timeout_s=60)
    told = {re.findall(r"profile ([0-9a-f]{32}) of", worker.log.read_text())[0] for worker in workers}
    assert len(told) == 1
    wait_for(lambda: any(getattr(e, "column", "") == "income" for e in deployment.events().values()), 30, "the drift")
    assert {event.profile_id for event in deployment.events().values() if event.monitor == "credit"} == told
    assert [worker.stop() for worker in workers] == [0, 0]


def test_sigterm_ends_learning(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, learn={"period": "1d"})
    worker = deployment.worker()
    deployment.wait_said(worker, "learning it from the beginning", timeout_s=60)
    assert deployment.get(worker, "/healthz")[0] == 200
    assert deployment.get(worker, "/readyz")[0] == 503
    assert worker.stop() == 0, worker.tail()


def test_missing_topics_are_named(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    kafka.delete_topics(deployment.config.topics.state)
    worker = deployment.worker()
    assert worker.wait(30) == 2
    assert "driftbus topics --create" in worker.tail()


def test_no_broker_is_said_to_be_unreachable(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    deployment.configure(kafka={"bootstrap": "127.0.0.1:1"})
    assert deployment.worker().wait(40) == 3

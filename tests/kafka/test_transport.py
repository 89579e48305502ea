"""The transport on a real broker: every record exactly once in the committed state, whatever happens."""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka.bus_cases import Case, Worker

from harness.broker import Broker
from harness.process import wait_for

pytestmark = pytest.mark.kafka

PROTOCOLS = {"range": {"session_timeout": 6_000}, "kip848": {"group_protocol": "consumer"}}
MakeCase = Callable[..., Case]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> dict[str, Any]:
    return PROTOCOLS[request.param]


@pytest.fixture
def make_case(tmp_path: Path) -> Iterator[MakeCase]:
    cases: list[Case] = []

    def make(broker: Broker, kafka: dict[str, Any]) -> Case:
        cases.append(Case(broker, tmp_path, kafka))
        return cases[-1]

    yield make
    for case in cases:
        case.close()


def test_exact_across_join_sigterm_and_sigkill(kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]) -> None:
    case = make_case(kafka, protocol)
    loading = case.load_slowly(64_000, 8_000)
    stays = case.worker()
    stays.wait("restored")
    leaves = case.worker()
    leaves.wait("restored")
    assert leaves.stop() == 0
    dies = case.worker()
    dies.wait("restored")
    dies.child.kill()
    loading.join()
    case.wait_exact()
    assert stays.stop() == 0
    assert not any(worker.events("overlap") for worker in case.workers)


def test_exact_when_the_only_worker_is_killed(kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]) -> None:
    case = make_case(kafka, protocol)
    case.load(100_000)
    first = case.worker(slow_s=0.05)
    first.wait("restored")
    wait_for(lambda: bool(kafka.committed(case.group, case.topic)), 10, "a first commit")
    first.child.kill()
    case.worker()
    case.wait_exact()


def test_broker_outage_is_survived(fragile_kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]) -> None:
    case = make_case(fragile_kafka, protocol)
    loading = case.load_slowly(20_000, 4_000)
    worker = case.worker()
    worker.wait("restored")
    wait_for(lambda: bool(fragile_kafka.committed(case.group, case.topic)), 10, "a first commit")
    fragile_kafka.kill()
    fragile_kafka.start()
    loading.join()
    case.wait_exact()
    assert worker.stop() == 0


def test_nothing_is_committed_past_a_failure(kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]) -> None:
    case = make_case(kafka, protocol)
    case.load(40_000)
    worker = case.worker(poison=7_000, commit_s=0.05, slow_s=0.01)
    assert worker.child.wait(25) == 1
    assert kafka.committed(case.group, case.topic).get(0, (0, ""))[0] <= 7_000
    case.worker()
    case.wait_exact()


def test_partitions_lost_to_the_group_are_given_up(
    kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]
) -> None:
    case = make_case(kafka, protocol)
    loading = case.load_slowly(40_000, 4_000)
    frozen = case.worker()
    frozen.wait("restored")
    frozen.child.signal(signal.SIGSTOP)
    other = case.worker()
    other.wait("restored", timeout_s=20)
    frozen.child.signal(signal.SIGCONT)
    frozen.wait("gave up")
    loading.join()
    case.wait_exact()
    assert [frozen.stop(), other.stop()] == [0, 0]


def test_max_poll_interval_is_kept_by_a_slow_agent(kafka: Broker, make_case: MakeCase) -> None:
    case = make_case(kafka, {"session_timeout": 6_000, "options": {"max.poll.interval.ms": 6_000}})
    case.load(40_000)
    worker = case.worker(slow_s=3)
    worker.wait("restored")
    time.sleep(8)  # longer than the interval: the thing under test is that nothing happens
    assert not worker.events("gave up")


def test_assignment_lost_by_max_poll_interval_is_taken_up_again(kafka: Broker, make_case: MakeCase) -> None:
    """The event loop is blocked while a revoke waits for it, so the poll thread can't poll either."""
    case = make_case(kafka, {"session_timeout": 6_000, "options": {"max.poll.interval.ms": 6_000}})
    case.load(2_000)
    stuck = case.worker(block_s=9)
    stuck.wait("restored")
    other = case.worker()
    other.wait("restored", timeout_s=20)
    case.wait_exact(28)


def test_back_pressure_bounds_what_is_under_way(kafka: Broker, make_case: MakeCase) -> None:
    case = make_case(kafka, {"session_timeout": 6_000})
    case.load(200_000)
    worker = case.worker(slow_s=0.3)
    worker.wait("choked")
    assert worker.events("choked")[0]["batches"] <= 8 + len(case.expected)
    case.worker()
    worker.child.kill()
    case.wait_exact()


def test_reading_starts_where_the_state_says(kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]) -> None:
    case = make_case(kafka, protocol)
    case.load(4_000)
    first = case.worker()
    case.wait_exact()
    assert first.stop() == 0
    again = case.worker(start_at=400)
    wait_for(lambda: bool(again.events("overlap")), 15, "records read again")
    assert {event["first"] for event in again.events("overlap")} == {400}
    wait_for(
        lambda: (
            {n for n, _ in kafka.committed(case.group, case.topic).values()} == {1_000}
            and all(m.startswith("1600|") for _, m in kafka.committed(case.group, case.topic).values())
        ),
        15,
        "everything from 400 on counted twice",
    )


def test_sigterm_ends_in_time_when_the_broker_does_not_answer(
    fragile_kafka: Broker, make_case: MakeCase, protocol: dict[str, Any]
) -> None:
    case = make_case(fragile_kafka, protocol)
    case.load(40_000)
    worker = case.worker(slow_s=0.05)
    worker.wait("restored")
    wait_for(lambda: bool(fragile_kafka.committed(case.group, case.topic)), 10, "a first commit")
    fragile_kafka.freeze()
    worker.child.signal(signal.SIGTERM)
    assert worker.child.wait(28) == 0
    fragile_kafka.thaw()
    case.worker()
    case.wait_exact()


def test_static_member_restarts_without_a_rebalance(kafka: Broker, make_case: MakeCase) -> None:
    case = make_case(kafka, {"session_timeout": 6_000})
    stays = case.worker()
    stays.wait("restored")
    case.kafka["instance_id"] = "b"
    restarts = case.worker()
    restarts.wait("restored")
    gave_up = len(stays.events("gave up"))
    assert restarts.stop() == 0
    case.load(4_000)
    case.worker().wait("restored")
    case.wait_exact()
    assert len(stays.events("gave up")) == gave_up


@pytest.mark.parametrize("options", PROTOCOLS.values(), ids=PROTOCOLS)
def test_partitions_led_by_several_brokers(tmp_path: Path, options: dict[str, Any]) -> None:
    """On librdkafka's imitation of three brokers: each partition has another leader."""
    producer = Producer({"test.mock.num.brokers": 3, "log_level": 2})
    bootstrap = ",".join(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=10).brokers.values())
    spread = next(name for name in (f"spread-{i}" for i in range(30)) if len(_leaders(producer, name)) > 1)
    for i in range(20_000):
        producer.produce(spread, struct.pack("<q", i), partition=i % 4)
        producer.poll(0)
    assert producer.flush(20) == 0
    config = {"group": "several", "topics": [spread], "kafka": {"bootstrap": bootstrap, **options}}
    worker = Worker(config, tmp_path / "worker.log")
    try:
        worker.wait("restored")
        reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "several", "log_level": 2})
        places = [TopicPartition(spread, p) for p in range(4)]
        wait_for(lambda: [p.offset for p in reader.committed(places, 5)] == [5_000] * 4, 20, "all commits")
        reader.close()
        assert worker.stop() == 0
        assert worker.events("stopped")[0]["count"] == 20_000
    finally:
        worker.child.kill()


def _leaders(producer: Producer, topic: str) -> set[int]:
    """Brokers that lead partitions of a topic, which is made by asking; the imitation draws them at random."""
    return {p.leader for p in producer.list_topics(topic, timeout=10).topics[topic].partitions.values()}

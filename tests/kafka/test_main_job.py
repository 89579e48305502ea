"""`driftbus run` on a real Kafka: the events of an undisturbed run, whatever happens to workers and broker."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from driftbus.schemas.events import DriftEvent, RetrainTrigger
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .scenario import MONITOR, Scenario, rows

pytestmark = pytest.mark.kafka

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@pytest.fixture
def scenario(nursery: Nursery) -> Iterator[Callable[..., Scenario]]:
    made: list[Scenario] = []

    def make(kafka: Broker, **kw: Any) -> Scenario:
        made.append(Scenario(kafka, **{"nursery": nursery, **kw}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def group_protocol(kafka: Broker, protocol: str) -> dict[str, dict[str, Any]]:
    return {"kafka": {"bootstrap": kafka.bootstrap, "session_timeout": "6s", "group_protocol": protocol}}


def test_drift_and_one_trigger_come_out(kafka: Broker, scenario: Callable[..., Scenario]) -> None:
    s = scenario(kafka, nursery=None)  # as people start it
    s.produce(rows(12_000, seed=2, drift_at=8_000))
    s.start().wait_ready()
    s.settle()
    events = s.published().values()
    opened = {
        (e.column, e.what) for e in events if isinstance(e, DriftEvent) and e.status == "opened" and not e.segment
    }
    assert opened == {("income", "shift"), ("country", "nulls")}
    (trigger,) = [e for e in events if isinstance(e, RetrainTrigger)]
    assert (trigger.monitor, trigger.version, set(trigger.columns)) == (MONITOR, "1", {"income", "country"})
    assert trigger.ranges


def test_sigterm_drains_and_the_next_worker_goes_on(kafka: Broker, scenario: Callable[..., Scenario]) -> None:
    s = scenario(kafka)
    data = rows(12_000, seed=3, drift_at=8_000)
    producing = s.producing(data, per_second=2_000)
    for _ in range(3):
        worker = s.start()
        worker.wait_ready()
        wait_for(lambda: bool(kafka.committed(s.tag, s.source)) or not producing.is_alive(), 20, "a commit")
        worker.child.signal(signal.SIGTERM)
        assert worker.child.wait(20) == 0
    producing.join()
    s.start()
    s.settle()


@PROTOCOLS
def test_join_and_kill_change_no_verdict(kafka: Broker, scenario: Callable[..., Scenario], protocol: str) -> None:
    s = scenario(kafka, overrides=group_protocol(kafka, protocol))
    producing = s.producing(rows(30_000, seed=4, drift_at=18_000), per_second=1_500)
    first, second = s.start(), s.start()
    first.wait_ready()
    second.wait_ready()
    third = s.start()
    third.wait_ready()
    first.child.kill()
    producing.join()
    s.settle()


@PROTOCOLS
def test_a_second_worker_joins_while_a_backlog_is_read(
    kafka: Broker, scenario: Callable[..., Scenario], protocol: str
) -> None:
    """Partitions that are kept are read on while others move: what their agents hold must not be lost."""
    s = scenario(kafka, overrides=group_protocol(kafka, protocol))
    s.produce(rows(30_000, seed=4, drift_at=18_000))
    s.start()
    s.start()
    s.settle()


@PROTOCOLS
def test_a_worker_with_nothing_to_do_is_ready_and_takes_over(
    kafka: Broker, scenario: Callable[..., Scenario], protocol: str
) -> None:
    """A rollout waits for all replicas, those that are spare as well."""
    s = scenario(
        kafka,
        partitions=1,
        overrides={**group_protocol(kafka, protocol), "topics": {"summaries_partitions": 1}},
    )
    for worker in [s.start() for _ in range(3)]:
        worker.wait_ready()
    data = rows(12_000, seed=6, drift_at=8_000)
    s.produce(data[:6_000])
    owned = [int(worker.said()["partitions"]) for worker in s.workers]
    assert sum(owned) == 2
    for worker, partitions in zip(s.workers, owned, strict=True):
        if partitions:
            worker.child.kill()
    s.produce(data[6_000:])
    s.settle()


def test_the_broker_may_die(fragile_kafka: Broker, scenario: Callable[..., Scenario]) -> None:
    s = scenario(fragile_kafka)
    producing = s.producing(rows(16_000, seed=5, drift_at=9_000), per_second=2_000)
    worker = s.start()
    worker.wait_ready()
    fragile_kafka.kill()
    wait_for(lambda: not worker.ready(), 60, "the worker to say that it is not ready")
    assert worker.child.returncode is None
    fragile_kafka.start()
    producing.join()
    s.settle(90)


def test_a_frozen_worker_that_wakes_changes_nothing(kafka: Broker, scenario: Callable[..., Scenario]) -> None:
    s = scenario(kafka)
    producing = s.producing(rows(20_000, seed=6, drift_at=12_000), per_second=1_500)
    zombie = s.start()
    zombie.wait_ready()
    zombie.child.signal(signal.SIGSTOP)
    other = s.start()
    other.wait_ready()
    wait_for(lambda: sum(o for o, _ in kafka.committed(s.tag, s.source).values()) > 5_000, 60, "the other to take over")
    zombie.child.signal(signal.SIGCONT)
    producing.join()
    s.settle()

"""The short form of `make faults`: a few schedules of fixed seeds on a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.deployment import BROKER_SETTINGS
from faults.nemesis import carry_out, kinds, schedule
from harness.broker import Broker
from harness.missing import running
from harness.nursery import Nursery
from harness.proxied import ProxiedBroker

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A Kafka that may be harmed, with short sessions."""
    with running(lambda: ProxiedBroker(BROKER_SETTINGS)) as started:
        yield started


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert [str(schedule(seed)) for seed in range(20)] == [str(schedule(seed)) for seed in range(20)]
    drawn = {name for seed in range(300) for name in schedule(seed).names}
    assert drawn >= {kind.name for kind in kinds() if kind.needs <= {"broker", "labels", "proxy"}}


@pytest.mark.parametrize("seed", [2])
def test_the_history_is_what_a_replay_gives(broker: Broker, nursery: Nursery, seed: int) -> None:
    plan = schedule(seed, rows=6_000)
    _, result = carry_out(plan, broker, nursery)
    assert not result.error, f"{plan}\n{result.error}"

"""The short form of `make faults`: a few schedules of fixed seeds on a real Kafka, and a checker that can fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from faults.checker import Raw, compare, history_of
from faults.deployment import Deployment
from faults.load import Load
from faults.nemesis import STORM, Schedule, Strike, carry_out, kinds, schedule
from faults.shape import Shape
from faults.surroundings import SURROUNDINGS
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for
from harness.registry import Registry

pytestmark = pytest.mark.kafka

CASES = [(1081, True, ("broker-kill", "kill")), (871, False, ("kill", "zombie"))]
ROWS = 6_000


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert [str(schedule(seed)) for seed in range(20)] == [str(schedule(seed)) for seed in range(20)]
    for brokers, has in SURROUNDINGS.items():
        drawn = {name for seed in range(600) for name in schedule(seed, brokers=brokers).names}
        assert drawn == {STORM} | {kind.name for kind in kinds() if kind.needs <= {"labels", "registry"} | has}


@pytest.mark.registry
def test_a_registry_that_fails_beside_workers_that_do(broker: Broker, nursery: Nursery, registry: Registry) -> None:
    drawn = schedule(1152, rows=ROWS, labels=False, only=("kill", "registry"), brokers=1, registry=True)
    plan = replace(drawn, ready=True)
    assert plan.names == ("kill", "registry")
    on, result = carry_out(plan, broker, nursery, registry)
    assert not result.error, f"{plan}\n{result.error}"
    waited = sum(worker.process.log.read_text().count(" waits: ") for worker in on.workers)
    assert waited, "no worker had to wait for a schema"


@pytest.mark.parametrize(("seed", "labels", "only"), CASES)
def test_the_history_is_what_a_replay_gives(
    broker: Broker, nursery: Nursery, seed: int, labels: bool, only: tuple[str, ...]
) -> None:
    plan = schedule(seed, rows=ROWS, labels=labels, only=only, brokers=1)
    assert plan.names == only
    on, result = carry_out(plan, broker, nursery)
    assert not result.error, f"{plan}\n{result.error}"
    lies_are_found(on)


def dropped(raws: list[Raw], rng: random.Random) -> list[Raw]:
    gone = rng.choice(raws)
    return [raw for raw in raws if raw.event()["id"] != gone.event()["id"]]


def one_bit(raws: list[Raw], rng: random.Random) -> list[Raw]:
    at = rng.randrange(len(raws))
    value = bytearray(raws[at].value)
    value[rng.randrange(len(value))] ^= 1 << rng.randrange(7)
    return [*raws[:at], replace(raws[at], value=bytes(value)), *raws[at + 1 :]]


def doubled(raws: list[Raw], rng: random.Random) -> list[Raw]:
    return [*raws, replace(rng.choice(raws), headers=())]


def lies_are_found(on: Deployment) -> None:
    """What was published, with one thing wrong, is no longer what a replay gives. Repetitions are right."""
    raws, replayed = on.raws(), on.replayed().values()
    rng = random.Random(1)

    def found(lie: Callable[[list[Raw], random.Random], list[Raw]]) -> set[str]:
        return {kind.split()[0] for kind, _ in compare(history_of(lie(raws, rng)), replayed, records=on.records).wrong}

    assert compare(history_of([*raws, *raws]), replayed, records=on.records).ok
    assert found(dropped) == {"lost"}
    assert found(doubled) == {"doubled"}
    for _ in range(50):
        assert found(one_bit)
    less = list(replayed)[1:]
    assert [kind for kind, _ in compare(history_of(raws), less).wrong] == ["invented"]


@dataclass(frozen=True, slots=True)
class KillWhatStandsStill:
    """SIGKILL for the worker, when it has stopped itself."""

    name: str = "kill"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        (worker,) = on.running()
        status = Path(f"/proc/{worker.process.pid}/status")
        wait_for(lambda: "State:\tT" in status.read_text(), 90.0, "the worker to stand still")
        on.wanted = 0
        on.kill(worker)

    def heal(self, on: Deployment) -> None:
        on.wanted = on.shape.workers
        on.tend()


def test_a_worker_that_commits_too_much_is_found_out(broker: Broker) -> None:
    """Proof that the campaign sees a worker that loses what it had only in memory."""
    nursery = Nursery("faults.ablations:commit_what_was_read")
    try:
        shape = Shape(workers=1, partitions=3, executed=0.0)
        load = Load(seed=1, rows=ROWS, partitions=3, per_second=400)  # sent at once when all is well again
        plan = Schedule(1, shape, load, (Strike(1.0, 0.2, KillWhatStandsStill()),), ("kill",))
        _, result = carry_out(plan, broker, nursery, patience_s=5.0)
    finally:
        nursery.close()
    assert " lost\n" in result.error

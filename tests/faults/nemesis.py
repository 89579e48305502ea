"""What goes wrong when: a schedule from a seed, and how it is carried out."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults.checker import compare, history_of
from faults.deployment import Deployment
from faults.fault import Fault, Kind
from faults.load import Load, drawn
from faults.shape import Shape
from harness.clients import Kafka
from harness.nursery import Nursery
from harness.registry import Registry

STORM = "rebalances"
"""Ten joins and leaves one after the other, which no list has: it is made of other faults."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault at a moment, seconds after the first record, until it is healed."""

    at: float
    lasts: float
    fault: Fault

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.fault.name} for {self.lasts:.1f} s {self.fault!r}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run.

    Args:
        seed: all of it follows from it.
        shape, load: what the deployment is like, and what comes.
        strikes: what goes wrong.
        names: kinds of faults.
        command: `driftbus replay` itself says what is right, not its functions in this process.
        ready: the first record comes, and time begins, when all workers are ready; else they start meanwhile.
    """

    seed: int
    shape: Shape
    load: Load
    strikes: tuple[Strike, ...]
    names: tuple[str, ...] = ()
    command: bool = False
    ready: bool = False

    def __str__(self) -> str:
        oracle = "driftbus replay" if self.command else "the functions of driftbus replay"
        workers = "ready at the first record" if self.ready else "starting at the first record"
        return "\n".join(
            [
                f"seed {self.seed}, judged by {oracle}, workers {workers}",
                f"  {self.shape}",
                f"  {self.load}",
                *(f"  {s}" for s in self.strikes),
            ]
        )


@cache
def kinds() -> tuple[Kind, ...]:
    """Those of all modules `faults_*.py`, in the order of their names."""
    files = sorted(Path(__file__).parent.glob("faults_*.py"))
    return tuple(kind for file in files for kind in importlib.import_module(f"faults.{file.stem}").FAULTS)


def schedule(
    seed: int,
    *,
    only: Sequence[str] = (),
    brokers: int | None = None,
    rows: int = 12_000,
    labels: bool | None = None,
    registry: bool | None = None,
) -> Schedule:
    """The schedule of a seed.

    Args:
        seed: everything follows from it and from the other arguments.
        only: kinds to draw from; empty: all.
        brokers: 1 or 3; None: the seed says.
        rows: predictions.
        labels, registry: with or without; None: the seed says.
    """
    rng = random.Random(seed)
    few = random.Random(f"brokers of {seed}").random() < 0.9
    ready = random.Random(f"workers of {seed}").random() < 0.7
    asks = random.Random(f"registry of {seed}").random() < 0.25
    shape = Shape(
        workers=rng.choice([1, 1, 2, 2, 3, 4]),
        partitions=rng.randint(1, 6),
        shards=rng.choice([1, 2, 4]),
        protocol=rng.choice(["classic", "consumer"]),
        labels=rng.random() < 0.4 if labels is None else labels,
        format=rng.choice(["avro", "avro", "cloudevents-json"]),
        brokers=brokers or (1 if few else 3),
        registry=asks if registry is None else registry,
    )
    load = drawn(rng, shape.partitions, shape.labels, rows)
    lasts = rows / load.per_second + 2.0
    able = [k for k in kinds() if k.needs <= shape.has and (not only or k.name in only)]
    strikes, names = [], []
    if (not only or STORM in only) and (rng.random() < 0.1 or only == [STORM]):
        strikes += _storm(rng)
        names.append(STORM)
    for kind in rng.choices(able, [k.weight for k in able], k=rng.choice([1, 1, 2, 3, 4])) if able else ():
        strikes.append(Strike(rng.uniform(0, lasts), rng.uniform(*kind.lasts), kind.make(rng)))
        names.append(kind.name)
    told = tuple(sorted(set(names)))
    return Schedule(seed, shape, load, tuple(sorted(strikes, key=lambda s: s.at)), told, rng.random() < 0.08, ready)


def _storm(rng: random.Random) -> list[Strike]:
    """Ten rebalances within a minute, at the least."""
    by_name = {kind.name: kind for kind in kinds()}
    made = []
    for number in range(5):
        kind = by_name[rng.choice(["join", "kill", "term"])]
        gap = rng.uniform(1.5, 3.5)
        made.append(Strike(number * 3.0 + rng.random(), gap, kind.make(rng)))
    return made


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run.

    Attributes:
        events: that a replay gives.
        records: that were published, repetitions included.
        error: empty if nothing is wrong.
        seconds: of wall time.
        notes: what is remarkable.
    """

    events: int
    records: int
    error: str
    seconds: float
    notes: tuple[str, ...]


def carry_out(
    plan: Schedule,
    kafka: Kafka,
    nursery: Nursery | None,
    registry: Registry | None = None,
    *,
    patience_s: float = 150.0,
) -> tuple[Deployment, Result]:
    """Run a schedule, and compare; the deployment's workers have ended, its topics and its folder are left.

    Args:
        plan: the schedule.
        kafka: one broker or three, as the shape says, that may be harmed; all is well again afterwards.
        nursery: forks workers.
        registry: that may be harmed, where the shape asks for one; all is well again afterwards.
        patience_s: how long the last events may take once nothing is wrong any more.
    """
    begun, error = time.monotonic(), ""
    rng, registry = random.Random(plan.seed), registry if plan.shape.registry else None
    on = Deployment(kafka, plan.shape, nursery, rng, registry=registry)
    try:
        contradictions = _run(plan, on, patience_s)
    except AssertionError as failed:
        error, contradictions = f"{str(failed) or repr(failed)}\n", 0.0
    finally:
        _heal(plan, on)
        on.kill_all()
    raws, replayed = on.raws(), on.replayed()
    on.close()
    error += compare(history_of(raws), replayed.values(), contradictions, on.records).told()
    return on, Result(len(replayed), len(raws), error, time.monotonic() - begun, tuple(on.notes))


def _run(plan: Schedule, on: Deployment, patience_s: float) -> float:
    """The contradictions that were counted, at the end."""
    on.tend()
    if plan.ready:
        on.wait_ready(patience_s)
    on.send(plan.load.records(), plan.load.per_second)
    _strike(plan, on)
    on.wait_sent()
    assert len(on.replayed(plan.command)) > 5, "a log that leads to nothing proves little"
    on.settle(patience_s)
    contradictions = on.contradictions()
    on.stop_all()
    assert not on.problems, on.problems[0]
    return contradictions


def _strike(plan: Schedule, on: Deployment) -> None:
    """Everything at its time; at the end all is healed."""
    begun = time.monotonic()
    steps = [(s.at, True, n, s) for n, s in enumerate(plan.strikes)]
    steps += [(s.at + s.lasts, False, n, s) for n, s in enumerate(plan.strikes)]
    for at, hurts, number, strike in sorted(steps, key=lambda step: step[:3]):
        while (left := begun + at - time.monotonic()) > 0:
            time.sleep(min(0.5, left))
            on.tend()
        if hurts:
            strike.fault.strike(on, random.Random(plan.seed * 1_000 + number))
        else:
            strike.fault.heal(on)
    _heal(plan, on)


def _heal(plan: Schedule, on: Deployment) -> None:
    for strike in plan.strikes:
        strike.fault.heal(on)

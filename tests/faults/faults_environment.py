"""What is around a worker: its wall clock, saved state that is harmed, topics that take nothing for a while."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, Message
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from faults.deployment import Deployment
from faults.fault import Kind
from harness.jumpingclock import Clock

_TRY_S, _TRIES = 2.0, 60


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A worker whose wall clock jumps, in steps; it stays where it has come to."""

    jumps_s: tuple[int, ...]
    name: str = "clock"
    _done: threading.Event = field(default_factory=threading.Event, repr=False)

    def strike(self, on: Deployment, rng: random.Random) -> None:
        clock = Clock(on.home / f"clock-{len(on.workers)}")
        if (victim := on.choose(rng)) is not None:
            on.kill(victim)
        on.start(clock.environment)
        threading.Thread(target=self._jump, args=(clock,), daemon=True).start()

    def heal(self, on: Deployment) -> None:
        self._done.set()

    def _jump(self, clock: Clock) -> None:
        for seconds in self.jumps_s:
            if self._done.wait(_TRY_S):
                return
            clock.jump(seconds)


@dataclass(frozen=True, slots=True)
class HarmState:
    """Bits turn over in the newest snapshots, or all of them are deleted; then a worker is killed, as one looks at them
    only when it takes up partitions."""

    damage: bool
    name: str = "state"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        victim = on.choose(rng)

        def harm() -> None:
            topic = on.config.topics.state
            last = {(m.partition(), m.key()): m for m in on.kafka.read(topic)}
            alive = [m for m in last.values() if m.value() is not None]
            on.kafka.produce(topic, self._records(alive, rng), {"delivery.timeout.ms": 5_000})
            if victim is not None and victim.runs:
                on.kill(victim)

        _try_in_background(harm, times=1)

    def heal(self, on: Deployment) -> None:
        """What was written stays written."""

    def _records(self, alive: Iterable[Message], rng: random.Random) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for message in sorted(alive, key=lambda m: (m.key() or b"").count(b"/")):
            value = bytearray(message.value() or b"")
            value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
            is_main = (message.key() or b"").count(b"/") == 2
            if is_main or not self.damage:
                written = bytes(value) if self.damage else None
                found.append({"key": message.key(), "value": written, "partition": message.partition()})
        return found


@dataclass(frozen=True, slots=True)
class NoReplicas:
    """One of our topics asks for more replicas in sync than there are: it takes nothing, and the worker waits."""

    role: str
    name: str = "no-replicas"
    _healed: threading.Event = field(default_factory=threading.Event, repr=False)

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _try_in_background(lambda: None if self._healed.is_set() else self._ask_for(on, 2), times=1)

    def heal(self, on: Deployment) -> None:
        self._healed.set()
        _try_in_background(lambda: self._ask_for(on, 1), times=_TRIES)

    def _ask_for(self, on: Deployment, replicas: int) -> None:
        topic = getattr(on.config.topics, self.role)
        entry = ConfigEntry("min.insync.replicas", str(replicas), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in on.kafka.admin.incremental_alter_configs([resource], request_timeout=_TRY_S).values():
            future.result(_TRY_S + 1)


def _try_in_background(step: Callable[[], None], times: int) -> None:
    """The broker may be down or frozen just now; whoever strikes is not kept waiting."""

    def tries() -> None:
        for _ in range(times):
            with suppress(KafkaException, TimeoutError, AssertionError):
                step()
                return
            threading.Event().wait(_TRY_S / 2)

    threading.Thread(target=tries, daemon=True).start()


_HOUR_S = 3_600
_CLOCK = frozenset({"clock"})
_STATE = frozenset({"broker"})

FAULTS = [
    Kind("clock", lambda rng: ClockJump(tuple(rng.randint(-9 * _HOUR_S, 9 * _HOUR_S) for _ in range(4))),
         lasts=(4.0, 12.0), needs=_CLOCK, weight=1.0),
    Kind("state-damaged", lambda rng: HarmState(True, "state-damaged"), lasts=(0.0, 1.0), needs=_STATE, weight=1.0),
    Kind("state-wiped", lambda rng: HarmState(False, "state-wiped"), lasts=(0.0, 1.0), needs=_STATE, weight=1.0),
    Kind("no-replicas", lambda rng: NoReplicas(rng.choice(["summaries", "drift", "incidents", "state"])),
         lasts=(1.0, 8.0), needs=_STATE, weight=1.0),
]  # fmt: skip

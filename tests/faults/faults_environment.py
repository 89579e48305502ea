"""What is around a worker: its wall clock, and saved state that is harmed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, Message

from faults.deployment import Deployment
from faults.fault import Kind
from harness.jumpingclock import Clock

_TRY_S = 2.0


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

        _in_background(harm)

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


def _in_background(step: Callable[[], None]) -> None:
    """The broker may be down or frozen just now; whoever strikes is not kept waiting."""

    def try_() -> None:
        with suppress(KafkaException, TimeoutError, AssertionError):
            step()

    threading.Thread(target=try_, daemon=True).start()


_HOUR_S = 3_600
_CLOCK = frozenset({"clock"})
_STATE = frozenset({"broker"})

FAULTS = [
    Kind("clock", lambda rng: ClockJump(tuple(rng.randint(-9 * _HOUR_S, 9 * _HOUR_S) for _ in range(4))),
         lasts=(4.0, 12.0), needs=_CLOCK, weight=1.0),
    Kind("state-damaged", lambda rng: HarmState(True, "state-damaged"), lasts=(0.0, 1.0), needs=_STATE, weight=1.0),
    Kind("state-wiped", lambda rng: HarmState(False, "state-wiped"), lasts=(0.0, 1.0), needs=_STATE, weight=1.0),
]  # fmt: skip

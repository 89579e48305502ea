"""A broker that crashes, stops, does not answer for a while, or takes what is written to it slowly."""

from __future__ import annotations

import random
import subprocess
import threading
from dataclasses import dataclass, field
from typing import cast

from faults.deployment import Deployment
from faults.fault import Kind
from harness.broker import Broker

_TRIES = 60


@dataclass(frozen=True, slots=True)
class KillBroker:
    """SIGKILL; started again on its data when it is healed."""

    name: str = "broker-kill"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        on.kill_broker()

    def heal(self, on: Deployment) -> None:
        on.heal_broker()


@dataclass(frozen=True, slots=True)
class FreezeBroker:
    """SIGSTOP: connections stay open and nothing answers, for longer than sessions and requests last."""

    name: str = "broker-freeze"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        on.freeze_broker()

    def heal(self, on: Deployment) -> None:
        on.heal_broker()


@dataclass(frozen=True, slots=True)
class Quota:
    """Workers may write no more than so many bytes a second to the broker; they read as ever."""

    bytes_per_second: int
    name: str = "quota"
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    def strike(self, on: Deployment, rng: random.Random) -> None:
        threading.Thread(target=self._throttle, args=(on,), daemon=True).start()

    def heal(self, on: Deployment) -> None:
        self._over.set()

    def _throttle(self, on: Deployment) -> None:
        self._alter(on, "--add-config", f"producer_byte_rate={self.bytes_per_second}")
        self._over.wait()
        self._alter(on, "--delete-config", "producer_byte_rate")

    def _alter(self, on: Deployment, *change: str) -> None:
        """Until the broker has taken it, which may be down or frozen just now."""
        broker = cast(Broker, on.kafka)
        whose = "--entity-type", "clients", "--entity-name", f"{on.config.app}-outbox"
        for _ in range(_TRIES):
            try:
                broker.tool(
                    "kafka.admin.ConfigCommand", "--bootstrap-server", broker.bootstrap, "--alter", *whose, *change
                )
            except (RuntimeError, subprocess.TimeoutExpired):
                self._over.wait(1.0)
            else:
                return
        raise RuntimeError(f"the broker took no quota in {_TRIES} tries")


FAULTS = [
    Kind("broker-kill", lambda rng: KillBroker(), lasts=(0.0, 6.0), needs=frozenset({"broker"}), weight=2.0),
    Kind("broker-freeze", lambda rng: FreezeBroker(), lasts=(1.0, 8.0), needs=frozenset({"broker"}), weight=1.5),
    Kind("broker-gone", lambda rng: FreezeBroker("broker-gone"), lasts=(12.0, 25.0), needs=frozenset({"broker"}),
         weight=0.7),
    Kind("quota", lambda rng: Quota(rng.choice((300, 3_000, 30_000))), lasts=(4.0, 20.0), needs=frozenset({"broker"})),
]  # fmt: skip

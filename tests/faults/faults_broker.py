"""A broker that crashes, stops, or does not answer for a while."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.deployment import Deployment
from faults.fault import Kind


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


FAULTS = [
    Kind("broker-kill", lambda rng: KillBroker(), lasts=(0.0, 6.0), needs=frozenset({"broker"}), weight=2.0),
    Kind("broker-freeze", lambda rng: FreezeBroker(), lasts=(1.0, 8.0), needs=frozenset({"broker"}), weight=1.5),
    Kind("broker-gone", lambda rng: FreezeBroker("broker-gone"), lasts=(12.0, 25.0), needs=frozenset({"broker"}),
         weight=0.7),
]  # fmt: skip

"""Workers that are killed, told to stop, frozen, joined by others, all at once or one after the other."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.deployment import Deployment
from faults.fault import Kind
from faults.surroundings import SESSION_MS


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL for some of the workers; the supervisor starts them again when it is healed."""

    share: float
    name: str = "kill"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        victims = on.running()
        for worker in rng.sample(victims, round(self.share * len(victims)) or min(1, len(victims))):
            on.wanted -= 1
            on.kill(worker)

    def heal(self, on: Deployment) -> None:
        on.wanted = on.shape.workers
        on.tend()


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM: it finishes, commits, leaves."""

    name: str = "term"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        if (worker := on.choose(rng)) is not None:
            on.wanted -= 1
            on.ask_to_stop(worker)

    def heal(self, on: Deployment) -> None:
        on.wanted = on.shape.workers
        on.tend()


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP for some of the workers, for longer than the session: zombies that wake and go on where they were."""

    share: float
    name: str = "zombie"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        victims = [worker for worker in on.running() if not worker.frozen]
        for worker in rng.sample(victims, round(self.share * len(victims)) or min(1, len(victims))):
            on.freeze(worker)

    def heal(self, on: Deployment) -> None:
        on.thaw()


@dataclass(frozen=True, slots=True)
class Join:
    """One worker more than there should be; one leaves when it is healed."""

    name: str = "join"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        on.start()

    def heal(self, on: Deployment) -> None:
        spare = [worker for worker in on.running() if not worker.frozen and not worker.asked]
        if len(spare) > on.shape.workers:
            on.ask_to_stop(on.rng.choice(spare))


_SESSION_S = SESSION_MS / 1000

FAULTS = [
    Kind("kill", lambda rng: Kill(rng.choice([0.3, 0.3, 1.0])), lasts=(0.0, 6.0), weight=3.0),
    Kind("term", lambda rng: Terminate(), lasts=(0.0, 6.0), weight=2.0),
    Kind("zombie", lambda rng: Freeze(rng.choice([0.3, 0.3, 1.0])), lasts=(_SESSION_S + 1, _SESSION_S * 3), weight=3.0),
    Kind("pause", lambda rng: Freeze(0.5, "pause"), lasts=(0.2, _SESSION_S), weight=1.0),
    Kind("join", lambda rng: Join(), lasts=(1.0, 10.0), weight=2.0),
]

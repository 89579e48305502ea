"""What a fault is. Each family has a module `faults_*.py` with a list `FAULTS`, of which the nemesis draws.

    FAULTS = [Kind("kill", lambda rng: Kill(rng.random()), lasts=(0.5, 8.0))]

A fault is a frozen dataclass: what it prints is what it does, and a schedule can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from faults.deployment import Deployment


class Fault(Protocol):
    """Something that goes wrong, and is put right again. Several may last at the same time."""

    @property
    def name(self) -> str: ...

    def strike(self, on: Deployment, rng: random.Random) -> None:
        """Do harm; returns at once. `rng` chooses what the parameters leave open."""

    def heal(self, on: Deployment) -> None:
        """Put it right. Safe to call at any time, more than once, and when nothing was struck."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault that the nemesis may draw.

    Args:
        name: of the kind; a fault's own name may say more.
        make: a fault with parameters drawn.
        lasts: shortest and longest time until it is healed, seconds.
        needs: what a deployment must have: "labels", "registry", "cluster", "proxy" (see `Shape.has`).
        weight: how often it is drawn, beside others.
    """

    name: str
    make: Callable[[random.Random], Fault]
    lasts: tuple[float, float] = (1.0, 8.0)
    needs: frozenset[str] = frozenset()
    weight: float = 1.0

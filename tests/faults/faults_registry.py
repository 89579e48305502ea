"""A schema registry that is down, slow, frozen, or answers what no registry would."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.deployment import Deployment
from faults.fault import Kind
from harness.registryproxy import NOT_THERE, REFUSING, TROUBLES, WRONG_PAGE, RegistryProxy

_REFUSED = 2
_OF_A_CONFIGURATION = (REFUSING, WRONG_PAGE, NOT_THERE)


@dataclass(frozen=True, slots=True)
class Answers:
    """It answers all questions in one wrong way, or none."""

    how: str
    name: str = "registry"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        if TROUBLES[self.how] in _OF_A_CONFIGURATION:
            on.excused.add(_REFUSED)  # who starts meanwhile is told that its address or its password is wrong
        _proxy(on).fail(TROUBLES[self.how])

    def heal(self, on: Deployment) -> None:
        _proxy(on).fail(None)


@dataclass(frozen=True, slots=True)
class Slow:
    """It answers later: within the time that clients give it, or not."""

    delay_s: float
    name: str = "registry-slow"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _proxy(on).delay_s = self.delay_s

    def heal(self, on: Deployment) -> None:
        _proxy(on).delay_s = 0.0


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP for the registry itself."""

    name: str = "registry-freeze"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        assert on.registry is not None
        on.registry.freeze()

    def heal(self, on: Deployment) -> None:
        assert on.registry is not None
        on.registry.thaw()


def _proxy(on: Deployment) -> RegistryProxy:
    assert on.registry_proxy is not None
    return on.registry_proxy


_NEEDS = frozenset({"registry"})
FAULTS = [
    Kind("registry", lambda rng: Answers(rng.choice(sorted(TROUBLES))), lasts=(1.0, 12.0), needs=_NEEDS, weight=4.0),
    Kind("registry-slow", lambda rng: Slow(round(rng.uniform(0.1, 3.0), 1)), lasts=(1.0, 12.0), needs=_NEEDS),
    Kind("registry-freeze", lambda rng: Freeze(), lasts=(1.0, 10.0), needs=_NEEDS),
]

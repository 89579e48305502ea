"""A network between workers and broker that is cut, hangs, tears connections or crawls."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.deployment import Deployment
from faults.fault import Kind
from harness.proxied import ProxiedBroker
from harness.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Cut:
    """Connections are reset, new ones refused."""

    name: str = "net-cut"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _proxy(on).cut()

    def heal(self, on: Deployment) -> None:
        _proxy(on).heal()


@dataclass(frozen=True, slots=True)
class Hang:
    """A black hole, in both directions or only for answers: then the broker does what nobody hears of."""

    answers_only: bool
    name: str = "net-hang"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        proxy = _proxy(on)
        if self.answers_only:
            proxy.hang("answers")
        else:
            proxy.hang()

    def heal(self, on: Deployment) -> None:
        _proxy(on).heal()


@dataclass(frozen=True, slots=True)
class Tear:
    """Connections break in the middle of an answer, again and again."""

    after_bytes: int
    name: str = "net-tear"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _proxy(on).tear(self.after_bytes)

    def heal(self, on: Deployment) -> None:
        _proxy(on).heal()


@dataclass(frozen=True, slots=True)
class Crawl:
    """Every 16 KiB take that much longer."""

    delay_s: float
    name: str = "net-slow"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _proxy(on).slow(self.delay_s)

    def heal(self, on: Deployment) -> None:
        _proxy(on).heal()


def _proxy(on: Deployment) -> Proxy:
    assert isinstance(on.kafka, ProxiedBroker)
    return on.kafka.proxy


_NEEDS = frozenset({"proxy"})
FAULTS = [
    Kind("net-cut", lambda rng: Cut(), lasts=(0.0, 10.0), needs=_NEEDS),
    Kind("net-hang", lambda rng: Hang(rng.random() < 0.4), lasts=(1.0, 15.0), needs=_NEEDS, weight=1.5),
    Kind("net-tear", lambda rng: Tear(rng.randrange(1_000, 200_000)), lasts=(1.0, 10.0), needs=_NEEDS),
    Kind("net-slow", lambda rng: Crawl(round(rng.uniform(0.02, 0.5), 2)), lasts=(2.0, 15.0), needs=_NEEDS),
]

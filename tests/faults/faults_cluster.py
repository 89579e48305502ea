"""Three brokers, of which those that lead are killed, hang, restart, or can't be reached."""

from __future__ import annotations

import random
from dataclasses import dataclass

from confluent_kafka import KafkaException

from faults.deployment import Deployment
from faults.fault import Kind
from harness.cluster import BROKERS, Cluster

LEADERS = ("source", "summaries", "state", "coordinator", "any")
"""Whose broker is harmed: the leader of a topic, the group's coordinator, or whichever."""


@dataclass(frozen=True, slots=True)
class KillLeader:
    """SIGKILL or SIGTERM for brokers that lead; two of three stop all writing. Started again when it is healed."""

    of: tuple[str, ...]
    clean: bool
    name: str = "leader-kill"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        cluster = _cluster(on)
        for number in {_leader(on, of, rng) for of in self.of}:
            broker = cluster.brokers[number]
            if broker.alive:
                broker.thaw()
                (broker.stop if self.clean else broker.kill)()

    def heal(self, on: Deployment) -> None:
        _well_again(_cluster(on))


@dataclass(frozen=True, slots=True)
class FreezeLeader:
    """SIGSTOP: it still leads for those who believe it, until the controller misses it."""

    of: str
    name: str = "leader-freeze"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        broker = _cluster(on).brokers[_leader(on, self.of, rng)]
        if broker.alive:
            broker.freeze()

    def heal(self, on: Deployment) -> None:
        _well_again(_cluster(on))


@dataclass(frozen=True, slots=True)
class CutOff:
    """Brokers reach one another, workers don't reach one of them, or none."""

    of: str
    hang: bool
    name: str = "leader-cut"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        proxies = _cluster(on).proxies
        chosen = list(proxies.values()) if self.of == "all" else [proxies[_leader(on, self.of, rng)]]
        for proxy in chosen:
            (proxy.hang if self.hang else proxy.cut)()

    def heal(self, on: Deployment) -> None:
        for proxy in _cluster(on).proxies.values():
            proxy.heal()


def _cluster(on: Deployment) -> Cluster:
    assert isinstance(on.kafka, Cluster)
    return on.kafka


def _leader(on: Deployment, of: str, rng: random.Random) -> int:
    """The broker that is meant; any if nobody can say."""
    cluster, topics = _cluster(on), on.config.topics
    names = {"source": on.source, "summaries": topics.summaries, "state": topics.state}
    try:
        if of == "coordinator":
            return cluster.coordinator(on.config.app)
        if of in names:
            return cluster.leader(names[of], timeout_s=5.0)
    except (AssertionError, KafkaException):
        pass
    return rng.choice(BROKERS)


def _well_again(cluster: Cluster) -> None:
    for number, broker in cluster.brokers.items():
        if broker.alive:
            broker.thaw()
        else:
            cluster.restart(number)


def _kill(rng: random.Random) -> KillLeader:
    return KillLeader(tuple(rng.choices(LEADERS, k=rng.choice([1, 1, 2]))), rng.random() < 0.3)


_NEEDS = frozenset({"cluster"})

FAULTS = [
    Kind("leader-kill", _kill, lasts=(0.5, 8.0), needs=_NEEDS, weight=6.0),
    Kind("leader-freeze", lambda rng: FreezeLeader(rng.choice(LEADERS)), lasts=(1.0, 15.0), needs=_NEEDS, weight=4.0),
    Kind("leader-cut", lambda rng: CutOff(rng.choice([*LEADERS, "all"]), rng.random() < 0.5), lasts=(1.0, 12.0),
         needs=_NEEDS, weight=3.0),
]  # fmt: skip

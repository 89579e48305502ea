"""Brokers that may be harmed, with short sessions."""

from __future__ import annotations

from collections.abc import Mapping

from harness.broker import Broker
from harness.cluster import Cluster
from harness.jumpingclock import available
from harness.proxied import ProxiedBroker

_ANY = {"clock"} if available() else set[str]()

SURROUNDINGS = {1: frozenset({"broker", "proxy"} | _ANY), 3: frozenset({"cluster"} | _ANY)}
"""By the number of brokers, what there is that faults may need."""

SESSION_MS = 4_000
"""A worker not heard of for so long loses its partitions, in either protocol."""

BROKER_SETTINGS: Mapping[str, object] = {
    "group.min.session.timeout.ms": 1_000,
    "group.consumer.min.session.timeout.ms": SESSION_MS,
    "group.consumer.session.timeout.ms": SESSION_MS,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 500,
}


def make_broker() -> Broker:
    """One broker, which workers reach through a proxy."""
    return ProxiedBroker(BROKER_SETTINGS)


def make_cluster() -> Cluster:
    """Three brokers, which workers reach through a proxy each."""
    return Cluster(BROKER_SETTINGS)

"""A broker that may be harmed, with short sessions; and how to ask it while it finds itself again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from confluent_kafka import KafkaException

from driftbus.schemas.errors import Unavailable
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


T = TypeVar("T")


def patiently(ask: Callable[[], T], timeout_s: float = 60.0) -> T:
    """What a broker says, which may not have found itself again right after its start."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except (KafkaException, Unavailable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)

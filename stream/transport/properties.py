"""librdkafka: the properties of our consumer, and which of its errors mean what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError

from driftbus.schemas.config import KafkaConfig

TRANSIENT = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError._IN_PROGRESS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""Passes by itself when the brokers are back."""

MOVED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._STATE,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
    }
)
"""A commit was refused because the group moved on: the new owner reads again from the last commit."""


def is_transient(error: KafkaError) -> bool:
    """Whether waiting is the right answer."""
    return bool(error.retriable()) or error.code() in TRANSIENT


def may_pass(error: KafkaError) -> bool:
    """Whether a worker that runs goes on in spite of it.

    A login that was good at the start and is refused now is one that is being renewed: a token at the end of its
    life, a password that changes on both sides. What can't be done meanwhile is tried again, and `/readyz` tells.
    """
    return is_transient(error) or error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)


def means_nothing_without_a_group(error: KafkaError) -> bool:
    """Whether an error is only about a group that a reader must name and never joins.

    Such a reader needs no right on any group.
    """
    return bool(error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED)


def consumer_properties(kafka: KafkaConfig, group: str) -> dict[str, Any]:
    """Properties of the consumer of a group.

    Offsets are committed by hand only, and a committed offset that retention has deleted is an
    error, not a silent jump: ``auto.offset.reset=error``.
    """
    properties: dict[str, Any] = {
        "group.id": group,
        "client.id": f"{group}-worker",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "check.crcs": True,
        # a fetcher that met a full queue looks again after this; the default of 1 s stalls a slow engine
        "fetch.queue.backoff.ms": 10,
        # a request that wakes a resumed partition waits behind a long-polling fetch for up to this
        "fetch.wait.max.ms": 100,
        # a partition that was added is assigned only when the client looks again; the default is 5 min
        "topic.metadata.refresh.interval.ms": 5_000,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 32_768,
    }
    if kafka.group_protocol == "consumer":
        properties |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
    else:
        properties |= {
            "partition.assignment.strategy": "range",
            "session.timeout.ms": kafka.session_timeout,
            "heartbeat.interval.ms": max(100, min(3_000, kafka.session_timeout // 4)),
        }
    if kafka.instance_id:
        properties["group.instance.id"] = kafka.instance_id
    return properties | kafka.librdkafka()


def is_incremental(properties: Mapping[str, Any]) -> bool:
    """Whether a rebalance takes and gives single partitions instead of all of them."""
    return properties.get("group.protocol") == "consumer"

"""Events that stand on our own topics, as JSON values, whatever format they were written in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from driftbus.schemas.codec import confluent_id, decode_event
from driftbus.schemas.config import Config
from driftbus.schemas.contracts import Contract, make_contract
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.framing import by_id
from driftbus.schemas.jsonlines import event_json
from driftbus.schemas.registry import Registry
from driftbus.stream.transport.admin import Admin, topic_partitions
from driftbus.stream.worker.readback import read_to_end

Event = dict[str, Any]


@dataclass(slots=True)
class Published:
    """What was read.

    Attributes:
        events: in the order of their topics; after a crash some come again.
        unreadable: records that are no event of ours.
    """

    events: list[Event] = field(default_factory=list)
    unreadable: int = 0


def read_published(config: Config, topics: Iterable[str]) -> Published:
    """What stands on some of the topics of results.

    Args:
        config: how to connect.
        topics: their names; one that is named twice is read once.

    Raises:
        ConfigError: a topic does not exist, or this login may not see it.
        Unavailable: brokers or the registry can't be reached.
    """
    admin = Admin(config.kafka)
    partitions = {topic: range(topic_partitions(admin, topic)) for topic in topics}
    values = (
        m.value() for topic in partitions for m in read_to_end(config.kafka.librdkafka(), topic, partitions[topic])
    )
    return events_of(config, values)


def events_of(config: Config, values: Iterable[bytes | None]) -> Published:
    """The events in values of those topics.

    Raises:
        Unavailable: the registry can't be reached.
    """
    found, read = Published(), _Reader(config)
    for value in values:
        try:
            found.events.append(read.event(value or b""))
        except (DecodeError, ValueError, KeyError, TypeError):
            found.unreadable += 1
    return found


class _Reader:
    """Values of our topics in every format that they are written in."""

    def __init__(self, config: Config) -> None:
        self._registry = Registry(config.registry) if config.registry.url else None
        self._writers: dict[int, Contract] = {}

    def event(self, value: bytes) -> Event:
        if value[:1] == b"{":
            found: Event = json.loads(value)["data"]
            if "kind" not in found or "id" not in found:
                raise ValueError("no event of ours")
            return found
        writer = None
        if value[:1] == b"\0" and self._registry is not None:
            number = confluent_id(value)
            if number not in self._writers:
                self._writers[number] = make_contract(json.loads(self._registry.resolve(by_id(number)).text))
            writer = self._writers[number]
        return event_json(decode_event(value, writer))

"""The history of what was published, compacted by id, must be what a replay of the same topics gives. Byte for byte.

A history is wrong if an event of the replay is not in it (lost), if it has one that the replay has not (invented), if
an event has other content (different), or is only written differently (other bytes), if one id stands there with two
contents (doubled), or if a record is no event at all (unreadable).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftbus.schemas.cloudevents import AVRO_CONTENT, STRUCTURED_CONTENT, binary_headers, structured_body
from driftbus.schemas.codec import decode_event, encode_event
from driftbus.schemas.config import Config
from driftbus.schemas.contracts import contract
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.events import Published
from driftbus.schemas.jsonlines import event_json
from driftbus.stream.replay.canonical import Event, canonical_key, differences
from harness.clients import Kafka

_SCHEMAS = {
    "drift": "DriftEvent",
    "incident": "Incident",
    "performance": "PerformanceReport",
    "comparison": "ComparisonEvent",
    "retrain": "RetrainTrigger",
}
"""By the third part of a CloudEvent's type."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A record of a topic of results, as it stands there."""

    key: bytes
    value: bytes
    headers: tuple[Any, ...]

    def event(self) -> dict[str, Any]:
        """As JSON values, whatever it was written as."""
        if self.value[:1] == b"{":  # a CloudEvent
            said: dict[str, Any] = json.loads(self.value)["data"]
            return said
        if self.value[:1] == b"\0":  # framed with an id of the registry; which schema it is, its type says
            kind = dict(self.headers)["ce_type"].decode().split(".")[2]
            return event_json(decode_event(self.value, contract(_SCHEMAS[kind])))
        return event_json(decode_event(self.value))


def raws_of(kafka: Kafka, topics: Iterable[str]) -> list[Raw]:
    """What stands on the topics of results."""
    return [
        Raw(m.key() or b"", m.value() or b"", tuple(m.headers() or ())) for topic in topics for m in kafka.read(topic)
    ]


@dataclass(slots=True)
class History:
    """The records of the topics of results, compacted by id.

    Attributes:
        events: by id, as JSON values.
        raws: by id, the first record of each.
        records: how many records there are, repetitions included.
        doubled: records whose id stands there with another content too: both.
        unreadable: records that are no events.
    """

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    raws: dict[str, Raw] = field(default_factory=dict)
    records: int = 0
    doubled: list[tuple[Raw, Raw]] = field(default_factory=list)
    unreadable: list[Raw] = field(default_factory=list)


def history_of(raws: Iterable[Raw]) -> History:
    """Compact them."""
    history = History()
    for raw in raws:
        history.records += 1
        try:
            event = raw.event()
            canonical_key(event)
        except (DecodeError, ValueError, KeyError, TypeError):
            history.unreadable.append(raw)
            continue
        known = history.raws.setdefault(event["id"], raw)
        if known != raw:
            history.doubled.append((known, raw))
        history.events.setdefault(event["id"], event)
    return history


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a history compares with a replay: what is wrong, by kind; nothing if they are the same."""

    wrong: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def ok(self) -> bool:
        return not self.wrong

    def told(self) -> str:
        """The first few of each kind."""
        return "\n".join(f"{len(found)} {kind}\n  {one}" for kind, found in self.wrong for one in found[:5])


def published_as(event: Published, config: Config) -> Raw:
    """The record that an event becomes, where no registry numbers its schema."""
    avro = config.output.format == "avro"
    value = encode_event(event) if avro else structured_body(event, config.app)
    headers = binary_headers(event, config.app, AVRO_CONTENT if avro else STRUCTURED_CONTENT)
    return Raw(event.monitor.encode(), value, tuple(headers))


def compare(
    history: History, replayed: Iterable[Event], contradictions: float = 0.0, records: Mapping[str, Raw] = {}
) -> Verdict:
    """Nothing lost, nothing invented, nothing different, nothing doubled, in canonical order.

    Args:
        history: what was published.
        replayed: what it must be.
        contradictions: what the workers counted; there is none while no clock is forced.
        records: by id, the record that the event must be, where that is known.
    """
    found = differences(history.events.values(), replayed)
    wrong = {
        "lost": found.right,
        "invented": found.left,
        "different (published, replayed)": tuple(f"{ours}\n  {theirs}" for ours, theirs in found.changed),
        "other bytes (published, replayed)": tuple(
            f"{history.raws[name]}\n  {record}"
            for name, record in records.items()
            if name in history.raws and history.raws[name] != record
        ),
        "doubled": tuple(f"{one}\n  {other}" for one, other in history.doubled),
        "unreadable": tuple(map(str, history.unreadable)),
        "contradictions": (f"{contradictions:g}",) if contradictions else (),
    }
    return Verdict(tuple((kind, lines) for kind, lines in wrong.items() if lines))

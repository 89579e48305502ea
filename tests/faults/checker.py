"""The history of what was published, compacted by id, must be what a replay of the same topics gives. Byte for byte.

A history is wrong if an event of the replay is not in it (lost), if it has one that the replay has not (invented), if
an event's content differs (different), or if one id stands there with two contents (doubled).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftbus.schemas.codec import decode_event
from driftbus.schemas.contracts import contract
from driftbus.schemas.events import Published
from driftbus.schemas.jsonlines import event_json, json_line
from harness.broker import Broker

Raw = tuple[bytes, bytes, tuple[Any, ...]]
"""Key, value and headers of a record."""

TAMPER: Callable[[list[Raw]], list[Raw]] | None = None
"""Tests of the checker put a liar here, to see that it is found out."""


@dataclass(slots=True)
class History:
    """What stands on the topics of results.

    Attributes:
        lines: by id, the event as a line of JSON.
        records: how many records there are, repetitions included.
        doubled: ids that stand there with two contents, and both.
    """

    lines: dict[str, str] = field(default_factory=dict)
    records: int = 0
    doubled: dict[str, tuple[Raw, Raw]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a history compares with a replay; `ok` if they are the same."""

    lost: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.lost or self.invented or self.different or self.doubled or self.others)

    def told(self) -> str:
        """What is wrong, the first few of each kind."""
        kinds = {"lost": self.lost, "invented": self.invented, "different": self.different, "doubled": self.doubled,
                 "": self.others}  # fmt: skip
        return "\n".join(f"{kind} ({len(found)}): {one}" for kind, found in kinds.items() for one in found[:5])


def line_of(event: Published) -> str:
    """An event as `driftbus replay --out` writes it."""
    return json_line(event_json(event))


def history_of(kafka: Broker, topics: Iterable[str]) -> History:
    """Read the topics of results from beginning to end."""
    raws = [(m.key() or b"", m.value() or b"", tuple(m.headers() or ())) for topic in topics for m in kafka.read(topic)]
    if TAMPER is not None:
        raws = TAMPER(raws)
    history, seen = History(records=len(raws)), dict[str, Raw]()
    for raw in raws:
        name, line = _event_of(raw)
        known = seen.setdefault(name, raw)
        if known != raw:
            history.doubled[name] = known, raw
        history.lines.setdefault(name, line)
    return history


def _event_of(raw: Raw) -> tuple[str, str]:
    _, value, headers = raw
    if value[:1] == b"{":  # a CloudEvent
        said = json.loads(value)
        return said["id"], json_line(said["data"])
    if value[:1] == b"\0":  # framed with an id of the registry; which schema it is, its type says
        kind = dict(headers)["ce_type"].decode().split(".")[2]
        names = {"drift": "DriftEvent", "incident": "Incident", "performance": "PerformanceReport",
                 "comparison": "ComparisonEvent", "retrain": "RetrainTrigger"}  # fmt: skip
        event = decode_event(value, contract(names[kind]))
    else:
        event = decode_event(value)
    return event.id, line_of(event)


def compare(history: History, replayed: Mapping[str, str], contradictions: float = 0.0) -> Verdict:
    """Nothing lost, nothing invented, nothing different, nothing doubled; both in the order of ids."""
    lines = history.lines
    others = [f"{contradictions:g} contradictions"] if contradictions else []
    ours = "".join(f"{lines[name]}\n" for name in sorted(lines))
    theirs = "".join(f"{replayed[name]}\n" for name in sorted(replayed))
    verdict = Verdict(
        tuple(replayed[name] for name in sorted(replayed.keys() - lines.keys())),
        tuple(lines[name] for name in sorted(lines.keys() - replayed.keys())),
        tuple(
            f"published {lines[name]}\n replayed  {replayed[name]}"
            for name in sorted(lines.keys() & replayed.keys())
            if lines[name] != replayed[name]
        ),
        tuple(f"{name}: {first}\n{second}" for name, (first, second) in sorted(history.doubled.items())),
        tuple(others),
    )
    assert (ours == theirs) == (not (verdict.lost or verdict.invented or verdict.different))
    return verdict

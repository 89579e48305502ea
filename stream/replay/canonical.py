"""Events in one order, whoever decided them and in whatever order they were written: what "equal" means.

A worker writes each topic in the order in which its panes were sealed; a replay decides what it reads first. The ids
are the same, the order between monitors and streams is not. Here events are compared as what they are: a set by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from driftbus.schemas.errors import StateError
from driftbus.schemas.jsonlines import json_line

Event = Mapping[str, Any]
"""An event as JSON values: those of `driftbus.schemas.jsonlines.event_json`."""

KINDS = ("drift", "incident", "performance", "comparison", "retrain")
"""In the order in which one follows from another."""


def canonical_key(event: Event) -> tuple[str, str, int, str]:
    """Event time of the decision, monitor, kind, id: no two events have the same."""
    decided = event["window_end"] if event["kind"] == "drift" else event["decided"]
    return decided, event["monitor"], KINDS.index(event["kind"]), event["id"]


def canonical_lines(events: Iterable[Event]) -> list[str]:
    """Each event once, as one line of JSON without the line's end, in canonical order.

    Raises:
        StateError: one id has two contents, which must never be.
    """
    found: dict[str, tuple[Event, str]] = {}
    for event in events:
        line = json_line(event)
        if found.setdefault(event["id"], (event, line))[1] != line:
            raise StateError(f"one id, two events:\n{found[event['id']][1]}\n{line}")
    return [line for _, line in sorted(found.values(), key=lambda one: canonical_key(one[0]))]


@dataclass(frozen=True, slots=True)
class Differences:
    """How two sets of events differ, each in canonical order.

    Args:
        same: lines that both have.
        left, right: lines that only one has, and whose ids the other has not.
        changed: pairs of lines with one id.
    """

    same: tuple[str, ...]
    left: tuple[str, ...]
    right: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]

    @property
    def equal(self) -> bool:
        """Whether they are the same events, to the last byte."""
        return not (self.left or self.right or self.changed)


def differences(left: Iterable[Event], right: Iterable[Event]) -> Differences:
    """Compare two sets of events.

    Raises:
        StateError: one of them has an id with two contents.
    """
    ours, theirs = list(left), list(right)
    lines = canonical_lines(ours), canonical_lines(theirs)
    ids = {event["id"]: json_line(event) for event in ours}, {event["id"]: json_line(event) for event in theirs}
    names = {line: name for known in ids for name, line in known.items()}
    return Differences(
        same=tuple(line for line in lines[0] if ids[1].get(names[line]) == line),
        left=tuple(line for line in lines[0] if names[line] not in ids[1]),
        right=tuple(line for line in lines[1] if names[line] not in ids[0]),
        changed=tuple((line, ids[1][names[line]]) for line in lines[0] if ids[1].get(names[line], line) != line),
    )

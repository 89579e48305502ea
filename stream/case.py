"""An open incident as the machine keeps it, and as saved state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from driftbus.schemas.codec import decode_drift, encode_drift
from driftbus.schemas.events import OffsetRange
from driftbus.stream.scene import Held


@dataclass(slots=True)
class Case:
    """An open incident.

    Attributes:
        due_ms: when it is looked at next without an event; doubles with its age.
        held: members by episode.
        rest: open episodes beyond those.
        more: members beyond those held, open or closed.
        shares: what leaving a segment out does, by (stream, version, column, aspect).
        said: what its last event told, apart from numbers that always move.
        grown: members at its last event.
    """

    id: str
    opened_ms: int
    horizon_ms: int
    due_ms: int
    severity: str
    low_ms: int
    high_ms: int
    held: dict[str, Held] = field(default_factory=dict)
    rest: set[str] = field(default_factory=set)
    more: int = 0
    columns: set[tuple[str, str]] = field(default_factory=set)
    shares: dict[tuple[str, str, str, str], tuple[str, float, float]] = field(default_factory=dict)
    ranges: tuple[OffsetRange, ...] = ()
    said: str = ""
    grown: int = 0

    @property
    def size(self) -> int:
        return len(self.held) + self.more

    def is_over(self) -> bool:
        return not self.rest and all(h.closed_ms is not None for h in self.held.values())


def plain(case: Case) -> list[Any]:
    """A case as plain data, for saved state."""
    return [
        case.id, case.opened_ms, case.horizon_ms, case.due_ms, case.severity, case.low_ms, case.high_ms,
        [[encode_drift(h.event), h.closed_ms] for h in case.held.values()],
        sorted(case.rest), case.more, sorted(map(list, case.columns)),
        [[*key, *value] for key, value in sorted(case.shares.items())],
        [[r.topic, r.partition, r.from_offset, r.to_offset] for r in case.ranges],
        case.said, case.grown,
    ]  # fmt: skip


def restored(data: list[Any]) -> Case:
    """The case that `plain` wrote."""
    name, opened, horizon, due, severity, low, high, held, rest, more, columns, shares, ranges, said, grown = data
    members = [Held(decode_drift(event), closed_ms) for event, closed_ms in held]
    case = Case(name, opened, horizon, due, severity, low, high)
    case.held = {h.event.episode_id: h for h in members}
    case.rest, case.more, case.said, case.grown = set(rest), more, said, grown
    case.columns = {(stream, column) for stream, column in columns}
    case.shares = {(s, v, c, a): (segment, before, after) for s, v, c, a, segment, before, after in shares}
    case.ranges = tuple(OffsetRange(*r) for r in ranges)
    return case

"""What is known of an incident at one moment: the evidence for its story and its hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftbus.schemas.configtypes import SEVERITIES
from driftbus.schemas.events import DriftEvent, Member
from driftbus.stream.plan import MonitorPlan


def rank(severity: str) -> int:
    """Place of a severity, -1 for none."""
    return [*SEVERITIES].index(severity) if severity else -1  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Held:
    """A member of an incident.

    Args:
        event: its latest event before it closed.
        closed_ms: when it closed, None while it is open.
    """

    event: DriftEvent
    closed_ms: int | None

    def order(self) -> tuple[int, float, int, str, str, str, str, str, str]:
        """Worst first: severity, effect, the earliest."""
        e = self.event
        return (
            -rank(e.severity), -e.effect, e.since_ms, e.stream, e.version, e.segment, e.column, e.aspect, e.episode_id,
        )  # fmt: skip

    def member(self, *, drawn: bool) -> Member:
        """As an incident tells it, with or without histogram and curve."""
        e = self.event
        return Member(
            episode_id=e.episode_id,
            stream=e.stream,
            version=e.version,
            segment=e.segment,
            column=e.column,
            aspect=e.aspect,
            status="open" if self.closed_ms is None else "closed",
            severity=e.severity,
            what=e.what,
            direction=e.direction,
            category=e.category,
            nature=e.nature,
            effect=e.effect,
            reference_value=e.reference_value,
            current_value=e.current_value,
            since_ms=e.since_ms,
            since_low_ms=e.since_low_ms,
            since_high_ms=e.since_high_ms,
            opened_ms=e.opened_ms,
            closed_ms=self.closed_ms,
            message=e.message,
            histogram=e.histogram if drawn else None,
            curve=e.curve if drawn else (),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """An incident at one moment.

    Args:
        plan: of the monitor.
        streams: the streams that it is looked for in.
        held: its members.
        columns: (stream, column) of all that are or were in it.
        versions: (stream, version) → event time of its first and after its latest rows, in milliseconds.
        shares: (stream, version, column, aspect) → a segment that explains the change, the effect over all rows,
            and the effect without that segment.
        settled: whether the joining horizon is over, so that what is missing will hardly come.
        now_ms: event time.
    """

    plan: MonitorPlan
    streams: tuple[str, ...]
    held: tuple[Held, ...]
    columns: frozenset[tuple[str, str]]
    versions: Mapping[tuple[str, str], tuple[int, int]]
    shares: Mapping[tuple[str, str, str, str], tuple[str, float, float]]
    settled: bool
    now_ms: int

    @property
    def events(self) -> list[DriftEvent]:
        """Latest event of each member, worst first."""
        return [held.event for held in sorted(self.held, key=Held.order)]

    def watched(self) -> list[tuple[str, str, str]]:
        """(stream, column, role) of every column that is looked at."""
        return [
            (stream.stream, column.name, column.role)
            for stream in self.plan.streams
            if stream.stream in self.streams
            for column in stream.columns.values()
        ]

    def moved(self) -> set[tuple[str, str]]:
        """(stream, column) of the watched columns that are or were in it; a pair of columns is none."""
        return {(stream, column) for stream, column, _ in self.watched() if (stream, column) in self.columns}


def common_stretch(spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The stretch that most of the intervals [low, high] cover, the earliest of several (Marzullo, 1984).

    Args:
        spans: at least one interval, low ≤ high.
    """
    best, most = (spans[0][0], spans[0][1]), 0
    for low in sorted({low for low, _ in spans}):
        covering = [high for start, high in spans if start <= low <= high]
        if len(covering) > most:
            best, most = (low, min(covering)), len(covering)
    return best

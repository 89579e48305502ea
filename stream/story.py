"""An incident as a story: worst first, since when, the headline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median_low

from driftbus.schemas.events import DriftEvent, Hint, Incident, Member, OffsetRange
from driftbus.stream.hints import hints_of
from driftbus.stream.scene import Held, Scene, common_stretch, rank
from driftbus.stream.triggers import profile_ids

MOST_NAMED, MOST_DRAWN = 100, 10
"""Members that an incident names, and those of them with histogram and curve."""

_SHARES = frozenset({"nulls", "invalid", "unseen", "range", "category"})


@dataclass(frozen=True, slots=True)
class Told:
    """The content of an incident's event.

    Args:
        signature: equal when nothing has changed that is worth another event; begins with the severity.
    """

    scene: Scene
    severity: str
    members: tuple[Member, ...]
    open: int
    left_out: int
    since_ms: int
    since_low_ms: int
    since_high_ms: int
    hints: tuple[Hint, ...]
    signature: str

    def incident(
        self,
        *,
        id: str,  # noqa: A002 - the field's name
        incident_id: str,
        status: str,
        decided_ms: int,
        opened_ms: int,
        ranges: tuple[OffsetRange, ...],
    ) -> Incident:
        """As an event."""
        plan = self.scene.plan
        events = [held.event for held in self.scene.held]
        streams = [s for s in plan.streams if s.stream in self.scene.streams]
        return Incident(
            id=id,
            incident_id=incident_id,
            monitor=plan.name,
            status=status,
            severity=self.severity,
            version=_common(e.version for e in events),
            segment=_common(e.segment for e in events),
            decided_ms=decided_ms,
            opened_ms=opened_ms,
            since_ms=self.since_ms,
            since_low_ms=self.since_low_ms,
            since_high_ms=self.since_high_ms,
            columns=len(self.scene.moved()),
            watched=len(self.scene.watched()),
            open=self.open,
            members=self.members,
            left_out=self.left_out,
            hints=self.hints,
            ranges=ranges,
            profile_id=profile_ids(streams),
            fingerprint=plan.fingerprint,
            message=self._headline(status),
        )

    def _headline(self, status: str) -> str:
        events = self.scene.events
        lead, monitor, version = events[0], self.scene.plan.name, _common(e.version for e in events)
        segment = _common(e.segment for e in events)
        who = f"{monitor} v{version}" if version and not version.startswith("v") else f"{monitor} {version}".strip()
        count, watched = len(self.scene.moved()), len(self.scene.watched())
        if not count:
            moved = lead.message.partition(";")[0]
        else:
            moved = f"{count} of {watched} columns {'has' if count == 1 else 'have'} drifted"
        where = f" in {segment}" if segment else ""
        since = f"{datetime.fromtimestamp(self.since_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        led = f", led by {lead.column} ({change_of(lead)})" if lead.column else ""
        if status == "closed":
            return f"{who}: over; {moved}{where} since {since}{led}"
        return ". ".join([f"{who}: {moved}{where} since {since}{led}", *(hint.text for hint in self.hints[:2])])


def told(scene: Scene, severity: str, rest: int, size: int) -> Told:
    """The story of a scene.

    Args:
        scene: what is known.
        severity: worst of the members so far.
        rest: open members that are not in the scene.
        size: all members.
    """
    ordered = sorted(scene.held, key=Held.order)
    low, high = common_stretch([(h.event.since_low_ms, h.event.since_high_ms) for h in ordered])
    inside = [h.event.since_ms for h in ordered if h.event.since_low_ms <= low and h.event.since_high_ms >= high]
    since = min(max(median_low(inside), low), high) if inside else low
    hints = hints_of(scene, low, high)
    still_open = rest + sum(h.closed_ms is None for h in ordered)
    kinds = ",".join(f"{hint.kind}:{'|'.join(hint.columns)}" for hint in hints)
    grades = sum(1 + rank(h.event.severity) for h in ordered)
    return Told(
        scene=scene,
        severity=severity,
        members=tuple(h.member(drawn=i < MOST_DRAWN) for i, h in enumerate(ordered[:MOST_NAMED])),
        open=still_open,
        left_out=size - min(len(ordered), MOST_NAMED),
        since_ms=since,
        since_low_ms=low,
        since_high_ms=high,
        hints=hints,
        signature=f"{severity} {still_open}/{size} {grades} {kinds}",
    )


def change_of(event: DriftEvent | Member) -> str:
    """What has changed in a few words: ``nulls 1.0% → 22.0%``, ``shift up``."""
    name = f"{event.category!r}" if event.category else event.what
    before, after = event.reference_value, event.current_value
    if before is None or after is None or event.what not in _SHARES:
        return f"{name} {event.direction}".strip()
    return f"{name} {before:.1%} → {after:.1%}"


def _common(values: object) -> str:
    found = set(values)  # type: ignore[call-overload]
    return str(found.pop()) if len(found) == 1 else ""

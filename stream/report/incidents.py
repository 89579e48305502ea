"""Cards of incidents: episodes that move together, as one story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftbus.schemas import events
from driftbus.schemas.events import Group
from driftbus.stream.replay.words import moved, size
from driftbus.stream.report.columns import Where, sentence_of, span_of, what_of
from driftbus.stream.report.markup import cut
from driftbus.stream.report.model import IncidentCard, Member, Span
from driftbus.stream.report.ruler import Ruler

_MARGIN = 0.15


def card(
    incident: events.Incident,
    where: Where,
    keys: Mapping[tuple[Group, str], str],
    ruler: Ruler,
    pane_ms: int,
    number: int,
) -> IncidentCard:
    """The card of an incident.

    Args:
        incident: its latest event.
        where: a group in words.
        keys: keys of the rows by group and column.
        ruler: the page's axis.
        pane_ms: pane length.
        number: its number on the page.
    """
    closer = _closer(incident, ruler, pane_ms)
    closed = incident.status == "closed"
    title = f"{moved(incident)}, {incident.severity}"
    lead = incident.members[0] if incident.members else None
    span = Span(
        start=ruler.at(incident.since_ms),
        end=ruler.at(incident.decided_ms) if closed else 1.0,
        severity=incident.severity,
        words=f"incident {number}: {title}",
        low=ruler.at(incident.since_low_ms),
        high=ruler.at(incident.since_high_ms),
        open=not closed,
    )
    return IncidentCard(
        id=incident.incident_id[:8],
        title=title,
        severity=incident.severity,
        since=ruler.since(incident.since_low_ms, incident.since_ms, incident.since_high_ms),
        until=ruler.point(incident.decided_ms) if closed else "",
        lead=f"Led by {cut(lead.column) or 'the rows'}: {sentence_of(lead)}." if lead else "",
        hints=tuple(cut(hint.text, 400) for hint in incident.hints),
        members=tuple(_member(m, incident.monitor, where, keys, ruler, closer) for m in incident.members),
        left_out=incident.left_out,
        span=span,
        ruler=closer,
    )


def _member(
    member: events.Member,
    monitor: str,
    where: Where,
    keys: Mapping[tuple[Group, str], str],
    ruler: Ruler,
    closer: Ruler,
) -> Member:
    group = Group(monitor, member.stream, member.version, member.segment)
    return Member(
        key=keys.get((group, member.column), ""),
        column=member.column,
        where=where(group),
        severity=member.severity,
        what=what_of(member),
        since=ruler.since(member.since_low_ms, member.since_ms, member.since_high_ms),
        size=size(member),
        effect=member.effect,
        span=span_of(member, member.closed_ms, closer),
    )


def _closer(incident: events.Incident, ruler: Ruler, pane_ms: int) -> Ruler:
    """The page's ruler, zoomed in on the change points and the openings."""
    low = min([incident.since_low_ms, *(m.since_low_ms for m in incident.members)])
    high = max([incident.since_high_ms, *(max(m.since_high_ms, m.opened_ms) for m in incident.members)])
    margin = max(pane_ms, int((high - low) * _MARGIN))
    return replace(ruler, first_ms=max(ruler.first_ms, low - margin), last_ms=min(ruler.last_ms, high + margin))

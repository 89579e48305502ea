"""Words for episodes and groups that the terminal and the page share."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from driftbus.schemas.configtypes import SEVERITIES
from driftbus.schemas.events import DriftEvent, Group, Incident, Member
from driftbus.stream.outcomes.words import number
from driftbus.stream.replay.history import Episode

_RATES = ("nulls", "invalid", "unseen", "range", "duplicates")
_COUNTS = ("volume", "distinct", "freshness")


def size(event: DriftEvent | Member) -> str:
    """How much: a rate before and after, or the index."""
    if event.what in _RATES and event.reference_value is not None and event.current_value is not None:
        return f"{event.reference_value:.1%} → {event.current_value:.1%}"
    if event.what in _COUNTS and event.reference_value is not None and event.current_value is not None:
        return f"{_short(event.reference_value)} → {_short(event.current_value)}"
    if event.stream == "outcomes" and event.reference_value is not None and event.current_value is not None:
        return f"{number(event.reference_value)} → {number(event.current_value)}"
    if event.what == "correlation" and event.reference_value is not None and event.current_value is not None:
        return f"r {event.reference_value:+.2f} → {event.current_value:+.2f}"
    return f"PSI {event.effect:.2f}"


def plain(text: str) -> str:
    """A name or message from the data for a terminal: what would move its cursor or colour it is spelled out."""
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode() for c in text
    )


def label(event: DriftEvent | Member) -> str:
    """What an episode is about: a column, a pair of columns, or none of them."""
    return plain(event.column) or ("(columns together)" if event.aspect == "relation" else "(rows)")


def moved(incident: Incident) -> str:
    """What an incident is about: ``3 columns``, ``2 relations``, ``volume``."""
    if incident.columns:
        return many(incident.columns, "column")
    relations = sum(member.aspect == "relation" for member in incident.members)
    others = sorted({member.aspect for member in incident.members} - {"relation"})
    return ", ".join([*([many(relations, "relation")] if relations else []), *others])


def order(episodes: Sequence[Episode]) -> tuple[bool, int, float]:
    """Open ones first, then by severity and effect."""
    rank = max([*SEVERITIES].index(e.worst.severity) for e in episodes)  # type: ignore[arg-type]
    return all(e.closed_ms is not None for e in episodes), -rank, -max(e.worst.effect for e in episodes)


def title(group: Group, several: bool) -> str:
    """A group in words; `several`: whether there is more than one stream."""
    where = f"{group.monitor} {group.stream}" if several else ""
    parts = [where, group.version and f"version {group.version}", group.segment]
    return "  ".join(map(plain, filter(None, parts))) or "all rows"


def many(count: int, noun: str) -> str:
    """``1 column``, ``2 columns``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

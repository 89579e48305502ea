"""The summary of a replay, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import click

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.events import DriftEvent, Group, RetrainTrigger
from driftbus.stream.files.filetimes import when
from driftbus.stream.replay.history import Episode, History, resampled
from driftbus.stream.replay.words import label, many, moved, order, plain, size, title

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 26
_FULL_SCALE = 0.25
_MOST_STABLE = 20
_COLOURS = {"minor": "yellow", "moderate": "yellow", "severe": "red"}

Place = Callable[[DriftEvent], str]
"""Since when, in the words of the source: a row, or a time."""


@dataclass(frozen=True, slots=True)
class Section:
    """One group of rows with its columns.

    Args:
        title: "" when there is only one.
        group: whose curves.
        columns: of its profile.
    """

    title: str
    group: Group
    columns: tuple[ColumnProfile, ...]


def sections_of(history: History, profiles: Iterable[Profile]) -> list[Section]:
    """All rows of each stream, and each version and segment that has an episode."""
    found = []
    for profile in profiles:
        mine = {g for g, _ in history.curves if (g.monitor, g.stream) == (profile.monitor, profile.stream)}
        struck = {e.group for e in history.episodes.values()}
        found += [Section("", g, profile.columns) for g in sorted(mine) if not g.segment or g in struck]
    if len(found) == 1:
        return found
    several = len({(s.group.monitor, s.group.stream) for s in found}) > 1
    return [Section(title(s.group, several), s.group, s.columns) for s in found]


def column_lines(section: Section, history: History, place: Place) -> list[str]:
    """A line per column, the drifted ones first, the worst on top."""
    episodes: dict[str, list[Episode]] = {}
    for episode in history.episodes.values():
        if episode.group == section.group:
            episodes.setdefault(label(episode.opened), []).append(episode)
    names = [plain(column.name) for column in section.columns]
    known = dict.fromkeys([*names, *sorted(episodes)])
    struck = sorted((name for name in known if name in episodes), key=lambda n: order(episodes[n]))
    stable = [name for name in names if name not in episodes]
    shown = stable if len(stable) <= _MOST_STABLE else []
    width = min(40, max((len(name) for name in [*struck, *shown]), default=0))
    curves = {plain(column): curve for (group, column), curve in history.curves.items() if group == section.group}
    top = max([_FULL_SCALE, *(p for c in history.curves.values() for p in c.points if p is not None)])
    lines = []
    for name in [*struck, *shown]:
        curve = curves.get(name)
        spark = sparkline(curve.points if curve else [], top)
        fitted = _fitted(name, width)
        state = _drifted(episodes[name], place) if name in episodes else click.style("stable", fg="green")
        lines.append(f"  {fitted}  {spark}  {state}")
    if len(stable) > len(shown):
        lines.append(f"  {len(stable)} columns stable")
    return lines


def verdict_line(history: History, drifted_of: int) -> str:
    """How many incidents, how many columns, when."""
    incidents = list(history.incidents.values())
    if not incidents:
        return click.style("no drift", fg="green", bold=True) + f" in {many(drifted_of, 'column')}"
    parts = []
    for incident in incidents[:3]:
        parts.append(f"{moved(incident)}, {incident.severity}, opened {when(incident.opened_ms)}")
    more = f"; and {len(incidents) - 3} more" if len(incidents) > 3 else ""
    return click.style(many(len(incidents), "incident"), bold=True) + f": {'; '.join(parts)}{more}"


def trigger_line(triggers: Sequence[RetrainTrigger]) -> str:
    """What the retrain policies would have said; "" when they are off and silent."""
    if not triggers:
        return "no retrain trigger would have fired"
    first = triggers[0]
    more = f", and {len(triggers) - 1} more" if len(triggers) > 1 else ""
    return f"a retrain trigger would have fired at {when(first.decided_ms)} (policy: {first.policy}){more}"


def sparkline(points: Sequence[float | None], top: float) -> str:
    """Values from 0 to `top` as 26 bars of heights that grow with the square root; a blank where there is none."""
    shown = resampled(points, _WIDTH)
    bars = [" " if p is None else _BARS[min(7, int(8 * (max(0.0, p) / top) ** 0.5))] for p in shown]
    return "".join(bars).ljust(_WIDTH)


def _drifted(episodes: list[Episode], place: Place) -> str:
    lead = min(episodes, key=lambda e: order([e]))
    event = lead.worst
    state = (
        click.style("drift", fg=_COLOURS.get(event.severity, "red"), bold=True) if lead.closed_ms is None else "over "
    )
    what = f"{event.what} {event.direction}".strip()
    more = f"  +{len(episodes) - 1} more" if len(episodes) > 1 else ""
    return f"{state}  {what:<14} {place(event):<28} {size(event):<17} {event.severity}{more}"


def _fitted(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else name[: width - 1] + "…"

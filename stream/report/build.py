"""From what a replay saw to the page: a function of it, without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from driftbus.schemas.configtypes import SEVERITIES
from driftbus.schemas.events import Group
from driftbus.stream.replay.history import Episode, History
from driftbus.stream.replay.tracks import Track, Tracks
from driftbus.stream.replay.words import many, order, title
from driftbus.stream.report.columns import Where, drifted_row, stable_row
from driftbus.stream.report.incidents import card
from driftbus.stream.report.markup import cut
from driftbus.stream.report.model import Facts, IncidentCard, Page, Row, Step
from driftbus.stream.report.performance import metric_rows
from driftbus.stream.report.ruler import Ruler

_STEPS = 128
_HOUR_MS = 3_600_000


def build(history: History, tracks: Tracks, facts: Facts, ruler: Ruler, pane_ms: int) -> Page:
    """The page of a replay.

    Args:
        history: what was decided.
        tracks: what the groups held.
        facts: of the source.
        ruler: its axis.
        pane_ms: pane length.
    """
    where = _places(history, tracks)
    drifted = _drifted(history, tracks, where, ruler, pane_ms)
    struck = {(group, row.column) for group, row in drifted}
    rows = [row for _, row in drifted]
    for group, track in sorted(tracks.tracks.items(), key=lambda item: item[0]):
        if not group.segment:
            names = [name for name in track.layout.columns if (group, name) not in struck]
            rows += [stable_row(group, name, track, where(group), ruler, pane_ms) for name in names]
    rows = [replace(row, key=f"c{number}") for number, row in enumerate(rows)]
    keys = {(group, row.column): rows[i].key for i, (group, row) in enumerate(drifted)}
    incidents = tuple(
        card(incident, where, keys, ruler, pane_ms, number)
        for number, incident in enumerate(history.incidents.values(), 1)
    )
    volume, top = _volume(tracks, ruler, pane_ms)
    return Page(
        headline=_headline(incidents, rows),
        severity=max((i.severity for i in incidents), key=_rank, default=""),
        facts=facts,
        ruler=ruler,
        incidents=incidents,
        triggers=tuple(
            (ruler.at(t.decided_ms), f"{ruler.point(t.decided_ms)}: {cut(t.reason, 400)}") for t in history.triggers
        ),
        volume=volume,
        volume_top=top,
        rows=tuple(rows),
        performance=metric_rows(history, ruler),
    )


def span_of(tracks: Tracks, pane_ms: int) -> tuple[int, int]:
    """First and last event time that was judged, (0, 0) without any."""
    used = [t for t in tracks.tracks.values() if t.size]
    if not used:
        return 0, 0
    first, last = min(int(t.first[0]) for t in used), max(int(t.last[t.size - 1]) for t in used)
    return first * pane_ms, (last + 1) * pane_ms


def _drifted(history: History, tracks: Tracks, where: Where, ruler: Ruler, pane_ms: int) -> list[tuple[Group, Row]]:
    """The columns with an episode, worst first."""
    found: dict[tuple[Group, str], list[Episode]] = {}
    for episode in history.episodes.values():
        if episode.opened.stream == "outcomes":  # metrics are no columns, they have pictures of their own
            continue
        found.setdefault((episode.group, episode.opened.column), []).append(episode)
    ranked = sorted(found.items(), key=lambda item: (order(item[1]), item[0]))
    return [
        (group, drifted_row(group, episodes, tracks, where(group), ruler, pane_ms)) for (group, _), episodes in ranked
    ]


def _places(history: History, tracks: Tracks) -> Where:
    groups = {*tracks.tracks, *(e.group for e in history.episodes.values())}
    several = len({(g.monitor, g.stream) for g in groups}) > 1
    alone = len({g for g in groups if not g.segment}) <= 1
    return lambda group: "" if alone and not group.segment else title(group, several)


def _headline(incidents: Sequence[IncidentCard], rows: Sequence[Row]) -> str:
    watched = {(row.where, row.column) for row in rows if row.column}
    struck = {(row.where, row.column) for row in rows if row.state != "stable"}
    if not incidents:
        return f"No drift in {many(len(watched), 'column')}" if not struck else f"{many(len(struck), 'drift')}"
    worst = max(incidents, key=lambda i: (_rank(i.severity), -i.span.start))
    still = "" if any(not i.until for i in incidents) else ", all over"
    columns = f"{len(struck):,} of {many(len(watched | struck), 'column')} drifted"
    return f"{many(len(incidents), 'incident')}: {columns}, {worst.severity} since {worst.since}{still}"


def _rank(severity: str) -> int:
    return ["", *SEVERITIES].index(severity)


def _volume(tracks: Tracks, ruler: Ruler, pane_ms: int) -> tuple[tuple[Step, ...], str]:
    """Rows per step of the ruler over all rows of all groups, and the largest in words."""
    held = [0.0] * _STEPS
    for group, track in tracks.tracks.items():
        if not group.segment:
            _spread(held, track, ruler, pane_ms)
    top = max(held, default=0.0)
    if not top:
        return (), ""
    hours = (ruler.last_ms - ruler.first_ms) / _STEPS / _HOUR_MS
    words = f"{top / hours:,.0f} rows an hour" if ruler.timed and top / hours >= 1 else ""
    if ruler.timed and not words:
        words = f"{top / hours * 24:,.3g} rows a day"
    return tuple((i / _STEPS, (i + 1) / _STEPS, rows / top) for i, rows in enumerate(held)), words


def _spread(held: list[float], track: Track, ruler: Ruler, pane_ms: int) -> None:
    for i in range(track.size):
        start = ruler.at(int(track.first[i]) * pane_ms) * _STEPS
        end = max(start + 1e-9, ruler.at((int(track.last[i]) + 1) * pane_ms) * _STEPS)
        for step in range(min(_STEPS - 1, int(start)), min(_STEPS, int(end) + 1)):
            share = (min(end, step + 1) - max(start, step)) / (end - start)
            held[step] += max(0.0, share) * float(track.rows[i])

"""What a replay saw of performance: a track per version and metric, cohort by cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from driftbus.schemas.outcomeevents import MetricValue, PerformanceReport
from driftbus.stream.outcomes.compare import LEADING
from driftbus.stream.outcomes.words import moment, named, number
from driftbus.stream.replay.history import History, resampled
from driftbus.stream.replay.words import plain

_STAGES = ("estimated", "first", "final")
_SHOWN = tuple(dict.fromkeys(m for names in LEADING.values() for m in names))
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 26
_ROOM = 0.02


@dataclass(frozen=True, slots=True)
class Point:
    """A metric of a cohort.

    Args:
        start_ms, end_ms: event time of the predictions.
        metric: with its bounds, its reference, its estimate.
        labels: behind it, 0 before labels came.
    """

    start_ms: int
    end_ms: int
    metric: MetricValue
    labels: int


@dataclass(frozen=True, slots=True)
class MetricTrack:
    """A metric of a version, cohort by cohort.

    Args:
        version, name: whose, and which metric.
        points: in order of time, of each cohort what was known last.
        fallen_ms: start of the first cohort that was worse for sure, None when none was, or when it is over.
        severity: of that episode, "" without.
    """

    version: str
    name: str
    points: tuple[Point, ...]
    fallen_ms: int | None
    severity: str

    @property
    def reference(self) -> MetricValue | None:
        """The latest point that has a reference."""
        return next((p.metric for p in reversed(self.points) if p.metric.reference is not None), None)


def metric_tracks(history: History) -> list[MetricTrack]:
    """The metrics that are watched or easily understood, of all rows of each version."""
    latest: dict[tuple[str, int], PerformanceReport] = {}
    for report in history.reports:
        key = (report.version, report.cohort_start_ms)
        known = latest.get(key)
        if not report.segment and (known is None or _STAGES.index(report.stage) >= _STAGES.index(known.stage)):
            latest[key] = report
    versions: dict[str, list[PerformanceReport]] = {}
    for _, report in sorted(latest.items()):
        versions.setdefault(report.version, []).append(report)
    limited = {e.opened.column for e in history.episodes.values() if e.opened.aspect == "performance"}
    found = []
    for version, reports in versions.items():
        names = {m.name for r in reports for m in r.metrics if m.name in _SHOWN or m.name in limited}
        for name in sorted(names, key=lambda n: (_SHOWN.index(n) if n in _SHOWN else len(_SHOWN), n)):
            measured = ((r, r.metric(name)) for r in reports)
            points = [Point(r.cohort_start_ms, r.cohort_end_ms, m, r.labels) for r, m in measured if m is not None]
            found.append(MetricTrack(version, name, tuple(points), *_fallen(history, version, name)))
    return found


def performance_lines(history: History) -> list[str]:
    """A line per metric for a terminal: its course, what it was and is, since when it is worse."""
    tracks = [t for t in metric_tracks(history) if any(p.metric.value is not None for p in t.points)]
    width = max((len(_title(t, tracks)) for t in tracks), default=0)
    return [f"  {_title(t, tracks).ljust(width)}  {_spark(t)}  {_state(t)}" for t in tracks]


def _fallen(history: History, version: str, name: str) -> tuple[int | None, str]:
    mine = [
        e
        for e in history.episodes.values()
        if (e.opened.aspect, e.opened.column, e.opened.version) == ("performance", name, version)
        and not e.opened.segment
        and e.closed_ms is None
    ]
    return (mine[0].opened.since_ms, mine[0].worst.severity) if mine else (None, "")


def _title(track: MetricTrack, tracks: Sequence[MetricTrack]) -> str:
    several = len({t.version for t in tracks}) > 1
    return plain(f"{named(track.name)}{f' (version {track.version})' if several else ''}")


def _spark(track: MetricTrack) -> str:
    values = resampled([p.metric.value for p in track.points], _WIDTH)
    known = [v for v in values if v is not None]
    reference = track.reference
    known += [reference.reference] if reference is not None and reference.reference is not None else []
    low, high = min(known), max(known)
    room = max(high - low, _ROOM * max(abs(low), abs(high)), 1e-9)
    bars = [" " if v is None else _BARS[min(7, int(8 * (v - low) / room))] for v in values]
    return "".join(bars).ljust(_WIDTH)


def _state(track: MetricTrack) -> str:
    last = next(p for p in reversed(track.points) if p.metric.value is not None)
    m, reference = last.metric, track.reference
    assert m.value is not None
    assert m.low is not None
    assert m.high is not None
    text = f"{number(m.value)} ({number(m.low)} to {number(m.high)})"
    if reference is not None and reference.reference is not None:
        text = f"{number(reference.reference)} → {text}"
    if m.estimated is not None:
        text += f", estimated {number(m.estimated)}"
    if track.fallen_ms is None:
        return f"{click.style('stable', fg='green')}  {text}"
    worse = click.style("worse", fg="red" if track.severity == "severe" else "yellow", bold=True)
    return f"{worse}   {text}  since the cohort of {moment(track.fallen_ms)}, {track.severity}"

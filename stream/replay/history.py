"""What a replay saw, kept small: one record per episode, a curve per column, counts of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.verdict import ColumnView
from driftbus.schemas.configtypes import SEVERITIES
from driftbus.schemas.events import ComparisonEvent, DriftEvent, Group, Incident, RetrainTrigger
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.judge import Decided
from driftbus.stream.summarise import Rejection

GroupViews = Iterable[tuple[Group, Sequence[ColumnView]]]

_MOST_POINTS = 64


@dataclass(slots=True)
class Episode:
    """One episode.

    Attributes:
        opened: the event that opened it.
        worst: its event of greatest severity, the latest of these.
        closed_ms: event time at which it closed, None while it is open.
        changes: events that say that the column has changed again.
    """

    opened: DriftEvent
    worst: DriftEvent
    closed_ms: int | None = None
    changes: list[DriftEvent] = field(default_factory=list)

    @property
    def group(self) -> Group:
        e = self.opened
        return Group(e.monitor, e.stream, e.version, e.segment)


@dataclass(slots=True)
class Curve:
    """Values at even steps, few enough to keep: neighbours are averaged as they grow in number."""

    points: list[float | None] = field(default_factory=list)
    _step: int = 1
    _pending: list[float] = field(default_factory=list)
    _seen: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self._pending.append(value)
        self._seen += 1
        if self._seen < self._step:
            return
        self.points.append(_mean(self._pending))
        self._pending, self._seen = [], 0
        if len(self.points) >= _MOST_POINTS:
            self.points = resampled(self.points, _MOST_POINTS // 2)
            self._step *= 2


@dataclass(slots=True)
class History:
    """Everything a summary is made of.

    Attributes:
        episodes: by id, in order of opening.
        incidents: latest event of each, by id, in order of opening.
        triggers: in order.
        reports: on performance, in order.
        comparisons: verdicts on versions, in order.
        curves: index (population stability) over time by (group, column).
        rejected: rows that could not be counted, by reason.
        first_rejected: (topic, partition, offset, message) of the first, by reason.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    triggers: list[RetrainTrigger] = field(default_factory=list)
    reports: list[PerformanceReport] = field(default_factory=list)
    comparisons: list[ComparisonEvent] = field(default_factory=list)
    curves: dict[tuple[Group, str], Curve] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, tuple[str, int, int, str]] = field(default_factory=dict)

    def decided(self, decided: Iterable[Decided]) -> None:
        """Take what was decided."""
        for event in decided:
            if isinstance(event, RetrainTrigger):
                self.triggers.append(event)
                continue
            if isinstance(event, Incident):
                self.incidents[event.incident_id] = event
                continue
            if isinstance(event, PerformanceReport):
                self.reports.append(event)
                continue
            if isinstance(event, ComparisonEvent):
                self.comparisons.append(event)
                continue
            episode = self.episodes.setdefault(event.episode_id, Episode(event, event))
            if event.status == "closed":
                episode.closed_ms = event.window_end_ms
            elif event.status == "changed":
                episode.changes.append(event)
            elif _rank(event.severity) >= _rank(episode.worst.severity):
                episode.worst = event

    def refused(self, topic: str, partition: int, offsets: NDArray[np.int64], rejected: Iterable[Rejection]) -> None:
        """Take rows that could not be counted."""
        for row, reason, message in rejected:
            self.rejected[reason] += 1
            self.first_rejected.setdefault(reason, (topic, partition, int(offsets[row]), message))

    def sample(self, views: GroupViews) -> None:
        """Take the present state of the columns."""
        for group, columns in views:
            for view in columns:
                self.curves.setdefault((group, view.column), Curve()).add(view.psi)

    def only(self, monitors: Collection[str]) -> None:
        """Forget what other monitors said."""
        self.episodes = {i: e for i, e in self.episodes.items() if e.opened.monitor in monitors}
        self.incidents = {i: e for i, e in self.incidents.items() if e.monitor in monitors}
        self.triggers = [t for t in self.triggers if t.monitor in monitors]
        self.reports = [r for r in self.reports if r.monitor in monitors]
        self.comparisons = [c for c in self.comparisons if c.monitor in monitors]
        self.curves = {key: curve for key, curve in self.curves.items() if key[0].monitor in monitors}


def resampled(points: Sequence[float | None], count: int) -> list[float | None]:
    """At most `count` points, each the mean of its neighbours."""
    if len(points) <= count:
        return list(points)
    bounds = [i * len(points) // count for i in range(count + 1)]
    return [_mean([p for p in points[a:b] if p is not None]) for a, b in pairwise(bounds)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rank(severity: str) -> int:
    return [*SEVERITIES].index(severity)  # type: ignore[arg-type]

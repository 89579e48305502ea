"""Performance before labels come, from the predictions alone: window by window of a version's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from driftbus.detectors.cbpe import estimate
from driftbus.detectors.intervals import Estimate
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.profile import Profile
from driftbus.schemas.events import DriftEvent, Group
from driftbus.stream.groups import GroupPane
from driftbus.stream.outcomes.book import Book, Look
from driftbus.stream.outcomes.compare import LEADING, Finding, against_reference, is_back, margin_of
from driftbus.stream.outcomes.content import Int, packed_counts, unpacked_counts
from driftbus.stream.outcomes.reference import References, scored_column, scores_in

PARTS = 8
"""A window moves by so many of its parts."""


class _Window:
    """The latest rows of a version in eighths: first pane, rows, scores of each."""

    def __init__(self) -> None:
        self.parts: list[list[Any]] = []
        self.number = 0
        self.latest: dict[str, Estimate] = {}

    def add(self, tick: int, rows: int, scores: Int, size: float) -> bool:
        """Take a pane; whether an eighth is full and the window with it."""
        if not self.parts or self.parts[-1][1] >= size:
            self.parts = [*self.parts[-PARTS + 1 :], [tick, 0, np.zeros(scores.size, np.int64)]]
        part = self.parts[-1]
        part[1] += rows
        part[2] = part[2] + scores
        if part[1] < size:
            return False
        self.number += 1
        return len(self.parts) == PARTS


class Estimates:
    """Estimated performance of a monitor's versions, pane by pane of the predictions.

    Args:
        shape: of the outcomes.
        profile: of the predictions, None without one.
        references: what is compared with.
        book: episodes of the aspect ``estimated``.
        pane_ms: length of a pane.
        rows: of a window.
        told, sure: confidence of the bounds that are told, and that decide.
        margin: see `driftbus.schemas.outcomeconfig.PerformanceConfig`.
        most: versions that have a window.
    """

    def __init__(
        self,
        shape: OutcomeShape,
        profile: Profile | None,
        references: References,
        book: Book,
        *,
        pane_ms: int,
        rows: int,
        told: float,
        sure: float,
        margin: float,
        most: int,
    ) -> None:
        self._shape, self._profile, self._references, self._book = shape, profile, references, book
        self._column = scored_column(shape, profile)
        self._pane_ms, self._size, self._told, self._sure = pane_ms, rows / PARTS, told, sure
        self._margin, self._most = margin, most
        self._windows: dict[str, _Window] = {}

    def update(self, tick: int, pane: Mapping[Group, GroupPane]) -> list[DriftEvent]:
        """Take a sealed pane of the predictions."""
        if self._column is None or self._profile is None:
            return []
        events: list[DriftEvent] = []
        for group in sorted(g for g in pane if not g.segment):
            if group.version not in self._windows and len(self._windows) >= self._most:
                continue
            window = self._windows.setdefault(group.version, _Window())
            scores = scores_in(self._profile, self._column, pane[group].counts)
            if window.add(tick, pane[group].rows, scores, self._size):
                events += self._judge(tick, group.version, window)
        return events

    def latest(self) -> dict[str, dict[str, Estimate]]:
        """Version → estimates of its latest window."""
        return {version: window.latest for version, window in sorted(self._windows.items()) if window.latest}

    def state(self) -> list[Any]:
        return [
            [
                version,
                window.number,
                [[tick, rows, *packed_counts(scores)] for tick, rows, scores in window.parts],
                [[name, e.value, e.low, e.high, e.n] for name, e in sorted(window.latest.items())],
            ]
            for version, window in sorted(self._windows.items())
        ]

    def restore(self, state: list[Any]) -> None:
        self._windows = {}
        width = 0 if self._column is None else self._column.width
        for version, number, parts, latest in state:
            window = self._windows[version] = _Window()
            window.number = number
            window.parts = [[tick, rows, unpacked_counts(cells, held, width)] for tick, rows, cells, held in parts]
            window.latest = {name: Estimate(*values) for name, *values in latest}

    def _judge(self, tick: int, version: str, window: _Window) -> list[DriftEvent]:
        reference = self._references.given
        if reference is None:
            return []
        scores: Int = np.stack([part[2] for part in window.parts]).sum(axis=0)
        window.latest = estimate(self._shape, reference.pairs, scores, self._told)
        sure = estimate(self._shape, reference.pairs, scores, self._sure)
        events: list[DriftEvent] = []
        for metric in LEADING[self._shape.kind]:
            if metric not in sure or metric not in reference.sure:
                continue
            margin = margin_of(metric, reference.estimates, self._margin)
            finding: Finding | None = against_reference(metric, sure[metric], reference.sure[metric], margin)
            events += self._book.take(
                Look(
                    where=(version, "", metric, "estimated", ""),
                    tick=tick,
                    number=window.number,
                    start_ms=window.parts[0][0] * self._pane_ms,
                    end_ms=(tick + 1) * self._pane_ms,
                    estimate=window.latest[metric],
                    reference=reference.estimates[metric],
                    finding=finding,
                    back=is_back(metric, window.latest[metric], reference.estimates[metric], None, margin),
                    labels=window.latest[metric].n,
                    reference_labels=reference.labels,
                    coverage=None,
                    lag_ms=None,
                    moved=(),
                    beside="",
                    ranges=(),
                )
            )
        return events

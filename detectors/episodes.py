"""Episodes: everything that the detectors say of one aspect of a column, folded into one alert.

An episode opens with the first evidence, escalates when its severity class rises, changes when its
column moves again, and closes when it is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.verdict import Transition

ASPECTS = ("distribution", "quality")
SEVERITIES = ("", "minor", "moderate", "severe")
WHATS = ("", "shift", "spread", "shape", "category", "nulls", "invalid", "unseen", "range")
DIRECTIONS = ("down", "", "up")

_SEVERITY, _WHAT, _DIRECTION, _DETECTOR, _SCORE, _OPENED, _SINCE, _LOW, _HIGH, _CLOSED, _TOLD, _TOLD_ROWS = range(12)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one detector found on one aspect of a column in one pane.

    Args:
        detector: index into the book's detectors.
        what, direction: what has changed, and where to.
        score: index of the score it is about, -1 for none.
        statistic, threshold, p_value: the detector's own.
        effect: size of the change in index units.
        least_effect: what it is at least, two standard errors below.
        reference_value, current_value: before and after.
        window_start: first pane it rests on.
        since, since_low, since_high: estimated change point and its interval, in ticks.
        count, reference_count: values on the two sides.
        moved: where it went to at the change point, ``up``, ``down`` or "".
        is_back: whether it only came back to the reference, so that no episode opens.
    """

    detector: int
    what: str
    direction: str
    score: int
    statistic: float
    threshold: float
    p_value: float | None
    effect: float
    least_effect: float
    reference_value: float | None
    current_value: float | None
    window_start: int
    since: int
    since_low: int
    since_high: int
    count: int
    reference_count: int
    moved: str = ""
    is_back: bool = False


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """An episode that has not closed yet.

    Args:
        column, aspect: whose; an episode belongs to them.
        severity: ``minor``, ``moderate`` or ``severe``.
        what: see `driftbus.detectors.verdict.Transition`.
        effect: largest so far, in index units.
        opened_tick: pane at which it opened.
        since_tick: estimated change point.
    """

    column: str
    aspect: str
    severity: str
    what: str
    effect: float
    opened_tick: int
    since_tick: int


class EpisodeBook:
    """The episodes of a group; number 2 c + a belongs to column c and aspect a.

    Args:
        columns: their names.
        detectors: names of the detectors.
        scores: number of scores.
        categories: category that each score stands for, "" for none.
    """

    def __init__(
        self, columns: Sequence[str], detectors: Sequence[str], scores: int, categories: Sequence[str]
    ) -> None:
        self._columns, self._detectors, self._categories = tuple(columns), tuple(detectors), tuple(categories)
        self._fields = np.zeros((2 * len(columns), 12), np.int64)
        self._fields[:, _CLOSED] = -1
        self._effect = np.zeros(2 * len(columns))
        self.rows = np.zeros(1, np.int64)
        """int64[1], rows seen."""
        self.shift = np.zeros(scores)
        """float64[s], how far from the reference a score was when it alarmed in its open episode, else 0."""

    def severity(self, number: int) -> int:
        """Severity class of an episode, 0 if it is not open."""
        return int(self._fields[number, _SEVERITY])

    def what(self, number: int) -> str:
        """What has changed in an open episode."""
        return WHATS[self._fields[number, _WHAT]]

    def opened_tick(self, number: int) -> int:
        """Pane at which an episode opened."""
        return int(self._fields[number, _OPENED])

    def closed_tick(self, number: int) -> int:
        """Pane at which the episode before closed, -1 if there was none."""
        return int(self._fields[number, _CLOSED])

    def told_tick(self, number: int) -> int:
        """Latest plausible change point of what was last said of an open episode."""
        return int(self._fields[number, _TOLD])

    def any_open(self) -> bool:
        """Whether any episode is open."""
        return bool(self._fields[:, _SEVERITY].any())

    def open_numbers(self) -> list[int]:
        """Numbers of the open episodes, ascending."""
        return [int(number) for number in np.flatnonzero(self._fields[:, _SEVERITY])]

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the order of columns and aspects."""
        return [
            OpenEpisode(
                column=self._columns[number // 2],
                aspect=ASPECTS[number % 2],
                severity=SEVERITIES[self._fields[number, _SEVERITY]],
                what=self.what(number),
                effect=float(self._effect[number]),
                opened_tick=self.opened_tick(number),
                since_tick=int(self._fields[number, _SINCE]),
            )
            for number in self.open_numbers()
        ]

    def take(self, number: int, tick: int, evidence: Evidence, severity: int) -> Transition | None:
        """Open the episode with this evidence, or escalate it if that is more severe than ever.

        Args:
            number: which.
            tick: the pane.
            evidence: the strongest of the pane.
            severity: its class.
        """
        fields = self._fields[number]
        self._effect[number] = max(self._effect[number], evidence.effect)
        if severity <= fields[_SEVERITY]:
            return None
        status = "escalated" if fields[_SEVERITY] else "opened"
        fields[_SEVERITY] = severity
        if status == "opened":
            fields[_WHAT], fields[_DETECTOR] = WHATS.index(evidence.what), evidence.detector
            fields[_DIRECTION], fields[_SCORE] = DIRECTIONS.index(evidence.direction), evidence.score
            fields[_OPENED], fields[_SINCE] = tick, evidence.since
            fields[_LOW], fields[_HIGH] = evidence.since_low, evidence.since_high
        fields[_TOLD], fields[_TOLD_ROWS] = evidence.since_high, self.rows[0]
        return self._transition(number, status, evidence)

    def change(self, number: int, evidence: Evidence, least_rows: int) -> Transition | None:
        """The column of an open episode moved again.

        None within `least_rows` rows of what was last said of the episode.
        """
        fields = self._fields[number]
        if self.rows[0] - fields[_TOLD_ROWS] < least_rows:
            return None
        fields[_TOLD], fields[_TOLD_ROWS] = evidence.since_high, self.rows[0]
        return replace(
            self._transition(number, "changed", evidence),
            what=evidence.what,
            direction=evidence.moved,
            since_tick=evidence.since,
            since_low_tick=evidence.since_low,
            since_high_tick=evidence.since_high,
            category=self._categories[evidence.score] if evidence.score >= 0 else "",
        )

    def close(self, number: int, tick: int, evidence: Evidence) -> Transition:
        """Close an open episode; the evidence says that it is over."""
        transition = self._transition(number, "closed", evidence)
        self._fields[number] = 0
        self._fields[number, _CLOSED] = tick
        self._effect[number] = 0.0
        return transition

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"fields": self._fields, "effect": self._effect, "rows": self.rows, "shift": self.shift}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._fields, self._effect = arrays["fields"], arrays["effect"]
        self.rows, self.shift = arrays["rows"], arrays["shift"]

    def _transition(self, number: int, status: str, evidence: Evidence) -> Transition:
        fields = self._fields[number]
        score = int(fields[_SCORE])
        return Transition(
            column=self._columns[number // 2],
            aspect=ASPECTS[number % 2],
            status=status,
            severity=SEVERITIES[fields[_SEVERITY]],
            detector=self._detectors[fields[_DETECTOR] if status == "closed" else evidence.detector],
            what=WHATS[fields[_WHAT]],
            direction=DIRECTIONS[fields[_DIRECTION]],
            statistic=evidence.statistic,
            threshold=evidence.threshold,
            p_value=evidence.p_value,
            effect=evidence.effect,
            reference_value=evidence.reference_value,
            current_value=evidence.current_value,
            opened_tick=int(fields[_OPENED]),
            window_start_tick=evidence.window_start,
            since_tick=int(fields[_SINCE]),
            since_low_tick=int(fields[_LOW]),
            since_high_tick=int(fields[_HIGH]),
            count=evidence.count,
            reference_count=evidence.reference_count,
            category=self._categories[score] if score >= 0 else "",
        )

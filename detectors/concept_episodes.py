"""Episodes of outcomes: one alert per metric, with the level it left.

Unlike columns, a metric needs no reference: an episode remembers the level before it opened, and closes
when the metric is back there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.concept_evidence import ConceptEvidence
from driftbus.detectors.concept_moved import Moved, Movement
from driftbus.detectors.episodes import DIRECTIONS, SEVERITIES, OpenEpisode
from driftbus.detectors.verdict import Transition

WHATS = ("", "concept", "mix", "prior")
_SEVERITY, _WHAT, _DIRECTION, _DETECTOR, _SCORE, _OPENED, _SINCE, _LOW, _HIGH, _TOLD, _MOVED = range(11)
_FIELDS = 11


class ConceptBook:
    """The episodes of one group's outcomes.

    Args:
        columns: (column, aspect) of each.
        detectors: names of the detectors.
        units: what a score's value of 1 is worth to a person.
        categories: class that each score stands for, "" for none.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        detectors: Sequence[str],
        units: Sequence[float],
        categories: Sequence[str],
    ) -> None:
        self.columns, self._detectors = tuple(columns), tuple(detectors)
        self._units, self._categories = tuple(units), tuple(categories)
        self._fields = np.zeros((len(columns), _FIELDS), np.int64)
        self._effect = np.zeros(len(columns))
        self._p_values = np.ones((len(columns), 3))
        self.rows = np.zeros(1, np.int64)
        """int64[1], labels seen."""
        self.base = np.zeros((len(units), 3))
        """float64[s, 3], mean and rows before a score alarmed in its open episode, and how far it went; else 0."""

    def severity(self, number: int) -> int:
        """Severity of the open episode, 0 if there is none."""
        return int(self._fields[number, _SEVERITY])

    def direction(self, number: int) -> int:
        """1 up, -1 down, 0 if there is none."""
        return int(self._fields[number, _DIRECTION]) - 1 if self.severity(number) else 0

    def score(self, number: int) -> int:
        """Score that opened the episode."""
        return int(self._fields[number, _SCORE])

    def since(self, number: int) -> int:
        """Estimated change point of the open episode."""
        return int(self._fields[number, _SINCE])

    def rows_since_told(self, number: int) -> int:
        """Labels since what was last said of the episode."""
        return int(self.rows[0] - self._fields[number, _TOLD])

    def open(self, number: int, tick: int, e: ConceptEvidence, severity: int, what: str, moved: Moved) -> Transition:
        """Open the episode with this evidence."""
        fields = self._fields[number]
        fields[_SEVERITY], fields[_WHAT], fields[_DETECTOR] = severity, WHATS.index(what), e.detector
        fields[_DIRECTION], fields[_SCORE], fields[_OPENED] = 2 * (e.after > e.before), e.score, tick
        fields[_SINCE], fields[_LOW], fields[_HIGH] = e.since, e.since_low, e.since_high
        self._effect[number] = e.effect
        return self._told(number, "opened", e, moved)

    def escalate(self, number: int, e: ConceptEvidence, severity: int, moved: Moved) -> Transition:
        """The episode became more severe."""
        self._fields[number, _SEVERITY] = severity
        self._effect[number] = max(self._effect[number], e.effect)
        return self._told(number, "escalated", e, moved)

    def change(self, number: int, e: ConceptEvidence, what: str, moved: Moved) -> Transition:
        """The metric of an open episode moved again."""
        self._effect[number] = max(self._effect[number], e.effect)
        direction = 2 * (e.after > e.before)
        return self._told(number, "changed", e, moved, what, direction, (e.since, e.since_low, e.since_high))

    def close(self, number: int, e: ConceptEvidence, moved: Moved) -> Transition:
        """The episode is over."""
        transition = self._told(number, "closed", e, moved)
        self._fields[number], self._effect[number], self._p_values[number] = 0, 0.0, 1.0
        return transition

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the order of the columns."""
        return [
            OpenEpisode(
                column=column,
                aspect=aspect,
                severity=SEVERITIES[self.severity(number)],
                what=WHATS[self._fields[number, _WHAT]],
                effect=float(self._effect[number]),
                opened_tick=int(self._fields[number, _OPENED]),
                since_tick=self.since(number),
            )
            for number, (column, aspect) in enumerate(self.columns)
            if self.severity(number)
        ]

    def moved(self) -> dict[str, Moved]:
        """Column of each open episode → what had moved when it last spoke."""
        return {
            column: Moved(*(
                Movement((None, False, True)[int(self._fields[number, _MOVED]) // 3**i % 3], float(p))
                for i, p in enumerate(self._p_values[number])
            ))
            for number, (column, _) in enumerate(self.columns)
            if self.severity(number)
        }  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {
            "fields": self._fields, "effect": self._effect, "p_values": self._p_values,
            "rows": self.rows, "base": self.base,
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._fields, self._effect, self._p_values = arrays["fields"], arrays["effect"], arrays["p_values"]
        self.rows, self.base = arrays["rows"], arrays["base"]

    def _told(
        self,
        number: int,
        status: str,
        e: ConceptEvidence,
        moved: Moved,
        what: str = "",
        direction: int = -1,
        since: tuple[int, int, int] | None = None,
    ) -> Transition:
        fields, (column, aspect), unit = self._fields[number], self.columns[number], self._units[e.score]
        kept = (moved.label, moved.prediction, moved.concept)
        fields[_TOLD] = self.rows[0]
        fields[_MOVED] = sum((0 if m.moved is None else 1 + m.moved) * 3**i for i, m in enumerate(kept))
        self._p_values[number] = [m.p_value for m in kept]
        low, high = int(fields[_LOW]), int(fields[_HIGH])
        times = since or (int(fields[_SINCE]), low, high)
        return Transition(
            column=column,
            aspect=aspect,
            status=status,
            severity=SEVERITIES[fields[_SEVERITY]],
            detector=self._detectors[fields[_DETECTOR] if status == "closed" else e.detector],
            what=what or WHATS[fields[_WHAT]],
            direction=DIRECTIONS[fields[_DIRECTION] if direction < 0 else direction],
            statistic=e.statistic,
            threshold=e.threshold,
            p_value=e.p_value,
            effect=e.effect,
            reference_value=e.before * unit,
            current_value=e.after * unit,
            opened_tick=int(fields[_OPENED]),
            window_start_tick=e.since,
            since_tick=times[0],
            since_low_tick=times[1],
            since_high_tick=times[2],
            count=int(e.after_n),
            reference_count=int(e.before_n),
            category=self._categories[e.score],
            moved=moved.names(),
        )

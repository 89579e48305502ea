"""From the evidence of a pane to transitions of episodes: opening, growing, closing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from driftbus.detectors.episodes import EpisodeBook, Evidence
from driftbus.detectors.evidence import Evidences
from driftbus.detectors.psi import PsiBank
from driftbus.detectors.scores import ScoreTable
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition
from driftbus.detectors.windows import SlidingWindows

_SEVERE = 3


class Folding:
    """Folds evidence into the episodes of a group.

    Args:
        table: the scores; s of them, on c columns.
        settings: the constants.
        book: the episodes; all state is there.
        evidences: reads the detectors.
        windows: series 0..c-1 are the columns, c..c+s-1 the scores.
        index: the population stability index of the columns.
    """

    def __init__(
        self,
        table: ScoreTable,
        settings: Settings,
        book: EpisodeBook,
        evidences: Evidences,
        windows: SlidingWindows,
        index: PsiBank,
    ) -> None:
        self._settings, self._book, self._evidences = settings, book, evidences
        self._windows, self._index, self._columns = windows, index, table.first.size
        self._episode_of = np.array([2 * s.column + (s.aspect == "quality") for s in table.scores], np.int64)

    def episode_of(self, score: int) -> int:
        """Number of the episode that a score's alarms belong to."""
        return int(self._episode_of[score])

    def fold(self, tick: int, alarms: dict[int, list[Evidence]], held: Collection[int] = ()) -> list[Transition]:
        """The transitions of a pane, in the order of columns and aspects.

        Args:
            tick: the pane.
            alarms: number of the episode → evidence of detectors that alarm in this pane.
            held: numbers of episodes that don't close yet.
        """
        if not alarms and not self._windows.judged.any():
            return []
        transitions = []
        for number in sorted({*alarms, *self._book.open_numbers()}):
            found, is_open = alarms.get(number, []), self._book.severity(number) > 0
            evidence = found + self._growth(number, tick) if is_open else [e for e in found if not e.is_back]
            moved = [e for e in found if is_open and self._is_news(number, e)]
            transition = self._take(number, tick, evidence) if evidence else None
            if transition is None and moved:
                change = max(moved, key=lambda e: e.effect)
                transition = self._book.change(number, change, self._settings.change_values)
            if transition is None and number not in alarms and number not in held and self._is_over(number):
                transition = self._close(number, tick)
            if transition is not None:
                transitions.append(transition)
        return transitions

    def _is_news(self, number: int, evidence: Evidence) -> bool:
        """Whether it is of a later change than what was last said: several scores see one, in turn.

        A score that has alarmed in the episode has forgotten what was before, so a plausible one will do.
        A window of the index looks back too far.
        """
        if evidence.detector not in self._evidences.comparing:
            return False
        start = evidence.since_high if self._book.shift[evidence.score] else evidence.since_low
        return start > self._book.told_tick(number)

    def _take(self, number: int, tick: int, evidence: list[Evidence]) -> Transition | None:
        is_open = self._book.severity(number) > 0
        # opening: a change point first (detectors of scores give one), then the larger effect
        primary = max(evidence, key=lambda e: (not is_open and e.detector in self._evidences.sequential, e.effect))
        largest = max(e.least_effect if is_open else e.effect for e in evidence)
        if not is_open:
            primary = replace(primary, effect=largest)
        transition = self._book.take(number, tick, primary, self._settings.severity(largest))
        for e in evidence:
            is_mean = e.detector in self._evidences.sequential
            if is_mean and not e.is_back and not self._book.shift[e.score]:
                self._book.shift[e.score] = (e.current_value or 0.0) - self._evidences.reference_mean[e.score]
        return transition

    def _growth(self, number: int, tick: int) -> list[Evidence]:
        """Of an open episode: it may grow without a new alarm, in the windows that moved."""
        severity, column = self._book.severity(number), number // 2
        if severity == _SEVERE:
            return []
        if number % 2 == 0:
            moved = self._evidences.windows_open(column) & self._windows.judged[: self._index.open.shape[0], column]
            recent = self._windows.first_tick[: moved.size, column] > self._book.closed_tick(number)
            return [
                self._evidences.of_index(tick, int(w), column)
                for w in np.flatnonzero(moved & recent)
                if self._settings.severity(self._evidences.least_index(int(w), column)) > severity
            ]
        bound = self._settings.moderate if severity == 1 else self._settings.severe
        return [
            self._evidences.of_rate(tick, score, bound)
            for score in self._shifted(number)
            if self._windows.judged[0, self._columns + score]
            and self._windows.first_tick[0, self._columns + score] > self._book.closed_tick(number)
        ]

    def _is_over(self, number: int) -> bool:
        column, shifted = number // 2, self._shifted(number)
        series = [column] if number % 2 == 0 else [self._columns + score for score in shifted]
        if not self._windows.judged[0, series].any():
            return False
        if number % 2 == 0 and not self._evidences.index_is_quiet(column, self._book.severity(number)):
            return False
        return all(self._evidences.is_back(score, float(self._book.shift[score])) for score in shifted)

    def _close(self, number: int, tick: int) -> Transition:
        shifted = self._shifted(number)
        if shifted:
            evidence = self._evidences.of_rate(tick, shifted[0], self._settings.close_effect)
        else:
            evidence = self._evidences.of_index(tick, 0, number // 2)
        self._book.shift[self._episode_of == number] = 0.0
        return self._book.close(number, tick, evidence)

    def _shifted(self, number: int) -> list[int]:
        """The scores that alarmed in the open episode."""
        return [int(i) for i in np.flatnonzero((self._episode_of == number) & (self._book.shift != 0))]

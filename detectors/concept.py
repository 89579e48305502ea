"""Concept drift, online: errors, log loss, labels and calibration of one group, fed with pairs pane by pane.

ADWIN (`driftbus.detectors.adwin`, with long-run variance) looks at the mean of each score; river's detectors,
where they are on, at the errors one by one. An alarm is compared with what came before its change point, to
tell what moved (`driftbus.detectors.concept_moved`). Errors that rise mostly because other rows come, each
score meaning what it meant, are a ``mix``; else the ``concept`` has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.concept_episodes import ConceptBook
from driftbus.detectors.concept_evidence import ConceptEvidence, is_back, located, of_alarm, present
from driftbus.detectors.concept_history import CountHistory
from driftbus.detectors.concept_moved import CONCEPT, LABEL, PREDICTION, UNKNOWN, Moved, explained, what_moved
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptScore, concept_view
from driftbus.detectors.concept_watch import ConceptWatch
from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.river_engine import RiverEngine
from driftbus.detectors.state import pack, select, unpack
from driftbus.detectors.verdict import Transition

_KIND = "concept"
_EVER = -(2**62)
_MOSTLY = 0.5
"""Share of a change from which on the mix of scores explains it."""

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Found:
    evidence: ConceptEvidence
    moved: Moved
    what: str


class _Part(Protocol):
    def arrays(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class ConceptDetector:
    """Drift of the outcomes of one group.

    The same panes give the same transitions and the same state, bit by bit.

    Args:
        shape: how pairs are counted.
        settings: the constants.
        reference: int64[pairs] of training or validation rows; None: there is none. Then each metric is compared
            with its own past from the first label on, and the first `learn_labels` labels become what scores let
            expect.

    Raises:
        ConfigError: a detector of river is on, and river is not installed.
    """

    def __init__(self, shape: OutcomeShape, settings: ConceptSettings, reference: Int | None = None) -> None:
        self._shape, self._settings = shape, settings
        self._view = concept_view(shape, settings.clip)
        self._given = None if reference is None or not reference.any() else self._view.fold(reference)
        self._fingerprint = _fingerprint(shape, settings, reference)
        self._watch = ConceptWatch(self._view, settings, self._given)
        self._history = CountHistory(self._view.size)
        self._engine = RiverEngine(settings.detectors, settings.divisor)
        self._detectors = ("adwin", *self._engine.names)
        scores = [*self._view.scores, *([_BLANK] * (self._watch.most - len(self._view.scores)))]
        columns = dict.fromkeys((s.column, s.aspect) for s in self._view.scores if s.column)
        if self._watch.most > len(self._view.scores):
            columns[("calibration", "concept")] = None
        self._book = ConceptBook(
            tuple(columns), self._detectors, [s.unit for s in scores], [s.category for s in scores]
        )
        self._last = np.full(self._watch.most, _EVER, np.int64)  # change point of each score's last alarm
        self._reset = np.full(max(1, len(self._engine.names)), _EVER, np.int64)  # tick of river's last alarms
        self._tick = np.full(1, _EVER, np.int64)

    def update(self, tick: int, first_pairs: Int) -> list[Transition]:
        """Take one sealed pane.

        Args:
            tick: pane number; must increase. Gaps are empty panes.
            first_pairs: int64[pairs], the block ``first`` of the pane.

        Returns:
            Episodes that opened, escalated, changed or closed, in the order of the columns.

        Raises:
            ValueError: the tick does not increase.
        """
        if tick <= self._tick[0]:
            raise ValueError(f"pane {tick} after pane {self._tick[0]}")
        self._tick[0] = tick
        channels = self._view.fold(first_pairs)
        if not channels.any():
            return []
        self._history.add(tick, channels)
        self._book.rows += self._watch.labels(channels)
        found: dict[int, list[_Found]] = {}
        for score, alarm in self._watch.update(tick, channels):
            self._take(score, of_alarm(alarm, score, self._watch.score(score), self._book.base[score]), found)
        for evidence in self._of_river(tick, channels):
            self._take(0, evidence, found)
        return self._fold(tick, found)

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the order of the columns."""
        return self._book.open_episodes()

    def moved(self) -> dict[str, Moved]:
        """Column of each open episode → what had moved when it last spoke."""
        return self._book.moved()

    def moved_since(self, tick: int) -> Moved:
        """What moved between the labels before a pane, the reference included, and those from it on."""
        return self._moved(*self._sides(_EVER, tick, int(self._tick[0]) + 1))

    def dump(self) -> bytes:
        """The state as bytes; `load` goes on from there as if nothing had happened."""
        arrays = {f"{prefix}.{name}": array for prefix, part in self._parts() for name, array in part.arrays().items()}
        return pack(_KIND, self._fingerprint, arrays | {f"own.{name}": a for name, a in self._own().items()})

    @classmethod
    def load(
        cls, shape: OutcomeShape, settings: ConceptSettings, reference: Int | None, data: bytes
    ) -> ConceptDetector:
        """The detector whose state `dump` wrote.

        Raises:
            StateError: the bytes are damaged, or of another version, shape, reference or settings, or of another
                version of river where its detectors are on.
        """
        detector = cls(shape, settings, reference)
        arrays = unpack(_KIND, detector._fingerprint, data)
        own = select(arrays, "own", detector._own())
        detector._last, detector._tick, detector._reset = own["last"], own["tick"], own["reset"]
        learned = {"learned": detector._watch.arrays()["learned"]}
        detector._watch.learn(select(arrays, "watch", learned)["learned"])
        for prefix, part in detector._parts():
            part.restore(select(arrays, prefix, part.arrays()))
        return detector

    def _parts(self) -> tuple[tuple[str, _Part], ...]:
        return ("watch", self._watch), ("history", self._history), ("episodes", self._book), ("river", self._engine)

    def _own(self) -> dict[str, NDArray[Any]]:
        return {"last": self._last, "reset": self._reset, "tick": self._tick}

    def _number(self, score: int) -> int:
        s = self._watch.score(score)
        return self._book.columns.index((s.column, s.aspect))

    def _take(self, score: int, evidence: ConceptEvidence, found: dict[int, list[_Found]]) -> None:
        before, after = self._sides(int(self._last[score]), evidence.since, int(self._tick[0]) + 1)
        moved = self._moved(before, after)
        if evidence.detector == 0:
            self._last[score] = evidence.since
        number = self._number(score)
        if self._book.columns[number][0] == "calibration" and moved.concept.moved is not True:
            return  # other rows came, or the reference knew little of these scores
        what = "prior"
        if self._book.columns[number][1] != "labels":
            by_mix = explained(self._view, self._watch.score(score), before, after)
            calibration = self._book.columns[number][0] == "calibration"
            what = "mix" if by_mix >= _MOSTLY and not calibration else "concept"
        found.setdefault(number, []).append(_Found(evidence, moved, what))

    def _sides(self, start: int, cut: int, stop: int) -> tuple[Int, Int]:
        """Counts before and after a cut; before includes the reference if it goes back to the start."""
        before, after = self._history.between(start, cut), self._history.between(cut, stop)
        return (before + self._given if start == _EVER and self._given is not None else before), after

    def _moved(self, before: Int, after: Int) -> Moved:
        if not before.any() or not after.any():
            return UNKNOWN
        named = {s.name: i for i, s in reversed(list(enumerate(self._watch.scores)))}
        n, both = float(self._watch.labels(after)), before + after
        scores = {LABEL: named.get("label", 0), PREDICTION: named["prediction"], CONCEPT: self._watch.calibration}
        designs = {name: self._watch.design(score, n, both) for name, score in scores.items()}
        return what_moved(self._view, before, after, self._settings.moved_alpha, designs)

    def _of_river(self, tick: int, channels: Int) -> list[ConceptEvidence]:
        if not self._engine.names:
            return []
        score, found = self._watch.scores[0], []
        names = self._engine.update(tick, np.repeat(score.value, channels[score.cell]))
        for name in names:
            place = self._engine.names.index(name)
            start = int(self._reset[place])
            self._reset[place] = tick
            if self._book.severity(0):
                continue
            known = self._given if start == _EVER else None
            evidence = located(score, self._history.marks(), start, tick, known, 1 + place)
            if evidence is not None:
                found.append(evidence)
        return found

    def _fold(self, tick: int, found: dict[int, list[_Found]]) -> list[Transition]:
        transitions: list[Transition] = []
        for number in range(len(self._book.columns)):
            if number in found:
                transitions += self._alarmed(number, tick, found[number])
            elif self._book.severity(number):
                transitions += self._quiet(number, tick)
        return transitions

    def _alarmed(self, number: int, tick: int, found: list[_Found]) -> list[Transition]:
        book, settings, transitions = self._book, self._settings, []
        first = max(found, key=lambda one: one.evidence.effect)
        e, moved, what = first.evidence, first.moved, first.what
        direction = book.direction(number)
        shift = e.after - (book.base[e.score, 0] if self._is_shifted(e.score) else e.before)
        returns = direction and abs(shift) <= 0.5 * abs(e.after - e.before)
        if direction and not returns and shift * direction < 0 and e.score == book.score(number):
            transitions.append(self._close(number, e))  # through the old level to its other side
            direction = 0
        if not direction:
            for other in (one.evidence for one in found):
                book.base[other.score] = other.before, other.before_n, other.after - other.before
            transitions.append(book.open(number, tick, e, settings.severity(e.effect), what, moved))
            return transitions
        for other in (one.evidence for one in found):
            if not self._is_shifted(other.score):
                book.base[other.score] = other.before, other.before_n, other.after - other.before
        severity = settings.severity(e.least_effect)
        if not returns and severity > book.severity(number):
            return [book.escalate(number, e, severity, moved)]
        if book.rows_since_told(number) >= settings.change_values:
            return [book.change(number, e, what, moved)]
        return []

    def _quiet(self, number: int, tick: int) -> list[Transition]:
        """Whether an open episode is over."""
        shifted = [i for i in range(self._watch.most) if self._is_shifted(i) and self._number(i) == number]
        watched = [(self._watch.score(i), *self._watch.bank(i), self._book.base[i]) for i in shifted]
        if all(is_back(*one, self._settings) for one in watched):
            since = int(self._last[shifted[0]])
            e = present(shifted[0], *watched[0], self._settings, tick if since == _EVER else since, tick)
            return [self._close(number, e)]
        return []

    def _is_shifted(self, score: int) -> bool:
        return bool(self._book.base[score, 1] > 0)

    def _close(self, number: int, e: ConceptEvidence) -> Transition:
        for i in range(self._watch.most):
            if self._is_shifted(i) and self._number(i) == number:
                self._book.base[i] = 0.0
        return replace(self._book.close(number, e, UNKNOWN), moved=())


_BLANK = ConceptScore("", "calibration", "concept", np.zeros(0, np.int64), np.zeros(0), False)


def _fingerprint(shape: OutcomeShape, settings: ConceptSettings, reference: Int | None) -> str:
    known = b"" if reference is None else reference.astype("<i8").tobytes()
    text = f"{settings.fingerprint()} {shape.fingerprint} ".encode()
    return hashlib.sha256(text + known).hexdigest()[:32]

"""Concept drift, online: errors, log loss, labels and calibration of one group, fed with pairs pane by pane.

ADWIN (`driftbus.detectors.adwin`, with long-run variance) looks at the mean of each score; river's detectors,
where they are on, at the errors one by one. An alarm is compared with what came before its change point, to
tell what moved (`driftbus.detectors.concept_moved`). Errors that rise because other rows come, while labels
given scores stay what they were, are a ``mix``; the ``concept`` has changed when those moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank
from driftbus.detectors.concept_bank import Scored
from driftbus.detectors.concept_episodes import ConceptBook
from driftbus.detectors.concept_evidence import ConceptEvidence, effect_of, least_effect, located
from driftbus.detectors.concept_history import CountHistory
from driftbus.detectors.concept_moved import CONCEPT, LABEL, PREDICTION, UNKNOWN, Moved, explained, what_moved
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptScore, concept_view
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
        self._plain = Scored(self._view.scores, settings, self._given)
        self._most = self._plain.size + 2 * sum(s.cells.shape[1] == 2 for s in self._view.strata if not s.sums)
        self._fitted: Scored | None = None if self._given is None else self._fit(self._given)
        self._learned = np.zeros(self._view.size, np.int64)
        self._history = CountHistory(self._view.size)
        self._engine = RiverEngine(settings.detectors, settings.divisor)
        self._detectors = ("adwin", *self._engine.names)
        scores = [*self._view.scores, *([_BLANK] * (self._most - self._plain.size))]
        columns = dict.fromkeys((s.column, s.aspect) for s in self._view.scores if s.column)
        if self._most > self._plain.size:
            columns[("calibration", "concept")] = None
        self._book = ConceptBook(
            tuple(columns), self._detectors, [s.unit for s in scores], [s.category for s in scores]
        )
        self._last = np.full(self._most, _EVER, np.int64)  # change point of each score's last alarm
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
        rows = int(channels[self._view.scores[0].cell].sum())
        self._book.rows += rows
        known, quiet = int(self._book.rows[0]), self._settings.quiet_labels
        alarms = [(alarm.score, alarm) for alarm in self._plain.update(tick, channels, known >= quiet)]
        if self._fitted is not None:
            first, allowed = self._plain.size, known >= quiet + self._labels(self._learned)
            alarms += [(first + alarm.score, alarm) for alarm in self._fitted.update(tick, channels, allowed)]
        found: dict[int, list[_Found]] = {}
        for score, alarm in alarms:
            if self._score(score).column:
                self._take(score, self._of_alarm(score, alarm), found)
        for evidence in self._of_river(tick, channels):
            self._take(0, evidence, found)
        if self._fitted is None:
            self._learn(channels)
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
        detector._learned, detector._last, detector._tick = own["learned"], own["last"], own["tick"]
        detector._reset = own["reset"]
        if detector._fitted is None and detector._labels(detector._learned) >= settings.learn_labels:
            detector._fitted = detector._fit(detector._learned)
        for prefix, part in detector._parts():
            part.restore(select(arrays, prefix, part.arrays()))
        return detector

    def _parts(self) -> tuple[tuple[str, _Part], ...]:
        fitted = (("fitted", self._fitted.bank),) if self._fitted is not None else ()
        own = ("adwin", self._plain.bank), ("history", self._history), ("episodes", self._book), ("river", self._engine)
        return (*own, *fitted)

    def _own(self) -> dict[str, NDArray[Any]]:
        return {"learned": self._learned, "last": self._last, "reset": self._reset, "tick": self._tick}

    def _labels(self, channels: Int) -> int:
        return int(channels[self._view.scores[0].cell].sum())

    def _fit(self, reference: Int) -> Scored | None:
        scores = self._view.calibrations(reference)
        return Scored(scores, self._settings, reference) if scores else None

    def _learn(self, channels: Int) -> None:
        self._learned += channels
        if self._labels(self._learned) >= self._settings.learn_labels:
            self._fitted = self._fit(self._learned)

    def _score(self, score: int) -> ConceptScore:
        if score < self._plain.size:
            return self._plain.scores[score]
        assert self._fitted is not None
        return self._fitted.scores[score - self._plain.size]

    def _bank(self, score: int) -> tuple[AdwinBank, int]:
        if score < self._plain.size:
            return self._plain.bank, score
        assert self._fitted is not None
        return self._fitted.bank, score - self._plain.size

    def _number(self, score: int) -> int:
        s = self._score(score)
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
            by_mix = explained(self._view, self._score(score), before, after)
            what = "mix" if moved.concept.moved is False and by_mix >= _MOSTLY else "concept"
        found.setdefault(number, []).append(_Found(evidence, moved, what))

    def _sides(self, start: int, cut: int, stop: int) -> tuple[Int, Int]:
        """Counts before and after a cut; before includes the reference if it goes back to the start."""
        before, after = self._history.between(start, cut), self._history.between(cut, stop)
        return (before + self._given if start == _EVER and self._given is not None else before), after

    def _moved(self, before: Int, after: Int) -> Moved:
        if not before.any() or not after.any():
            return UNKNOWN
        named = {s.name: i for i, s in reversed(list(enumerate(self._plain.scores)))}
        n = float(self._labels(after))
        designs = {
            LABEL: self._design(named.get("label", 0), n, before, after),
            PREDICTION: self._design(named["prediction"], n, before, after),
            CONCEPT: self._design(0 if self._fitted is None else self._plain.size, n, before, after),
        }
        return what_moved(self._view, before, after, self._settings.moved_alpha, designs)

    def _design(self, score: int, n: float, before: Int, after: Int) -> float:
        """By how much autocorrelation raises the variance of a score's mean."""
        bank, i = self._bank(score)
        _, _, variance = self._score(score).moments(before + after)
        return max(1.0, bank.variance(i, n) / variance) if variance > 0 else 1.0

    def _of_alarm(self, score: int, alarm: AdwinAlarm) -> ConceptEvidence:
        base = self._base(score, alarm.before_mean)
        return ConceptEvidence(
            score=score,
            detector=0,
            statistic=alarm.statistic,
            threshold=alarm.threshold,
            p_value=alarm.p_value,
            effect=effect_of(self._score(score), base, alarm.after_mean, alarm.variance),
            least_effect=least_effect(self._score(score), base, alarm.after_mean, alarm.after_n, alarm.variance),
            before=alarm.before_mean,
            before_n=alarm.before_n,
            after=alarm.after_mean,
            after_n=alarm.after_n,
            since=alarm.since,
            since_low=alarm.since_low,
            since_high=alarm.since_high,
        )

    def _base(self, score: int, otherwise: float) -> float:
        mean, n, _ = self._book.base[score]
        return float(mean) if n > 0 else otherwise

    def _of_river(self, tick: int, channels: Int) -> list[ConceptEvidence]:
        if not self._engine.names:
            return []
        score, found = self._plain.scores[0], []
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
        shift = e.after - self._base(e.score, e.before)
        is_back = direction and abs(shift) <= 0.5 * abs(e.after - e.before)
        if direction and not is_back and shift * direction < 0 and e.score == book.score(number):
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
        if not is_back and severity > book.severity(number):
            return [book.escalate(number, e, severity, moved)]
        if book.rows_since_told(number) >= settings.change_values:
            return [book.change(number, e, what, moved)]
        return []

    def _quiet(self, number: int, tick: int) -> list[Transition]:
        """Whether an open episode has grown, or is over, without a new alarm."""
        shifted = [i for i in range(self._most) if self._is_shifted(i) and self._number(i) == number]
        if all(self._is_back(i) for i in shifted):
            return [self._close(number, self._now(shifted[0], tick))]
        return []

    def _is_shifted(self, score: int) -> bool:
        return bool(self._book.base[score, 1] > 0)

    def _is_back(self, score: int) -> bool:
        """Whether the labels since a score's last alarm have its mean from before the episode."""
        settings = self._settings
        bank, i = self._bank(score)
        n, mean = bank.seen(i), bank.recent_mean(i)
        if n < settings.close_values:
            return False
        base, base_n, shift = self._book.base[score].tolist()
        variance = bank.variance(i, n)
        bound = abs(mean - base) + settings.close_errors * sqrt(variance * (1 / n + 1 / base_n))
        return (
            bool(bound < 0.5 * abs(shift))
            and effect_of(self._score(score), base, mean, variance) < settings.close_effect
        )

    def _now(self, score: int, tick: int) -> ConceptEvidence:
        bank, i = self._bank(score)
        n, mean = bank.seen(i), bank.recent_mean(i)
        base, base_n, _ = self._book.base[score].tolist()
        variance = bank.variance(i, n)
        effect = effect_of(self._score(score), base, mean, variance)
        since = int(self._last[score]) if self._last[score] != _EVER else tick
        return ConceptEvidence(
            score,
            0,
            effect,
            self._settings.close_effect,
            None,
            effect,
            effect,
            base,
            base_n,
            mean,
            n,
            since,
            since,
            tick,
        )

    def _close(self, number: int, e: ConceptEvidence) -> Transition:
        for i in range(self._most):
            if self._is_shifted(i) and self._number(i) == number:
                self._book.base[i] = 0.0
        return replace(self._book.close(number, e, UNKNOWN), moved=())


_BLANK = ConceptScore("", "calibration", "concept", np.zeros(0, np.int64), np.zeros(0), False)


def _fingerprint(shape: OutcomeShape, settings: ConceptSettings, reference: Int | None) -> str:
    known = b"" if reference is None else reference.astype("<i8").tobytes()
    text = f"{settings.fingerprint()} {shape.fingerprint} ".encode()
    return hashlib.sha256(text + known).hexdigest()[:32]

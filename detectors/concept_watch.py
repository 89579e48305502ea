"""All scores of a group's outcomes and what watches them: those that need no reference, and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank
from driftbus.detectors.concept_bank import Scored
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptScore, ConceptView

Int = NDArray[np.int64]


class ConceptWatch:
    """The banks of a view. Without a reference, calibration is watched once enough labels are known.

    Args:
        view: what is looked at.
        settings: the constants.
        reference: int64[size], channels; None without one.

    Attributes:
        scores: those that are watched from the first label on.
        most: scores, calibration included, at most.
    """

    def __init__(self, view: ConceptView, settings: ConceptSettings, reference: Int | None) -> None:
        self._view, self._settings, self._reference = view, settings, reference
        self.scores = view.scores
        self.most = len(view.scores) + 2 * sum(s.cells.shape[1] == 2 for s in view.strata if not s.sums)
        self._plain = Scored(view.scores, settings, reference)
        self._fitted = None if reference is None else self._fit(reference)
        self._learned = np.zeros(view.size, np.int64)
        self._rows = np.zeros(1, np.int64)

    @property
    def calibration(self) -> int:
        """The score that stands for P(Y|Ŷ): of calibration once it is watched, else the error."""
        return 0 if self._fitted is None else self._plain.size

    def labels(self, channels: Int) -> int:
        """Labelled rows of some counts."""
        return int(channels[self.scores[0].cell].sum())

    def update(self, tick: int, channels: Int) -> list[tuple[int, AdwinAlarm]]:
        """Take one pane of channels; (score, alarm), in the order of the scores."""
        self._rows += self.labels(channels)
        rows, quiet, first = int(self._rows[0]), self._settings.quiet_labels, self._plain.size
        alarms = [(alarm.score, alarm) for alarm in self._plain.update(tick, channels, rows >= quiet)]
        if self._fitted is not None:
            allowed = rows >= quiet + self.labels(self._learned)
            alarms += [(first + alarm.score, alarm) for alarm in self._fitted.update(tick, channels, allowed)]
        elif not self._is_learned():
            self._learned += channels
            if self._is_learned():
                self._fitted = self._fit(self._learned)
        return [(score, alarm) for score, alarm in alarms if self.score(score).column]

    def score(self, score: int) -> ConceptScore:
        """A score by its index; calibration comes after all others."""
        if score < self._plain.size:
            return self.scores[score]
        assert self._fitted is not None
        return self._fitted.scores[score - self._plain.size]

    def bank(self, score: int) -> tuple[AdwinBank, int]:
        """Where it is watched, and its index there."""
        if score < self._plain.size:
            return self._plain.bank, score
        assert self._fitted is not None
        return self._fitted.bank, score - self._plain.size

    def design(self, score: int, n: float, counts: Int) -> float:
        """By how much autocorrelation raises the variance of the mean of n values.

        Args:
            score: which.
            n: values.
            counts: int64[size], channels that the variance of a value is taken from.
        """
        bank, i = self.bank(score)
        _, _, variance = self.score(score).moments(counts)
        return max(1.0, bank.variance(i, n) / variance) if variance > 0 else 1.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        own = {"learned": self._learned, "rows": self._rows}
        return own | {f"{name}_{key}": array for name, bank in self._banks() for key, array in bank.arrays().items()}

    def learn(self, learned: Int) -> None:
        """Before `restore`: the array ``learned`` of the state, which says what else is in it."""
        self._learned = learned
        if self._fitted is None and self._is_learned():
            self._fitted = self._fit(learned)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self.learn(arrays["learned"])
        self._rows = arrays["rows"]
        for name, bank in self._banks():
            bank.restore({key: arrays[f"{name}_{key}"] for key in bank.arrays()})

    def _banks(self) -> list[tuple[str, AdwinBank]]:
        return [("plain", self._plain.bank), *([] if self._fitted is None else [("fitted", self._fitted.bank)])]

    def _is_learned(self) -> bool:
        return self._reference is not None or self.labels(self._learned) >= self._settings.learn_labels

    def _fit(self, reference: Int) -> Scored | None:
        scores = self._view.calibrations(reference)
        return Scored(scores, self._settings, reference) if scores else None

"""ADWIN on scores of pair tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank, AdwinRules
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptScore, moments

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_MEASURED = 1e-30
"""Level of scores that are measured for others; what they say is not told."""


class Scored:
    """Scores and the bank that watches them.

    Args:
        scores: at least one.
        settings: the constants.
        reference: int64[size], channels; None without one.
    """

    def __init__(self, scores: tuple[ConceptScore, ...], settings: ConceptSettings, reference: Int | None) -> None:
        self.scores, self.size = scores, len(scores)
        self._start = np.concatenate([[0], np.cumsum([s.cell.size for s in scores])]).astype(np.int64)
        self._cell = np.concatenate([s.cell for s in scores])
        self._value = np.concatenate([s.value for s in scores])
        self._n, self._total, self._m2 = np.zeros((3, self.size))
        held = None
        if reference is not None:
            self._count(reference)
            held = self._n.copy(), self._total.copy(), self._m2.copy()
        rules = AdwinRules(
            settings.clock, settings.buckets, settings.least_side, settings.grace, settings.longrun,
            alarms="adwin" in settings.detectors,
        )  # fmt: skip
        share = np.array([s.share for s in scores], np.bool_)
        reach = np.full(self.size, settings.reach)
        self.bank = AdwinBank(_levels(scores, settings), rules, held, share=share, reach=reach)
        self._alarms = "adwin" in settings.detectors

    def update(self, tick: int, channels: Int, alarms: bool) -> list[AdwinAlarm]:
        """Take one pane of channels; the alarms, in the order of the scores, if there may be any."""
        self._count(channels)
        self.bank.allow(alarms and self._alarms)
        return self.bank.update(tick, self._n, self._total, self._m2)

    def _count(self, channels: Int) -> None:
        moments(channels, self._start, self._cell, self._value, self._n, self._total, self._m2)


def _levels(scores: tuple[ConceptScore, ...], s: ConceptSettings) -> Float:
    labels = sum(score.column == "label" for score in scores)
    level = {
        "error": s.delta_error, "mae": s.delta_error, "bias": s.delta_label, "log_loss": s.delta_loss,
        "label": s.delta_label * min(1.0, 4 / max(1, labels)), "calibration": s.delta_calibration,
    }  # fmt: skip
    return np.array([level[score.column] / s.divisor if score.column else _MEASURED for score in scores])

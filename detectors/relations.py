"""Episodes of relations: pairs of columns, all columns together, what can be rebuilt; told once.

A pair that shares a column with an open pair is part of its story and opens nothing, and neither do
the columns together while a pair is open. The columns together and the reconstruction open at the
second of two alarms of a window in a row: a few rows far out in many columns look like a relation, until
they are enough to show in each column. Closed when the shortest window's statistic is back within half
of the way to its threshold; longer windows still hold the past, so they open nothing of that story again
before they begin after its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.episodes import SEVERITIES, OpenEpisode
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition

ASPECT = "relation"

_SEVERITY, _OPENED, _SINCE, _LOW, _HIGH, _WINDOW, _DIRECTION, _CLOSED = range(8)
_DIRECTIONS = ("", "up", "down")
_SHORTEST = 0


@dataclass(slots=True)
class Sign:
    """How far one relation is from the reference in a window.

    Args:
        statistic, threshold, p_value: of its test.
        effect, least: size in index units, and that two standard errors nearer to the reference.
        reference, current: correlations, or mean scores; None where there is no such number.
        since, low, high: ticks, the estimated change point and its interval.
        base: the statistic expected without drift.
        among: names of the columns that matter most.
    """

    statistic: float
    threshold: float
    p_value: float
    effect: float
    least: float
    reference: float | None
    current: float | None
    since: int
    low: int
    high: int
    base: float = 0.0
    among: tuple[str, ...] = ()

    @property
    def is_alarm(self) -> bool:
        return self.statistic > self.threshold

    @property
    def is_quiet(self) -> bool:
        return self.statistic - self.base < 0.5 * (self.threshold - self.base)


@dataclass(slots=True)
class Judgement:
    """What one window says.

    Args:
        n, reference_n: rows in the window and in the reference's sample.
        start: tick of its first row.
        pairs: pair → sign, of those that alarm or are open.
        known: bool[p], pairs whose columns are as the reference has them.
        joint, rebuilt: of all columns; None when too few are as the reference has them.
        strongest: of the pair with the largest statistic.
    """

    n: int
    reference_n: int
    start: int
    pairs: dict[int, Sign]
    known: NDArray[np.bool_]
    joint: Sign | None = None
    rebuilt: Sign | None = None
    strongest: Sign | None = None


class RelationBook:
    """The open episodes; number p is the columns together, p + 1 the reconstruction.

    Args:
        names: of the pairs.
        columns: columns of each pair.
        settings: the constants.
    """

    def __init__(
        self, names: Sequence[tuple[str, str]], columns: Sequence[tuple[int, int]], settings: Settings
    ) -> None:
        self._names, self._columns, self._settings = names, columns, settings
        self._joint, self._rebuilt = len(names), len(names) + 1
        self._fields = np.zeros((len(names) + 2, 8), np.int64)
        self._effect = np.zeros(len(names) + 2)
        self._held = np.zeros((len(settings.relation_windows), 2), np.bool_)

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """bool[p + 2]."""
        return np.asarray(self._fields[:, _SEVERITY] > 0)

    def may_open_joint(self, window: int) -> bool:
        """Whether another alarm of the columns together would be told."""
        return bool(self._held[window, 0]) and not self.is_open[: self._joint + 1].any()

    def fold(self, tick: int, window: int, judgement: Judgement) -> list[Transition]:
        """The transitions that a window's judgement makes."""
        told = []
        for number in np.flatnonzero(self.is_open).tolist():
            sign = self._sign(number, judgement)
            if sign is None:
                continue
            severity = self._settings.severity(sign.least)
            if sign.is_alarm and severity > self._fields[number, _SEVERITY]:
                told.append(self._escalate(number, window, severity, sign, judgement))
            elif window == _SHORTEST and sign.is_quiet:
                told.append(self._tell(number, "closed", window, sign, judgement))
                self._fields[number], self._effect[number] = 0, 0.0
                self._fields[number, _CLOSED] = tick + 1
        for number in sorted(judgement.pairs, key=lambda p: (-judgement.pairs[p].statistic, p)):
            sign = judgement.pairs[number]
            enough = sign.is_alarm and sign.effect >= self._settings.psi_min
            if enough and self._is_news(number) and not self._is_past(number, window, judgement):
                told.append(self._open(number, tick, window, sign, judgement))
        for number, sign in ((self._joint, judgement.joint), (self._rebuilt, judgement.rebuilt)):
            alarm, slot = sign is not None and sign.is_alarm, number - self._joint
            again = alarm and self._held[window, slot] and not self.is_open[: number + 1].any()
            if sign is not None and again and not self._is_past(number, window, judgement):
                told.append(self._open(number, tick, window, sign, judgement))
            self._held[window, slot] = alarm
        return told

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the order of the pairs."""
        return [
            OpenEpisode(
                self._name(number), ASPECT, SEVERITIES[self._fields[number, _SEVERITY]], self._what(number),
                float(self._effect[number]), int(self._fields[number, _OPENED]), int(self._fields[number, _SINCE]),
            )
            for number in np.flatnonzero(self.is_open).tolist()
        ]  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"book": self._fields, "effect": self._effect, "held": self._held}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._fields, self._effect, self._held = arrays["book"], arrays["effect"], arrays["held"]

    def _sign(self, number: int, judgement: Judgement) -> Sign | None:
        if number < self._joint:
            return judgement.pairs.get(number)
        return judgement.joint if number == self._joint else judgement.rebuilt

    def _is_news(self, number: int) -> bool:
        mine = set(self._columns[number])
        return not any(mine & set(self._columns[p]) for p in np.flatnonzero(self.is_open[: self._joint]).tolist())

    def _is_past(self, number: int, window: int, judgement: Judgement) -> bool:
        """Whether a longer window holds rows of a story that is over."""
        if number < self._joint:
            mine = set(self._columns[number])
            story = [p for p, columns in enumerate(self._columns) if mine & set(columns)]
        else:
            story = list(range(number + 1))
        return window != _SHORTEST and judgement.start < int(self._fields[story, _CLOSED].max())

    def _open(self, number: int, tick: int, window: int, sign: Sign, judgement: Judgement) -> Transition:
        direction = 0
        if sign.reference is not None and sign.current is not None:
            direction = 1 if sign.current > sign.reference else 2
        severity = self._settings.severity(sign.effect)
        self._fields[number, :_CLOSED] = severity, tick, sign.since, sign.low, sign.high, window, direction
        self._effect[number] = sign.effect
        return self._tell(number, "opened", window, sign, judgement)

    def _escalate(self, number: int, window: int, severity: int, sign: Sign, judgement: Judgement) -> Transition:
        self._fields[number, _SEVERITY], self._effect[number] = severity, sign.effect
        return self._tell(number, "escalated", window, sign, judgement)

    def _name(self, number: int) -> str:
        return " × ".join(self._names[number]) if number < self._joint else ""

    def _what(self, number: int) -> str:
        return "correlation" if number < self._joint else "joint" if number == self._joint else "reconstruction"

    def _tell(self, number: int, status: str, window: int, sign: Sign, judgement: Judgement) -> Transition:
        fields, what = self._fields[number], self._what(number)
        size = self._settings.relation_windows[int(fields[_WINDOW]) if status == "closed" else window]
        return Transition(
            column=self._name(number),
            aspect=ASPECT,
            status=status,
            severity=SEVERITIES[fields[_SEVERITY]],
            detector=f"{'mmd' if what == 'joint' else 'pca' if what == 'reconstruction' else what}_{size}",
            what=what,
            direction=_DIRECTIONS[fields[_DIRECTION]],
            statistic=sign.statistic,
            threshold=sign.threshold,
            p_value=sign.p_value,
            effect=sign.effect,
            reference_value=sign.reference,
            current_value=sign.current,
            opened_tick=int(fields[_OPENED]),
            window_start_tick=judgement.start,
            since_tick=int(fields[_SINCE]),
            since_low_tick=int(fields[_LOW]),
            since_high_tick=int(fields[_HIGH]),
            count=judgement.n,
            reference_count=judgement.reference_n,
            among=sign.among,
        )

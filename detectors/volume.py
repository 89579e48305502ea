"""The number of records per hour of event time, against its own recent past.

An hour alarms when it holds less than half of the smallest, or more than twice the largest, hour
of the last seven days, and significantly so. Cycles are quiet because their extremes are part of
those days; once the same hour of the week is known twice, it and its neighbours (daylight saving
time) are the yardstick instead. Hours of an open episode are not learned; a level that has held for
a week is the new normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HOUR_MS, _WEEK_MS = 3_600_000, 604_800_000
_LEAST_HOURS = 24
_FOLD, _BACK, _SEVERE_FOLD = 2.0, 1.5, 4.0
_UNKNOWN = -1

_HOUR, _COUNT, _PARTIAL, _DIRECTION, _SEVERITY, _OPENED, _SINCE = range(7)


@dataclass(frozen=True, slots=True)
class VolumeChange:
    """The rate left its usual range, or came back.

    Args:
        status: ``opened``, ``escalated`` or ``closed``.
        severity: 2 moderate, 3 severe (a factor of 4).
        direction: ``up`` or ``down``.
        fold: factor by which the hour exceeds (or falls below) the most extreme usual hour.
        p_value: bound on the probability of such an hour at an unchanged rate.
        usual, count: records of that usual hour and of this one.
        opened_tick: last pane of the hour that opened the episode.
        since_tick: first pane of that hour.
        start_tick, end_tick: first and last pane of this hour.
    """

    status: str
    severity: int
    direction: str
    fold: float
    p_value: float
    usual: int
    count: int
    opened_tick: int
    since_tick: int
    start_tick: int
    end_tick: int


def poisson_bound(a: int, b: int) -> float:
    """Bound on the probability that two counts of one Poisson rate differ as much as a and b.

    Given their sum, a is binomial with probability 1/2; this is Chernoff's bound on its tail.
    """
    n = a + b
    return exp(-sum(x * log(2 * x / n) for x in (a, b) if x))


class VolumeWatch:
    """The hours of one group.

    Args:
        pane_ms: length of a pane; panes longer than an hour take the place of hours.
        alpha: significance level of one hour.
    """

    def __init__(self, pane_ms: int, alpha: float) -> None:
        self._pane_ms, self._alpha = pane_ms, alpha
        self._hour_ms = max(_HOUR_MS, pane_ms)
        self._lookback = max(_LEAST_HOURS, _WEEK_MS // self._hour_ms)
        self._week = _WEEK_MS // self._hour_ms if _WEEK_MS % self._hour_ms == 0 else 0
        self._ring = np.full(2 * self._lookback + 2, _UNKNOWN, np.int64)
        self._state = np.array([_UNKNOWN, 0, 1, 0, 0, 0, 0], np.int64)

    @property
    def severity(self) -> int:
        """Severity of the open episode, 0 if there is none."""
        return int(self._state[_SEVERITY])

    @property
    def opened_tick(self) -> int:
        """Pane at which the open episode was opened."""
        return int(self._state[_OPENED])

    @property
    def since_tick(self) -> int:
        """Pane from which on the rate is unusual in the open episode."""
        return int(self._state[_SINCE])

    def update(self, tick: int, rows: int) -> list[VolumeChange]:
        """Take one pane; hours that have ended by its beginning are judged.

        Args:
            tick: pane number; must increase, gaps are empty panes.
            rows: records of the pane.
        """
        hour, state = tick * self._pane_ms // self._hour_ms, self._state
        changes: list[VolumeChange] = []
        if state[_HOUR] == _UNKNOWN:
            state[_HOUR] = hour
        elif hour > state[_HOUR]:
            ended = int(state[_HOUR])
            self._finish(ended, int(state[_COUNT]), bool(state[_PARTIAL]), changes)
            # after so many empty hours nothing but zeros is known, however many more there are
            soon = min(hour, ended + 1 + 2 * self._ring.size)
            for empty in (*range(ended + 1, soon), *range(max(soon, hour - self._ring.size), hour)):
                if self._empty_are_nothing():
                    self._ring[np.arange(empty, min(hour, empty + self._ring.size)) % self._ring.size] = 0
                    break
                self._finish(empty, 0, False, changes)
            state[_HOUR], state[_COUNT], state[_PARTIAL] = hour, 0, 0
        state[_COUNT] += rows
        return changes

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"ring": self._ring, "state": self._state}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._ring, self._state = arrays["ring"], arrays["state"]

    def _finish(self, hour: int, count: int, partial: bool, changes: list[VolumeChange]) -> None:
        usual = None if partial else self._usual(hour)
        change = self._judge(hour, count, *usual) if usual else self._forget(hour, count)
        if change:
            changes.append(change)
        learned = not partial and not self._state[_SEVERITY]
        self._ring[hour % self._ring.size] = count if learned else _UNKNOWN

    def _empty_are_nothing(self) -> bool:
        """Whether empty hours change nothing but what is known: so few rows were usual that none are no alarm."""
        return not self._state[_SEVERITY] and poisson_bound(0, max(0, int(self._ring.max()))) >= self._alpha

    def _usual(self, hour: int) -> tuple[int, int] | None:
        if self._week:
            back = [hour - weeks * self._week + d for weeks in (1, 2) for d in (-1, 0, 1)]
            same = self._ring[np.array(back) % self._ring.size]
            if same.min() != _UNKNOWN:
                return int(same.min()), int(same.max())
        recent = self._ring[(hour - 1 - np.arange(self._lookback)) % self._ring.size]
        known = recent[recent != _UNKNOWN]
        return (int(known.min()), int(known.max())) if known.size >= _LEAST_HOURS else None

    def _judge(self, hour: int, count: int, smallest: int, largest: int) -> VolumeChange | None:
        state = self._state
        up, usual = count > largest, largest if count > largest else smallest
        fold = max(count, 0.5) / max(usual, 0.5) if up else max(usual, 0.5) / max(count, 0.5)
        p_value = poisson_bound(count, usual)
        alarm = fold > _FOLD and p_value < self._alpha and (up or count < smallest)
        direction, severity = (1 if up else -1), (3 if fold >= _SEVERE_FOLD else 2)
        if not state[_SEVERITY]:
            if not alarm:
                return None
            state[_DIRECTION], state[_SEVERITY] = direction, severity
            state[_OPENED], state[_SINCE] = self._first_tick(hour + 1) - 1, self._first_tick(hour)
            return self._change("opened", hour, fold, p_value, usual, count)
        if alarm and direction == state[_DIRECTION] and severity > state[_SEVERITY]:
            state[_SEVERITY] = severity
            return self._change("escalated", hour, fold, p_value, usual, count)
        if smallest / _BACK <= count <= largest * _BACK:
            return self._close(hour, fold, p_value, usual, count)
        return None

    def _forget(self, hour: int, count: int) -> VolumeChange | None:
        return self._close(hour, 1.0, 1.0, count, count) if self._state[_SEVERITY] else None

    def _close(self, hour: int, fold: float, p_value: float, usual: int, count: int) -> VolumeChange:
        change = self._change("closed", hour, fold, p_value, usual, count)
        self._state[_DIRECTION] = self._state[_SEVERITY] = 0
        return change

    def _change(self, status: str, hour: int, fold: float, p_value: float, usual: int, count: int) -> VolumeChange:
        return VolumeChange(
            status=status,
            severity=int(self._state[_SEVERITY]),
            direction="up" if self._state[_DIRECTION] > 0 else "down",
            fold=fold,
            p_value=p_value,
            usual=usual,
            count=count,
            opened_tick=self.opened_tick,
            since_tick=self.since_tick,
            start_tick=self._first_tick(hour),
            end_tick=self._first_tick(hour + 1) - 1,
        )

    def _first_tick(self, hour: int) -> int:
        return -(-hour * self._hour_ms // self._pane_ms)

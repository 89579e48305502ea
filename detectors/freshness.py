"""How late records come: Kafka timestamp minus event time, per hour of event time, against its own recent past.

An hour alarms when its median or its 95th percentile is more than twice the largest of the last seven
days (at least 24 known hours), with a second added to both so that jitter near zero is nothing; or when
more than a twentieth, and twice the largest usual share, of its records claim to have happened a second
or more after Kafka received them: a clock is wrong. Once the same hour of the week is known twice, it
and its two neighbours are the yardstick instead. Hours of an open episode are not learned; a level that
has held for a week is the new normal. Both quantiles are known to a quarter of their size
(`driftbus.detectors.sketches.delay_bin`).

Known bias: records later than the lateness are counted as late and not judged, so a straggling part of
the stream shows there; a delay of everything shows here. A stream without event times, and a file, has
no delays: then nothing is ever said.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.episodes import SEVERITIES, OpenEpisode
from driftbus.detectors.sketches import DELAY_BINS, Sketches, delay_of
from driftbus.detectors.verdict import Transition

_HOUR_MS, _WEEK_MS = 3_600_000, 604_800_000
_LEAST_HOURS, _LEAST_RECORDS = 24, 200
_FOLD, _BACK, _SEVERE_FOLD = 2.0, 1.5, 4.0
_SMOOTHING_MS = 1_000
_AHEAD_BUCKETS, _AHEAD, _SEVERE_AHEAD, _PER = 5, 50, 500, 1_000
_UNKNOWN = -1

_HOUR, _PARTIAL, _SEVERITY, _DIRECTION, _OPENED, _SINCE = range(6)
_MEDIAN, _P95, _EARLY = range(3)
_DELAYS = np.array([max(0, delay_of(bucket)) for bucket in range(DELAY_BINS)], np.int64)


class FreshnessWatch:
    """The hours of one group.

    Args:
        pane_ms: length of a pane; panes longer than an hour take the place of hours.
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._hour_ms = max(_HOUR_MS, pane_ms)
        self._lookback = max(_LEAST_HOURS, _WEEK_MS // self._hour_ms)
        self._week = _WEEK_MS // self._hour_ms if _WEEK_MS % self._hour_ms == 0 else 0
        self._ring = np.full((2 * self._lookback + 2, 3), _UNKNOWN, np.int64)
        self._state = np.array([_UNKNOWN, 1, 0, 0, 0, 0], np.int64)
        self._delays = np.zeros(DELAY_BINS, np.int64)

    def update(self, tick: int, sketches: Sketches | None) -> list[Transition]:
        """Take one pane; an hour that has ended by its beginning is judged.

        Args:
            tick: pane number.
            sketches: of the pane, None when it is empty.
        """
        hour, state, changes = tick * self._pane_ms // self._hour_ms, self._state, []
        if state[_HOUR] == _UNKNOWN:
            state[_HOUR] = hour
        elif hour > state[_HOUR]:
            changes = self._finish(int(state[_HOUR]))
            for empty in range(max(int(state[_HOUR]) + 1, hour - self._ring.shape[0]), hour):
                self._ring[empty % self._ring.shape[0]] = _UNKNOWN
            state[_HOUR], state[_PARTIAL], self._delays[:] = hour, 0, 0
        if sketches is not None:
            self._delays += sketches.delays
        return changes

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episode, if there is one."""
        s = self._state
        severity, opened, since = SEVERITIES[s[_SEVERITY]], int(s[_OPENED]), int(s[_SINCE])
        return [OpenEpisode("", "freshness", severity, "freshness", 0.0, opened, since)] if s[_SEVERITY] else []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"ring": self._ring, "state": self._state, "delays": self._delays}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._ring, self._state, self._delays = (arrays[name].copy() for name in ("ring", "state", "delays"))

    def _finish(self, hour: int) -> list[Transition]:
        records = int(self._delays.sum())
        partial, place = bool(self._state[_PARTIAL]), hour % self._ring.shape[0]
        if records < _LEAST_RECORDS or partial:
            self._ring[place] = _UNKNOWN
            return []
        reached = np.cumsum(self._delays)
        found = np.array(
            [
                _DELAYS[np.searchsorted(reached, 0.5 * records)],
                _DELAYS[np.searchsorted(reached, 0.95 * records)],
                _PER * int(self._delays[:_AHEAD_BUCKETS].sum()) // records,
            ],
            np.int64,
        )
        usual = self._usual(hour)
        changes = self._forget(hour, found, records) if usual is None else self._judge(hour, found, usual, records)
        self._ring[place] = _UNKNOWN if self._state[_SEVERITY] else found
        return changes

    def _usual(self, hour: int) -> NDArray[np.int64] | None:
        """The largest median, 95th percentile and share ahead of the hours that are the yardstick."""
        if self._week:
            back = [hour - weeks * self._week + d for weeks in (1, 2) for d in (-1, 0, 1)]
            same = self._ring[np.array(back) % self._ring.shape[0]]
            if same.min() != _UNKNOWN:
                return np.asarray(same.max(axis=0))
        recent = self._ring[(hour - 1 - np.arange(self._lookback)) % self._ring.shape[0]]
        known = recent[recent[:, 0] != _UNKNOWN]
        return np.asarray(known.max(axis=0)) if known.shape[0] >= _LEAST_HOURS else None

    def _judge(self, hour: int, found: NDArray[np.int64], usual: NDArray[np.int64], records: int) -> list[Transition]:
        state = self._state
        folds = (found[:2] + _SMOOTHING_MS) / (usual[:2] + _SMOOTHING_MS)
        worst = int(np.argmax(folds))
        early = found[_EARLY] > _AHEAD and found[_EARLY] > _FOLD * usual[_EARLY]
        late = folds[worst] > _FOLD
        kind = _EARLY if early and not late else worst
        severe = folds[worst] >= _SEVERE_FOLD if late else found[_EARLY] >= _SEVERE_AHEAD
        severity = (2 + int(severe)) if early or late else 0
        if severity > state[_SEVERITY]:
            status = "escalated" if state[_SEVERITY] else "opened"
            if status == "opened":
                state[_DIRECTION] = -1 if kind == _EARLY else 1
                state[_OPENED], state[_SINCE] = self._first_tick(hour + 1) - 1, self._first_tick(hour)
            state[_SEVERITY] = severity
        elif state[_SEVERITY] and folds.max() <= _BACK and found[_EARLY] <= max(_AHEAD, _BACK * usual[_EARLY]):
            status = "closed"
        else:
            return []
        fold = float(folds[worst]) if kind != _EARLY else float((found[_EARLY] + 1) / (usual[_EARLY] + 1))
        change = self._transition(status, hour, fold, float(usual[kind]), float(found[kind]), records)
        if status == "closed":
            state[_SEVERITY] = 0
        return [change]

    def _forget(self, hour: int, found: NDArray[np.int64], records: int) -> list[Transition]:
        """Nothing is known any more of the time before the open episode: it is over."""
        if not self._state[_SEVERITY]:
            return []
        kind = _EARLY if self._state[_DIRECTION] < 0 else _MEDIAN
        change = self._transition("closed", hour, 1.0, float(found[kind]), float(found[kind]), records)
        self._state[_SEVERITY] = 0
        return [change]

    def _transition(self, status: str, hour: int, fold: float, usual: float, found: float, records: int) -> Transition:
        state = self._state
        early = state[_DIRECTION] < 0
        scale = _PER if early else 1
        return Transition(
            column="",
            aspect="freshness",
            status=status,
            severity=SEVERITIES[state[_SEVERITY]],
            detector="freshness",
            what="freshness",
            direction="down" if early else "up",
            statistic=fold,
            threshold=_FOLD,
            p_value=None,
            effect=(1 - 1 / fold) * log(fold) if fold > 0 else 0.0,
            reference_value=usual / scale,
            current_value=found / scale,
            opened_tick=int(state[_OPENED]),
            window_start_tick=self._first_tick(hour),
            since_tick=int(state[_SINCE]),
            since_low_tick=int(state[_SINCE]),
            since_high_tick=self._first_tick(hour + 1) - 1,
            count=records,
            reference_count=0,
        )

    def _first_tick(self, hour: int) -> int:
        return -(-hour * self._hour_ms // self._pane_ms)

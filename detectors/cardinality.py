"""The number of different values of each column, and values that are stuck.

Windows of so many sampled values, one after the other, are compared with what as many reference
values hold (`driftbus.detectors.distinct`). A window alarms when it holds less than half of the
least number of different values of the reference (a quarter, when that was in no order: successive
values repeat more than a random draw), or more than twice the greatest, and significantly so:
Bernstein's bound on a sum of negatively associated indicators (Dubhashi and Ranjan, 1998, "Balls
and bins: a study in negative dependence").

Values that share a cell are told apart by 10 bits of their hash; how many were hidden by equal bits
is estimated by linear counting (Whang, Vander-Zanden and Taylor, 1990), with a standard error of
2.6 % at 1,000 different values. Known bias: an unknown category of a column that has a cell for each
is one value, however many there are; `unseen` tells of those.

A column is stuck when one value has come so often in a row that neither its share nor the longest
run of an ordered reference explains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.episodes import SEVERITIES, OpenEpisode
from driftbus.detectors.profile import Distinct, Profile
from driftbus.detectors.sketches import Sketches, marked
from driftbus.detectors.verdict import Transition, share_effect
from driftbus.schemas.kernel import leaf_kernel

_BITS = 1_024
_FOLD, _LOOSE_FOLD, _BACK, _SEVERE = 2.0, 4.0, 1.5, 2.0
_LEAST_RUN, _RUN_FACTOR, _RUN_LEVEL = 200, 4, 1e-9
_NEVER = np.iinfo(np.int64).max

_SEVERITY, _STUCK, _DIRECTION, _OPENED, _SINCE = range(5)
_WHATS, _DIRECTIONS = ("distinct", "stuck"), ("down", "", "up")


def bernstein(distance: float, variance: float) -> float:
    """Bound on the probability that a sum of negatively associated indicators is so far from its mean."""
    return exp(-distance * distance / (2 * (variance + distance / 3))) if distance > 0 else 1.0


class CardinalityWatch:
    """The columns of one group.

    Args:
        profile: the reference; columns without `ColumnProfile.distinct` are not watched.
        alpha: significance level of one window. Raising it finds smaller changes in coarse columns.
    """

    def __init__(self, profile: Profile, alpha: float) -> None:
        self._columns, self._alpha = profile.columns, alpha
        c = len(profile.columns)
        known = [column.distinct for column in profile.columns]
        self._size = np.array([0 if d is None else d.values for d in known], np.int64)
        self._cells = np.array([column.value_cells for column in profile.columns], np.int64)
        self._mark = np.full(c, -1, np.int64)
        with_mark = [i for i, column in enumerate(profile.columns) if marked(column)]
        self._mark[with_mark] = np.arange(len(with_mark))
        self._needed = np.array([_needed_run(d.top, d.run) if d else _NEVER for d in known], np.int64)
        self._words = np.zeros((c, _BITS // 64), np.int64)
        self._window = np.zeros((c, 2), np.int64)  # values so far; pane of the first
        self._run = np.full((c, 3), -1, np.int64)  # value, how often in a row, pane of the first
        self._fields = np.zeros((c, 5), np.int64)

    def update(self, tick: int, sketches: Sketches | None) -> list[Transition]:
        """Take the sampled rows of one pane; columns whose window is full are judged.

        Args:
            tick: pane number.
            sketches: of the pane.
        """
        sample = None if sketches is None else sketches.sample
        if sample is None or not sample.rows:
            return []
        found = np.full((len(self._columns), 2), -1, np.int64)
        _take(
            tick, sample.cells, sample.marks, self._size, self._cells, self._mark,
            self._words.view(np.uint64), self._window, self._run, found,
        )  # fmt: skip
        changes = []
        stuck = self._run[:, 1] >= self._needed
        for c in np.flatnonzero((found[:, 0] >= 0) | stuck).tolist():
            change = self._stuck(c, tick) if stuck[c] else self._judge(c, tick, int(found[c, 0]), int(found[c, 1]))
            if change is not None:
                changes.append(change)
        return changes

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the order of the columns."""
        return [
            OpenEpisode(
                self._columns[c].name, "cardinality", SEVERITIES[f[_SEVERITY]], _WHATS[f[_STUCK]], 0.0,
                int(f[_OPENED]), int(f[_SINCE]),
            )
            for c, f in enumerate(self._fields)
            if f[_SEVERITY]
        ]  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"words": self._words, "window": self._window, "run": self._run, "fields": self._fields}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._words, self._window, self._run = arrays["words"].copy(), arrays["window"].copy(), arrays["run"].copy()
        self._fields = arrays["fields"].copy()

    def _stuck(self, c: int, tick: int) -> Transition | None:
        fields, top = self._fields[c], self._reference(c).top
        if fields[_STUCK]:
            return None
        status = "escalated" if fields[_SEVERITY] else "opened"
        since = int(self._run[c, 2])
        if status == "opened":
            fields[_OPENED], fields[_SINCE] = tick, since
        fields[_SEVERITY], fields[_STUCK], fields[_DIRECTION] = 3, 1, -1
        run, needed = int(self._run[c, 1]), int(self._needed[c])
        return self._transition(c, status, run, needed, min(1.0, top**run), top, 1.0, run, since)

    def _judge(self, c: int, tick: int, bits: int, start: int) -> Transition | None:
        fields, d = self._fields[c], self._reference(c)
        estimated = self._mark[c] >= 0
        count = -_BITS * log(1 - min(bits, _BITS - 1) / _BITS) if estimated else float(bits)
        load = count / _BITS
        variance = d.variance + (_BITS * (exp(load) - load - 1) if estimated else 0.0)
        up = count > d.greatest
        usual = d.greatest if up else d.least
        fold = (max(count, 1.0) / max(usual, 1.0)) ** (1 if up else -1)
        p_value = bernstein(abs(count - usual), variance)
        least = _FOLD if up or d.run else _LOOSE_FOLD
        alarm = fold > least and p_value < self._alpha and (up or count < d.least)
        severity = 3 if fold >= _SEVERE * least else 2
        if alarm and severity > fields[_SEVERITY]:
            status = "escalated" if fields[_SEVERITY] else "opened"
            if status == "opened":
                fields[_DIRECTION], fields[_OPENED], fields[_SINCE] = 1 if up else -1, tick, start
            fields[_SEVERITY] = severity
        elif fields[_SEVERITY] and d.least / _BACK <= count <= d.greatest * _BACK:
            status = "closed"
        else:
            return None
        change = self._transition(c, status, fold, least, p_value, usual, count, d.values, start)
        if status == "closed":
            fields[:] = 0
        return change

    def _reference(self, c: int) -> Distinct:
        found = self._columns[c].distinct
        assert found is not None  # only such columns have a window
        return found

    def _transition(
        self, c: int, status: str, statistic: float, threshold: float, p_value: float,
        usual: float, count: float, values: int, start: int,
    ) -> Transition:  # fmt: skip
        fields, n = self._fields[c], self._reference(c).values
        stuck, opened, since = bool(fields[_STUCK]), int(fields[_OPENED]), int(fields[_SINCE])
        shares = (usual, count) if stuck and status != "closed" else (usual / n, count / n)
        return Transition(
            column=self._columns[c].name,
            aspect="cardinality",
            status=status,
            severity=SEVERITIES[fields[_SEVERITY]],
            detector="cardinality",
            what=_WHATS[fields[_STUCK]],
            direction=_DIRECTIONS[int(fields[_DIRECTION]) + 1],
            statistic=float(statistic),
            threshold=float(threshold),
            p_value=p_value,
            effect=share_effect(*shares),
            reference_value=float(usual),
            current_value=float(count),
            opened_tick=opened,
            window_start_tick=start,
            since_tick=since,
            since_low_tick=since if stuck else max(0, 2 * since - opened),  # or late in the window before
            since_high_tick=opened,
            count=values,
            reference_count=self._columns[c].values,
        )


def _needed_run(top: float, longest: int) -> int:
    """Values in a row that neither the most frequent value's share nor the longest run explains."""
    if top >= 1.0:
        return int(_NEVER)
    return max(_LEAST_RUN, _RUN_FACTOR * ceil(log(_RUN_LEVEL) / log(top)), _RUN_FACTOR * longest)


@leaf_kernel
def _take(
    tick: int,
    cells: NDArray[np.uint16],
    marks: NDArray[np.uint16],
    size: NDArray[np.int64],
    value_cells: NDArray[np.int64],
    mark: NDArray[np.int64],
    words: NDArray[np.uint64],
    window: NDArray[np.int64],
    run: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    """Take rows; `found` gets (different values, first pane) of each column's latest full window."""
    for c in range(size.size):
        if size[c] == 0:
            continue
        for i in range(cells.shape[0]):
            if cells[i, c] >= value_cells[c]:
                continue
            value = np.int64(marks[i, mark[c]]) if mark[c] >= 0 else np.int64(cells[i, c])
            if run[c, 0] == value:
                run[c, 1] += 1
            else:
                run[c, 0], run[c, 1], run[c, 2] = value, 1, tick
            if window[c, 0] == 0:
                window[c, 1] = tick
            place = np.uint64(value) & np.uint64(1023)
            words[c, place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))
            window[c, 0] += 1
            if window[c, 0] == size[c]:
                bits = 0
                for w in range(words.shape[1]):
                    word = words[c, w]
                    while word != np.uint64(0):
                        word &= word - np.uint64(1)
                        bits += 1
                    words[c, w] = np.uint64(0)
                found[c, 0], found[c, 1] = bits, window[c, 1]
                window[c, 0] = 0

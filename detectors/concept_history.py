"""Counts of the past: exact for the latest panes, coarser with age.

Level r holds at most eight marks of 2^r panes each, so memory is bounded and the counts since a
change are known to within an eighth of its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARKS = 8
_LEVELS = 24

Int = NDArray[np.int64]


class CountHistory:
    """Counts of panes, oldest first.

    Args:
        size: numbers of one pane.
    """

    def __init__(self, size: int) -> None:
        self._counts = np.zeros((_MARKS + 1, 1, size), np.int64)
        self._span = np.full((_MARKS + 1, 1, 2), -1, np.int64)
        self._filled = np.zeros((1, 1), np.int64)

    def add(self, tick: int, counts: Int) -> None:
        """The next pane that has any."""
        counts = counts.copy()
        first = last = tick
        for level in range(_LEVELS):
            if level == self._filled.shape[1]:
                self._grow()
            k = int(self._filled[0, level])
            self._counts[k, level], self._span[k, level] = counts, (first, last)
            if k < _MARKS:
                self._filled[0, level] = k + 1
                return
            counts = self._counts[0, level] + self._counts[1, level]
            first, last = int(self._span[0, level, 0]), int(self._span[1, level, 1])
            self._counts[: _MARKS - 1, level] = self._counts[2:, level].copy()
            self._span[: _MARKS - 1, level] = self._span[2:, level].copy()
            self._counts[_MARKS - 1 :, level], self._span[_MARKS - 1 :, level] = 0, -1
            self._filled[0, level] = _MARKS - 1

    def marks(self) -> list[tuple[int, int, Int]]:
        """(first tick, last tick, counts) of each mark, oldest first."""
        return [
            (int(self._span[k, level, 0]), int(self._span[k, level, 1]), self._counts[k, level])
            for level in range(self._filled.shape[1] - 1, -1, -1)
            for k in range(int(self._filled[0, level]))
        ]

    def between(self, start: int, stop: int) -> Int:
        """int64[size], all marks that lie in the ticks from `start` to before `stop`."""
        total = np.zeros(self._counts.shape[2], np.int64)
        for first, last, counts in self.marks():
            if start <= first and last < stop:
                total += counts
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"counts": self._counts, "span": self._span, "filled": self._filled}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._counts, self._span, self._filled = arrays["counts"], arrays["span"], arrays["filled"]

    def _grow(self) -> None:
        self._counts = np.pad(self._counts, ((0, 0), (0, 1), (0, 0)))
        self._span = np.pad(self._span, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
        self._filled = np.pad(self._filled, ((0, 0), (0, 1)))

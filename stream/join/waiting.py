"""Labels that are not resolved yet, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Said:
    """What labels say to one monitor; the last four only if they carry what was predicted.

    Attributes:
        counted: bool[n], whether they are the monitor's.
        h0, h1: uint64[n], hash of the id.
        value, null: float64[n], bool[n], the label, and whether it withdraws an earlier one.
        time: int64[n], its event time.
        score, classes: float64[n], int64[n], what was predicted.
        made: int64[n], when, -1 where that isn't known.
        groups: int64[n, 1 + segment fields], numbers of groups, -1 for none.
    """

    counted: NDArray[np.bool_]
    h0: NDArray[np.uint64]
    h1: NDArray[np.uint64]
    value: NDArray[np.float64]
    null: NDArray[np.bool_]
    time: NDArray[np.int64]
    score: NDArray[np.float64]
    classes: NDArray[np.int64]
    made: NDArray[np.int64]
    groups: NDArray[np.int64]

    def part(self, rows: slice | NDArray[np.int64]) -> Said:
        """Some of them."""
        return Said(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(slots=True)
class Waiting:
    """n labels in the order of their offsets, not resolved yet.

    Attributes:
        offsets: int64[n].
        before, clock: int64[n], clock of the label log before and with each record.
        ticks: int64[n], pane.
        said: what they say to each monitor.
    """

    offsets: NDArray[np.int64]
    before: NDArray[np.int64]
    clock: NDArray[np.int64]
    ticks: NDArray[np.int64]
    said: list[Said]

    def part(self, rows: slice) -> Waiting:
        """Some of them."""
        said = [one.part(rows) for one in self.said]
        return Waiting(self.offsets[rows], self.before[rows], self.clock[rows], self.ticks[rows], said)

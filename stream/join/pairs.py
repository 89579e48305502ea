"""What labels add to which cells of which entries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import Group
from driftbus.stream.join.corrections import ADDED, DUP, FIRST, REMOVED
from driftbus.stream.join.ranges import Derived, OpenRange
from driftbus.stream.join.waiting import Waiting


def label_cells(
    shape: OutcomeShape,
    score: NDArray[np.float64],
    classes: NDArray[np.int64],
    value: NDArray[np.float64],
    before: NDArray[np.float64],
    does: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of the new pair, of the old pair, and of a repetition."""
    cells, amounts = pair_cells(shape, score, classes, value)
    start = np.where(does & FIRST != 0, shape.first.start, shape.added.start)
    new = (does & (FIRST | ADDED) != 0).astype(np.int64)
    removed = (does & REMOVED != 0).astype(np.int64)
    repeated = (does & DUP != 0).astype(np.int64)
    every, weights = [cells + start[:, None]], [amounts * new[:, None]]
    if removed.any():
        old, gone = pair_cells(shape, score, classes, before)
        every.append(old + shape.removed.start)
        weights.append(gone * removed[:, None])
    every.append(np.full((value.size, 1), shape.dup, np.int64))
    weights.append(repeated[:, None])
    return np.concatenate(every, axis=1), np.concatenate(weights, axis=1)


def spread(
    label: NDArray[np.int64],
    groups: NDArray[np.int64],
    cohort: NDArray[np.int64],
    cells: NDArray[np.int64],
    amounts: NDArray[np.int64],
) -> list[Derived]:
    """The same for the group of all rows and that of each segment field."""
    pieces = []
    for slot in range(groups.shape[1]):
        some = groups[:, slot] >= 0
        pieces.append(Derived(label[some], groups[some, slot], cohort[some], cells[some], amounts[some]))
    return pieces


def add_to(
    into: OpenRange, groups: list[Group], size: int, piece: Derived, chunk: Waiting, begin: int, end: int
) -> None:
    """Add what the labels [begin, end) of a chunk do."""
    first, stop = np.searchsorted(piece.label, [begin, end]).tolist()
    if first < stop:
        part = Derived(
            piece.label[first:stop], piece.group[first:stop], piece.cohort[first:stop],
            piece.cells[first:stop], piece.amounts[first:stop],
        )  # fmt: skip
        into.add(part, groups, chunk.ticks, chunk.offsets, size)

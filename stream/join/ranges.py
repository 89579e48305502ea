"""The open range of outcomes: sums of cells per group, pane and cohort, and the parts they become."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.summary import pack_counts, unpack_counts
from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.events import Entry, Group, Source, SummaryPart
from driftbus.schemas.kernel import kernel

_INDEX = np.dtype("<u4")
_LOOSE = 64

Key = tuple[Group, int, int]
"""(group, pane, cohort)."""


@dataclass(slots=True)
class Derived:
    """What labels add to entries, one row for each label and group that it counts in.

    Attributes:
        label: int64[m], which label.
        group: int64[m], number of its group.
        cohort: int64[m].
        cells, amounts: int64[m, k].
    """

    label: NDArray[np.int64]
    group: NDArray[np.int64]
    cohort: NDArray[np.int64]
    cells: NDArray[np.int64]
    amounts: NDArray[np.int64]


@dataclass(slots=True)
class _Open:
    rows: int
    from_offset: int
    to_offset: int
    pieces: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)

    def sums(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cells, ascending, and their sums, none of them 0."""
        if len(self.pieces) != 1:
            cells, at = np.unique(np.concatenate([cells for cells, _ in self.pieces]), return_inverse=True)
            sums = np.zeros(cells.size, np.int64)
            np.add.at(sums, at, np.concatenate([amounts for _, amounts in self.pieces]))
            self.pieces = [(cells, sums)]
        return self.pieces[0]


class OpenRange:
    """The growing content of a range of labels.

    Args:
        sizes: monitor → cells of one vector.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes
        self._entries: dict[Key, _Open] = {}

    def add(
        self, derived: Derived, groups: list[Group], ticks: NDArray[np.int64], offsets: NDArray[np.int64], size: int
    ) -> None:
        """Add what labels of one monitor do; `ticks` and `offsets` are those of the labels, `size` its cells."""
        if not derived.label.size:
            return
        tick = ticks[derived.label]
        order = np.lexsort((derived.label, tick, derived.cohort, derived.group))
        group, cohort, tick = derived.group[order], derived.cohort[order], tick[order]
        label = derived.label[order]
        new = np.ones(order.size, np.bool_)
        new[1:] = (np.diff(group) != 0) | (np.diff(cohort) != 0) | (np.diff(tick) != 0)
        starts = np.flatnonzero(new)
        entry = np.cumsum(new) - 1
        keys = (entry[:, None] * size + derived.cells[order]).ravel()
        amounts = derived.amounts[order].ravel()
        some = amounts != 0
        cells, at = np.unique(keys[some], return_inverse=True)
        sums = np.zeros(cells.size, np.int64)
        np.add.at(sums, at, amounts[some])
        bounds = np.searchsorted(cells, np.arange(starts.size + 1) * size)
        rows = np.diff(np.append(starts, order.size))
        last = np.append(starts[1:], order.size) - 1
        for e, start in enumerate(starts.tolist()):
            key = (groups[int(group[start])], int(tick[start]), int(cohort[start]))
            piece = (cells[bounds[e] : bounds[e + 1]] - e * size, sums[bounds[e] : bounds[e + 1]])
            known = self._entries.get(key)
            first, end = int(offsets[label[start]]), int(offsets[label[last[e]]]) + 1
            if known is None:
                self._entries[key] = _Open(int(rows[e]), first, end, [piece])
                continue
            known.rows += int(rows[e])
            known.from_offset, known.to_offset = min(known.from_offset, first), max(known.to_offset, end)
            known.pieces.append(piece)
            if len(known.pieces) > _LOOSE:
                known.sums()

    def clear(self) -> None:
        """Begin the next range."""
        self._entries = {}

    def entries(self) -> list[tuple[str, Entry]]:
        """(monitor, entry), sorted by (group, pane, cohort)."""
        found = []
        for (group, tick, cohort), content in sorted(self._entries.items(), key=lambda item: item[0]):
            counts, width, cells = packed(*content.sums(), self._sizes[group.monitor])
            entry = Entry(
                group, tick, content.rows, content.from_offset, content.to_offset, counts, width,
                cohort=cohort, cells=cells,
            )  # fmt: skip
            found.append((group.monitor, entry))
        return found

    def dump(self) -> bytes:
        """The content, to go on with after a restart."""
        entries = tuple(entry for _, entry in self.entries())
        return encode_part(SummaryPart("preview", Source("", 0, ""), 0, 0, 0, -1, entries))

    def load(self, data: bytes) -> None:
        """Go on with what `dump` gave."""
        self._entries = {}
        for entry in decode_part(data).entries:
            piece = cells_of(entry, self._sizes[entry.group.monitor])
            self._entries[entry.group, entry.tick, entry.cohort] = _Open(
                entry.rows, entry.from_offset, entry.to_offset, [piece]
            )


def packed(cells: NDArray[np.int64], sums: NDArray[np.int64], size: int) -> tuple[bytes, int, bytes]:
    """`Entry.counts`, `width` and `cells` of some cells of a vector: all of it, or only these if that is smaller."""
    loose, width = pack_counts(sums)
    if not loose or (_INDEX.itemsize + width) * cells.size < width * size:
        return loose, width, cells.astype(_INDEX).tobytes() if loose else b""
    whole = np.zeros(size, np.int64)
    whole[cells] = sums
    return *pack_counts(whole), b""


def cells_of(entry: Entry, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of an entry that are not 0, and their counts.

    Raises:
        ValueError: its bytes are not counts of a vector of `size` cells.
    """
    if entry.cells:
        cells = np.frombuffer(entry.cells, _INDEX).astype(np.int64)
        if cells.size and int(cells.max()) >= size:
            raise ValueError(f"cell {int(cells.max())} of {size}")
        return cells, unpack_counts(entry.counts, entry.width, cells.size)
    whole = unpack_counts(entry.counts, entry.width, size)
    cells = np.flatnonzero(whole)
    return cells, whole[cells]


def vector_of(entry: Entry, size: int) -> NDArray[np.int64]:
    """int64[size], the counts of an entry of outcomes; raises ValueError as `cells_of`."""
    whole = np.zeros(size, np.int64)
    cells, counts = cells_of(entry, size)
    whole[cells] = counts
    return whole


@kernel
def cut(
    ticks: NDArray[np.int64], records: int, max_tick: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Where ranges end: before a label whose pane is beyond all of the range's, or when it holds `most`.

    Returns:
        labels before which the range is cut; greatest pane of each range so closed; labels and greatest
        pane of the range left open.
    """
    cuts = np.empty(ticks.size, np.int64)
    closed = np.empty(ticks.size, np.int64)
    count = 0
    for i in range(ticks.size):
        if records > 0 and (ticks[i] > max_tick or records >= most):
            cuts[count], closed[count] = i, max_tick
            count += 1
            records, max_tick = 0, -1
        records += 1
        max_tick = max(max_tick, ticks[i])
    return cuts[:count], closed[:count], records, max_tick

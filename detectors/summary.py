"""Integer counts of the rows of a pane: the summary whose merge is plain addition.

A summary of n rows is one int64 vector in the order of the profile's `Layout`. Addition is
associative and commutative and never rounds, so the order in which partitions, ranges and
batches are merged cannot change a verdict.

Names of unknown categories are kept as a bottom-k sample by hash (Cohen and Kaplan, 2007,
"Summarizing data using bottom-k sketches"): the k names with the smallest hashes, with exact
counts. A name among the k smallest of a union is among the k smallest of every part that holds
it, so this merge is exact too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.counting import category_cells, count_categories, count_numeric, numeric_cells, search_tree
from driftbus.detectors.profile import Profile
from driftbus.schemas.columns import Block
from driftbus.schemas.hashing import PADDING, hash_bytes
from driftbus.schemas.names import name_hash, short_name

UNSEEN_KEPT = 8
"""Unknown category names kept per column."""

Unseen = dict[str, dict[str, int]]
"""Column → unknown name → exact count."""

_DTYPES: dict[int, np.dtype[np.unsignedinteger[Any]]] = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}


def pack_counts(counts: NDArray[np.int64]) -> tuple[bytes, int]:
    """Counts as little-endian unsigned integers of the smallest width that holds them, and the width."""
    greatest = int(counts.max(initial=0))
    if greatest == 0:
        return b"", 1
    width = next(w for w in _DTYPES if greatest < 1 << 8 * w)
    return counts.astype(_DTYPES[width]).tobytes(), width


def unpack_counts(data: bytes, width: int, total: int) -> NDArray[np.int64]:
    """Counts from their packed form.

    Raises:
        ValueError: the data are not `total` cells of `width` bytes.
    """
    if not data:
        return np.zeros(total, np.int64)
    if width not in _DTYPES or len(data) != total * width:
        raise ValueError(f"{len(data)} bytes are not {total} counts of {width} bytes")
    return np.frombuffer(data, _DTYPES[width]).astype(np.int64)


def merge_unseen(into: Unseen, column: str, names: Iterable[tuple[str, int]]) -> None:
    """Add exact counts of unknown names of a column and keep the names with the smallest hashes."""
    kept = into.setdefault(column, {})
    for name, count in names:
        kept[name] = kept.get(name, 0) + count
    if len(kept) > UNSEEN_KEPT:
        into[column] = smallest(kept, UNSEEN_KEPT)


def smallest(names: Mapping[str, int], k: int) -> dict[str, int]:
    """The k names with the smallest hashes, and their counts."""
    return {name: names[name] for name in sorted(names, key=lambda name: (name_hash(name), name))[:k]}


@dataclass(frozen=True, slots=True)
class _Numeric:
    """Tables of the numeric columns; `tree` holds the edges of each as a binary search tree (see `search_tree`)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    cells: NDArray[np.int64]
    bins: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    tree: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Categorical:
    """Open-addressing tables of the categorical columns: slot → category, with its text to compare."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    cells: NDArray[np.int64]
    known: NDArray[np.int64]
    slots: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    text: NDArray[np.uint8]
    names: tuple[str, ...]


class Counter:
    """Counts rows of blocks into the cells of a profile.

    Args:
        profile: whose bins and categories.
        numeric_rows: for each numeric column of the profile, its row in `Block.numeric`.
        text_rows: for each categorical column of the profile, its row in `Block.text_start`.
    """

    def __init__(self, profile: Profile, numeric_rows: Sequence[int], text_rows: Sequence[int]) -> None:
        layout = profile.layout()
        self.total = int(layout.total)
        numeric = [(c, int(layout.offsets[i])) for i, c in enumerate(profile.columns) if c.kind == "numeric"]
        textual = [(c, int(layout.offsets[i])) for i, c in enumerate(profile.columns) if c.kind != "numeric"]
        levels = max((len(c.edges) for c, _ in numeric), default=0).bit_length()
        self._numeric = _Numeric(
            rows=np.array(numeric_rows, np.int64),
            columns=np.array([i for i, c in enumerate(profile.columns) if c.kind == "numeric"], np.int64),
            cells=np.array([cell for _, cell in numeric], np.int64),
            bins=np.array([len(c.edges) + 1 for c, _ in numeric], np.int64),
            low=np.array([c.low for c, _ in numeric], np.float64),
            high=np.array([c.high for c, _ in numeric], np.float64),
            tree=np.array([search_tree(c.edges, levels) for c, _ in numeric]).reshape(len(numeric), 1 << levels),
        )
        most = max((len(c.categories) for c, _ in textual), default=0)
        size = max(4, 1 << (2 * most + 1).bit_length())
        slots = np.full((len(textual), size), -1, np.int64)
        encoded = [[name.encode() for name in c.categories] for c, _ in textual]
        hashes = np.zeros((len(textual), max(1, most)), np.uint64)
        start = np.zeros((len(textual), max(1, most)), np.int64)
        length = np.zeros((len(textual), max(1, most)), np.int64)
        text = bytearray()
        for i, names in enumerate(encoded):
            for j, name in enumerate(names):
                hashes[i, j], start[i, j], length[i, j] = hash_bytes(name), len(text), len(name)
                text += name
                slot = int(hashes[i, j]) & (size - 1)
                while slots[i, slot] >= 0:
                    slot = (slot + 1) & (size - 1)
                slots[i, slot] = j
        self._categorical = _Categorical(
            rows=np.array(text_rows, np.int64),
            columns=np.array([i for i, c in enumerate(profile.columns) if c.kind != "numeric"], np.int64),
            cells=np.array([cell for _, cell in textual], np.int64),
            known=np.array([len(names) for names in encoded], np.int64),
            slots=slots,
            hashes=hashes,
            start=start,
            length=length,
            text=np.frombuffer(bytes(text) + bytes(PADDING), np.uint8),
            names=tuple(c.name for c, _ in textual),
        )

    def count(
        self, block: Block, entry: NDArray[np.int64], entries: int
    ) -> tuple[NDArray[np.int64], list[tuple[int, str, str, int]]]:
        """Counts per entry, and the unknown names met.

        Args:
            block: n decoded records.
            entry: int64[n], the entry that a row belongs to, -1 for none.
            entries: number of entries.

        Returns:
            int64[entries, total], and (entry, column, name, count) of unknown names.
        """
        counts = np.zeros((entries, self.total), np.int64)
        n, c = self._numeric, self._categorical
        if n.rows.size:
            count_numeric(
                block.numeric, block.numeric_status, entry, counts, n.rows, n.cells, n.bins, n.low, n.high, n.tree
            )
        if not c.rows.size:
            return counts, []
        found = np.full((entries, c.rows.size, UNSEEN_KEPT), -1, np.int64)
        times = np.zeros((entries, c.rows.size, UNSEEN_KEPT), np.int64)
        count_categories(
            block.text, block.text_start, block.text_length, block.text_hash, block.text_status, entry, counts,
            c.rows, c.cells, c.known, c.slots, c.hashes, c.start, c.length, c.text, found, times,
        )  # fmt: skip
        unseen = []
        for e, i, k in zip(*np.nonzero(found >= 0), strict=True):
            name = block.string(int(c.rows[i]), int(found[e, i, k]))
            if name is not None:
                unseen.append((int(e), c.names[i], short_name(name), int(times[e, i, k])))
        return counts, unseen

    @property
    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of `Block.numeric` and of `Block.text_start` that are counted."""
        return self._numeric.rows, self._categorical.rows

    def cells(
        self, block: Block, taken: NDArray[np.int64], marked: Sequence[int]
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """The cells of some rows, and hashes of their values.

        Args:
            block: decoded records.
            taken: int64[r], rows of the block.
            marked: columns of the profile whose values are hashed, ascending.

        Returns:
            uint16[r, columns], cell from the column's first, and uint16[r, marked], 0 where there is no value.
        """
        n, c = self._numeric, self._categorical
        found = np.zeros((taken.size, n.rows.size + c.rows.size), np.uint16)
        marks = np.zeros((taken.size, len(marked)), np.uint16)
        place = np.full(n.rows.size + c.rows.size, -1, np.int64)
        place[list(marked)] = np.arange(len(marked))
        numeric_cells(
            block.numeric, block.numeric.view(np.uint64), block.numeric_status, taken,
            n.rows, n.bins, n.low, n.high, n.tree, n.columns,
            place, found, marks,
        )  # fmt: skip
        category_cells(
            block.text, block.text_start, block.text_length, block.text_hash, block.text_status, taken,
            c.rows, c.known, c.slots, c.hashes, c.start, c.length, c.text, c.columns,
            place, found, marks,
        )  # fmt: skip
        return found, marks

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile
from driftbus.schemas.columns import INVALID, PRESENT, Block
from driftbus.schemas.hashing import PADDING, hash_bytes, load_u64, scatter
from driftbus.schemas.kernel import leaf_kernel

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
        smallest = sorted(kept, key=lambda name: (hash_bytes(name.encode()), name))[:UNSEEN_KEPT]
        into[column] = {name: kept[name] for name in smallest}


@dataclass(frozen=True, slots=True)
class _Numeric:
    """Tables of the numeric columns; `tree` holds the edges of each as a binary search tree (see `_search_tree`)."""

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
            tree=np.array([_search_tree(c.edges, levels) for c, _ in numeric]).reshape(len(numeric), 1 << levels),
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
            _count_numeric(
                block.numeric, block.numeric_status, entry, counts, n.rows, n.cells, n.bins, n.low, n.high, n.tree
            )
        if not c.rows.size:
            return counts, []
        found = np.full((entries, c.rows.size, UNSEEN_KEPT), -1, np.int64)
        times = np.zeros((entries, c.rows.size, UNSEEN_KEPT), np.int64)
        _count_categories(
            block.text, block.text_start, block.text_length, block.text_hash, block.text_status, entry, counts,
            c.rows, c.cells, c.known, c.slots, c.hashes, c.start, c.length, c.text, found, times,
        )  # fmt: skip
        unseen = []
        for e, i, k in zip(*np.nonzero(found >= 0), strict=True):
            name = block.string(int(c.rows[i]), int(found[e, i, k]))
            if name is not None:
                unseen.append((int(e), c.names[i], name, int(times[e, i, k])))
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
        _numeric_cells(
            block.numeric, block.numeric.view(np.uint64), block.numeric_status, taken,
            n.rows, n.bins, n.low, n.high, n.tree, n.columns,
            place, found, marks,
        )  # fmt: skip
        _category_cells(
            block.text, block.text_start, block.text_length, block.text_hash, block.text_status, taken,
            c.rows, c.known, c.slots, c.hashes, c.start, c.length, c.text, c.columns,
            place, found, marks,
        )  # fmt: skip
        return found, marks


def _search_tree(edges: Sequence[float], levels: int) -> NDArray[np.float64]:
    """Ascending edges, padded to 2^levels - 1 with infinity, in the order of a binary heap: the children of i at 2i."""
    padded = np.full((1 << levels) - 1, np.inf)
    padded[: len(edges)] = edges
    tree = np.full(1 << levels, np.inf)
    for level in range(levels):
        step = 1 << levels - level
        tree[1 << level : 2 << level] = padded[step // 2 - 1 :: step]
    return tree


@leaf_kernel
def _numeric_cell(v: float, flag: int, least: float, greatest: float, bins: int, edges: NDArray[np.float64]) -> int:
    """Cell of a value, from the column's first."""
    if flag == PRESENT and least <= v <= greatest:
        node, size = np.uint64(1), np.uint64(edges.size)
        while node < size:
            node = (node << np.uint64(1)) + np.uint64(edges[node] < v)
        return 1 + int(node - size)  # size + the number of edges below v
    if flag != PRESENT:
        return bins + 2 + flag // INVALID
    if not np.isfinite(v):
        return bins + 3
    return 0 if v < least else bins + 1


@leaf_kernel
def _numeric_cells(
    values: NDArray[np.float64],
    bits: NDArray[np.uint64],
    status: NDArray[np.uint8],
    taken: NDArray[np.int64],
    rows: NDArray[np.int64],
    bins: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    tree: NDArray[np.float64],
    columns: NDArray[np.int64],
    place: NDArray[np.int64],
    found: NDArray[np.uint16],
    marks: NDArray[np.uint16],
) -> None:
    for j in range(rows.size):
        row, column = rows[j], columns[j]
        for i in range(taken.size):
            v, flag = values[row, taken[i]], status[row, taken[i]]
            cell = found[i, column] = _numeric_cell(v, flag, low[j], high[j], bins[j], tree[j])
            if place[column] >= 0 and cell < bins[j] + 2:
                word = bits[row, taken[i]] if v != 0.0 else np.uint64(0)  # 0 and -0 are one value
                marks[i, place[column]] = scatter(word) >> np.uint64(48)


@leaf_kernel
def _count_numeric(
    values: NDArray[np.float64],
    status: NDArray[np.uint8],
    entry: NDArray[np.int64],
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    cells: NDArray[np.int64],
    bins: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    tree: NDArray[np.float64],
) -> None:
    # Unsigned indices and a step without a branch: a comparison of random values is mispredicted
    # half of the time, and that costs six times the whole search. Not a call of `_numeric_cell`,
    # which makes the whole count a tenth slower.
    width, size = counts.shape[1], np.uint64(tree.shape[1])
    cell_of = counts.reshape(-1)
    for j in range(rows.size):
        column, flags, edges = values[rows[j]], status[rows[j]], tree[j]
        least, greatest = low[j], high[j]
        first, null = cells[j], cells[j] + bins[j] + 2
        for i in range(entry.size):
            if entry[i] < 0:
                continue
            v = column[i]
            if flags[i] == PRESENT and least <= v <= greatest:
                node = np.uint64(1)
                while node < size:
                    node = (node << np.uint64(1)) + np.uint64(edges[node] < v)
                cell = first + 1 + np.int64(node - size)  # size + the number of edges below v
            elif flags[i] != PRESENT:
                cell = null + flags[i] // INVALID
            elif not np.isfinite(v):
                cell = null + 1
            else:
                cell = first if v < least else null - 1
            cell_of[np.uint64(entry[i] * width + cell)] += 1


@leaf_kernel
def _same(a: NDArray[np.uint8], at: int, b: NDArray[np.uint8], bt: int, length: int) -> bool:
    while length >= 8:
        if load_u64(a, at) != load_u64(b, bt):
            return False
        at, bt, length = at + 8, bt + 8, length - 8
    return length == 0 or (load_u64(a, at) ^ load_u64(b, bt)) << np.uint64(64 - 8 * length) == np.uint64(0)


@leaf_kernel
def _category(
    h: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    length: int,
    table: NDArray[np.int64],
    known_hash: NDArray[np.uint64],
    known_start: NDArray[np.int64],
    known_length: NDArray[np.int64],
    known_text: NDArray[np.uint8],
) -> int:
    """The category that a text is, -1 for none."""
    mask = np.uint64(table.size - 1)
    slot = h & mask
    category = table[slot]
    while category >= 0 and not (
        known_hash[category] == h
        and known_length[category] == length
        and _same(known_text, known_start[category], text, start, length)
    ):
        slot = (slot + np.uint64(1)) & mask
        category = table[slot]
    return int(category)


@leaf_kernel
def _category_cells(
    text: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    taken: NDArray[np.int64],
    rows: NDArray[np.int64],
    known: NDArray[np.int64],
    slots: NDArray[np.int64],
    known_hash: NDArray[np.uint64],
    known_start: NDArray[np.int64],
    known_length: NDArray[np.int64],
    known_text: NDArray[np.uint8],
    columns: NDArray[np.int64],
    place: NDArray[np.int64],
    found: NDArray[np.uint16],
    marks: NDArray[np.uint16],
) -> None:
    for j in range(rows.size):
        row = rows[j]
        for i in range(taken.size):
            at = taken[i]
            if status[row, at] != PRESENT:
                found[i, columns[j]] = known[j] + 1 + status[row, at] // INVALID
                continue
            category = _category(
                hashes[row, at], text, start[row, at], length[row, at],
                slots[j], known_hash[j], known_start[j], known_length[j], known_text,
            )  # fmt: skip
            found[i, columns[j]] = category if category >= 0 else known[j]
            if place[columns[j]] >= 0:
                marks[i, place[columns[j]]] = scatter(hashes[row, at]) >> np.uint64(48)


@leaf_kernel
def _count_categories(
    text: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    entry: NDArray[np.int64],
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    cells: NDArray[np.int64],
    known: NDArray[np.int64],
    slots: NDArray[np.int64],
    known_hash: NDArray[np.uint64],
    known_start: NDArray[np.int64],
    known_length: NDArray[np.int64],
    known_text: NDArray[np.uint8],
    found: NDArray[np.int64],
    times: NDArray[np.int64],
) -> None:
    mask = np.uint64(slots.shape[1] - 1)
    width = counts.shape[1]
    cell_of = counts.reshape(-1)
    for j in range(rows.size):
        column, flags = hashes[rows[j]], status[rows[j]]
        table, first, unseen = slots[j], cells[j], cells[j] + known[j]
        for i in range(entry.size):
            e = entry[i]
            if e < 0:
                continue
            if flags[i] != PRESENT:
                cell_of[np.uint64(e * width + unseen + 1 + flags[i] // INVALID)] += 1
                continue
            h = column[i]
            slot = h & mask
            category = table[slot]
            while category >= 0 and not (
                known_hash[j, category] == h
                and known_length[j, category] == length[rows[j], i]
                and _same(known_text, known_start[j, category], text, start[rows[j], i], known_length[j, category])
            ):
                slot = (slot + np.uint64(1)) & mask
                category = table[slot]
            if category >= 0:
                cell_of[np.uint64(e * width + first + category)] += 1
                continue
            cell_of[np.uint64(e * width + unseen)] += 1
            # the bottom-k sample: slots hold the row of a name's first occurrence, in no order
            worst, place = h, -1
            for k in range(found.shape[2]):
                f = found[e, j, k]
                if f < 0:
                    worst, place = h, k
                    break
                if column[f] == h:
                    times[e, j, k] += 1
                    place = -2
                    break
                if column[f] > worst:
                    worst, place = column[f], k
            if place >= 0:
                found[e, j, place], times[e, j, place] = i, 1

"""The compiled inner loops of `driftbus.detectors.summary`: values and texts to cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import INVALID, PRESENT
from driftbus.schemas.hashing import load_u64, scatter
from driftbus.schemas.kernel import leaf_kernel


def search_tree(edges: Sequence[float], levels: int) -> NDArray[np.float64]:
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
def numeric_cells(
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
def count_numeric(
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
def category_cells(
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
def count_categories(
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

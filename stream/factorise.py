"""The texts of a column as dense codes: which rows are alike, and which carry a given text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.kernel import kernel
from driftbus.schemas.names import short_name


def matching(block: Block, row: int, text: str) -> NDArray[np.bool_]:
    """bool[n], whether the text of a column is this one."""
    codes, names = factorise(block, row, np.ones(block.n, np.bool_))
    wanted = np.array([name == text for name in names], np.bool_)
    return wanted[codes] if len(names) else np.zeros(block.n, np.bool_)


def factorise(block: Block, row: int, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of the texts of a string column (-1 where masked), and the texts; "" for null and for `row` -1."""
    if row < 0:
        return np.where(mask, 0, -1), [""]
    codes, firsts = _codes(block.text_hash[row], block.text_status[row], mask)
    return codes, [(block.string(row, int(first)) or "") for first in firsts]


def names_of(block: Block, row: int, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[str]]:
    """As `factorise`, of texts that become names of groups: they go onto the bus, so long ones are cut."""
    codes, texts = factorise(block, row, mask)
    return codes, [short_name(text) for text in texts]


@kernel
def _codes(
    hashes: NDArray[np.uint64], status: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dense codes of equal hashes in order of first occurrence (-1 where masked), and those first rows."""
    n = hashes.size
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int64)
    codes = np.full(n, -1, np.int64)
    firsts = np.empty(n, np.int64)
    count, null = 0, -1
    for i in range(n):
        if not mask[i]:
            continue
        if status[i] != PRESENT:
            if null < 0:
                null = count
                firsts[count] = i
                count += 1
            codes[i] = null
            continue
        slot = np.int64(hashes[i] & np.uint64(size - 1))
        while table[slot] >= 0 and hashes[firsts[table[slot]]] != hashes[i]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = count
            firsts[count] = i
            count += 1
        codes[i] = table[slot]
    return codes, firsts[:count]

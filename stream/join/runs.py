"""Sorted runs: rows of 64-bit words, sorted by the 128-bit hash in their first two.

A run is a uint64[n, w] matrix without two rows of one hash. Hashes are uniform, so a place is guessed
from the hash itself and the search begins there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel, leaf_kernel

Run = NDArray[np.uint64]


def sorted_run(rows: Run, *, last: bool) -> Run:
    """A run of rows in the order of their arrival: of equal hashes the first stays, or the last."""
    if rows.shape[0] < 2:
        return rows
    order = np.argsort(rows[:, 0], kind="stable")
    if _strangers(rows, order):  # two hashes that are alike in their first half only
        order = np.lexsort((rows[:, 1], rows[:, 0]))
    return _distinct(rows, order, last)


def merged_runs(old: Run, new: Run, *, last: bool) -> Run:
    """One run of two, of equal hashes the older row, or with `last` the newer."""
    return _merge(old, new, last)


def lookup(run: Run, h0: NDArray[np.uint64], h1: NDArray[np.uint64], wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64[n], the row of each hash, -1 where there is none or it isn't wanted."""
    found = np.full(h0.size, -1, np.int64)
    if run.shape[0]:
        _find(run, h0, h1, wanted, found)
    return found


@leaf_kernel
def _strangers(rows: NDArray[np.uint64], order: NDArray[np.int64]) -> bool:
    for i in range(1, order.size):
        a, b = order[i - 1], order[i]
        if rows[a, 0] == rows[b, 0] and rows[a, 1] != rows[b, 1]:
            return True
    return False


@kernel
def _distinct(rows: NDArray[np.uint64], order: NDArray[np.int64], last: bool) -> NDArray[np.uint64]:
    n, w = rows.shape
    out = np.empty((n, w), np.uint64)
    count = 0
    for i in range(n):
        row = order[i]
        same = count > 0 and rows[row, 0] == out[count - 1, 0] and rows[row, 1] == out[count - 1, 1]
        if same and not last:
            continue
        if not same:
            count += 1
        for k in range(w):
            out[count - 1, k] = rows[row, k]
    return out[:count].copy() if count < n else out


@kernel
def _merge(old: NDArray[np.uint64], new: NDArray[np.uint64], last: bool) -> NDArray[np.uint64]:
    n, m, w = old.shape[0], new.shape[0], old.shape[1]
    out = np.empty((n + m, w), np.uint64)
    i, j, count = 0, 0, 0
    while i < n or j < m:
        if i == n:
            side = 1
        elif j == m:
            side = -1
        elif old[i, 0] != new[j, 0]:
            side = -1 if old[i, 0] < new[j, 0] else 1
        elif old[i, 1] != new[j, 1]:
            side = -1 if old[i, 1] < new[j, 1] else 1
        else:
            side = 0
        if side < 0 or (side == 0 and not last):
            for k in range(w):
                out[count, k] = old[i, k]
        else:
            for k in range(w):
                out[count, k] = new[j, k]
        count += 1
        i += side <= 0
        j += side >= 0
    return out[:count].copy() if count < n + m else out


@leaf_kernel
def _find(
    run: NDArray[np.uint64],
    h0: NDArray[np.uint64],
    h1: NDArray[np.uint64],
    wanted: NDArray[np.bool_],
    found: NDArray[np.int64],
) -> None:
    n = run.shape[0]
    scale = n / 18446744073709551616.0
    for i in range(h0.size):
        if not wanted[i]:
            continue
        a, b = h0[i], h1[i]
        # [low, high) is widened from the guess until it holds the place, then halved
        guess = min(n - 1, np.int64(np.float64(a) * scale))
        step = np.int64(8)
        if run[guess, 0] < a:
            low, high = guess + 1, min(n, guess + 1 + step)
            while high < n and run[high - 1, 0] < a:
                low = high
                step *= 2
                high = min(n, high + step)
        else:
            low, high = max(np.int64(0), guess - step), guess
            while low > 0 and run[low, 0] >= a:
                high = low
                step *= 2
                low = max(np.int64(0), low - step)
        while low < high:
            middle = (low + high) >> 1
            if run[middle, 0] < a:
                low = middle + 1
            else:
                high = middle
        while low < n and run[low, 0] == a:
            if run[low, 1] == b:
                found[i] = low
                break
            low += 1

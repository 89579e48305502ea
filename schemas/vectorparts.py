"""What can be said of an embedding (an array of numbers) by a few: its length, its norm, eight random projections.

A projection is the sum of the coordinates with hashed signs, over the root of their number (Achlioptas, 2003,
"Database-friendly random projections"). The signs depend on the coordinate and the direction only, so that a
vector has the same projections in a training file, live and in a replay, whatever the field is called there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import INVALID, NULL, PRESENT
from driftbus.schemas.hashing import scatter
from driftbus.schemas.kernel import leaf_kernel

DIRECTIONS = 8
PARTS = ("length", "norm", *(str(k) for k in range(DIRECTIONS)))
"""Coordinates; root of their sum of squares, to 16 bits; projections."""

MOST_COORDINATES = 4_096
"""Longer arrays are invalid."""

_WIDTH = len(PARTS)
_LENGTH, _NORM, _FIRST = 0, 1, 2
_PART = re.compile(rf"(?s)(.+)\[({'|'.join(PARTS)})\]")


def derived_names(field: str) -> tuple[str, ...]:
    """Names of an embedding's columns: ``emb[length]``, ``emb[norm]``, ``emb[0]``, ..., ``emb[7]``."""
    return tuple(f"{field}[{part}]" for part in PARTS)


def split_name(name: str) -> tuple[str, int] | None:
    """(field, index of its part) of a name that could be derived; None of any other."""
    found = _PART.fullmatch(name)
    return (found[1], PARTS.index(found[2])) if found else None


def derived_columns(names: Iterable[str]) -> dict[str, str]:
    """Column → embedding, of the names that are derived: a field counts if all of its columns are there."""
    names = list(names)
    have = set(names)
    suffix = f"[{PARTS[0]}]"
    fields = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return {n: field for field in fields if have.issuperset(derived_names(field)) for n in derived_names(field)}


def project(
    values: NDArray[np.float64], lengths: NDArray[np.int64], status: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The columns of n vectors.

    Args:
        values: float64[sum of lengths], their coordinates one after the other, NaN for a missing one.
        lengths: int64[n]; 0 where there is no vector.
        status: uint8[n], whether there is one.

    Returns:
        float64[10, n] and uint8[10, n], in the order of `PARTS`.
    """
    n = lengths.size
    found, found_status = np.zeros((_WIDTH, n)), np.zeros((_WIDTH, n), np.uint8)
    _project(values, lengths, status, np.empty(DIRECTIONS + 1), np.arange(_WIDTH), found, found_status)
    return found, found_status


@leaf_kernel
def _project(
    values: NDArray[np.float64],
    lengths: NDArray[np.int64],
    status: NDArray[np.uint8],
    sums: NDArray[np.float64],
    columns: NDArray[np.int64],
    found: NDArray[np.float64],
    found_status: NDArray[np.uint8],
) -> None:
    at = 0
    for row in range(lengths.size):
        sums[:] = 0.0
        for i in range(lengths[row]):
            if i < MOST_COORDINATES:
                add_coordinate(sums, i, values[at + i])
        at += lengths[row]
        if status[row] == PRESENT:
            write_parts(sums, lengths[row], columns, 0, row, found, found_status)
        else:
            found_status[:, row] = status[row]


@leaf_kernel
def add_coordinate(sums: NDArray[np.float64], i: int, value: float) -> None:
    """Take coordinate i into float64[9]: the signed sums, and the sum of squares last."""
    signs = scatter(np.uint64(i))
    for k in range(DIRECTIONS):
        sums[k] += value if (signs >> np.uint64(k)) & np.uint64(1) else -value
    sums[DIRECTIONS] += value * value


@leaf_kernel
def write_parts(
    sums: NDArray[np.float64],
    length: int,
    columns: NDArray[np.int64],
    first: int,
    row: int,
    numeric: NDArray[np.float64],
    status: NDArray[np.uint8],
) -> None:
    """Cells of one vector. columns[first + part] is the column of a part, negative for one that nobody wants.

    Without coordinates the length is 0 and the rest null. Too many of them, a missing one, NaN, infinity, or
    squares that add up to infinity: all is invalid.
    """
    squares = sums[DIRECTIONS]
    fine = length <= MOST_COORDINATES and np.isfinite(squares)
    for part in range(_WIDTH):
        column = columns[first + part]
        if column < 0:
            continue
        if not fine:
            status[column, row] = INVALID
        elif part == _LENGTH:
            numeric[column, row] = length
            status[column, row] = PRESENT
        elif length == 0:
            status[column, row] = NULL
        else:
            numeric[column, row] = (
                _short(math.sqrt(squares)) if part == _NORM else sums[part - _FIRST] / math.sqrt(length)
            )
            status[column, row] = PRESENT


@leaf_kernel
def _short(norm: float) -> float:
    """Rounded to 16 bits: vectors that were divided by their norm have one norm, not a noise around 1."""
    mantissa, exponent = math.frexp(norm)
    return math.ldexp(math.floor(mantissa * 65_536.0 + 0.5), exponent - 16)

"""The machine's way through an array of numbers: from its first block to the columns of an embedding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.decode.faults import BAD_LENGTH, BAD_UNION, TRUNCATED
from driftbus.schemas.decode.reading import as_int, read_length, read_long
from driftbus.schemas.hashing import load_f32, load_f64
from driftbus.schemas.kernel import leaf_kernel
from driftbus.schemas.vectorparts import MOST_COORDINATES, add_coordinate, write_parts


@leaf_kernel
def read_vector(
    text: NDArray[np.uint8],
    at: int,
    end: int,
    code: NDArray[np.int64],
    pc: int,
    sums: NDArray[np.float64],
    row: int,
    numeric: NDArray[np.float64],
    status: NDArray[np.uint8],
) -> int:
    """Read an array of floats or doubles, checked as it is when it is skipped.

    Args:
        code, pc: where the operands of PROJECT stand.
        sums: float64[9], room to work in.

    Returns:
        The next position, or minus a fault code.
    """
    size, null_branch = code[pc], code[pc + 1]
    least = size if null_branch < 0 else 1
    sums[:] = 0.0
    length = as_int(0)
    while True:
        count, at = read_long(text, at, end)
        if at < 0:
            return at
        block_end = as_int(-1)
        if count < 0:
            room, at = read_length(text, at, end)
            if at < 0:
                return at
            block_end = at + room
            # the smallest integer has no positive twin and stays negative
            count = -count
        if count == 0:
            break
        if count < 0:
            return as_int(-BAD_LENGTH)
        if count > (end - at) // least:
            return as_int(-TRUNCATED)
        for _ in range(count):
            missing = False
            if null_branch >= 0:
                branch, at = read_long(text, at, end)
                if at < 0:
                    return at
                if branch != null_branch and branch != 1 - null_branch:
                    return as_int(-BAD_UNION)
                missing = branch == null_branch
            value = np.nan
            if not missing:
                if end - at < size:
                    return as_int(-TRUNCATED)
                value = load_f64(text, at) if size == 8 else np.float64(load_f32(text, at))
                at += size
            if length < MOST_COORDINATES:
                add_coordinate(sums, length, value)
            length += 1
        if block_end >= 0 and block_end != at:
            return as_int(-BAD_LENGTH)
    write_parts(sums, length, code, pc + 2, row, numeric, status)
    return at

"""Rows of a file as the blocks that the machines are fed with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.schemas.columns import INVALID, NULL, Block, Projection
from driftbus.schemas.hashing import PADDING
from driftbus.schemas.vectorparts import PARTS, split_name
from driftbus.stream.files.cells import numbers, text_cells, texts
from driftbus.stream.files.table import BATCH_ROWS, Table
from driftbus.stream.files.vectors import is_vector, vector_cells


def block_of(batch: Any, projection: Projection, time_ms: NDArray[np.int64], decimal_comma: bool = False) -> Block:
    """A block of n rows; a column that the batch lacks is all null.

    Args:
        batch: Arrow record batch or table of n rows.
        projection: columns wanted, by name.
        time_ms: int64[n], event times.
        decimal_comma: see `cells.numbers`.
    """
    n, have = batch.num_rows, set(batch.schema.names)
    values = np.zeros((len(projection.numeric), n))
    status = np.full((len(projection.numeric), n), NULL, np.uint8)
    vectors: dict[str, tuple[NDArray[np.float64], NDArray[np.uint8]]] = {}
    for i, name in enumerate(projection.numeric):
        part = split_name(name)
        if name in have:
            values[i], status[i] = numbers(_array(batch, name), decimal_comma)
        elif part is not None and part[0] in have:
            if part[0] not in vectors:
                vectors[part[0]] = _vectors(_array(batch, part[0]))
            cells, cell_status = vectors[part[0]]
            values[i], status[i] = cells[part[1]], cell_status[part[1]]
    s = len(projection.strings)
    start, length = np.zeros((s, n), np.int64), np.zeros((s, n), np.int32)
    hashes, text_status = np.zeros((s, n), np.uint64), np.full((s, n), NULL, np.uint8)
    pieces, at = [], 0
    for i, name in enumerate(projection.strings):
        if name in have:
            text, first, length[i], hashes[i], text_status[i] = text_cells(texts(_array(batch, name)))
            start[i] = first + at
            at += text.size
            pieces.append(text)
    text = np.concatenate(pieces) if pieces else np.zeros(PADDING, np.uint8)
    return Block(n, time_ms, values, status, text, start, length, hashes, text_status)


def blocks_of(
    table: Table,
    projection: Projection,
    time_ms: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    rows: int,
    numbered: str = "",
) -> Iterator[tuple[int, Block]]:
    """(number of its first row, block) over the whole file.

    Args:
        table: the file.
        projection: columns wanted, by name.
        time_ms: int64[n], event times in the order in which rows are wanted.
        order: int64[n], which row of the file comes at each place; None: as they stand, which needs
            memory for one batch only.
        rows: most rows of a block.
        numbered: name of a further column, the place of each row; "" for none.
    """
    fields = [part[0] for name in projection.numeric if name not in table.names and (part := split_name(name))]
    named = dict.fromkeys((*projection.numeric, *projection.strings, *fields))
    wanted = [name for name in named if name in table.names]
    at = 0
    for batch in _batches(table, wanted or list(table.names[:1]), order, min(rows, BATCH_ROWS)):
        end = at + batch.num_rows
        if numbered:
            batch = batch.append_column(numbered, pa.array(np.arange(at, end)))
        yield at, block_of(batch, projection, time_ms[at:end], table.decimal_comma)
        at = end


def _batches(table: Table, wanted: list[str], order: NDArray[np.int64] | None, rows: int) -> Iterator[Any]:
    if order is None:
        yield from table.batches(wanted, rows)
        return
    whole = table.read(wanted)
    for start in range(0, order.size, rows):
        yield whole.take(pa.array(order[start : start + rows]))


def _vectors(array: Any) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The columns of an embedding; what is no list of numbers is invalid."""
    if is_vector(array.type):
        return vector_cells(array)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return np.zeros((len(PARTS), len(array))), np.tile(np.where(valid, INVALID, NULL).astype(np.uint8), (len(PARTS), 1))


def _array(batch: Any, name: str) -> Any:
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            return column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column

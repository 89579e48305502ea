"""Columns of embeddings, as the columns that are derived from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.detectors.reference import NumericData
from driftbus.schemas.columns import NULL, PRESENT
from driftbus.schemas.vectorparts import derived_names, project
from driftbus.stream.files.cells import pc

_LEAST_COORDINATES, _SAME_LENGTH = 2, 0.9


def is_vector(kind: pa.DataType) -> bool:
    """Whether cells of this type are lists of floating-point numbers."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(listed and pa.types.is_floating(kind.value_type))


def vector_cells(array: Any) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """float64[10, n] and uint8[10, n] status: the columns of an Arrow array of lists of numbers."""
    items = pc.list_flatten(array).cast(pa.float64())
    values = items.fill_null(float("nan")).to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(array).fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False)
    status = np.where(array.is_valid().to_numpy(zero_copy_only=False), PRESENT, NULL).astype(np.uint8)
    return project(np.ascontiguousarray(values), lengths, status)


def vector_data(field: str, cells: Iterable[tuple[NDArray[np.float64], NDArray[np.uint8]]]) -> dict[str, NumericData]:
    """The derived columns of an embedding, by name.

    Args:
        field: its name.
        cells: (values, status) of each, in their order.
    """
    return {
        name: NumericData(np.where(status == PRESENT, values, np.nan), status != NULL)
        for name, (values, status) in zip(derived_names(field), cells, strict=True)
    }


def is_embedding(length: NDArray[np.float64], status: NDArray[np.uint8]) -> bool:
    """Whether vectors of these lengths are embeddings: at least two coordinates, and nearly always as many."""
    present = length[status == PRESENT]
    if not present.size:
        return False
    lengths, counts = np.unique(present, return_counts=True)
    return bool(lengths[counts.argmax()] >= _LEAST_COORDINATES and counts.max() >= _SAME_LENGTH * present.size)

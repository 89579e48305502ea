"""References of parts of the rows: a segment differs from the whole by nature, so it is compared with itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import ColumnProfile, Part, Profile
from driftbus.detectors.reference import CategoryData, NumericData
from driftbus.schemas.names import short_name

LEAST_ROWS = 1_000
"""A segment with fewer reference rows learns its reference from the stream instead."""
MOST_PARTS = 64


def with_parts(
    profile: Profile, columns: Mapping[str, NumericData | CategoryData], segments: Mapping[str, Sequence[str | None]]
) -> Profile:
    """The profile with a reference of its own for every large enough segment.

    Args:
        profile: of all rows.
        columns: name → reference rows, n each, as it was made from.
        segments: segment field → n texts, None for null.
    """
    rows = {
        f"{field}={short_name(value)}": np.array([text == value for text in texts], np.bool_)
        for field, texts in segments.items()
        for value, count in Counter(texts).items()
        if value and count >= LEAST_ROWS
    }
    largest = sorted(rows, key=lambda name: (-int(rows[name].sum()), name))[:MOST_PARTS]
    cells = [cells_of(column, columns[column.name]) for column in profile.columns]
    parts = []
    for name in sorted(largest):
        counts = [
            np.bincount(cell[rows[name]], minlength=column.width)
            for column, cell in zip(profile.columns, cells, strict=True)
        ]
        parts.append(Part(name, int(rows[name].sum()), tuple(np.concatenate(counts).tolist())))
    return replace(profile, parts=tuple(parts))


def cells_of(column: ColumnProfile, data: NumericData | CategoryData) -> NDArray[np.int64]:
    """int64[n]: the cell of each row, counted from the column's first."""
    null, invalid = column.value_cells, column.value_cells + 1
    if isinstance(data, CategoryData):
        place: dict[str | None, int] = {name: i for i, name in enumerate(column.categories)}
        place[None] = null
        return np.array([place.get(value, column.bins) for value in data.values], np.int64)
    values = data.values
    present = np.ones(values.size, np.bool_) if data.present is None else data.present
    cells = 1 + np.searchsorted(np.array(column.edges), values, side="left").astype(np.int64)
    cells[values < column.low] = 0
    cells[values > column.high] = column.bins + 1
    cells[~np.isfinite(values)] = invalid
    cells[~present] = null
    return cells

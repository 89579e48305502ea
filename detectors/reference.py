"""Profiles from training rows, or from the rows of a stream's first period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.distinct import distinct_of
from driftbus.detectors.ordered import longrun_of_rows
from driftbus.detectors.profile import ColumnProfile, Kind, Profile, Role, RowsSample
from driftbus.detectors.sketches import marked
from driftbus.schemas.hashing import scattered

BINS = 64
"""Bins of a numeric column: fewer see a change of spread later (16: a third), more gain nothing."""

MOST_CATEGORIES = 256
"""Categories with a cell of their own; the less frequent ones are counted together as the rest."""


SAMPLE_ROWS, SAMPLE_COLUMNS = 2_000, 32
"""Reference rows kept whole, and columns they are kept of: the first that vary."""

_LEAST_SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class NumericData:
    """Reference rows of a numeric column.

    Args:
        values: float64[n]; NaN and infinity where present are invalid.
        present: bool[n], False where the row has no value (null); None: all present.
        role: what the column is to the model.
    """

    values: NDArray[np.float64]
    present: NDArray[np.bool_] | None = None
    role: Role = "feature"


@dataclass(frozen=True, slots=True)
class CategoryData:
    """Reference rows of a categorical column.

    Args:
        values: n texts, None for null.
        role: what the column is to the model.
        invalid: rows, beyond these, whose value had a wrong type.
    """

    values: Sequence[str | None] | NDArray[np.object_]
    role: Role = "feature"
    invalid: int = 0


def build_profile(
    monitor: str,
    stream: str,
    columns: Mapping[str, NumericData | CategoryData],
    *,
    ordered: bool = False,
    rows: int | None = None,
    source: str = "",
    created_ms: int = 0,
    learned_until_ms: int | None = None,
) -> Profile:
    """A profile of columns of equal length.

    Args:
        monitor, stream: whose reference.
        columns: name → rows; the order is the order of the layout.
        ordered: whether the rows are in time order; then their autocorrelation is learned.
        rows: number of rows, by default those of the longest column.
        source, created_ms, learned_until_ms: see `Profile`.

    Raises:
        ConfigError: the columns contradict themselves.
    """
    profiles = tuple(
        profile_column(
            name,
            data.values,
            kind="numeric" if isinstance(data, NumericData) else "categorical",
            role=data.role,
            ordered=ordered,
            present=data.present if isinstance(data, NumericData) else None,
            invalid=data.invalid if isinstance(data, CategoryData) else 0,
        )
        for name, data in columns.items()
    )
    rows = max((column.rows for column in profiles), default=0) if rows is None else rows
    sample = _sample(profiles, list(columns.values()))
    return Profile(monitor, stream, profiles, rows, source, created_ms, learned_until_ms, (), sample)


def profile_column(
    name: str,
    values: NDArray[np.float64] | Sequence[str | None] | NDArray[np.object_],
    *,
    kind: Kind,
    role: Role = "feature",
    ordered: bool = False,
    present: NDArray[np.bool_] | None = None,
    invalid: int = 0,
) -> ColumnProfile:
    """Reference of one column.

    Args:
        name: column name.
        values: numeric: float64[n]; categorical: n texts, None for null.
        kind: ``numeric`` or ``categorical``.
        role: what the column is to the model.
        ordered: whether the rows are in time order.
        present: numeric: bool[n], False for null; None: all present.
        invalid: categorical: further rows whose value had a wrong type.
    """
    if kind == "numeric":
        numbers = np.asarray(values, np.float64)
        return _numeric(name, numbers, np.ones(numbers.size, np.bool_) if present is None else present, role, ordered)
    return _categorical(name, list(values), role, ordered, invalid)


def bin_edges(values: NDArray[np.float64], bins: int = BINS) -> NDArray[np.float64]:
    """Inner edges: one bin per value up to `bins` distinct values, else bins of equal counts.

    Quantile bins of a column with few values would hide its rare ones.

    Args:
        values: float64[n], finite.
        bins: most bins.

    Returns:
        float64, ascending, all below the largest value; bin i holds (edges[i-1], edges[i]].
    """
    distinct = np.unique(values)
    if distinct.size <= bins:
        return distinct[:-1]
    quantiles = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.asarray(quantiles[quantiles < distinct[-1]], np.float64)


def _numeric(
    name: str, values: NDArray[np.float64], present: NDArray[np.bool_], role: Role, ordered: bool
) -> ColumnProfile:
    finite = np.isfinite(values) & present
    valid = values[finite] + 0.0  # -0.0 becomes 0.0, so that equal data have equal profiles
    edges = bin_edges(valid) if valid.size else np.zeros(0)
    cells = np.full(values.size, edges.size + 4, np.int64)  # invalid
    cells[~present] = edges.size + 3
    cells[finite] = 1 + np.searchsorted(edges, valid, side="left")
    counts = np.bincount(cells, minlength=edges.size + 5)
    column = ColumnProfile(
        name=name,
        kind="numeric",
        role=role,
        edges=tuple(edges.tolist()),
        low=float(valid.min()) if valid.size else 0.0,
        high=float(valid.max()) if valid.size else 0.0,
        categories=(),
        counts=tuple(counts[: edges.size + 3].tolist()),
        nulls=int(counts[edges.size + 3]),
        invalid=int(counts[edges.size + 4]),
    )
    column = replace(column, distinct=distinct_of(_numeric_codes(column, valid, cells[finite]), ordered=ordered))
    return replace(column, longrun=longrun_of_rows(column, cells)) if ordered else column


def _numeric_codes(column: ColumnProfile, valid: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes of what sampled values of the column are told apart by."""
    return np.unique(valid, return_inverse=True)[1] if marked(column) else cells


def _sample(profiles: Sequence[ColumnProfile], data: Sequence[NumericData | CategoryData]) -> RowsSample | None:
    """Rows chosen by the smallest hashes of their numbers: spread evenly, and the same each time."""
    sizes = {len(each.values) for each in data}
    varying = [i for i, column in enumerate(profiles) if _varies(column)][:SAMPLE_COLUMNS]
    # a category column may have lost its invalid rows, and then nobody knows which values stood together
    if len(sizes) != 1 or len(varying) < 2 or min(sizes) < _LEAST_SAMPLE_ROWS:
        return None
    chosen = np.sort(np.argsort(scattered(np.arange(min(sizes), dtype=np.uint64)), kind="stable")[:SAMPLE_ROWS])
    cells = np.array([_cells(profiles[i], data[i], chosen) for i in varying])
    return RowsSample(tuple(profiles[i].name for i in varying), cells.T.astype("<u2").tobytes())


def _varies(column: ColumnProfile) -> bool:
    return sum(count > 0 for count in column.counts) > 1


def _cells(column: ColumnProfile, data: NumericData | CategoryData, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cells of some rows, counted from the column's first."""
    if isinstance(data, CategoryData):
        place = {value: i for i, value in enumerate(column.categories)}
        names = [data.values[row] for row in rows.tolist()]
        known = [column.bins + 1 if name is None else place.get(str(name), column.bins) for name in names]
        return np.array(known, np.int64)
    values = np.asarray(data.values, np.float64)[rows]
    cells = 1 + np.searchsorted(np.array(column.edges), values, side="left")
    cells[~np.isfinite(values)] = column.bins + 3
    if data.present is not None:
        cells[~data.present[rows]] = column.bins + 2
    return cells


def _categorical(name: str, values: list[str | None], role: Role, ordered: bool, invalid: int) -> ColumnProfile:
    names = [None if value is None else str(value) for value in values]
    found = Counter(value for value in names if value is not None)
    ranked = sorted(found, key=lambda value: (-found[value], value))
    number = {value: i for i, value in enumerate(ranked)}
    kept, rest = ranked[:MOST_CATEGORIES], ranked[MOST_CATEGORIES:]
    nulls = len(names) - sum(found.values())
    column = ColumnProfile(
        name=name,
        kind="categorical",
        role=role,
        edges=(),
        low=0.0,
        high=0.0,
        categories=tuple(kept),
        counts=(*(found[value] for value in kept), sum(found[value] for value in rest)),
        nulls=nulls,
        invalid=invalid,
    )
    codes = np.array([number[value] for value in names if value is not None], np.int64)
    column = replace(column, distinct=distinct_of(codes, ordered=ordered))
    if not ordered:
        return column
    place = {value: i for i, value in enumerate(kept)}
    cells = [len(kept) + 1 if value is None else place.get(value, len(kept)) for value in names]
    return replace(column, longrun=longrun_of_rows(column, np.array(cells, np.int64)))

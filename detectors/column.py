"""The reference of one column: its bins or categories, and what is counted in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from driftbus.detectors.longrun import LongRun

Kind = Literal["numeric", "categorical"]
Role = Literal["feature", "score", "prediction", "label"]


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values windows of the reference hold, see `driftbus.detectors.distinct`.

    Args:
        values: values of a window.
        expected: different values expected in a random draw of so many.
        variance: bound on the variance of their number.
        least, greatest: in windows of successive rows, and `expected`.
        top: share of the most frequent value, 0 to 1.
        run: longest run of one value in rows in time order, 0 if they were in no order.
    """

    values: int
    expected: float
    variance: float
    least: float
    greatest: float
    top: float
    run: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Reference of one column.

    Args:
        name: column name.
        kind: ``numeric`` or ``categorical``.
        role: ``feature``, ``score``, ``prediction`` or ``label``.
        edges: inner bin edges, ascending; bin i holds (edges[i-1], edges[i]]. Numeric only.
        low, high: smallest and largest finite reference value. Numeric only, else 0.
        categories: names that have a cell of their own, most frequent first. Categorical only.
        counts: reference values per cell; numeric: underflow, the bins, overflow; categorical:
            the categories, then the rest.
        nulls: reference rows without a value.
        invalid: reference rows with NaN, infinity or a value of the wrong type.
        longrun: autocorrelation of the scores, empty if the rows were in no order or show none.
        distinct: numbers of different values; None: they are not watched.
    """

    name: str
    kind: Kind
    role: Role
    edges: tuple[float, ...]
    low: float
    high: float
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    nulls: int
    invalid: int
    longrun: tuple[LongRun, ...] = ()
    distinct: Distinct | None = None

    @property
    def bins(self) -> int:
        """Number of bins (numeric) or categories (categorical)."""
        return len(self.edges) + 1 if self.kind == "numeric" else len(self.categories)

    @property
    def value_cells(self) -> int:
        """Cells that hold values: bins with under- and overflow, or categories with unseen."""
        return self.bins + (2 if self.kind == "numeric" else 1)

    @property
    def width(self) -> int:
        """Cells of the column in the layout: those of values, then null, then invalid."""
        return self.value_cells + 2

    @property
    def values(self) -> int:
        """Reference values, without nulls and invalid ones."""
        return sum(self.counts)

    @property
    def rows(self) -> int:
        """Reference rows."""
        return self.values + self.nulls + self.invalid


def contradiction(column: ColumnProfile) -> str:
    """What is wrong with a column in itself, "" if nothing."""
    if column.kind not in get_args(Kind):
        return f"kind {column.kind!r} is neither numeric nor categorical"
    if column.role not in get_args(Role):
        return f"role {column.role!r} is not one of {', '.join(get_args(Role))}"
    if len(column.counts) != column.value_cells:
        return f"{len(column.counts)} counts for {column.value_cells} cells"
    if min((*column.counts, column.nulls, column.invalid)) < 0:
        return "a count is negative"
    if not all(map(math.isfinite, (*column.edges, column.low, column.high))):
        return "an edge is not finite"
    if any(a >= b for a, b in zip(column.edges, column.edges[1:], strict=False)):
        return "edges do not ascend"
    if len(set(column.categories)) != len(column.categories):
        return "a category has two cells"
    return ""


def column_to_dict(column: ColumnProfile) -> dict[str, Any]:
    """The column as plain JSON values; `column_from_dict` gives an equal one."""
    return {
        "name": column.name,
        "kind": column.kind,
        "role": column.role,
        "edges": list(column.edges),
        "low": column.low,
        "high": column.high,
        "categories": list(column.categories),
        "counts": list(column.counts),
        "nulls": column.nulls,
        "invalid": column.invalid,
        "longrun": [run.to_dict() for run in column.longrun],
        **({} if column.distinct is None else {"distinct": asdict(column.distinct)}),
    }


def column_from_dict(data: Mapping[str, Any]) -> ColumnProfile:
    """A column from its JSON values.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of the wrong type.
    """
    return ColumnProfile(
        name=str(data["name"]),
        kind=cast(Kind, data["kind"]),
        role=cast(Role, data["role"]),
        edges=_floats(data["edges"]),
        low=float(data["low"]),
        high=float(data["high"]),
        categories=tuple(str(name) for name in data["categories"]),
        counts=tuple(int(count) for count in data["counts"]),
        nulls=int(data["nulls"]),
        invalid=int(data["invalid"]),
        longrun=tuple(LongRun.from_dict(run) for run in data["longrun"]),
        distinct=_distinct_from_dict(data.get("distinct")),
    )


def _distinct_from_dict(data: Mapping[str, Any] | None) -> Distinct | None:
    if data is None:
        return None
    expected, variance, least, greatest, top = (
        float(data[name]) for name in ("expected", "variance", "least", "greatest", "top")
    )
    return Distinct(int(data["values"]), expected, variance, least, greatest, top, int(data["run"]))


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

"""Counts of a column's cells as what a picture needs: bars, quantiles, rates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import ColumnProfile

BARS = 36
"""Bars of a column with many values."""

_FEW_VALUES = 24
_CATEGORIES = 8
_TAIL = 0.005
_SKEWED = 8.0
_SEEN = 5e-4
_TAILED = 1.5
REST, UNSEEN = "all others", "unseen before"

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of the same bars before and after.

    Args:
        labels: what each bar holds.
        before, after: float64[bars], shares that add up to 1, or all 0 without values.
        even: whether bars are stretches of a scale (a histogram); else they stand apart.
        scale: "" or ``log``.
    """

    labels: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    even: bool = False
    scale: str = ""


def bars_of(column: ColumnProfile, before: Counts, after: Counts) -> Bars:
    """The bars of a column.

    Numeric columns with many values are drawn on bars of equal width: values of a cell are spread
    evenly over it, in a wide outermost cell thinning out. The scale is logarithmic where the tail
    is long; what lies outside is in the outermost bars.

    Args:
        column: its bins or categories.
        before, after: int64[cells], at least those of values.
    """
    before, after = before[: column.value_cells], after[: column.value_cells]
    if column.kind == "categorical":
        return _of_categories(column, before, after)
    if column.bins <= _FEW_VALUES:
        return _of_values(column, before, after)
    return _of_ranges(column, before, after)


def quantiles(column: ColumnProfile, counts: Counts, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of a numeric column, exact to its cells; float64[..., q] of int64[..., cells], NaN without values.

    What lies outside the reference's range is taken to be at its ends.
    """
    values = counts[..., : column.value_cells].astype(np.float64)
    total = values.sum(axis=-1, keepdims=True)
    bounds = _bounds(column)
    below = np.cumsum(values, axis=-1)
    found = np.full((*counts.shape[:-1], at.size), np.nan)
    for index in np.ndindex(counts.shape[:-1]):
        if total[index][0] <= 0:
            continue
        wanted = at * total[index][0]
        cell = np.minimum(np.searchsorted(below[index], wanted), values.shape[-1] - 1)
        if column.bins <= _FEW_VALUES:
            found[index] = bounds[cell + 1]
            continue
        held = np.maximum(values[index][cell], 1.0)
        share = np.clip((wanted - (below[index][cell] - values[index][cell])) / held, 0.0, 1.0)
        found[index] = bounds[cell] + share * (bounds[cell + 1] - bounds[cell])
    return found


def rate(column: ColumnProfile, counts: Counts, cell: int) -> NDArray[np.float64]:
    """Share of rows in a cell (``column.value_cells``: nulls, the next: invalid); NaN without rows."""
    rows = counts[..., : column.width].sum(axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(rows > 0, counts[..., cell] / rows, np.nan))


def shares(counts: Counts) -> NDArray[np.float64]:
    """Shares along the last axis, 0 where there is nothing."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(counts / np.maximum(1, total))


def number(value: float, spread: float = 0.0) -> str:
    """A number for people, four digits at most, and none that is small beside `spread`."""
    if value != value:
        return "–"
    if spread > 0:
        value = round(value, max(0, 2 - floor(log10(spread)))) + 0.0
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _bounds(column: ColumnProfile) -> NDArray[np.float64]:
    """Lower bounds of the cells and the last upper one; under- and overflow have no width."""
    return np.array([column.low, column.low, *column.edges, column.high, column.high], np.float64)


def _of_categories(column: ColumnProfile, before: Counts, after: Counts) -> Bars:
    a, b = shares(before), shares(after)
    names = column.categories
    # the largest on either side; a category that has vanished or come must not hide in the rest
    weight = np.maximum(a, b)[: len(names)]
    chosen = sorted(sorted(range(len(names)), key=lambda i: (-weight[i], i))[:_CATEGORIES])
    rest = [i for i in range(len(names)) if i not in set(chosen)]
    labels = [names[i] for i in chosen]
    first, second = [a[i] for i in chosen], [b[i] for i in chosen]
    others = [*rest, len(names)] if before[-1] else rest
    if others:
        labels.append(REST)
        first.append(a[others].sum())
        second.append(b[others].sum())
    if not before[-1] and after[-1]:
        labels.append(UNSEEN)
        first.append(0.0)
        second.append(b[-1])
    return Bars(tuple(labels), np.array(first), np.array(second))


def _of_values(column: ColumnProfile, before: Counts, after: Counts) -> Bars:
    a, b = shares(before), shares(after)
    labels = [f"below {number(column.low)}", *map(number, [*column.edges, column.high]), f"above {number(column.high)}"]
    shown = [i for i in range(a.size) if 0 < i < a.size - 1 or a[i] > 0 or b[i] > 0]
    return Bars(tuple(labels[i] for i in shown), a[shown], b[shown])


def _of_ranges(column: ColumnProfile, before: Counts, after: Counts) -> Bars:
    if not before.any() and not after.any():
        return Bars((number(column.low), number(column.high)), np.zeros(2), np.zeros(2))
    ends = quantiles(column, np.stack([before, after]), np.array([_TAIL, 0.5, 1 - _TAIL]))
    low, middle, high = float(np.nanmin(ends[:, 0])), float(np.nanmedian(ends[:, 1])), float(np.nanmax(ends[:, 2]))
    log = bool(column.low > 0 and low > 0 and high - middle > _SKEWED * (middle - low))
    if not high > low:
        low, high = column.low, column.high
    grid = np.geomspace(low, high, BARS + 1) if log else np.linspace(low, high, BARS + 1)
    bounds = _bounds(column)
    sides = []
    for counts in (before, after):
        reached = np.interp(grid, *_curve(bounds, counts))
        reached[0], reached[-1] = 0.0, counts.sum()
        sides.append(np.diff(reached) / max(1, counts.sum()))
    labels = [f"{number(a)} – {number(b)}" for a, b in pairwise(grid.tolist())]
    if sides[0][0] > _SEEN or sides[1][0] > _SEEN:
        labels[0] = f"up to {number(grid[1])}"
    if sides[0][-1] > _SEEN or sides[1][-1] > _SEEN:
        labels[-1] = f"from {number(grid[-2])}"
    return Bars(tuple(labels), sides[0], sides[1], even=True, scale="log" if log else "")


def _curve(bounds: NDArray[np.float64], counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the distribution's curve: straight inside a cell, bent in a tail that is wider than its neighbour."""
    # at equal bounds the last one counts: what a cell without width holds lies at its point
    points = bounds + np.arange(bounds.size) * 1e-12 * max(1.0, abs(bounds[-1] - bounds[0]))
    below = np.concatenate([[0.0], np.cumsum(counts)])
    widths, inside = np.diff(bounds), np.linspace(0.0, 1.0, 9)[1:-1]
    last = bounds.size - 3
    if widths[last] > _TAILED * widths[last - 1]:
        points = np.insert(points, last + 1, points[last] + inside * widths[last])
        below = np.insert(below, last + 1, below[last] + (1 - (1 - inside) ** 2) * counts[last])
    if widths[1] > _TAILED * widths[2]:
        points = np.insert(points, 2, points[1] + inside * widths[1])
        below = np.insert(below, 2, below[1] + inside**2 * counts[1])
    return points, below

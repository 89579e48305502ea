"""Sampled rows without their margins: every column as normal scores of its own ranks (the copula).

A window's cells are ranked within the window, and the reference's within the reference. So whatever
happens to a column alone (shift, scale, any monotone change) leaves its scores as they were, and what
still differs is between the columns. The limits are few values, whose ties are coarse, and windows
that hold rows from before and after a shift: columns that move together are correlated in the
mixture. Therefore a column whose own distribution has left the reference is left out (`Scale.moved`).

Source: Sklar (1959); normal scores: van der Waerden (1952). Known bias: scores end at ±2.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.psi import coarse_bins
from driftbus.schemas.kernel import kernel

MISSING = 255
"""Level of a cell without a value."""

_LEAST_TAIL = 1 / (4 * 64)
_RARE = 0.02
_LEAST_MISSING = 0.01
_COARSE = 10


@dataclass(frozen=True, slots=True)
class Series:
    """What is ranked: a column's values, or whether it is null.

    Args:
        column: name of the column.
        of_nulls: whether it is the indicator of nulls.
    """

    column: str
    of_nulls: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.column} is null" if self.of_nulls else self.column


@dataclass(frozen=True, slots=True)
class Scale:
    """How cells of sampled rows become levels, and levels scores; s series, at most l levels.

    Args:
        series: the series.
        at: int64[s], place of their columns among the sampled ones.
        level_of: uint8[s, cells], level of each cell of the column, or `MISSING`.
        levels: l.
        coarse: int64[s, l], coarse bin of each level.
        share: float64[s, 10], the reference's shares in the coarse bins, 0 beyond.
        missing: float64[s], the reference's share of rows without a value.
        rows: reference rows behind the shares.
    """

    series: tuple[Series, ...]
    at: NDArray[np.int64]
    level_of: NDArray[np.uint8]
    levels: int
    coarse: NDArray[np.int64]
    share: NDArray[np.float64]
    missing: NDArray[np.float64]
    rows: int

    def of_cells(self, cells: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8[n, s], levels of int64[n, sampled columns] cells."""
        return np.ascontiguousarray(self.level_of[np.arange(self.at.size), cells[:, self.at]])

    def counts(self, levels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """float64[s, l], rows on each level."""
        counts = np.zeros((self.at.size, self.levels))
        _count(levels, counts)
        return counts

    def moved(self, counts: NDArray[np.float64], design: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        """bool[s], whether a series' own distribution has left the reference's: its calibrated index says so.

        Args:
            counts: float64[s, l], of a window.
            design: float64[s], design effect of autocorrelation.
            level: significance level. Raising it leaves out more.
        """
        binned = np.zeros_like(self.share)
        np.add.at(binned, (np.arange(self.at.size)[:, None], self.coarse), counts)
        n, bins = binned.sum(axis=1), (self.share > 0).sum(axis=1)
        p, q = self.share + 0.5 / self.rows, (binned + 0.5) / np.maximum(n, 1.0)[:, None]
        index = np.where(self.share > 0, (q - p) * np.log(q / p), 0.0).sum(axis=1)
        with np.errstate(divide="ignore"):
            statistic = index / ((1 / n + 1 / self.rows) * design)
        return np.asarray((n == 0) | (statistic > chdtri(np.maximum(1, bins - 1), level)), np.bool_)

    def emptied(self, counts: NDArray[np.float64], rows: int, level: float) -> NDArray[np.bool_]:
        """bool[s], whether another share of rows has no value, significantly and by more than a hundredth.

        Args:
            counts: float64[s, l], of a window.
            rows: of the window.
            level: significance level of one series.
        """
        here = 1 - counts.sum(axis=1) / rows
        pooled = (self.missing * self.rows + here * rows + 0.5) / (self.rows + rows + 1)
        error = pooled * (1 - pooled) * (1 / rows + 1 / self.rows)
        far = np.abs(here - self.missing)
        return np.asarray((far > _LEAST_MISSING) & (far * far > chdtri(1, level) * error), np.bool_)


def scale_of(profile: Profile) -> Scale | None:
    """The scale of a profile's sampled rows; None if fewer than two of its columns can be ranked."""
    if profile.sample is None:
        return None
    rows = [_rows_of(i, profile.column(name)) for i, name in enumerate(profile.sample.columns)]
    flat = [row for of_column in rows for row in of_column]
    if len({series.column for series, *_ in flat}) < 2:
        return None
    widest = max(level_of.size for _, _, level_of, _ in flat)
    levels = max(counts.size for *_, counts in flat)
    level_of = np.full((len(flat), widest), MISSING, np.uint8)
    coarse, share = np.zeros((len(flat), levels), np.int64), np.zeros((len(flat), _COARSE))
    missing = np.zeros(len(flat))
    for i, (series, _, mine, counts) in enumerate(flat):
        level_of[i, : mine.size] = mine
        bins = coarse_bins(counts, _COARSE)
        coarse[i, : counts.size] = bins
        binned = np.bincount(bins, weights=counts, minlength=_COARSE)
        share[i] = binned / max(1.0, float(binned.sum()))
        column = profile.column(series.column)
        missing[i] = 0.0 if series.of_nulls else (column.nulls + column.invalid) / max(1, column.rows)
    return Scale(
        tuple(series for series, *_ in flat), np.array([at for _, at, *_ in flat], np.int64), level_of, levels,
        coarse, share, missing, max(1, profile.rows),
    )  # fmt: skip


def scores(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Table of scores: mean 0 and variance 1 under the counts; the last entry, for missing ones, is 0.

    Args:
        counts: float64[s, l], rows on each level.

    Returns:
        float64[s, l + 1]; all 0 where a series has but one level.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    rank = np.cumsum(share, axis=1) - share / 2
    table = ndtri(np.clip(rank, _LEAST_TAIL, 1 - _LEAST_TAIL))
    table = table - (table * share).sum(axis=1, keepdims=True)
    variance = (table * table * share).sum(axis=1, keepdims=True)
    table = table / np.sqrt(np.maximum(variance, 1e-9))
    # exactly 0 is what a missing value has
    table = np.where(variance > 1e-9, np.where(table == 0.0, 1e-12, table), 0.0)
    return np.hstack([table, np.zeros((table.shape[0], 1))])


def scored(levels: NDArray[np.uint8], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n, s], scores of rows by a table of `scores`."""
    z = np.empty(levels.shape)
    _score(levels, table, z)
    return z


def _rows_of(at: int, column: ColumnProfile) -> list[tuple[Series, int, NDArray[np.uint8], NDArray[np.int64]]]:
    """Series of a column, with the level of each cell and the reference's count on each level."""
    found, cells = [], np.arange(column.width)
    counts = np.array(column.counts, np.int64)
    if column.kind == "categorical":  # the most frequent category against all others
        counts = np.array([counts[0], counts[1:].sum()], np.int64)
        cells = np.minimum(cells, 1)
    level_of = cells.astype(np.uint8)
    level_of[column.value_cells :] = MISSING
    if (counts > 0).sum() > 1:
        found.append((Series(column.name), at, level_of, counts))
    nulls = column.nulls / max(1, column.rows)
    if _RARE <= nulls <= 1 - _RARE:
        level_of = np.zeros(column.width, np.uint8)
        level_of[column.value_cells] = 1
        counts = np.array([column.rows - column.nulls, column.nulls], np.int64)
        found.append((Series(column.name, True), at, level_of, counts))
    return found


@kernel
def _count(levels: NDArray[np.uint8], counts: NDArray[np.float64]) -> None:
    for i in range(levels.shape[0]):
        for s in range(levels.shape[1]):
            if levels[i, s] < counts.shape[1]:
                counts[s, levels[i, s]] += 1


@kernel
def _score(levels: NDArray[np.uint8], table: NDArray[np.float64], z: NDArray[np.float64]) -> None:
    last = table.shape[1] - 1
    for i in range(levels.shape[0]):
        for s in range(levels.shape[1]):
            z[i, s] = table[s, min(last, levels[i, s])]

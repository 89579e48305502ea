"""What a person sees of an episode: values before and after on a few bins, and the curve of the index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.distances import all_distances
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.psi import PsiBank, coarse_bins
from driftbus.detectors.reference import BINS
from driftbus.detectors.scores import ScoreTable
from driftbus.detectors.verdict import Transition
from driftbus.detectors.windows import SlidingWindows
from driftbus.schemas.events import Histogram

Picture = tuple[Histogram | None, tuple[float, ...]]
"""A histogram and a curve."""


class Illustrator:
    """Adds histogram and curve to transitions; reads the detectors, changes nothing.

    Args:
        profile: the reference, of c columns.
        table: the scores.
        bins: most coarse bins of a column.
        reference: per column, float64[k], reference counts on its coarse bins.
        windows: series 0..c-1 are the columns' coarse counts, c.. the scores' sums.
        index: the population stability index of the columns.
        first: first of the c series with the coarse counts to show: with a season others are judged.
    """

    def __init__(
        self,
        profile: Profile,
        table: ScoreTable,
        bins: int,
        reference: list[NDArray[np.float64]],
        windows: SlidingWindows,
        index: PsiBank,
        first: int = 0,
    ) -> None:
        self._profile, self._table, self._bins, self._reference = profile, table, bins, reference
        self._windows, self._index, self._first = windows, index, first
        self._number = {column.name: c for c, column in enumerate(profile.columns)}

    def illustrated(self, t: Transition) -> Transition:
        """A transition with what a person wants to see of it; unchanged when it is about no column."""
        column = self._number.get(t.column)
        if column is None:
            return t
        since = t.window_start_tick if t.status == "closed" else t.since_tick
        shown, curve = self.picture(t.column, t.aspect, t.what, since)
        at = self._places(column, shown)
        distances = {} if shown is None else all_distances(np.array(shown.reference), np.array(shown.current), at)
        return replace(t, histogram=shown, curve=curve, distances=distances)

    def picture(self, column: str, aspect: str, what: str, since: int) -> Picture:
        """Values of a column before, and after from a pane on, and the curve of its index.

        Args:
            column: its name; of no column there is nothing to see.
            aspect, what: of a quality the bins are rows that have it and others.
            since: pane of the change.
        """
        number = self._number.get(column)
        if number is None:
            return None, ()
        shown = self._shares(number, what, since) if aspect == "quality" else self._values(number, since)
        return shown, self._index.latest(number)

    def _places(self, column: int, shown: Histogram | None) -> NDArray[np.float64] | None:
        """Where the values of ordered bins lie."""
        profile = self._profile.columns[column]
        if shown is None or shown.categories or profile.kind != "numeric":
            return None
        return places(profile, self._bins)

    def _values(self, column: int, since: int) -> Histogram | None:
        reference = self._reference[column]
        if reference.size < 1 or not reference.any():
            return None
        current = self._windows.sums_since(0, self._first + column, since)[1]
        edges, names = labels(self._profile.columns[column], self._bins)
        return Histogram(edges, names, _integers(reference), _integers(current))

    def _shares(self, column: int, what: str, since: int) -> Histogram | None:
        """Of a quality: rows that have it, and rows that have it not."""
        for i, score in enumerate(self._table.scores):
            if score.column == column and score.what == what:
                n, sums = self._windows.sums_since(0, len(self._profile.columns) + i, since)
                had, size = float(self._table.ref_sum[i]), float(self._table.ref_n[i])
                reference, current = np.array([had, size - had]), np.array([sums[0], n - sums[0]])
                return Histogram((), (what, "others"), _integers(reference), _integers(current))
        return None


def labels(column: ColumnProfile, most: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Inner edges or names of a column's coarse bins; one of them is empty.

    Args:
        column: the column.
        most: coarse bins at most, as in `coarse_bins`.
    """
    coarse = coarse_bins(np.array(column.counts, np.int64), most)
    if column.kind == "numeric":
        # fine cell i ends with edge i - 1; the first cell, underflow, belongs to the first bin
        ends = [i for i in range(1, coarse.size - 2) if coarse[i] != coarse[i + 1]]
        edges = [column.edges[i - 1] for i in ends]
        if coarse[0] != coarse[1]:
            edges = [column.low, *edges]
        if coarse[-2] != coarse[-1]:
            edges = [*edges, column.high]
        return tuple(edges), ()
    fine = [*column.categories, "(others)"]
    names = []
    for b in range(int(coarse.max()) + 1):
        held = [fine[i] for i in np.flatnonzero(coarse == b) if i < column.bins or column.counts[i]]
        names.append(held[0] if len(held) == 1 else f"{held[0]} and {len(held) - 1} more")
    return (), tuple(names)


def places(column: ColumnProfile, most: int) -> NDArray[np.float64]:
    """Mean reference value of each coarse bin of a numeric column, in data units: float64[k].

    A fine bin's values are taken to lie in its middle; of a column with a bin for each value, at it.

    Args:
        column: the column.
        most: coarse bins at most, as in `coarse_bins`.
    """
    counts = np.array(column.counts, np.int64)
    upper = np.array([column.low, *column.edges, column.high, column.high])
    lower = np.array([column.low, column.low, *column.edges, column.high])
    at = upper if column.bins < BINS else (lower + upper) / 2
    coarse = coarse_bins(counts, most)
    held = np.bincount(coarse, weights=counts)
    return np.asarray(np.bincount(coarse, weights=counts * at) / np.maximum(held, 1), np.float64)


def _integers(counts: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(round(float(value)) for value in counts)

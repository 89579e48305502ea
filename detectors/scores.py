"""Scores: what the counts of a pane say about a column, as a few bounded numbers per value.

A numeric column has three scores per value, location, spread and skewness, from normal scores of its
ranks in the reference (van der Waerden, 1952; the third is the next orthogonal component of Neyman,
1937), so that any distribution looks normal and outliers are
harmless. Two-valued columns, single categories, nulls, invalid, unseen and out-of-range values
have 0/1 indicators. A pane is then (n, sum, M2) per score, from integer counts times a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.settings import Settings
from driftbus.schemas.kernel import kernel

LEAST_TAIL = 1 / (4 * 64)
"""Ranks nearer to 0 or 1 count as this one."""


NUMBERS = ("loc", "spr", "skw")
"""Names of the scores that are no shares."""


@dataclass(frozen=True, slots=True)
class Score:
    """One number per value of a column.

    Args:
        column: index of the column in the profile.
        name: unique inside the column: ``loc``, ``spr``, ``skw``, ``two``, ``is:<category>``, ``rest``,
            ``nulls``, ``invalid``, ``unseen``, ``range``.
        what: what has changed when its mean has.
        aspect: ``distribution`` or ``quality``.
        delta: undivided significance level.
        cells: cells of the column with a table value other than 0.
        table: the values, equally long.
        of_rows: whether it is a mean over all rows; else over values.
        category: the category it stands for, else "".
    """

    column: int
    name: str
    what: str
    aspect: str
    delta: float
    cells: tuple[int, ...]
    table: tuple[float, ...]
    of_rows: bool = False
    category: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it is a 0/1 indicator, whose mean is a share."""
        return self.name not in NUMBERS


def normal_scores(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Location and spread tables of ordered cells, uncapped.

    With u the reference mid-rank of a cell and B = 64, location is the standard normal quantile
    of clip(u, 1/4B, 1 - 1/4B) and spread its square, both standardised to mean 0 and variance 1
    under the reference. Distribution-free for continuous columns.

    Args:
        counts: int64[k], reference counts, at least two of them positive.

    Returns:
        float64[k] twice. Spread is all 0 where it cannot vary (two equally frequent values).
    """
    share = counts / counts.sum()
    rank = np.cumsum(share) - share / 2
    location = _standardised(ndtri(np.clip(rank, LEAST_TAIL, 1 - LEAST_TAIL)), share)
    return location, _standardised(location * location, share)


def skew_table(location: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubed location score, orthogonal to location and to its square: the third component.

    A shift or a change of spread leaves its mean nearly as it is, a change of skewness moves it.

    Args:
        location: float64[..., k], location scores of ordered cells.
        share: float64[..., k], reference shares of the cells.

    Returns:
        float64[..., k], of mean 0 and variance 1; all 0 where fewer than four different values leave it no room.
    """
    parts = [np.ones_like(location)]
    for power in (location, location**2, location**3):
        rest = power
        for part in parts:
            rest = rest - np.sum(rest * part * share, axis=-1, keepdims=True) * part
        size = np.sqrt(np.sum(rest * rest * share, axis=-1, keepdims=True))
        parts.append(np.where(size > 1e-6, rest / np.maximum(size, 1e-6), 0.0))
    return parts[3]


def capped(table: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """The table, shrunk so that no value exceeds `cap`.

    ADWIN's linear term assumes a range; a rare value's score would leave it.
    """
    largest = float(np.abs(table).max())
    return table * (cap / largest) if largest > cap else table


def column_scores(column: ColumnProfile, index: int, settings: Settings) -> list[Score]:
    """The scores of one column, in a fixed order."""
    values, share = column.value_cells, settings.delta_share
    scores = _numeric_scores(column, index, settings) if column.kind == "numeric" else []
    if column.kind == "categorical":
        scores = _category_scores(column, index, settings)
    for name, cell in (("nulls", values), ("invalid", values + 1)) if column.rows else ():
        scores.append(Score(index, name, name, "quality", share, (cell,), (1.0,), of_rows=True))
    return scores


def _numeric_scores(column: ColumnProfile, index: int, settings: Settings) -> list[Score]:
    scores: list[Score] = []
    bins, last = column.bins, column.bins + 1
    if column.values and bins == 2:
        scores.append(Score(index, "two", "shift", "distribution", settings.delta_share, (2, last), (1.0, 1.0)))
    elif column.values and bins > 2:
        counts = np.array(column.counts, np.int64)
        location, spread = normal_scores(counts)
        skew = skew_table(location, counts / counts.sum())
        for name, what, table, cap, delta in (
            ("loc", "shift", location, settings.cap_location, settings.delta_location),
            ("spr", "spread", spread, settings.cap_spread, settings.delta_spread),
            ("skw", "shape", skew, settings.cap_spread, settings.delta_skew),
        ):
            if name == "skw" and not skew.any():
                continue
            cells = tuple(range(column.value_cells))
            scores.append(Score(index, name, what, "distribution", delta, cells, tuple(capped(table, cap).tolist())))
    if column.values and (settings.range or bins <= 2):
        scores.append(Score(index, "range", "range", "quality", settings.delta_share, (0, last), (1.0, 1.0)))
    return scores


def _category_scores(column: ColumnProfile, index: int, settings: Settings) -> list[Score]:
    rest = column.counts[-1]
    watched = list(range(min(column.bins, settings.category_scores)))
    if rest == 0 and column.bins <= 2:
        watched = watched[1:]  # of two shares one says all; of one, unseen does
    delta = settings.delta_share * min(1.0, settings.category_free / max(1, len(watched) + (rest > 0)))
    scores = [
        Score(index, f"is:{name}", "category", "distribution", delta, (cell,), (1.0,), category=name)
        for cell, name in ((cell, column.categories[cell]) for cell in watched)
    ]
    if rest:
        scores.append(Score(index, "rest", "category", "distribution", delta, (column.bins,), (1.0,)))
    elif column.values:
        scores.append(Score(index, "unseen", "unseen", "quality", settings.delta_share, (column.bins,), (1.0,)))
    return scores


def _standardised(table: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = table - np.sum(table * share)
    variance = float(np.sum(centred * centred * share))
    return centred / np.sqrt(variance) if variance > 1e-12 else np.zeros_like(centred)


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of a profile, flat, for the kernels; s scores, e table entries, c columns.

    Args:
        scores: the scores, without their cells and tables.
        start: int64[s + 1], where the entries of a score begin.
        cell, value: int64[e], float64[e]: cell of the layout, and what a count there adds.
        column: int64[s].
        of_rows: bool[s].
        first, values, rows: int64[c]: first cell, cells of values, cells of rows of a column.
        delta: float64[s], divided significance level.
        ref_n, ref_sum, ref_m2: float64[s], the reference's moments.
    """

    scores: tuple[Score, ...]
    start: NDArray[np.int64]
    cell: NDArray[np.int64]
    value: NDArray[np.float64]
    column: NDArray[np.int64]
    of_rows: NDArray[np.bool_]
    first: NDArray[np.int64]
    values: NDArray[np.int64]
    rows: NDArray[np.int64]
    delta: NDArray[np.float64]
    ref_n: NDArray[np.float64]
    ref_sum: NDArray[np.float64]
    ref_m2: NDArray[np.float64]

    def moments(
        self,
        counts: NDArray[np.int64],
        n: NDArray[np.float64],
        total: NDArray[np.float64],
        m2: NDArray[np.float64],
        valid: NDArray[np.int64],
        value: NDArray[np.float64] | None = None,
    ) -> None:
        """Write (n, sum, M2) per score, float64[s] each, and values per column, int64[c], of a vector of counts.

        `value`, float64[e], takes the place of the table's own where a season has another.
        """
        _moments(
            counts, self.start, self.cell, self.value if value is None else value, self.column, self.of_rows,
            self.first, self.values, self.rows, n, total, m2, valid,
        )  # fmt: skip


@lru_cache(maxsize=256)
def score_table(profile: Profile, settings: Settings) -> ScoreTable:
    """The flat scores of a profile; groups of one profile share them."""
    layout = profile.layout()
    scores = tuple(s for i, column in enumerate(profile.columns) for s in column_scores(column, i, settings))
    sizes = [len(score.cells) for score in scores]
    cell = np.array([layout.offsets[score.column] + c for score in scores for c in score.cells], np.int64)
    zeros = np.zeros(len(scores))
    table = ScoreTable(
        # a monitor's score tables as Python floats would weigh more than its windows
        scores=tuple(replace(score, cells=(), table=()) for score in scores),
        start=np.cumsum([0, *sizes]).astype(np.int64),
        cell=cell,
        value=np.array([v for score in scores for v in score.table], np.float64),
        column=np.array([score.column for score in scores], np.int64),
        of_rows=np.array([score.of_rows for score in scores], np.bool_),
        first=layout.offsets,
        values=np.array([column.value_cells for column in profile.columns], np.int64),
        rows=layout.widths,
        delta=np.array([score.delta for score in scores], np.float64) / settings.divisor,
        ref_n=zeros,
        ref_sum=zeros.copy(),
        ref_m2=zeros.copy(),
    )
    valid = np.zeros(len(profile.columns), np.int64)
    table.moments(profile.reference_counts(), table.ref_n, table.ref_sum, table.ref_m2, valid)
    return table


@kernel
def _moments(
    counts: NDArray[np.int64],
    start: NDArray[np.int64],
    cell: NDArray[np.int64],
    value: NDArray[np.float64],
    column: NDArray[np.int64],
    of_rows: NDArray[np.bool_],
    first: NDArray[np.int64],
    values: NDArray[np.int64],
    rows: NDArray[np.int64],
    n: NDArray[np.float64],
    total: NDArray[np.float64],
    m2: NDArray[np.float64],
    valid: NDArray[np.int64],
) -> None:
    for c in range(first.size):
        valid[c] = 0
        for k in range(first[c], first[c] + values[c]):
            valid[c] += counts[k]
    for i in range(n.size):
        c = column[i]
        n[i] = valid[c]
        if of_rows[i]:
            for k in range(first[c] + values[c], first[c] + rows[c]):
                n[i] += counts[k]
        s = q = 0.0
        for e in range(start[i], start[i + 1]):
            k = counts[cell[e]]
            if k:
                s += k * value[e]
                q += k * value[e] * value[e]
        total[i] = s
        m2[i] = max(0.0, q - s * s / n[i]) if n[i] > 0 else 0.0

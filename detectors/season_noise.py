"""How much new days differ from what their slots expect: autocorrelation and differences between days.

Scores of the reference are made anew with each day left out of its own slots, so that the error of
a slot's reference is in them. They run through the estimators of `driftbus.detectors.ordered`. What
moves a whole day is learned too rarely there (one contrast a day, clipped), so the mean square of
the days' own means is added as a step of a day's length. Known bias: a change inside the reference
passes for a difference between days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from driftbus.detectors.longrun import LongRun
from driftbus.detectors.ordered import PSI_PANE, designs_of, longrun_of_values
from driftbus.detectors.profile import ColumnProfile
from driftbus.detectors.scores import column_scores
from driftbus.detectors.seasonal import coarse_offsets, is_ranked, rank_spans, score_of_slots, spread_over
from driftbus.detectors.settings import Settings

SIGNIFICANCE = 4.0
UPPER = 0.75
"""Days are few: their variance is taken at this upper confidence bound."""


def season_longrun(
    column: ColumnProfile,
    cells: NDArray[np.int64],
    of_row: NDArray[np.int64],
    day: NDArray[np.int64],
    values: NDArray[np.float64],
    presence: NDArray[np.float64],
    *,
    ordered: bool,
    thinning: float,
) -> tuple[LongRun, ...]:
    """Long-run variances of a column's seasonal scores and of its index.

    Args:
        column: its reference.
        cells: int64[n], cell of each row, in time order.
        of_row, day: int64[n], block (hour of a day) and day of each row.
        values, presence: float64[blocks, cells], float64[blocks, 3], shares expected from other days.
        ordered: whether no row is missing between others; else only days are compared.
        thinning: rows of the stream for one row here.
    """
    settings, vc = Settings(pane_ms=1), column.value_cells
    found: list[LongRun | None] = []
    for score in column_scores(column, 0, settings):
        table, offset = score_of_slots(score, column, values, presence, settings)
        dense = np.zeros((values.shape[0], column.width))
        dense[:, list(score.cells)] = table
        kept = cells < (column.width if score.of_rows else vc)
        x = dense[of_row[kept], cells[kept]] - offset[of_row[kept]]
        run = longrun_of_values(score.name, x) if ordered else None
        variance = float(x.var()) if x.size else 0.0
        length, between, _ = _between_days(x[:, None], day[kept], np.array([max(variance, 1e-12)]))
        found.append(_with_day(run, score.name, length, between, variance, thinning, ()))
    kept = cells < vc
    rows, share = _coarse_rows(column, values, of_row[kept], cells[kept], settings)
    if rows.shape[0] < PSI_PANE or share.size < 2:
        return tuple(run for run in found if run is not None)
    panes = rows.shape[0] // PSI_PANE
    blocks = rows[: panes * PSI_PANE].reshape(panes, PSI_PANE, -1).sum(axis=1)
    designs: Sequence[LongRun | None] = designs_of(column, blocks, share[None, :], settings) if ordered else []
    length, between, freedom = _between_days(rows - share, day[kept], share * (share.size - 1) / share.size)
    by_name = {run.score: run for run in designs if run is not None}
    for name in ("psi", "ks", "tv", "wasserstein") if column.kind == "numeric" else ("psi", "tv"):
        found.append(_with_day(by_name.get(name), name, length, between, 1.0, thinning, (freedom,)))
    return tuple(run for run in found if run is not None)


def _coarse_rows(
    column: ColumnProfile,
    values: NDArray[np.float64],
    of_row: NDArray[np.int64],
    cells: NDArray[np.int64],
    settings: Settings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coarse counts of each value as its slot has them, float64[n, k], and the reference's shares, float64[k]."""
    if is_ranked(column, settings):
        begin, end = rank_spans(values, settings.psi_bins)
        rows = spread_over(begin[of_row, cells], end[of_row, cells], settings.psi_bins)
        return rows, np.full(settings.psi_bins, 1 / settings.psi_bins)
    coarse, offset = coarse_offsets(column, values, settings)
    whole = np.bincount(coarse, weights=np.array(column.counts, np.float64))
    return np.eye(offset.shape[1])[coarse[cells]] - offset[of_row], whole / max(1.0, float(whole.sum()))


def _between_days(
    rows: NDArray[np.float64], day: NDArray[np.int64], scale: NDArray[np.float64]
) -> tuple[float, float, float]:
    """How much days differ: (rows of a day, variance of their means times that, degrees of freedom); else zeros.

    Args:
        rows: float64[n, k], of mean 0 where days do not differ.
        day: int64[n], from 0.
        scale: float64[k], variance of a row; the result is relative to it, averaged over k.
    """
    n = np.bincount(day)
    days = np.flatnonzero(n >= 0.5 * np.median(n[n > 0])) if day.size else np.zeros(0, np.int64)
    if days.size < 4:
        return 0.0, 0.0, 1.0
    sums = np.stack([np.bincount(day, weights=column) for column in rows.T], axis=1)[days]
    size = n[days].astype(np.float64)[:, None]
    centred = sums / size - sums.sum(axis=0) / size.sum()
    k = scale.size
    q = (size * centred * centred / np.maximum(scale, 1e-12)).sum(axis=1) / k
    mean, count = float(q.mean()), days.size
    freedom = float(np.clip(2 * mean * mean / max(float(q.var()), 1e-12), 1.0, max(1, k - 1)))
    if mean <= 1 + SIGNIFICANCE * np.sqrt(2 / (count * max(1, k - 1))):
        return 0.0, 0.0, 1.0
    degrees = (count - 1) * freedom
    return float(np.median(size)), mean * degrees / float(chdtri(degrees, UPPER)), freedom


def _with_day(
    run: LongRun | None,
    score: str,
    length: float,
    between: float,
    variance: float,
    thinning: float,
    freedom: tuple[float, ...],
) -> LongRun | None:
    """The steps, and one of a day's length where days differ by more than finer steps tell."""
    if length <= 0:
        return run
    run = run or LongRun(score, (), (), ())
    length, largest = length * thinning, variance * (1 + (between - 1) * thinning)
    if run.variances and largest <= run.variances[-1] * min(1.0, length / run.lengths[-1]):
        return run
    return replace(
        run,
        lengths=(*run.lengths, length),
        variances=(*run.variances, largest),
        freedom=(*run.freedom, *freedom),
    )

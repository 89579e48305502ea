"""What a slot's own reference makes of scores and of the index: tables per slot instead of one.

Numeric columns of more than two values get location and spread scores from the slot's own ranks.
Shares are centred: an indicator's sum over n values loses n (expected share of the slot - share of
the whole), so that it goes on to read as a share. The index of a column of many values is that of
its ranks inside the slot, which are uniform without drift; of few values or categories, coarse
counts are centred like shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from driftbus.detectors import psi
from driftbus.detectors.eigen import product
from driftbus.detectors.profile import ColumnProfile
from driftbus.detectors.scores import LEAST_TAIL, Score, normal_scores, skew_table
from driftbus.detectors.settings import Settings


def slot_tables(share: NDArray[np.float64], settings: Settings) -> dict[str, NDArray[np.float64]]:
    """Location, spread and skewness tables of every slot, capped; `driftbus.detectors.scores.normal_scores` row by row.

    Args:
        share: float64[slots, k], expected shares of ordered cells.
        settings: has the caps.

    Returns:
        Name of the score → float64[slots, k].
    """
    rank = np.cumsum(share, axis=1) - share / 2
    location = _standardised(ndtri(np.clip(rank, LEAST_TAIL, 1 - LEAST_TAIL)), share)
    spread = _standardised(location * location, share)
    return {
        "loc": _capped(location, settings.cap_location),
        "spr": _capped(spread, settings.cap_spread),
        "skw": _capped(skew_table(location, share), settings.cap_spread),
    }


def score_of_slots(
    score: Score,
    column: ColumnProfile,
    values: NDArray[np.float64],
    presence: NDArray[np.float64],
    settings: Settings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A score's table in every slot, and what is subtracted per value.

    Args:
        score: with its cells and table.
        column: its reference.
        values: float64[slots, cells of values], expected shares among the values.
        presence: float64[slots, 3], expected shares of values, nulls and invalid ones among the rows.
        settings: the constants.

    Returns:
        float64[slots, cells of the score], float64[slots].
    """
    slots = values.shape[0]
    if not score.is_share:
        table = slot_tables(values, settings)[score.name]
        return table[:, list(score.cells)], np.zeros(slots)
    table = np.broadcast_to(np.array(score.table), (slots, len(score.cells)))
    if score.of_rows:
        cells = [cell - column.value_cells + 1 for cell in score.cells]
        reference = np.array([column.values, column.nulls, column.invalid]) / max(1, column.rows)
        return table, presence[:, cells].sum(axis=1) - reference[cells].sum()
    counts = np.array(column.counts) / max(1, column.values)
    return table, values[:, list(score.cells)].sum(axis=1) - counts[list(score.cells)].sum()


def order_of(column: ColumnProfile) -> NDArray[np.float64] | None:
    """Normal scores of a column's cells of values; None where they have no order, or are two."""
    if column.kind != "numeric" or column.bins <= 2:
        return None
    return normal_scores(np.array(column.counts, np.int64))[0]


def is_ranked(column: ColumnProfile, settings: Settings) -> bool:
    """Whether the index of a seasonal column is that of ranks inside the slot: numbers of many values."""
    return column.kind == "numeric" and column.bins > settings.psi_bins


def rank_spans(share: NDArray[np.float64], bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each cell's ranks inside its slot begin and end, in units of `bins` equal parts.

    Args:
        share: float64[slots, k], expected shares of ordered cells.
        bins: number of parts.

    Returns:
        float64[slots, k] twice, 0 to bins; equal where a cell is expected to be empty.
    """
    end = np.minimum(np.cumsum(share, axis=1), 1.0)
    end[:, -1] = 1.0
    begin = np.concatenate([np.zeros((share.shape[0], 1)), end[:, :-1]], axis=1)
    end = np.where(share > 0, end, begin)
    return begin * bins, end * bins


def spread_over(begin: NDArray[np.float64], end: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """float64[n, bins]: one value per row, spread evenly over its ranks, from begin to end, float64[n] each."""
    parts = np.arange(bins)
    overlap = np.minimum(end[:, None], parts + 1) - np.maximum(begin[:, None], parts)
    width = end - begin
    spread = np.maximum(overlap, 0.0) / np.maximum(width, 1e-12)[:, None]
    point = np.minimum(begin, bins - 1).astype(np.int64)[:, None] == parts
    return np.asarray(np.where((width > 1e-12)[:, None], spread, point))


def coarse_offsets(
    column: ColumnProfile, values: NDArray[np.float64], settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of a column that is not ranked: coarse bin of each cell, int64[k], and float64[slots, bins], what is
    subtracted per value: the expected share of a coarse bin in the slot minus that in the whole."""
    counts = np.array(column.counts, np.int64)
    coarse = psi.coarse_bins(counts, settings.psi_bins)
    fold = np.eye(int(coarse.max()) + 1)[coarse]
    return coarse, product(values - counts / max(1, counts.sum()), fold)


def _standardised(table: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = table - np.sum(table * share, axis=1, keepdims=True)
    variance = np.sum(centred * centred * share, axis=1, keepdims=True)
    return np.where(variance > 1e-12, centred / np.sqrt(np.maximum(variance, 1e-12)), 0.0)


def _capped(table: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    largest = np.abs(table).max(axis=1, keepdims=True)
    return np.asarray(table * np.minimum(1.0, cap / np.maximum(largest, 1e-12)))

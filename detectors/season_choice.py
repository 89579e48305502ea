"""Which season a reference has, by how well it predicts the days that it was not made from.

Every day is predicted from the other days: by one histogram for all hours, and by one per hour of
the day, per hour of weekdays and weekend days, per hour of the week. The gain in log-likelihood per
day is a paired sample; a finer kind is taken only where its mean gain over the best coarser one is
significant (one-sided t-test, level .001). How strongly a slot leans on the coarser kind is chosen
by the same score (empirical Bayes on a grid). Source: Geisser (1975), "The predictive sample reuse
method with applications", JASA 70. Known bias: days are taken as independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from driftbus.detectors.parts import cells_of
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.reference import CategoryData, NumericData
from driftbus.detectors.season_noise import season_longrun
from driftbus.detectors.seasonal import order_of
from driftbus.detectors.seasons import (
    KINDS,
    SLOT_OF,
    SLOTS,
    WEEK_HOURS,
    ColumnSeason,
    Season,
    SeasonKind,
    local_hours,
    shares_of,
    zone_of,
)
from driftbus.detectors.summary import pack_counts
from driftbus.schemas.config import SeasonConfig

LEAST_DAYS: dict[SeasonKind, int] = {"none": 0, "hour_of_day": 7, "day_type": 21, "hour_of_week": 21}
"""Local days with rows that a kind needs before it is considered."""

MOST_DAYS = 400
"""Days looked at, the latest ones."""

WEIGHTS = (4, 16, 64, 256)
LEVEL = 1e-3
_LEAST_HOURS = 4


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The rows of the reference by local day and hour; b blocks, ordered by time.

    Args:
        of_row: int64[n], block of each row that is used.
        rows: int64[n], those rows.
        day: int64[b], number of the day, from 0.
        hour: int64[b], hour of the week.
        days: number of days.
    """

    of_row: NDArray[np.int64]
    rows: NDArray[np.int64]
    day: NDArray[np.int64]
    hour: NDArray[np.int64]
    days: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """A kind, its weight, its gain per value in nats and that gain's t statistic."""

    kind: SeasonKind = "none"
    weight: int = 0
    gain: float = 0.0
    t: float = 0.0


def with_season(
    profile: Profile,
    columns: Mapping[str, NumericData | CategoryData],
    time_ms: NDArray[np.int64],
    config: SeasonConfig,
    *,
    ordered: bool,
    thinning: float = 1.0,
) -> Profile:
    """The profile with a season, or with the reason why it has none.

    Args:
        profile: of all rows.
        columns: name → reference rows, n each, as it was made from.
        time_ms: int64[n], event times, negative where unknown.
        config: kind and time zone.
        ordered: whether all rows are there, in time order; then autocorrelation of the seasonal scores
            is learned. Of a sample it can't be.
        thinning: rows of the stream for one row here.

    Raises:
        ConfigError: there is no such time zone.
    """
    if config.kind == "none":
        return replace(profile, season=None)
    blocks = _blocks_of(time_ms, config.time_zone)
    kinds, reason = _candidates(blocks, config.kind)
    if not kinds:
        return replace(profile, season=Season(config.time_zone, blocks.days, (), reason))
    found: list[ColumnSeason] = []
    told: list[tuple[float, str]] = []
    for column in profile.columns:
        data = columns[column.name]
        cells = cells_of(column, data)
        if cells.size != time_ms.size:
            continue
        season, choice = _season_of(column, cells[blocks.rows], blocks, kinds, config.kind != "auto", ordered, thinning)
        if season is not None:
            found.append(season)
            told.append(
                (choice.gain, f"{column.name} {season.finest} (gain {choice.gain:.2g} nats a value, t {choice.t:.1f})")
            )
    return replace(
        profile, season=Season(config.time_zone, blocks.days, tuple(found), _reason(found, told, blocks.days, config))
    )


def _reason(found: Sequence[ColumnSeason], told: list[tuple[float, str]], days: int, config: SeasonConfig) -> str:
    if not found:
        return f"{days} days of reference, no column has a significant cycle"
    best = "; ".join(text for _, text in sorted(told, key=lambda each: (-each[0], each[1]))[:3])
    more = "" if len(told) <= 3 else f"; and {len(told) - 3} more"
    how = "configured" if config.kind != "auto" else "found"
    return f"{how} in {days} days ({config.time_zone}): {best}{more}"


def _blocks_of(time_ms: NDArray[np.int64], time_zone: str) -> _Blocks:
    rows = np.flatnonzero(time_ms >= 0)
    days, hours = local_hours(time_ms[rows], zone_of(time_zone))
    if rows.size:
        kept = days >= np.unique(days)[-MOST_DAYS:][0]
        rows, days, hours = rows[kept], days[kept], hours[kept]
    keys, of_row = np.unique(days * WEEK_HOURS + hours, return_inverse=True)
    names, day = np.unique(keys // WEEK_HOURS, return_inverse=True)
    return _Blocks(of_row.astype(np.int64), rows, day.astype(np.int64), keys % WEEK_HOURS, names.size)


def _candidates(blocks: _Blocks, kind: str) -> tuple[list[SeasonKind], str]:
    """Kinds to consider, or why there are none."""
    if blocks.days == 0:
        return [], "the times of the reference rows are not known"
    if np.median(np.bincount(blocks.day)) < _LEAST_HOURS:
        return [], "the reference rows are too far apart for hours"
    if kind != "auto":
        return ([k for k in KINDS if k == kind], "") if blocks.days >= 2 else ([], "one day of reference, 2 are needed")
    kinds = [k for k in KINDS[1:] if blocks.days >= LEAST_DAYS[k]]
    days = f"{blocks.days} day{'s' if blocks.days > 1 else ''} of reference"
    return kinds, "" if kinds else f"{days}, {LEAST_DAYS['hour_of_day']} are needed"


def _season_of(
    column: ColumnProfile,
    cells: NDArray[np.int64],
    blocks: _Blocks,
    kinds: Sequence[SeasonKind],
    forced: bool,
    ordered: bool,
    thinning: float,
) -> tuple[ColumnSeason | None, _Choice]:
    width, vc, size = column.width, column.value_cells, blocks.day.size
    counts = np.bincount(blocks.of_row * width + cells, minlength=size * width).reshape(size, width).astype(np.float64)
    present = np.stack([counts[:, :vc].sum(axis=1), counts[:, vc], counts[:, vc + 1]], axis=1)
    values = _choose(counts[:, :vc], blocks, kinds, forced, order_of(column)) if column.values else _Choice()
    presence = _choose(present, blocks, kinds, False) if column.nulls + column.invalid and column.values else _Choice()
    if values.kind == presence.kind == "none":
        return None, values
    finest = max(values.kind, presence.kind, key=KINDS.index)
    histograms = np.zeros((SLOTS[finest], width))
    np.add.at(histograms, SLOT_OF[finest][blocks.hour], counts)
    packed, bytes_each = pack_counts(histograms.astype(np.int64).reshape(-1))
    season = ColumnSeason(
        column.name, values.kind, values.weight, presence.kind, presence.weight, width, bytes_each, packed
    )
    expected = (
        _left_out(counts[:, :vc], blocks, season.kind, season.weight, order_of(column)),
        _left_out(present, blocks, season.presence, season.presence_weight),
    )
    order = np.argsort(blocks.rows, kind="stable")
    of_row = blocks.of_row[order]
    longrun = season_longrun(
        column, cells[order], of_row, blocks.day[of_row], *expected, ordered=ordered, thinning=thinning
    )
    return replace(season, longrun=longrun), values if values.kind != "none" else presence


def _choose(
    counts: NDArray[np.float64],
    blocks: _Blocks,
    kinds: Sequence[SeasonKind],
    forced: bool,
    scores: NDArray[np.float64] | None = None,
) -> _Choice:
    """The kind that predicts best.

    Args:
        counts: float64[b, cells].
        blocks: the hours.
        kinds: candidates, from coarse to fine.
        forced: whether the last of them is taken without evidence.
        scores: float64[cells], normal scores of ordered cells.
    """
    best, best_days = _Choice(), _gains(counts, blocks, "none", 0, scores)
    for kind in kinds:
        tried = [(_gains(counts, blocks, kind, weight, scores), weight) for weight in WEIGHTS]
        days, weight = max(tried, key=lambda each: float(each[0].sum()))
        gain = days - best_days
        deviation = float(gain.std(ddof=1)) if gain.size > 1 else 0.0
        t = float(gain.mean()) / max(deviation / np.sqrt(gain.size), 1e-9 * max(1.0, float(abs(best_days).mean())))
        if forced or t > float(stdtrit(max(1, gain.size - 1), 1 - LEVEL)):
            best = _Choice(kind, weight, best.gain + float(gain.sum()) / max(1.0, float(counts.sum())), t)
            best_days = days
    return best


def _gains(
    counts: NDArray[np.float64],
    blocks: _Blocks,
    kind: SeasonKind,
    weight: int,
    scores: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """float64[days], log-likelihood of each day, predicted from the others."""
    share = _left_out(counts, blocks, kind, weight, scores)
    held = np.where(counts > 0, counts * np.log(np.maximum(share, 1e-12)), 0.0).sum(axis=1)
    return np.asarray(np.bincount(blocks.day, weights=held, minlength=blocks.days), np.float64)


def _left_out(
    counts: NDArray[np.float64],
    blocks: _Blocks,
    kind: SeasonKind,
    weight: int,
    scores: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """float64[b, cells], shares expected in each block from all other days."""
    hours = np.zeros((WEEK_HOURS, counts.shape[1]))
    np.add.at(hours, blocks.hour, counts)
    of_day = np.zeros((blocks.days, counts.shape[1]))
    np.add.at(of_day, blocks.day, counts)
    whole = hours.sum(axis=0)[None, :] - of_day[blocks.day]
    return shares_of(hours, blocks.hour, kind, weight, scores=scores, without=counts, whole=whole)

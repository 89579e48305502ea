"""The slots of a group: which tables a pane is read with, and how well they are known.

A slot's reference comes from few days. Where a visit to a slot brings n values and the slot's
reference holds m, means over visits vary by 1 + n / m times what the values alone would make them;
this floor of the long-run variance (for the index: of the design effect) is kept here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.scores import ScoreTable, column_scores, score_table
from driftbus.detectors.seasonal import coarse_offsets, is_ranked, order_of, rank_spans, score_of_slots
from driftbus.detectors.seasons import (
    DAY_MS,
    HOUR_MS,
    KINDS,
    SLOT_OF,
    SLOTS,
    WEEK_HOURS,
    ColumnSeason,
    SeasonKind,
    hour_of_week,
    shares_of,
    zone_of,
)
from driftbus.detectors.settings import Settings
from driftbus.schemas.kernel import kernel

_MOST_VISITS = 1_000.0
_MOST_NOISE = 4.0
_QUARTER_MS = 900_000
_VISITS, _ROWS, _SLOT, _USUAL, _TICK = range(5)


@dataclass(frozen=True, slots=True)
class SeasonTables:
    """A profile read by slots; s scores with e entries, c columns, t cells, k coarse channels, h slots.

    Args:
        slot_of: int64[168], slot of each hour of the week.
        table: the scores: levels and reference moments of the seasonal ones are those of their slots.
        value: float64[h, e], what a count in an entry's cell adds.
        offset: float64[h, s], what is subtracted per value of a score.
        begin, end: float32[h, t], where the ranks of a cell begin and end; ranked columns only.
        first: int64[t], first channel of the column where it is ranked, else -1.
        coarse_offset: float64[h, k], what is subtracted per value of a column.
        column_of: int64[k], column of a channel.
        coarse: per column, float64[], reference counts by channel.
        bins: channels of a ranked column.
        seasonal: bool[c].
        of_score: bool[s], whether its column is seasonal.
        variance: float64[s], of a value in the slot where it is largest: a share's is another in each slot.
        known: float64[c], reference values behind a slot.
    """

    slot_of: NDArray[np.int64]
    table: ScoreTable
    value: NDArray[np.float64]
    offset: NDArray[np.float64]
    begin: NDArray[np.float32]
    end: NDArray[np.float32]
    first: NDArray[np.int64]
    coarse_offset: NDArray[np.float64]
    column_of: NDArray[np.int64]
    coarse: list[NDArray[np.float64]]
    bins: int
    seasonal: NDArray[np.bool_]
    of_score: NDArray[np.bool_]
    variance: NDArray[np.float64]
    known: NDArray[np.float64]


def season_tables(profile: Profile, settings: Settings, coarse: list[NDArray[np.float64]]) -> SeasonTables | None:
    """The tables of a profile's season; None where it has none, or panes are longer than its slots.

    Args:
        profile, settings: of the group.
        coarse: per column, float64[], reference counts on coarse bins without a season.
    """
    if profile.season is None or not profile.season.columns or not settings.season or settings.pane_ms > HOUR_MS:
        return None
    return _season_tables(profile, settings, tuple(counts.tobytes() for counts in coarse))


@lru_cache(maxsize=64)
def _season_tables(profile: Profile, settings: Settings, coarse_bytes: tuple[bytes, ...]) -> SeasonTables:
    assert profile.season is not None
    seasons = {column.column: column for column in profile.season.columns}
    finest: SeasonKind = max((each.finest for each in seasons.values()), key=KINDS.index)
    hours = np.unique(SLOT_OF[finest], return_index=True)[1]  # an hour of the week in each slot
    base, layout = score_table(profile, settings), profile.layout()
    coarse = [np.frombuffer(counts) for counts in coarse_bytes]
    value = np.repeat(base.value[None, :], hours.size, axis=0)
    offset = np.zeros((hours.size, len(base.scores)))
    begin = np.zeros((hours.size, layout.total), np.float32)
    end, first = np.zeros_like(begin), np.full(layout.total, -1, np.int64)
    coarse_offset: list[NDArray[np.float64]] = []
    seasonal, known = np.zeros(len(profile.columns), np.bool_), np.ones(len(profile.columns))
    delta, moments = base.delta.copy(), [base.ref_sum.copy(), base.ref_m2.copy()]
    noisiest = np.zeros(len(base.scores))
    channel = 0
    for c, column in enumerate(profile.columns):
        season = seasons.get(column.name)
        here = coarse[c]
        if season is None:
            coarse_offset.append(np.zeros((hours.size, max(1, here.size))))
            channel += max(1, here.size)
            continue
        seasonal[c] = True
        values, presence, known[c] = _expected(season, column, hours)
        which = [i for i, score in enumerate(base.scores) if score.column == c]
        for i, score in zip(which, column_scores(column, c, settings), strict=True):
            table, shift = score_of_slots(score, column, values, presence, settings)
            value[:, base.start[i] : base.start[i + 1]], offset[:, i] = table, shift
            delta[i] = min(delta[i], settings.delta_season / settings.divisor)
            if score.is_share:
                share = np.clip(shift + base.ref_sum[i] / max(1.0, float(base.ref_n[i])), 0.0, 1.0)
                noisiest[i] = np.max(share * (1 - share))
            else:  # of mean 0 in every slot
                variance = (values[:, list(score.cells)] * table * table).sum(axis=1).mean()
                moments[0][i], moments[1][i], noisiest[i] = 0.0, base.ref_n[i] * variance, variance
        span = slice(layout.offsets[c], layout.offsets[c] + column.value_cells)
        if is_ranked(column, settings):
            begin[:, span], end[:, span] = rank_spans(values, settings.psi_bins)
            first[span] = channel
            here = coarse[c] = np.full(settings.psi_bins, column.values / settings.psi_bins)
            coarse_offset.append(np.zeros((hours.size, here.size)))
        else:
            coarse_offset.append(coarse_offsets(column, values, settings)[1])
        channel += max(1, here.size)
    sizes = [max(1, counts.size) for counts in coarse]
    return SeasonTables(
        slot_of=SLOT_OF[finest],
        table=replace(base, delta=delta, ref_sum=moments[0], ref_m2=moments[1]),
        value=np.ascontiguousarray(value),
        offset=offset,
        begin=begin,
        end=end,
        first=first,
        coarse_offset=np.concatenate(coarse_offset, axis=1),
        column_of=np.repeat(np.arange(len(sizes)), sizes),
        coarse=coarse,
        bins=settings.psi_bins,
        seasonal=seasonal,
        of_score=seasonal[base.column],
        variance=np.minimum(noisiest, _MOST_NOISE * moments[1] / np.maximum(base.ref_n, 1.0)),
        known=known,
    )


def _expected(
    season: ColumnSeason, column: ColumnProfile, hours: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Expected shares of values and of presence in some hours of the week, and values known of a slot."""
    finest, vc = season.finest, column.value_cells
    histograms = np.zeros((WEEK_HOURS, column.width))
    # all that is known of a slot stands at its first hour: coarser kinds sum over hours, finer ones are not asked for
    histograms[np.unique(SLOT_OF[finest], return_index=True)[1]] = season.histograms()
    present = np.stack([histograms[:, :vc].sum(axis=1), histograms[:, vc], histograms[:, vc + 1]], axis=1)
    values = shares_of(histograms[:, :vc], hours, season.kind, season.weight, scores=order_of(column))
    presence = shares_of(present, hours, season.presence, season.presence_weight)
    kind = season.kind if season.kind != "none" else season.presence
    weight = season.weight if season.kind != "none" else season.presence_weight
    sums = np.zeros(SLOTS[kind])
    np.add.at(sums, SLOT_OF[kind], present.sum(axis=1))
    held = sums[sums > 0]
    return values, presence, float(1 / np.mean(1 / (held + weight))) if held.size else 1.0


class SeasonClock:
    """Where in the season a group is; measures its panes.

    Args:
        tables: of the profile.
        profile, settings: of the group.
    """

    def __init__(self, tables: SeasonTables, profile: Profile, settings: Settings) -> None:
        assert profile.season is not None
        self.tables, self._pane_ms, self._zone = tables, settings.pane_ms, zone_of(profile.season.time_zone)
        self._state = np.array([0.0, 0.0, -1.0, 0.0, 0.0])
        self._latest = -1, (0, 0, 1.0)  # tick and its slots
        self._alarmed = np.full(2 * tables.seasonal.size, -1, np.int64)

    def slots(self, tick: int) -> tuple[int, int, float]:
        """The slots of a pane's first and last millisecond, and the share of the pane that is in the first."""
        if self._latest[0] != tick:
            self._latest = tick, self._slots(tick)
        return self._latest[1]

    def _slots(self, tick: int) -> tuple[int, int, float]:
        start, length, zone = tick * self._pane_ms, self._pane_ms, self._zone
        first = hour_of_week(start, zone)
        last = hour_of_week(start + length - 1, zone)
        slot, after = int(self.tables.slot_of[first]), int(self.tables.slot_of[last])
        # zones are ahead of UTC by whole quarters of an hour: that is where a local hour can begin
        low = next(
            (
                ms
                for ms in range(start // _QUARTER_MS * _QUARTER_MS + _QUARTER_MS, start + length, _QUARTER_MS)
                if hour_of_week(ms, zone) != first
            ),
            start + length,
        )
        return slot, after, (low - start) / length

    def visit(self, tick: int, rows: int) -> bool:
        """Take note of a pane; whether `floor` has changed: at each begin of a slot, and all along the first."""
        slot, state = float(self.slots(tick)[0]), self._state
        # a stream of one batch a day is in the same slot again
        begun = bool(slot != state[_SLOT] or (tick - state[_TICK]) * self._pane_ms > HOUR_MS)
        state[_TICK] = tick
        if begun:
            if state[_VISITS] > 0:
                state[_USUAL] = state[_ROWS] / state[_VISITS]
            if state[_VISITS] >= _MOST_VISITS:
                state[:_SLOT] /= 2
            state[_VISITS] += 1
            state[_SLOT] = slot
        state[_ROWS] += rows
        if state[_VISITS] > 1:
            return begun
        state[_USUAL] = state[_ROWS]
        return True

    def held(self, tick: int, alarms: Collection[int], is_open: NDArray[np.bool_]) -> set[int]:
        """Numbers of episodes of seasonal columns that alarmed within a day: what a day brings back is not over.

        Args:
            tick: the pane.
            alarms: numbers of episodes with an alarm in it.
            is_open: bool[w, c], alarms of the index that are on.
        """
        self._alarmed[list(alarms)] = tick
        self._alarmed[0::2][is_open.any(axis=0)] = tick
        recent = (self._alarmed >= 0) & (self._alarmed > tick - DAY_MS // self._pane_ms)
        return {int(number) for number in np.flatnonzero(recent & np.repeat(self.tables.seasonal, 2))}

    def floor(self) -> NDArray[np.float64]:
        """float64[c], by how much the references' own errors raise the variance of means; 1 without a season."""
        return np.where(self.tables.seasonal, 1 + self._state[_USUAL] / self.tables.known, 1.0)

    def moments(
        self,
        tick: int,
        counts: NDArray[np.int64],
        n: NDArray[np.float64],
        total: NDArray[np.float64],
        m2: NDArray[np.float64],
        valid: NDArray[np.int64],
    ) -> None:
        """`ScoreTable.moments` by the tables of the pane's slot."""
        tables = self.tables
        tables.table.moments(counts, n, total, m2, valid, self._mixed(tick, tables.value))
        total -= n * self._mixed(tick, tables.offset)

    def fold(
        self,
        tick: int,
        counts: NDArray[np.int64],
        valid: NDArray[np.int64],
        channel: NDArray[np.int64],
        sums: NDArray[np.float64],
    ) -> None:
        """Coarse counts of a pane, float64[k], as the slot's reference has them."""
        tables = self.tables
        begin, end = self._mixed(tick, tables.begin), self._mixed(tick, tables.end)
        _fold(counts, channel, tables.first, begin, end, tables.bins, sums)
        sums -= valid[tables.column_of] * self._mixed(tick, tables.coarse_offset)

    def _mixed(self, tick: int, of_slots: NDArray[Any]) -> NDArray[Any]:
        """The row of a pane's slot; of a pane in two slots the mean, by their shares."""
        slot, after, share = self.slots(tick)
        if slot == after or share >= 1:
            return np.asarray(of_slots[slot])
        return np.asarray(
            of_slots[slot] * of_slots.dtype.type(share) + of_slots[after] * of_slots.dtype.type(1 - share)
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"state": self._state, "alarmed": self._alarmed}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._state, self._alarmed = arrays["state"], arrays["alarmed"]


@kernel
def _fold(
    counts: NDArray[np.int64],
    channel: NDArray[np.int64],
    first: NDArray[np.int64],
    begin: NDArray[np.float32],
    end: NDArray[np.float32],
    bins: int,
    sums: NDArray[np.float64],
) -> None:
    for k in range(sums.size):
        sums[k] = 0.0
    for t in range(counts.size):
        if counts[t] == 0:
            continue
        if first[t] < 0:
            if channel[t] >= 0:
                sums[channel[t]] += counts[t]
            continue
        low, high = float(begin[t]), float(end[t])
        part = min(int(low), bins - 1)
        if high - low < 1e-6:
            sums[first[t] + part] += counts[t]
            continue
        while part < bins and part < high:
            share = (min(high, part + 1.0) - max(low, float(part))) / (high - low)
            sums[first[t] + part] += counts[t] * share
            part += 1

"""When the rows of a file happened, in which order they are replayed, and a pane that suits their rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import MISSING_TIME
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.jsonlines import iso_utc
from driftbus.stream.files.survey import Wishes, find_time
from driftbus.stream.files.table import Table
from driftbus.stream.files.timecells import TimeForm, guess_time, times

YEAR_2000_MS = 946_684_800_000
"""Row 0 happens here when rows get times of their own."""

ROWS_PER_PANE = 32
"""What detection was tuned with: more rows delay it, fewer cost time."""

_S, _MIN, _H, _D = 1_000, 60_000, 3_600_000, 86_400_000
NICE_MS = (
    1, 2, 5, 10, 20, 50, 100, 200, 500,
    _S, 2 * _S, 5 * _S, 10 * _S, 15 * _S, 20 * _S, 30 * _S,
    _MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 15 * _MIN, 20 * _MIN, 30 * _MIN,
    _H, 2 * _H, 3 * _H, 4 * _H, 6 * _H, 8 * _H, 12 * _H,
    _D, 2 * _D, 7 * _D, 14 * _D, 28 * _D, 91 * _D, 364 * _D,
)  # fmt: skip
"""Durations that people read easily."""

_FEW_LATE = 0.001
_LATE_ROWS = 10


@dataclass(slots=True)
class Timeline:
    """Event times of the rows, in the order in which they are replayed.

    Attributes:
        column: where they come from, "" when rows got times of their own.
        time_ms: int64[n].
        order: int64[n], row of the file at each place; None: as they stand.
        notes: sentences for people.
    """

    column: str
    time_ms: NDArray[np.int64]
    order: NDArray[np.int64] | None
    notes: list[str]

    @property
    def known(self) -> NDArray[np.int64]:
        """Times of the rows that have one."""
        known: NDArray[np.int64] = self.time_ms[self.time_ms != MISSING_TIME]
        return known

    def span(self) -> tuple[int, int]:
        """First and last event time, (0, 0) without any."""
        known = self.known
        return (int(known.min()), int(known.max())) if known.size else (0, 0)

    def row_at(self, ms: int) -> int:
        """The first row at or after an event time."""
        reached = np.maximum.accumulate(np.where(self.time_ms == MISSING_TIME, np.int64(-1), self.time_ms))
        return int(np.searchsorted(reached, ms))


def evenly(rows: int, every_ms: int) -> Timeline:
    """Row i happens at 2000-01-01T00:00:00Z + i times `every_ms`."""
    return Timeline("", YEAR_2000_MS + np.arange(rows, dtype=np.int64) * every_ms, None, [])


def read_times(table: Table, wishes: Wishes, suggested: str, form: TimeForm) -> Timeline | None:
    """Event times of a file from one of its columns; None when no column holds times.

    Args:
        table: the file.
        wishes: may name the column.
        suggested: the reference's time column, taken if the file has it.
        form: how the reference writes times, taken where the file's own form can't be found out.

    Raises:
        ConfigError: most rows have no time.
    """
    head = next(table.batches(rows=10_000), None)
    if head is None:
        return None
    columns = {name: head.column(name) for name in head.schema.names}
    column = wishes.time or (suggested if suggested in columns else "")
    if not column:
        column, form = next(iter(find_time(columns, wishes).items()), ("", form))
    if not column:
        return None
    form = guess_time(columns[column], True) or form
    parts = [times(batch.column(0), form) for batch in table.batches([column])]
    found = Timeline(column, np.concatenate(parts), None, [])
    missing = np.flatnonzero(found.time_ms == MISSING_TIME)
    if missing.size > found.time_ms.size // 2:
        raise ConfigError(
            f"{table.name}: {missing.size:,} rows have no time in {column!r}, the first is row {int(missing[0]):,}",
            key="--time",
            fix="name the right column, or use --every 1s",
        )
    return found


def nice_pane_ms(timeline: Timeline, most_ms: int | None = None) -> int:
    """The duration of `NICE_MS`, at most `most_ms`, nearest to 32 rows at the file's usual rate.

    The usual rate is that of the middle 98 % of the rows: one wrong date must not stretch it.
    """
    known = np.sort(timeline.known)
    if known.size < 2:
        return _S
    low, high = known[int(0.01 * (known.size - 1))], known[int(0.99 * (known.size - 1))]
    wanted = max(1.0, float(high - low) / max(1.0, 0.98 * (known.size - 1)) * ROWS_PER_PANE)
    allowed = [nice for nice in NICE_MS if most_ms is None or nice <= most_ms]
    return min(allowed, key=lambda nice: abs(np.log(nice / wanted)))


def rate_per_s(timeline: Timeline) -> float:
    """Rows per second of event time."""
    first, last = timeline.span()
    return timeline.known.size * 1000 / max(1, last - first)


def sort_if_needed(timeline: Timeline, pane_ms: int, lateness_ms: int, name: str) -> None:
    """Sort by time, stably, when more than a few rows come later than the lateness allows."""
    lateness = -(-lateness_ms // pane_ms)
    ticks = np.where(timeline.time_ms == MISSING_TIME, -1, timeline.time_ms // pane_ms)
    reached = np.maximum.accumulate(ticks)
    late = int(((ticks >= 0) & (ticks + 1 + lateness <= reached)).sum())
    if late > max(_LATE_ROWS, _FEW_LATE * ticks.size):
        last = np.where(timeline.time_ms == MISSING_TIME, np.iinfo(np.int64).max, timeline.time_ms)
        timeline.order = np.argsort(last, kind="stable")
        timeline.time_ms = timeline.time_ms[timeline.order]
        timeline.notes.append(
            f"{name} is not in time order ({late:,} rows are late): sorted by {timeline.column}, "
            "and row numbers are those of the sorted rows"
        )
    elif late:
        limit = format_duration(lateness * pane_ms)
        timeline.notes.append(f"{name}: {late:,} rows come more than {limit} late and are not judged")


def when(ms: int) -> str:
    """A time for people, to the minute, or to the millisecond where that matters: ``2025-10-16 09:40``."""
    text = iso_utc(ms).replace("T", " ").removesuffix("Z")
    for zeros in (":00.000", ".000"):
        if text.endswith(zeros):
            return text.removesuffix(zeros)
    return text

"""The axis of a page: event time, or row numbers where rows have no times of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from math import floor, log10

from driftbus.schemas.configtypes import format_duration
from driftbus.stream.files.filetimes import when

_S, _MIN, _H, _D = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    1, 2, 5, 10, 20, 50, 100, 200, 500, _S, 2 * _S, 5 * _S, 10 * _S, 15 * _S, 30 * _S,
    _MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 15 * _MIN, 30 * _MIN, _H, 2 * _H, 3 * _H, 6 * _H, 12 * _H,
    _D, 2 * _D, 4 * _D, 7 * _D, 14 * _D,
)  # fmt: skip
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)


@dataclass(frozen=True, slots=True)
class Ruler:
    """Places of event times, and words for them.

    Args:
        first_ms, last_ms: what the axis shows.
        timed: whether event times mean something to a person.
        row_at: first row at or after an event time, None where rows have no numbers.
    """

    first_ms: int
    last_ms: int
    timed: bool = True
    row_at: Callable[[int], int] | None = None

    def at(self, ms: float) -> float:
        """Place of an event time, from 0 to 1."""
        return min(1.0, max(0.0, (ms - self.first_ms) / max(1, self.last_ms - self.first_ms)))

    def point(self, ms: int) -> str:
        """An event time in words."""
        if not self.timed and self.row_at:
            return f"row {self.row_at(ms):,}"
        return _when(ms)

    def since(self, low_ms: int, ms: int, high_ms: int) -> str:
        """A change point with half its interval: ``2019-03-31 04:00 (±8h), row 25,007 (±55)``."""
        found = []
        if self.timed:
            around = (high_ms - low_ms) // 2
            found.append(_when(ms) + (f" (±{_about(around)})" if around and not self.row_at else ""))
        if self.row_at:
            row, low, high = map(self.row_at, (ms, low_ms, high_ms))
            found.append(f"row {row:,}" + (f" (±{(high - low) // 2:,})" if high > low + 1 else ""))
        return ", ".join(found)

    def ticks(self, most: int = 7) -> list[tuple[float, str]]:
        """Round times or row numbers, about `most` of them at most: (place, words), from left to right."""
        if not self.timed and self.row_at:
            return self._row_ticks(self.row_at, most)
        span = self.last_ms - self.first_ms
        step = next((step for step in _STEPS if span / step <= most), 0)
        if step:
            form = "%Y-%m-%d" if step >= _D else "%m-%d %H:%M" if span > _D else "%H:%M:%S" if step < _MIN else "%H:%M"
            first = -(-self.first_ms // step) * step
            return [(self.at(ms), _form(ms, form)) for ms in range(first, self.last_ms + 1, step)]
        return [(self.at(ms), words) for ms, words in self._month_ticks(most)]

    def _month_ticks(self, most: int) -> Iterator[tuple[int, str]]:
        span = (self.last_ms - self.first_ms) / (30.4 * _D)
        step = next((months for months in _MONTHS if span / months <= most), 1_200)
        try:
            begin = datetime.fromtimestamp(self.first_ms / 1000, UTC)
            for month in count(-(-(begin.year * 12 + begin.month) // step) * step, step):
                ms = int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)
                if ms > self.last_ms:
                    return
                yield ms, _form(ms, "%Y" if step >= 12 else "%Y-%m")
        except (ValueError, OverflowError, OSError):
            return

    def _row_ticks(self, row_at: Callable[[int], int], most: int) -> list[tuple[float, str]]:
        first, last = row_at(self.first_ms), row_at(self.last_ms)
        least = max(1, last - first) / most
        power = 10 ** floor(log10(max(1.0, least)))
        step = next(int(power * m) for m in (1, 2, 5, 10) if power * m >= least)
        rows = range(-(-first // step) * step, last + 1, step)
        return [((row - first) / max(1, last - first), f"{row:,}") for row in rows]


def _when(ms: int) -> str:
    try:
        return when(ms)
    except ValueError:
        return f"{ms:,} ms"


def _form(ms: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


def _about(ms: int) -> str:
    """A duration, rounded to what a person needs of it."""
    for unit in (_D, _H, _MIN, _S):
        if ms >= 3 * unit:
            return format_duration(ms // unit * unit)
    return format_duration(ms)

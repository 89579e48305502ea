"""Seasons: which hour of the day or of the week a time belongs to, and the reference's histogram of each.

A slot is an hour of local time: of the day, of a weekday or a weekend day, or of the week. It is a
pure function of event time and time zone; on the day when clocks go back an hour comes twice, on
the day when they go forward one is missing.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.eigen import product
from driftbus.detectors.longrun import LongRun
from driftbus.schemas.errors import ConfigError

SeasonKind = Literal["none", "hour_of_day", "day_type", "hour_of_week"]
KINDS: tuple[SeasonKind, ...] = get_args(SeasonKind)
"""From coarse to fine: every slot of a kind lies in one slot of the kind before."""

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WEEK_HOURS = 168

_hours = np.arange(WEEK_HOURS)
SLOT_OF: dict[SeasonKind, NDArray[np.int64]] = {
    "none": np.zeros(WEEK_HOURS, np.int64),
    "hour_of_day": _hours % 24,
    "day_type": _hours % 24 + 24 * (_hours >= 5 * 24),
    "hour_of_week": _hours,
}
"""Kind → int64[168], the slot of each hour of the week; hour 0 begins on Monday at midnight."""

SLOTS: dict[SeasonKind, int] = {kind: int(slots.max()) + 1 for kind, slots in SLOT_OF.items()}

_QUARTER_MS = 900_000
_LAST_MS = 253_402_000_000_000
_RIDGE, _LEAST_VARIANCE = 2.0, 1e-3
_MONDAY = 3  # 1970-01-01 was a Thursday


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """A time zone by its name in the tz database, like ``Europe/Lisbon``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # the first: not in the database
        raise ConfigError(
            f"there is no time zone {name!r}", key="detection.season.time_zone", fix="write one like Europe/Lisbon"
        ) from error


def hour_of_week(time_ms: int, zone: tzinfo) -> int:
    """Hour of the local week of an event time, 0 to 167; 0 begins on Monday at midnight."""
    local = time_ms + _offset_ms(time_ms // _QUARTER_MS, zone)
    return int((local // DAY_MS + _MONDAY) % 7 * 24 + local % DAY_MS // HOUR_MS)


def local_hours(time_ms: NDArray[np.int64], zone: tzinfo) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(local days since 1970-01-01, hours of the week), int64[n] each, of event times, int64[n]."""
    quarters, place = np.unique(time_ms // _QUARTER_MS, return_inverse=True)
    offsets = np.array([_offset_ms(quarter, zone) for quarter in quarters.tolist()], np.int64)
    local = time_ms + offsets[place] if quarters.size else time_ms
    days = local // DAY_MS
    return days, (days + _MONDAY) % 7 * 24 + local % DAY_MS // HOUR_MS


@lru_cache(maxsize=4096)
def _offset_ms(quarter: int, zone: tzinfo) -> int:
    """What local time is ahead of UTC; zones change it at quarters of an hour only."""
    if zone is UTC:
        return 0
    seconds = min(max(0, quarter * _QUARTER_MS), _LAST_MS) / 1000
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class ColumnSeason:
    """The season of one column.

    Args:
        column: its name.
        kind: slots of its values; ``none`` where only the share of nulls has a cycle.
        weight: pseudo-counts of the next coarser kind that a slot's histogram is mixed with.
        presence: slots of its shares of nulls and invalid values.
        presence_weight: the same as `weight` for those.
        cells: cells of the column.
        width: bytes of a count.
        counts: unsigned little-endian counts of `width` bytes, slot after slot of the finer of both
            kinds, each in the cells of the column: values, null, invalid.
        longrun: autocorrelation of the seasonal scores, the error of the slots' references included.
    """

    column: str
    kind: SeasonKind
    weight: int
    presence: SeasonKind
    presence_weight: int
    cells: int
    width: int
    counts: bytes
    longrun: tuple[LongRun, ...] = ()

    @property
    def finest(self) -> SeasonKind:
        """The finer of both kinds."""
        return max(self.kind, self.presence, key=KINDS.index)

    def histograms(self) -> NDArray[np.int64]:
        """int64[slots of the finest kind, cells]."""
        counts = np.frombuffer(self.counts, np.dtype(f"<u{self.width}")).astype(np.int64)
        return counts.reshape(SLOTS[self.finest], self.cells)


@dataclass(frozen=True, slots=True)
class Season:
    """The season of a reference.

    Args:
        time_zone: name in the tz database.
        days: local days that have reference rows.
        columns: the columns that have a season.
        reason: why these, or why none; for people.
    """

    time_zone: str
    days: int
    columns: tuple[ColumnSeason, ...] = ()
    reason: str = ""

    def content(self) -> dict[str, Any]:
        """What its hash is made of."""
        return {
            "time_zone": self.time_zone,
            "days": self.days,
            "columns": [_to_dict(c) | {"counts": hashlib.sha256(c.counts).hexdigest()} for c in self.columns],
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; counts are zlib-compressed, in base64."""
        return {
            "time_zone": self.time_zone,
            "days": self.days,
            "reason": self.reason,
            "columns": [
                _to_dict(c) | {"counts": base64.b64encode(zlib.compress(c.counts, 9)).decode()} for c in self.columns
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Season:
        """A season from its JSON values.

        Raises:
            KeyError, TypeError, ValueError: something is missing or does not fit.
        """
        columns = tuple(_from_dict(column) for column in data["columns"])
        return cls(str(data["time_zone"]), int(data["days"]), columns, str(data.get("reason", "")))


def _to_dict(column: ColumnSeason) -> dict[str, Any]:
    return {
        "column": column.column,
        "kind": column.kind,
        "weight": column.weight,
        "presence": column.presence,
        "presence_weight": column.presence_weight,
        "cells": column.cells,
        "width": column.width,
        "longrun": [run.to_dict() for run in column.longrun],
    }


def _from_dict(data: Mapping[str, Any]) -> ColumnSeason:
    kind, presence = data["kind"], data["presence"]
    if kind not in KINDS or presence not in KINDS:
        raise ValueError(f"{kind!r} or {presence!r} is no kind of season")
    width, cells = int(data["width"]), int(data["cells"])
    size = width * cells * SLOTS[max(kind, presence, key=KINDS.index)]
    unpacker = zlib.decompressobj()
    try:
        counts = unpacker.decompress(base64.b64decode(str(data["counts"])), size + 1)
    except zlib.error as error:
        raise ValueError(f"the counts of a season: {error}") from error
    if width not in (1, 2, 4, 8) or len(counts) != size:
        raise ValueError("the counts of a season don't fit its slots")
    return ColumnSeason(
        column=str(data["column"]),
        kind=kind,
        weight=int(data["weight"]),
        presence=presence,
        presence_weight=int(data["presence_weight"]),
        cells=cells,
        width=width,
        counts=counts,
        longrun=tuple(LongRun.from_dict(run) for run in data["longrun"]),
    )


def shares_of(
    histograms: NDArray[np.float64],
    slots: NDArray[np.int64],
    kind: SeasonKind,
    weight: float,
    *,
    scores: NDArray[np.float64] | None = None,
    without: NDArray[np.float64] | None = None,
    whole: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Expected share of each cell in some hours of the week, from all rows down to the slot.

    At each step from a coarser to a finer slot, a slot's share is (count + weight x expected share) /
    (values + weight): a Dirichlet prior, so that a slot of few values is much like what is expected of
    it. Expected are the shares of the coarser slot; of ordered cells the whole's, moved and scaled in
    normal scores to the slot's own mean and variance (each mixed with two values of the coarser slot):
    two numbers are known of far fewer values than a histogram.

    Args:
        histograms: float64[168, cells], reference counts per hour of the week.
        slots: int64[b], hours of the week.
        kind: how far down.
        weight: pseudo-counts of what is expected.
        scores: float64[cells], normal scores of ordered cells; None: they have no order.
        without: float64[b, cells], counts to leave out of every slot: those of the day that is predicted.
        whole: float64[b, cells], counts of all rows, likewise without that day; None: all of the histograms.

    Returns:
        float64[b, cells]; every cell that holds reference values has a share.
    """
    total = histograms.sum(axis=0)
    floor = 0.5 * (total > 0)
    top = (total[None, :] if whole is None else whole) + floor
    top = np.broadcast_to(top / np.maximum(top.sum(axis=1, keepdims=True), 1e-300), (slots.size, total.size))
    share = top
    for level in KINDS[1 : KINDS.index(kind) + 1]:
        sums = np.zeros((SLOTS[level], total.size))
        np.add.at(sums, SLOT_OF[level], histograms)
        own = sums[SLOT_OF[level][slots]]
        if without is not None:
            own = np.maximum(own - without, 0.0)
        expected = share if scores is None else _moved(top, share, own, scores)
        share = (own + weight * expected) / (own.sum(axis=1, keepdims=True) + weight)
    return np.asarray(share)


def _moved(
    top: NDArray[np.float64], coarser: NDArray[np.float64], own: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The whole's shares, float64[b, k], with mean and variance of the scores that the slot's counts have."""
    n, z, powers = own.sum(axis=1), scores, np.stack([scores, scores * scores], axis=1)
    (mean0, square0), (mean1, square1), (total, squares) = (product(p, powers).T for p in (top, coarser, own))
    variance0 = square0 - mean0**2
    mean = (total + _RIDGE * mean1) / (n + _RIDGE)
    square = (squares + _RIDGE * square1) / (n + _RIDGE)
    variance = np.maximum(square - mean**2, _LEAST_VARIANCE)
    odds = (z - mean0[:, None]) ** 2 / (2 * np.maximum(variance0, _LEAST_VARIANCE))[:, None]
    odds = odds - (z - mean[:, None]) ** 2 / (2 * variance)[:, None]
    moved = top * np.exp(odds - odds.max(axis=1, keepdims=True))
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))

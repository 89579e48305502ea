"""The reference that a monitor is compared with: per column the bins, the categories and their counts.

A profile is a value: equal content gives an equal `Profile.profile_id`, wherever it was made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.column import ColumnProfile as ColumnProfile
from driftbus.detectors.column import Distinct as Distinct
from driftbus.detectors.column import Kind as Kind
from driftbus.detectors.column import Role as Role
from driftbus.detectors.column import column_from_dict, column_to_dict, contradiction
from driftbus.detectors.longrun import LongRun as LongRun
from driftbus.detectors.outcomereference import OutcomeReference
from driftbus.detectors.seasons import Season
from driftbus.schemas.errors import ConfigError

_REMAKE = "make the profile again with 'driftbus profile'"


@dataclass(frozen=True, slots=True)
class Part:
    """Reference of a segment: its own rows in the cells of the whole.

    Args:
        segment: ``field=value``.
        rows: reference rows.
        counts: in the order of the layout.
    """

    segment: str
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowsSample:
    """Some reference rows whole, for what is between the columns.

    Args:
        columns: names of the columns they are kept of.
        cells: uint16[rows, columns], little-endian: the cell of each column, counted from its first.
    """

    columns: tuple[str, ...]
    cells: bytes

    def table(self) -> NDArray[np.int64]:
        """int64[rows, columns], the cells."""
        return np.frombuffer(self.cells, "<u2").astype(np.int64).reshape(-1, max(1, len(self.columns)))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cells of each column stand in the vector of counts.

    Args:
        columns: names in order.
        offsets: int64[c], first cell of each column.
        widths: int64[c], number of its cells.
        total: number of all cells.
    """

    columns: tuple[str, ...]
    offsets: NDArray[np.int64]
    widths: NDArray[np.int64]
    total: int


@dataclass(frozen=True)
class Profile:
    """Reference of one stream of a monitor.

    Args:
        monitor: name of the monitor.
        stream: ``predictions``, ``features`` or ``labels``.
        columns: the columns, in the order of the layout.
        rows: reference rows.
        source: where they came from, for people (a file name, topic and offsets).
        created_ms: wall-clock time of making.
        learned_until_ms: event time at which learning from the stream ended, None for training data.
        parts: references of segments.
        sample: some of the rows whole; None: relations between columns are not watched.
        season: reference per hour of the day or week, None where the times of the rows were not known.
        outcome: what labels said of the rows, None where they had none.
        version: version of the model whose rows are compared with it, "": all that have no profile of their own.
        importance: column → how much it matters to the model, not negative; empty when it is not known.
        model: references to what the model was trained with, by name; no part of the content.

    Raises:
        ConfigError: a column contradicts itself, or two have one name.
    """

    monitor: str
    stream: str
    columns: tuple[ColumnProfile, ...]
    rows: int
    source: str = ""
    created_ms: int = 0
    learned_until_ms: int | None = None
    parts: tuple[Part, ...] = ()
    sample: RowsSample | None = None
    season: Season | None = None
    outcome: OutcomeReference | None = None
    version: str = ""
    importance: Mapping[str, float] = field(default_factory=dict, hash=False)
    model: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ConfigError("a profile names a column twice", key=self.monitor, fix=_REMAKE)
        for column in self.columns:
            problem = contradiction(column)
            if problem:
                raise ConfigError(f"column {column.name!r} of the profile: {problem}", key=self.monitor, fix=_REMAKE)
        total = sum(column.width for column in self.columns)
        if any(len(part.counts) != total or min(part.counts, default=0) < 0 for part in self.parts):
            raise ConfigError("a segment's counts don't fit the columns", key=self.monitor, fix=_REMAKE)
        if self.sample is not None and not _sample_fits(self.sample, self.columns):
            raise ConfigError("the sampled rows don't fit the columns", key=self.monitor, fix=_REMAKE)
        weights = [*self.importance.values()]
        if not all(0 <= weight < math.inf for weight in weights) or (weights and not sum(weights) > 0):
            raise ConfigError("importance is a number from 0 up, and not 0 for all", key=self.monitor, fix=_REMAKE)
        widths = {column.name: column.width for column in self.columns}
        if self.season and any(widths.get(column.column) != column.cells for column in self.season.columns):
            raise ConfigError("the season's counts don't fit the columns", key=self.monitor, fix=_REMAKE)

    @cached_property
    def profile_id(self) -> str:
        """Hash of the content: 32 hexadecimal characters, without `source` and `created_ms`."""
        content = self._content()
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def column(self, name: str) -> ColumnProfile:
        """The column of that name.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def layout(self) -> Layout:
        """The order of the cells of a vector of counts."""
        widths = np.array([column.width for column in self.columns], np.int64)
        offsets = np.cumsum(widths) - widths
        return Layout(tuple(column.name for column in self.columns), offsets, widths, int(widths.sum()))

    def reference_counts(self) -> NDArray[np.int64]:
        """int64[total], the reference itself as one vector of counts."""
        cells = [cell for c in self.columns for cell in (*c.counts, c.nulls, c.invalid)]
        return np.array(cells, np.int64)

    def of_segment(self, segment: str) -> Profile | None:
        """The reference of a segment (``field=value``), None if it has none of its own."""
        for part in self.parts:
            if part.segment == segment:
                return self.recounted(np.array(part.counts, np.int64), part.rows)
        return None

    def recounted(self, counts: NDArray[np.int64], rows: int) -> Profile:
        """The same bins and categories with other rows in them: the reference of a part of the rows.

        Args:
            counts: int64[total], in the order of the layout.
            rows: rows behind them.
        """
        columns = []
        for column, cell in zip(self.columns, self.layout().offsets.tolist(), strict=True):
            nulls, invalid = counts[cell + column.value_cells : cell + column.width].tolist()
            values = tuple(counts[cell : cell + column.value_cells].tolist())
            columns.append(replace(column, counts=values, nulls=nulls, invalid=invalid))
        return replace(self, columns=tuple(columns), rows=rows, parts=(), sample=None, season=None, outcome=None)

    def _content(self) -> dict[str, Any]:
        parts = [{"segment": p.segment, "rows": p.rows, "counts": list(p.counts)} for p in self.parts]
        return {
            "monitor": self.monitor,
            "stream": self.stream,
            "rows": self.rows,
            "learned_until_ms": self.learned_until_ms,
            "columns": [column_to_dict(column) for column in self.columns],
            **({"parts": parts} if parts else {}),
            **({"sample": _sample_to_dict(self.sample)} if self.sample else {}),
            **({"season": self.season.content()} if self.season and self.season.columns else {}),
            **({"outcome": self.outcome.to_dict()} if self.outcome else {}),
            **({"version": self.version} if self.version else {}),
            **({"importance": dict(sorted(self.importance.items()))} if self.importance else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain JSON values; `from_dict` gives an equal profile."""
        season = {"season": self.season.to_dict()} if self.season else {}
        return (
            self._content()
            | season
            | ({"model": dict(sorted(self.model.items()))} if self.model else {})
            | {
                "source": self.source,
                "created_ms": self.created_ms,
                "profile_id": self.profile_id,
            }
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        """A profile from its JSON values.

        Raises:
            ConfigError: something is missing, of the wrong type, or not what `profile_id` says.
        """
        try:
            learned_until = data.get("learned_until_ms")
            profile = cls(
                monitor=str(data["monitor"]),
                stream=str(data["stream"]),
                columns=tuple(column_from_dict(column) for column in data["columns"]),
                rows=int(data["rows"]),
                source=str(data.get("source", "")),
                created_ms=int(data.get("created_ms", 0)),
                learned_until_ms=None if learned_until is None else int(learned_until),
                parts=tuple(
                    Part(str(p["segment"]), int(p["rows"]), tuple(int(count) for count in p["counts"]))
                    for p in data.get("parts", ())
                ),
                sample=_sample_from_dict(data.get("sample")),
                season=Season.from_dict(data["season"]) if data.get("season") else None,
                outcome=OutcomeReference.from_dict(data["outcome"]) if data.get("outcome") else None,
                version=str(data.get("version") or ""),
                importance={str(name): float(weight) for name, weight in (data.get("importance") or {}).items()},
                model={str(name): str(text) for name, text in (data.get("model") or {}).items()},
            )
            identity = profile.profile_id  # which only finite numbers have
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"not a profile: {type(error).__name__} {error}", fix=_REMAKE) from error
        stated = data.get("profile_id")
        if stated and stated != identity:
            raise ConfigError(f"the profile's content is {identity}, but it says {stated}", fix=_REMAKE)
        return profile


def _sample_fits(sample: RowsSample, columns: tuple[ColumnProfile, ...]) -> bool:
    widths = {column.name: column.width for column in columns}
    if not sample.columns or set(sample.columns) - set(widths) or len(sample.cells) % (2 * len(sample.columns)):
        return False
    return bool((sample.table() < [widths[name] for name in sample.columns]).all())


def _sample_to_dict(sample: RowsSample) -> dict[str, Any]:
    return {"columns": list(sample.columns), "cells": base64.b64encode(sample.cells).decode()}


def _sample_from_dict(data: Mapping[str, Any] | None) -> RowsSample | None:
    if data is None:
        return None
    return RowsSample(tuple(str(name) for name in data["columns"]), base64.b64decode(data["cells"], validate=True))

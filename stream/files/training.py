"""Profiles from files of training data."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from driftbus.detectors.parts import with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.season_choice import with_season
from driftbus.detectors.seasons import HOUR_MS
from driftbus.schemas.config import SeasonConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.files.survey import Data, Survey, Wishes, survey
from driftbus.stream.files.table import BATCH_ROWS, Table, open_table
from driftbus.stream.files.timecells import TimeForm
from driftbus.stream.files.trainoutcomes import with_outcomes

MOST_ROWS = 500_000
"""Rows of training data that a profile is made of: more would change no bin that matters."""


@dataclass(slots=True)
class Training:
    """What is known of a reference.

    Attributes:
        name: the file's name.
        rows: rows used.
        survey: its columns; None when it came as a profile.
        profile: a ready profile, None when it came as rows.
        notes: sentences for people.
    """

    name: str
    rows: int
    survey: Survey | None = None
    profile: Profile | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def time(self) -> tuple[str, TimeForm]:
        """The time column and how it writes times."""
        return (self.survey.time, self.survey.form) if self.survey else ("", TimeForm())


def read_training(path: Path, wishes: Wishes) -> Training:
    """Training data of any format, or the profile that was made of them (.json).

    Raises:
        ConfigError: it can't be read, or holds nothing to watch.
    """
    if path.suffix.lower() == ".json":
        profile = load_profile(path)
        return Training(path.name, profile.rows, profile=profile)
    table = open_table(path)
    rows = sum(batch.num_rows for batch in table.batches(table.names[:1]))
    step = -(-rows // MOST_ROWS)
    whole = table.read() if step <= 1 else _every(table, step)
    notes = [*table.notes, *filter(None, [table.misfit_note()])]
    if step > 1:
        notes.append(f"{path.name} has {rows:,} rows; every {step}th is used")
    found = survey(whole, wishes, where=path.name, decimal_comma=table.decimal_comma)
    return Training(path.name, found.rows, found, notes=[*notes, *found.notes])


def with_mapping(wishes: Wishes, stream: StreamConfig, names: Collection[str]) -> Wishes:
    """A stream's mapping, where nothing else is wished, as far as a file has its fields."""

    def known(wish: str, mapped: str) -> str:
        return wish or (mapped if mapped in names else "")

    meta = (*stream.ignore, *([stream.version] if stream.version else []), *stream.where)
    return replace(
        wishes,
        time="" if wishes.untimed else known(wishes.time, stream.time),
        id=known(wishes.id, stream.id),
        score=known(wishes.score, stream.score),
        prediction=known(wishes.prediction, stream.prediction),
        label=known(wishes.label, stream.label),
        ignore=(*wishes.ignore, *(name for name in meta if name in names)),
        categorical=(*wishes.categorical, *stream.categorical),
        text=(*wishes.text, *(name for name in stream.text if name in names)),
    )


def make_profile(
    training: Training,
    monitor: str,
    stream: str = "predictions",
    *,
    columns: Collection[str] | None = None,
    ordered: bool = True,
    created_ms: int = 0,
    segments: Collection[str] = (),
    season: SeasonConfig | None = None,
    label: str = "",
    performance: PerformanceConfig | None = None,
) -> Profile:
    """The profile of a reference.

    Args:
        training: as read.
        monitor, stream: whose it will be.
        columns: only these; None: all.
        ordered: whether rows are in time order; with a time column they are sorted by it first.
        created_ms: wall-clock time, for people.
        segments: columns whose values get references of their own.
        season: which season is looked for, and its time zone; None: the best one, in UTC.
        label: column of the outcome; with a score or a prediction beside it the profile says how well they did.
        performance: how outcomes are counted; None: the defaults.
    """
    if training.survey is None:
        assert training.profile is not None
        known = training.profile
        kept = tuple(c for c in known.columns if columns is None or c.name in columns)
        seasonal = known.season and replace(
            known.season, columns=tuple(c for c in known.season.columns if columns is None or c.column in columns)
        )
        return replace(known, monitor=monitor, stream=stream, columns=kept, season=seasonal)
    found = training.survey
    data = {name: each for name, each in found.data.items() if columns is None or name in columns}
    times = found.time_ms
    if ordered and times is not None and (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        data, times = {name: _taken(each, order) for name, each in data.items()}, times[order]
    profile = build_profile(
        monitor, stream, data, ordered=ordered, rows=found.rows, source=training.name, created_ms=created_ms
    )
    if times is not None:
        profile = with_season(profile, data, times, season or SeasonConfig(), ordered=ordered)
    if label:
        profile, note = with_outcomes(profile, found.data, label, performance or PerformanceConfig())
        training.notes += [note] if note else []
    own = {name: _as_texts(data[name]) for name in segments if name in data}
    return with_parts(profile, data, own) if own else profile


def season_note(profile: Profile, pane_ms: int = 0) -> str:
    """What there is to say of a profile's season; "" where the times of its rows were not known."""
    if profile.season is None:
        return ""
    if profile.season.columns and pane_ms > HOUR_MS:
        return "season: none, panes are longer than an hour"
    return f"season: {profile.season.reason}" if profile.season.columns else f"season: none, {profile.season.reason}"


def load_profile(path: Path) -> Profile:
    """A profile from its JSON file.

    Raises:
        ConfigError: it is not one.
    """
    try:
        return Profile.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as e:
        raise ConfigError(
            f"{path} is no profile: {e}", fix=f"make one with `driftbus profile TRAIN.csv --out {path}`"
        ) from e


def monitor_name(path: Path) -> str:
    """A monitor named after a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".", 1)[0])[:100] or "file"


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile as JSON.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        path.write_text(json.dumps(profile.to_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{path} can't be written: {e.strerror}", key="--out") from e


def _every(table: Table, step: int) -> Any:
    """Every step-th row, in order."""
    kept, at = [], 0
    for batch in table.batches(rows=BATCH_ROWS):
        first = -at % step
        kept.append(batch.take(pa.array(np.arange(first, batch.num_rows, step))))
        at += batch.num_rows
    return pa.Table.from_batches(kept)


def _as_texts(data: Data) -> list[str | None]:
    """Values as a segment's name has them."""
    if isinstance(data, CategoryData):
        return list(data.values)
    present = np.isfinite(data.values) if data.present is None else data.present & np.isfinite(data.values)
    numbers = zip(data.values.tolist(), present.tolist(), strict=True)
    return [(str(int(v)) if v == int(v) else repr(v)) if known else None for v, known in numbers]


def _taken(data: Data, order: np.ndarray[Any, np.dtype[np.int64]]) -> Data:
    if isinstance(data, NumericData):
        return replace(data, values=data.values[order], present=None if data.present is None else data.present[order])
    return replace(data, values=np.asarray(data.values, np.object_)[order])

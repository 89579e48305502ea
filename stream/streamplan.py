"""One stream of a monitor as the machines need it: where its columns stand in blocks, and how they are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftbus.detectors.profile import ColumnProfile, Layout, Profile
from driftbus.detectors.sampling import Sampler
from driftbus.detectors.sketches import SketchShape, shape_of
from driftbus.detectors.summary import Counter
from driftbus.schemas.config import MonitorConfig
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.schemas.textparts import NUMBERS, WORD, derived_columns
from driftbus.schemas.vectorparts import PARTS, split_name
from driftbus.schemas.vectorparts import derived_columns as derived_of_vectors

MARK_LENGTH = 16


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream of a monitor: its columns among the topic's columns.

    Args:
        monitor: name of the monitor.
        stream: ``predictions``, ``features`` or ``labels``.
        shard: summaries partition.
        profile: what its rows are compared with.
        layout: order of the cells of its counts.
        counter: counts rows into cells.
        shape: how large the sketches of a pane are.
        sampler: takes them, None when none are wanted.
        version: row of the version among the topic's strings, -1 for none.
        segments: (field, row among the topic's strings).
        where: (row among the topic's strings, text that it must have).
        watched: path of each field that is read → ``numeric``, ``text``, ``vector``, or "" for the event time.
        own: of versions that have a profile of their own, the same with that profile.
        mark: names the cells in parts, "" for those of all versions without a profile of their own.
    """

    monitor: str
    stream: str
    shard: int
    profile: Profile
    layout: Layout
    counter: Counter
    shape: SketchShape
    sampler: Sampler | None
    version: int
    segments: tuple[tuple[str, int], ...]
    where: tuple[tuple[int, str], ...]
    watched: Mapping[str, str]
    own: Mapping[str, StreamPlan] = field(default_factory=dict)
    mark: str = ""

    def of(self, version: str) -> StreamPlan:
        """What rows of a version are counted and compared with."""
        return self.own.get(version, self)

    @property
    def columns(self) -> Mapping[str, ColumnProfile]:
        """By name, the columns of the profile, and those that only profiles of versions have."""
        found = {column.name: column for column in self.profile.columns}
        for plan in self.own.values():
            found |= {column.name: column for column in plan.profile.columns if column.name not in found}
        return found


def column_path(stream: StreamConfig, column: ColumnProfile) -> str:
    """Where a column of the profile stands in the records of a topic."""
    mapped = {"score": stream.score, "prediction": stream.prediction, "label": stream.label}.get(column.role)
    if mapped:
        return mapped
    return field_path(stream, column.name)


def field_path(stream: StreamConfig, name: str) -> str:
    """Where the field of that name in the profile stands in the records of a topic."""
    for path, renamed in stream.rename.items():
        if renamed == name:
            return path
    part = split_name(name)
    return f"{field_path(stream, part[0])}[{PARTS[part[1]]}]" if part else name


@dataclass(slots=True)
class _Fields:
    """Distinct paths in order of first use."""

    rows: dict[str, int] = field(default_factory=dict)

    def row(self, path: str) -> int:
        return self.rows.setdefault(path, len(self.rows))


@dataclass(slots=True)
class Rows:
    """Where the columns of a topic's profiles stand in its blocks: first what is decoded, then what is derived.

    All columns have to be added before the first is asked for.
    """

    numeric: _Fields = field(default_factory=_Fields)
    strings: _Fields = field(default_factory=_Fields)
    texts: _Fields = field(default_factory=_Fields)

    def add(self, monitor: MonitorConfig, of: str, profile: Profile) -> None:
        stream = monitor.streams[of]
        derived = derived_columns([column.name for column in profile.columns])
        for column in profile.columns:
            if column.name in derived:
                path = field_path(stream, derived[column.name][0])
                self.strings.row(path)
                self.texts.row(path)
            else:
                (self.numeric if column.kind == "numeric" else self.strings).row(column_path(stream, column))
        sampled = [stream.id] if shape_of(profile, monitor.detection.sample_rows).k else []
        for path in (stream.version, *sampled, *segments_of(monitor, of), *sorted(stream.where)):
            if path:
                self.strings.row(path)

    def also(self, numbers: list[str], strings: list[str]) -> None:
        """More columns that are decoded, for the join."""
        for path in numbers:
            self.numeric.row(path)
        for path in strings:
            self.strings.row(path)

    def of(self, stream: StreamConfig, profile: Profile, kind: str) -> list[int]:
        """Rows of the profile's columns of a kind, in their order."""
        derived = derived_columns([column.name for column in profile.columns])
        return [self._of(stream, column, derived) for column in profile.columns if column.kind == kind]

    def _of(self, stream: StreamConfig, column: ColumnProfile, derived: Mapping[str, tuple[str, str]]) -> int:
        if column.name not in derived:
            return (self.numeric if column.kind == "numeric" else self.strings).row(column_path(stream, column))
        name, part = derived[column.name]
        place = self.texts.row(field_path(stream, name))
        if part == WORD:
            return len(self.strings.rows) + place
        return len(self.numeric.rows) + place * len(NUMBERS) + NUMBERS.index(part)


def segments_of(monitor: MonitorConfig, stream: str) -> list[str]:
    """Fields whose values are watched on their own."""
    return monitor.segments if stream != "labels" else []


@dataclass(frozen=True, slots=True)
class Fields:
    """What a profile's columns are read from.

    Args:
        paths: (kind, path) of each column.
        texts: paths of free text, sorted.
        watched: as in `StreamPlan`.
    """

    paths: list[tuple[str, str]]
    texts: list[str]
    watched: dict[str, str]

    @classmethod
    def of(cls, monitor: MonitorConfig, stream: str, profile: Profile) -> Fields:
        """The fields of a stream of a monitor."""
        own = monitor.streams[stream]
        paths: list[tuple[str, str]] = [(c.kind, column_path(own, c)) for c in profile.columns]
        vectors = derived_of_vectors([path for _, path in paths])
        of_texts = derived_columns([c.name for c in profile.columns])
        texts = sorted({field_path(own, name) for name, _ in of_texts.values()})
        read = [pair for pair, c in zip(paths, profile.columns, strict=True) if c.name not in of_texts]
        named = (own.id, own.version, *segments_of(monitor, stream), *own.where)
        watched = {
            **({own.time: ""} if own.time else {}),
            **{path: "text" for path in named if path},
            **{path: "numeric" if kind == "numeric" else "text" for kind, path in read if path not in vectors},
            **dict.fromkeys(texts, "text"),
            **dict.fromkeys(vectors.values(), "vector"),
        }
        return cls(paths, texts, watched)


def stream_plan(
    name: str, monitor: MonitorConfig, stream: str, profile: Profile, rows: Rows, shard: int, *, mark: str = ""
) -> StreamPlan:
    """How rows of a stream are counted and compared with a profile.

    Args:
        name, monitor, stream: whose.
        profile: the reference; its columns stand in `rows`.
        rows: of the topic.
        shard: summaries partition of the monitor.
        mark: names the cells in parts.
    """
    own, strings = monitor.streams[stream], rows.strings
    counter = Counter(profile, rows.of(own, profile, "numeric"), rows.of(own, profile, "categorical"))
    shape = shape_of(profile, monitor.detection.sample_rows)
    identity = strings.row(own.id) if own.id and shape.k else -1
    return StreamPlan(
        monitor=name,
        stream=stream,
        shard=shard,
        profile=profile,
        layout=profile.layout(),
        counter=counter,
        shape=shape,
        sampler=Sampler(counter, shape, identity) if shape.k else None,
        version=strings.row(own.version) if own.version else -1,
        segments=tuple((name, strings.row(name)) for name in segments_of(monitor, stream)),
        where=tuple((strings.row(path), text) for path, text in sorted(own.where.items())),
        watched=Fields.of(monitor, stream, profile).watched,
        mark=mark,
    )

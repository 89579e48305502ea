"""From configuration and profiles to what the machines need: which columns, which bins, which shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftbus.detectors.concept_settings import COLUMNS
from driftbus.detectors.profile import ColumnProfile, Layout, Profile
from driftbus.detectors.sampling import Sampler
from driftbus.detectors.settings import Settings
from driftbus.detectors.sketches import SketchShape, shape_of
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config, LimitsConfig, MonitorConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.schemas.textparts import NUMBERS, WORD, derived_columns
from driftbus.schemas.vectorparts import PARTS, split_name
from driftbus.schemas.vectorparts import derived_columns as derived_of_vectors
from driftbus.stream.fingerprint import fingerprint, shard_of
from driftbus.stream.join.outcomeplan import (
    OutcomePlan,
    OutcomeSource,
    build_outcomes,
    label_fields,
    prediction_fields,
)

MAX_PART_BYTES = 8 << 20
"""Ranges are cut before a part could become larger: profiles of hundreds of columns have large entries."""

_CELL_BYTES, _ENTRY_BYTES = 4, 512


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


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One source topic: what to decode, how to cut ranges, which streams read it.

    Lateness and retention are whole panes. `counting` is the fingerprint of what decides which
    rows are counted where; `epoch` adds how ranges are cut and spread. `texts` are the rows of the
    strings that free text is derived from: see `driftbus.schemas.textparts`.
    """

    topic: str
    partitions: int
    projection: Projection
    texts: tuple[int, ...]
    pane_ms: int
    lateness: int
    retention: int
    range_records: int
    range_entries: int
    future_ms: int
    shards: int
    schema_file: str | None
    streams: tuple[StreamPlan, ...]
    counting: str
    epoch: str


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """One monitor as its judge sees it.

    Args:
        name: name of the monitor.
        shard: summaries partition.
        pane_ms: pane length.
        config: its configuration.
        streams: its streams.
        topics: the topics of its streams.
        outcomes: what its labels say of its predictions, None when nothing is joined.
        settings: constants of the detectors.
        fingerprint: of all that a verdict depends on besides the log; part of every event's id.
            How the log is spread over partitions and ranges is not in it.
        state_key: of all that saved state depends on.
    """

    name: str
    shard: int
    pane_ms: int
    config: MonitorConfig
    streams: tuple[StreamPlan, ...]
    topics: Mapping[str, TopicPlan]
    outcomes: OutcomeSource | None
    settings: Settings
    fingerprint: str
    state_key: str


@dataclass(frozen=True, slots=True)
class Plans:
    """Everything a worker needs to know before it reads a record."""

    topics: Mapping[str, TopicPlan]
    monitors: Mapping[str, MonitorPlan]
    outcomes: Mapping[str, OutcomePlan]
    shards: int


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
class _Rows:
    """Where the columns of a topic's profiles stand in its blocks: first what is decoded, then what is derived.

    All columns have to be added before the first is asked for.
    """

    numeric: _Fields = field(default_factory=_Fields)
    strings: _Fields = field(default_factory=_Fields)
    texts: _Fields = field(default_factory=_Fields)

    def add(self, stream: StreamConfig, profile: Profile, more: list[str]) -> None:
        derived = derived_columns([column.name for column in profile.columns])
        for column in profile.columns:
            if column.name in derived:
                path = field_path(stream, derived[column.name][0])
                self.strings.row(path)
                self.texts.row(path)
            else:
                (self.numeric if column.kind == "numeric" else self.strings).row(column_path(stream, column))
        for path in (stream.version, *more, *sorted(stream.where)):
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


def _panes(duration_ms: int, pane_ms: int) -> int:
    return -(-duration_ms // pane_ms)


def topics_of(config: Config) -> dict[str, list[tuple[str, str]]]:
    """Source topic → its (monitor, stream) pairs, sorted."""
    topics: dict[str, list[tuple[str, str]]] = {}
    for name, monitor in sorted(config.monitors.items()):
        for stream, stream_config in sorted(monitor.streams.items()):
            topics.setdefault(stream_config.topic, []).append((name, stream))
    return topics


def build_plans(
    config: Config,
    profiles: Mapping[tuple[str, str], Profile],
    partitions: Mapping[str, int],
    shards: int | None = None,
) -> Plans:
    """Plans of all topics and monitors.

    Args:
        config: the configuration.
        profiles: (monitor, stream) → profile; every stream needs one.
        partitions: source topic → number of partitions.
        shards: partitions of the summaries topic; None: as configured.

    Raises:
        ConfigError: a profile is missing, a topic is read with two event-time fields, too many columns.
    """
    count = config.topics.summaries_partitions if shards is None else shards
    topics = {
        topic: _topic_plan(config, topic, pairs, profiles, partitions[topic], count)
        for topic, pairs in topics_of(config).items()
    }
    projections = {topic: plan.projection for topic, plan in topics.items()}
    outcomes = build_outcomes(config, profiles, projections, partitions, count)
    monitors = {}
    for name, monitor in config.monitors.items():
        labels = monitor.labels.topic if monitor.labels is not None else ""
        source = outcomes[labels].source(name) if labels in outcomes else None
        plans = {t: p for t, p in topics.items() if any(s.monitor == name for s in p.streams)}
        streams = tuple(s for p in plans.values() for s in p.streams if s.monitor == name)
        # every column is judged once for all rows and once for each segment field
        columns = sum(len(s.profile.columns) * (1 + len(s.segments)) for s in streams)
        if monitor.detection.relations:  # what is between the columns counts as one more
            columns += sum(s.profile.sample is not None for s in streams)
        if source is not None:
            columns += COLUMNS
        settings = Settings.from_config(monitor.detection, columns, config.pane_ms(name))
        identity = fingerprint(
            [
                settings.fingerprint(),
                monitor.retrain.identity() if monitor.retrain else None,
                monitor.detection.max_groups,
                monitor.learn.segment_rows if monitor.segments else None,
                sorted(p.counting for p in plans.values()),
                *([] if source is None else [_outcome_identity(monitor, source)]),
            ]
        )
        monitors[name] = MonitorPlan(
            name=name,
            shard=shard_of(name, count),
            pane_ms=config.pane_ms(name),
            config=monitor,
            streams=streams,
            topics=plans,
            outcomes=source,
            settings=settings,
            fingerprint=identity,
            state_key=fingerprint(
                [
                    identity,
                    sorted((t, p.epoch, p.partitions) for t, p in plans.items()),
                    *([[source.topic, source.epoch, source.partitions]] if source is not None else []),
                ]
            ),
        )
    return Plans(topics, monitors, outcomes, count)


def _outcome_identity(monitor: MonitorConfig, source: OutcomeSource) -> list[object]:
    """What verdicts on outcomes depend on besides the log."""
    return [source.fingerprint, monitor.performance.model_dump(mode="json"), monitor.join.horizon]


def _outcome_paths(monitor: MonitorConfig, stream: str, profile: Profile | None) -> tuple[list[str], list[str]]:
    """Numbers and texts of a stream that the join of labels and predictions reads."""
    read = label_fields(monitor, profile)
    if read is None:
        return [], []
    shape, labels = read
    fields = labels if stream == "labels" else prediction_fields(monitor, shape) if stream == "predictions" else None
    return (fields.numbers(shape), fields.strings()) if fields is not None else ([], [])


def _topic_plan(
    config: Config,
    topic: str,
    pairs: list[tuple[str, str]],
    profiles: Mapping[tuple[str, str], Profile],
    partitions: int,
    shards: int,
) -> TopicPlan:
    limits: LimitsConfig = config.limits
    rows = _Rows()
    for monitor, stream in pairs:
        known, of = profiles.get((monitor, stream)), config.monitors[monitor]
        if known is not None:
            more = [of.streams[stream].id] if shape_of(known, of.detection.sample_rows).k else []
            rows.add(of.streams[stream], known, more + (of.segments if stream != "labels" else []))
    for monitor, stream in pairs:  # behind the others, which stay where they are
        rows.also(*_outcome_paths(config.monitors[monitor], stream, profiles.get((monitor, "predictions"))))
    strings, streams, counted = rows.strings, [], []
    first = config.monitors[pairs[0][0]].streams[pairs[0][1]]
    for monitor, stream in pairs:
        own = config.monitors[monitor].streams[stream]
        key = f"monitors.{monitor}.{stream}"
        profile = profiles.get((monitor, stream))
        if profile is None:
            raise ConfigError(
                "there is no profile to compare with",
                key=key,
                fix=f"make one with `driftbus profile DATA --monitor {monitor} --publish`, or let it be learned",
            )
        if (own.time, own.time_unit, own.schema_file) != (first.time, first.time_unit, first.schema_file):
            raise ConfigError(
                f"topic {topic} is read with two event times or schemas",
                key=f"{key}.time",
                fix=f"write the same time, time_unit and schema_file as in monitors.{pairs[0][0]}.{pairs[0][1]}",
            )
        most = config.monitors[monitor].detection.max_columns
        if len(profile.columns) > most:
            raise ConfigError(
                f"the profile has {len(profile.columns)} columns, {most} are allowed",
                key=f"monitors.{monitor}.detection.max_columns",
                fix="raise it, or list columns under ignore and make the profile again",
            )
        paths = [(c.kind, column_path(own, c)) for c in profile.columns]
        vectors = derived_of_vectors([path for _, path in paths])
        of_texts = derived_columns([c.name for c in profile.columns])
        texts = sorted({field_path(own, name) for name, _ in of_texts.values()})
        read = [pair for pair, c in zip(paths, profile.columns, strict=True) if c.name not in of_texts]
        segments = config.monitors[monitor].segments if stream != "labels" else []
        counter = Counter(
            profile,
            rows.of(own, profile, "numeric"),
            rows.of(own, profile, "categorical"),
        )
        shape = shape_of(profile, config.monitors[monitor].detection.sample_rows)
        identity = strings.row(own.id) if own.id and shape.k else -1
        plan = StreamPlan(
            monitor=monitor,
            stream=stream,
            shard=shard_of(monitor, shards),
            profile=profile,
            layout=profile.layout(),
            counter=counter,
            shape=shape,
            sampler=Sampler(counter, shape, identity) if shape.k else None,
            version=strings.row(own.version) if own.version else -1,
            segments=tuple((name, strings.row(name)) for name in segments),
            watched={
                **({own.time: ""} if own.time else {}),
                **{path: "text" for path in (own.id, own.version, *segments, *own.where) if path},
                **{path: "numeric" if kind == "numeric" else "text" for kind, path in read if path not in vectors},
                **dict.fromkeys(texts, "text"),
                **dict.fromkeys(vectors.values(), "vector"),
            },
            where=tuple((strings.row(path), text) for path, text in sorted(own.where.items())),
        )
        streams.append(plan)
        sampled = (shape.k, own.id if shape.k else "")
        where = sorted(own.where.items())
        of_text = [texts] if texts else []
        counted.append([monitor, stream, profile.profile_id, paths, own.version, segments, where, sampled, *of_text])
    widest = max(_CELL_BYTES * plan.layout.total + plan.shape.most_bytes for plan in streams)
    entries = max(1, min(limits.range_entries, MAX_PART_BYTES // (widest + _ENTRY_BYTES)))
    pane_ms = config.pane_ms(pairs[0][0])
    lateness, retention = _panes(limits.lateness, pane_ms), _panes(limits.retention, pane_ms)
    counting = fingerprint(
        [
            "counting 2",
            [first.time, first.time_unit, counted],
            [pane_ms, lateness, retention, limits.future, limits.record_bytes],
        ]
    )
    return TopicPlan(
        topic=topic,
        partitions=partitions,
        projection=Projection(tuple(rows.numeric.rows), tuple(strings.rows), first.time, first.time_unit),
        texts=tuple(strings.row(path) for path in rows.texts.rows),
        pane_ms=pane_ms,
        lateness=lateness,
        retention=retention,
        range_records=limits.range_records,
        range_entries=entries,
        future_ms=limits.future,
        shards=shards,
        schema_file=first.schema_file,
        streams=tuple(streams),
        counting=counting,
        # with the app, so that a new name begins anew on the same summaries topic
        epoch=fingerprint([counting, config.app, topic, limits.range_records, entries, shards]),
    )

"""From configuration and profiles to what the machines need: which columns, which bins, which shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from driftbus.detectors.concept_settings import COLUMNS
from driftbus.detectors.profile import Profile
from driftbus.detectors.settings import Settings
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config, LimitsConfig, MonitorConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.names import short_name
from driftbus.stream.fingerprint import fingerprint, shard_of
from driftbus.stream.join.buildplan import build_outcomes, label_fields, prediction_fields
from driftbus.stream.join.outcomeplan import OutcomePlan, OutcomeSource
from driftbus.stream.streamplan import MARK_LENGTH, Fields, Rows, segments_of, stream_plan
from driftbus.stream.streamplan import StreamPlan as StreamPlan
from driftbus.stream.streamplan import column_path as column_path
from driftbus.stream.streamplan import field_path as field_path

MAX_PART_BYTES = 8 << 20
"""Ranges are cut before a part could become larger: profiles of hundreds of columns have large entries."""

_CELL_BYTES, _ENTRY_BYTES = 4, 512


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One source topic: what to decode, how to cut ranges, which streams read it.

    Lateness and retention are whole panes. `counting` is, for each monitor, the fingerprint of what
    decides which of its rows are counted where; other monitors of the topic and its name are not in
    it. `epoch` has that of all monitors, and how ranges are cut and spread. `texts` are the rows of the
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
    counting: Mapping[str, str]
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
    own: Sequence[Profile] = (),
) -> Plans:
    """Plans of all topics and monitors.

    Args:
        config: the configuration.
        profiles: (monitor, stream) → profile; every stream needs one.
        partitions: source topic → number of partitions.
        shards: partitions of the summaries topic; None: as configured.
        own: profiles of versions. They change neither what other versions are counted into nor how ranges are cut, so
            they are in no fingerprint: state and ids stay when one is added.

    Raises:
        ConfigError: a profile is missing, a topic is read with two event-time fields, too many columns.
    """
    count = config.topics.summaries_partitions if shards is None else shards
    topics = {
        topic: _topic_plan(config, topic, pairs, profiles, partitions[topic], count, own)
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
                sorted(p.counting[name] for p in plans.values()),
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
                    sorted((t, p.epoch) for t, p in plans.items()),
                    *([[source.topic, source.epoch]] if source is not None else []),
                    *(comparison.model_dump(mode="json") for comparison in monitor.comparisons),
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
    owned: Sequence[Profile],
) -> TopicPlan:
    limits: LimitsConfig = config.limits
    rows = Rows()
    for monitor, stream in pairs:
        if (monitor, stream) in profiles:
            rows.add(config.monitors[monitor], stream, profiles[monitor, stream])
    for mine in owned:  # behind the others, which stay where they are
        if (mine.monitor, mine.stream) in pairs:
            rows.add(config.monitors[mine.monitor], mine.stream, mine)
    for monitor, stream in pairs:  # behind the others, which stay where they are
        rows.also(*_outcome_paths(config.monitors[monitor], stream, profiles.get((monitor, "predictions"))))
    strings, streams = rows.strings, []
    counted: list[list[object]] = []
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
        theirs = [mine for mine in owned if (mine.monitor, mine.stream) == (monitor, stream)]
        longest = max(len(each.columns) for each in (profile, *theirs))
        if longest > most:
            raise ConfigError(
                f"the profile has {longest} columns, {most} are allowed",
                key=f"monitors.{monitor}.detection.max_columns",
                fix="raise it, or list columns under ignore and make the profile again",
            )
        fields = Fields.of(config.monitors[monitor], stream, profile)
        plan = stream_plan(monitor, config.monitors[monitor], stream, profile, rows, shard_of(monitor, shards))
        if theirs and not own.version:
            raise ConfigError(
                f"version {theirs[0].version} has a profile, but no field says which records are of it",
                key=f"{key}.version",
                fix="map the field of the version, or publish the profile without --version",
            )
        versions = {
            short_name(mine.version): stream_plan(
                monitor, config.monitors[monitor], stream, mine, rows, plan.shard, mark=mine.profile_id[:MARK_LENGTH]
            )
            for mine in theirs
        }
        watched = {path: use for each in (*versions.values(), plan) for path, use in each.watched.items()}
        plan = replace(plan, own=versions, watched=watched)
        streams.append(plan)
        sampled = (plan.shape.k, own.id if plan.shape.k else "")
        where = sorted(own.where.items())
        of_text = [fields.texts] if fields.texts else []
        segments = segments_of(config.monitors[monitor], stream)
        counted.append(
            [monitor, stream, profile.profile_id, fields.paths, own.version, segments, where, sampled, *of_text]
        )
    widest = max(_CELL_BYTES * plan.layout.total + plan.shape.most_bytes for plan in streams)
    entries = max(1, min(limits.range_entries, MAX_PART_BYTES // (widest + _ENTRY_BYTES)))
    pane_ms = config.pane_ms(pairs[0][0])
    lateness, retention = _panes(limits.lateness, pane_ms), _panes(limits.retention, pane_ms)

    def counting(rows_of: list[list[object]]) -> str:
        read = [first.time, first.time_unit, rows_of]
        return fingerprint(["counting 2", read, [pane_ms, lateness, retention, limits.future, limits.record_bytes]])

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
        counting={name: counting([one for one in counted if one[0] == name]) for name, _ in pairs},
        # with the app, so that a new name begins anew on the same summaries topic
        epoch=fingerprint([counting(counted), config.app, topic, limits.range_records, entries, shards]),
    )

"""From configuration to the plans of joins: which fields, which panes, where ranges are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import Profile
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config, MonitorConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.fingerprint import fingerprint, shard_of
from driftbus.stream.join.outcomeplan import SEGMENTS, Fields, JoinPlan, OutcomePlan, PredictionSource

_PART_BYTES = 8 << 20
_ENTRY_BYTES = 512
_CELL_BYTES = 12
_FROM_THE_BEGINNING = -(1 << 62)


def label_fields(monitor: MonitorConfig, profile: Profile | None) -> tuple[OutcomeShape, Fields] | None:
    """How a monitor's outcomes are counted, and what is read of its labels; None: nothing is counted.

    Raises:
        ConfigError: the classes are not known.
    """
    stream = monitor.labels
    if monitor.outcomes == "none" or stream is None:
        return None
    echoed = monitor.outcomes == "echoed"
    said = stream if echoed else monitor.predictions
    assert said is not None
    shape = outcome_shape(profile, monitor.performance, predicted=bool(said.prediction))
    where = tuple(sorted(stream.where.items()))
    if not echoed:
        return shape, Fields(stream.id, "", "", "", (), where, stream.label)
    segments = tuple(_path(stream, name) for name in monitor.segments)
    score, prediction = _predicted(stream, shape)
    made = stream.prediction_time
    return shape, Fields(stream.id, score, prediction, stream.version, segments, where, stream.label, made)


def prediction_fields(monitor: MonitorConfig, shape: OutcomeShape) -> Fields | None:
    """What is read of the predictions that labels are joined with; None: no join."""
    stream = monitor.predictions
    if monitor.outcomes != "joined" or stream is None:
        return None
    score, prediction = _predicted(stream, shape)
    segments = tuple(_path(stream, name) for name in monitor.segments)
    return Fields(stream.id, score, prediction, stream.version, segments, tuple(sorted(stream.where.items())))


def build_outcomes(
    config: Config,
    profiles: Mapping[tuple[str, str], Profile],
    labels: Mapping[str, Projection],
    partitions: Mapping[str, int],
    shards: int,
) -> dict[str, OutcomePlan]:
    """Label topic → plan of its outcomes.

    Args:
        config: the configuration.
        profiles: (monitor, stream) → profile.
        labels: topic → columns of its blocks, those of `label_fields` among them.
        partitions: topic → partitions.
        shards: partitions of the summaries topic.

    Raises:
        ConfigError: monitors of one label topic want different panes; classes are not known.
    """
    topics: dict[str, list[str]] = {}
    for name, monitor in sorted(config.monitors.items()):
        if monitor.outcomes != "none" and monitor.labels is not None:
            topics.setdefault(monitor.labels.topic, []).append(name)
    return {
        topic: _outcome_plan(config, topic, names, profiles, labels[topic], partitions[topic], shards)
        for topic, names in topics.items()
    }


def _shadows(name: str, monitor: MonitorConfig, fields: Fields | None) -> list[Fields | None]:
    """The predictions of all versions but those in shadow, then those of each in shadow.

    A label finds one prediction of its id in each: so several versions can have scored it.
    """
    versions = list(dict.fromkeys(c.challenger for c in monitor.comparisons if c.shadow))
    if not versions or fields is None:
        return [fields]
    if not fields.version:
        raise ConfigError(
            "versions in shadow are told apart by their version",
            key=f"monitors.{name}.predictions.version",
            fix="say which field holds it",
        )
    others = replace(fields, unless=tuple((fields.version, version) for version in versions))
    return [others, *(replace(fields, where=(*fields.where, (fields.version, v))) for v in versions)]


def _path(stream: StreamConfig, name: str) -> str:
    """Where the field of that name stands in the records of a topic."""
    return next((path for path, renamed in stream.rename.items() if renamed == name), name)


def _predicted(stream: StreamConfig, shape: OutcomeShape) -> tuple[str, str]:
    """Paths of the score (regression: of the predicted value) and of the predicted class."""
    if shape.kind == "regression":
        return stream.prediction or stream.score, ""
    return stream.score, stream.prediction


def _outcome_plan(
    config: Config,
    topic: str,
    names: list[str],
    profiles: Mapping[tuple[str, str], Profile],
    labels: Projection,
    partitions: int,
    shards: int,
) -> OutcomePlan:
    joins = []
    sides: dict[str, tuple[tuple[str, str], list[str], list[str]]] = {}
    first = config.monitors[names[0]]
    for name in names:
        monitor = config.monitors[name]
        if monitor.join.pane != first.join.pane:
            raise ConfigError(
                f"topic {topic} is joined with two kinds of panes",
                key=f"monitors.{name}.join.pane",
                fix=f"write the same as in monitors.{names[0]}.join",
            )
        read = label_fields(monitor, profiles.get((name, "predictions")))
        assert read is not None
        shape, own = read
        theirs = prediction_fields(monitor, shape)
        stream = monitor.predictions
        if theirs is not None and stream is not None:
            _, numbers, strings = sides.setdefault(stream.topic, ((name, "predictions"), [], []))
            numbers += [path for path in theirs.numbers(shape) if path not in numbers]
            strings += [path for path in theirs.strings() if path not in strings]
        join, shadows = monitor.join, _shadows(name, monitor, theirs)
        joins += [
            JoinPlan(
                monitor=name,
                shard=shard_of(name, shards),
                shape=shape,
                labels=own,
                predictions=side,
                topic=stream.topic if theirs is not None and stream is not None else "",
                names=tuple(monitor.segments),
                segment_ms=-(-join.horizon // SEGMENTS),
                wait_ms=join.wait,
                grace_ms=join.grace,
                sample=join.sample,
                cohort_ms=monitor.performance.cohort,
                future_ms=config.limits.future,
                since=_FROM_THE_BEGINNING if join.since is None else -(-join.since // -(-join.horizon // SEGMENTS)),
                shadow=number > 0,
            )
            for number, side in enumerate(shadows)
        ]
    sources = {}
    for of, (key, numbers, strings) in sides.items():
        side = config.monitors[key[0]].predictions
        assert side is not None
        sources[of] = PredictionSource(of, Projection(tuple(numbers), tuple(strings), side.time, side.time_unit), key)
    pane_ms = config.pane_ms(names[0])
    log_time = first.join.pane == "log"
    lateness = 0 if log_time else -(-config.limits.lateness // pane_ms)
    retention = 0 if log_time else -(-config.limits.retention // pane_ms)
    # a label adds a few cells to one entry of all rows and one of each segment field
    width = sum((1 + len(j.names)) * (_ENTRY_BYTES + _CELL_BYTES * _cells(j.shape)) for j in joins)
    records = max(1, min(config.limits.range_records, _PART_BYTES // width))

    def counting(mine: Sequence[JoinPlan]) -> str:
        read = {join.topic: (side.time, side.time_unit) for join in mine if (side := _projection(sources, join))}
        return fingerprint(
            [
                "outcomes 2",
                [labels.time, labels.time_unit, log_time, pane_ms, lateness, retention],
                [config.limits.future, config.limits.record_bytes],
                [_identity(join) for join in mine],
                sorted(read.values()),
            ]
        )

    by_monitor = {name: counting([join for join in joins if join.monitor == name]) for name in names}
    return OutcomePlan(
        topic=topic,
        partitions=partitions,
        labels=labels,
        joins=tuple(joins),
        predictions=sources,
        log_time=log_time,
        pane_ms=pane_ms,
        lateness=lateness,
        retention=retention,
        range_records=records,
        future_ms=config.limits.future,
        shards=shards,
        counting=by_monitor,
        # with the topics that predictions come from: the same labels find others there
        epoch=fingerprint([counting(joins), sorted(sources), config.app, topic, records, shards]),
    )


def _projection(sources: Mapping[str, PredictionSource], join: JoinPlan) -> Projection | None:
    return sources[join.topic].projection if join.topic else None


def _cells(shape: OutcomeShape) -> int:
    """The most cells that one label adds to: a new pair, the old one, the lag."""
    return 2 * (len(shape.parts) + 2) + 1


def _identity(join: JoinPlan) -> list[object]:
    def of(fields: Fields | None) -> object:
        return None if fields is None else [getattr(fields, name) for name in Fields.__slots__]

    return [
        join.monitor, join.shape.fingerprint, of(join.labels), of(join.predictions), join.topic != "", join.names,
        join.segment_ms, join.wait_ms, join.sample, join.cohort_ms, join.future_ms,
        *([] if join.since == _FROM_THE_BEGINNING else [join.since]),
    ]  # fmt: skip

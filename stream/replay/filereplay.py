"""A replay over a file: what its columns and times are, which pane suits it, and the way through the machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.seasons import HOUR_MS
from driftbus.schemas.config import Config, KafkaConfig, LimitsConfig, MonitorConfig
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import JoinConfig, PerformanceConfig
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.schemas.textparts import derived_columns
from driftbus.schemas.vectorparts import derived_columns as derived_of_vectors
from driftbus.stream.files.filetimes import Timeline, evenly, nice_pane_ms, rate_per_s, read_times, sort_if_needed
from driftbus.stream.files.rows import block_of, blocks_of
from driftbus.stream.files.survey import Wishes, check_column, guessed_label
from driftbus.stream.files.table import BATCH_ROWS, Table, open_table
from driftbus.stream.files.training import (
    Training,
    make_profile,
    monitor_name,
    read_training,
    season_note,
    with_mapping,
)
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.replay.filelabels import ROW, FileLabels, LabelWishes, cohort_ms_of, find_label, read_labels
from driftbus.stream.replay.replay import Progress, Replay, Write
from driftbus.stream.replay.tracks import Tracks

STREAM = "predictions"

_POINTS = 52
_LEAST_BATCH = 256
EVERY_MS = 1_000
"""Between the rows of a file without a time column."""


@dataclass(slots=True)
class FileReplay:
    """A file, ready to be replayed.

    Attributes:
        table: the file.
        training: its reference.
        profile: of the watched columns.
        timeline: when its rows happened.
        monitor: name of its only monitor.
        pane_ms: pane length.
        plans: for the machines.
        left_out: (column, why).
        notes: sentences for people.
        labels: what became of its predictions, None without labels.
    """

    table: Table
    training: Training
    profile: Profile
    timeline: Timeline
    monitor: str
    pane_ms: int
    plans: Plans
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: FileLabels | None = None

    @property
    def rows(self) -> int:
        return int(self.timeline.time_ms.size)

    def run(self, write: Write, progress: Progress, tracks: Tracks | None = None) -> Replay:
        """Through the machines, from the first row to the last.

        Args:
            write: called with every event, in order.
            progress: called with the number of rows done since the last call.
            tracks: takes what the page needs; None: there is no page.
        """
        replay = Replay(self.plans, write, tracks)
        projection = self.plans.topics[self.table.name].projection
        rows = min(BATCH_ROWS, max(_LEAST_BATCH, self.rows // _POINTS))
        numbered = ROW if self.labels is not None and self.labels.id == ROW else ""
        told = 0
        for at, block in blocks_of(self.table, projection, self.timeline.time_ms, self.timeline.order, rows, numbered):
            offsets = np.arange(at, at + block.n, dtype=np.int64)
            # rows without a time column have their times as Kafka timestamps, like records without such a field;
            # labels find only predictions that have one
            timed = self.timeline.column and self.labels is None
            stamps = np.full(block.n, -1, np.int64) if timed else np.maximum(block.time_ms, -1)
            replay.feed(self.table.name, 0, block, offsets, stamps, np.ones(block.n, np.bool_))
            told = self._tell(replay, told, int(block.time_ms.max()))
            replay.sample()
            progress(block.n)
        self._tell(replay, told, int(np.iinfo(np.int64).max))
        replay.finish()
        return replay

    def _tell(self, replay: Replay, at: int, until_ms: int) -> int:
        """Feed the labels that have come by a time; the number of those fed so far."""
        if self.labels is None:
            return 0
        end = int(np.searchsorted(self.labels.time_ms, until_ms, side="right"))
        projection = self.plans.topics[self.labels.topic].projection
        while at < end:
            to = min(end, at + BATCH_ROWS)
            times = self.labels.time_ms[at:to]
            block = block_of(self.labels.rows.slice(at, to - at), projection, times.copy(), self.table.decimal_comma)
            offsets = np.arange(at, to, dtype=np.int64)
            replay.feed(self.labels.topic, 0, block, offsets, times, np.ones(block.n, np.bool_))
            at = to
        return end


def prepare(
    data: Path,
    reference: Path,
    wishes: Wishes,
    *,
    every_ms: int | None = None,
    pane_ms: int | None = None,
    segments: tuple[str, ...] = (),
    config: Config | None = None,
    monitor: str = "",
    labels: LabelWishes | None = None,
) -> FileReplay:
    """Find out what a file is and how to replay it.

    Args:
        data, reference: the files; the reference may be a profile (.json).
        wishes: what is said about the columns.
        every_ms: row i happens at 2000-01-01 + i times this; None: the time column says it.
        pane_ms: pane length; None: chosen from the file's rate, or the configuration's.
        segments: columns whose values are watched on their own.
        config: its detection, policies and limits are used; None: the defaults.
        monitor: its monitor, "" when it has only one.
        labels: where labels are and when they came; None: nothing is said.

    Raises:
        ConfigError: a file can't be read, or a named column does not exist.
    """
    table = open_table(data)
    base = _base_monitor(config, monitor)
    if base is not None:
        mapped = base[1].predictions or base[1].features or base[1].labels
        assert mapped is not None
        wishes = with_mapping(wishes, mapped, table.names)
        segments = segments or tuple(base[1].segments)
    training = read_training(reference, _wishes_for(reference, table, replace(wishes, untimed=every_ms is not None)))
    for segment in segments:
        check_column(segment, table.names, table.name, "--segment")
    timeline = _timeline(table, training, wishes, every_ms)
    if not timeline.time_ms.size:
        raise ConfigError(f"{table.path} has no rows")
    name = base[0] if base else monitor_name(data)
    notes = [*training.notes, *table.notes, *timeline.notes]
    said = labels or LabelWishes()
    label = find_label(table, training, wishes, said) if said.path or _predicts(training, table) else ""
    wishes = replace(wishes, label=label or wishes.label)
    left_out = _left_out(training, table, timeline.column)
    watched = _watched(training, table, timeline.column, wishes, left_out) - {label}
    season = base[1].detection.season if base else None
    performance = base[1].performance if base else PerformanceConfig()
    profile = make_profile(
        training, name, STREAM, columns=watched, segments=segments, season=season, label=label, performance=performance
    )
    told = read_labels(table, timeline, training, label, wishes, said, name) if label else None
    if not profile.columns:
        raise ConfigError(f"{table.path} and {reference} have no column in common", fix="are these the right files?")
    roles = {column.role: column.name for column in profile.columns}
    stream = StreamConfig(
        topic=table.name,
        time=timeline.column,
        id=wishes.id if told is None else told.id,
        score=roles.get("score", ""),
        prediction=roles.get("prediction", ""),
        label=roles.get("label", "") if told is None else "",
        version=_version(base, table),
    )
    seasonal = profile.season is not None and bool(profile.season.columns)
    most = HOUR_MS if seasonal and timeline.column else None
    pane = pane_ms or (config.pane_ms(base[0]) if config and base else nice_pane_ms(timeline, most))
    notes += [season_note(profile, pane)] if seasonal else []
    limits = config.limits if config else LimitsConfig()
    settings = base[1] if base else MonitorConfig(predictions=stream)
    if base is None:
        settings = settings.model_copy(
            update={"detection": settings.detection.model_copy(update={"events_per_second": rate_per_s(timeline)})}
        )
    settings = settings.model_copy(
        update={"predictions": stream, "features": None, "labels": None, "segments": list(segments), "pane": pane}
    )
    profiles = {(name, STREAM): profile}
    if told is not None:
        profiles[name, "labels"] = told.profile
        settings = _with_labels(settings, told, None if base else cohort_ms_of(timeline, pane))
        notes += told.notes
    sort_if_needed(timeline, pane, limits.lateness, table.name)
    whole = Config(kafka=KafkaConfig(bootstrap="none"), monitors={name: settings}, limits=limits)
    plans = build_plans(whole, profiles, dict.fromkeys([table.name, *([told.topic] if told else [])], 1), 1)
    notes += [note for note in timeline.notes if note not in notes]
    return FileReplay(table, training, profile, timeline, name, pane, plans, left_out, notes, told)


def _predicts(training: Training, table: Table) -> bool:
    """Whether the file has a score or a prediction that labels can be compared with."""
    if training.survey is not None:
        named = [training.survey.named(role) for role in ("score", "prediction")]
    else:
        assert training.profile is not None
        named = [c.name for c in training.profile.columns if c.role in ("score", "prediction")]
    return any(name in table.names for name in named if name)


def _with_labels(settings: MonitorConfig, labels: FileLabels, cohort_ms: int | None) -> MonitorConfig:
    """A monitor that joins labels; the horizon holds the latest of them."""
    horizon = max(settings.join.horizon, -(-labels.lag_ms * 9 // 8) + 1)
    join = JoinConfig(**{**settings.join.model_dump(), "horizon": horizon})
    update: dict[str, object] = {
        "labels": StreamConfig(topic=labels.topic, id=labels.id, label=labels.label),
        "join": join,
    }
    if cohort_ms is not None:
        update["performance"] = settings.performance.model_copy(update={"cohort": cohort_ms})
    return settings.model_copy(update=update)


def _base_monitor(config: Config | None, monitor: str) -> tuple[str, MonitorConfig] | None:
    if config is None:
        return None
    if monitor and monitor not in config.monitors:
        raise ConfigError(
            f"there is no monitor {monitor!r}", key="--monitor", fix=f"choose from {', '.join(config.monitors)}"
        )
    if not monitor and len(config.monitors) > 1:
        raise ConfigError(
            "the configuration has several monitors", key="--monitor", fix=f"choose from {', '.join(config.monitors)}"
        )
    name = monitor or next(iter(config.monitors))
    return name, config.monitors[name]


def _version(base: tuple[str, MonitorConfig] | None, table: Table) -> str:
    mapped = base[1].predictions.version if base and base[1].predictions else ""
    return mapped if mapped in table.names else ""


def _wishes_for(reference: Path, table: Table, wishes: Wishes) -> Wishes:
    """The wishes as far as they concern the reference: a column may be in only one of the files."""
    if reference.suffix.lower() == ".json":
        return wishes
    known = open_table(reference).names
    check_column(wishes.time, table.names, table.name, "--time")
    either = tuple(dict.fromkeys((*table.names, *known)))
    for option in ("id", "score", "prediction", "label"):
        check_column(getattr(wishes, option), either, f"neither {table.name} nor {reference.name}", f"--{option}")
    for name in wishes.ignore:
        check_column(name, either, f"neither {table.name} nor {reference.name}", "--ignore")
    return replace(
        wishes,
        time=wishes.time if wishes.time in known else "",
        id=wishes.id if wishes.id in known else "",
        score=wishes.score if wishes.score in known else "",
        prediction=wishes.prediction if wishes.prediction in known else "",
        label=wishes.label if wishes.label in known else "",
        ignore=tuple(name for name in wishes.ignore if name in known),
    )


def _timeline(table: Table, training: Training, wishes: Wishes, every_ms: int | None) -> Timeline:
    if every_ms is None:
        found = read_times(table, wishes, *training.time)
        if found is not None:
            return found
    rows = sum(batch.num_rows for batch in table.batches(table.names[:1]))
    timeline = evenly(rows, every_ms or EVERY_MS)
    if every_ms is None:
        timeline.notes.append(
            f"{table.name} has no time column: row i happens at 2000-01-01 + i × {format_duration(EVERY_MS)} (--every)"
        )
    return timeline


def _left_out(training: Training, table: Table, time: str) -> list[tuple[str, str]]:
    """Columns that are not watched, and why."""
    if training.survey is None:
        assert training.profile is not None
        watched = _fields_of(column.name for column in training.profile.columns) | {time}
        return [(name, "not in the profile") for name in table.names if name not in watched]
    told = training.survey.left_out
    known = {*_fields_of(training.survey.data), training.survey.time, time, *(name for name, _ in told)}
    new = [(name, f"not in {training.name}") for name in table.names if name not in known]
    return [(name, why) for name, why in told if name != time] + new


def _fields_of(columns: Iterable[str]) -> set[str]:
    """The columns, and the texts and embeddings that some of them are derived from."""
    names = set(columns)
    return names | {field for field, _ in derived_columns(names).values()} | set(derived_of_vectors(names).values())


def _watched(training: Training, table: Table, time: str, wishes: Wishes, left_out: list[tuple[str, str]]) -> set[str]:
    """Columns of the reference that are watched in the data; adds those that are not to `left_out`.

    A feature that the data lacks is watched as all null: its loss is drift. An outcome that has
    not come yet is no loss.
    """
    if training.survey is None:
        assert training.profile is not None
        return {column.name for column in training.profile.columns}
    data = training.survey.data
    derived = {*derived_columns(data), *derived_of_vectors(data)}
    missing = [name for name in data if name not in table.names and name not in derived]
    labels = {
        name: "" if name == wishes.label else "?"
        for name in missing
        if name == wishes.label or guessed_label(name, data[name], alone=len(missing) == 1)
    }
    left_out += [(name, f"only in {training.name}: the label{doubt}") for name, doubt in labels.items()]
    return {name for name in data if name not in labels and name != time}

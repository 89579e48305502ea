"""driftbus.yaml as typed values. Every default is right for most and is documented where it is set."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from driftbus.schemas.accessconfig import KafkaConfig as KafkaConfig
from driftbus.schemas.accessconfig import RegistryConfig as RegistryConfig
from driftbus.schemas.accessconfig import WebConfig
from driftbus.schemas.configtypes import DurationMs, Model, format_duration
from driftbus.schemas.outcomeconfig import ComparisonConfig, JoinConfig, PerformanceConfig
from driftbus.schemas.retrainconfig import RetrainConfig
from driftbus.schemas.streamconfig import LabelsConfig, StreamConfig


class LearnConfig(Model):
    """A reference learned from the stream's own first period, when no profile is given."""

    period: DurationMs = Field(default=86_400_000, description="event time to learn from")
    min_rows: int = Field(default=1_000, ge=100)
    max_rows: int = Field(
        default=50_000, ge=100, description="sample size; the rows with the smallest hash of their id"
    )
    segment_rows: int = Field(
        default=5_000,
        ge=1_000,
        description="a segment's first rows, which become its own reference: segments differ from one another",
    )


Detector = Literal["adwin", "psi", "ks", "js", "hellinger", "wasserstein", "chi2", "tv", "cusum", "page_hinkley"]
"""Detectors of distributions; docs/detectors has a page of each."""


class SeasonConfig(Model):
    """Cycles of the day and of the week that a reference knows."""

    kind: Literal["auto", "none", "hour_of_day", "day_type", "hour_of_week"] = Field(
        default="auto",
        description="slots that have a reference of their own: auto takes those that predict better, column by "
        "column; day_type is hours of weekdays and of weekends",
    )
    time_zone: str = Field(default="UTC", description="of the slots: a name of the tz database, as Europe/Lisbon")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            _ = name == "UTC" or ZoneInfo(name)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"{name!r} is not a time zone; write one as Europe/Lisbon") from error
        return name


class DetectionConfig(Model):
    """What decides an alarm. The defaults were measured; docs/detection.md has the numbers."""

    false_alarms_per_week: float | None = Field(
        default=1.0, gt=0, description="accepted by the whole monitor; null: undivided significance levels"
    )
    events_per_second: float = Field(default=10.0, gt=0, description="expected rate, for the false-alarm budget")
    detectors: tuple[Detector, ...] = Field(
        default=("adwin", "psi"), min_length=1, description="which detectors look at distributions"
    )
    windows: tuple[int, ...] = Field(default=(1_000, 5_000), description="values in the sliding windows")
    psi_min: float = Field(default=0.02, ge=0, description="no PSI alarm below this effect, whatever its significance")
    max_columns: int = Field(default=500, ge=1)
    max_groups: int = Field(
        default=64,
        ge=1,
        description="versions, and as many segments; versions beyond are judged together as __other__, "
        "segments beyond only among all rows",
    )
    range: bool = Field(default=False, description="alarm when values leave the reference's range")
    relations: bool = Field(
        default=True, description="watch what is between columns, where the profile holds sampled rows"
    )
    sample_rows: int = Field(
        default=64,
        ge=0,
        le=1_000,
        description="rows sampled of each pane, for what counts can't show: relations between columns, distinct "
        "values, repeated ids, freshness; 0: none",
    )
    season: SeasonConfig = SeasonConfig()

    @model_validator(mode="after")
    def _something_decides(self) -> DetectionConfig:
        if not self.windows and not {"adwin", "cusum", "page_hinkley"} & set(self.detectors):
            raise ValueError("these detectors look at windows: write windows: [1000, 5000], or add adwin to detectors")
        return self


class MonitorConfig(Model):
    """A model or a feature view that is watched."""

    predictions: StreamConfig | None = None
    features: StreamConfig | None = None
    labels: LabelsConfig | None = None
    segments: list[str] = Field(default_factory=list, description="fields whose values are watched on their own")
    profile: str | None = Field(
        default=None, description="path of a profile file; empty: from driftbus.profiles, or learned"
    )
    profiles: dict[str, str] = Field(
        default_factory=dict, description="version: path of its own profile; others are on driftbus.profiles"
    )
    learn: LearnConfig = LearnConfig()
    pane: DurationMs | None = Field(default=None, description="overrides the default pane")
    detection: DetectionConfig = DetectionConfig()
    join: JoinConfig = JoinConfig()
    performance: PerformanceConfig = PerformanceConfig()
    comparisons: list[ComparisonConfig] = Field(
        default_factory=list, description="versions side by side: champion and challenger, shadow, canary, A/B"
    )
    retrain: RetrainConfig | None = RetrainConfig()

    @model_validator(mode="after")
    def _some_stream(self) -> MonitorConfig:
        if not self.streams:
            raise ValueError("a monitor needs at least one of predictions, features, labels")
        if self.retrain is not None and self.outcomes == "none":
            for leaf in (leaf for rule in self.retrain.rules for leaf in rule.leaves):
                if leaf.performance is not None or leaf.labels is not None:
                    name = "labels" if leaf.performance is None else "performance"
                    raise ValueError(
                        f"retrain: a rule of {name} needs labels that find their predictions: map labels.label, and "
                        "labels.id with predictions.id"
                    )
        return self

    @property
    def outcomes(self) -> Literal["none", "joined", "echoed"]:
        """How labels find what was predicted: by id, or because they carry it themselves."""
        labels = self.labels
        if labels is None or not labels.label:
            return "none"
        if labels.score or labels.prediction:
            return "echoed"
        return "joined" if labels.id and self.predictions is not None and self.predictions.id else "none"

    @property
    def streams(self) -> dict[str, StreamConfig]:
        """The monitor's topics by stream name."""
        named = {"predictions": self.predictions, "features": self.features, "labels": self.labels}
        return {name: stream for name, stream in named.items() if stream is not None}


class TopicsConfig(Model):
    """Names of driftbus's own topics."""

    summaries: str = "driftbus.summaries"
    drift: str = "driftbus.drift"
    incidents: str = "driftbus.incidents"
    performance: str = "driftbus.performance"
    retrain: str = "driftbus.retrain"
    state: str = "driftbus.state"
    profiles: str = "driftbus.profiles"
    deadletter: str = "driftbus.deadletter"
    summaries_partitions: int = Field(default=4, ge=1, description="fixed for the life of the system")
    replication: int = Field(default=1, ge=1)


class OutputConfig(Model):
    """How drift events, incidents and retrain triggers are written."""

    format: Literal["avro", "cloudevents-json"] = "avro"


class RunConfig(Model):
    """The worker."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    web: WebConfig = WebConfig()
    metrics_columns: int = Field(
        default=50, ge=0, description="columns per monitor with metrics of their own; the rest is __other__"
    )
    store: str = Field(
        default="driftbus-store",
        description="folder of the predictions that wait for labels; it is rebuilt from the topics when it is lost",
    )
    snapshot_every: DurationMs = 60_000
    commit_every: DurationMs = 1_000
    preview_every: DurationMs = 10_000
    seal_after: DurationMs = Field(
        default=300_000, description="a silent partition is passed over after this; 0: never"
    )
    log: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class LimitsConfig(Model):
    """Bounds that the protocol needs; they are part of a source's epoch."""

    pane: DurationMs = Field(default=10_000, gt=0, description="bucket of event time, the unit of everything")
    lateness: DurationMs = Field(default=60_000, description="how long a pane waits for late records, in event time")
    retention: DurationMs = Field(default=3_600_000, description="later than this, a record is expired instead of late")
    range_records: int = Field(default=100_000, ge=1, description="a range is cut after so many records")
    range_entries: int = Field(default=256, ge=1, description="or so many (group, pane) entries")
    future: DurationMs = Field(
        default=3_600_000, description="an event time this far beyond its Kafka timestamp is refused"
    )
    record_bytes: int = Field(default=1_048_576, ge=1)


class Config(Model):
    """The whole of driftbus.yaml."""

    app: str = Field(
        default="driftbus",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="consumer group; one per independent deployment",
    )
    kafka: KafkaConfig
    registry: RegistryConfig = RegistryConfig()
    monitors: dict[str, MonitorConfig]
    topics: TopicsConfig = TopicsConfig()
    output: OutputConfig = OutputConfig()
    run: RunConfig = RunConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.monitors:
            raise ValueError("monitors: name at least one")
        panes: dict[str, tuple[str, int]] = {}
        for name, monitor in self.monitors.items():
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
                raise ValueError(f"monitors.{name}: use letters, digits, dot, dash and underscore, at most 100")
            for stream in monitor.streams.values():
                pane = self.pane_ms(name)
                other, known = panes.setdefault(stream.topic, (name, pane))
                if known != pane:
                    raise ValueError(
                        f"monitors.{name}.pane: topic {stream.topic} is also read by {other} with pane "
                        f"{format_duration(known)}; monitors of one topic share one pane"
                    )
        return self

    def pane_ms(self, monitor: str) -> int:
        """Pane length of a monitor, in milliseconds."""
        own = self.monitors[monitor].pane
        return own if own is not None else self.limits.pane

"""driftbus.yaml as typed values. Every default is right for most and is documented where it is set."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")


def parse_duration_ms(value: Any) -> int:
    """Milliseconds in a duration like ``10s``, ``1.5h`` or ``7d``.

    Raises:
        ValueError: it is not a number followed by ms, s, m, min, h, d or w.
    """
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit: 10s, 5m, 1h, 7d")
    return round(float(match[1]) * _UNITS_MS[match[2]])


def format_duration(ms: int) -> str:
    """The shortest exact form of a duration: ``90000`` → ``90s``."""
    for unit in ("w", "d", "h", "m", "s"):
        if ms and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def _duration_in(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else parse_duration_ms(value)


_DURATION_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^{_DURATION.pattern}$"}, {"type": "integer", "minimum": 0}]
}

DurationMs = Annotated[
    int,
    BeforeValidator(_duration_in),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
    Field(ge=0),
]
"""Milliseconds, written in YAML as ``10s``, ``5m``, ``1h`` or ``7d``."""


def _cron(line: str) -> str:
    advice = "write minute, hour, day of month, month and day of week: '0 2 * * SUN'"
    if len(line.split()) != 5:
        raise ValueError(f"{line!r} is not a cron line; {advice}")
    try:
        croniter(line, 0.0).get_next()
    except ValueError as e:  # croniter's errors are all ValueErrors, also that of a date that never comes
        raise ValueError(f"{line!r} is not a cron line ({str(e).removeprefix(f'[{line}] ')}); {advice}") from e
    return line


CronLine = Annotated[str, AfterValidator(_cron)]
"""Five fields, in UTC."""

Severity = Literal["minor", "moderate", "severe"]
SEVERITIES: tuple[Severity, ...] = ("minor", "moderate", "severe")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaConfig(_Model):
    """How to reach the brokers."""

    bootstrap: str = Field(description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    username: str | None = None
    password: SecretStr | None = Field(
        default=None, description="better: the environment variable DRIFTBUS_KAFKA_PASSWORD"
    )
    ca: str | None = Field(default=None, description="path of the CA certificate (PEM)")
    certificate: str | None = Field(default=None, description="path of the client certificate (PEM)")
    key: str | None = Field(default=None, description="path of the client key (PEM)")
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="consumer: KIP-848, Kafka 4.0 and newer"
    )
    instance_id: str | None = Field(default=None, description="static membership: a restart leaves the peers untouched")
    session_timeout: DurationMs = 10_000
    options: dict[str, Any] = Field(default_factory=dict, description="any other librdkafka property")

    def librdkafka(self) -> dict[str, Any]:
        """The properties that every librdkafka client needs to connect."""
        pairs = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": None if self.security_protocol == "PLAINTEXT" else self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password.get_secret_value() if self.password else None,
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        return {k: v for k, v in pairs.items() if v is not None} | self.options


class RegistryConfig(_Model):
    """Where writer schemas come from: a Confluent-compatible registry, or .avsc files."""

    url: str | None = None
    username: str | None = None
    password: SecretStr | None = Field(
        default=None, description="better: the environment variable DRIFTBUS_REGISTRY_PASSWORD"
    )
    ca: str | None = None
    timeout: DurationMs = 5_000


class StreamConfig(_Model):
    """One topic of a monitor and how its fields are read. Everything that is not mapped is a feature."""

    topic: str
    schema_file: str | None = Field(default=None, description=".avsc of records that carry no schema id")
    time: str = Field(default="", description="field of the event time; empty: the record's Kafka timestamp")
    time_unit: Literal["s", "ms", "us", "ns"] = Field(
        default="ms", description="of a plain number; a logical type overrides it"
    )
    id: str = Field(default="", description="field that identifies the prediction")
    score: str = Field(default="", description="field of the model's score (a number)")
    prediction: str = Field(default="", description="field of the predicted class or value")
    label: str = Field(default="", description="field of the outcome")
    version: str = Field(default="", description="field of the model's version")
    where: dict[str, str] = Field(default_factory=dict, description="only records whose fields equal these texts")
    rename: dict[str, str] = Field(default_factory=dict, description="field path: column name in the profile")
    categorical: list[str] = Field(default_factory=list, description="numbers to be treated as categories")
    text: list[str] = Field(
        default_factory=list, description="fields of free text: watched by length, words, kinds of characters"
    )
    ignore: list[str] = Field(default_factory=list, description="fields to leave out")


class LearnConfig(_Model):
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


class SeasonConfig(_Model):
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


class DetectionConfig(_Model):
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


class DriftPolicy(_Model):
    """Retrain when enough columns have drifted."""

    columns: int = Field(default=3, ge=1, description="at least so many columns with an open episode")
    any_of: list[str] = Field(default_factory=list, description="only these columns count; empty: all")
    severity: Severity = "moderate"
    window: DurationMs = Field(default=0, description="length of a policy window; 0: ten panes")
    for_: str = Field(default="2 windows", alias="for", description="'2 windows' or '2 of 3 windows'")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def m_of_n(self) -> tuple[int, int]:
        """(M, N): the condition holds in M of the last N windows."""
        match = re.fullmatch(r"\s*(\d+)(?:\s*of\s*(\d+))?\s*(?:windows?)?\s*", self.for_)
        if match is None:
            raise ValueError(f"{self.for_!r}: write '2 windows' or '2 of 3 windows'")
        m, n = int(match[1]), int(match[2] or match[1])
        if not 1 <= m <= n <= 1000:
            raise ValueError(f"{self.for_!r}: need 1 <= M <= N <= 1000")
        return m, n

    @model_validator(mode="after")
    def _readable(self) -> DriftPolicy:
        self.m_of_n  # noqa: B018 - raises when it can't be read
        return self


class PolicyRule(_Model):
    """One reason to retrain: exactly one of the keys."""

    drift: DriftPolicy | None = None
    schedule: CronLine | None = Field(default=None, description="cron line, in event time, UTC")

    @model_validator(mode="after")
    def _exactly_one(self) -> PolicyRule:
        if (self.drift is None) == (self.schedule is None):
            raise ValueError("write exactly one of drift, schedule")
        return self


class RetrainConfig(_Model):
    """When a retrain trigger is published."""

    any: list[PolicyRule] = Field(default_factory=lambda: [PolicyRule(drift=DriftPolicy())])
    cooldown: DurationMs = Field(default=86_400_000, description="no second trigger within this event time")
    dry_run: bool = False


class MonitorConfig(_Model):
    """A model or a feature view that is watched."""

    predictions: StreamConfig | None = None
    features: StreamConfig | None = None
    labels: StreamConfig | None = None
    segments: list[str] = Field(default_factory=list, description="fields whose values are watched on their own")
    profile: str | None = Field(
        default=None, description="path of a profile file; empty: from driftbus.profiles, or learned"
    )
    learn: LearnConfig = LearnConfig()
    pane: DurationMs | None = Field(default=None, description="overrides the default pane")
    detection: DetectionConfig = DetectionConfig()
    retrain: RetrainConfig | None = RetrainConfig()

    @model_validator(mode="after")
    def _some_stream(self) -> MonitorConfig:
        if not self.streams:
            raise ValueError("a monitor needs at least one of predictions, features, labels")
        return self

    @property
    def streams(self) -> dict[str, StreamConfig]:
        """The monitor's topics by stream name."""
        named = {"predictions": self.predictions, "features": self.features, "labels": self.labels}
        return {name: stream for name, stream in named.items() if stream is not None}


class TopicsConfig(_Model):
    """Names of driftbus's own topics."""

    summaries: str = "driftbus.summaries"
    drift: str = "driftbus.drift"
    incidents: str = "driftbus.incidents"
    retrain: str = "driftbus.retrain"
    state: str = "driftbus.state"
    profiles: str = "driftbus.profiles"
    deadletter: str = "driftbus.deadletter"
    summaries_partitions: int = Field(default=4, ge=1, description="fixed for the life of the system")
    replication: int = Field(default=1, ge=1)


class OutputConfig(_Model):
    """How drift events, incidents and retrain triggers are written."""

    format: Literal["avro", "cloudevents-json"] = "avro"


class RunConfig(_Model):
    """The worker."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    metrics_columns: int = Field(
        default=50, ge=0, description="columns per monitor with metrics of their own; the rest is __other__"
    )
    snapshot_every: DurationMs = 60_000
    commit_every: DurationMs = 1_000
    preview_every: DurationMs = 10_000
    seal_after: DurationMs = Field(
        default=300_000, description="a silent partition is passed over after this; 0: never"
    )
    log: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class LimitsConfig(_Model):
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


class Config(_Model):
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

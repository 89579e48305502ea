"""What the join of a label topic needs to know, as plain values: fields, segments of time, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.columns import Projection

STREAM = "outcomes"
"""Stream of the groups whose entries are outcomes."""

SEGMENTS = 8
"""Segments of time that a horizon is divided into."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Paths of what is read of a record; "" where nothing is mapped.

    Args:
        id: of the prediction.
        score: number: the score, or the predicted value (regression).
        prediction: text: the predicted class.
        version: text.
        segments: texts.
        where: (path, text that it must have).
        label: the outcome (labels only).
        made: when the prediction was made (labels that carry it).
        unless: (path, text) that it must not have.
    """

    id: str
    score: str
    prediction: str
    version: str
    segments: tuple[str, ...]
    where: tuple[tuple[str, str], ...]
    label: str = ""
    made: str = ""
    unless: tuple[tuple[str, str], ...] = ()

    def strings(self) -> list[str]:
        """Paths that are read as text."""
        wanted = [self.id, self.prediction, self.version, *self.segments, *(path for path, _ in self.where), self.label]
        return [path for path in dict.fromkeys(wanted) if path]

    def numbers(self, shape: OutcomeShape) -> list[str]:
        """Paths that are read as numbers."""
        label = self.label if shape.kind == "regression" else ""
        return [path for path in dict.fromkeys([self.score, label, self.made]) if path]


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """How the labels of one monitor find what was predicted.

    Args:
        monitor: its name.
        shard: its summaries partition.
        shape: how pairs are counted.
        labels: fields of the labels.
        predictions: fields of the predictions; None: the labels carry what was predicted.
        topic: of the predictions, "" when none are needed.
        names: names of the segment fields.
        segment_ms: length of a segment of time, an eighth of the horizon.
        wait_ms: how far a label may come before its prediction.
        grace_ms: how long predictions must have been silent before labels are resolved without newer ones.
        sample: share of the ids that are kept.
        cohort_ms: length of a cohort.
        future_ms: a prediction whose event time is this far beyond its Kafka timestamp is refused.
        since: the first segment of time whose predictions are asked for.
        shadow: whether it is of a version that scores what others score too; labels without a prediction of such
            a version are no orphans.
    """

    monitor: str
    shard: int
    shape: OutcomeShape
    labels: Fields
    predictions: Fields | None
    topic: str
    names: tuple[str, ...]
    segment_ms: int
    wait_ms: int
    grace_ms: int
    sample: float
    cohort_ms: int
    future_ms: int
    since: int = -(1 << 62)
    shadow: bool = False

    @property
    def threshold(self) -> int:
        """Ids whose second hash lies below this are kept; 2^64 for all."""
        return int(self.sample * (1 << 64))


@dataclass(frozen=True, slots=True)
class PredictionSource:
    """A topic of predictions as the join reads it: only the fields that it needs.

    Args:
        topic: the topic.
        projection: its columns.
        stream: (monitor, stream) whose settings decode it.
    """

    topic: str
    projection: Projection
    stream: tuple[str, str]


@dataclass(frozen=True, slots=True)
class OutcomeSource:
    """The outcomes of a label topic as a judge sees them: what a `Chain` needs, and how entries are read.

    Lateness and retention are whole panes.

    Args:
        topic: the label topic.
        epoch: of its outcomes, another than that of its labels.
        partitions: of the topic.
        pane_ms, lateness, retention: of its panes.
        shape: layout of the counts of this monitor's entries.
        cohort_ms: length of a cohort.
        sample: share of the ids that are counted: rates are of these.
        fingerprint: of all that decides what is counted where.
    """

    topic: str
    epoch: str
    partitions: int
    pane_ms: int
    lateness: int
    retention: int
    shape: OutcomeShape
    cohort_ms: int
    sample: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OutcomePlan:
    """One label topic whose labels become outcomes. Lateness and retention are whole panes.

    Args:
        topic: the label topic.
        partitions: of it; labels of a partition find predictions of the same partition.
        labels: columns of the label topic's blocks.
        joins: of each monitor that reads the topic.
        predictions: topic → how it is read.
        log_time: whether panes are those of the Kafka timestamps.
        pane_ms, lateness, retention: of its panes.
        range_records: a range is cut after so many records, so that no part grows too large.
        future_ms: a label whose event time is this far beyond its Kafka timestamp is refused.
        shards: partitions of the summaries topic.
        counting: monitor → fingerprint of what decides which of its labels are counted where.
        epoch: adds how ranges are cut and spread.
    """

    topic: str
    partitions: int
    labels: Projection
    joins: tuple[JoinPlan, ...]
    predictions: Mapping[str, PredictionSource]
    log_time: bool
    pane_ms: int
    lateness: int
    retention: int
    range_records: int
    future_ms: int
    shards: int
    counting: Mapping[str, str]
    epoch: str

    def source(self, monitor: str) -> OutcomeSource | None:
        """The outcomes of one monitor; None: its labels aren't counted here."""
        join = next((join for join in self.joins if join.monitor == monitor), None)
        if join is None:
            return None
        return OutcomeSource(
            self.topic, self.epoch, self.partitions, self.pane_ms, self.lateness, self.retention,
            join.shape, join.cohort_ms, join.sample, self.counting[monitor],
        )  # fmt: skip

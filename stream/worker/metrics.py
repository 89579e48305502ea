"""Prometheus metrics of a worker, on a registry that is passed in.

Cardinality is bounded: columns beyond the configured number share the label ``__other__``, and the
series of a partition or monitor go away when it moves to another worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from driftbus.stream.worker.performancemetrics import PerformanceMetrics

M = TypeVar("M", bound=MetricWrapperBase)

OTHER = "__other__"
ASPECTS = (
    "distribution", "quality", "cardinality", "relation", "volume", "freshness", "duplicates", "schema",
)  # fmt: skip
OUTCOME_ASPECTS = ("performance", "estimated", "concept", "labels", "gap")
SEVERITY = {"": 0, "minor": 1, "moderate": 2, "severe": 3}

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class ColumnState:
    """Present state of a column over all groups of a stream: the worst of them.

    Args:
        score: population stability index of the latest short window, None before it is full.
        severity: of the worst open episode, "" when stable.
        null_rate: greatest share of nulls, None before a window is full.
    """

    score: float | None = None
    severity: str = ""
    null_rate: float | None = None


class Metrics:
    """All series of one worker.

    Args:
        registry: where they are registered.
        columns: columns per stream with series of their own; the rest is ``__other__``.
    """

    def __init__(self, registry: CollectorRegistry, columns: int = 50) -> None:
        self.registry, self._columns = registry, columns
        self._labelled: list[MetricWrapperBase] = []
        self._severities: dict[tuple[str, str], tuple[str, ...]] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return self._keep(Counter(f"driftbus_{name}", text, labels, registry=registry))

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return self._keep(Gauge(f"driftbus_{name}", text, labels, registry=registry))

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return self._keep(Histogram(f"driftbus_{name}", text, labels, registry=registry, buckets=_SECONDS))

        self.events = counter("events", "Records counted.", "topic", "stream")
        self.bytes = counter("bytes", "Bytes of record values read.", "topic")
        self.lag = gauge("consumer_lag", "Records that wait to be read.", "topic", "partition")
        self.watermark_delay = gauge(
            "watermark_delay_seconds", "Wall clock minus event time of the slowest partition here.", "topic"
        )
        self.panes = counter("panes_sealed", "Panes judged.", "monitor", "stream")
        self.late = counter("late_events", "Events too late for their pane: reported, not judged.", "monitor", "stream")
        self.expired = counter("expired_events", "Events later than the retention.", "monitor", "stream")
        self.dead_letters = counter("dead_letters", "Records that could not be counted.", "topic", "reason")
        self.score = gauge("drift_score", "Population stability index, worst group.", "monitor", "stream", "column")
        self.state = gauge(
            "drift_state", "0 stable, 1 minor, 2 moderate, 3 severe, worst group.", "monitor", "stream", "column"
        )
        self.aspect_state = gauge(
            "aspect_state",
            "0 stable, 1 minor, 2 moderate, 3 severe, worst open episode.",
            "monitor",
            "stream",
            "aspect",
        )
        self.null_rate = gauge("null_rate", "Share of nulls, worst group.", "monitor", "stream", "column")
        self.episodes = counter("episodes", "Drift events published.", "monitor", "status", "severity")
        self.open_episodes = gauge("open_episodes", "Open episodes, all groups.", "monitor", "severity")
        self.incidents = counter("incidents", "Events of incidents published.", "monitor", "status", "severity")
        self.open_incidents = gauge("incidents_open", "Open incidents.", "monitor", "severity")
        self.comparisons = counter(
            "comparisons", "Verdicts on versions published.", "monitor", "challenger", "metric", "status"
        )
        self.outcomes = PerformanceMetrics(gauge)
        self.triggers = counter("retrain_triggers", "Retrain triggers published.", "monitor", "policy", "dry_run")
        self.pending = gauge("retrain_pending", "1 while a trigger waits for its new version.", "monitor")
        self.unfit = counter(
            "unfit_rows", "Rows of a version that were counted into another profile's cells, passed over.", "monitor"
        )
        self.beyond = counter(
            "beyond_max_groups_rows",
            "Rows of versions judged as __other__, and of segments judged only among all rows.",
            "monitor",
            "stream",
        )
        self.dropped = counter(
            "dropped_rows", "Rows let go because too many panes or groups waited to be judged.", "monitor", "stream"
        )
        self.snapshot_age = gauge("snapshot_age_seconds", "Age of the oldest snapshot of a monitor judged here.")
        self.snapshot_duration = histogram("snapshot_duration_seconds", "Making and storing one snapshot.")
        self.decode = histogram("decode_seconds", "Decoding one batch.")
        self.step = histogram("step_seconds", "One step of a machine.", "stage")
        self.contradictions = counter(
            "contradictions", "Rows for panes that a forced clock had sealed already.", "monitor"
        )
        self.overtaken = counter(
            "overtaken_outcomes", "What labels said of panes that retrain rules had passed by then.", "monitor"
        )
        self.foreign_parts = counter("foreign_parts", "Parts of another configuration, passed over.", "monitor")
        self.learning = gauge(
            "learning_ratio",
            "Share of the period that a profile is learned from; gone once it is.",
            "monitor",
            "stream",
        )
        self.labels = counter(
            "labels",
            "Labels joined: first of a prediction, revised, duplicate, orphan. Repeated after a crash.",
            "monitor",
            "result",
        )
        place = ("topic", "partition")
        self.join_predictions = gauge("join_predictions", "Predictions that wait for labels.", *place)
        self.join_remembered = gauge("join_remembered_labels", "Predictions whose label is known.", *place)
        self.join_waiting = gauge("join_waiting_labels", "Labels that wait for predictions.", *place)
        self.join_bytes = gauge("join_store_bytes", "Disk that a join takes.", *place)
        self.join_rebuilt = gauge(
            "join_rebuilt_ratio", "Share of a lost store that is made again; 1 when it is.", *place
        )
        self.join_lag = gauge("join_lag", "Predictions that a join has still to read.", *place)
        self.join_delay = gauge(
            "join_delay_seconds", "Wall clock minus that of the predictions that were read.", *place
        )
        self.join_contradictions = counter(
            "join_contradictions", "Predictions that came after labels had been resolved without them.", "topic"
        )
        self.repartitioned = counter("repartitioned", "Labels written to a topic keyed by their id.", "topic")
        self.waiting = gauge("waiting_partitions", "Partitions that wait for something outside.", "topic")

    def _keep(self, metric: M) -> M:
        self._labelled.append(metric)
        return metric

    def show_columns(self, monitor: str, stream: str, states: Mapping[str, ColumnState]) -> None:
        """Set the gauges of a stream's columns, in the profile's order."""
        shown = dict(list(states.items())[: self._columns])
        rest = [state for name, state in states.items() if name not in shown]
        if rest:
            shown[OTHER] = worst(rest)
        for column, state in shown.items():
            labels = (monitor, stream, column)
            self.state.labels(*labels).set(SEVERITY[state.severity])
            if state.score is not None:
                self.score.labels(*labels).set(state.score)
            if state.null_rate is not None:
                self.null_rate.labels(*labels).set(state.null_rate)

    def show_aspects(self, monitor: str, stream: str, episodes: Iterable[tuple[str, str]]) -> None:
        """Set the state of each aspect of a stream, from aspects and severities of its open episodes."""
        levels: dict[str, int] = dict.fromkeys(OUTCOME_ASPECTS if stream == "outcomes" else ASPECTS, 0)
        for aspect, severity in episodes:
            levels[aspect] = max(levels[aspect], SEVERITY[severity])
        for aspect, level in levels.items():
            self.aspect_state.labels(monitor, stream, aspect).set(level)

    def show_open(self, monitor: str, episodes: Iterable[str], incidents: Iterable[str]) -> None:
        """Set how many episodes and incidents of a monitor are open, from their severities."""
        for gauge, severities in ((self.open_episodes, list(episodes)), (self.open_incidents, list(incidents))):
            for severity in list(SEVERITY)[1:]:
                gauge.labels(monitor, severity).set(severities.count(severity))

    def forget_partition(self, topic: str, partition: int) -> None:
        """A source partition is read elsewhere now."""
        self.lag.remove_by_labels({"topic": topic, "partition": str(partition)})

    def forget_join(self, topic: str, partition: int) -> None:
        """A label partition is joined elsewhere now."""
        gauges = (
            self.join_predictions, self.join_remembered, self.join_waiting, self.join_bytes, self.join_rebuilt,
            self.join_lag, self.join_delay,
        )  # fmt: skip
        for gauge in gauges:
            gauge.remove_by_labels({"topic": topic, "partition": str(partition)})

    def forget_topic(self, topic: str) -> None:
        """No partition of a source topic is read here any more: its gauges go, its counters stay."""
        for metric in (self.lag, self.watermark_delay, self.waiting):
            metric.remove_by_labels({"topic": topic})

    def forget_monitor(self, monitor: str) -> None:
        """A monitor is judged elsewhere now: all its series go."""
        for metric in self._labelled:
            if "monitor" in metric._labelnames:
                metric.remove_by_labels({"monitor": monitor})


def worst(states: Iterable[ColumnState]) -> ColumnState:
    """The worst of each figure."""
    found = list(states)

    def most(values: Iterable[float | None]) -> float | None:
        return max((v for v in values if v is not None), default=None)

    return ColumnState(
        score=most(s.score for s in found),
        severity=max((s.severity for s in found), key=SEVERITY.__getitem__, default=""),
        null_rate=most(s.null_rate for s in found),
    )

"""What is told of a model's performance once labels are there.

`driftbus.schemas.events` has all other typed values of the bus.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drift event on outcomes adds to the fields of all drift events.

    Args:
        metric: name of the metric, "" when it is about none.
        value: of the metric, None if it is undefined.
        low, high: bounds on it, None if it is undefined.
        reference_low, reference_high: bounds on the reference's, None without a reference.
        limit: value that it must keep to, None when it is compared with the reference.
        labels: labels behind it.
        coverage: share of the predictions that have a label, 0 to 1; None when predictions aren't counted.
        lag_ms: median time from prediction to label, None when it is not known.
        cohort_start_ms, cohort_end_ms: event time of the predictions, end exclusive.
        moved: which of ``P(X)``, ``P(Y)``, ``P(Ŷ)`` and ``P(Y|Ŷ)`` have moved.
        estimated: whether it was estimated from scores, before labels came.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    reference_low: float | None
    reference_high: float | None
    limit: float | None
    labels: int
    coverage: float | None
    lag_ms: int | None
    cohort_start_ms: int
    cohort_end_ms: int
    moved: tuple[str, ...] = ()
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric of a cohort, its reference, and what was estimated of it before labels came.

    Args:
        name: of the metric.
        value, low, high: from the labels; None if undefined.
        reference, reference_low, reference_high: None without a reference.
        estimated, estimated_low, estimated_high: None when it can't be estimated.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    reference: float | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    estimated: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """How a version did on the predictions of a cohort, as far as labels had come.

    Args:
        id: hash of what was judged.
        monitor, version, segment: whose predictions.
        stage: ``estimated`` (no labels yet), ``first`` (enough labels) or ``final`` (the horizon is over).
        decided_ms: time of the labels at which it was judged; of an estimate event time.
        cohort_start_ms, cohort_end_ms: event time of the predictions, end exclusive.
        predictions: predictions of the cohort, None when they aren't counted.
        labels: predictions that have a label.
        coverage: share of the predictions that have a label, 0 to 1; None when predictions aren't counted.
        lag_ms: median time from prediction to label, None when it is not known.
        corrected: labels that were replaced by another value.
        duplicates: labels that repeated what was known.
        metrics: all that are defined for the kind of model.
        reference_labels: labels behind the reference, 0 without one.
        worst_segment: segment with the worst bound of the leading metric, "" without segments.
        moved: which of ``P(X)``, ``P(Y)``, ``P(Ŷ)`` and ``P(Y|Ŷ)`` have moved against the reference.
        profile_id: hash of the reference.
        fingerprint: of the configuration.
        message: one sentence for a person.
    """

    id: str
    monitor: str
    version: str
    segment: str
    stage: str
    decided_ms: int
    cohort_start_ms: int
    cohort_end_ms: int
    predictions: int | None
    labels: int
    coverage: float | None
    lag_ms: int | None
    corrected: int
    duplicates: int
    metrics: tuple[MetricValue, ...]
    reference_labels: int
    worst_segment: str
    moved: tuple[str, ...]
    profile_id: str
    fingerprint: str
    message: str

    def metric(self, name: str) -> MetricValue | None:
        """The metric of that name, None if there is none."""
        return next((metric for metric in self.metrics if metric.name == name), None)

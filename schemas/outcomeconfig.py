"""What becomes of labels: how they find their predictions, what is measured, which versions are compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from driftbus.schemas.configtypes import DurationMs, InstantMs, Model

Metric = Literal[
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "average_precision", "log_loss", "brier",
    "ece", "prevalence", "mae", "rmse", "bias", "quantile_coverage", "label_mean",
]  # fmt: skip
"""Metrics of performance; docs/performance.md defines each."""

ErrorDetector = Literal["adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley", "kswin"]
"""Detectors that look at errors, one label after the other."""


class JoinConfig(Model):
    """How labels find their predictions, by id. docs/labels.md has the rules."""

    horizon: DurationMs = Field(default=30 * 86_400_000, gt=0, description="labels later than this are orphans")
    wait: DurationMs = Field(default=300_000, description="how far a label may come before its prediction")
    grace: DurationMs = Field(
        default=60_000, description="labels are resolved without newer predictions so long after those fell silent"
    )
    since: InstantMs | None = Field(
        default=None, description="predictions with older Kafka timestamps are not asked for: their labels are orphans"
    )
    sample: float = Field(default=1.0, gt=0, le=1, description="share of the ids that are kept, by hash")
    pane: Literal["log", "event"] = Field(
        default="log", description="time of an outcome: the label's Kafka timestamp, by which none is late, or its own"
    )


class Limit(Model):
    """What a metric must keep to. The alarm is raised by its confidence bound, never by the point."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Limit:
        if self.min is None and self.max is None:
            raise ValueError("write min, max or both")
        return self


class PerformanceConfig(Model):
    """What is measured once labels are there."""

    kind: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    positive: str = Field(default="1", description="label of the positive class (binary)")
    classes: list[str] = Field(default_factory=list, description="labels (multiclass); empty: the profile's")
    threshold: float = Field(default=0.5, description="scores from here on predict the positive class (binary)")
    cohort: DurationMs = Field(default=86_400_000, gt=0, description="predictions of so long are judged together")
    min_labels: int = Field(default=300, ge=10, description="a cohort with fewer is not judged")
    min_coverage: float = Field(
        default=0.5, ge=0, le=1, description="share of a cohort's predictions that need a label before it is judged"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the bounds on each metric")
    margin: float = Field(
        default=0.005,
        ge=0,
        description="how far the bounds of a metric and of its reference must lie apart, as a share of the reference",
    )
    limits: dict[Metric, Limit] = Field(default_factory=dict, description="metric: {min: ...} or {max: ...}")
    detectors: tuple[ErrorDetector, ...] = Field(default=("adwin",), description="which detectors look at errors")
    gap: float | None = Field(
        default=None, gt=0, description="largest difference of a metric between two values of a segment field"
    )
    estimate: bool = Field(default=True, description="estimate performance before labels come")


class ComparisonConfig(Model):
    """Two versions of a monitor side by side on the same panes."""

    champion: str
    challenger: str
    metric: Metric = "accuracy"
    margin: float = Field(default=0.0, ge=0, description="how much worse the challenger may be")
    alpha: float = Field(default=0.05, gt=0, lt=1, description="probability of a wrong verdict, ever")
    share: float | None = Field(
        default=None, gt=0, lt=1, description="share of the traffic that the challenger should get; checked"
    )
    shadow: bool = Field(default=False, description="the challenger scores the champion's rows too, under the same ids")

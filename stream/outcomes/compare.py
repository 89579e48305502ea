"""Whether a metric is worse than its limit or its reference: by bounds that lie apart, never by points."""

from __future__ import annotations

from dataclasses import dataclass

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.verdict import share_effect
from driftbus.schemas.outcomeconfig import Limit

HIGHER = frozenset({"accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "average_precision"})
LOWER = frozenset({"log_loss", "brier", "ece", "mae", "rmse"})
SHARES = HIGHER | {"brier", "ece", "prevalence", "quantile_coverage"}
"""Metrics between 0 and 1."""

LEADING = {
    "binary": ("accuracy", "auc", "log_loss", "precision", "recall"),
    "multiclass": ("accuracy",),
    "regression": ("mae", "bias"),
}
"""Metrics that are compared with the reference, by kind; the first one leads. Metrics with a limit come on top."""

_MODERATE, _SEVERE = 3.0, 8.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A metric that is worse for sure.

    Args:
        metric: its name.
        by: ``limit`` or ``reference``.
        direction: where it went, ``up`` or ``down``.
        severity: ``minor``, ``moderate`` or ``severe``.
        gap: between the bounds, in the unit of the metric.
        margin: what the gap has to exceed.
        limit: that it must keep to, None when it was compared with the reference.
        effect: size, in index units where the metric is a share.
    """

    metric: str
    by: str
    direction: str
    severity: str
    gap: float
    margin: float
    limit: float | None
    effect: float


def against_limit(metric: str, estimate: Estimate, limit: Limit) -> Finding | None:
    """A limit that the whole interval is beyond.

    Args:
        metric: its name.
        estimate: at the confidence that is told.
        limit: of the configuration.
    """
    for bound, wanted, direction in ((estimate.high, limit.min, "down"), (estimate.low, limit.max, "up")):
        gap = 0.0 if wanted is None else (wanted - bound if direction == "down" else bound - wanted)
        if wanted is not None and gap > 0:
            severity = "severe" if gap > estimate.error else "moderate"
            return Finding(metric, "limit", direction, severity, gap, 0.0, wanted, _effect(metric, wanted, estimate))
    return None


def against_reference(metric: str, sure: Estimate, reference: Estimate, margin: float) -> Finding | None:
    """A bound that excludes the reference's by more than a margin.

    Args:
        metric: its name.
        sure, reference: at the confidence that decides.
        margin: in the unit of the metric.
    """
    fallen, risen = reference.low - sure.high, sure.low - reference.high
    gap, direction = (fallen, "down") if fallen >= risen else (risen, "up")
    better = (direction == "up" and metric in HIGHER) or (direction == "down" and metric in LOWER)
    if gap <= margin or better:
        return None
    ratio = gap / margin if margin > 0 else _MODERATE
    severity = "severe" if ratio >= _SEVERE else "moderate" if ratio >= _MODERATE else "minor"
    return Finding(metric, "reference", direction, severity, gap, margin, None, _effect(metric, reference.value, sure))


def is_back(metric: str, told: Estimate, reference: Estimate | None, limit: Limit | None, margin: float) -> bool:
    """Whether the bounds that are told reach those of the reference, and keep to the limit."""
    kept = limit is None or against_limit(metric, told, limit) is None
    return kept and (reference is None or against_reference(metric, told, reference, margin) is None)


def margin_of(metric: str, reference: dict[str, Estimate], share: float) -> float:
    """The margin of a metric: a share of what it is in the reference; of the bias a share of the mean error."""
    basis = reference.get("mae" if metric == "bias" else metric)
    return share * abs(basis.value) if basis is not None else 0.0


def worst(metric: str, estimate: Estimate) -> float:
    """How bad a metric is at best: greater is worse."""
    if metric in HIGHER:
        return -estimate.high
    return estimate.low if metric in LOWER else max(estimate.low, -estimate.high)


def _effect(metric: str, before: float, estimate: Estimate) -> float:
    if metric in SHARES:
        return share_effect(before, estimate.value)
    return abs(estimate.value - before) / max(abs(before), abs(estimate.value), 1e-9)

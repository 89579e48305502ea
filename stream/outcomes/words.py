"""Performance in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from driftbus.detectors.intervals import Estimate
from driftbus.schemas.outcomeevents import Outcome

_LONG = {"auc": "AUC", "f1": "F1", "mae": "mean absolute error", "rmse": "root mean squared error", "ece": "ECE"}


def named(metric: str) -> str:
    """A metric as people say it."""
    return _LONG.get(metric, metric.replace("_", " "))


def number(value: float) -> str:
    """Three digits behind the point, fewer of large numbers."""
    size = abs(value)
    text = f"{value:,.0f}" if size >= 1_000 else f"{value:.1f}" if size >= 100 else f"{value:.3f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def interval(estimate: Estimate) -> str:
    """A value with its bounds: ``0.916 (0.908 to 0.924)``."""
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"


def interval_of(outcome: Outcome) -> str:
    """The same of what an event says."""
    if outcome.value is None or outcome.low is None or outcome.high is None:
        return "unknown" if outcome.value is None else number(outcome.value)
    return f"{number(outcome.value)} ({number(outcome.low)} to {number(outcome.high)})"


def span(start_ms: int, end_ms: int) -> str:
    """A stretch of event time, to the minute."""
    start, end = moment(start_ms), moment(end_ms)
    return f"{start} to {end.removeprefix(start[:11]) if start[:11] == end[:11] else end}"


def moment(ms: int) -> str:
    """A point of event time to the minute, to the day at midnight."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def share(coverage: float | None) -> str:
    """Coverage behind a number of labels."""
    return "" if coverage is None else f" ({coverage:.0%} of the predictions)"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def who(monitor: str, version: str, segment: str) -> str:
    """``credit v12, country=PT``."""
    name = f"{monitor} v{version}" if version and not version.startswith("v") else f"{monitor} {version}".strip()
    return f"{name}, {segment}" if segment else name

"""Gauges of performance: the latest judged cohort of each version, and what is estimated before labels come."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Gauge

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.scored import Tally
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.outcomes.judge import MOST_VERSIONS

MakeGauge = Callable[..., Gauge]


class PerformanceMetrics:
    """The gauges.

    Args:
        gauge: makes one: name, help, labels.
    """

    def __init__(self, gauge: MakeGauge) -> None:
        self.performance = gauge(
            "performance", "A metric of the latest judged cohort; bound is value, low or high.", "monitor", "version",
            "metric", "bound",
        )  # fmt: skip
        self.estimated = gauge(
            "estimated_performance", "A metric estimated from scores, before labels come.", "monitor", "version",
            "metric", "bound",
        )  # fmt: skip
        self.coverage = gauge(
            "label_coverage", "Share of the predictions of the latest judged cohort that have a label.", "monitor",
            "version",
        )  # fmt: skip
        self.label_lag = gauge(
            "label_lag_seconds", "Median time from prediction to label, latest judged cohort.", "monitor", "version"
        )
        self.error = gauge(
            "estimate_error", "Metric by the labels minus what was estimated, latest cohort with labels.", "monitor",
            "version", "metric",
        )  # fmt: skip
        self.scored = gauge(
            "estimates_scored", "Cohorts whose estimate was set beside their labels; within: inside its bounds.",
            "monitor", "version", "metric", "result",
        )  # fmt: skip

    def show(
        self,
        monitor: str,
        reports: Mapping[str, PerformanceReport],
        estimates: Mapping[str, Mapping[str, Estimate]],
        scored: Mapping[str, Mapping[str, Tally]],
    ) -> None:
        """Set the series of a monitor.

        Args:
            monitor: its name.
            reports: version → latest report of all rows, of the versions judged last.
            estimates: version → metric → latest estimate.
            scored: version → metric → how well estimates did, the version scored last at the end.
        """
        for metric in (self.performance, self.coverage, self.label_lag, self.estimated, self.error, self.scored):
            metric.remove_by_labels({"monitor": monitor})
        for version, report in reports.items():
            for m in report.metrics:
                for bound, value in (("value", m.value), ("low", m.low), ("high", m.high)):
                    if value is not None:
                        self.performance.labels(monitor, version, m.name, bound).set(value)
            if report.coverage is not None:
                self.coverage.labels(monitor, version).set(report.coverage)
            if report.lag_ms is not None:
                self.label_lag.labels(monitor, version).set(report.lag_ms / 1_000)
        for version, found in sorted(estimates.items(), reverse=True)[:MOST_VERSIONS]:
            for name, estimate in found.items():
                for bound, value in (("value", estimate.value), ("low", estimate.low), ("high", estimate.high)):
                    self.estimated.labels(monitor, version, name, bound).set(value)
        for version, tallies in list(scored.items())[-MOST_VERSIONS:]:
            for name, tally in tallies.items():
                if tally.latest is not None:
                    self.error.labels(monitor, version, name).set(tally.latest.realised - tally.latest.estimated)
                for result, cohorts in (("within", tally.within), ("outside", tally.cohorts - tally.within)):
                    self.scored.labels(monitor, version, name, result).set(cohorts)

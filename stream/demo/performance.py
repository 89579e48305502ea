"""What the demo shows of performance: estimated before labels came, realised once they had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from driftbus.schemas.outcomeevents import PerformanceReport

METRIC = "accuracy"

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 34
_LEAST_SPAN = 0.04


@dataclass
class Performance:
    """The latest report of each cohort, by the cohort's beginning."""

    cohorts: dict[int, PerformanceReport] = field(default_factory=dict)

    def take(self, report: PerformanceReport) -> None:
        """A report over all rows of the version; of a cohort the one with the most labels counts."""
        known = self.cohorts.get(report.cohort_start_ms)
        if not report.segment and (known is None or report.labels >= known.labels):
            self.cohorts[report.cohort_start_ms] = report

    @property
    def judged(self) -> list[PerformanceReport]:
        """Reports that rest on labels, in order of time."""
        return [r for _, r in sorted(self.cohorts.items()) if r.stage != "estimated"]

    def curves(self) -> tuple[list[float | None], list[float | None], float | None]:
        """Estimated and realised values of each cohort in order of time, and the reference's."""
        values = [r.metric(METRIC) for _, r in sorted(self.cohorts.items())]
        estimated = [None if v is None else v.estimated for v in values]
        labelled = [r.stage != "estimated" for _, r in sorted(self.cohorts.items())]
        realised = [v.value if v is not None and known else None for v, known in zip(values, labelled, strict=True)]
        return estimated, realised, next((v.reference for v in values if v is not None), None)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Two lines: what it is, its curve, the latest value, where that comes from."""
        estimated, realised, reference = self.curves()
        given = [v for v in (*estimated, *realised, reference) if v is not None]
        span = min(given, default=0.0), max(given, default=1.0)
        latest = next((f"{v:.3f}" for v in reversed(estimated) if v is not None), "")
        known = self.judged[-1:]
        value, _, words = said(known[0]).partition(" ") if known else ("", "", "no labels yet")
        return [
            (f"{METRIC}, estimated", levels(estimated, *span), latest, "from scores, before labels come"),
            (f"{METRIC}, realised", levels(realised, *span), value, words),
        ]


def levels(values: Sequence[float | None], low: float, high: float) -> str:
    """Values as bars between two bounds, at least .04 apart; a blank where there is none."""
    low = min(low, high - _LEAST_SPAN)
    scaled = (None if v is None else int((v - low) / (high - low) * len(_BARS)) for v in values)
    return "".join(" " if s is None else _BARS[min(len(_BARS) - 1, max(0, s))] for s in scaled)[-_WIDTH:]


def said(report: PerformanceReport) -> str:
    """A cohort in a few words: value, bounds, labels."""
    value = report.metric(METRIC)
    if value is None or value.value is None or value.low is None or value.high is None:
        return f"{report.labels:,} labels"
    begin = datetime.fromtimestamp(report.cohort_start_ms / 1000, UTC)
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f}) from {begin:%Y-%m-%d}, {report.labels:,} labels"


def summary_lines(performance: Performance) -> list[str]:
    """What labels said at last, and what was estimated before."""
    worst = min(
        (r for r in performance.judged if (m := r.metric(METRIC)) is not None and m.value is not None),
        key=lambda r: r.metric(METRIC).value,  # type: ignore[union-attr, arg-type, return-value]
        default=None,
    )
    if worst is None:
        return ["No cohort has been judged by its labels."]
    value = worst.metric(METRIC)
    assert value is not None
    count = len(performance.judged)
    told = f"{count} cohorts judged by their labels, the worst" if count > 1 else "1 cohort judged by its labels"
    told += f": {METRIC} {said(worst)}"
    if value.estimated is not None:
        told += f"; {value.estimated:.3f} was estimated before they came"
    return [told + (f", {value.reference:.3f} in training." if value.reference is not None else ".")]

"""A judged cohort becomes a report, and episodes where a metric is worse for sure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt
from typing import Any

from driftbus.detectors.cbpe import estimate as estimated
from driftbus.detectors.concept_moved import what_moved
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import concept_view
from driftbus.detectors.intervals import Estimate
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomes import lag_quantile, pairs_now
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.outcomeevents import MetricValue, PerformanceReport
from driftbus.stream.groups import span as offsets_of
from driftbus.stream.join.outcomeplan import OutcomeSource
from driftbus.stream.outcomes import words
from driftbus.stream.outcomes.book import Book, Look
from driftbus.stream.outcomes.cohorts import Judged
from driftbus.stream.outcomes.compare import (
    LEADING,
    Finding,
    against_limit,
    against_reference,
    is_back,
    margin_of,
    worst,
)
from driftbus.stream.outcomes.content import Int, labelled
from driftbus.stream.outcomes.moves import INPUTS, PREDICTIONS
from driftbus.stream.outcomes.moves import named as named_moves
from driftbus.stream.outcomes.reference import Reference, References, scored_column, scores_in
from driftbus.stream.plan import MonitorPlan

DECISIONS = 50
"""The error of the bounds that decide against the reference is so many times smaller than that of those told.

A cohort a day and five metrics and segments are looked at some fifty times in ten days (Bonferroni).
"""

_ORDER = ("P(X)", "P(Y)", "P(Ŷ)", "P(Y|Ŷ)")


def surely(confidence: float) -> float:
    """Confidence of the bounds that decide against the reference."""
    return 1 - (1 - confidence) / DECISIONS


class Verdicts:
    """What a monitor says of its judged cohorts.

    Args:
        plan: of the monitor.
        source: of its outcomes.
        book: its episodes.
        references: what it compares with.
        settings: of the tests of what moved.
    """

    def __init__(
        self,
        plan: MonitorPlan,
        source: OutcomeSource,
        book: Book,
        references: References,
        settings: ConceptSettings,
    ) -> None:
        self._plan, self._source, self._shape, self._book = plan, source, source.shape, book
        self._references, self._settings = references, settings
        self._config = plan.config.performance
        self._profile = next((s.profile for s in plan.streams if s.stream == "predictions"), None)
        self._column = scored_column(self._shape, self._profile)
        self._leading = LEADING[self._shape.kind]
        self._newest: dict[str, int] = {}

    def judge(
        self, judged: Judged, moves: Mapping[str, Sequence[str]]
    ) -> tuple[list[PerformanceReport], list[DriftEvent]]:
        """The reports of a version's cohort, that of all rows first, and what it does to episodes.

        Args:
            judged: the cohort.
            moves: which inputs and predictions had moved, in words.
        """
        drives = judged.enough and judged.cohort >= self._newest.get(judged.version, -1)
        if drives:
            self._newest[judged.version] = judged.cohort
        told: dict[str, dict[str, Estimate]] = {}
        reports: list[PerformanceReport] = []
        events: list[DriftEvent] = []
        for segment, content in judged.groups.items():
            pairs = pairs_now(self._shape, content.counts)
            if labelled(self._shape, pairs) < self._config.min_labels:
                continue
            told[segment] = metrics(self._shape, pairs, None, self._config.confidence)
        for segment, estimates in told.items():
            report, found = self._group(judged, segment, estimates, told, moves, drives=drives)
            reports.append(report)
            events += found
        if drives and self._config.gap is not None:
            events += self._gaps(judged, told)
        self._forget()
        return reports, events

    def _forget(self) -> None:
        """Releases go on for years: what was learned is kept of the versions judged last, `max_groups` of them."""
        last = sorted(self._newest, key=lambda version: (self._newest[version], version))
        for version in last[: -self._plan.config.detection.max_groups]:
            del self._newest[version]
            self._references.forget(version)

    def estimate(self, pairs: Int, counts: Int | None) -> dict[str, Estimate]:
        """What scores let expect, before labels: {} when it can't be said.

        Args:
            pairs: of the reference.
            counts: predictions in the layout of their profile.
        """
        if not self._config.estimate or self._column is None or self._profile is None or counts is None:
            return {}
        scores = scores_in(self._profile, self._column, counts)
        return estimated(self._shape, pairs, scores, self._config.confidence)

    def state(self) -> list[Any]:
        return sorted(self._newest.items())

    def restore(self, state: list[Any]) -> None:
        self._newest = dict(state)

    def _group(
        self,
        judged: Judged,
        segment: str,
        estimates: dict[str, Estimate],
        told: Mapping[str, dict[str, Estimate]],
        moves: Mapping[str, Sequence[str]],
        *,
        drives: bool,
    ) -> tuple[PerformanceReport, list[DriftEvent]]:
        group, content = (judged.version, segment), judged.groups[segment]
        pairs = pairs_now(self._shape, content.counts)
        reference = self._references.of(group)
        moved = self._moved(pairs, reference, moves, segment)
        events: list[DriftEvent] = []
        if drives:
            found = self._findings(pairs, estimates, reference)
            for metric, finding in found.items():
                beside = "; ".join(named_moves(moves[which]) for which in (INPUTS, PREDICTIONS) if which in moves)
                events += self._book.take(
                    self._look(
                        judged, segment, metric, "performance", estimates[metric], finding, reference, moved,
                        "" if segment else beside,
                    )
                )  # fmt: skip
        if reference is None and judged.enough and judged.stage == "first":
            self._references.learn(group, pairs)
        report = self._report(judged, segment, estimates, reference, moved, "" if segment else self._worst(told))
        return report, events

    def _findings(
        self, pairs: Int, estimates: dict[str, Estimate], reference: Reference | None
    ) -> dict[str, Finding | None]:
        """Metric → why it is worse for sure, None if it isn't; of all that are watched and defined."""
        found: dict[str, Finding | None] = {
            name: against_limit(name, estimates[name], limit)
            for name, limit in sorted(self._config.limits.items())
            if name in estimates
        }
        if reference is None:
            return found
        sure = metrics(self._shape, pairs, self._leading, surely(self._config.confidence))
        for metric in self._leading:
            if metric in sure and metric in reference.sure and found.get(metric) is None:
                margin = margin_of(metric, reference.estimates, self._config.margin)
                found[metric] = against_reference(metric, sure[metric], reference.sure[metric], margin)
        return found

    def _look(
        self,
        judged: Judged,
        segment: str,
        metric: str,
        aspect: str,
        estimate: Estimate,
        finding: Finding | None,
        reference: Reference | None,
        moved: tuple[str, ...],
        beside: str,
        *,
        field: str = "",
        detail: str = "",
    ) -> Look:
        content = judged.groups[segment]
        known = None if reference is None else reference.estimates.get(metric)
        margin = 0.0 if reference is None else margin_of(metric, reference.estimates, self._config.margin)
        limit = next((limit for name, limit in self._config.limits.items() if name == metric), None)
        limit = None if aspect == "gap" else limit
        return Look(
            where=(judged.version, segment, metric, aspect, field),
            tick=judged.tick,
            number=judged.cohort,
            start_ms=judged.start_ms,
            end_ms=judged.end_ms,
            estimate=estimate,
            reference=known,
            finding=finding,
            back=is_back(metric, estimate, known, limit, margin),
            labels=labelled(self._shape, pairs_now(self._shape, content.counts)),
            reference_labels=0 if reference is None else reference.labels,
            coverage=self._coverage(judged, segment),
            lag_ms=lag_quantile(self._shape, content.counts, 0.5),
            moved=moved,
            beside=beside,
            ranges=offsets_of(self._source.topic, [content.offsets]),
            detail=detail,
        )

    def _gaps(self, judged: Judged, told: Mapping[str, dict[str, Estimate]]) -> list[DriftEvent]:
        """Per segment field: whether the leading metric of two of its values differs by more than allowed, for sure."""
        metric, allowed = self._leading[0], self._config.gap
        assert allowed is not None
        fields: dict[str, list[str]] = {}
        for segment, estimates in told.items():
            if segment and metric in estimates:
                fields.setdefault(segment.partition("=")[0], []).append(segment)
        events: list[DriftEvent] = []
        for field, segments in sorted(fields.items()):
            if len(segments) < 2:
                continue
            pairs = list(combinations(sorted(segments), 2))
            sure = 1 - (1 - self._config.confidence) / len(pairs)
            bounds = {
                s: metrics(self._shape, pairs_now(self._shape, judged.groups[s].counts), (metric,), sure)[metric]
                for s in segments
            }
            differences = [(difference(bounds[a], bounds[b]), a, b) for a, b in pairs]
            gap, a, b = max(differences, key=lambda one: (one[0].low, one[1], one[2]))
            over = gap.low - allowed
            finding = None
            if over > 0:
                severity = "severe" if gap.low > 2 * allowed else "moderate"
                finding = Finding(metric, "limit", "up", severity, over, 0.0, allowed, gap.value)
            detail = f"{a} {words.number(bounds[a].value)}, {b} {words.number(bounds[b].value)}"
            look = self._look(judged, "", metric, "gap", gap, finding, None, (), "", field=field, detail=detail)
            events += self._book.take(look)
        return events

    def _coverage(self, judged: Judged, segment: str) -> float | None:
        if not segment:
            return judged.coverage
        predictions = 0 if judged.predictions is None else judged.predictions.get(segment, 0) * self._source.sample
        labels = labelled(self._shape, pairs_now(self._shape, judged.groups[segment].counts))
        return min(1.0, labels / predictions) if predictions > 0 else None

    def _moved(
        self, pairs: Int, reference: Reference | None, moves: Mapping[str, Sequence[str]], segment: str
    ) -> tuple[str, ...]:
        found = set() if segment else set(moves)
        if reference is not None:
            view = concept_view(self._shape, self._settings.clip)
            now, before = view.fold(pairs), view.fold(reference.pairs)
            found |= set(what_moved(view, before, now, self._settings.moved_alpha).names())
        return tuple(name for name in _ORDER if name in found)

    def _worst(self, told: Mapping[str, dict[str, Estimate]]) -> str:
        """The segment whose leading metric is worst even at its best."""
        metric = self._leading[0]
        known = [segment for segment, estimates in told.items() if segment and metric in estimates]
        return max(known, key=lambda s: (worst(metric, told[s][metric]), s), default="")

    def _report(
        self,
        judged: Judged,
        segment: str,
        estimates: dict[str, Estimate],
        reference: Reference | None,
        moved: tuple[str, ...],
        worst_segment: str,
    ) -> PerformanceReport:
        content, plan = judged.groups[segment], self._plan
        expected = {} if reference is None or segment else self.estimate(reference.pairs, judged.counts)
        labels = labelled(self._shape, pairs_now(self._shape, content.counts))
        coverage = self._coverage(judged, segment)
        counts, shape = content.counts, self._shape
        profile_id = self._profile.profile_id if self._profile is not None else ""
        corrected = labelled(shape, counts[shape.added])
        leading = [m for m in self._leading[:2] if m in estimates]
        told = ", ".join(f"{words.named(m)} {words.interval(estimates[m])}" for m in leading)
        return PerformanceReport(
            id=report_id(plan, judged.version, segment, judged.cohort, judged.stage, profile_id),
            monitor=plan.name,
            version=judged.version,
            segment=segment,
            stage=judged.stage,
            decided_ms=(judged.tick + 1) * plan.pane_ms,
            cohort_start_ms=judged.start_ms,
            cohort_end_ms=judged.end_ms,
            predictions=None if judged.predictions is None else judged.predictions.get(segment, 0),
            labels=labels,
            coverage=coverage,
            lag_ms=lag_quantile(shape, counts, 0.5),
            corrected=corrected,
            duplicates=int(counts[shape.dup]),
            metrics=values_of(estimates, {} if reference is None else reference.estimates, expected),
            reference_labels=0 if reference is None else reference.labels,
            worst_segment=worst_segment,
            moved=moved,
            profile_id=profile_id,
            fingerprint=plan.fingerprint,
            message=f"{words.who(plan.name, judged.version, segment)}: {told or 'nothing to measure'}; predictions of "
            f"{words.span(judged.start_ms, judged.end_ms)}, {labels:,} labels{words.share(coverage)}",
        )


def values_of(
    estimates: Mapping[str, Estimate], reference: Mapping[str, Estimate], expected: Mapping[str, Estimate]
) -> tuple[MetricValue, ...]:
    """Metrics with what they are compared with, in the order of their names."""

    def parts(found: Estimate | None) -> tuple[float | None, float | None, float | None]:
        return (None, None, None) if found is None else (found.value, found.low, found.high)

    return tuple(
        MetricValue(name, *parts(estimates.get(name)), *parts(reference.get(name)), *parts(expected.get(name)))
        for name in sorted({*estimates, *expected})
    )


def report_id(plan: MonitorPlan, version: str, segment: str, cohort: int, stage: str, profile_id: str) -> str:
    """Identity of a report: what was judged, not when."""
    parts = (plan.name, "performance", version, segment, str(cohort), stage, plan.fingerprint, profile_id)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def difference(a: Estimate, b: Estimate) -> Estimate:
    """The difference of two independent metrics, the greater one first, with bounds.

    The square-and-add interval of Zou and Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    if a.value < b.value:
        a, b = b, a
    value = a.value - b.value
    low = value - sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2)
    high = value + sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2)
    return Estimate(value, low, high, min(a.n, b.n))

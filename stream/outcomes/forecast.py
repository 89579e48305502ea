"""A report of what scores let expect of a cohort, told when its predictions are complete: labels aren't in yet."""

from __future__ import annotations

from collections.abc import Iterator

from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.join.outcomeplan import OutcomeSource
from driftbus.stream.outcomes import words
from driftbus.stream.outcomes.compare import LEADING
from driftbus.stream.outcomes.ledger import Ledger
from driftbus.stream.outcomes.reference import References
from driftbus.stream.outcomes.verdicts import Verdicts, report_id, values_of
from driftbus.stream.plan import MonitorPlan


class Forecasts:
    """Tells each cohort once, when predictions have gone beyond it.

    Args:
        plan: of the monitor.
        source: of its outcomes.
        verdicts: estimates.
        references: what it compares with; only what the profile gives, which no label changes.

    Attributes:
        told: the last cohort that was told, -1 before the first.
    """

    def __init__(self, plan: MonitorPlan, source: OutcomeSource, verdicts: Verdicts, references: References) -> None:
        self._plan, self._source, self._verdicts, self._references = plan, source, verdicts, references
        self.told = -1

    def reach(self, tick: int, ledger: Ledger) -> Iterator[PerformanceReport]:
        """Predictions come to a pane: tell the cohorts that lie behind it."""
        cohort = tick * self._plan.pane_ms // self._source.cohort_ms
        ready = sorted(c for c in ledger.cohorts if self.told < c < cohort)
        self.told = max(self.told, cohort - 1)
        for number in ready:
            for (version, segment), rows in sorted(ledger.of(number).items()):
                if not segment and rows.rows >= self._plan.config.performance.min_labels:
                    yield from self._tell(number, version, rows.rows, ledger, tick)

    def state(self) -> int:
        return self.told

    def restore(self, state: int) -> None:
        self.told = state

    def _tell(self, number: int, version: str, rows: int, ledger: Ledger, tick: int) -> Iterator[PerformanceReport]:
        reference = self._references.given
        if reference is None:
            return
        expected = self._verdicts.estimate(reference.pairs, ledger.of(number)[version, ""].counts)
        if not expected:
            return
        plan, start_ms = self._plan, number * self._source.cohort_ms
        profile_id = next((s.profile.profile_id for s in plan.streams if s.stream == "predictions"), "")
        leading = [m for m in LEADING[self._source.shape.kind] if m in expected][:2]
        told = ", ".join(f"{words.named(m)} {words.interval(expected[m])}" for m in leading)
        yield PerformanceReport(
            id=report_id(plan, version, "", number, "estimated", profile_id),
            monitor=plan.name,
            version=version,
            segment="",
            stage="estimated",
            decided_ms=tick * plan.pane_ms,
            cohort_start_ms=start_ms,
            cohort_end_ms=start_ms + self._source.cohort_ms,
            predictions=rows,
            labels=0,
            coverage=0.0,
            lag_ms=None,
            corrected=0,
            duplicates=0,
            metrics=values_of({}, reference.estimates, expected),
            reference_labels=reference.labels,
            worst_segment="",
            moved=(),
            profile_id=profile_id,
            fingerprint=plan.fingerprint,
            message=f"{words.who(plan.name, version, '')}: estimated {told}; predictions of "
            f"{words.span(start_ms, start_ms + self._source.cohort_ms)}, {rows:,} rows, labels not in yet",
        )

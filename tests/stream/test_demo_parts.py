"""The demo's own logic: in which order loans and labels are played, and what is shown of performance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from driftbus.schemas.outcomeevents import MetricValue, PerformanceReport
from driftbus.stream.demo.loans import loans
from driftbus.stream.demo.performance import METRIC, Performance, levels, said, summary_lines
from driftbus.stream.demo.play import Loan, in_order

DAY_MS = 86_400_000


def loan(number: int, time_ms: int, label_ms: int = 0) -> Loan:
    return Loan(str(number), time_ms, {}, 0.5, "1", "1" if label_ms else "", label_ms)


def report(cohort: int, stage: str, value: float, labels: int = 100, **more: object) -> PerformanceReport:
    metric = MetricValue(METRIC, value, value - 0.01, value + 0.01, 0.945, 0.94, 0.95, 0.93, 0.92, 0.94)
    made = PerformanceReport(
        id=f"{cohort}{stage}", monitor="car_loan", version="1", segment="", stage=stage, decided_ms=0,
        cohort_start_ms=cohort * DAY_MS, cohort_end_ms=(cohort + 1) * DAY_MS, predictions=200, labels=labels,
        coverage=labels / 200, lag_ms=None, corrected=0, duplicates=0, metrics=(metric,),
        reference_labels=50_000, worst_segment="", moved=(), profile_id="", fingerprint="", message="",
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def test_labels_are_played_when_they_are_known() -> None:
    played = [loan(0, 10, 25), loan(1, 20, 21), loan(2, 30), loan(3, 40, 41)]
    assert [(is_label, one.id) for is_label, one in in_order(played)] == [
        (False, "0"), (False, "1"), (True, "1"), (True, "0"), (False, "2"), (False, "3"), (True, "3"),
    ]  # fmt: skip


def test_every_bundled_loan_gets_its_label_after_20_to_40_days() -> None:
    found = list(loans())
    days = Counter((one.label_ms - one.time_ms) / DAY_MS for one in found)
    assert len(found) == 50_000
    assert set(days) == set(range(20, 41))
    assert Counter(one.label for one in found).keys() == {"0", "1"}
    at = [one.label_ms if is_label else one.time_ms for is_label, one in in_order(found)]
    assert at == sorted(at)


def test_of_a_cohort_the_report_with_most_labels_is_shown() -> None:
    performance = Performance()
    for each in (report(2, "first", 0.92), report(1, "estimated", 0.0, 0), report(2, "estimated", 0.0, 0)):
        performance.take(each)
    performance.take(report(2, "final", 0.91, 190))
    performance.take(report(1, "first", 0.5, segment="salary_range=0 - 20K €"))
    estimated, realised, reference = performance.curves()
    assert (estimated, realised, reference) == ([0.93, 0.93], [None, 0.91], 0.945)
    assert [each.stage for each in performance.judged] == ["final"]
    (line,) = summary_lines(performance)
    assert line.startswith("1 cohort judged by its labels: accuracy 0.910 (0.900 to 0.920) from 1970-01-03, 190 labels")
    assert "0.930 was estimated" in line
    assert "0.945 in training" in line


def test_nothing_is_said_before_labels_come() -> None:
    performance = Performance()
    performance.take(report(1, "estimated", 0.0, 0))
    assert summary_lines(performance) == ["No cohort has been judged by its labels."]
    assert said(report(1, "first", 0.9)) == "0.900 (0.890 to 0.910) from 1970-01-02, 100 labels"


def test_levels_fill_the_span_and_leave_gaps() -> None:
    assert levels([0.9, None, 1.0], 0.9, 1.0) == "▁ █"
    assert levels([0.93, 0.94], 0.93, 0.94) == "▇█"

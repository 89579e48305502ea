"""Performance verdicts from labels that arrive late: what they say, and that only the logs decide it."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.events import DriftEvent, Incident, Published
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.judge import Judge
from driftbus.stream.outcomes.judge import MOST_VERSIONS

from .outcomeworld import (
    COHORT_MS,
    LABELS,
    PANE_MS,
    PREDICTIONS,
    START_MS,
    data_of,
    judged,
    lanes_of,
    parts_of,
    plans_of,
    shuffled,
    usual,
)


def reports(found: dict[str, Published], stage: str, segment: str = "") -> list[PerformanceReport]:
    chosen = [e for e in found.values() if isinstance(e, PerformanceReport) and e.stage == stage]
    return sorted((r for r in chosen if r.segment == segment), key=lambda r: (r.cohort_start_ms, r.version))


def episodes(found: dict[str, Published], aspect: str) -> list[DriftEvent]:
    return [e for e in found.values() if isinstance(e, DriftEvent) and e.stream == "outcomes" and e.aspect == aspect]


def test_a_final_report_counts_what_the_logs_hold() -> None:
    """Labels, coverage and accuracy of every cohort and version, computed directly."""
    plans, data, parts = usual()
    found = reports(judged(plans, parts), "first")
    assert len(found) == 24
    for report in found:
        mine = (data.time_ms // COHORT_MS == report.cohort_start_ms // COHORT_MS) & (data.version == report.version)
        come = mine & (data.came_ms >= 0) & (data.came_ms < report.decided_ms)
        right = (data.score[come] >= 0.5) == (data.label[come] == 1)
        assert report.labels == come.sum() >= 30
        assert report.predictions == mine.sum()
        assert report.coverage == pytest.approx(come.sum() / mine.sum())
        assert report.coverage >= 0.5
        accuracy = report.metric("accuracy")
        assert accuracy is not None
        assert accuracy.value == pytest.approx(right.mean())
        assert accuracy.low <= accuracy.value <= accuracy.high
    for report in reports(judged(plans, parts), "first", "g=a"):
        mine = (data.time_ms // COHORT_MS == report.cohort_start_ms // COHORT_MS) & (data.version == report.version)
        assert report.predictions == (mine & (data.segment == "a")).sum()


def test_a_cohort_is_judged_at_the_first_look_at_which_its_labels_suffice() -> None:
    plans, data, parts = usual()
    look = COHORT_MS // 8 // PANE_MS * PANE_MS
    for report in reports(judged(plans, parts), "first"):
        mine = (data.time_ms // COHORT_MS == report.cohort_start_ms // COHORT_MS) & (data.version == report.version)
        before = mine & (data.came_ms >= 0) & (data.came_ms < report.decided_ms - look)
        early = before.sum() < 0.5 * mine.sum() or before.sum() < 30
        assert early or report.decided_ms - look < report.cohort_end_ms


def test_a_fall_is_found_and_nothing_before_it() -> None:
    plans, _, parts = usual()
    half = START_MS + 6 * COHORT_MS
    found = judged(plans, parts)
    opened = [e for e in episodes(found, "performance") if e.status == "opened"]
    assert {e.column for e in opened} >= {"accuracy"}
    assert all(e.outcome is not None and e.outcome.cohort_end_ms > half for e in opened)
    assert all("P(Y|Ŷ)" in e.outcome.moved for e in opened if e.outcome is not None and e.column == "accuracy")
    incidents = [e for e in found.values() if isinstance(e, Incident)]
    assert any("accuracy has fallen" in e.message or "what labels say" in e.message for e in incidents)
    still = parts_of(plans, data_of(12, falls_at=1.0))
    assert [e for e in episodes(judged(plans, still), "performance") if not e.segment] == []


def test_estimates_are_scored_once_labels_came() -> None:
    """What is told of estimates is what the reports say, cohort by cohort; each cohort counts once."""
    plans, _, parts = usual()
    judge, told = Judge(plans, 0), []
    for offset, part in enumerate(parts):
        told += judge.apply(offset, part)
    outcomes = judge.monitors["m"].outcomes
    assert outcomes is not None
    for version in ("1", "2"):
        mine = [r for r in reports({e.id: e for e in told}, "first") if r.version == version]
        pairs = [m for r in mine if (m := r.metric("accuracy")) is not None and m.estimated is not None]
        tally = outcomes.scored.tallies[version]["accuracy"]
        assert tally.cohorts == len(pairs) > 5
        assert tally.within == sum(m.estimated_low <= m.value <= m.estimated_high for m in pairs)  # type: ignore[operator]
        assert 0 < tally.within < tally.cohorts, "right before the fall, wrong after it: scores can't show it"


@pytest.mark.parametrize("seed", range(12))
def test_the_interleaving_of_predictions_and_labels_does_not_matter(seed: int) -> None:
    plans, _, parts = usual()
    assert judged(plans, shuffled(parts, seed)) == judged(plans, parts)


@pytest.mark.parametrize("first", [PREDICTIONS, LABELS])
def test_nor_when_one_topic_comes_as_a_whole_before_the_other(first: str) -> None:
    plans, _, parts = usual()
    ordered = [p for p in parts if p.source.topic == first] + [p for p in parts if p.source.topic != first]
    assert judged(plans, ordered) == judged(plans, parts)


def test_without_a_reference_the_first_labels_become_one() -> None:
    plans = plans_of(known=False, learn={"min_rows": 300})
    parts = parts_of(plans, data_of(13, cohorts=16))
    found = judged(plans, parts)
    told = reports(found, "first")
    assert told[0].reference_labels == 0
    assert told[-1].reference_labels >= 300
    assert [e for e in episodes(found, "performance") if e.status == "opened" and e.column == "accuracy"]
    assert judged(plans, shuffled(parts, 3)) == found


def test_a_snapshot_at_every_step_changes_nothing() -> None:
    plans = plans_of({"min_labels": 10}, partitions=1)
    parts = shuffled(parts_of(plans, data_of(20, cohorts=3, per_cohort=120)), 4)
    whole, judge, found = judged(plans, parts), Judge(plans, 0), {}
    assert reports(whole, "first")
    for offset, part in enumerate(parts):
        saved = judge.snapshot("m")
        judge = Judge(plans, 0)
        assert judge.restore({"m": saved}) == []
        assert judge.snapshot("m") == saved
        found |= {event.id: event for event in judge.apply(offset, part)}
    assert found == whole


@pytest.mark.parametrize("seed", range(6))
def test_crashes_lose_and_add_nothing(seed: int) -> None:
    """A judge dies at any moment and goes on from its last snapshot; parts come twice."""
    plans, _, parts = usual()
    rng = random.Random(seed)
    log = [encode_part(part) for part in shuffled(parts, 100 + seed)]
    for _ in range(20):
        at = rng.randrange(len(log))
        log.insert(rng.randint(at, len(log)), log[at])
    judge, saved, found = Judge(plans, 0), None, {}
    offset = 0
    while offset < len(log):
        for event in judge.apply(offset, decode_part(log[offset])):
            assert found.setdefault(event.id, event) == event
        offset += 1
        if rng.random() < 0.03:
            saved = judge.snapshot("m")
        if rng.random() < 0.02:
            judge = Judge(plans, 0)
            judge.restore({} if saved is None else {"m": saved})
            offset = judge.position
    assert found == judged(plans, parts)


def test_silent_predictions_hold_up_their_own_cohort_only() -> None:
    plans, _, parts = usual()
    early = [p for p in parts if p.source.topic == PREDICTIONS and p.kind == "final"]
    kept = [p for p in early if p.max_tick * PANE_MS < START_MS + 5.5 * COHORT_MS]
    rest = [p for p in parts if p.source.topic != PREDICTIONS]
    told = {r.cohort_start_ms for r in reports(judged(plans, [*kept, *rest]), "first")}
    assert told == {START_MS + c * COHORT_MS for c in range(5)}


def test_too_few_labels_are_not_judged() -> None:
    plans = plans_of({"min_labels": 110})
    assert reports(judged(plans, parts_of(plans, data_of(14, lost=0.4))), "first") == []


def test_low_coverage_raises_no_alarm() -> None:
    plans = plans_of({"limits": {"accuracy": {"min": 0.99}}, "min_labels": 10})
    parts = parts_of(plans, data_of(15, lost=0.7))
    found = judged(plans, parts)
    assert reports(found, "first") == []
    assert episodes(found, "performance") == []


def test_a_limit_is_crossed_by_the_bound_and_not_by_the_point() -> None:
    data = data_of(16, falls_at=1.0)
    plans = plans_of({"limits": {"accuracy": {"min": 0.86}}})
    found = judged(plans, parts_of(plans, data))
    below = [r for r in reports(found, "first") if r.metric("accuracy").value < 0.86]
    sure = [r for r in below if r.metric("accuracy").high < 0.86]
    assert len(below) > len(sure)
    limited = [e for e in episodes(found, "performance") if e.detector == "limit" and not e.segment]
    judgements = [*reports(found, "first"), *reports(found, "final")]
    crossed = {(r.version, r.cohort_start_ms) for r in judgements if r.metric("accuracy").high < 0.86}
    assert {(e.version, e.outcome.cohort_start_ms) for e in limited if e.status == "opened"} <= crossed
    assert all(e.outcome.limit == 0.86 for e in limited if e.status != "closed")


def test_a_segment_that_is_worse_is_named_and_its_gap_told() -> None:
    data = data_of(17, per_cohort=900, falls_at=1.0)
    worse = (data.segment == "b") & (np.random.default_rng(5).random(data.label.size) < 0.5)
    data.label[worse] = 1 - data.label[worse]
    plans = plans_of({"gap": 0.1})
    found = judged(plans, parts_of(plans, data))
    assert {r.worst_segment for r in reports(found, "first")} == {"g=b"}
    gaps = episodes(found, "gap")
    assert {e.version for e in gaps if e.status == "opened"} == {"1", "2"}
    assert all(e.outcome.low > 0.1 and "g=b" in e.message for e in gaps if e.status == "opened")
    fair = data_of(18, per_cohort=900, falls_at=1.0)
    assert episodes(judged(plans, parts_of(plans, fair)), "gap") == []


def test_groups_are_bounded() -> None:
    data = data_of(19, cohorts=3)
    many = np.array([f"v{i % 50}" for i in range(data.label.size)], object)
    plans = plans_of({"min_labels": 10}, detection={"sample_rows": 0, "max_groups": 2})
    judge = Judge(plans, 0)
    data = type(data)(data.time_ms, data.score, many, many, data.label, data.came_ms)
    for offset, part in enumerate(parts_of(plans, data)):
        judge.apply(offset, part)
    outcomes = judge.monitors["m"].outcomes
    assert outcomes is not None
    for cohort in outcomes.cohorts.open.values():
        assert sum(not segment for _, segment in cohort.groups) <= 2
        assert sum(bool(segment) for _, segment in cohort.groups) <= 2
    assert len(outcomes.concepts.marks) <= 3


def test_lanes_are_all_sources() -> None:
    _, _, parts = usual()
    assert len(lanes_of(parts)) == 6


def test_what_was_learned_is_kept_of_the_versions_judged_last() -> None:
    """Releases go on for years; without it references and latest reports would be of all of them."""
    data = data_of(11)
    data = replace(data, version=np.array([f"{i // 250:03}" for i in range(data.version.size)]))
    kept = {}
    for most in (64, 3):
        plans = plans_of({"cohort": PANE_MS, "min_labels": 10}, detection={"sample_rows": 0, "max_groups": most})
        judge = Judge(plans, 0)
        for offset, part in enumerate(parts_of(plans, data)):
            judge.apply(offset, part)
        outcomes = judge.monitors["m"].outcomes
        assert outcomes is not None
        learned = {version for version, _ in outcomes.references._learned}
        kept[most] = sorted(outcomes.verdicts._newest)
        assert learned <= set(kept[most])
        assert len(outcomes.latest) <= MOST_VERSIONS
    assert len(kept[64]) > 3
    assert kept[3] == kept[64][-3:]

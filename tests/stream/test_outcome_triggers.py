"""Retrain rules on labels, from the logs of predictions and labels to the trigger."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from driftbus.schemas.events import Published, RetrainTrigger, SummaryPart
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.plan import Plans

from .outcomeworld import COHORT_MS, Data, data_of, judged, parts_of, plans_of, shuffled

RETRAIN: dict[str, Any] = {
    "any": [
        {"performance": {"metric": "accuracy", "below": 0.8, "for": "2 of 3 cohorts"}},
        {"all": [{"labels": 700}, {"schedule": "*/2 * * * *"}]},
    ],
    "cooldown": "30s",
    "pending": "always",
    "deadline": "3m",
    "outcomes_wait": "1s",
}


@cache
def world() -> tuple[Plans, Data, list[SummaryPart]]:
    plans, data = plans_of(retrain=RETRAIN), data_of(11)
    return plans, data, parts_of(plans, data)


def triggers(found: dict[str, Published]) -> list[RetrainTrigger]:
    chosen = [e for e in found.values() if isinstance(e, RetrainTrigger)]
    return sorted(chosen, key=lambda t: t.decided_ms)


def test_labels_trigger_as_their_reports_say() -> None:
    plans, data, parts = world()
    found = judged(plans, parts)
    made = triggers(found)
    by_labels = [t for t in made if t.policy == "labels+schedule"]
    by_metric = [t for t in made if t.policy == "performance"]
    assert by_labels
    assert by_metric
    first = by_labels[0]
    assert first.decided_ms % 120_000 == 0
    come = int(((data.came_ms >= 0) & (data.came_ms < first.decided_ms)).sum())
    told = next(f for f in first.rules if f.kind == "labels")
    # a correction and a label beyond its horizon are none; there are none here
    assert (told.value, told.threshold, told.held) == (come, 700.0, True)
    assert come >= 700 > ((data.came_ms >= 0) & (data.came_ms < first.decided_ms - 120_000)).sum()
    for trigger in by_metric:
        bad = []
        for report in found.values():
            if isinstance(report, PerformanceReport) and report.version == trigger.version and not report.segment:
                accuracy = report.metric("accuracy")
                known = report.stage != "estimated" and report.decided_ms <= trigger.decided_ms
                if known and accuracy is not None and accuracy.high is not None and accuracy.high < 0.8:
                    bad.append(report.cohort_start_ms)
        assert len(set(bad)) >= 2
        assert trigger.train_from_ms in bad
        assert trigger.train_from_ms + COHORT_MS < trigger.train_to_ms == trigger.decided_ms
        assert trigger.severity == "severe"


@pytest.mark.parametrize("seed", range(4))
def test_the_interleaving_of_predictions_and_labels_does_not_matter(seed: int) -> None:
    plans, _, parts = world()
    assert triggers(judged(plans, shuffled(parts, seed))) == triggers(judged(plans, parts))


def test_no_two_are_pending() -> None:
    plans, _, parts = world()
    times = np.array([t.decided_ms for t in triggers(judged(plans, parts))])
    assert times.size > 1
    assert (np.diff(times) >= 180_000).all()

"""Policies at the pace of streams: order between streams, outcomes that lag, versions, commands, saved state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.detectors.conditions import Labels, Measured
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, ManualRetrain, OffsetRange, RetrainTrigger
from driftbus.stream.plan import MonitorPlan, build_plans
from driftbus.stream.state import pack_state, unpack_state
from driftbus.stream.triggers import OUTCOMES, PolicyClock

PANE = 10_000
WINDOW = 10


@dataclass
class At:
    """How far a stream is."""

    name: str
    sealed: int = -1


def plan(retrain: dict[str, Any], streams: tuple[str, ...] = ("predictions", "features")) -> MonitorPlan:
    column = ColumnProfile("x", "numeric", "feature", (1.0, 2.0), 0.0, 3.0, (), (0, 10, 10, 10, 0), 0, 0)
    mapped: dict[str, dict[str, Any]] = {s: {"topic": s, "time": "ts"} for s in streams}
    mapped["predictions"] |= {"version": "v", "id": "id"}
    mapped["labels"] = {"topic": "labels", "id": "id", "label": "x"}
    config = Config.model_validate(
        {"kafka": {"bootstrap": "none:1"}, "monitors": {"credit": {"pane": "10s", **mapped, "retrain": retrain}}}
    )
    profiles = {("credit", s): Profile("credit", s, (column,), 30) for s in mapped}
    return build_plans(config, profiles, dict.fromkeys(mapped, 1)).monitors["credit"]


def event(
    column: str, tick: int, *, stream: str = "predictions", status: str = "opened", version: str = ""
) -> DriftEvent:
    return DriftEvent(
        id=f"{column}-{tick}-{status}", episode_id=f"{stream}-{column}-{version}", monitor="credit", stream=stream,
        version=version, segment="", column=column, detector="adwin", status=status, severity="moderate",
        aspect="distribution", what="shift", direction="up", statistic=1.0, threshold=0.5, p_value=None, effect=0.3,
        reference_value=None, current_value=None, window_start_ms=0, window_end_ms=tick * PANE + PANE,
        since_ms=tick * PANE, since_low_ms=0, since_high_ms=0, opened_ms=tick * PANE, count=1, reference_count=1,
        ranges=(OffsetRange(stream, 0, tick, tick + 1),), profile_id="p", fingerprint="f", message="",
    )  # fmt: skip


def cohort(at: int, high: float) -> Measured:
    return Measured("auc", high - 0.01, high - 0.02, high, 500, at, "1")


ONE = {"drift": {"columns": 1, "for": "1 window"}}


def test_the_slowest_stream_sets_the_pace_and_the_trigger_says_why() -> None:
    clock = PolicyClock(plan({"any": [ONE], "model": {"dvc": "v1"}}))
    predictions, features = At("predictions"), At("features")
    clock.queue(predictions, 5, [event("x", 5, version="1")], ["1"])
    predictions.sealed = 500
    assert list(clock.advance([predictions, features])) == []
    features.sealed = 30
    (trigger,) = clock.advance([predictions, features], lambda: {"predictions-x-1": "incident"})
    assert (trigger.version, trigger.policy, trigger.severity) == ("1", "drift", "moderate")
    assert (trigger.decided_ms, trigger.train_from_ms, trigger.train_to_ms) == (100_000, 50_000, 100_000)
    assert trigger.deadline_ms == 100_000 + 7 * 86_400_000
    assert trigger.ranges == (OffsetRange("predictions", 0, 5, 6),)
    assert (trigger.model, trigger.incident_ids) == ({"dvc": "v1"}, ("incident",))
    ((kind, held, value, threshold),) = [(f.kind, f.held, f.value, f.threshold) for f in trigger.rules]
    assert (kind, held, value, threshold) == ("drift", True, 1.0, 1.0)
    assert clock.pending


def test_a_version_that_was_never_there_ends_the_wait_and_meets_what_is_open() -> None:
    clock = PolicyClock(plan({"any": [ONE], "cooldown": "0s"}, ("predictions",)))
    at = At("predictions")
    clock.queue(at, 1, [event("x", 1, version="1")], ["1"])
    clock.queue(at, 20, [event("y", 20, version="1")], ["1"])
    at.sealed = 60
    assert [t.decided_ms for t in clock.advance([at])] == [WINDOW * PANE]
    clock.queue(at, 61, [], ["1", "2"])
    at.sealed = 90
    assert list(clock.advance([at])) == []
    assert not clock.pending
    clock.queue(at, 91, [event("x", 91, version="2")], ["1", "2"])
    at.sealed = 120
    assert [(t.version, t.decided_ms) for t in clock.advance([at])] == [("2", 100 * PANE)]
    clock.queue(at, 121, [], ["1"])  # an old one that comes back is no training
    at.sealed = 130
    assert list(clock.advance([at])) == []
    assert clock.pending


def test_commands_trigger_at_once_try_and_end_the_wait() -> None:
    clock = PolicyClock(plan({"any": [ONE], "cooldown": "0s", "deadline": "2d"}, ("predictions",)))
    at = At("predictions")
    clock.queue(at, 1, [event("x", 1)], ["1"])
    at.sealed = 2
    assert list(clock.advance([at])) == []
    now = 1_700_000_000_000
    (trial,) = clock.manual(ManualRetrain("credit", "try", "ana", now, "trigger", True))
    assert (trial.dry_run, trial.policy, trial.deadline_ms) == (True, "manual", now + 2 * 86_400_000)
    assert not clock.pending
    (real,) = clock.manual(ManualRetrain("credit", "new law", "ana", now))
    assert (real.dry_run, real.reason, real.train_from_ms) == (False, "new law", PANE)
    assert clock.pending
    # the wait is one of event time, which is far from the clock on the wall
    assert list(clock.manual(ManualRetrain("credit", "", "ana", now, "done"))) == []
    assert not clock.pending
    clock.queue(at, 3, [event("y", 3)], ["1"])
    at.sealed = 30
    assert [t.columns for t in clock.advance([at])] == [("x", "y")]


def test_silent_outcomes_hold_up_nothing_for_longer_than_allowed() -> None:
    rules = {"any": [ONE, {"performance": {"metric": "auc", "below": 0.7}}], "outcomes_wait": "200s"}
    clock = PolicyClock(plan(rules, ("predictions",)))
    at, outcomes = At("predictions"), At(OUTCOMES)
    clock.queue(at, 1, [event("x", 1)], ["1"])
    at.sealed = 20
    assert list(clock.advance([at, outcomes], silent=True)) == []
    at.sealed = 30
    assert list(clock.advance([at, outcomes])) == []  # there are labels to read, however far behind they are
    (trigger,) = clock.advance([at, outcomes], silent=True)
    assert trigger.decided_ms == WINDOW * PANE
    clock.queue_outcomes(2, [cohort(0, 0.5)])
    assert clock.overtaken == 1
    outcomes.sealed = 30
    assert list(clock.advance([at, outcomes])) == []  # that trigger is still pending
    restored = PolicyClock(plan(rules, ("predictions",)))
    restored.restore(unpack_state(pack_state({"s": clock.state()}))["s"])
    assert restored.overtaken == 1


def test_a_trigger_names_incidents_that_were_over_when_labels_were_read_at_last() -> None:
    rules = {"any": [ONE, {"performance": {"metric": "auc", "below": 0.7}}]}
    monitor = plan(rules, ("predictions",))
    clock = PolicyClock(monitor)
    at, outcomes = At("predictions"), At(OUTCOMES)
    clock.queue(at, 1, [event("x", 1)], ["1"])
    at.sealed = 1
    assert list(clock.advance([at, outcomes], lambda: {"predictions-x-": "one"})) == []
    clock.queue(at, 50, [event("x", 50, status="closed")], ["1"])
    at.sealed = 50
    assert list(clock.advance([at, outcomes], lambda: {"predictions-x-": "one"})) == []
    restored = PolicyClock(monitor)
    restored.restore(unpack_state(pack_state({"s": clock.state()}))["s"])
    at.sealed = outcomes.sealed = 60
    (trigger,) = restored.advance([at, outcomes], dict)
    assert (trigger.decided_ms, trigger.incident_ids) == (WINDOW * PANE, ("one",))


def test_without_a_rule_about_labels_nothing_waits_for_them() -> None:
    clock = PolicyClock(plan({"any": [ONE]}, ("predictions",)))
    at = At("predictions")
    clock.queue(at, 1, [event("x", 1)], ["1"])
    at.sealed = 12
    assert len(list(clock.advance([at, At(OUTCOMES)]))) == 1


def test_outcomes_by_another_clock_count_when_they_come() -> None:
    rules = {"any": [{"labels": 10}, {"performance": {"metric": "auc", "below": 0.7}}]}
    for news, policy in ((Labels(10), "labels"), (cohort(50_000, 0.6), "performance")):
        clock = PolicyClock(plan(rules, ("predictions",)))
        at, outcomes = At("predictions"), At(OUTCOMES, 17_000_000)
        clock.queue(at, 1, [], ["1"])
        clock.queue_outcomes(16_999_999, [news])
        at.sealed = 40
        assert [t.policy for t in clock.advance([at, outcomes])] == [policy]


HAPPENING = st.lists(
    st.tuples(
        st.integers(0, 120),
        st.sampled_from(["predictions", "features", OUTCOMES]),
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["opened", "closed"]),
        st.sampled_from(["1", "2"]),
        st.sampled_from([0.6, 0.8]),
    ),
    max_size=14,
)
RULES = {
    "any": [
        {"drift": {"columns": 2, "for": "2 windows"}},
        {"all": [{"performance": {"metric": "auc", "below": 0.7}}, {"drift": {"columns": 1, "for": "1 window"}}]},
        {"labels": 40},
    ],
    "cooldown": "150s",
    "at_most": "2 per 900s",
    "deadline": "500s",
    "outcomes_wait": "30s",
}


def told(
    monitor: MonitorPlan, happening: list[tuple[Any, ...]], order: list[tuple[str, int]], *, save: bool
) -> list[RetrainTrigger]:
    clock = PolicyClock(monitor)
    streams = {name: At(name) for name in ("predictions", "features", OUTCOMES)}
    triggers: list[RetrainTrigger] = []
    for name, to in order:
        for tick, stream, column, status, version, high in sorted(happening):
            if stream != name or not streams[name].sealed < tick <= to:
                continue
            if stream == OUTCOMES:
                clock.queue_outcomes(tick, [Labels(15), cohort(tick * PANE, high)])
            else:
                clock.queue(streams[name], tick, [event(column, tick, stream=stream, status=status)], [version])
        streams[name].sealed = max(to, streams[name].sealed)
        triggers += clock.advance(list(streams.values()))
        if save:
            restored = PolicyClock(monitor)
            restored.restore(unpack_state(pack_state({"s": clock.state()}))["s"])
            clock = restored
    return triggers


@settings(max_examples=100, deadline=None)
@given(HAPPENING, st.data())
def test_the_order_between_streams_does_not_matter(happening, data) -> None:
    monitor = plan(RULES)
    one = told(
        monitor, happening, [(n, t) for t in range(130) for n in ("predictions", "features", OUTCOMES)], save=False
    )
    order: list[tuple[str, int]] = []
    reached = dict.fromkeys(("predictions", "features", OUTCOMES), -1)
    while min(reached.values()) < 129:
        name = data.draw(st.sampled_from(sorted(n for n, t in reached.items() if t < 129)))
        reached[name] = data.draw(st.integers(reached[name] + 1, 129))
        order.append((name, reached[name]))
    assert told(monitor, happening, order, save=True) == one
    assert len({t.id for t in one}) == len(one)


@pytest.mark.parametrize("retrain", [None, {"any": []}])
def test_a_monitor_without_rules_obeys_by_hand_only(retrain: Any) -> None:
    clock = PolicyClock(plan(retrain, ("predictions",)))
    at = At("predictions")
    clock.queue(at, 1, [event("x", 1)], ["1"])
    at.sealed = 1_000
    assert list(clock.advance([at])) == []
    assert len(list(clock.manual(ManualRetrain("credit", "now", "ana", 5)))) == 1

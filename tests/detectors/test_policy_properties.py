"""What holds of retrain rules whatever comes, in whatever steps event time advances."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.detectors.conditions import Evidence, Labels, Measured, Surroundings
from driftbus.detectors.policy import Decision, Policy
from driftbus.schemas.retrainconfig import RetrainConfig

PANE = 1_000
AROUND = Surroundings(5 * PANE, {"a": 2.0, "b": 1.0, "c": 1.0}, {}, 60_000)

leaf = st.sampled_from(
    [
        {"drift": {"columns": 2, "for": "1 window"}},
        {"drift": {"columns": 1, "for": "2 of 3 windows", "window": "7s"}},
        {"drift": {"share": 0.5, "for": "2 windows"}},
        {"quality": {"for": "2 windows", "window": "20s"}},
        {"performance": {"metric": "auc", "below": 0.7, "for": "2 of 3 cohorts"}},
        {"labels": 20},
        {"schedule": "* * * * *"},
        {"schedule": "*/3 * * * *"},
    ]
)
rule = st.recursive(
    leaf,
    lambda inner: st.tuples(st.sampled_from(["any", "all"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    max_leaves=4,
)
limits = st.fixed_dictionaries(
    {
        "cooldown": st.sampled_from(["0s", "9s", "100s"]),
        "at_most": st.sampled_from(["", "1 per 90s", "3 per 200s"]),
        "pending": st.sampled_from(["never", "always"]),
        "deadline": st.sampled_from(["11s", "150s"]),
    }
)
news = st.one_of(
    st.builds(Labels, st.integers(0, 30)),
    st.tuples(st.integers(0, 8), st.sampled_from([0.5, 0.69, 0.9]), st.sampled_from(["1", "2"])).map(
        lambda t: Measured("auc", t[1], t[1] - 0.02, t[1] + 0.02, 100, t[0] * 60_000, t[2])
    ),
    st.sampled_from(["trained", "manual", "seen", "seen"]),
)
open_episodes = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(["distribution", "quality"])).map(
        lambda t: Evidence(
            f"{t}", "1", "predictions", t[0], "severe", "nulls" if t[2] == "quality" else "shift", "up", 0.1, 7, 7, t[2]
        )
    ),
    max_size=3,
    unique_by=lambda e: e.episode_id,
)
happenings = st.lists(st.tuples(st.integers(1, 400), open_episodes, st.lists(news, max_size=2)), max_size=20)


def happen(policy: Policy, what: object, at: int, open_: list[Evidence]) -> None:
    if isinstance(what, Measured | Labels):
        policy.take(what)
    elif what == "trained":
        policy.trained(at, open_)
    elif what == "seen":
        policy.seen(at)
    else:
        policy.told(at, open_)


def made_of(rules: list[dict[str, Any]], more: dict[str, Any]) -> Policy:
    return Policy(RetrainConfig.model_validate({"any": rules, **more}), PANE, AROUND)


@settings(max_examples=300, deadline=None)
@given(st.lists(rule, min_size=1, max_size=3), limits, happenings, st.data())
def test_steps_and_restarts_do_not_matter_and_limits_hold(rules, more, changes, data) -> None:
    coarse, fine = made_of(rules, more), made_of(rules, more)
    assert coarse.advance(1, []) == fine.advance(1, []) == []
    now, open_ = 1, list[Evidence]()
    made: list[Decision] = []
    resolved: list[int] = []
    by_hand: list[int] = []
    for gap, following, what in changes:
        target = now + gap * PANE
        steps = sorted(data.draw(st.lists(st.integers(now, target), max_size=4)))
        expected = coarse.advance(target, open_)
        got = []
        for step in [*steps, target]:
            got += fine.advance(step, open_)
            restored = made_of(rules, more)
            restored.restore(json.loads(json.dumps(fine.state())))
            fine = restored
        assert got == expected
        for one in what:
            happen(coarse, one, target, open_)
            happen(fine, one, target, open_)
            resolved += [target] if one == "trained" else []
            by_hand += [target] if one == "manual" else []
        made += expected
        now, open_ = target, following
    config = RetrainConfig.model_validate({"any": rules, **more})
    times = [d.decided_ms for d in made]
    assert times == sorted(set(times))
    for i, at in enumerate(times):
        before = sorted([*times[:i], *(t for t in by_hand if t < at)])
        assert not before or at - before[-1] >= config.cooldown
        if config.limit is not None:
            n, period = config.limit
            assert sum(at - t < period for t in before) < n
        if config.pending == "always" and before:
            last = before[-1]
            assert at >= last + config.deadline or any(last <= t <= at for t in resolved)


@settings(max_examples=40, deadline=None)
@given(st.lists(rule, min_size=1, max_size=3), limits, open_episodes)
def test_a_long_silence_is_no_work_and_changes_nothing(rules, more, open_) -> None:
    policy = made_of(rules, more | {"cooldown": "30d", "at_most": ""})
    policy.advance(1, [])
    made = policy.advance(90 * 86_400_000, open_)
    assert len(made) <= 4
    assert all(d.reason and d.findings and d.train_from_ms <= d.decided_ms <= d.deadline_ms for d in made)


@settings(max_examples=60, deadline=None)
@given(st.lists(rule, min_size=1, max_size=3), limits, open_episodes)
def test_a_century_without_events_triggers_for_one_deadline_only(rules, more, open_) -> None:
    policy = made_of(rules, more | {"deadline": "150s"})
    policy.advance(1, [])
    policy.seen(1)
    century = 100 * 365 * 86_400_000
    assert all(d.decided_ms <= 1 + 150_000 for d in policy.advance(century, open_))
    policy.seen(century)
    again = policy.advance(century + 300_000, open_)
    assert all(d.decided_ms <= century + 150_000 for d in again)


def test_after_a_gap_what_is_still_open_asks_again() -> None:
    policy = made_of([{"drift": {"columns": 1, "for": "1 window"}}], {"cooldown": "9s", "deadline": "11s"})
    drift = [Evidence("e", "1", "predictions", "a", "severe", "shift", "up", 0.1, 7, 7, "distribution")]
    policy.advance(1, [])
    policy.seen(1)
    year = 365 * 86_400_000
    before = policy.advance(year, drift)
    assert before
    policy.seen(year)
    assert policy.advance(year + 10_000, [*drift, replace(drift[0], episode_id="f", column="b")])

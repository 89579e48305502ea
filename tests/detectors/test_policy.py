"""Retrain rules: what is due, when, and that the steps in which time advances don't matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.detectors.policy import Evidence, Policy
from driftbus.schemas.retrainconfig import RetrainConfig

PANE = 1_000
WINDOW = 10 * PANE


def config(**rules: object) -> RetrainConfig:
    return RetrainConfig.model_validate({"any": [rules.pop("rule")], **rules})


def episode(
    column: str, severity: str = "moderate", version: str = "", since: int = 0, effect: float = 0.2
) -> Evidence:
    return Evidence(
        f"id-{column}-{version}", version, "predictions", column, severity, "shift", "up", effect, since, since
    )


THREE = [episode("a"), episode("b", "severe", since=5), episode("c", since=9)]
DRIFT = {"drift": {"columns": 3, "severity": "moderate", "for": "2 windows"}}


def test_enough_columns_in_two_windows_give_one_trigger() -> None:
    policy = Policy(config(rule=DRIFT), PANE)
    assert policy.advance(1, []) == []
    assert policy.advance(WINDOW, THREE) == []
    (decision,) = policy.advance(2 * WINDOW, THREE)
    assert decision.policy == "drift"
    assert decision.decided_ms == 2 * WINDOW
    assert [e.column for e in decision.evidence] == ["b", "a", "c"]
    assert decision.reason == (
        "3 columns have drifted at severity moderate or worse in 2 of the last 2 windows of 10s, "
        "led by b (severe shift up), since 1970-01-01 00:00:00 UTC"
    )
    assert policy.advance(100 * WINDOW, THREE) == []


def test_too_few_columns_too_mild_or_not_named_are_not_enough() -> None:
    mild = [episode(c, "minor") for c in "abc"]
    for rule, evidence in [
        (DRIFT, THREE[:2]),
        (DRIFT, mild),
        ({"drift": {"columns": 2, "any_of": ["a"], "for": "1 window"}}, THREE),
    ]:
        policy = Policy(config(rule=rule), PANE)
        assert policy.advance(0, []) + policy.advance(50 * WINDOW, evidence) == []


def test_m_of_n_windows_need_not_be_consecutive() -> None:
    policy = Policy(config(rule={"drift": {"columns": 1, "for": "2 of 3 windows"}}), PANE)
    assert policy.advance(1, []) == []
    assert policy.advance(WINDOW, THREE) == []
    assert policy.advance(2 * WINDOW, []) == []
    assert [d.decided_ms for d in policy.advance(3 * WINDOW, THREE)] == [3 * WINDOW]


def test_the_version_with_most_columns_is_named_and_versionless_streams_count_for_all() -> None:
    policy = Policy(config(rule={"drift": {"columns": 2, "for": "1 window"}}), PANE)
    (decision,) = policy.advance(0, [episode("a", version="1"), episode("b", version="2"), episode("f")])
    assert (decision.version, {e.column for e in decision.evidence}) == ("1", {"a", "f"})


def test_after_the_cooldown_something_new_is_needed() -> None:
    policy = Policy(config(rule={"drift": {"columns": 1, "for": "1 window"}}, cooldown="100s"), PANE)
    assert len(policy.advance(0, THREE)) == 1
    assert policy.advance(300_000, THREE) == []
    worse = [episode("a", "severe"), *THREE[1:]]
    assert policy.advance(310_000, worse) == []
    new = [*worse, episode("y")]
    assert [d.decided_ms for d in policy.advance(320_000, new)] == [320_000]
    newer = [*new, episode("z")]
    assert policy.advance(400_000, newer) == []
    assert [d.decided_ms for d in policy.advance(500_000, newer)] == [420_000]


def test_schedule_in_event_time_respects_the_cooldown() -> None:
    hour = 3_600_000
    policy = Policy(config(rule={"schedule": "0 * * * *"}, cooldown="2h"), PANE)
    assert policy.advance(1, []) == []
    fired = [d.decided_ms for d in policy.advance(10 * hour, [])]
    assert fired == [hour, 3 * hour, 5 * hour, 7 * hour, 9 * hour]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=25),
    st.sampled_from(["1 window", "2 windows", "2 of 3 windows"]),
    st.sampled_from([0, 40, 200]),
    st.data(),
)
def test_decisions_do_not_depend_on_the_steps_of_time(changes, windows, cooldown, data) -> None:
    rules = {
        "any": [{"drift": {"columns": 2, "for": windows}}, {"schedule": "*/2 * * * *"}],
        "cooldown": f"{cooldown}s",
    }
    coarse, fine = (Policy(RetrainConfig.model_validate(rules), PANE) for _ in range(2))
    assert coarse.advance(0, []) == fine.advance(0, []) == []
    now, evidence = 0, []
    for gap, columns in changes:
        target = now + gap * PANE * 3
        steps = sorted(data.draw(st.lists(st.integers(now, target), max_size=4)))
        expected = coarse.advance(target, evidence)
        got = []
        for step in [*steps, target]:
            got += fine.advance(step, evidence)
            restored = Policy(RetrainConfig.model_validate(rules), PANE)
            restored.restore(fine.state())
            fine = restored
        assert got == expected
        now, evidence = target, THREE[:columns]

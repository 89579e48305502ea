"""Each kind of retrain rule, their combinations, and what holds a trigger back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from driftbus.detectors.conditions import Evidence, Labels, Measured, Surroundings
from driftbus.detectors.policy import Decision, Policy
from driftbus.schemas.outcomeconfig import Limit
from driftbus.schemas.retrainconfig import RetrainConfig

PANE = 1_000
WINDOW = 10 * PANE
DAY = 86_400_000
ONCE = {"for": "1 window"}


def policy(
    *rules: dict[str, Any], versioned: bool = False, around: dict[str, Any] | None = None, **more: Any
) -> Policy:
    config = RetrainConfig.model_validate({"any": list(rules), "cooldown": "0s", **more})
    return Policy(config, PANE, Surroundings(WINDOW, **(around or {})), versioned=versioned)


def episode(column: str, aspect: str = "distribution", what: str = "shift", severity: str = "moderate") -> Evidence:
    return Evidence(f"{column}-{what}", "1", "predictions", column, severity, what, "up", 0.2, 500, 500, aspect)


def cohort(day: int, value: float, version: str = "1", metric: str = "auc") -> Measured:
    return Measured(metric, value, value - 0.02, value + 0.02, 1_000, day * DAY, version)


def test_a_share_of_columns_is_weighed_by_importance() -> None:
    weights = {"income": 6.0, "age": 3.0, "area": 1.0}
    rule = {"drift": {"share": 0.5, "importance": weights, **ONCE}}
    assert policy(rule).advance(WINDOW, [episode("age"), episode("area"), episode("unknown")]) == []
    (decision,) = policy(rule).advance(WINDOW, [episode("income")])
    assert decision.reason.startswith(
        "60% of the columns by importance (1, 50% are asked for) have drifted at severity moderate or worse in the last"
    )
    assert (decision.findings[0].value, decision.findings[0].threshold) == (0.6, 0.5)
    by_profile = policy({"drift": {"share": 0.5, **ONCE}}, around={"importance": weights})
    assert len(by_profile.advance(WINDOW, [episode("income")])) == 1
    alike = policy({"drift": {"share": 0.5, **ONCE}}, around={"importance": dict.fromkeys(weights, 1.0)})
    assert alike.advance(WINDOW, [episode("income")]) == []
    both = policy({"drift": {"share": 0.5, "columns": 2, "importance": weights, **ONCE}})
    assert both.advance(WINDOW, [episode("income")]) == []


def test_quality_counts_what_the_rule_names_and_schema_changes() -> None:
    nulls, odd = episode("age", "quality", "nulls"), episode("city", "quality", "unseen")
    schema = episode("", "schema", "schema", "severe")
    rule = {"quality": {"columns": 2, "for": "2 of 3 windows"}}
    for open_, fires in (([nulls, odd, episode("x")], 0), ([nulls, schema], 1)):
        one = policy(rule)
        decisions = one.advance(3 * WINDOW, [])
        for k in range(4, 8):
            decisions += one.advance(k * WINDOW, open_)
        assert len(decisions) == fires
    assert decisions[0].reason == (
        "2 columns have quality problems at severity moderate or worse in 2 of the last 3 windows of 10s: "
        "fields (schema), age (nulls), since 1970-01-01 00:00:00 UTC"
    )
    assert (decisions[0].policy, decisions[0].severity) == ("quality", "severe")


def test_a_bound_decides_about_performance_never_the_value() -> None:
    rule = {"performance": {"metric": "auc", "below": 0.7, "for": "2 of 3 cohorts"}}
    one = policy(rule, around={"cohort_ms": DAY})
    one.advance(1, [])
    made: list[Decision] = []
    for day, value in enumerate([0.6, 0.69, 0.8, 0.66, 0.67], 1):
        made += one.advance(day * DAY, [])
        one.take(cohort(day, value))
        made += one.advance(day * DAY + WINDOW, [])
    # .69 may be .71, and .6 is no longer among the last three when .66 comes
    assert [d.decided_ms for d in made] == [5 * DAY + WINDOW]
    assert made[0].reason == (
        "auc of version 1 is surely below 0.7 in 2 of the last 3 cohorts "
        "(0.67, bounds 0.65 to 0.69, 1,000 labels in the cohort up to 1970-01-06 00:00:00 UTC)"
    )
    assert (made[0].version, made[0].severity, made[0].train_from_ms) == ("1", "severe", 3 * DAY)
    assert one.advance(9 * DAY, []) == []  # the same cohorts ask for no second retrain


def test_a_rule_without_a_limit_takes_the_monitors_and_costs_go_up() -> None:
    limits = {"auc": Limit(min=0.7), "mae": Limit(max=3.0)}
    for metric, value, fires in (("auc", 0.6, 1), ("auc", 0.69, 0), ("mae", 3.3, 1), ("mae", 3.01, 0)):
        one = policy({"performance": {"metric": metric}}, around={"limits": limits})
        one.take(cohort(1, value, metric=metric))
        assert len(one.advance(WINDOW, [])) == fires


def test_a_cohort_that_is_judged_again_counts_once() -> None:
    one = policy({"performance": {"metric": "auc", "below": 0.7, "for": "2 cohorts"}})
    one.take(cohort(1, 0.6))
    one.take(cohort(1, 0.61))
    assert one.advance(WINDOW, []) == []
    one.take(cohort(2, 0.61))
    assert len(one.advance(2 * WINDOW, [])) == 1


def test_labels_count_from_the_last_trigger_that_led_to_a_training() -> None:
    one = policy({"labels": 100}, versioned=True, deadline="100s")
    one.take(Labels(99))
    assert one.advance(WINDOW, []) == []
    one.take(Labels(1))
    (decision,) = one.advance(2 * WINDOW, [])
    assert decision.reason == "100 new labels since the last training, at least 100 are asked for"
    one.take(Labels(60))
    one.trained(2 * WINDOW + 1, [])  # trained on the first 100
    one.take(Labels(39))
    assert one.advance(9 * WINDOW, []) == []
    one.take(Labels(1))
    assert len(one.advance(10 * WINDOW, [])) == 1


def test_rules_combine_and_a_schedule_is_the_time_at_which_the_others_have_to_hold() -> None:
    nightly = {"all": [{"schedule": "0 2 * * *"}, {"any": [{"labels": 100}, {"drift": {"columns": 1, **ONCE}}]}]}
    one = policy(nightly)
    assert one.advance(1, []) == []
    assert one.advance(3 * DAY, []) == []
    one.take(Labels(200))
    (decision,) = one.advance(4 * DAY, [])
    assert (decision.policy, decision.decided_ms) == ("labels+schedule", 3 * DAY + 2 * 3_600_000)
    assert decision.reason.startswith("Scheduled retrain (0 2 * * *); and 200 new labels")
    assert [(f.kind, f.held) for f in decision.findings] == [("schedule", True), ("labels", True), ("drift", False)]
    drifted = one.advance(6 * DAY, [episode("x")])
    assert [d.policy for d in drifted] == ["drift+schedule"]
    assert drifted[0].train_from_ms == 500


def test_all_of_the_top_level() -> None:
    config = RetrainConfig.model_validate({"all": [{"labels": 5}, {"drift": {"columns": 1, **ONCE}}]})
    one = Policy(config, PANE)
    assert one.advance(WINDOW, [episode("x")]) == []
    one.take(Labels(5))
    assert [d.policy for d in one.advance(2 * WINDOW, [episode("x")])] == ["drift+labels"]


def test_no_more_triggers_than_allowed_in_any_stretch() -> None:
    one = policy({"schedule": "* * * * *"}, at_most="2 per 1h")
    minutes = [d.decided_ms // 60_000 for d in one.advance(1, []) + one.advance(3 * 3_600_000, [])]
    assert minutes == [1, 2, 61, 62, 121, 122]


def test_nothing_else_is_triggered_until_a_new_version_is_there() -> None:
    rule = {"drift": {"columns": 1, **ONCE}}
    one = policy(rule, versioned=True, deadline="1d")
    assert len(one.advance(WINDOW, [episode("a")])) == 1
    assert one.pending
    assert one.advance(5 * WINDOW, [episode("a"), episode("b")]) == []
    one.trained(5 * WINDOW, [episode("a"), episode("b")])
    assert not one.pending
    # what was open at the takeover is met by it; what opens later is not
    assert one.advance(9 * WINDOW, [episode("a"), episode("b")]) == []
    assert [d.decided_ms for d in one.advance(20 * WINDOW, [episode("b"), episode("c")])] == [10 * WINDOW]


def test_after_the_deadline_what_is_open_triggers_again() -> None:
    rule = {"drift": {"columns": 1, **ONCE}}
    one = policy(rule, versioned=True, deadline="1d")
    made = one.advance(WINDOW, [episode("a")]) + one.advance(2 * DAY, [episode("a")])
    assert [d.decided_ms for d in made] == [WINDOW, WINDOW + DAY]
    assert [d.deadline_ms for d in made] == [WINDOW + DAY, WINDOW + 2 * DAY]


@pytest.mark.parametrize("more", [{"dry_run": True}, {"pending": "never"}])
def test_what_nobody_answers_is_not_waited_for(more: dict[str, Any]) -> None:
    one = policy({"schedule": "0 * * * *"}, versioned=True, **more)
    assert len(one.advance(1, []) + one.advance(5 * 3_600_000, [])) == 5


def test_pending_always_waits_without_versions() -> None:
    one = policy({"schedule": "0 * * * *"}, pending="always")
    assert len(one.advance(1, []) + one.advance(5 * 3_600_000, [])) == 1
    one.trained(5 * 3_600_000, [])
    assert [d.decided_ms for d in one.advance(6 * 3_600_000, [])] == [6 * 3_600_000]


def test_one_trigger_at_a_time_even_without_a_cooldown() -> None:
    one = policy({"schedule": "0 * * * *"}, {"schedule": "*/30 * * * *"})
    times = [d.decided_ms for d in one.advance(1, []) + one.advance(3 * 3_600_000, [])]
    assert len(times) == len(set(times)) == 6


def test_a_schedule_trains_on_what_came_since_the_last_training() -> None:
    one = policy({"schedule": "0 0 * * *"}, versioned=True)
    made = one.advance(1_000, []) + one.advance(DAY, [])
    one.trained(DAY + 7, [])
    made += one.advance(2 * DAY, [])
    assert [d.train_from_ms for d in made] == [1_000, DAY]
    assert [replace(f, text="") for f in made[1].findings] == [replace(made[1].findings[0], text="")]


@pytest.mark.parametrize(
    "bad",
    [
        {"any": [{"labels": 5, "schedule": "0 2 * * *"}]},
        {"any": [{}]},
        {"any": [{"all": []}]},
        {"any": [{"labels": 5}], "all": [{"labels": 6}]},
        {"any": [{"performance": {"metric": "auc", "below": 0.5, "above": 0.4}}]},
        {"any": [{"performance": {"metric": "fun"}}]},
        {"any": [{"drift": {"importance": {"a": 1}}}]},
        {"any": [{"drift": {"share": 0.5, "importance": {"a": 0}}}]},
        {"any": [{"quality": {"of": ["drift"]}}]},
        {"at_most": "many"},
        {"at_most": "0 per 1d"},
        {"at_most": "2 per month"},
    ],
)
def test_what_a_rule_can_not_mean_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetrainConfig.model_validate(bad)


def test_keys_that_came_later_do_not_change_the_identity_of_what_was_there_before() -> None:
    assert RetrainConfig().identity() == {
        "any": [
            {
                "drift": {
                    "columns": 3, "any_of": [], "severity": "moderate", "window": "0ms", "for_": "2 windows",
                },
                "schedule": None,
            }
        ],
        "cooldown": "1d",
        "dry_run": False,
    }  # fmt: skip
    assert RetrainConfig.model_validate({"at_most": "1 per 1d"}).identity() != RetrainConfig().identity()
    assert RetrainConfig.model_validate({"model": {"dvc": "1"}}).identity() == RetrainConfig().identity()


def test_the_examples_of_the_page_are_rules() -> None:
    page = (Path(__file__).parents[2] / "docs/retraining.md").read_text()
    examples = re.findall(r"```yml\n(.*?)```", page, re.DOTALL)
    rules = [RetrainConfig.model_validate(YAML(typ="safe").load(text)) for text in examples]
    kinds = {
        name for config in rules for rule in config.rules for leaf in rule.leaves for name in leaf.model_fields_set
    }
    assert kinds == {"drift", "quality", "performance", "labels", "schedule"}

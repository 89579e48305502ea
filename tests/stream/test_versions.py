"""Versions side by side, from the logs: what is told, under which ids, and that only the logs decide it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.events import ComparisonEvent, Published, SummaryPart
from driftbus.stream.judge import Judge
from driftbus.stream.plan import Plans

from .outcomeworld import LABELS, PANE_MS, Data, data_of, judged, parts_of, plans_of, shuffled

WORSE = {"champion": "1", "challenger": "2", "metric": "accuracy", "margin": 0.02, "share": 0.5}


def comparisons(found: dict[str, Published]) -> list[ComparisonEvent]:
    return sorted((e for e in found.values() if isinstance(e, ComparisonEvent)), key=lambda e: (e.decided_ms, e.id))


def spoiled(data: Data, share: float) -> Data:
    """Version 2 scores a share of its rows at random."""
    rng = np.random.default_rng(5)
    lost = (data.version == "2") & (rng.random(data.score.size) < share)
    return replace(data, score=np.where(lost, np.round(rng.random(data.score.size), 3), data.score))


@cache
def world() -> tuple[Plans, Data, list[SummaryPart]]:
    plans = plans_of(comparisons=[WORSE, WORSE | {"metric": "auc", "share": None}, WORSE | {"margin": 0.9}])
    data = spoiled(data_of(21, cohorts=20, falls_at=1.0), 0.6)
    return plans, data, parts_of(plans, data)


def test_a_worse_version_is_told_with_what_it_rests_on() -> None:
    plans, data, parts = world()
    found = comparisons(judged(plans, parts))
    assert sorted((e.margin, e.metric, e.status) for e in found) == [
        (0.02, "accuracy", "worse"),
        (0.02, "auc", "worse"),
        (0.9, "accuracy", "not_worse"),
    ]
    worse = next(e for e in found if e.metric == "accuracy" and e.status == "worse")
    assert worse.high is not None
    assert worse.difference is not None
    assert worse.low is not None
    assert worse.low < worse.difference < worse.high < -0.02
    come = (data.came_ms >= 0) & (data.came_ms < worse.decided_ms)
    for version, labels, value in (
        ("1", worse.champion_labels, worse.champion_value),
        ("2", worse.challenger_labels, worse.challenger_value),
    ):
        mine = come & (data.version == version)
        assert labels == mine.sum()
        assert value == pytest.approx(((data.score[mine] >= 0.5) == (data.label[mine] == 1)).mean())
    assert worse.share_value == pytest.approx(worse.challenger_labels / come.sum())
    assert worse.decided_ms % PANE_MS == 0
    assert {r.topic for r in worse.ranges} == {LABELS}
    assert sum(r.to_offset - r.from_offset for r in worse.ranges) == come.sum()
    assert worse.message.startswith("2 is worse than 1 by more than 0.020: accuracy 0.")
    assert len({e.id for e in found}) == len(found) == 3
    assert len({e.comparison_id for e in found}) == 3


def test_equal_versions_tell_nothing() -> None:
    plans = plans_of(comparisons=[WORSE | {"margin": 0.0}, WORSE | {"margin": 0.0, "metric": "log_loss"}])
    assert comparisons(judged(plans, parts_of(plans, data_of(22, cohorts=10, falls_at=1.0)))) == []


def test_shares_that_were_not_meant_are_told() -> None:
    plans = plans_of(comparisons=[WORSE | {"share": 0.1, "margin": 0.5}])
    (event, *_) = comparisons(judged(plans, parts_of(plans, data_of(23, cohorts=6, falls_at=1.0))))
    assert (event.status, event.share) == ("mismatch", 0.1)
    assert event.share_value == pytest.approx(0.5, abs=0.15)
    assert "of the labels, 10.0% was meant" in event.message


@pytest.mark.parametrize("seed", range(2))
def test_only_the_logs_decide(seed: int) -> None:
    """Any interleaving of the parts, any cut by a snapshot: the same events under the same ids."""
    plans, _, parts = world()
    want, other, rng = comparisons(judged(plans, parts)), shuffled(parts, seed), random.Random(seed)
    judge, found = Judge(plans, 0), {}
    for offset, part in enumerate(other):
        if rng.random() < 0.01:
            saved = {name: judge.snapshot(name) for name in judge.monitors}
            judge = Judge(plans, 0)
            assert judge.restore(saved) == []
        for event in judge.apply(offset, decode_part(encode_part(part))):
            assert found.setdefault(event.id, event) == event
    assert comparisons(found) == want


def test_a_changed_comparison_does_not_take_the_state_of_another() -> None:
    states: list[dict[str, bytes]] = []
    for asked in ([WORSE], []):
        judge = Judge(plans_of(comparisons=asked), 0)
        states.append({name: judge.snapshot(name) for name in judge.monitors})
    judge = Judge(plans_of(comparisons=[WORSE]), 0)
    assert judge.restore(states[1]) == ["m"]
    assert judge.restore(states[0]) == []


def test_a_version_in_shadow_is_compared_on_the_same_rows() -> None:
    """Both versions score every row under one id; each label counts for both."""
    plans = plans_of(comparisons=[WORSE | {"shadow": True, "share": None}])
    data = data_of(24, cohorts=8, falls_at=1.0)
    both: dict[str, Any] = {name: np.repeat(getattr(data, name), 2) for name in ("time_ms", "score", "segment", "label", "came_ms")}  # noqa: E501  # fmt: skip
    twice = spoiled(Data(version=np.tile(np.array(["1", "2"], object), data.time_ms.size), **both), 0.6)
    ids = [str(i // 2) for i in range(twice.time_ms.size)]
    came = np.where(np.arange(twice.time_ms.size) % 2 == 0, twice.came_ms, -1)
    (event,) = comparisons(judged(plans, parts_of(plans, replace(twice, came_ms=came), ids=ids)))
    assert event.status == "worse"
    assert event.champion_labels == event.challenger_labels > 100


def test_a_metric_that_versions_cannot_be_compared_by_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't be compared by ece"):
        Judge(plans_of(comparisons=[WORSE | {"metric": "ece"}]), 0)

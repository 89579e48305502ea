"""A monitor without saved state on a summaries topic whose beginning was deleted."""

from __future__ import annotations

import numpy as np
import pytest

from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.config import Config
from driftbus.schemas.events import Source, SummaryPart
from driftbus.stream.chain import ANYWHERE, Chain
from driftbus.stream.plan import TopicPlan, build_plans


def plan(app: str = "one") -> TopicPlan:
    config = Config.model_validate(
        {"app": app, "kafka": {"bootstrap": "none:1"}, "monitors": {"m": {"predictions": {"topic": "t", "time": "ts"}}}}
    )
    profile = build_profile("m", "predictions", {"x": NumericData(np.arange(100.0))})
    return build_plans(config, {("m", "predictions"): profile}, {"t": 2}).topics["t"]


PLAN = plan()


def part(a: int, b: int, kind: str = "final", partition: int = 0) -> SummaryPart:
    return SummaryPart(kind, Source("t", partition, PLAN.epoch), 0, a, b, a)


def settled(chain: Chain, *parts: SummaryPart) -> list[tuple[int, int]]:
    found = []
    for each in parts:
        for ready in chain.take(each):
            assert list(chain.settle(ready)) == []
            found.append((ready.a, ready.b))
    return found


def test_a_topic_is_silent_when_every_source_is_at_its_end() -> None:
    chain = Chain(PLAN)
    assert not chain.silent  # nothing is known yet
    clocks = [SummaryPart("clock", Source("t", p, PLAN.epoch), 0, 0, 0, -1) for p in range(2)]
    settled(chain, *clocks)
    assert chain.silent  # an empty topic
    settled(chain, part(0, 10), part(10, 20))
    assert not chain.silent
    settled(chain, clocks[1])
    assert not chain.silent  # the source with the greatest clock may go on
    settled(chain, clocks[0])
    assert chain.silent
    assert chain.frontier() < 20


def test_ranges_wait_for_the_first_of_their_epoch() -> None:
    chain = Chain(PLAN)
    assert settled(chain, part(20, 30), part(10, 20)) == []
    assert settled(chain, part(0, 10)) == [(0, 10), (10, 20), (20, 30)]


def test_where_the_beginning_is_gone_the_first_range_that_comes_is_the_first() -> None:
    chain = Chain(PLAN)
    chain.begin_anywhere()
    assert settled(chain, part(20, 25, "preview")) == []
    assert settled(chain, part(20, 30), part(10, 20), part(40, 50), part(30, 40)) == [(20, 30), (30, 40), (40, 50)]
    assert settled(chain, part(70, 80, partition=1)) == [(70, 80)]


@pytest.mark.parametrize("seen", [0, 1])
def test_a_source_that_has_not_shown_itself_yet_is_still_free_after_a_restart(seen: int) -> None:
    chain, again = Chain(PLAN), Chain(PLAN)
    chain.begin_anywhere()
    settled(chain, *[part(20, 30)][:seen])
    again.restore(chain.state())
    assert again.sources[1].applied == ANYWHERE
    assert settled(again, part(30, 40), part(70, 80, partition=1)) == [(30, 40), (70, 80)]


def test_another_app_is_another_epoch_and_the_same_counting() -> None:
    other = plan("two")
    assert other.epoch != PLAN.epoch
    assert other.counting == PLAN.counting

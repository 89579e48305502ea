"""Predictions on their way to a join: from the group's consumer where they meet, else from a reader of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from driftbus.schemas.config import Config
from driftbus.stream.worker import outcome_agent
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outcome_agent import OutcomeAgent, _Ear, _Owned
from driftbus.stream.worker.outcome_task import Lane, Records
from driftbus.stream.worker.sourcestate import Start

from .joinlogs import LABELS, PREDICTIONS, Rules, plans_of

HERE, THERE = TP(LABELS, 0), TP(PREDICTIONS, 0)


def offer(agent: OutcomeAgent, tp: TP, begin: int, these: Records) -> None:
    asyncio.run(agent.offer_predictions(tp, begin, these))


class Reader:
    """Remembers what it was asked to read."""

    def __init__(self) -> None:
        self.reading: list[int] = []
        self.opened = 0

    def open(self, tp: TP, offset: int) -> int:
        assert tp == THERE
        self.reading.append(offset)
        self.opened += 1
        return self.opened

    def close_partition(self, tp: TP) -> None:
        self.reading.pop()


class Task:
    """A join that takes everything and works nothing off."""

    def __init__(self, lane: Lane) -> None:
        self.lanes = {PREDICTIONS: lane}
        self.taken: list[int] = []
        self.ends: list[int] = []
        self.silent: list[int] = []
        self.fed_some = asyncio.Event()

    def offer_predictions(self, lane: Lane, records: Any, behind: int) -> None:
        lane.push(records, behind)
        self.taken.append(behind)

    def predictions_end(self, lane: Lane, at_ms: int) -> None:
        self.ends.append(at_ms)

    def labels_end(self, at_ms: int) -> None:
        self.silent.append(at_ms)


@pytest.fixture
def joined(tmp_path: Path) -> tuple[OutcomeAgent, Task, Reader]:
    """A join that stands at offset 100 of its predictions."""
    plans = plans_of(Rules())
    config = Config.model_validate(
        {"kafka": {"bootstrap": "none:1"}, "monitors": {"m": {"labels": {"topic": LABELS}}},
         "run": {"store": str(tmp_path)}}
    )  # fmt: skip
    agent = OutcomeAgent(
        config, plans.outcomes, {}, publish=cast(Any, None), lock=asyncio.Lock(), hold=lambda tp, held: None,
        fail=lambda error: None, metrics=Metrics(CollectorRegistry()),
    )  # fmt: skip
    reader, task = Reader(), Task(Lane(THERE, cast(Any, None), 100, 400))
    agent._readers[LABELS] = cast(Any, reader)
    agent.owned[HERE] = _Owned(cast(Any, task), cast(Any, None), Start(0, 0, announce=False))
    return agent, task, reader


def records(first: int, last: int, held: int = 1) -> Records:
    nothing = np.zeros(0, np.int64)
    return Records(cast(Any, None), np.arange(first, last + 1), nothing, cast(Any, nothing), None, held)


Joined = tuple[OutcomeAgent, Task, Reader]


def test_what_the_group_brings_is_taken_where_it_meets(joined: Joined) -> None:
    agent, task, reader = joined
    offer(agent, THERE, 100, records(103, 110))  # nothing lies between 100 and 103
    assert (task.taken, reader.reading) == ([111], [])
    offer(agent, THERE, 90, records(90, 120))
    assert task.taken == [111, 121]
    offer(agent, THERE, 90, records(90, 95))
    assert task.taken == [111, 121], "it has had them"


def test_a_gap_is_read_by_a_reader_until_both_meet(joined: Joined) -> None:
    agent, task, reader = joined
    offer(agent, THERE, 200, records(200, 210))
    assert (task.taken, reader.reading) == ([], [100])
    lane = task.lanes[PREDICTIONS]
    batch = SimpleNamespace(last=249, held=1)
    _Ear(agent, LABELS).records(THERE, lane.number, cast(Any, batch))
    assert task.taken == [250]
    offer(agent, THERE, 211, records(211, 260))
    assert (task.taken, reader.reading, lane.number) == ([250, 261], [], 0)
    _Ear(agent, LABELS).records(THERE, 1, cast(Any, SimpleNamespace(last=300, held=1)))
    assert task.taken == [250, 261], "records of a reading that was ended are of no more use"


def test_a_join_that_is_behind_leaves_out_and_reads_again(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_agent, "QUEUED_BYTES", 10)
    monkeypatch.setattr(outcome_agent, "ROOM_S", 0.01)
    agent, task, reader = joined
    offer(agent, THERE, 100, records(100, 109, held=8))
    offer(agent, THERE, 110, records(110, 119, held=8))
    assert (task.taken, reader.reading) == ([110], [110])
    offer(agent, THERE, 120, records(120, 129, held=1))
    assert (task.taken, reader.reading) == ([110], [110])


def test_a_join_that_is_a_little_slower_is_waited_for(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_agent, "QUEUED_BYTES", 10)
    agent, task, reader = joined
    lane = task.lanes[PREDICTIONS]

    async def both() -> None:
        await agent.offer_predictions(THERE, 100, records(100, 109, held=8))
        more = asyncio.create_task(agent.offer_predictions(THERE, 110, records(110, 119, held=8)))
        await asyncio.sleep(0)
        assert task.taken == [110]
        lane.pop()
        task.fed_some.set()
        await more

    asyncio.run(both())
    assert (task.taken, reader.reading) == ([110, 120], [])


def test_a_reader_is_opened_only_for_what_the_group_does_not_bring(joined: Joined) -> None:
    agent, _, reader = joined
    agent.find_predictions(lambda tp: 100)
    assert reader.reading == []
    agent.find_predictions(lambda tp: 101)
    agent.find_predictions(lambda tp: None)
    assert reader.reading == [100], "once"


def test_an_end_counts_only_when_everything_before_it_has_come(joined: Joined) -> None:
    agent, task, _ = joined
    agent.see_ends({THERE: 101, HERE: 9}, 5, lambda tp: 8 if tp == HERE else None)
    assert (task.ends, task.silent) == ([], [])
    agent.see_ends({THERE: 101, HERE: 9}, 6, lambda tp: 101 if tp == THERE else 9)  # a mark of a transaction at 100
    assert (task.ends, task.silent) == ([6], [6])
    agent.find_predictions(lambda tp: None)
    agent.see_ends({THERE: 101}, 7, lambda tp: 101)
    assert task.ends == [6], "its own reader has not been there"
    _Ear(agent, LABELS).end(THERE, task.lanes[PREDICTIONS].number, 101)
    agent.see_ends({THERE: 101}, 8, lambda tp: None)
    agent.see_ends({}, 9, lambda tp: None)
    assert task.ends == [6, 8]

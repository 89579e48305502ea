"""Replay equals live: the same records, through `driftbus replay` and through workers, are the same bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftbus.stream.cli.main import run
from harness.broker import Broker
from harness.nursery import Nursery

from .twins import Twin, events_of, without_ranges

pytestmark = pytest.mark.kafka

Make = Callable[..., Twin]
ROWS = 6_000


@pytest.fixture
def twin(kafka: Broker, tmp_path: Path, nursery: Nursery) -> Iterator[Make]:
    made: list[Twin] = []

    def make(*args: Any, **kw: Any) -> Twin:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Twin(kafka, folder, *args, nursery=nursery, **kw))
        return made[-1]

    yield make
    for one in made:
        one.close()


def kinds(lines: list[str]) -> Counter[str]:
    return Counter(json.loads(line)["kind"] for line in lines)


def test_one_two_and_four_workers_and_a_replay_give_the_same_bytes(
    twin: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = twin(4, events_of(ROWS))
    replayed: list[str] = []
    for workers in (4, 2, 1):
        app = f"{topics.topics['predictions']}-{workers}"
        path = topics.install(app)
        replayed = replayed or topics.replayed(app)
        assert kinds(replayed).keys() == {"drift", "incident", "performance", "comparison", "retrain"}
        for _ in range(workers):
            topics.start(app)
        assert topics.settle(app, replayed) == replayed
    capsys.readouterr()
    assert run(["replay", "-c", str(path), "--verify"]) == 0
    assert f"live and replay are equal: {len(replayed)} events" in capsys.readouterr().out


@pytest.mark.parametrize("labelled", [True, False])
def test_one_three_and_sixteen_partitions_give_the_same_verdicts(twin: Make, labelled: bool) -> None:
    found = []
    for partitions in (1, 3, 16):
        topics = twin(partitions, events_of(ROWS, labelled=labelled))
        app = topics.topics["predictions"]
        topics.install(app)
        found.append(without_ranges(topics.replayed(app)))
    assert {event["kind"] for event in found[0]} >= {"drift", "incident", "retrain"}
    assert found[0] == found[1] == found[2]

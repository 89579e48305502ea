"""Labels that arrive on a real Kafka: late, early, twice, corrected, without a prediction; whatever happens to workers.

What is expected comes from the same logs through the join as the driver runs it: the same ranges, the same bytes.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.codec import encode_part
from driftbus.stream.driver import Driver
from driftbus.stream.join.ranges import vector_of
from driftbus.stream.judge import Decided
from driftbus.stream.replay.topicreplay import prepare
from driftbus.stream.summarise import ShardPart
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .labelled import MONITOR, START_MS, Labelled, Record, label, prediction, spread

pytestmark = pytest.mark.kafka

Make = Callable[..., Labelled]
JOIN = {"join": {"horizon": "4m", "wait": "10s", "grace": "2s"}, "performance": {"cohort": "30s"}}
STEP_MS = 100


@pytest.fixture
def deploy(kafka: Broker, nursery: Nursery) -> Iterator[Make]:
    made: list[Labelled] = []

    def make(**kw: Any) -> Labelled:
        made.append(Labelled(kafka, nursery=nursery, **{"monitor": JOIN, **kw}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def logs(count: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Predictions every `STEP_MS`; labels of a third of them, in the order of their time stamps."""
    rng = random.Random(seed)
    predictions = [prediction(i, START_MS + i * STEP_MS, seed) for i in range(count)]
    labels = []
    for i in range(0, count, 3):
        at = START_MS + i * STEP_MS
        said = str(int(rng.random() < 0.3))
        late = at + rng.choice([-8_000, -500, 0, 2_000, 20_000, 60_000, 200_000])
        labels.append(label(i, late, said))
        if rng.random() < 0.2:
            labels.append(label(i, late + rng.randrange(20_000), said))  # again
        if rng.random() < 0.2:
            labels.append(label(i, late + rng.randrange(20_000), "1" if said == "0" else "0"))  # corrected
        if rng.random() < 0.1:
            labels.append(label(1_000_000 + i, late, said))  # of nothing
        if rng.random() < 0.05:
            labels.append(label(i, late + 400_000, said))  # beyond the horizon
    labels.sort(key=lambda record: record["timestamp"])
    # a last prediction and a last label in every partition, which close every range
    end = START_MS + count * STEP_MS + 1_000_000
    predictions += [prediction(2_000_000 + i, end, seed) for i in range(40)]
    labels += [label(3_000_000 + i, end - 100_000, "0") for i in range(40)]
    return spread(predictions), spread(labels)


def produce(kafka: Broker, s: Labelled, predictions: Sequence[Record], labels: Sequence[Record]) -> None:
    kafka.produce(s.predicted, predictions)
    kafka.produce(s.labelled, labels)


def settle(s: Labelled, timeout_s: float = 90.0) -> None:
    """Wait until the final parts that the logs call for are there, and nothing else."""
    wanted = s.expected()
    assert len(wanted) > 100

    def done() -> bool:
        dead = [w.tail(30) for w in s.workers if w.returncode not in (None, 0, -9, -15)]
        assert not dead, dead[0]
        return wanted.keys() <= s.published().keys()

    try:
        wait_for(done, timeout_s, "all outcomes")
    except AssertionError as error:
        raise AssertionError(f"{error}: {len(s.published())} of {len(wanted)}\n{s.said()}") from None
    assert s.published() == wanted


def counted(s: Labelled) -> dict[str, int]:
    """Labels by what they were, over all parts."""
    plans = s.plans()
    shape: OutcomeShape = plans.outcomes[s.labelled].joins[0].shape
    found = dict.fromkeys(("first", "orphan", "dup", "rows"), 0)
    for part in s.parts():
        for entry in part.entries:
            if not entry.group.segment:
                counts = vector_of(entry, shape.size)
                found["first"] += int(counts[shape.lag].sum())
                found["orphan"] += int(counts[shape.orphan])
                found["dup"] += int(counts[shape.dup])
                found["rows"] += entry.rows
    return found


def test_labels_are_counted_as_the_driver_says(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(6_000, seed=1)
    produce(kafka, s, predictions, labels)
    worker = s.start()
    settle(s)
    found = counted(s)
    assert found["first"] > 1_500
    assert all(found[kind] > 100 for kind in found), found
    s.wait_ready(worker)
    text = s.get(worker, "/metrics")[1]
    for result, count in (("first", found["first"]), ("duplicate", found["dup"]), ("orphan", found["orphan"])):
        assert f'driftbus_labels_total{{monitor="{MONITOR}",result="{result}"}} {count}.0' in text
    shown = ("predictions", "remembered_labels", "waiting_labels", "store_bytes", "lag", "delay_seconds")
    for name in shown:
        assert f"driftbus_join_{name}{{" in text
    assert worker.stop() == 0, worker.tail()


def test_a_killed_worker_and_a_lost_store_change_nothing(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(9_000, seed=2)
    third, half = len(labels) // 3, len(predictions) // 2
    produce(kafka, s, predictions[:half], labels[:third])
    first = s.start()
    wait_for(lambda: len(s.published()) > 20, 90, "the first ranges")
    first.kill()
    second = s.start()
    produce(kafka, s, predictions[half:], labels[third : 2 * third])
    wait_for(lambda: len(s.published()) > 60, 90, "more ranges")
    second.kill()
    shutil.rmtree(s.home / "store")
    third_worker = s.start()
    kafka.produce(s.labelled, labels[2 * third :])
    settle(s)
    assert "nothing is stored of the predictions that labels wait for" in third_worker.log.read_text()
    assert third_worker.stop() == 0, third_worker.tail()


def test_partitions_that_move_between_workers_with_disks_of_their_own(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(9_000, seed=3)
    third = len(labels) // 3
    produce(kafka, s, predictions, labels[:third])
    first = s.start(store=str(s.home / "store-a"))
    s.wait_ready(first)
    second = s.start(store=str(s.home / "store-b"))
    s.wait_ready(second)
    kafka.produce(s.labelled, labels[third : 2 * third])
    wait_for(lambda: len(s.published()) > 60, 90, "more ranges")
    assert first.stop() == 0, first.tail()
    third_worker = s.start(store=str(s.home / "store-a"))  # whose content is of yesterday
    s.wait_ready(third_worker)
    kafka.produce(s.labelled, labels[2 * third :])
    settle(s)
    assert [w.stop() for w in (second, third_worker)] == [0, 0], s.said()


def test_a_frozen_worker_keeps_its_store_and_its_successor_makes_one_anew(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(9_000, seed=4)
    third = len(labels) // 3
    produce(kafka, s, predictions, labels[:third])
    zombie = s.start()
    wait_for(lambda: len(s.published()) > 20, 90, "the first ranges")
    zombie.signal(signal.SIGSTOP)
    other = s.start()
    wait_for(lambda: "is held by another process" in other.log.read_text(), 90, "a new folder")
    kafka.produce(s.labelled, labels[third : 2 * third])
    wait_for(lambda: len(s.published()) > 60, 90, "more ranges")
    zombie.signal(signal.SIGCONT)
    kafka.produce(s.labelled, labels[2 * third :])
    settle(s)
    assert [w.stop() for w in (zombie, other)] == [0, 0], s.said()


def test_silent_predictions_hold_labels_up_no_longer_than_their_grace(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(3_000, seed=5)
    early = [r for r in predictions if r["timestamp"] <= START_MS + 3_000 * STEP_MS]  # nothing passes the last labels
    produce(kafka, s, early, labels)
    worker = s.start()
    settle(s)
    assert worker.stop() == 0, worker.tail()


def test_predictions_that_contradict_a_silence_are_counted(kafka: Broker, deploy: Make) -> None:
    s = deploy()
    predictions, labels = logs(1_200, seed=8)
    known = [r for r in predictions if r["timestamp"] <= START_MS + 600 * STEP_MS]
    produce(kafka, s, known, labels)
    worker = s.start()
    s.wait_ready(worker)
    counted = re.compile(r'driftbus_join_contradictions_total\{topic="[^"]*"\} (\d+)')
    resolved = re.compile(r'driftbus_labels_total\{monitor="credit",result="orphan"\} (\d+)')

    def orphans() -> int:
        return sum(int(count) for count in resolved.findall(s.get(worker, "/metrics")[1]))

    wait_for(lambda: orphans() > 100, 90, "labels to be resolved without the predictions that have not come")
    assert all(count == "0" for count in counted.findall(s.get(worker, "/metrics")[1]))
    late = [r for r in predictions if START_MS + 600 * STEP_MS < r["timestamp"] <= START_MS + 1_200 * STEP_MS]
    kafka.produce(s.predicted, late)
    wait_for(lambda: counted.findall(s.get(worker, "/metrics")[1]) == [str(len(late))], 60, "all of them to be counted")
    assert worker.stop() == 0, worker.tail()


def test_a_replay_of_the_topics_counts_the_same(kafka: Broker, deploy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    s = deploy()
    produce(kafka, s, *logs(6_000, seed=7))
    found: dict[tuple[int, int], bytes] = {}
    judge = Driver._judge

    def seen(driver: Driver, parts: list[ShardPart]) -> list[Decided]:
        epoch = driver.plans.outcomes[s.labelled].epoch
        of_outcomes = [part for _, part in parts if part.source.epoch == epoch and part.kind == "final"]
        found.update({(part.source.partition, part.a): encode_part(part) for part in of_outcomes})
        return judge(driver, parts)

    monkeypatch.setattr(Driver, "_judge", seen)
    prepare(s.config, "", None, None).run(lambda event: None, lambda count: None)
    assert found == s.expected()


def test_silent_labels_hold_up_nothing(kafka: Broker, deploy: Make) -> None:
    s = deploy(overrides={"run": {"seal_after": "3s"}})
    predictions, labels = logs(3_000, seed=6)
    kafka.produce(s.predicted, predictions)
    worker = s.start()
    s.wait_ready(worker)
    wait_for(lambda: "driftbus_panes_sealed_total" in s.get(worker, "/metrics")[1], 60, "panes of predictions")
    assert s.published() == {}
    assert json.loads(s.get(worker, "/readyz")[1])["rebuilding"] == []
    kafka.produce(s.labelled, labels)
    settle(s)
    assert worker.stop() == 0, worker.tail()

"""Faults of the join's store whose course is known: what the worker says, and the ways out of the manual, walked."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from kafka.scenario import MONITOR

from driftbus.schemas.config import Config
from driftbus.stream.join.lmdbcheck import Damaged, check
from driftbus.stream.worker.topics import create_topics
from faults.checker import compare, history_of
from faults.deployment import Deployment
from faults.faults_labels import damage, files_of, store_of
from faults.load import Load
from faults.shape import Shape
from harness.broker import Broker
from harness.missing import running
from harness.nursery import Nursery
from harness.process import wait_for
from harness.smalldisk import SmallDisk

pytestmark = pytest.mark.kafka
PARTITIONS = 4
FIRST = 3_000
"""Records of the load that are sent before anything happens: 30 s of events, labels of which have been counted."""
LOAD = Load(seed=5, rows=6_000, partitions=PARTITIONS, labels=True)


@pytest.fixture
def deploy(broker: Broker, nursery: Nursery) -> Iterator[Callable[..., Deployment]]:
    made: list[Deployment] = []

    def make(**overrides: Any) -> Deployment:
        shape = Shape(workers=1, partitions=PARTITIONS, labels=True, executed=0.0)
        made.append(Deployment(broker, shape, nursery, random.Random(1), overrides))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with running(lambda: SmallDisk(3)) as made:
        yield made


def begin(on: Deployment) -> None:
    """One worker, a half of the records, and something on the disk for every partition."""
    on.tend()
    on.send(LOAD.records()[:FIRST], 1e6)
    on.wait_sent()
    wait_for(lambda: len(files_of(on)) == PARTITIONS and all(map(holds, files_of(on))), 90, "stores")
    outcomes = on.labelled
    places = on.kafka.committed(on.source, outcomes)
    wait_for(lambda: bool(places) or bool(places.update(on.kafka.committed(on.source, outcomes))), 60, "a commit")


def holds(file: Path) -> bool:
    """Whether something has been stored there."""
    try:
        check(file)
    except Damaged:  # it is being written
        return False
    return file.stat().st_size > 60_000


def kill(on: Deployment) -> None:
    (worker,) = on.running()
    on.kill(worker)


def said(on: Deployment) -> str:
    log = on.workers[-1].process.log
    return log.read_text() if log.exists() else ""


def finish(on: Deployment) -> None:
    """The rest of the records; what was published must be what a replay gives."""
    on.send(LOAD.records()[FIRST:], 1e6)
    on.wait_sent()
    agree(on)


def agree(on: Deployment) -> None:
    """What is published, once all is, must be what a replay gives."""
    on.replayed()
    try:
        on.settle()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{on.said()}") from None
    contradictions = on.contradictions()
    on.stop_all()
    assert not on.problems, on.problems[0]
    verdict = compare(history_of(on.raws()), on.replayed().values(), contradictions, on.records)
    assert verdict.ok, verdict.told()


def test_stores_that_are_damaged_cut_off_swapped_or_gone_are_made_again(deploy: Callable[..., Deployment]) -> None:
    on = deploy()
    begin(on)
    kill(on)
    first, second, third, fourth = files_of(on)
    rng = random.Random(3)
    data = bytearray(first.read_bytes())
    for at in range(0, len(data), 4_096):
        data[at + rng.randrange(24)] ^= 1 << rng.randrange(8)
    first.write_bytes(data)
    damage(second, [third], "swapped", rng)
    fourth.write_bytes(fourth.read_bytes()[: fourth.stat().st_size // 2])
    on.tend()
    found = re.compile(r"labels-\w+\[(\d)\]: what is stored is damaged \((.*?)\): it is made again")
    wait_for(lambda: len(found.findall(said(on))) == PARTITIONS, 60, "all four to be seen")
    told = dict(found.findall(said(on)))
    assert "another configuration or partition" in told["1"]
    assert "another configuration or partition" in told["2"]
    finish(on)


def goes_on(on: Deployment) -> None:
    """The next worker, and the rest of the records, on the store as it was left."""
    on.workers.clear()  # its exit code was right
    on.tend()
    on.send(LOAD.records()[2 * FIRST :], 1e6)
    on.wait_sent()
    agree(on)
    assert "damaged" not in said(on)


def test_a_disk_that_is_full_stops_the_worker_and_room_lets_it_go_on(
    disk: SmallDisk, deploy: Callable[..., Deployment]
) -> None:
    on = deploy(run={"store": str(disk.path / "store")})
    begin(on)
    disk.fill()
    on.send(LOAD.records()[FIRST : 2 * FIRST], 1e6)
    on.wait_sent()
    worker = on.workers[-1]
    assert worker.process.wait(60) == 4, worker.process.tail()
    assert "can't be written" in said(on)
    assert "is the disk full? run.store names the folder" in said(on)
    for file in files_of(on):
        check(file)
    disk.make_room()
    goes_on(on)


def test_a_disk_that_is_read_only_refuses_the_worker_until_it_is_not(
    disk: SmallDisk, deploy: Callable[..., Deployment]
) -> None:
    on = deploy(run={"store": str(disk.path / "store")})
    begin(on)
    kill(on)
    disk.read_only()
    on.send(LOAD.records()[FIRST : 2 * FIRST], 1e6)
    on.wait_sent()
    worker = on.start()
    assert worker.process.wait(60) == 2, worker.process.tail()
    assert f"error: run.store: {disk.path / 'store'} can't be used: Read-only file system" in said(on)
    disk.read_only(False)
    goes_on(on)


def test_a_log_too_short_for_a_lost_store_stops_the_worker_and_since_is_the_way_on(
    deploy: Callable[..., Deployment],
) -> None:
    on = deploy()
    begin(on)
    kill(on)
    shutil.rmtree(store_of(on))
    ends = on.kafka.end_offsets(on.source)
    cut = [TopicPartition(on.source, p, end - 50) for p, end in enumerate(ends)]
    for future in on.kafka.admin.delete_records(cut).values():
        future.result(30)
    worker = on.start()
    assert worker.process.wait(60) == 4, worker.process.tail()
    told = said(on)
    assert "nothing is stored of the predictions that labels wait for" in told
    assert f"{on.source} begins " in told
    on.workers.clear()  # its exit code was right
    (since,) = set(re.findall(r"since: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", told))
    monitor = on.document()["monitors"][MONITOR]
    on.overrides = {"monitors": {MONITOR: {**monitor, "join": {**monitor["join"], "since": since}}}}
    before = len(history_of(on.raws()).events)
    on.send(LOAD.records()[FIRST:], 1e6)
    on.wait_sent()
    on.tend()
    wait_for(lambda: len(history_of(on.raws()).events) > before + 20, 90, "more events")
    assert not on.problems, on.problems[0]
    (worker,) = on.running()
    counted = worker.get("/metrics")[1]
    assert re.search(r'driftbus_labels_total\{monitor="credit",result="first"\} [1-9]', counted)
    on.stop_all()
    assert not on.problems, on.problems[0]


def copied(on: Deployment, copy: str, wanted: float) -> bool:
    return sum(on.kafka.end_offsets(copy)) >= wanted


def test_a_copy_of_labels_keeps_its_word_when_workers_are_killed_over_it(deploy: Callable[..., Deployment]) -> None:
    """What stands in the copy is what is joined, in workers and in a replay: repetitions and all."""
    on = deploy()
    copy = f"{on.labelled}.by-id"
    monitor = on.document()["monitors"][MONITOR]
    labels = {**monitor["labels"], "topic": copy, "repartition": on.labelled, "partitioner": "murmur2"}
    on.overrides = {"monitors": {MONITOR: {**monitor, "labels": labels}}}
    on.config = Config.model_validate(on.document())
    create_topics(on.kafka.admin, on.config)
    on.wanted = 2
    on.tend()
    records = LOAD.records()
    rng = random.Random(7)
    for part in range(3):
        on.send(records[len(records) * part // 3 : len(records) * (part + 1) // 3], 1e6)
        on.wait_sent()
        wanted = len([one for one in on.sent if one.labels]) * rng.uniform(0.8, 1.0)
        wait_for(partial(copied, on, copy, wanted), 90, "copies")
        on.kill(rng.choice(on.running()))
        on.tend()
    everything = {(one.key, one.value, one.timestamp) for one in on.sent if one.labels and one.value[:2] != b"\xff\xff"}
    wait_for(
        lambda: everything <= {(m.key(), m.value(), m.timestamp()[1]) for m in on.kafka.read(copy)}, 90, "all copies"
    )
    ends = on.kafka.end_offsets(on.labelled)
    wait_for(
        lambda: [offset for _, (offset, _) in sorted(on.kafka.committed(on.source, on.labelled).items())] == ends,
        90,
        "the copy to be committed",
    )
    agree(on)

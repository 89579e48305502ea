"""Labels that are not where their predictions are: a worker says so, and copies them if it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Message

from driftbus.schemas.partitioning import partitions_of_keys
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .labelled import PARTITIONS, START_MS, Labelled, label, prediction, spread

pytestmark = pytest.mark.kafka
PREDICTIONS = spread([prediction(i, START_MS + i) for i in range(1_000, 1_200)])


@pytest.fixture
def deploy(kafka: Broker, nursery: Nursery) -> Iterator[Callable[..., Labelled]]:
    made: list[Labelled] = []

    def make(**kw: object) -> Labelled:
        made.append(Labelled(kafka, nursery=nursery, **kw))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_labels_with_another_partitioner_are_refused_with_what_to_write(
    kafka: Broker, deploy: Callable[..., Labelled]
) -> None:
    s = deploy()
    kafka.produce(s.predicted, PREDICTIONS)
    kafka.produce(s.labelled, spread([label(i, START_MS + i, "0") for i in range(200)], "murmur2"))
    worker = s.start()
    assert worker.wait(90) == 2
    said = worker.tail()
    assert "spread the same ids over different partitions" in said
    assert f"labels: {{topic: {s.labelled}.by-id, repartition: {s.labelled}, partitioner: crc32}}" in said


def test_another_number_of_partitions_is_refused(kafka: Broker, deploy: Callable[..., Labelled]) -> None:
    s = deploy(label_partitions=3)
    worker = s.start()
    assert worker.wait(90) == 2
    assert f"topic {s.labelled} has 3 partitions and {s.predicted} {PARTITIONS}" in worker.tail()


def test_the_wrong_partitioner_of_a_copy_is_refused(kafka: Broker, deploy: Callable[..., Labelled]) -> None:
    raw = kafka.create_topic("raw", 3)
    s = deploy(labels={"repartition": raw})
    kafka.produce(s.predicted, PREDICTIONS)
    worker = s.start()
    assert worker.wait(90) == 2
    assert "write partitioner: crc32" in worker.tail()


def test_a_copy_has_every_label_where_its_prediction_is_whatever_happens_to_workers(
    kafka: Broker, deploy: Callable[..., Labelled]
) -> None:
    raw = kafka.create_topic("raw", 3)
    copied = f"{raw}.by-id"
    s = deploy(labels={"repartition": raw, "topic": copied, "partitioner": "crc32"})
    assert len(kafka.end_offsets(copied)) == PARTITIONS, "`driftbus topics --create` makes it"
    kafka.produce(s.predicted, PREDICTIONS)
    labels = [label(i, START_MS + i, str(i % 2)) for i in range(3_000)]
    given = [r | {"key": None, "partition": i % 3, "headers": [("n", b"%d" % i)]} for i, r in enumerate(labels)]
    given.insert(1_000, {"key": b"k", "value": b"\xff\xff", "partition": 1, "timestamp": START_MS})
    kafka.produce(raw, given[:2_000])
    first = s.start()
    wait_for(lambda: sum(kafka.end_offsets(copied)) >= 1_000, 90, "some copies")
    first.kill()
    second = s.start()
    kafka.produce(raw, given[2_000:])
    everything = {(r["value"], r["timestamp"]) for r in given}
    found: list[Message] = []

    def complete() -> bool:
        found[:] = kafka.read(copied)
        return {(m.value(), m.timestamp()[1]) for m in found} == everything

    wait_for(complete, 90, "every label in the copy")
    assert second.stop() == 0, second.tail()
    whole = [m for m in found if m.value() != b"\xff\xff"]
    keys = [m.key() or b"" for m in whole]
    assert [m.partition() for m in whole] == partitions_of_keys("crc32", keys, PARTITIONS).tolist()
    assert all(dict(m.headers() or ())["n"] == m.key()[len(b"app-") :] for m in whole)  # type: ignore[arg-type,index,call-overload]
    (bad, *_) = [m for m in found if m.value() == b"\xff\xff"]
    assert (bad.key(), bad.partition()) == (b"k", 1)
    # killed anywhere, a record may come again, but never most of them: what is acknowledged is committed
    assert max(Counter(m.value() for m in found).values()) <= 2
    letters = Counter(m.value() for m in kafka.read(s.config.topics.deadletter))
    assert set(letters) == {b"\xff\xff"}

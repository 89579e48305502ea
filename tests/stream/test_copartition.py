"""Whether two topics spread ids alike, from samples of both."""

from __future__ import annotations

import pytest

from driftbus.schemas.partitioning import PARTITIONERS, Partitioner, partitions_of_keys
from driftbus.stream.worker.copartition import Sample, Verdict, compare

COUNT = 4


def spread(partitioner: Partitioner, first: int, last: int) -> Sample:
    ids = [f"app-{i}".encode() for i in range(first, last)]
    return Sample(ids, partitions_of_keys(partitioner, ids, COUNT).tolist())


def round_robin(first: int, last: int) -> Sample:
    return Sample([f"app-{i}".encode() for i in range(first, last)], [i % COUNT for i in range(first, last)])


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_a_partitioner_is_recognised_by_what_it_did(partitioner: Partitioner) -> None:
    assert spread(partitioner, 0, 50).partitioner(COUNT) == partitioner
    assert round_robin(0, 50).partitioner(COUNT) is None
    assert spread(partitioner, 0, 19).partitioner(COUNT) is None


@pytest.mark.parametrize(
    ("predictions", "labels", "verdict"),
    [
        (spread("crc32", 1000, 1100), spread("crc32", 0, 100), "same"),
        (spread("crc32", 1000, 1100), spread("murmur2", 0, 100), "different"),
        (spread("crc32", 1000, 1100), round_robin(0, 100), "different"),
        (spread("crc32", 1000, 1100), spread("murmur2", 0, 10), "unknown"),
        (spread("crc32", 0, 100), spread("murmur2", 0, 10), "different"),
        (round_robin(0, 100), round_robin(50, 150), "same"),
        (round_robin(0, 100), round_robin(500, 600), "unknown"),
        (round_robin(0, 100), spread("crc32", 50, 150), "different"),
        (Sample(), Sample(), "unknown"),
        (spread("crc32", 0, 100), Sample(), "unknown"),
    ],
)
def test_what_can_be_told(predictions: Sample, labels: Sample, verdict: Verdict) -> None:
    assert compare(predictions, labels, COUNT) == verdict


def test_one_partition_is_always_alike() -> None:
    one = Sample([b"a"], [0])
    assert compare(one, one, 1) == "same"


def test_a_few_records_written_by_hand_change_nothing() -> None:
    labels = spread("crc32", 0, 100)
    labels.partitions[:3] = [(p + 1) % COUNT for p in labels.partitions[:3]]
    assert compare(spread("crc32", 1000, 1100), labels, COUNT) == "same"

"""Partitioners give what the clients' own do."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
from confluent_kafka import Message, Producer

from driftbus.schemas.partitioning import PARTITIONERS, Partitioner, partitions_of_keys
from harness.mockcluster import MockCluster

KEYS = [random.Random(size * 31 + i).randbytes(size) for size in range(1, 40) for i in range(5)]
KEYS += [f"app-{i:012d}".encode() for i in range(200)]
OF_LIBRDKAFKA = {"murmur2": "murmur2_random", "crc32": "consistent_random", "fnv1a": "fnv1a_random"}
MOCK_PARTITIONS = 4


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_librdkafka_writes_to_the_same_partition(mock_cluster: MockCluster, partitioner: Partitioner) -> None:
    given: dict[bytes, int] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        given[message.key() or b""] = message.partition() or 0

    producer = Producer({"bootstrap.servers": mock_cluster.bootstrap, "partitioner": OF_LIBRDKAFKA[partitioner]})
    for key in KEYS:
        producer.produce("topic", b"", key, on_delivery=delivered)
    assert producer.flush(30) == 0
    wanted = dict(zip(KEYS, partitions_of_keys(partitioner, KEYS, MOCK_PARTITIONS).tolist(), strict=True))
    assert given == wanted


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
     (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
     (b"abc", 479470107)],
)  # fmt: skip
def test_murmur2_is_that_of_kafkas_own_tests(key: bytes, hashed: int) -> None:
    most = 0x7FFFFFFF
    assert partitions_of_keys("murmur2", [key], most)[0] == (hashed & most) % most


def test_crc32_is_that_of_zlib() -> None:
    assert partitions_of_keys("crc32", KEYS, 1_000).tolist() == [zlib.crc32(key) % 1_000 for key in KEYS]


def test_partitioners_differ() -> None:
    found = [partitions_of_keys(partitioner, KEYS, 64) for partitioner in PARTITIONERS]
    assert all(np.mean(a == b) < 0.1 for a in found for b in found if a is not b)

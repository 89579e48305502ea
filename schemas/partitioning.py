"""Which partition a producer gives a key: the partitioners of Kafka's clients, over the texts of a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel

Partitioner = Literal["murmur2", "crc32", "fnv1a"]
"""``murmur2``: Java's clients, kafka-python, kafkajs, librdkafka's ``murmur2_random``. ``crc32``: librdkafka's
default (``consistent_random``), so confluent-kafka for Python, Go and .NET. ``fnv1a``: Sarama, librdkafka's
``fnv1a_random``."""

PARTITIONERS: tuple[Partitioner, ...] = get_args(Partitioner)


def partitions_of(
    partitioner: Partitioner,
    text: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    partitions: int,
) -> NDArray[np.int64]:
    """int64[n], the partition of each of n texts.

    Args:
        partitioner: of the producer that is imitated.
        text: uint8[...], the bytes that the texts are parts of.
        start, length: int64[n] and int32[n], where each begins, and its bytes.
        partitions: of the topic.
    """
    hashes = np.empty(start.size, np.int64)
    if partitioner == "murmur2":
        _murmur2(text, start, length, hashes)
    elif partitioner == "crc32":
        _crc32(text, start, length, _CRC_TABLE, hashes)
    else:
        _fnv1a(text, start, length, hashes)
    return hashes % partitions


def partitions_of_keys(partitioner: Partitioner, keys: Sequence[bytes], partitions: int) -> NDArray[np.int64]:
    """The same for single keys."""
    length = np.array([len(key) for key in keys], np.int32)
    start = np.cumsum(length, dtype=np.int64) - length
    return partitions_of(partitioner, np.frombuffer(b"".join(keys), np.uint8), start, length, partitions)


def _crc_table() -> NDArray[np.int64]:
    table = np.arange(256, dtype=np.int64)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ 0xEDB88320, table >> 1)
    return table


_CRC_TABLE = _crc_table()


@kernel
def _crc32(
    text: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    table: NDArray[np.int64],
    hashes: NDArray[np.int64],
) -> None:
    for i in range(start.size):
        crc = np.int64(0xFFFFFFFF)
        for at in range(start[i], start[i] + length[i]):
            crc = table[(crc ^ text[at]) & 0xFF] ^ (crc >> np.int64(8))
        hashes[i] = crc ^ 0xFFFFFFFF


@kernel
def _murmur2(
    text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int32], hashes: NDArray[np.int64]
) -> None:
    """Kafka's `Utils.murmur2`, without its sign."""
    m, low = 0x5BD1E995, 0xFFFFFFFF
    for i in range(start.size):
        size = np.int64(length[i])
        h = np.int64(0x9747B28C) ^ size
        at = start[i]
        whole = at + (size & ~3)
        while at < whole:
            word = (
                np.int64(text[at])
                | np.int64(text[at + 1]) << 8
                | np.int64(text[at + 2]) << 16
                | np.int64(text[at + 3]) << 24
            )
            k = (word * m) & low
            k ^= k >> 24
            k = (k * m) & low
            h = ((h * m) & low) ^ k
            at += 4
        left = size & 3
        if left == 3:
            h ^= np.int64(text[at + 2]) << 16
        if left >= 2:
            h ^= np.int64(text[at + 1]) << 8
        if left >= 1:
            h = ((h ^ np.int64(text[at])) * m) & low
        h ^= h >> 13
        h = (h * m) & low
        h ^= h >> 15
        hashes[i] = h & 0x7FFFFFFF


@kernel
def _fnv1a(
    text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int32], hashes: NDArray[np.int64]
) -> None:
    """FNV-1a, as a signed number without its sign: what Sarama and librdkafka take."""
    for i in range(start.size):
        h = np.int64(0x811C9DC5)
        for at in range(start[i], start[i] + length[i]):
            h = ((h ^ np.int64(text[at])) * 0x01000193) & 0xFFFFFFFF
        hashes[i] = 0x100000000 - h if h >= 0x80000000 else h

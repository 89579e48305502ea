"""Rows sampled by the smallest hashes: the same rows, whatever the order in which they came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import Block


@dataclass(slots=True)
class Sample:
    """Decoded rows, last axis m, and the keys (hash, partition, offset) they are chosen by."""

    hashes: NDArray[np.uint64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    numeric: NDArray[np.float64]
    numeric_status: NDArray[np.uint8]
    texts: NDArray[np.object_]
    text_status: NDArray[np.uint8]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.hashes.size)

    def joined(self, other: Sample) -> Sample:
        """The rows of both."""
        return Sample(*(np.concatenate((getattr(self, n), getattr(other, n)), axis=-1) for n in Sample.__slots__))

    def taken(self, rows: NDArray[np.int64]) -> Sample:
        """Some of the rows, in the order given."""
        return Sample(*(getattr(self, name)[..., rows] for name in Sample.__slots__))

    def smallest(self, k: int) -> Sample:
        """The k rows with the smallest keys."""
        if self.hashes.size <= k:
            return self
        return self.taken(np.lexsort((self.offsets, self.partitions, self.hashes))[:k])


def sample_of(
    partition: int, block: Block, offsets: NDArray[np.int64], hashes: NDArray[np.uint64], rows: NDArray[np.int64]
) -> Sample:
    """Some rows of a block as a sample."""
    texts = np.empty((block.text_status.shape[0], rows.size), np.object_)
    for i in range(texts.shape[0]):
        texts[i] = [block.string(i, row) for row in rows.tolist()]
    return Sample(
        hashes[rows],
        np.full(rows.size, partition, np.int64),
        offsets[rows],
        block.time_ms[rows],
        block.numeric[:, rows],
        block.numeric_status[:, rows],
        texts,
        block.text_status[:, rows],
    )

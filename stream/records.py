"""What the machines are fed: records of one source partition, in offset order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class RecordBatch:
    """Consecutive records of one source partition.

    Keys and headers are asked for only where they matter (dead letters, schema ids in headers),
    so they stay behind functions.

    Args:
        topic: source topic.
        partition: partition number.
        offsets: int64[n], increasing.
        timestamps: int64[n], Kafka timestamps in milliseconds, -1 where there is none.
        values: n record values; None is a tombstone.
        key_of: row → key.
        headers_of: row → headers.
    """

    topic: str
    partition: int
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: list[bytes | None]
    key_of: Callable[[int], bytes | None]
    headers_of: Callable[[int], Headers]

    def __len__(self) -> int:
        return len(self.values)

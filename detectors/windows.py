"""Sliding windows of the latest panes that hold a number of values, in eighths.

A window is at most nine buckets of sums: eight closed ones of at least an eighth of its values
each, and the one that fills. It moves by a bucket, whenever one closes; it is never a list of panes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel

PARTS = 8
_SLOTS = PARTS + 1


class SlidingWindows:
    """Windows of several sizes over m series, each of which sums up some channels.

    Args:
        sizes: values in a window. A larger one sees smaller changes, later.
        channels: number of channels of each series.

    Attributes:
        judged: bool[w, m], whether the last update moved the (full) window of a series.
        n: float64[w, m], values in the latest full window, 0 before there is one.
        sums: float64[w, total channels], their sums by channel.
        first_tick: int64[w, m], first pane of it.
    """

    def __init__(self, sizes: Sequence[int], channels: NDArray[np.int64]) -> None:
        w, m, total = len(sizes), channels.size, int(channels.sum())
        self.start = np.concatenate([[0], np.cumsum(channels)]).astype(np.int64)
        self._sizes = np.array(sizes, np.float64)
        self._bucket_n = np.zeros((w, _SLOTS, m))
        self._bucket_sums = np.zeros((w, _SLOTS, total))
        self._bucket_tick = np.zeros((w, _SLOTS, m), np.int64)
        self._oldest = np.zeros((w, m), np.int64)
        self._closed = np.zeros((w, m), np.int64)
        self.judged = np.zeros((w, m), np.bool_)
        self.n = np.zeros((w, m))
        self.sums = np.zeros((w, total))
        self.first_tick = np.zeros((w, m), np.int64)

    def update(self, tick: int, n: NDArray[np.float64], channels: NDArray[np.float64]) -> int:
        """Take one pane.

        Args:
            tick: pane number; must increase.
            n: float64[m], values of each series; 0 leaves it as it is.
            channels: float64[total channels], their sums.

        Returns:
            Number of windows that moved.
        """
        count = _slide(
            tick, n, channels, self.start, self._sizes, self._bucket_n, self._bucket_sums, self._bucket_tick,
            self._oldest, self._closed, self.judged, self.n, self.sums, self.first_tick,
        )  # fmt: skip
        return int(count)

    def closed_buckets(self, window: int, series: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Channel sums, float64[b, channels], and first ticks, int64[b], of the closed buckets, oldest first."""
        slots = (self._oldest[window, series] + np.arange(self._closed[window, series])) % _SLOTS
        channels = slice(self.start[series], self.start[series + 1])
        return self._bucket_sums[window, slots, channels], self._bucket_tick[window, slots, series]

    def sums_since(self, window: int, series: int, tick: int) -> tuple[float, NDArray[np.float64]]:
        """Values and their channel sums in the buckets that begin at a pane or later; in the newest if none does.

        Unlike `n` and `sums` it counts the bucket that fills, and needs no full window.
        """
        slots = (self._oldest[window, series] + np.arange(self._closed[window, series] + 1)) % _SLOTS
        slots = slots[self._bucket_n[window, slots, series] > 0]
        since = slots[self._bucket_tick[window, slots, series] >= tick]
        chosen = since if since.size else slots[-1:]
        channels = slice(self.start[series], self.start[series + 1])
        sums = self._bucket_sums[window, chosen, channels].sum(axis=0)
        return float(self._bucket_n[window, chosen, series].sum()), np.asarray(sums, np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {
            "bucket_n": self._bucket_n, "bucket_sums": self._bucket_sums, "bucket_tick": self._bucket_tick,
            "oldest": self._oldest, "closed": self._closed, "n": self.n, "sums": self.sums,
            "first_tick": self.first_tick,
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        for name, array in self.arrays().items():
            array[...] = arrays[name]


@kernel
def _slide(
    tick: int,
    n: NDArray[np.float64],
    channels: NDArray[np.float64],
    start: NDArray[np.int64],
    sizes: NDArray[np.float64],
    bucket_n: NDArray[np.float64],
    bucket_sums: NDArray[np.float64],
    bucket_tick: NDArray[np.int64],
    oldest: NDArray[np.int64],
    closed: NDArray[np.int64],
    judged: NDArray[np.bool_],
    full_n: NDArray[np.float64],
    full_sums: NDArray[np.float64],
    first_tick: NDArray[np.int64],
) -> int:
    moved = 0
    for w in range(sizes.size):
        for i in range(n.size):
            judged[w, i] = False
            if n[i] <= 0:
                continue
            slot = (oldest[w, i] + closed[w, i]) % _SLOTS
            if bucket_n[w, slot, i] == 0:
                bucket_tick[w, slot, i] = tick
            bucket_n[w, slot, i] += n[i]
            for c in range(start[i], start[i + 1]):
                bucket_sums[w, slot, c] += channels[c]
            if bucket_n[w, slot, i] * PARTS < sizes[w]:
                continue
            closed[w, i] += 1
            total = 0.0
            for k in range(closed[w, i]):
                total += bucket_n[w, (oldest[w, i] + k) % _SLOTS, i]
            slot = oldest[w, i]
            while total - bucket_n[w, slot, i] >= sizes[w]:
                total -= bucket_n[w, slot, i]
                bucket_n[w, slot, i] = 0.0
                for c in range(start[i], start[i + 1]):
                    bucket_sums[w, slot, c] = 0.0
                slot = (slot + 1) % _SLOTS
                closed[w, i] -= 1
            oldest[w, i] = slot
            if total < sizes[w]:
                continue
            judged[w, i] = True
            moved += 1
            full_n[w, i] = total
            first_tick[w, i] = bucket_tick[w, slot, i]
            for c in range(start[i], start[i + 1]):
                full_sums[w, c] = 0.0
                for k in range(closed[w, i]):
                    full_sums[w, c] += bucket_sums[w, (slot + k) % _SLOTS, c]
    return moved

"""Rows of blocks to sketches: one look at each row, more at those that a sample takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.sketches import (
    AHEAD_BINS,
    DELAY_BINS,
    MOST_WRITERS,
    IdSample,
    RowSample,
    Sketches,
    SketchShape,
)
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.hashing import scatter
from driftbus.schemas.kernel import leaf_kernel

NO_DELAY = np.iinfo(np.int64).min
"""The delay of a row that has none."""

_NEVER = np.uint64(0xFFFFFFFFFFFFFFFF)
_ABSENT = np.uint64(0xFFF8D01F7B050000)
"""Stands for a null in hashes of content: no number that is computed has these bits."""

_HIGH = np.uint64(0xFFFFFFFF00000000)


class Sampler:
    """Takes the sketches of rows.

    A row's hash is that of its id and event time, so that the same events give the same sample however
    they are spread over partitions; of rows that share both, what is in them decides. The id alone would
    choose the same returning ids in every pane. A row without an id has the hash of topic, partition and offset.

    Args:
        counter: of the same profile.
        shape: of the sketches; its k must be above 0.
        id_row: row of the id in `Block.text_start`, -1 for none.
    """

    def __init__(self, counter: Counter, shape: SketchShape, id_row: int) -> None:
        self._counter, self._shape, self._id_row = counter, shape, id_row

    def sketch(
        self,
        block: Block,
        seed: int,
        offsets: NDArray[np.int64],
        delays: NDArray[np.int64],
        entry: NDArray[np.int64],
        known: Sequence[Sketches | None],
    ) -> list[Sketches]:
        """What the rows add to the sketches of each entry.

        Args:
            block: n decoded records.
            seed: of the topic and partition.
            offsets: int64[n].
            delays: int64[n], Kafka timestamp minus event time in milliseconds, `NO_DELAY` where there is none.
            entry: int64[n], the entry that a row belongs to, -1 for none.
            known: the sketches of each entry so far: what can't be among their smallest is not looked at.
        """
        k, entries = self._shape.k, len(known)
        limits = np.array([_limits(sketches, k) for sketches in known], np.uint64).reshape(entries, 2)
        chosen, keys = np.zeros((entries, k), np.int64), np.full((entries, k), _NEVER)
        ids, times = np.full((entries, k), _NEVER), np.zeros((entries, k), np.int64)
        filled, buckets = np.zeros((entries, 2), np.int64), np.zeros((entries, DELAY_BINS), np.int64)
        _sample_rows(
            np.uint64(seed), offsets, entry, delays, limits, self._id_row, block.time_ms.view(np.uint64),
            block.text_hash, block.text_status, block.numeric.view(np.uint64), block.numeric_status,
            *self._counter.rows, keys, chosen, filled, buckets,
        )  # fmt: skip
        if self._id_row >= 0:
            _sample_ids(
                block.text_hash[self._id_row], block.text_status[self._id_row], entry, limits, ids, times, filled
            )
        _sort(keys, chosen, filled[:, 0])
        _sort(ids, times, filled[:, 1])
        cells, marks = self._counter.cells(block, chosen[np.arange(k) < filled[:, :1]], self._shape.marked)
        found, at = [], 0
        writers = _writers(block, entry, entries)
        for e, (r, i) in enumerate(filled.tolist()):
            sample = RowSample(keys[e, :r], cells[at : at + r], marks[at : at + r])
            found.append(Sketches(self._shape, sample, IdSample(ids[e, :i], times[e, :i]), buckets[e], writers[e]))
            at += r
        return found


def _writers(block: Block, entry: NDArray[np.int64], entries: int) -> list[IdSample]:
    """Rows of each entry by writer schema."""
    if block.writer is None or not block.writers:
        return [IdSample(np.zeros(0, np.uint64), np.zeros(0, np.int64))] * entries
    counts = np.zeros((entries, len(block.writers)), np.int64)
    _count_writers(entry, block.writer, counts)
    prints = np.array([writer.fingerprint for writer in block.writers], np.uint64)
    order = np.argsort(prints)
    prints, counts = prints[order], counts[:, order]
    return [IdSample(prints[row > 0][:MOST_WRITERS], row[row > 0][:MOST_WRITERS]) for row in counts]


@leaf_kernel
def _count_writers(entry: NDArray[np.int64], writer: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    for i in range(entry.size):
        if entry[i] >= 0:
            counts[entry[i], writer[i]] += 1


def _limits(known: Sketches | None, k: int) -> tuple[int, int]:
    """The largest hashes of a row and of an id that can still come into the sketches."""
    if known is None:
        return int(_NEVER), int(_NEVER)
    rows, ids = known.sample.hashes, known.ids.hashes
    return (int(rows[-1]) if rows.size == k else int(_NEVER)), (int(ids[-1]) if ids.size == k else int(_NEVER))


@leaf_kernel
def _content(
    i: int,
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    numbers: NDArray[np.uint64],
    number_status: NDArray[np.uint8],
    numeric: NDArray[np.int64],
    categorical: NDArray[np.int64],
) -> np.uint64:
    """Hash of a row's values in the columns of the profile, 32 bits."""
    h = np.uint64(0)
    for r in numeric:
        known = number_status[r, i] == PRESENT
        h = scatter(h ^ (numbers[r, i] if known else _ABSENT - np.uint64(number_status[r, i])))
    for r in categorical:
        known = status[r, i] == PRESENT
        h = scatter(h ^ (hashes[r, i] if known else _ABSENT - np.uint64(status[r, i])))
    return h >> np.uint64(32)


@leaf_kernel
def _largest_first(keys: NDArray[np.uint64], values: NDArray[np.int64], filled: int) -> None:
    """Bring the largest key to slot 0, its value with it."""
    largest = 0
    for j in range(1, filled):
        if keys[j] > keys[largest]:
            largest = j
    keys[0], keys[largest] = keys[largest], keys[0]
    values[0], values[largest] = values[largest], values[0]


@leaf_kernel
def _sample_rows(
    seed: np.uint64,
    offsets: NDArray[np.int64],
    entry: NDArray[np.int64],
    delays: NDArray[np.int64],
    limits: NDArray[np.uint64],
    id_row: int,
    times: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    numbers: NDArray[np.uint64],
    number_status: NDArray[np.uint8],
    numeric: NDArray[np.int64],
    categorical: NDArray[np.int64],
    keys: NDArray[np.uint64],
    chosen: NDArray[np.int64],
    filled: NDArray[np.int64],
    buckets: NDArray[np.int64],
) -> None:
    k = keys.shape[1]
    for i in range(entry.size):
        e = entry[i]
        if e < 0:
            continue
        delay = delays[i]
        if delay != NO_DELAY:
            buckets[e, _bucket(delay)] += 1
        identified = id_row >= 0 and status[id_row, i] == PRESENT
        if identified:
            h = scatter(hashes[id_row, i] ^ scatter(times[i])) & _HIGH
        else:
            h = scatter(seed ^ np.uint64(offsets[i]))
        if h > limits[e, 0] or (filled[e, 0] == k and h >= keys[e, 0]):
            continue
        if identified:
            h |= _content(i, hashes, status, numbers, number_status, numeric, categorical)
            if h > limits[e, 0]:
                continue
        if filled[e, 0] < k:
            place = filled[e, 0]
            filled[e, 0] += 1
        elif h < keys[e, 0]:
            place = 0
        else:
            continue
        keys[e, place], chosen[e, place] = h, i
        if place == 0 or h > keys[e, 0]:
            _largest_first(keys[e], chosen[e], filled[e, 0])


@leaf_kernel
def _sample_ids(
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    entry: NDArray[np.int64],
    limits: NDArray[np.uint64],
    ids: NDArray[np.uint64],
    times: NDArray[np.int64],
    filled: NDArray[np.int64],
) -> None:
    k = ids.shape[1]
    for i in range(entry.size):
        e = entry[i]
        if e < 0 or status[i] != PRESENT:
            continue
        h = scatter(hashes[i])
        if h > limits[e, 1]:
            continue
        known = filled[e, 1]
        if known == k and h > ids[e, 0]:
            continue
        place = -1
        for j in range(known):
            if ids[e, j] == h:
                place = j
                break
        if place >= 0:
            times[e, place] += 1
            continue
        place = known if known < k else 0
        filled[e, 1] = min(k, known + 1)
        ids[e, place], times[e, place] = h, 1
        if place == 0 or h > ids[e, 0]:
            _largest_first(ids[e], times[e], filled[e, 1])


@leaf_kernel
def _sort(keys: NDArray[np.uint64], values: NDArray[np.int64], filled: NDArray[np.int64]) -> None:
    """Bring each entry's keys into ascending order, their values with them."""
    for e in range(filled.size):
        for i in range(1, filled[e]):
            key, value, j = keys[e, i], values[e, i], i - 1
            while j >= 0 and keys[e, j] > key:
                keys[e, j + 1], values[e, j + 1] = keys[e, j], values[e, j]
                j -= 1
            keys[e, j + 1], values[e, j + 1] = key, value


@leaf_kernel
def _bucket(delay: int) -> int:
    """`driftbus.detectors.sketches.delay_bin`, compiled."""
    if delay < 0:
        bucket, power = AHEAD_BINS - 1, 10
        while bucket > 0 and -delay >= power:
            bucket -= 1
            power *= 10
        return bucket
    if delay < 4:
        return AHEAD_BINS + delay
    shifted, octave = delay, 0
    while shifted >= 8:
        shifted >>= 1
        octave += 1
    return min(AHEAD_BINS + 4 * (octave + 1) + (shifted & 3), DELAY_BINS - 1)

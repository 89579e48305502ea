"""What a pane holds besides counts: sampled rows, sampled ids and delays, all with an exact merge.

Each is a function of the multiset of rows behind it, so any cut into parts and any order of merging
gives the same bits. Rows and ids are bottom-k samples by hash (Cohen and Kaplan, 2007, "Summarizing
data using bottom-k sketches"): what is among the k smallest of a union is among the k smallest of
every part that holds it. Delays are a histogram whose buckets lie at powers of two, four to each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.kernel import leaf_kernel

AHEAD_BINS = 8
"""Buckets of event times ahead of the Kafka timestamp: below 10^1, 10^2, ... 10^7 ms, and beyond."""

DELAY_BINS = AHEAD_BINS + 128
"""All buckets of delays: those ahead, then four to each power of two milliseconds, up to 2^32 ms (50 days)."""

_POWERS = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MOST_WRITERS = 8
"""Writer schemas of a pane that are told apart."""

_MARKED_BINS = 32
"""Numeric columns with at least so many bins may have more values than bins."""

_ROW, _ID, _DELAY = "<u8", np.dtype([("hash", "<u8"), ("count", "<u4")]), np.dtype([("bin", "u1"), ("count", "<u4")])


def marked(column: ColumnProfile) -> bool:
    """Whether several values of the column share a cell, so that its sampled values carry a mark."""
    return column.bins >= _MARKED_BINS if column.kind == "numeric" else column.counts[-1] > 0


@dataclass(frozen=True, slots=True)
class SketchShape:
    """How large the sketches of a profile are.

    Args:
        k: sampled rows, and as many ids, of a pane.
        columns: columns of the profile.
        wide: columns whose cells need two bytes.
        marked: columns whose sampled values carry a mark, see `marked`.
    """

    k: int
    columns: int
    wide: tuple[int, ...]
    marked: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one packed row."""
        return 8 + self.columns + len(self.wide) + 2 * len(self.marked)

    @property
    def most_bytes(self) -> int:
        """Bytes of the sketches of one pane at most."""
        return self.k * (self.row_bytes + _ID.itemsize) + DELAY_BINS * _DELAY.itemsize


@lru_cache(maxsize=256)
def shape_of(profile: Profile, k: int) -> SketchShape:
    """The shape of a profile's sketches of k rows; k = 0: none are taken."""
    columns = list(enumerate(profile.columns))
    return SketchShape(
        k,
        len(columns),
        tuple(i for i, column in columns if column.width > 256),
        tuple(i for i, column in columns if marked(column)),
    )


@dataclass(slots=True)
class RowSample:
    """The k rows with the smallest hashes: a simple random sample, see `driftbus.detectors.sampling.Sampler`.

    Args:
        hashes: uint64[r], ascending.
        cells: uint16[r, columns], cell of each column relative to the column's first in the profile's layout.
        marks: uint16[r, marked], hash of the value of each marked column: equal values have equal marks.
    """

    hashes: NDArray[np.uint64]
    cells: NDArray[np.uint16]
    marks: NDArray[np.uint16]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.hashes.size)

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64[r], how often each row occurs: once."""
        return np.ones(self.hashes.size, np.int64)

    def merged(self, other: RowSample, k: int) -> RowSample:
        """The sample of both multisets of rows."""
        if not other.rows or not self.rows:
            return self if self.rows else other
        order = np.empty(min(k, self.rows + other.rows), np.int64)
        if not _merge_rows(self.hashes, other.hashes, order):
            order = np.lexsort(self._keys(other))[:k]  # two rows of one hash: an event that came twice
        return RowSample(
            np.concatenate((self.hashes, other.hashes))[order],
            np.concatenate((self.cells, other.cells))[order],
            np.concatenate((self.marks, other.marks))[order],
        )

    def _keys(self, other: RowSample) -> tuple[NDArray[np.uint64], ...]:
        pairs = ((self.marks.T, other.marks.T), (self.cells.T, other.cells.T), ((self.hashes,), (other.hashes,)))
        return tuple(np.concatenate(pair) for mine, others in pairs for pair in zip(mine, others, strict=True))


@dataclass(slots=True)
class IdSample:
    """The k ids with the smallest hashes, and how often each occurs.

    Args:
        hashes: uint64[r], ascending, all different.
        counts: int64[r], exact.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]

    def merged(self, other: IdSample, k: int) -> IdSample:
        """The sample of both multisets of ids."""
        most = min(k, self.hashes.size + other.hashes.size)
        hashes, counts = np.empty(most, np.uint64), np.empty(most, np.int64)
        r = _merge_ids(self.hashes, self.counts, other.hashes, other.counts, hashes, counts)
        return IdSample(hashes[:r], counts[:r])


def _no_ids() -> IdSample:
    return IdSample(np.zeros(0, np.uint64), np.zeros(0, np.int64))


@dataclass(slots=True)
class Sketches:
    """Sketches of the rows of a pane.

    Args:
        shape: of the profile they belong to.
        sample: sampled rows.
        ids: sampled ids; empty when the stream maps no id, or a row has none.
        delays: int64[DELAY_BINS], rows by Kafka timestamp minus event time, see `delay_bin`; rows without
            a Kafka timestamp, or without an event time of their own, are not in it.
        writers: rows by writer schema, of the `MOST_WRITERS` with the smallest fingerprints.
    """

    shape: SketchShape
    sample: RowSample
    ids: IdSample = field(default_factory=_no_ids)
    delays: NDArray[np.int64] = field(default_factory=lambda: np.zeros(DELAY_BINS, np.int64))

    writers: IdSample = field(default_factory=_no_ids)

    def merged(self, other: Sketches) -> Sketches:
        """The sketches of both multisets of rows."""
        k = self.shape.k
        return Sketches(
            self.shape,
            self.sample.merged(other.sample, k),
            self.ids.merged(other.ids, k) if other.ids.hashes.size else self.ids,
            self.delays + other.delays,
            self.writers.merged(other.writers, MOST_WRITERS),
        )

    def packed(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Rows, ids, delays and writers as bytes; equal sketches give equal bytes."""
        full = np.flatnonzero(self.delays)
        delays = np.empty(full.size, _DELAY)
        delays["bin"], delays["count"] = full, self.delays[full]
        return (
            _pack_rows(self.shape, self.sample),
            _pack_ids(self.ids),
            delays.tobytes(),
            _pack_ids(self.writers),
        )

    @classmethod
    def unpacked(cls, shape: SketchShape, sample: bytes, ids: bytes, delays: bytes, writers: bytes) -> Sketches:
        """Sketches from their packed form.

        Raises:
            ValueError: the bytes don't fit the shape.
        """
        if len(delays) % _DELAY.itemsize:
            raise ValueError(f"{len(delays)} bytes are no delays")
        buckets = np.frombuffer(delays, _DELAY)
        if buckets.size and int(buckets["bin"].max()) >= DELAY_BINS:
            raise ValueError(f"there is no delay bucket {int(buckets['bin'].max())}")
        full = np.zeros(DELAY_BINS, np.int64)
        full[buckets["bin"]] = buckets["count"]
        return cls(
            shape,
            _unpack_rows(shape, sample),
            _unpack_ids(ids),
            full,
            _unpack_ids(writers),
        )


def merged(one: Sketches | None, other: Sketches | None) -> Sketches | None:
    """The sketches of both, None when neither is known."""
    if one is None or other is None:
        return one if other is None else other
    return one.merged(other)


def delay_bin(delay_ms: int) -> int:
    """The bucket of a delay, in milliseconds."""
    if delay_ms < 0:
        return AHEAD_BINS - 1 - sum(-delay_ms >= power for power in _POWERS)
    if delay_ms < 4:
        return AHEAD_BINS + delay_ms
    octave = delay_ms.bit_length() - 1
    return min(AHEAD_BINS + 4 * (octave - 1) + (delay_ms >> (octave - 2) & 3), DELAY_BINS - 1)


def delay_of(bucket: int) -> int:
    """The smallest delay of a bucket, in milliseconds."""
    if bucket < AHEAD_BINS:
        return 1 - (10 * _POWERS[-1] if bucket == 0 else _POWERS[AHEAD_BINS - 1 - bucket])
    at = bucket - AHEAD_BINS
    return at if at < 4 else (4 + at % 4) << (at // 4 - 1)


@leaf_kernel
def _merge_rows(a: NDArray[np.uint64], b: NDArray[np.uint64], order: NDArray[np.int64]) -> bool:
    """The smallest of two ascending arrays, as places in their concatenation; False where two are equal."""
    i = j = 0
    for place in range(order.size):
        if j == b.size or (i < a.size and a[i] < b[j]):
            order[place] = i
            i += 1
        elif i < a.size and a[i] == b[j]:
            return False
        else:
            order[place] = a.size + j
            j += 1
    return True


@leaf_kernel
def _merge_ids(
    a: NDArray[np.uint64],
    times_a: NDArray[np.int64],
    b: NDArray[np.uint64],
    times_b: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> int:
    """Merge ascending ids, adding the counts of equal ones, into as many as fit; returns how many there are."""
    i = j = r = 0
    while r < hashes.size and (i < a.size or j < b.size):
        counts[r] = 0
        h = hashes[r] = a[i] if j == b.size or (i < a.size and a[i] <= b[j]) else b[j]
        if i < a.size and a[i] == h:
            counts[r] += times_a[i]
            i += 1
        if j < b.size and b[j] == h:
            counts[r] += times_b[j]
            j += 1
        r += 1
    return r


def _pack_ids(ids: IdSample) -> bytes:
    packed = np.empty(ids.hashes.size, _ID)
    packed["hash"], packed["count"] = ids.hashes, ids.counts
    return packed.tobytes()


def _unpack_ids(data: bytes) -> IdSample:
    if len(data) % _ID.itemsize:
        raise ValueError(f"{len(data)} bytes are no ids")
    known = np.frombuffer(data, _ID)
    return IdSample(known["hash"].astype(np.uint64), known["count"].astype(np.int64))


def _pack_rows(shape: SketchShape, sample: RowSample) -> bytes:
    low = (sample.cells & 0xFF).astype(np.uint8)
    high = (sample.cells[:, list(shape.wide)] >> 8).astype(np.uint8)
    return sample.hashes.astype(_ROW).tobytes() + low.tobytes() + high.tobytes() + sample.marks.astype("<u2").tobytes()


def _unpack_rows(shape: SketchShape, data: bytes) -> RowSample:
    r, rest = divmod(len(data), shape.row_bytes)
    if rest or r > shape.k:
        raise ValueError(f"{len(data)} bytes are not at most {shape.k} rows of {shape.row_bytes} bytes")
    wide, low, high = len(shape.wide), 8 * r, (8 + shape.columns) * r
    cells = np.frombuffer(data, np.uint8, r * shape.columns, low).astype(np.uint16).reshape(r, shape.columns)
    if wide:
        above = np.frombuffer(data, np.uint8, r * wide, high).astype(np.uint16).reshape(r, wide)
        cells[:, list(shape.wide)] |= above << np.uint16(8)
    marks = np.frombuffer(data, "<u2", r * len(shape.marked), high + r * wide).reshape(r, len(shape.marked))
    return RowSample(np.frombuffer(data, _ROW, r).astype(np.uint64), cells, marks.astype(np.uint16))

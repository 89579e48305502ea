"""Sketches without a stream: what the watches are fed with in tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.sketches import DELAY_BINS, IdSample, RowSample, Sketches, SketchShape, delay_bin, shape_of
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import NULL, PRESENT, Block
from driftbus.schemas.hashing import hash_bytes, scattered

RNG = np.random.default_rng(5)
PROFILE = build_profile(
    "m",
    "predictions",
    {
        "x": NumericData(RNG.normal(size=10_000)),
        "shop": CategoryData([f"shop {int(i)}" for i in 800 * RNG.random(10_000) ** 4]),
        "flag": NumericData((RNG.random(10_000) < 0.3) * 1.0),
        "constant": NumericData(np.ones(10_000)),
    },
)
"""Numbers, more names than cells, a flag, and a column that does not vary."""

K = 64
NO_ROWS = SketchShape(K, 0, (), ())


def rows_of(profile: Profile, columns: dict[str, NDArray[Any]], pane: int = 32) -> Iterator[Sketches]:
    """Sketches of panes whose rows are all sampled; NaN and "" are null."""
    n = len(next(iter(columns.values())))
    numeric = [c.name for c in profile.columns if c.kind == "numeric"]
    textual = [c.name for c in profile.columns if c.kind != "numeric"]
    texts = [[text.encode() for text in columns[name]] for name in textual]
    length = np.array([[len(t) for t in line] for line in texts], np.int32).reshape(len(texts), n)
    numbers = np.array([columns[name] for name in numeric], np.float64).reshape(len(numeric), n)
    block = Block(
        n,
        np.zeros(n, np.int64),
        numbers,
        np.where(np.isnan(numbers), NULL, PRESENT).astype(np.uint8),
        np.frombuffer(b"".join(b"".join(line) for line in texts) + bytes(16), np.uint8),
        (np.cumsum(length.ravel()) - length.ravel()).astype(np.int64).reshape(length.shape),
        length,
        np.array([[hash_bytes(t) for t in line] for line in texts], np.uint64).reshape(length.shape),
        np.where(length > 0, PRESENT, NULL).astype(np.uint8),
    )
    shape = shape_of(profile, K)
    counter = Counter(profile, range(len(numeric)), range(len(textual)))
    cells, marks = counter.cells(block, np.arange(n), shape.marked)
    hashes = np.arange(n, dtype=np.uint64)
    for at in range(0, n - pane + 1, pane):
        part = slice(at, at + pane)
        yield Sketches(shape, RowSample(hashes[part], cells[part], marks[part]))


def stream_of(n: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(6)
    return {
        "x": rng.normal(size=n),
        "shop": np.array([f"shop {int(i)}" for i in 800 * rng.random(n) ** 4]),
        "flag": (rng.random(n) < 0.3) * 1.0,
        "constant": np.ones(n),
    }


@lru_cache
def panes_with_a_stuck_column() -> list[Sketches]:
    """200 panes, in the middle of which a column repeats one value."""
    stream = stream_of(200 * 32)
    stream["x"][2_000:4_000] = 0.25
    return list(rows_of(PROFILE, stream))


def ids_of(ids: NDArray[np.uint64], k: int = K) -> Sketches:
    hashes, counts = np.unique(scattered(ids.astype(np.uint64)), return_counts=True)
    empty = RowSample(np.zeros(0, np.uint64), np.zeros((0, 0), np.uint16), np.zeros((0, 0), np.uint16))
    return Sketches(NO_ROWS, empty, IdSample(hashes[:k], counts[:k].astype(np.int64)))


def delays_of(delays: NDArray[np.int64]) -> Sketches:
    counts = np.bincount([delay_bin(int(d)) for d in delays], minlength=DELAY_BINS)
    return Sketches(NO_ROWS, ids_of(np.zeros(0, np.uint64)).sample, delays=counts.astype(np.int64))

"""Sketches are a function of the multiset of rows: any cut, any order of merging, the same bits."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.sampling import NO_DELAY, Sampler
from driftbus.detectors.sketches import (
    AHEAD_BINS,
    DELAY_BINS,
    Sketches,
    delay_bin,
    delay_of,
    shape_of,
)
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Block
from driftbus.schemas.hashing import hash_bytes, scatter

RNG = np.random.default_rng(3)
PROFILE = build_profile(
    "m",
    "predictions",
    {
        "c": CategoryData([f"name {i % 400}" for i in range(2_000)]),
        "x": NumericData(RNG.normal(size=2_000)),
        "b": NumericData(np.arange(2_000) % 2 * 1.0),
    },
)
K = 4
SHAPE = shape_of(PROFILE, K)
COUNTER = Counter(PROFILE, [0, 1], [0])
SAMPLER = Sampler(COUNTER, SHAPE, 1)


def block_of(rows: list[tuple[int, float | None, str | None, str | None]]) -> tuple[Block, np.ndarray]:
    """Rows (offset, x, c, id) as a block, and their offsets; None is null, b is a function of the offset."""
    n = len(rows)
    texts = [[(row[2 + j] or "").encode() for row in rows] for j in range(2)]
    length = np.array([[len(t) for t in line] for line in texts], np.int32).reshape(2, n)
    start = (np.cumsum(length.ravel()) - length.ravel()).astype(np.int64).reshape(2, n)
    numbers = np.array([[row[1] if row[1] is not None else 0.0 for row in rows], [row[0] % 2 for row in rows]], float)
    status = np.array([[NULL if row[1] is None else PRESENT for row in rows], [PRESENT] * n], np.uint8)
    block = Block(
        n=n,
        time_ms=np.zeros(n, np.int64),
        numeric=numbers.reshape(2, n),
        numeric_status=status.reshape(2, n),
        text=np.frombuffer(b"".join(b"".join(line) for line in texts) + bytes(16), np.uint8),
        text_start=start,
        text_length=length,
        text_hash=np.array([[hash_bytes(t) for t in line] for line in texts], np.uint64).reshape(2, n),
        text_status=np.array([[NULL if row[2 + j] is None else PRESENT for row in rows] for j in range(2)], np.uint8),
    )
    return block, np.array([row[0] for row in rows], np.int64)


def sketches_of(rows: list, known: Sketches | None = None, seed: int = 7) -> Sketches:
    block, offsets = block_of(rows)
    delays = np.array([NO_DELAY if row[0] % 5 == 0 else 13 * row[0] - 40 for row in rows], np.int64)
    return SAMPLER.sketch(block, seed, offsets, delays, np.zeros(len(rows), np.int64), [known])[0]


fields = st.tuples(
    st.sampled_from([None, -0.0, 0.0, 1.5, 1e9, float("nan")]),
    st.sampled_from([None, "name 1", "name 399", "name 400", "ü"]),
    st.sampled_from([None, "a", "b", "c", "d", "e", "f"]),
)
logs = st.lists(fields, max_size=24).map(lambda rows: [(i, *row) for i, row in enumerate(rows)])


@settings(max_examples=150, deadline=None)
@given(logs, st.lists(st.integers(0, 24), max_size=4), st.randoms(use_true_random=False))
def test_any_cut_and_any_order_give_the_same_bytes(rows, cuts, random) -> None:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [sketches_of(rows[a:b]) for a, b in pairwise(edges)]
    random.shuffle(parts)
    travelled = [Sketches.unpacked(SHAPE, *part.packed()) for part in parts]
    assert reduce(Sketches.merged, travelled).packed() == sketches_of(rows).packed()


@settings(max_examples=100, deadline=None)
@given(logs, st.integers(0, 24))
def test_rows_that_cannot_come_into_the_sample_are_passed_over_without_a_trace(rows, cut) -> None:
    first = sketches_of(rows[:cut])
    assert first.merged(sketches_of(rows[cut:], first)).packed() == sketches_of(rows).packed()


def hash_of_row(row) -> int:
    """Of id, event time (here always 0) and values; of the offset when there is no id."""
    if row[3] is None:
        return int(scatter(np.uint64(7) ^ np.uint64(row[0])))
    content = np.uint64(0)
    block, _ = block_of([row])
    for status, value in (
        *zip(block.numeric_status[:, 0], block.numeric.view(np.uint64)[:, 0], strict=True),
        (block.text_status[0, 0], block.text_hash[0, 0]),
    ):
        content = scatter(content ^ (value if status == PRESENT else np.uint64(0xFFF8D01F7B050000) - np.uint64(status)))
    high = scatter(np.uint64(hash_bytes(row[3].encode())) ^ scatter(np.uint64(0)))
    return int(high) >> 32 << 32 | int(content) >> 32


@settings(max_examples=100, deadline=None)
@given(logs)
def test_rows_with_ids_give_one_sample_however_they_are_spread(rows) -> None:
    rows = [(*row[:3], row[3] or "g") for row in rows]
    parts = [sketches_of(rows[i::3], seed=i) for i in range(3)]  # b of a row depends on its offset, which stays
    assert reduce(Sketches.merged, parts).sample.hashes.tolist() == sketches_of(rows).sample.hashes.tolist()
    assert reduce(Sketches.merged, parts).packed() == sketches_of(rows).packed()


def test_null_and_zero_are_different_contents() -> None:
    rows = [(3, 0.0, None, "b"), (5, None, None, "b")]
    assert len(set(sketches_of(rows).sample.hashes.tolist())) == 2


def test_an_id_that_returns_is_not_always_in_the_sample() -> None:
    hashes = set()
    for hour in range(8):
        block, offsets = block_of([(0, 1.5, "name 1", "a")])
        block.time_ms[:] = hour
        nothing = np.full(1, NO_DELAY)
        hashes.add(int(SAMPLER.sketch(block, 7, offsets, nothing, np.zeros(1, np.int64), [None])[0].sample.hashes[0]))
    assert len(hashes) == 8


@settings(max_examples=100, deadline=None)
@given(logs)
def test_a_sample_is_what_sorting_all_rows_gives(rows) -> None:
    found = sketches_of(rows)
    by_hash = sorted(rows, key=hash_of_row)[:K]
    layout = PROFILE.layout()
    for i, row in enumerate(by_hash):
        counts, _ = COUNTER.count(block_of([row])[0], np.zeros(1, np.int64), 1)
        cells = [
            int(np.flatnonzero(counts[0, at : at + w])[0]) for at, w in zip(layout.offsets, layout.widths, strict=True)
        ]
        assert found.sample.cells[i].tolist() == cells
    ids = [row[3] for row in rows if row[3] is not None]
    hashed = sorted((int(scatter(np.uint64(hash_bytes(i.encode())))), ids.count(i)) for i in set(ids))[:K]
    assert list(zip(found.ids.hashes.tolist(), found.ids.counts.tolist(), strict=True)) == hashed
    delays = [13 * row[0] - 40 for row in rows if row[0] % 5]
    assert found.delays.tolist() == np.bincount([delay_bin(d) for d in delays], minlength=DELAY_BINS).tolist()


def test_marks_tell_values_apart_that_share_a_cell() -> None:
    assert SHAPE.marked == (0, 1)  # more names than cells, more numbers than bins
    rows = [(i, v, c, None) for i, (v, c) in enumerate([(0.0, "new"), (-0.0, "new"), (1e-9, "newer"), (None, None)])]
    cells, marks = COUNTER.cells(block_of(rows)[0], np.arange(4), SHAPE.marked)
    assert marks[0].tolist() == marks[1].tolist()
    assert (marks[1] != marks[2]).all()
    assert cells[0, 0] == cells[2, 0] == 256
    assert marks[3].tolist() == [0, 0]


def test_an_infinite_or_wrong_value_has_no_mark() -> None:
    block, _ = block_of([(0, float("inf"), "name 1", None), (1, float("nan"), "name 1", None), (2, 1.0, "name 1", "a")])
    block.numeric_status[0, 2] = INVALID
    cells, marks = COUNTER.cells(block, np.arange(3), SHAPE.marked)
    assert len(set(cells[:, 1].tolist())) == 1
    assert marks[:, 1].tolist() == [0, 0, 0]


@given(st.integers(-(10**9), 2**36))
def test_a_delay_lies_in_its_bucket(delay) -> None:
    bucket = delay_bin(delay)
    assert 0 <= bucket < DELAY_BINS
    assert bucket == 0 or delay_of(bucket) <= delay
    assert bucket == DELAY_BINS - 1 or delay < delay_of(bucket + 1)
    if 4 <= delay < 2**32:
        assert delay_of(bucket + 1) <= 1.25 * delay_of(bucket)


def test_buckets_of_delays_ascend() -> None:
    starts = [delay_of(bucket) for bucket in range(DELAY_BINS)]
    assert starts == sorted(set(starts))
    assert delay_of(AHEAD_BINS) == 0


def test_bytes_that_do_not_fit_are_refused() -> None:
    packed = sketches_of([(1, 1.0, "ü", "a"), (2, 2.0, None, "b")]).packed()
    for bad in (
        (packed[0][:-1], *packed[1:]),
        (packed[0], packed[1][:-1], b"", b""),
        (b"", b"", b"\xff" + bytes(4), b""),
    ):
        with pytest.raises(ValueError, match=r"bytes|bucket"):
            Sketches.unpacked(SHAPE, *bad)
    with pytest.raises(ValueError, match="at most 4 rows"):
        Sketches.unpacked(SHAPE, packed[0] * 3, b"", b"", b"")

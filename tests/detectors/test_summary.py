"""The summary's laws: counting is what numpy says, merging is associative, commutative and exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.summary import UNSEEN_KEPT, Counter, merge_unseen, pack_counts, unpack_counts
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Block
from driftbus.schemas.hashing import hash_bytes

EDGES = (-1.0, 0.0, 0.5, 2.0)
NAMES = ("red", "green", "blue", "", "grün")


def column(name: str, kind: str, **kw: object) -> ColumnProfile:
    base = {"role": "feature", "edges": (), "low": 0.0, "high": 0.0, "categories": (), "nulls": 0, "invalid": 0}
    return ColumnProfile(**{"name": name, "kind": kind, **base, **kw})  # type: ignore[arg-type]


PROFILE = Profile(
    "m",
    "predictions",
    (
        column("n", "numeric", edges=EDGES, low=-3.0, high=4.0, counts=(0, 1, 1, 1, 1, 1, 0)),
        column("c", "categorical", categories=NAMES, counts=(1, 1, 1, 1, 1, 0)),
    ),
    rows=5,
)
WIDTH = PROFILE.layout().total


def block(rows: list[tuple[float | None, str | None]]) -> Block:
    n = len(rows)
    texts = [b"" if text is None else text.encode() for _, text in rows]
    length = np.array([[len(t) for t in texts]], np.int32).reshape(1, n)
    start = np.concatenate([[0], np.cumsum(length[0])])[:n].astype(np.int64).reshape(1, n)
    status = [NULL if v is None else INVALID if v == 99 else PRESENT for v, _ in rows]
    return Block(
        n, np.zeros(n, np.int64), np.array([[0.0 if v is None else v for v, _ in rows]]).reshape(1, n),
        np.array([status], np.uint8).reshape(1, n), np.frombuffer(b"".join(texts) + bytes(16), np.uint8), start, length,
        np.array([[hash_bytes(t) for t in texts]], np.uint64).reshape(1, n),
        np.array([[NULL if t is None else PRESENT for _, t in rows]], np.uint8).reshape(1, n),
    )  # fmt: skip


def count(rows: list[tuple[float | None, str | None]]) -> np.ndarray:
    return Counter(PROFILE, [0], [0]).count(block(rows), np.zeros(len(rows), np.int64), 1)[0][0]


values = st.one_of(
    st.none(), st.floats(-10, 10), st.sampled_from([*EDGES, -3.0, 4.0, 99.0, np.nan, np.inf, -np.inf, -0.0])
)
rows = st.lists(st.tuples(values, st.one_of(st.none(), st.sampled_from([*NAMES, "other", "RED"]), st.text(max_size=4))))


@given(rows)
def test_counts_equal_numpy(rows) -> None:
    counts = count(rows)
    v = np.array([x for x, _ in rows if x is not None and x != 99 and np.isfinite(x)])
    inside = v[(v >= -3) & (v <= 4)]
    expected = np.bincount(np.searchsorted(EDGES, inside, side="left"), minlength=5).tolist()
    nulls = sum(x is None for x, _ in rows)
    assert counts[:9].tolist() == [
        int((v < -3).sum()),
        *expected,
        int((v > 4).sum()),
        nulls,
        len(rows) - nulls - len(v),
    ]
    texts = [t for _, t in rows]
    known = [texts.count(name) for name in NAMES]
    assert counts[9:].tolist() == [*known, sum(t is not None and t not in NAMES for t in texts), texts.count(None), 0]


@given(rows, rows, rows)
def test_merge_is_addition(a, b, c) -> None:
    assert (count(a) + count(b) + count(c)).tolist() == count(c + a + b).tolist()


@given(rows, st.data())
def test_entries_partition_the_rows(rows, data) -> None:
    entry = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows))), np.int64)
    counts, _ = Counter(PROFILE, [0], [0]).count(block(rows), entry, 3)
    for e in range(3):
        assert counts[e].tolist() == count([r for r, k in zip(rows, entry, strict=True) if k == e]).tolist()


@given(st.lists(st.sampled_from([f"new{i}" for i in range(30)]), max_size=200), st.integers(1, 40))
def test_unknown_names_are_an_exact_bottom_k_sample_however_they_are_merged(names, chunk) -> None:
    merged: dict = {}
    counter = Counter(PROFILE, [0], [0])
    for i in range(0, len(names), chunk):
        part = names[i : i + chunk]
        _, unseen = counter.count(block([(0.0, n) for n in part]), np.zeros(len(part), np.int64), 1)
        merge_unseen(merged, "c", [(name, times) for _, _, name, times in unseen])
    smallest = sorted(set(names), key=lambda n: hash_bytes(n.encode()))[:UNSEEN_KEPT]
    assert merged.get("c", {}) == {n: names.count(n) for n in smallest}


@given(st.lists(st.integers(0, 2**40), min_size=WIDTH, max_size=WIDTH))
def test_packed_counts_come_back(cells) -> None:
    counts = np.array(cells, np.int64)
    data, width = pack_counts(counts)
    assert unpack_counts(data, width, WIDTH).tolist() == cells
    assert width == next(w for w in (1, 2, 4, 8) if max(cells) < 256**w)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not 3 counts of 2 bytes"):
        unpack_counts(b"abcd", 2, 3)

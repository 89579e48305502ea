"""What a join keeps: sorted runs against a dictionary, in memory and in LMDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from driftbus.schemas.errors import StateError
from driftbus.stream.join.blobs import Blobs, MemoryBlobs
from driftbus.stream.join.lmdbstore import LmdbBlobs
from driftbus.stream.join.runs import lookup, merged_runs, sorted_run
from driftbus.stream.join.store import LABEL_WORDS, JoinStore

WORDS = 7


def rows_of(keys: list[tuple[int, int]], values: list[int], words: int = WORDS) -> np.ndarray:
    rows = np.zeros((len(keys), words), np.uint64)
    rows[:, 0], rows[:, 1] = [k for k, _ in keys], [k for _, k in keys]
    rows[:, 2] = values
    return rows


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("spread", ["uniform", "alike", "clustered"])
def test_a_run_is_a_dictionary(last: bool, spread: str) -> None:
    rng = np.random.default_rng(7)
    top = {"uniform": 1 << 63, "alike": 3, "clustered": 1 << 20}[spread]
    for n in (0, 1, 2, 50, 3_000):
        keys = [(int(a), int(b)) for a, b in zip(rng.integers(0, top, n), rng.integers(0, 40, n), strict=True)]
        rows = rows_of(keys, list(range(n)))
        want: dict[tuple[int, int], int] = {}
        for i, key in enumerate(keys):
            want[key] = i if last else want.get(key, i)
        half = n // 2
        both = [sorted_run(rows, last=last)]
        if half:
            parts = sorted_run(rows[:half], last=last), sorted_run(rows[half:], last=last)
            both.append(merged_runs(*parts, last=last))
        asked = [*want, (5, 99), (1 << 62, 1), (0, 77)]
        h0, h1 = np.array([a for a, _ in asked], np.uint64), np.array([b for _, b in asked], np.uint64)
        for run in both:
            assert [tuple(row) for row in run[:, :2].tolist()] == sorted(want)
            at = lookup(run, h0, h1, np.ones(h0.size, np.bool_)).tolist()
            assert [int(run[i, 2]) if i >= 0 else None for i in at] == [want.get(key) for key in asked]


@pytest.mark.parametrize("where", ["memory", "lmdb"])
def test_what_is_written_is_found_again_and_the_rest_is_not(where: str, tmp_path: Path) -> None:
    blobs: Blobs = MemoryBlobs() if where == "memory" else LmdbBlobs(tmp_path)
    store = JoinStore(blobs, [WORDS])
    rng = np.random.default_rng(3)
    keys = [(int(a), int(b)) for a, b in rng.integers(0, 1 << 62, (900, 2))]
    for begin in range(0, 900, 90):
        store.add_predictions(0, begin // 450, rows_of(keys[begin : begin + 90], list(range(begin, begin + 90))))
        assert store.codes(0, begin // 450, ["v1", f"v{begin}"])[0] == 0
        labels = rows_of(keys[begin : begin + 90], list(range(90)), LABEL_WORDS)
        store.add_labels(0, begin // 450, np.arange(begin, begin + 90), labels)
        if begin % 180:
            store.write({"position": begin}, begin + 45)
    store.add_predictions(0, 1, rows_of([(1, 1)], [1]))
    assert found(store, [(1, 1)]) == 1
    if where == "lmdb":
        blobs.close()
        blobs = LmdbBlobs(tmp_path)
    again = JoinStore(blobs, [WORDS])
    assert again.state == {"position": 810}
    assert again.segments(0) == [1, 0]
    assert found(again, keys) == 900
    assert found(again, [(1, 1)]) == 0  # was never written
    assert again.names(0, 1)[:2] == ["v1", "v450"]
    assert found(again, keys, labels=True) == 855  # labels before 855
    assert again.drop(0, 1) == 450
    again.write({"position": 1}, 0)
    assert found(JoinStore(blobs, [WORDS]), keys) == 450
    blobs.close()


def found(store: JoinStore, keys: list[tuple[int, int]], *, labels: bool = False) -> int:
    h0, h1 = np.array([a for a, _ in keys], np.uint64), np.array([b for _, b in keys], np.uint64)
    total = 0
    for segment in store.segments(0):
        out = np.empty((len(keys), LABEL_WORDS if labels else WORDS), np.uint64)
        search = store.labels if labels else store.predictions
        total += int(search(0, segment, h0, h1, out).sum())
    return total


def test_a_file_grows_and_a_batch_is_whole(tmp_path: Path) -> None:
    blobs = LmdbBlobs(tmp_path, sync=False)
    large = np.random.default_rng(1).bytes(40 << 20)
    for i in range(3):  # more than the map has at first
        blobs.write({b"k%d" % i: large}, [b"k%d" % (i - 1)])
        assert blobs.keys(b"k") == [b"k%d" % i]
    assert bytes(blobs.get(b"k2") or b"") == large
    with pytest.raises(StateError, match="can't be written"):
        blobs.write({b"new": b"x", b"k" * 4_000: b"a key that is too long"}, [b"k2"])
    assert blobs.keys(b"k") == [b"k2"]
    blobs.close()

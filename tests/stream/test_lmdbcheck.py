"""A damaged store is seen before LMDB looks at it: whatever is flipped, cut off or put there instead."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest

from driftbus.schemas.errors import StateError
from driftbus.stream.join.lmdbcheck import Damaged, check
from driftbus.stream.join.lmdbstore import LmdbBlobs
from driftbus.stream.join.store import JoinStore

FLIPS = int(os.environ.get("DRIFTBUS_FLIPS", "300"))
Content = dict[bytes, bytes]


def content(blobs: LmdbBlobs) -> Content:
    return {key: bytes(blobs.checked(key) or b"") for prefix in (b"l", b"p", b"t") for key in blobs.keys(prefix)}


def change(blobs: LmdbBlobs, known: Content, rng: random.Random) -> Content:
    """What is stored after some values were put, replaced and dropped; values of all sizes, over many pages."""
    drops = [key for key in sorted(known) if rng.random() < 0.2]
    puts = {key: rng.randbytes(500) for key in rng.sample(sorted(known), min(2, len(known)))}
    for _ in range(rng.randrange(8)):
        key = bytes([rng.choice(b"plt")]) + rng.randbytes(rng.randrange(1, 19))
        puts[key] = rng.randbytes(rng.choice([8, 80, 800, 3_000, 50_000]))
    blobs.write(puts, drops)
    return {key: value for key, value in known.items() if key not in drops} | puts


def store(folder: Path, seed: int, steps: int = 40) -> tuple[Content, Content]:
    """A store that has been written for some time: its content, and the content before the last batch."""
    rng = random.Random(seed)
    folder.mkdir()
    blobs = LmdbBlobs(folder, sync=False)
    before: Content = {}
    now: Content = {}
    for _ in range(steps):
        before, now = now, change(blobs, now, rng)
        check(folder / "data.mdb")
    assert content(blobs) == now
    blobs.close()
    return before, now


def test_flipped_bits_are_found_or_harmless(tmp_path: Path) -> None:
    found = 0
    for seed in range(4):
        before, now = store(tmp_path / str(seed), seed)
        whole = (tmp_path / str(seed) / "data.mdb").read_bytes()
        rng = random.Random(seed)
        for i in range(FLIPS // 4):
            copy = tmp_path / f"{seed}-{i}"
            copy.mkdir()
            data = bytearray(whole)
            # half of them where the structure is: metas, and the heads of pages
            at = (
                rng.randrange(len(data))
                if i % 2
                else min(rng.randrange(0, len(data), 4096) + rng.randrange(160), len(data) - 1)
            )
            for _ in range(rng.choice([1, 1, 1, 8])):
                data[at] ^= 1 << rng.randrange(8)
                at = min(at + rng.randrange(3), len(data) - 1)
            (copy / "data.mdb").write_bytes(data)
            try:
                blobs = LmdbBlobs(copy, sync=False)
            except Damaged:
                found += 1
                shutil.rmtree(copy)
                continue
            held = content(blobs)
            assert held in (now, before), f"seed {seed}, flip {i} at {at}"  # a mark of the last batch: the one before
            for _ in range(4):
                held = change(blobs, held, rng)
            assert content(blobs) == held
            blobs.close()
            check(copy / "data.mdb")
            shutil.rmtree(copy)
    assert found > FLIPS // 8


def test_a_file_that_was_cut_off_is_found(tmp_path: Path) -> None:
    _, now = store(tmp_path / "store", 9)
    file = tmp_path / "store" / "data.mdb"
    whole = file.read_bytes()
    for length in (1, 100, 4_096, 8_192, len(whole) // 2, len(whole) // 8192 * 4096):
        file.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            LmdbBlobs(tmp_path / "store", sync=False)
    file.write_bytes(whole)
    blobs = LmdbBlobs(tmp_path / "store", sync=False)
    assert content(blobs) == now
    blobs.close()


@pytest.mark.parametrize("instead", [b"\0" * 40_960, b"not a store", bytes(range(256)) * 200])
def test_what_is_no_store_at_all_is_found(tmp_path: Path, instead: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(instead)
    with pytest.raises(Damaged):
        LmdbBlobs(tmp_path)


def test_a_store_without_checksums_is_none_of_ours(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as batch:
        batch.put(b"p", b"x" * 64)
    with pytest.raises(Damaged, match="does not have its checksum"):
        LmdbBlobs(tmp_path)


def test_a_store_of_another_format_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftbus.stream.join.lmdbstore.MARK", b"\xff\x00")
    blobs = LmdbBlobs(tmp_path)
    blobs.write({b"p": b"12345678"}, [])
    blobs.close()
    with pytest.raises(Damaged, match="another format"):
        check(tmp_path / "data.mdb")


def test_a_value_of_another_key_is_found(tmp_path: Path) -> None:
    blobs = LmdbBlobs(tmp_path)
    blobs.write({b"p1": b"x" * 64, b"p2": b"y" * 64}, [])
    blobs.close()
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as batch:
        batch.put(b"p1", batch.get(b"p2") or b"")
    with pytest.raises(Damaged, match="does not have its checksum"):
        LmdbBlobs(tmp_path)
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as batch:
        batch.delete(b"p1")
    with pytest.raises(Damaged, match="values are missing"):
        LmdbBlobs(tmp_path)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process grows beyond 8 MiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, former)


def test_after_a_batch_that_found_no_room_nothing_claims_to_be_stored(tmp_path: Path, small_files: None) -> None:
    """A later, smaller batch would fit: it must not say that what was lost has been written."""
    blobs = LmdbBlobs(tmp_path)
    joins = JoinStore(blobs, [7])
    rng = np.random.default_rng(1)
    joins.add_predictions(0, 0, rng.integers(0, 1 << 62, (1_000, 7)).astype(np.uint64))
    joins.write({"position": 1_000}, 0)
    joins.add_predictions(0, 0, rng.integers(0, 1 << 62, (300_000, 7)).astype(np.uint64))
    with pytest.raises(StateError, match="is the disk full"):
        joins.write({"position": 301_000}, 0)
    assert joins.lost
    with pytest.raises(StateError, match="a batch before this one"):
        joins.write({"position": 301_000}, 0)
    joins.close()
    again = JoinStore(LmdbBlobs(tmp_path), [7])
    assert (again.state, again.rows) == ({"position": 1_000}, (1_000, 0))
    again.close()

"""What may happen to the folder where predictions wait for their labels: lost, old, torn, damaged, held by another."""

from __future__ import annotations

import contextlib
import fcntl
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from faults.deployment import Deployment
from faults.fault import Kind

_HELD: dict[Path, list[IO[str]]] = {}
"""Locks that this process holds, by the home of the deployment."""

DAMAGES = ("bits", "page", "cut", "garbage", "empty", "swapped", "lock", "none")


def store_of(on: Deployment) -> Path:
    """The folder of all stores of a deployment."""
    return Path(on.config.run.store)


def files_of(on: Deployment) -> list[Path]:
    """LMDB's files in it."""
    return sorted(store_of(on).rglob("data.mdb"))


def damage(file: Path, others: list[Path], how: str, rng: random.Random) -> None:
    """Harm a file that nobody has open.

    Args:
        file: LMDB's.
        others: of other partitions.
        how: one of `DAMAGES`.
        rng: says where.
    """
    data = bytearray(file.read_bytes())
    if how == "swapped" and others:
        other = rng.choice(others)
        there = other.read_bytes()
        other.write_bytes(data)
        data = bytearray(there)
    elif how == "lock":
        (file.parent / "lock.mdb").write_bytes(rng.randbytes(8_192))
    elif how == "garbage":
        data = bytearray(rng.randbytes(50_000))
    elif how == "empty":
        data = bytearray()
    elif how == "cut":
        del data[rng.randrange(len(data) + 1) :]
    elif how == "page" and data:
        at = rng.randrange(0, len(data), 4_096)
        data[at : at + 4_096] = bytes(min(4_096, len(data) - at))
    elif how == "bits" and data:
        for _ in range(rng.choice([1, 1, 3, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def _kill_all(on: Deployment) -> None:
    on.wanted = 0
    for worker in on.running():
        on.kill(worker)


def _begin_again(on: Deployment) -> None:
    on.wanted = on.shape.workers
    on.tend()


@dataclass(frozen=True, slots=True)
class Lose:
    """The folder is removed, while nobody runs or underneath the workers."""

    running: bool
    name: str = "store lost"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        if not self.running:
            _kill_all(on)
        shutil.rmtree(store_of(on), ignore_errors=True)

    def heal(self, on: Deployment) -> None:
        _begin_again(on)


@dataclass(frozen=True, slots=True)
class Damage:
    """All workers are killed, and the file of each partition is harmed in a way of its own."""

    name: str = "store damaged"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _kill_all(on)
        files = files_of(on)
        for file in files:
            damage(file, [other for other in files if other != file], rng.choice(DAMAGES), rng)

    def heal(self, on: Deployment) -> None:
        _begin_again(on)


@dataclass(frozen=True, slots=True)
class Old:
    """A copy is made, and put back when it is healed; with `torn` it is made while workers write."""

    torn: bool
    name: str = "store old"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        if not self.torn:
            _kill_all(on)
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(store_of(on), on.home / f"copy-{len(list(_copies(on)))}")
        _begin_again(on)

    def heal(self, on: Deployment) -> None:
        for copy in list(_copies(on))[:1]:
            _kill_all(on)
            shutil.rmtree(store_of(on), ignore_errors=True)
            copy.rename(store_of(on))
        _begin_again(on)


def _copies(on: Deployment) -> Iterator[Path]:
    return on.home.glob("copy-*")


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody who hangs holds every folder that there is."""

    name: str = "store held"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        _kill_all(on)
        for file in store_of(on).rglob("lock"):
            held = file.open("w")
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _HELD.setdefault(on.home, []).append(held)
        _begin_again(on)

    def heal(self, on: Deployment) -> None:
        for held in _HELD.pop(on.home, []):
            held.close()
        _begin_again(on)


_LABELS = frozenset({"labels"})

FAULTS = [
    Kind("store lost", lambda rng: Lose(rng.random() < 0.4), lasts=(0.0, 5.0), needs=_LABELS),
    Kind("store damaged", lambda rng: Damage(), lasts=(0.0, 3.0), needs=_LABELS),
    Kind("store old", lambda rng: Old(rng.random() < 0.5), lasts=(1.0, 8.0), needs=_LABELS),
    Kind("store held", lambda rng: Hold(), lasts=(2.0, 10.0), needs=_LABELS),
]

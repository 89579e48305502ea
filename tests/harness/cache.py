"""The folder that keeps downloaded services, shared by all test runs of this checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def cache_dir() -> Path:
    """`.cache/services` in the repository, or where DRIFTBUS_CACHE says."""
    path = Path(os.environ.get("DRIFTBUS_CACHE") or REPOSITORY / ".cache" / "services")
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def cached(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled once.

    Args:
        name: name of the folder; has to change when its content should.
        fill: writes the content into an empty folder. When it raises, nothing is kept.
    """
    target = cache_dir() / name
    with _locked(name):
        if not target.exists():
            unfinished = target.with_name(f"{name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            fill(unfinished)
            unfinished.rename(target)
    return target


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with (cache_dir() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

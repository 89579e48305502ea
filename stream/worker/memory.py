"""Memory that is no longer needed goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from typing import Any

GIVE_BACK_S = 60.0

ARENAS = 2
"""Heaps of glibc's malloc that threads share. Each of 25 threads with one of its own keeps pages that hold little, and
a worker grew by a third with every move of partitions; throughput is the same."""

_M_ARENA_MAX = -8


class Memory:
    """What a worker does about memory that it has had once.

    Two things keep it: state of partitions that went away is held by cycles, which the collector hardly ever looks
    for (see `driftbus.stream.transport.app.tune_gc`), and glibc keeps what was freed in an arena of each thread.
    A worker that has joined and left partitions would grow from one high water to the next.
    """

    def __init__(self) -> None:
        self.forgotten = False
        """State was let go since the last time."""
        self._trim = _glibc("malloc_trim")

    async def give_back(self) -> None:
        """Free what only cycles hold, if state was let go; return what is free to the system."""
        if self.forgotten:
            self.forgotten = False
            gc.collect()
        if self._trim is not None:
            await asyncio.to_thread(self._trim, 0)


def share_arenas() -> None:
    """Let threads share a few heaps, unless MALLOC_ARENA_MAX says how many; to be called before threads are made."""
    choose = _glibc("mallopt")
    if choose is not None and "MALLOC_ARENA_MAX" not in os.environ:
        choose(_M_ARENA_MAX, ARENAS)


def _glibc(name: str) -> Any:
    """A function of glibc's malloc; None where there is another allocator."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

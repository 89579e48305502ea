"""Memory that is no longer needed goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from typing import Any

GIVE_BACK_S = 60.0


class Memory:
    """What a worker does about memory that it has had once.

    Two things keep it: state of partitions that went away is held by cycles, which the collector hardly ever looks
    for (see `driftbus.stream.transport.app.tune_gc`), and glibc keeps what was freed in an arena of each thread.
    A worker that has joined and left partitions would grow from one high water to the next.
    """

    def __init__(self) -> None:
        self.forgotten = False
        """State was let go since the last time."""
        self._trim = _trim()

    async def give_back(self) -> None:
        """Free what only cycles hold, if state was let go; return what is free to the system."""
        if self.forgotten:
            self.forgotten = False
            gc.collect()
        if self._trim is not None:
            await asyncio.to_thread(self._trim, 0)


def _trim() -> Any:
    """glibc's malloc_trim; None where there is another allocator."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

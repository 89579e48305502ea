"""Back-pressure between the poll thread and the agents."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from driftbus.stream.transport.batch import Batch


class Brake:
    """Counts what is under way between the poll thread and the agents.

    Args:
        batches: full at so many batches.
        bytes_: or at so many bytes.

    Attributes:
        under_way: batches and bytes of memory handed over and not worked off yet.
    """

    def __init__(self, batches: int, bytes_: int) -> None:
        self._limits = batches, bytes_
        self.under_way = [0, 0]
        self._full_since: float | None = None
        self._changed = threading.Condition()

    @property
    def full_s(self) -> float:
        """Seconds since it became full, 0 when it is not."""
        return 0.0 if self._full_since is None else time.monotonic() - self._full_since

    def _full(self) -> bool:
        return any(n >= limit for n, limit in zip(self.under_way, self._limits, strict=True))

    def took(self, batches: Iterable[Batch]) -> None:
        """Batches leave the poll thread."""
        with self._changed:
            for batch in batches:
                self.under_way[0] += 1
                self.under_way[1] += batch.held

    def finished(self, batch: Batch) -> None:
        """A batch has been worked off, or thrown away."""
        with self._changed:
            self.under_way[0] -= 1
            self.under_way[1] -= batch.held
            self._changed.notify()

    def wake(self) -> None:
        """End a wait early, to look at its condition again."""
        with self._changed:
            self._changed.notify()

    def pause(self, seconds: float, until: Callable[[], bool]) -> None:
        """Wait, at most so long."""
        with self._changed:
            self._changed.wait_for(until, seconds)

    def wait(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """Wait for room, at most so long; whether it is still full."""
        with self._changed:
            if self._full():
                self._full_since = self._full_since or time.monotonic()
                self._changed.wait_for(lambda: not self._full() or unless(), seconds)
            if not self._full():
                self._full_since = None
                return False
            return True

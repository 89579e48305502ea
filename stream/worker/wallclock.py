"""Notices that this computer's wall clock was set back.

librdkafka waits for points of the wall clock (`cnd_timedwait`; its issue 2145). When that is set back by an hour, its
threads stand still for an hour, and no setting changes it. A restart costs seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from driftbus.schemas.errors import Unavailable

BACK_S = 5.0
"""A step back up to this is waited for: it is shorter than a session."""


class WallClock:
    """Compares the wall clock with the monotonic one.

    Args:
        wall, monotonic: the clocks, seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._ahead = wall() - monotonic()

    def look(self) -> None:
        """Call it every second or so.

        Raises:
            Unavailable: it was set back since the last look, by more than `BACK_S`.
        """
        before, self._ahead = self._ahead, self._wall() - self._monotonic()
        if before - self._ahead > BACK_S:
            raise Unavailable(
                f"this computer's clock was set back by {before - self._ahead:.0f} s, and Kafka's client library would "
                "stand still for as long: the worker ends, to be started again"
            )

"""The batches of one partition, in order, also while something outside can't be reached."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from faust.types import TP
from prometheus_client import Gauge

from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.stream.transport.batch import Batch

LOG = logging.getLogger(__name__)

_RETRY_S = (0.5, 15.0)

PASSING = (Unavailable, ConfigError)
"""What a batch waits for. In the middle of a run a registry that refuses a password, or answers with a page of
something that stands before it, may be itself again in a minute, as one that does not answer at all."""


class Patience:
    """Works batches off one after the other; those that can't be now are kept back and tried again.

    The partition is held meanwhile, all others go on.

    Args:
        tp: the partition.
        step: works one batch off; raises one of `PASSING` when that has to be tried again.
        hold: stops (True) or goes on with (False) the delivery of one partition.
        fail: stops the worker.
        waiting: how many partitions of a topic wait.

    Attributes:
        reason: what it waits for, "" while it doesn't.
    """

    def __init__(
        self,
        tp: TP,
        step: Callable[[Batch], Awaitable[None]],
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
        waiting: Gauge,
    ) -> None:
        self._tp, self._step, self._hold, self._fail, self._waiting = tp, step, hold, fail, waiting
        self._kept: deque[Batch] = deque()
        self._retry: asyncio.Task[None] | None = None
        self.reason = ""

    async def take(self, batch: Batch) -> None:
        """The next batch."""
        if self.reason:
            self._kept.append(batch)
            return
        try:
            await self._step(batch)
        except PASSING as error:
            self._kept.append(batch)
            self.reason = str(error)
            self._retry = asyncio.create_task(self._again())

    def cancel(self) -> None:
        """The partition went away."""
        if self._retry is not None:
            self._retry.cancel()

    async def _again(self) -> None:
        LOG.warning("%s[%d] waits: %s", self._tp.topic, self._tp.partition, self.reason)
        self._hold(self._tp, True)
        self._waiting.labels(self._tp.topic).inc()
        pause_s, most_s = _RETRY_S
        try:
            while self._kept:
                try:
                    await self._step(self._kept[0])
                except PASSING as error:
                    self.reason = str(error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, most_s)
                else:
                    self._kept.popleft()
            LOG.info("%s[%d] goes on", self._tp.topic, self._tp.partition)
            self.reason = ""
            self._hold(self._tp, False)
        except Exception as error:  # noqa: BLE001 - stops the worker
            self._fail(error)
        finally:
            self._waiting.labels(self._tp.topic).dec()

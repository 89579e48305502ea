"""Replays: records that have been, through the step functions of the live worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import Block
from driftbus.stream.driver import Driver
from driftbus.stream.judge import Decided
from driftbus.stream.plan import Plans
from driftbus.stream.replay.history import History
from driftbus.stream.replay.tracks import Tracks

Write = Callable[[Decided], None]
Progress = Callable[[int], None]


class Replay:
    """The machines of a configuration, and what they said.

    Args:
        plans: topics and monitors.
        write: called with every event, in order.
        tracks: takes what the page needs; None: there is no page.
    """

    def __init__(self, plans: Plans, write: Write, tracks: Tracks | None = None) -> None:
        self.driver = Driver(plans, tracks)
        self.history = History()
        self.tracks = tracks
        self.rows = 0
        self._write = write

    def feed(
        self,
        topic: str,
        partition: int,
        block: Block,
        offsets: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        good: NDArray[np.bool_],
    ) -> None:
        """The next records of a source partition; the arguments are those of `Summariser.feed`."""
        step = self.driver.feed(topic, partition, block, offsets, timestamps, good)
        self.rows += block.n
        self.history.refused(topic, partition, offsets, step.rejected)
        self._take(step.decided)

    def sample(self) -> None:
        """Add a point to the curves of all columns."""
        for judge in self.driver.judges.values():
            for monitor in judge.monitors.values():
                for stream in monitor.streams:
                    self.history.sample(stream.views().items())

    def finish(self) -> None:
        """The records end here for ever: judge what is still open."""
        self._take(self.driver.finish())
        self.sample()

    def rest(self, sources: Iterable[tuple[str, int]]) -> None:
        """Nothing more comes of these partitions: judge what a live worker judges when they are idle."""
        self._take(self.driver.rest(sources))

    def only(self, monitors: Collection[str]) -> None:
        """Forget what other monitors said and held."""
        self.history.only(monitors)
        if self.tracks is not None:
            self.tracks.only(monitors)

    def late(self) -> int:
        """Rows that came too late to be judged, over all streams."""
        streams = [s for j in self.driver.judges.values() for m in j.monitors.values() for s in m.streams]
        return sum(stream.counts.late + stream.counts.expired for stream in streams)

    def _take(self, decided: list[Decided]) -> None:
        for event in decided:
            self._write(event)
        self.history.decided(decided)

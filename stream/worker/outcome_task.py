"""Drives the join of one label partition: predictions in, labels in, parts out, and now and then to the disk.

Labels come from the group's consumer. Predictions come from the group's consumer too while this worker
owns their partition, because they are decoded there anyway, and otherwise from a reader of our own. Both
are read in offset order, so it makes no difference to what comes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from faust.types import TP
from numpy.typing import NDArray

from driftbus.schemas.columns import Block, Projection
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import SEGMENTS
from driftbus.stream.summarise import Output, ShardPart
from driftbus.stream.transport.batch import Batch
from driftbus.stream.worker.patience import PASSING

LOG = logging.getLogger(__name__)

_LABEL_BLOCKS = 8
_BUFFERED = 400_000
_RETRY_S = (0.5, 15.0)


@dataclass(frozen=True, slots=True)
class Records:
    """Decoded records of one partition, in the order of their offsets.

    Args:
        block, offsets, timestamps, good: as `Summariser.feed` takes them.
        projection: columns of the block; None: those of the join's own plan.
        held: bytes of memory that all of it keeps.
    """

    block: Block
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    good: NDArray[np.bool_]
    projection: Projection | None
    held: int


@dataclass(slots=True)
class Lane:
    """One partition of predictions on its way to the join.

    Attributes:
        tp: the partition.
        decoder: of what our own reader brings.
        next: offset behind the last record in the queue.
        goal: end of the log when the join began; what is before it is history.
        first: offset at which the join began.
        queue: records not fed yet.
        bytes: of the queue.
        number: of the reader's present reading, 0 while the group's consumer brings the records.
        end: offset of the end of the log that our reader saw last.
        seen_ms: wall clock at which everything up to `next` was all there was; -1 for none.
    """

    tp: TP
    decoder: BatchDecoder
    next: int
    goal: int
    first: int = -1
    queue: deque[Records | Batch] = field(default_factory=deque)
    bytes: int = 0
    number: int = 0
    end: int = -1
    seen_ms: int = -1

    def __post_init__(self) -> None:
        self.first = self.next

    def push(self, records: Records | Batch, behind: int) -> None:
        """Put records at the end of the queue; `behind` is the offset behind the last of them."""
        self.queue.append(records)
        self.bytes += records.held
        self.next = max(self.next, behind)

    def pop(self) -> None:
        """The oldest records have been fed."""
        self.bytes -= self.queue.popleft().held


class Counts(NamedTuple):
    """How much a join holds: predictions, labels that it remembers, labels that wait; and contradictions so far."""

    predictions: int
    labels: int
    waiting: int
    contradictions: int


class OutcomeTask:
    """One owned label partition.

    Args:
        tp: the partition.
        machine: its join; nobody else touches it.
        lanes: topic → where its predictions come from.
        rebuilding: whether what was stored has to be made again.
        persist_s: what is new goes to the disk so often.
        lock: shared with everything that makes outputs or a checkpoint.
        publish: queues parts; called under the lock.
        hold: stops (True) or goes on with (False) the delivery of labels.
        fail: stops the worker.

    Attributes:
        reason: what it waits for outside, "" while it doesn't.
        fed_some: set whenever predictions have been fed.
        acknowledged: a commit offset whose parts are acknowledged, None before the first.
        rebuilding: whether what was stored is being made again from the topics.
    """

    def __init__(
        self,
        tp: TP,
        machine: OutcomeMachine,
        lanes: Mapping[str, Lane],
        *,
        rebuilding: bool,
        persist_s: float,
        lock: asyncio.Lock,
        publish: Callable[[list[ShardPart]], Awaitable[None]],
        hold: Callable[[TP, bool], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.tp, self.machine, self.lanes, self.rebuilding = tp, machine, lanes, rebuilding
        self._lock, self._publish, self._hold = lock, publish, hold
        self._own = asyncio.Lock()
        self._labels: deque[Records] = deque()
        self._labels_seen_ms, self._heard = -1, time.monotonic()
        self._horizon_s = max(join.segment_ms for join in machine.plan.joins) * SEGMENTS / 1000
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._held = False
        self._persisted_at, self._persist_s = time.monotonic(), persist_s
        self.reason = ""
        self.fed_some = asyncio.Event()
        self.acknowledged: int | None = None
        self._shown: tuple[int | None, int] = None, 0
        self._task = asyncio.create_task(self._run())
        self._fail = fail

    # Called from the event loop.

    def offer_labels(self, records: Records) -> None:
        """The next labels."""
        self._labels.append(records)
        self._heard = time.monotonic()
        if len(self._labels) >= _LABEL_BLOCKS and not self._held:
            self._held = True
            self._hold(self.tp, True)
        self._wake.set()

    def offer_predictions(self, lane: Lane, records: Records | Batch, behind: int) -> None:
        """The next predictions of a lane."""
        lane.push(records, behind)
        self._wake.set()

    def predictions_end(self, lane: Lane, at_ms: int) -> None:
        """Everything that was visible at this wall clock is in the lane."""
        lane.seen_ms = at_ms
        self._wake.set()

    def labels_end(self, at_ms: int) -> None:
        """Everything that was visible at this wall clock has been offered.

        It lets the join forget predictions although no label says that time goes on. Labels may be written
        in bulk, long after their time stamps, so nothing is forgotten before a horizon of silence.
        """
        if time.monotonic() - self._heard >= self._horizon_s:
            self._labels_seen_ms = at_ms
            self._wake.set()

    async def look(self) -> Counts:
        """How much it holds; what is new goes to the disk now and then, also while nothing comes."""
        self._wake.set()
        async with self._own:
            predictions, labels = self.machine.store.rows
            return Counts(predictions, labels, self.machine.waiting, self.machine.contradictions)

    @property
    def idle(self) -> bool:
        """Whether every label that was offered is resolved."""
        return not self._labels and not self.machine.waiting

    @property
    def progress(self) -> float:
        """Share of the history that has been read, 1 when all of it has."""
        todo = sum(max(0, lane.goal - lane.first) for lane in self.lanes.values())
        left = sum(max(0, lane.goal - self.fed(lane)) for lane in self.lanes.values())
        return 1.0 - left / todo if todo else 1.0

    def fed(self, lane: Lane) -> int:
        """Offset behind the last record that was fed, as far as there is nothing in between."""
        return self.machine.prediction_position(lane.tp.topic) if lane.queue else lane.next

    async def preview(self, force: bool) -> None:
        """Publish the open range if it has grown; with `force` a forced clock after it, unless labels wait."""
        async with self._own, self._lock:
            if self._stopped.is_set():
                return
            open_range = self.machine.commit_offset, self.machine.open_records
            if open_range != self._shown or force:
                self._shown = open_range
                await self._publish(self.machine.preview())
            if force and self.idle:
                await self._publish(self.machine.force())

    async def stop(self) -> None:
        """Finish the step under way, store what may be stored, and give the store back."""
        self._stopped.set()
        self._wake.set()
        await asyncio.gather(self._task, return_exceptions=True)
        async with self._own:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        try:
            self.machine.persist(self.acknowledged)
        finally:
            self.machine.close()

    # The task.

    async def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                await self._wake.wait()
                self._wake.clear()
                while not self._stopped.is_set() and await self._step():
                    pass
        except Exception as error:  # noqa: BLE001 - stops the worker
            self._fail(error)

    async def _step(self) -> bool:
        """Some predictions and some labels; whether there was anything to do."""
        worked = False
        for lane in self.lanes.values():
            if lane.queue:
                await self._feed(lane)
                worked = True
            if not lane.queue and lane.seen_ms >= 0:
                async with self._own:
                    self.machine.predictions_end(lane.tp.topic, lane.seen_ms)
                lane.seen_ms, worked = -1, True
        if self._labels and self.machine.wants_labels:
            labels = self._labels.popleft()
            await self._make(
                lambda: self.machine.feed_labels(labels.block, labels.offsets, labels.timestamps, labels.good)
            )
            worked = True
        elif worked and self.machine.waiting:
            await self._make(self.machine.advance)
        if not self._labels:
            self._ease()
        if self.rebuilding and self.progress >= 1.0 and not self.machine.rebuilding:
            self.rebuilding = False
            LOG.info("%s[%d]: the predictions that labels wait for are stored again", *self.tp)
        await self._persist()
        return worked

    async def _feed(self, lane: Lane) -> None:
        records = await self._decoded(lane, lane.queue[0])
        if records is None:
            return
        async with self._own:
            await asyncio.to_thread(
                self.machine.feed_predictions,
                lane.tp.topic, records.block, records.offsets, records.timestamps, records.good, records.projection,
            )  # fmt: skip
        lane.pop()
        self.fed_some.set()

    async def _decoded(self, lane: Lane, records: Records | Batch) -> Records | None:
        """As columns; None when the worker is stopped while schemas can't be reached."""
        if isinstance(records, Records):
            return records
        raw = records.records()
        pause_s, most_s = _RETRY_S
        while not self._stopped.is_set():
            try:
                decoded = await asyncio.to_thread(lane.decoder.decode, raw.values, raw.headers_of)
            except PASSING as error:
                self.reason = str(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), pause_s)
                pause_s = min(2 * pause_s, most_s)
            else:
                self.reason = ""
                return Records(decoded.block, raw.offsets, raw.timestamps, decoded.good, None, decoded.block.held)
        return None

    async def _make(self, step: Callable[[], Output]) -> None:
        """A step that may give parts: the step and their queueing are one under the lock."""
        async with self._own, self._lock:
            output = await asyncio.to_thread(step)
            await self._publish(output.parts)

    def _ease(self) -> None:
        if self._labels_seen_ms >= 0:
            self.machine.labels_end(self._labels_seen_ms)
            self._labels_seen_ms = -1
        if self._held and self.machine.wants_labels:
            self._held = False
            self._hold(self.tp, False)

    async def _persist(self) -> None:
        now, buffered = time.monotonic(), self.machine.store.buffered
        if buffered < _BUFFERED and now - self._persisted_at < self._persist_s:
            return
        self._persisted_at = now
        async with self._own:
            await asyncio.to_thread(self.machine.persist, self.acknowledged)

"""More input than a worker can take: its memory stays where its settings say, nothing is lost, and it catches up."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest
from kafka.labelled import START_MS, Labelled, Record, label, prediction, spread
from kafka.workers import Worker, start_worker

from driftbus.stream.worker.outcome_agent import QUEUED_BYTES
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

pytestmark = pytest.mark.kafka

POOL, ROUNDS = 20_000, 26
"""Predictions, and how often all of them are sent: 1.5 GiB as messages and columns in memory."""

ROOM = (64 << 20) + QUEUED_BYTES + 2 * (16 << 20) + (96 << 20)
"""Batches under way, columns for joins, what two clients prefetch, and what the work itself needs."""

RUNS_S, STANDS_S = 0.012, 0.3

LONG = "x" * 700
"""Ids begin with it: records have their size from somewhere."""


class Repeated(threading.Thread):
    """Something that is done again and again, until `end`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    def end(self) -> None:
        self._over.set()
        self.join(10)


class Watch(Repeated):
    """Looks at the private memory of a process."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._process, self._idle, self._most = psutil.Process(pid), 0, 0

    @property
    def grown(self) -> int:
        """How much more it was at its most than when it was idle."""
        return self._most - self._idle

    def _private(self) -> int:
        memory = self._process.memory_info()
        return int(memory.rss - memory.shared)  # the pages of the join's file are the system's to keep or to drop

    def run(self) -> None:
        self._idle = self._private()
        while not self._over.wait(0.02):
            self._most = max(self._most, self._private())


class Slowed(Repeated):
    """Lets a process run for a twentieth of the time."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._process = worker.child

    def run(self) -> None:
        while not self._over.wait(RUNS_S):
            self._process.signal(signal.SIGSTOP)
            self._over.wait(STANDS_S)
            self._process.signal(signal.SIGCONT)


@contextmanager
def overrun(kafka: Broker, patch: str = "", rounds: int = ROUNDS) -> Iterator[tuple[Labelled, Worker, Watch]]:
    """A worker that is sent twice as much as it can take, until it has taken too much memory; it is still behind."""
    joined = {"join": {"horizon": "1h", "wait": "10s", "grace": "30d"}}
    s = Labelled(kafka, monitor=joined, overrides={"kafka": {"bootstrap": kafka.outside, "session_timeout": "60s"}})
    nursery = Nursery(patch)
    worker = start_worker(s.home, s.document(), 0, nursery)
    watch, slowed = Watch(worker.child.pid), Slowed(worker)
    try:
        worker.wait_ready()
        watch.start()
        slowed.start()
        pool = spread([prediction(i, 0, name=LONG) for i in range(POOL)])
        for turn in range(rounds):
            wait_for(lambda most=turn * POOL: 2 * counted(worker, s.predicted) >= most - POOL, 120, "half of it")
            kafka.produce(s.predicted, [one | {"timestamp": START_MS + 10 * turn} for one in pool])
            if watch.grown > ROOM:
                break
        slowed.end()
        yield s, worker, watch
    finally:
        for thread in (watch, slowed):
            if thread.is_alive():
                thread.end()
        nursery.close()
        s.close()


def counted(worker: Worker, topic: str) -> int:
    """Records that it has worked off; 0 while it does not answer, which it may not for want of time."""
    try:
        told = worker.metrics()
    except httpx.TimeoutException:
        return 0
    found = re.search(rf'^driftbus_events_total{{[^}}]*topic="{topic}"[^}}]*}} (\S+)$', told, re.MULTILINE)
    return int(float(found[1])) if found else 0


def rest() -> tuple[list[Record], list[Record]]:
    """The predictions that close every pane, and labels."""
    ends = [prediction(POOL + i, START_MS + ahead, name=LONG) for ahead in (60_000, 90_000) for i in range(40)]
    labels = [label(i, START_MS + 30_000 + i, "1", LONG) for i in range(0, POOL, 10)]
    labels += [label(POOL + i, START_MS + 70_000, "1", LONG) for i in range(40)]
    return spread(ends), spread(labels)


def test_twice_what_a_worker_can_do_takes_no_more_memory_than_its_queues(kafka: Broker) -> None:
    with overrun(kafka) as (s, worker, watch):
        behind = POOL * ROUNDS - counted(worker, s.predicted)
        assert behind > POOL * ROUNDS // 4
        for topic, records in zip((s.predicted, s.labelled), rest(), strict=True):
            kafka.produce(topic, records)
        wanted = s.expected()
        assert wanted
        wait_for(lambda: wanted.keys() <= s.published().keys(), 200, "the worker to catch up", every_s=1.0)
        watch.end()
        assert s.published() == wanted
        assert watch.grown <= ROOM, f"{watch.grown >> 20} MiB more than while it was idle, {ROOM >> 20} are its queues"
        assert worker.child.stop() == 0, worker.child.tail()


def test_without_the_brake_memory_would_not_do(kafka: Broker) -> None:
    """Proof that the test above sees a worker that takes what it is sent; how soon depends on the machine."""
    with overrun(kafka, "faults.ablations:no_brake", 4 * ROUNDS) as (_, _, watch):
        watch.end()
        assert watch.grown > ROOM, f"{watch.grown >> 20} MiB"

"""More input than a worker can take: its memory stays where its settings say, nothing is lost, and it catches up."""

from __future__ import annotations

import signal
import threading

import psutil
import pytest
from kafka.labelled import START_MS, Labelled, label, prediction, spread

from driftbus.stream.worker.outcome_agent import QUEUED_BYTES
from harness.broker import Broker
from harness.process import wait_for

pytestmark = pytest.mark.kafka

POOL, ROUNDS = 20_000, 20
"""Predictions, and how often all of them are sent: some 500 MiB as messages and columns in memory."""

ROOM = (64 << 20) + QUEUED_BYTES + 2 * (16 << 20) + (96 << 20)
"""Batches under way, columns for joins, what two clients prefetch, and what the work itself needs."""

LONG = "x" * 250
"""Ids begin with it: records have their size from somewhere."""


class Watch(threading.Thread):
    """Looks at the private memory of a process until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._over = psutil.Process(pid), threading.Event()
        self.idle = self.most = self._private()

    def _private(self) -> int:
        memory = self._process.memory_info()
        return int(memory.rss - memory.shared)  # the pages of the join's file are the system's to keep or to drop

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._private())

    def end(self) -> None:
        self._over.set()
        self.join(10)


def test_a_worker_that_is_overrun_takes_no_more_memory_than_its_queues(kafka: Broker) -> None:
    joined = {"join": {"horizon": "1h", "wait": "10s", "grace": "30d"}}
    s = Labelled(kafka, monitor=joined, overrides={"kafka": {"bootstrap": kafka.outside, "session_timeout": "60s"}})
    try:
        worker = s.start()
        s.wait_ready(worker)
        watch = Watch(worker.pid)
        worker.signal(signal.SIGSTOP)
        pool = spread([prediction(i, 0, name=LONG) for i in range(POOL)])
        ends = [prediction(POOL + i, START_MS + ahead, name=LONG) for ahead in (60_000, 90_000) for i in range(40)]
        sent = (one | {"timestamp": START_MS + 10 * turn} for turn in range(ROUNDS) for one in pool)
        kafka.produce(s.predicted, sent, {"queue.buffering.max.messages": 300_000})
        kafka.produce(s.predicted, spread(ends))
        kafka.produce(s.labelled, spread([label(i, START_MS + 30_000 + i, "1", LONG) for i in range(0, POOL, 10)]))
        kafka.produce(s.labelled, spread([label(POOL + i, START_MS + 70_000, "1", LONG) for i in range(40)]))
        watch.start()
        worker.signal(signal.SIGCONT)
        wanted = s.expected()
        assert wanted
        wait_for(lambda: wanted.keys() <= s.published().keys(), 200, "the worker to catch up", every_s=1.0)
        watch.end()
        assert s.published() == wanted
        grown = watch.most - watch.idle
        assert grown <= ROOM, f"{grown >> 20} MiB more than while it was idle, {ROOM >> 20} MiB are its queues"
        assert worker.stop() == 0, worker.tail()
    finally:
        s.close()

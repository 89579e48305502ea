"""Events from serving code to Kafka in the background: a bounded queue, one thread, counted drops.

The thread is started by the first event, so a process that is forked before that has nothing to
lose; after a later fork the child begins afresh.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from driftbus.schemas.codec import frame_confluent
from driftbus.schemas.contracts import contract
from driftbus.schemas.errors import Unavailable

LOG_EVERY_S = 60.0
_RETRY_S = (0.2, 10.0)
_REFUSED_S = 60.0
_STEP_S = 0.1
_IDLE_S = 1.0

log = logging.getLogger("driftbus.producer")
_librdkafka_log = logging.getLogger("driftbus.producer.librdkafka")
_librdkafka_log.addHandler(logging.NullHandler())
_librdkafka_log.propagate = False


class Encoded(NamedTuple):
    """An event ready to be sent: name of its schema, Avro body, Kafka key."""

    name: str
    body: bytes
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of the events so far, in this process.

    Args:
        accepted: put into the queue.
        sent: acknowledged by Kafka.
        dropped: never sent, by reason: ``queue_full``, ``bad_event``, ``delivery``, ``too_large``,
            ``misconfigured``, ``closed``, ``undelivered`` (left at close).
        cleaned: values changed to fit, by reason: ``unknown_type``, ``long_text``, ``too_large``.
        last_error: the latest reason for trouble, in words.
    """

    accepted: int = 0
    sent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    cleaned: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""


class Sender:
    """Sends encoded events from a thread of its own.

    Args:
        topic: where to.
        properties: of librdkafka.
        schema_id: gives the registry's id of a schema by its name, asked in the thread. Unavailable
            means "try again soon", any other error "not as things are". None: no registry.
        limit: events that may wait.
    """

    def __init__(
        self, topic: str, properties: Mapping[str, Any], schema_id: Callable[[str], int] | None, limit: int
    ) -> None:
        self._topic, self._properties, self._schema_id, self._limit = topic, dict(properties), schema_id, limit
        self._kafka: Any = None
        self._begin()
        _senders.add(self)

    def _begin(self) -> None:
        self._queue: SimpleQueue[Encoded | threading.Event] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop_by: float | None = None
        self._over = "closed"
        self._refused: dict[str, float] = {}
        self._headers: dict[str, bytes] = {}
        self._accepted = self._sent = 0
        self._dropped: dict[str, int] = {}
        self._cleaned: dict[str, int] = {}
        self._said: dict[str, int] = {}
        self._news = False
        self._last_error = ""
        self._next_log = 0.0

    def put(self, event: Encoded) -> bool:
        """Queue an event; False when it had to be dropped. Never blocks."""
        if self._stop_by is not None:
            return self.drop(self._over)
        if self._queue.qsize() >= self._limit:
            return self.drop("queue_full", f"{self._limit} events are waiting already")
        with self._lock:
            self._accepted += 1
        self._queue.put(event)
        if self._thread is None:
            self._start()
        elif self._stop_by is not None and not self._thread.is_alive():
            self._abandon_queue()  # it ended between the question above and now
        return True

    def drop(self, reason: str, error: str = "", count: int = 1) -> bool:
        """Count dropped events; always False."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + count
            self._last_error = error or self._last_error
            self._news = True
        return False

    def clean(self, changes: Mapping[str, int]) -> None:
        """Count values that were changed to fit."""
        with self._lock:
            for reason, count in changes.items():
                self._cleaned[reason] = self._cleaned.get(reason, 0) + count

    def counters(self) -> Counters:
        """A copy of the counters."""
        with self._lock:
            return Counters(self._accepted, self._sent, dict(self._dropped), dict(self._cleaned), self._last_error)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is acknowledged or dropped; False when time ran out."""
        thread, deadline = self._thread, time.monotonic() + timeout_s
        if thread is None:
            return True
        done = threading.Event()
        self._queue.put(done)
        while not done.wait(min(_IDLE_S, max(0.0, deadline - time.monotonic()))):
            if not thread.is_alive():
                self._abandon_queue()
            elif time.monotonic() >= deadline:
                return False
        return True

    def close(self, timeout_s: float) -> bool:
        """As `flush`, then stop; what is left is counted as ``undelivered``."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + timeout_s
        thread = self._thread
        if thread is not None:
            self._queue.put(threading.Event())  # wakes it
            thread.join(timeout_s + _IDLE_S)
            self._abandon_queue()
        self._next_log = 0.0
        self._report()
        return "undelivered" not in self.counters().dropped

    def forget(self) -> None:
        """In a forked child: librdkafka's threads are not there, so its handle is abandoned, never freed."""
        if self._kafka is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._kafka))
            self._kafka = None
        self._begin()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="driftbus-producer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            self._connect()
            while not self._out_of_time() and (self._stop_by is None or self._queue.qsize()):
                self._step()
            self._settle()
            self._drop_left(len(self._kafka))
        except Exception as e:
            log.exception("driftbus sends no more events to %s", self._topic)
            self._over, self._stop_by, self._last_error = "misconfigured", 0.0, str(e)
        self._abandon_queue()

    def _connect(self) -> None:
        from confluent_kafka import Producer  # imported in the thread: serving code starts without waiting for it

        self._kafka = Producer(
            {
                "client.id": "driftbus-producer",
                "linger.ms": 20,
                "compression.type": "lz4",
                "enable.idempotence": True,
                "queue.buffering.max.messages": max(1_000, self._limit),
                **self._properties,
                "error_cb": self._on_error,
            },
            logger=_librdkafka_log,
        )

    def _step(self) -> None:
        self._report()
        try:
            item = self._queue.get(timeout=_STEP_S if len(self._kafka) else _IDLE_S)
        except Empty:
            self._kafka.poll(0)
            return
        if isinstance(item, threading.Event):
            self._settle()
            item.set()
        else:
            self._send(item)
            self._kafka.poll(0)

    def _send(self, event: Encoded) -> None:
        from confluent_kafka import KafkaException

        header = self._headers.get(event.name) or self._learn_header(event.name)
        if header is None:
            self.drop("misconfigured" if not self._out_of_time() else "undelivered")
            return
        while not self._out_of_time():
            try:
                self._kafka.produce(self._topic, header + event.body, event.key, on_delivery=self._on_delivery)
                return
            except BufferError:
                self._kafka.poll(_STEP_S)
            except KafkaException as e:
                self.drop("too_large", e.args[0].str())
                return
        self.drop("undelivered")

    def _learn_header(self, name: str) -> bytes | None:
        """What the values of a schema begin with; None while the registry refuses the schema."""
        if self._schema_id is None:
            self._headers[name] = contract(name).header
            return self._headers[name]
        if time.monotonic() < self._refused.get(name, 0.0):
            return None
        wait_s = _RETRY_S[0]
        while not self._out_of_time():
            try:
                self._headers[name] = frame_confluent(self._schema_id(name), b"")
                return self._headers[name]
            except Unavailable as e:
                self._last_error = str(e)
            except Exception as e:  # noqa: BLE001 - whatever the registry says, serving goes on
                self._refused[name], self._last_error = time.monotonic() + _REFUSED_S, str(e)
                return None
            resume = time.monotonic() + wait_s
            while time.monotonic() < resume and not self._out_of_time():
                self._report()
                self._kafka.poll(_STEP_S)
            wait_s = min(2 * wait_s, _RETRY_S[1])
        return None

    def _settle(self) -> None:
        while len(self._kafka) and not self._out_of_time():
            self._kafka.flush(_STEP_S)
            self._report()

    def _abandon_queue(self) -> None:
        left = 0
        while self._queue.qsize():
            try:
                item = self._queue.get_nowait()
            except Empty:  # another thread was faster
                break
            if isinstance(item, threading.Event):
                item.set()
            else:
                left += 1
        self._drop_left(left)

    def _drop_left(self, count: int) -> None:
        if count:
            self.drop("undelivered" if self._over == "closed" else self._over, count=count)

    def _out_of_time(self) -> bool:
        return self._stop_by is not None and time.monotonic() > self._stop_by

    def _on_delivery(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.drop("delivery", error.str())
        else:
            self._sent += 1

    def _on_error(self, error: Any) -> None:
        self._last_error = error.str()

    def _report(self) -> None:
        """Say what was lost, at most once a minute."""
        if not self._news or time.monotonic() < self._next_log:
            return
        self._news, self._next_log = False, time.monotonic() + LOG_EVERY_S
        counters = self.counters()
        lost = {reason: n - self._said.get(reason, 0) for reason, n in sorted(counters.dropped.items())}
        self._said = dict(counters.dropped)
        said = ", ".join(f"{reason} {n}" for reason, n in lost.items() if n)
        log.warning("events for %s were dropped: %s (%s)", self._topic, said, counters.last_error or "no details")


_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


def _after_fork() -> None:
    for sender in list(_senders):
        sender.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""The life of a worker process: prepare, run, drain, and an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.stream.worker.health import Health, HttpServer
from driftbus.stream.worker.memory import share_arenas
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.start import Prepared, prepare
from driftbus.stream.worker.topicchecks import require_topics
from driftbus.stream.worker.topics import admin_client
from driftbus.stream.worker.wallclock import WallClock
from driftbus.stream.worker.warmup import warm_up
from driftbus.stream.worker.worker import Worker

LOG = logging.getLogger(__name__)

FINE, REFUSED, UNREACHABLE, CRASHED = 0, 2, 3, 4

_LOCAL = ("127.0.0.1", "::1", "localhost")

DRAIN_S = 20.0
"""Time that a SIGTERM leaves for agents to finish and offsets to be committed; orchestrators kill after 30 s."""


STILL_S = 60
"""An event loop that stands still for so long while others run never comes back: a thread could not be started for want
of memory, for example, and Python waits for it for ever."""


def _end_when_still(health: Health) -> None:
    """End the process at once when its event loop stands still. Runs in a thread; allocates nothing that matters."""
    seen, seconds = health.status, 0
    while seconds < STILL_S:
        try:
            time.sleep(1.0)
            # counted, not measured: a process that was frozen as a whole has not stood still
            seconds = seconds + 1 if health.status is seen else 0
            seen = health.status
        except MemoryError:
            break
    os.write(2, b"the event loop stands still: the worker ends, and what it did not commit is read again\n")
    os._exit(CRASHED)


async def run_worker(config: Config) -> int:
    """Run a worker until SIGTERM, SIGINT or a failure; the exit code.

    Raises:
        ConfigError, Unavailable: it could not be prepared.
    """
    share_arenas()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry, health = CollectorRegistry(), Health()
    threading.Thread(target=_end_when_still, args=(health,), daemon=True, name="still").start()
    for collector in (GCCollector, PlatformCollector, ProcessCollector):
        collector(registry=registry)
    metrics = Metrics(registry, config.run.metrics_columns)
    run = config.run
    server = HttpServer(health, registry, run.metrics_host, run.metrics_port, run.web)
    LOG.info("metrics and health on %s://%s:%d", server.scheme, run.metrics_host, server.port)
    if run.metrics_host not in _LOCAL and not run.web.guarded:
        LOG.warning("whoever reaches port %d may read the metrics; run.web can ask for a login", server.port)
    try:
        ready = await _prepare(config, health, metrics, stop)
        if ready is None:
            return FINE
        return await _run(Worker(config, ready, health, metrics), stop)
    finally:
        server.close()


async def _prepare(config: Config, health: Health, metrics: Metrics, stop: asyncio.Event) -> Prepared | None:
    """Everything loaded, learned and compiled; None when it was stopped before. /healthz answers meanwhile."""
    stopped, loop = threading.Event(), asyncio.get_running_loop()
    done: asyncio.Future[Prepared] = loop.create_future()

    def learning(monitor: str, stream: str, share: float, rows: int) -> None:
        metrics.learning.labels(monitor, stream).set(share)
        period = format_duration(config.monitors[monitor].learn.period)
        said = f"{monitor}/{stream}: {share:.0%} of {period}, {rows:,} rows"
        loop.call_soon_threadsafe(lambda: setattr(health, "status", replace(health.status, learning=said)))

    def work() -> None:
        try:
            # a wrong password or a missing topic is told now, and not half a minute later
            require_topics(admin_client(config.kafka), config)
            LOG.info("compiling kernels, unless they are cached; the first start takes half a minute")
            warm_up()
            loop.call_soon_threadsafe(done.set_result, prepare(config, stopped.is_set, learning))
        except Exception as error:  # noqa: BLE001 - raised again on the event loop
            if not stopped.is_set():
                loop.call_soon_threadsafe(done.set_exception, error)

    # a daemon: a SIGTERM must not wait until everything is compiled
    threading.Thread(target=work, daemon=True, name="prepare").start()
    asked, clock = asyncio.create_task(stop.wait()), WallClock()
    try:
        while not done.done() and not asked.done():
            clock.look()
            health.status = replace(health.status, at=time.monotonic())
            await asyncio.wait((done, asked), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        return None if asked.done() else done.result()
    finally:
        stopped.set()
        asked.cancel()
        metrics.learning.clear()


async def _run(worker: Worker, stop: asyncio.Event) -> int:
    boot = asyncio.create_task(worker.boot())
    boot.add_done_callback(lambda done: _boot_ended(worker, done))
    worker.begin_beside()
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(worker.wait_poisoned())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    LOG.info("stopping: %s", worker.poisoned or "asked to")
    code = await _drain(worker)
    for task in (boot, *waits):
        task.cancel()
    return code


def _boot_ended(worker: Worker, boot: asyncio.Task[None]) -> None:
    if not boot.cancelled() and (error := boot.exception()) is not None:
        worker.poison(error)


async def _drain(worker: Worker) -> int:
    """Let agents finish, commit, leave the group. What can't be finished in time is read again by the next owner."""
    await worker.end_beside()
    try:
        await asyncio.wait_for(worker.stop(), DRAIN_S)
        drained = True
    except Exception as error:  # noqa: BLE001 - the exit code says it; what is not committed is read again
        LOG.error("not drained within %g s: %r; what is not committed will be read again", DRAIN_S, error)
        drained = False
    try:
        await asyncio.wait_for(worker.outcomes.close(), DRAIN_S / 2)
    except Exception as error:  # noqa: BLE001 - what is not stored is read again
        LOG.warning("what waits for labels is not stored up to date: %r", error)
    left = worker.outbox.close(timeout_s=0.0 if worker.poisoned else 5.0)
    if isinstance(worker.poisoned, ConfigError):
        return REFUSED
    if worker.poisoned:
        return UNREACHABLE if isinstance(worker.poisoned, Unavailable) else CRASHED
    return FINE if drained and not left else UNREACHABLE

"""/metrics, /healthz and /readyz on a plain thread, so that they answer when the event loop does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, make_wsgi_app

from driftbus.schemas.accessconfig import WebConfig
from driftbus.stream.worker.web import WebServer

STALE_S = 30.0
"""A loop, a poll or a broker that was not heard of for this long is not well."""
COMMIT_S = 60.0
"""Offsets that could not be committed for this long make a worker not ready."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the event loop last knew of the worker. All times are of `time.monotonic`.

    Args:
        at: when it was written; an old one means that the loop hangs.
        joined: whether the group has given a first assignment and its state is restored.
        failure: why the worker is stopping, "" while it isn't.
        partitions: how many partitions it reads.
        polled_at: last poll of the consumer, None before the first.
        brokers_at: last answer of the brokers, None before the first.
        lag: records that wait, None when unknown.
        committed_at: last commit, None before the first.
        commit_due_at: since when offsets wait for a commit that does not succeed, None when none do.
        waiting: partitions that wait for something outside, with what for.
        rebuilding: joins whose store is being made again, and how far that is.
        learning: whose profile is being learned before it begins, and how far that is; "" if none.
    """

    at: float
    joined: bool = False
    failure: str = ""
    partitions: int = 0
    polled_at: float | None = None
    brokers_at: float | None = None
    lag: int | None = None
    committed_at: float | None = None
    commit_due_at: float | None = None
    waiting: tuple[str, ...] = ()
    rebuilding: tuple[str, ...] = ()
    learning: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint says: whether it is well, and a JSON body that says why."""

    well: bool
    body: dict[str, Any]


def live(status: Status, now: float) -> Answer:
    """Whether a restart would help: the loop runs, the consumer polls, nothing has failed."""
    polled = status.polled_at is None or now - status.polled_at < STALE_S
    return _answer(status, now, event_loop=now - status.at < STALE_S, polling=polled, not_failed=not status.failure)


def ready(status: Status, now: float) -> Answer:
    """Whether it does its work: in the group, brokers answer, commits succeed, nothing waits."""
    return _answer(
        status,
        now,
        event_loop=now - status.at < STALE_S,
        not_failed=not status.failure,
        joined=status.joined,
        polling=status.polled_at is not None and now - status.polled_at < STALE_S,
        brokers=status.brokers_at is not None and now - status.brokers_at < STALE_S,
        committing=status.commit_due_at is None or now - status.commit_due_at < COMMIT_S,
        not_waiting=not status.waiting,
        not_rebuilding=not status.rebuilding,
        not_learning=not status.learning,
    )


def _answer(status: Status, now: float, **checks: bool) -> Answer:
    def ago(then: float | None) -> float | None:
        return None if then is None else round(now - then, 3)

    well = all(checks.values())
    return Answer(
        well,
        {
            "status": "ok" if well else "failing",
            "failing": [name for name, ok in checks.items() if not ok],
            "checks": checks,
            "partitions": status.partitions,
            "lag": status.lag,
            "last_poll_s": ago(status.polled_at),
            "last_commit_s": ago(status.committed_at),
            "last_broker_answer_s": ago(status.brokers_at),
            "event_loop_s": ago(status.at),
            "waiting": list(status.waiting),
            "rebuilding": list(status.rebuilding),
            "learning": status.learning,
            "failure": status.failure,
        },
    )


class Health:
    """Where the loop writes its status and the HTTP thread reads it."""

    def __init__(self) -> None:
        self.status = Status(time.monotonic())

    def app(self, registry: CollectorRegistry) -> Callable[..., Any]:
        """The WSGI application."""
        metrics = make_wsgi_app(registry)
        Gauge("driftbus_ready", "1 while /readyz says so.", registry=registry).set_function(
            lambda: float(ready(self.status, time.monotonic()).well)
        )
        answers = {"/healthz": live, "/readyz": ready}

        def application(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            path = environ.get("PATH_INFO", "")
            if path == "/metrics":
                return metrics(environ, start)
            if path not in answers:
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/metrics /healthz /readyz\n"]
            answer = answers[path](self.status, time.monotonic())
            start("200 OK" if answer.well else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [json.dumps(answer.body).encode() + b"\n"]

        return application


class HttpServer(WebServer):
    """Serves a worker's metrics and health.

    Args:
        health: the worker's.
        registry: what /metrics shows.
        host, port: where to listen; port 0 takes a free one.
        web: TLS and login, by default neither.

    Raises:
        ConfigError: the address is taken or not ours, or a file of `web` can't be used.
    """

    def __init__(
        self, health: Health, registry: CollectorRegistry, host: str, port: int, web: WebConfig | None = None
    ) -> None:
        super().__init__(health.app(registry), host, port, web or WebConfig())

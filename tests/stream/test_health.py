"""What /healthz and /readyz say, and that they are served."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from driftbus.schemas.errors import ConfigError
from driftbus.stream.worker.health import Health, HttpServer, Status, live, ready

WELL = Status(at=100.0, joined=True, partitions=3, polled_at=99.9, brokers_at=97.0, lag=0, committed_at=90.0)
NOW = 101.0


def test_a_worker_that_works_is_live_and_ready() -> None:
    assert live(WELL, NOW).well
    answer = ready(WELL, NOW)
    assert answer.well
    assert answer.body["last_commit_s"] == 11.0
    assert answer.body["failing"] == []


@pytest.mark.parametrize(
    ("change", "failing", "alive"),
    [
        ({"at": 60.0}, "event_loop", False),
        ({"polled_at": 60.0}, "polling", False),
        ({"failure": "disk"}, "not_failed", False),
        ({"joined": False}, "joined", True),
        ({"learning": "credit/predictions: 5% of 1d, 90 rows"}, "not_learning", True),
        ({"polled_at": None}, "polling", True),
        ({"brokers_at": 60.0}, "brokers", True),
        ({"brokers_at": None}, "brokers", True),
        ({"commit_due_at": 30.0}, "committing", True),
        ({"waiting": ("t[0]: registry",)}, "not_waiting", True),
        ({"rebuilding": ("labels[0]: 40%",)}, "not_rebuilding", True),
    ],
)
def test_each_trouble_is_named(change: dict[str, Any], failing: str, alive: bool) -> None:
    status = replace(WELL, **change)
    assert ready(status, NOW).body["failing"] == [failing]
    assert not ready(status, NOW).well
    assert live(status, NOW).well is alive


def test_a_lagging_worker_is_still_ready() -> None:
    assert ready(replace(WELL, lag=10**9), NOW).well


def test_they_are_served() -> None:
    registry, health = CollectorRegistry(), Health()
    Counter("driftbus_x", "x", registry=registry).inc()
    server = HttpServer(health, registry, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.port}"
    try:
        assert b"driftbus_x_total 1.0" in urllib.request.urlopen(f"{base}/metrics", timeout=5).read()
        assert json.load(urllib.request.urlopen(f"{base}/healthz", timeout=5))["status"] == "ok"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{base}/readyz", timeout=5)
        assert refused.value.code == 503
        assert "joined" in json.load(refused.value)["failing"]
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{base}/else", timeout=5)
        with pytest.raises(ConfigError, match=r"run.metrics_port"):
            HttpServer(health, CollectorRegistry(), "127.0.0.1", server.port)
    finally:
        server.close()

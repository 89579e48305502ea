"""Starts broker, worker and player, watches them, and ends them: the demo itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import httpx
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from driftbus.detectors.profile import Profile
from driftbus.schemas.config import Config
from driftbus.schemas.errors import Unavailable
from driftbus.stream.client.producer import Producer
from driftbus.stream.demo.loans import CONTROLS, DRIFTING, MONITOR, loan_count, loan_profiles, loans
from driftbus.stream.demo.performance import METRIC
from driftbus.stream.demo.play import Player
from driftbus.stream.demo.screen import ColumnLine, Picture, summary
from driftbus.stream.demo.watch import watch
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.topics import admin_client, create_topics

_READY_S, _STEP_S, _LEAVE_S = 180.0, 0.25, 8.0
_SOURCE_PARTITIONS = 4
_SECONDS_BETWEEN_LOANS = 523
ACCURACY_LIMIT = 0.94
"""What the model has to reach; on its training data it was right in 94.5 % of the cases."""

_OWN_TOPICS = ("summaries", "drift", "incidents", "performance", "retrain", "state", "profiles", "deadletter")


def demonstrate(console: Console, bootstrap: str | None, registry: str | None, per_second: float) -> int:
    """Run the demo; the exit code: 1 when drift was not found, or found where there is none, or led to no retrain.

    Args:
        console: where to show it; a picture on a terminal, else lines.
        bootstrap: an existing Kafka, None for one of its own.
        registry: an existing schema registry; None: one of its own, or none with an existing Kafka.
        per_second: pace of the player.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftbus-demo-")))
        embedded, tag = bootstrap is None, f"driftbus-demo-{uuid.uuid4().hex[:6]}"
        if bootstrap is None:
            console.print("starting a broker and a schema registry of our own …")
            address = stack.enter_context(_broker(home))
            bootstrap, registry = address["bootstrap"], address["registry"]
        console.print("learning the reference from 50,000 loans of a stable period …")
        config = _config(tag, bootstrap, registry, home, embedded=embedded)
        profiles = loan_profiles(config.monitors[MONITOR].performance)
        _prepare(config, profiles, embedded=embedded)
        console.print("starting the worker (its kernels are compiled when it runs for the first time) …")
        worker = stack.enter_context(_worker(config, home))
        topics = {name: stream.topic for name, stream in config.monitors[MONITOR].streams.items()}
        predictions, labels = (
            stack.enter_context(Producer(topics[name], bootstrap=bootstrap, registry=registry, monitor=MONITOR))
            for name in ("predictions", "labels")
        )
        player = Player(predictions, labels, loans(), per_second)
        stack.callback(player.stop)
        kafka = "librdkafka's mock cluster" if embedded else "Kafka"
        picture = Picture(
            f"{kafka} {bootstrap} · topics {tag}.* · worker {worker.pid}, {_url(config)}/metrics",
            loan_count(),
        )
        picture.columns = {column.name: ColumnLine() for column in profiles[0].columns}
        player.start()
        asked = stack.enter_context(_interrupts())

        def alive() -> bool:
            if asked:
                raise KeyboardInterrupt
            return worker.poll() is None

        watch(console, picture, config, player, alive, f"{_url(config)}/metrics")
    console.print(summary(picture, CONTROLS, topic=None if embedded else topics["predictions"]), soft_wrap=True)
    found = {event.column for event in picture.events}
    degraded = any("performance" in trigger.policy for trigger in picture.triggers)
    return 0 if degraded and found >= DRIFTING and found.isdisjoint(CONTROLS) else 1


def _config(tag: str, bootstrap: str, registry: str | None, home: Path, *, embedded: bool) -> Config:
    kafka: dict[str, Any] = {"bootstrap": bootstrap}
    if embedded:
        kafka["group_protocol"] = "consumer"  # the mock cluster rebalances fastest with it
    document = {
        "app": tag,
        "kafka": kafka,
        "registry": {"url": registry},
        "monitors": {
            MONITOR: {
                "predictions": {
                    "topic": f"{tag}.predictions",
                    "time": "time",
                    "id": "id",
                    "score": "score",
                    "prediction": "prediction",
                    "version": "version",
                    "where": {"monitor": MONITOR},
                },
                "labels": {
                    "topic": f"{tag}.labels",
                    "time": "time",
                    "id": "id",
                    "label": "label",
                    "where": {"monitor": MONITOR},
                },
                "pane": "6h",
                "detection": {"events_per_second": 1 / _SECONDS_BETWEEN_LOANS},
                # months pass in a minute: Kafka's clock is of no use for panes, and nobody waits a minute for the rest
                "join": {"pane": "event", "wait": "0s", "grace": "1s"},
                "performance": {"cohort": "10d", "limits": {METRIC: {"min": ACCURACY_LIMIT}}},
                # nobody trains here: the trigger stays open to the end
                "retrain": {
                    "any": [{"performance": {"metric": METRIC, "below": ACCURACY_LIMIT, "for": "2 cohorts"}}],
                    "deadline": "52w",
                },
            }
        },
        "topics": {role: f"{tag}.{role}" for role in _OWN_TOPICS},
        "limits": {"lateness": "6h"},
        "run": {
            "metrics_port": _free_port(),
            "commit_every": "500ms",
            "snapshot_every": "10s",
            "log": "json",
            "store": str(home / "store"),
        },
    }
    config = Config.model_validate(document)
    (home / "driftbus.yaml").write_text(json.dumps(document, indent=1))  # JSON is YAML
    return config


def _prepare(config: Config, profiles: Iterable[Profile], *, embedded: bool) -> None:
    admin = admin_client(config.kafka)
    names = [stream.topic for stream in config.monitors[MONITOR].streams.values()]
    if embedded:  # it makes a topic when somebody asks for it
        for name in [*names, *(getattr(config.topics, role) for role in _OWN_TOPICS)]:
            admin.list_topics(name, timeout=10)
    else:
        for future in admin.create_topics([NewTopic(name, _SOURCE_PARTITIONS) for name in names]).values():
            future.result(30)
        create_topics(admin, config)
    for profile in profiles:
        publish_profile(config.kafka, config.topics.profiles, profile)


@contextmanager
def _broker(home: Path) -> Iterator[dict[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "driftbus.stream.demo.broker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(home / "broker.log").open("wb"),
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable(f"the demo's broker did not start: {(home / 'broker.log').read_text()[-500:]}")
        yield json.loads(line)
    finally:
        process.kill()
        process.wait()


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C as something to look at.

    An exception that is raised while librdkafka calls back into Python ends there, unheard: the demo would go on.
    """
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _worker(config: Config, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`driftbus run` beside us, ready; SIGTERM at the end."""
    log = home / "worker.log"
    process = subprocess.Popen(
        [sys.executable, "-m", "driftbus", "run", "-c", str(home / "driftbus.yaml")],
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _READY_S
        while not _answers(f"{_url(config)}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"the worker did not start:\n{log.read_text()[-2000:]}")
            time.sleep(_STEP_S)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_LEAVE_S)  # its broker and its topics go with it: there is nothing to lose
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url(config: Config) -> str:
    return f"http://127.0.0.1:{config.run.metrics_port}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False

"""Workers that are stopped and started again on a real Kafka: what they know goes along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.deployments import START_MS, STEP_MS, Deployment, oracle, records, stream

from driftbus.schemas.events import DriftEvent, RetrainTrigger
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

pytestmark = pytest.mark.kafka

Make = Callable[..., Deployment]
ROWS, DRIFT_FROM = 20_000, 10_000
SELDOM = {"snapshot_every": "1h", "preview_every": "2s", "seal_after": "0s", "metrics_port": 0, "log": "json"}


@pytest.fixture
def deploy(tmp_path: Path, nursery: Nursery) -> Iterator[Make]:
    made: list[Deployment] = []

    def make(broker: Broker, **overrides: Any) -> Deployment:
        made.append(Deployment.make(broker, tmp_path, nursery=nursery, **overrides))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


def test_a_worker_that_is_asked_to_stop_leaves_nothing_to_repeat(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, run=SELDOM)
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    produced = records(partitions)
    first = deployment.worker()
    kafka.produce(deployment.topic, produced[: len(produced) * 3 // 4])
    deployment.wait_said(first, "drift opened", timeout_s=240)
    assert not deployment.snapshots(), "none is due for an hour"
    assert first.stop() == 0, first.tail()
    assert len(deployment.snapshots()) == len(deployment.config.monitors)
    ends = kafka.end_offsets(deployment.config.topics.summaries)
    second = deployment.worker()
    deployment.wait_said(second, "took up", timeout_s=240)
    judging = re.findall(r"judging (\d+) monitors of \S+\[(\d+)\] from offset (\d+)", second.log.read_text())
    assert {int(p): int(at) for n, p, at in judging if n != "0"} == {
        p: ends[p] for p in {int(p) for _, p, _ in judging}
    }
    kafka.produce(deployment.topic, produced[len(produced) * 3 // 4 :])
    wait_for(lambda: deployment.events().keys() >= wanted.keys(), 240, "all events")
    assert deployment.events() == wanted
    assert second.stop() == 0, second.tail()


def run_until(deployment: Deployment, some: list[dict[str, Any]], done: Callable[[], bool], **changes: Any) -> None:
    """A worker with a changed configuration, and some records for it; it is asked to stop when it is done."""
    deployment.configure(**changes)
    worker = deployment.worker()
    deployment.wait_said(worker, "took up", timeout_s=240)
    deployment.broker.produce(deployment.topic, some)
    wait_for(done, 240, f"what follows\n{worker.tail()}")
    assert worker.stop() == 0, worker.tail()


def test_going_back_to_a_configuration_goes_on(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, run=SELDOM)
    partitions = stream(ROWS, DRIFT_FROM)
    produced = records(partitions)
    third = len(produced) // 3
    wanted = oracle(deployment, partitions)
    of_first, limits = {event.fingerprint for event in wanted.values()}, deployment.values["limits"]

    def epochs() -> set[str]:
        return {metadata.split(":")[0] for _, metadata in deployment.committed().values()}

    def others() -> bool:
        found = any(event.fingerprint not in of_first for event in deployment.events().values())
        return found and not epochs() & first

    def later() -> list[Any]:
        """Events of the first configuration about what only it can have judged, now that it is back.

        It goes on where the other one had committed, some records before the end of the second third.
        """
        since = START_MS + 3 * third * STEP_MS // 2
        events = deployment.events().values()
        return [e for e in events if e.fingerprint in of_first and isinstance(e, DriftEvent) and e.opened_ms > since]

    run_until(deployment, produced[:third], lambda: len(deployment.committed()) == len(partitions))
    first = epochs()
    run_until(deployment, produced[third : 2 * third], others, limits=limits | {"lateness": "40s"})
    run_until(deployment, produced[2 * third :], lambda: bool(later()), limits=limits)


def test_a_change_tells_no_old_news(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka, run=SELDOM)
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    run_until(deployment, records(partitions), lambda: deployment.events().keys() >= wanted.keys())
    monitors = {
        name: monitor | {"detection": {"false_alarms_per_week": 2}}
        for name, monitor in deployment.values["monitors"].items()
    }

    def new() -> list[Any]:
        return [event for name, event in deployment.events().items() if name not in wanted]

    run_until(deployment, [], lambda: len({e.monitor for e in new()}) == len(monitors), monitors=monitors)
    assert not [e for e in new() if isinstance(e, RetrainTrigger) or getattr(e, "status", "") == "closed"]

"""Workers that are stopped and started again on a real Kafka: what they know goes along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.deployments import Deployment, oracle, records, stream

from harness.broker import Broker
from harness.process import wait_for

pytestmark = pytest.mark.kafka

Make = Callable[..., Deployment]
ROWS, DRIFT_FROM = 20_000, 10_000
SELDOM = {"snapshot_every": "1h", "preview_every": "2s", "seal_after": "0s", "metrics_port": 0, "log": "json"}


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Make]:
    made: list[Deployment] = []

    def make(broker: Broker, **overrides: Any) -> Deployment:
        made.append(Deployment.make(broker, tmp_path, **overrides))
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

"""`driftbus run` on a real broker: the events are those of the log, whatever happens to workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.deployments import Deployment, oracle, records, stream

from harness.broker import Broker
from harness.process import wait_for

ROWS, DRIFT_FROM = 40_000, 20_000
Make = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Make]:
    made: list[Deployment] = []

    def make(broker: Broker, **overrides: Any) -> Deployment:
        made.append(Deployment.make(broker, tmp_path, **overrides))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


def wait_for_events(deployment: Deployment, wanted: dict[str, Any], timeout_s: float = 30) -> None:
    try:
        wait_for(lambda: deployment.events().keys() >= wanted.keys(), timeout_s, "all events")
    except AssertionError:
        missing = [event for name, event in wanted.items() if name not in deployment.events()]
        raise AssertionError(f"missing {missing}\n{deployment.said()}") from None
    assert deployment.events() == wanted


def test_one_worker_publishes_what_the_log_says(kafka: Broker, deploy: Make) -> None:
    deployment = deploy(kafka)
    partitions = stream(ROWS, DRIFT_FROM)
    wanted = oracle(deployment, partitions)
    assert {event.column for event in wanted.values() if hasattr(event, "column")} == {"income"}
    worker = deployment.worker()
    kafka.produce(deployment.topic, records(partitions))
    wait_for_events(deployment, wanted)
    assert worker.stop() == 0, worker.tail()
    ends = kafka.end_offsets(deployment.topic)
    assert all(offset == end - 1 for (offset, _), end in zip(deployment.committed().values(), ends, strict=True))

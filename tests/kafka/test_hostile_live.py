"""Producers that mean harm, through a real worker: it stays within its memory, counts what others sent, and its metrics
say what came. What single floods leave behind is measured without Kafka, in tests/fuzz."""

from __future__ import annotations

import re
from typing import Any

import psutil
import pytest

from driftbus.schemas.events import DriftEvent, Published
from driftbus.stream.replay.topicreplay import prepare
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for

from .scenario import START_MS, Scenario, rows

pytestmark = pytest.mark.kafka

ROWS, ROOM = 20_000, 192 << 20
LONG = "x" * 20_000
TIMES = (-(2**63), -1, 0, START_MS + 50 * 31_556_952_000, 8_640_000_000_000_000, 2**62, 2**63 - 1)


def hostile(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """A record that names what nobody else does, or claims any time."""
    changes: tuple[dict[str, Any], ...] = (
        {"version": f"v{number}"},
        {"country": f"c{number}"},
        {"version": f"{LONG}{number}", "country": f"{LONG}{number}"},
        {"ts": TIMES[number // 5 % len(TIMES)]},
        {"income": (1e308, -1e308, float("inf"), float("nan"))[number // 5 % 4], "age": -(2**31)},
    )
    return row | {"id": f"h{number}"} | changes[number % 5]


def total(metrics: str, name: str, label: str = "") -> float:
    found = re.findall(rf"^driftbus_{name}_total{{[^}}]*{label}[^}}]*}} (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


def replayed(scenario: Scenario) -> dict[str, Published]:
    """By id, what a replay of the topic gives, which knows Kafka's timestamps."""
    found: list[Published] = []
    prepare(scenario.config, "", None, None).run(found.append, lambda count: None)
    return {event.id: event for event in found}


def test_floods_stay_within_memory_and_metrics_say_what_came(kafka: Broker, nursery: Nursery) -> None:
    scenario = Scenario(kafka, partitions=2, nursery=nursery)
    calm = rows(ROWS, seed=19, drift_at=ROWS // 2)
    mixed = [one for i, row in enumerate(calm[:-8]) for one in ((row, hostile(i, row)) if i % 4 == 0 else (row,))]
    try:
        kafka.configure(scenario.source, {"max.message.bytes": "12000000"})
        worker = scenario.start()
        worker.wait_ready()
        memory = psutil.Process(worker.child.pid).memory_info
        before = memory().rss - memory().shared
        scenario.produce(mixed)
        huge = b"\0" * 10_000_000
        kafka.produce(scenario.source, [{"value": huge, "partition": 0}], {"message.max.bytes": 11_000_000})
        scenario.produce(calm[-8:])
        wanted = replayed(scenario)
        assert any(isinstance(event, DriftEvent) for event in wanted.values())
        wait_for(lambda: wanted.keys() <= scenario.published().keys(), 150, "all events")
        wait_for(lambda: total(worker.metrics(), "dead_letters", "too_large") == 1, 60, "the largest one")
        wait_for(lambda: total(worker.metrics(), "beyond_max_groups_rows") > ROWS // 20, 60, "rows of versions beyond")
        metrics = worker.metrics()
        assert total(metrics, "dead_letters", "bad_event_time") > ROWS // 40
        assert len(metrics) < 200_000
        grown = memory().rss - memory().shared - before
        assert grown < ROOM, f"{grown >> 20} MiB"
        assert worker.child.stop() == 0, worker.child.tail()
        assert scenario.published() == wanted
    finally:
        scenario.close()

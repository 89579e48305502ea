"""What Prometheus sees of a worker, figure by figure, and whether its health tells the truth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client import CollectorRegistry

from driftbus.schemas.events import DriftEvent, Incident
from driftbus.stream.worker.metrics import SEVERITY, Metrics
from harness.broker import Broker
from harness.missing import running, skipped_when_missing
from harness.process import wait_for
from harness.prometheus import Prometheus

from .scenario import MONITOR, START_MS, Scenario, Worker, encode, rows

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus]

ROWS, LATE, EXPIRED, JUNK, LAST = 12_000, 5, 3, 4, 400
STEP_MS, PANE_MS, LATENESS = 20, 1_000, 2
SELDOM = {"driftbus_learning_ratio", "driftbus_waiting_partitions"}
"""Series that are only there while a profile is learned, or something can't be reached."""

OF_LABELS = (
    "driftbus_comparisons", "driftbus_estimate", "driftbus_join_", "driftbus_label", "driftbus_performance",
    "driftbus_repartitioned",
)  # fmt: skip
"""Beginnings of the names that a monitor with labels has; test_labels_live.py looks at those."""


@dataclass
class Watched:
    """A scenario whose stream is judged, its worker, and a Prometheus that scrapes it."""

    scenario: Scenario
    worker: Worker
    prometheus: Prometheus
    values: list[bytes]

    def value(self, expression: str) -> float:
        """The one number that a query has; AssertionError when there is none, or several."""
        found = self.prometheus.query(expression)
        assert len(found) == 1, f"{expression}: {found}"
        return float(found[0]["value"][1])

    def by(self, label: str, expression: str) -> dict[str, float]:
        """Label → value of each series of a query."""
        return {one["metric"][label]: float(one["value"][1]) for one in self.prometheus.query(expression)}

    def health(self, path: str) -> tuple[int, dict[str, object]]:
        answer = httpx.get(f"http://127.0.0.1:{self.worker.port}{path}", timeout=5)
        return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def kafka_of_its_own() -> Iterator[Broker]:
    with running(Broker) as broker:
        yield broker


@pytest.fixture(scope="module")
def watched(kafka_of_its_own: Broker) -> Iterator[Watched]:
    kafka = kafka_of_its_own
    run = {"metrics_columns": 3, "seal_after": "0s", "preview_every": "1s"}
    scenario = Scenario(kafka, overrides={"limits": {"retention": "60s"}, "run": run})
    worker = scenario.start()
    with skipped_when_missing():
        prometheus = Prometheus(f"127.0.0.1:{worker.port}")
    data = rows(ROWS + LAST, seed=11, drift_at=8_000)
    late = [row | {"ts": data[ROWS]["ts"] - 30_000} for row in data[:LATE]]
    expired = [row | {"ts": data[ROWS]["ts"] - 120_000} for row in data[:EXPIRED]]
    scenario.produce([*data[:ROWS], *late, *expired, *data[ROWS:]])
    junk = [{"value": b"\x02", "partition": i} for i in range(JUNK)]
    kafka.produce(scenario.source, junk)
    worker.wait_ready()
    wait_for(lambda: f'reason="truncated",topic="{scenario.source}"}} {JUNK}.0' in worker.metrics(), 30, "the junk")
    wanted = {event.id for event in scenario.expected().values()}
    wait_for(lambda: scenario.published().keys() >= wanted, 30, "all events")
    yield Watched(scenario, worker, prometheus, [value for log in scenario.log for value in log])
    prometheus.close()
    scenario.close()


def test_every_metric_is_there(watched: Watched) -> None:
    described = {metric.name for metric in Metrics(CollectorRegistry()).registry.collect()} | {"driftbus_ready"}
    wait_for(lambda: bool(watched.prometheus.query("driftbus_null_rate")), 15, "a look at the columns")
    found = {one["metric"]["__name__"] for one in watched.prometheus.query('{__name__=~"driftbus_.*"}')}
    names = {name.removesuffix("_total").removesuffix("_count") for name in found}
    assert {name for name in described - SELDOM if not name.startswith(OF_LABELS)} <= names
    assert {"process_resident_memory_bytes", "python_info"} <= {
        one["metric"]["__name__"] for one in watched.prometheus.query('{job="driftbus"}')
    }


def test_what_was_read(watched: Watched) -> None:
    topic = watched.scenario.source
    counted = ROWS + LATE + EXPIRED + LAST
    assert watched.value(f'driftbus_events_total{{topic="{topic}",stream="predictions"}}') == counted
    assert watched.value(f'driftbus_bytes_total{{topic="{topic}"}}') == sum(map(len, watched.values)) + JUNK
    assert watched.value(f'driftbus_dead_letters_total{{topic="{topic}",reason="truncated"}}') == JUNK
    wait_for(
        lambda: watched.by("partition", "driftbus_consumer_lag") == dict.fromkeys("0123", 0.0), 15, "a lag of nothing"
    )
    clock_s = (START_MS + STEP_MS * (ROWS + LAST - 1)) / 1000
    assert abs(watched.value("driftbus_watermark_delay_seconds") - (time.time() - clock_s)) < 60
    assert watched.value("driftbus_decode_seconds_count") >= 4  # one a partition, if they came all at once
    stages = watched.by("stage", "driftbus_step_seconds_count")
    assert stages["summarise"] >= 4
    assert stages["judge"] >= 1
    assert 0 < watched.value('driftbus_step_seconds_sum{stage="judge"}') < 60


def test_what_was_judged(watched: Watched) -> None:
    last = STEP_MS * (ROWS + LAST - 1) // PANE_MS
    sealed = last - LATENESS  # previews show how far the open ranges have come
    wait_for(lambda: watched.value("driftbus_panes_sealed_total") == sealed, 15, f"{sealed} panes")
    assert watched.value(f'driftbus_late_events_total{{monitor="{MONITOR}",stream="predictions"}}') == LATE
    assert watched.value(f'driftbus_expired_events_total{{monitor="{MONITOR}"}}') == EXPIRED
    assert watched.value("driftbus_contradictions_total") == 0
    assert watched.value("driftbus_foreign_parts_total") == 0


def test_what_has_drifted(watched: Watched) -> None:
    events = [e for e in watched.scenario.expected().values() if isinstance(e, DriftEvent)]
    open_now: dict[tuple[str, str, str], DriftEvent] = {}
    for event in sorted(events, key=lambda e: e.window_end_ms):
        key = event.segment, event.column, event.aspect
        if event.status == "closed":
            open_now.pop(key, None)
        else:
            open_now[key] = event
    states = watched.by("column", "driftbus_drift_state")
    assert states.keys() == {"income", "age", "country", "__other__"}
    for column in ("income", "age", "country"):
        worst = max((SEVERITY[e.severity] for e in open_now.values() if e.column == column), default=0)
        assert states[column] == worst, column
    assert states["income"] >= 2
    scores, nulls = watched.by("column", "driftbus_drift_score"), watched.by("column", "driftbus_null_rate")
    assert scores["income"] > 0.25 > scores["age"]
    assert abs(nulls["country"] - 0.3) < 0.1
    published = Counter((e.status, e.severity) for e in events)
    for (status, severity), times in published.items():
        episodes = f'driftbus_episodes_total{{monitor="{MONITOR}",status="{status}",severity="{severity}"}}'
        assert watched.value(episodes) == times
    for severity in ("minor", "moderate", "severe"):
        open_ = sum(e.severity == severity for e in open_now.values())
        assert watched.value(f'driftbus_open_episodes{{severity="{severity}"}}') == open_
    assert watched.value('driftbus_retrain_triggers_total{policy="drift",dry_run="false"}') == 1
    incidents = [e for e in watched.scenario.expected().values() if isinstance(e, Incident)]
    told = Counter((e.status, e.severity) for e in incidents)
    for (status, severity), times in told.items():
        name = f'driftbus_incidents_total{{monitor="{MONITOR}",status="{status}",severity="{severity}"}}'
        assert watched.value(name) == times
    latest = {e.incident_id: e for e in sorted(incidents, key=lambda e: e.decided_ms)}
    still_open = Counter(e.severity for e in latest.values() if e.status != "closed")
    assert still_open
    for severity in ("minor", "moderate", "severe"):
        assert watched.value(f'driftbus_incidents_open{{severity="{severity}"}}') == still_open[severity]


def test_snapshots(watched: Watched) -> None:
    assert watched.value("driftbus_snapshot_duration_seconds_count") >= 1
    assert 0 <= watched.value("driftbus_snapshot_age_seconds") < 30


def test_the_series_of_a_partition_move_with_it(watched: Watched) -> None:
    other = watched.scenario.start()
    other.wait_ready()

    def partitions(worker: Worker) -> set[str]:
        lines = [line for line in worker.metrics().splitlines() if line.startswith("driftbus_consumer_lag{")]
        return {line.split('partition="')[1][0] for line in lines}

    def shared() -> bool:
        mine, others = partitions(watched.worker), partitions(other)
        return bool(mine) and bool(others) and not mine & others and mine | others == set("0123")

    wait_for(shared, 30, "the partitions to be shared")
    assert other.child.stop() == 0
    wait_for(lambda: partitions(watched.worker) == set("0123"), 30, "the partitions to come back")
    wait_for(watched.worker.ready, 15, "readiness")


@pytest.mark.slow
def test_health_tells_of_a_frozen_broker_and_of_its_return(watched: Watched, kafka_of_its_own: Broker) -> None:
    assert watched.value("driftbus_ready") == 1
    assert watched.health("/readyz")[0] == 200
    partitions = watched.health("/healthz")[1]["partitions"]
    kafka_of_its_own.freeze()
    try:
        wait_for(lambda: watched.health("/readyz")[0] == 503, 60, "the worker to say that it is not ready")
        said = watched.health("/readyz")[1]
        assert "brokers" in str(said["failing"])
        assert watched.health("/healthz")[0] == 200  # a restart would not help
        wait_for(lambda: watched.value("driftbus_ready") == 0, 15, "Prometheus to see it")
    finally:
        kafka_of_its_own.thaw()
    watched.worker.child.wait_until(lambda: watched.health("/readyz")[0] == 200, 60, "the worker")
    before = watched.value("driftbus_events_total")
    more = [
        row | {"ts": START_MS + STEP_MS * (ROWS + LAST + i)} for i, row in enumerate(rows(100, seed=12, drift_at=100))
    ]
    kafka_of_its_own.produce(watched.scenario.source, [{"value": encode(row)} for row in more])
    wait_for(lambda: watched.value("driftbus_events_total") >= before + 100, 30, "the rest to be counted")
    wait_for(lambda: watched.health("/healthz")[1]["partitions"] == partitions, 30, "all partitions")

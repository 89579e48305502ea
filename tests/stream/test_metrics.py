"""Metrics: bounded labels, and series that go when their partition or monitor goes."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.scored import Tally, score
from driftbus.stream.outcomes.judge import MOST_VERSIONS
from driftbus.stream.worker.metrics import ASPECTS, OTHER, ColumnState, Metrics, worst


def labels(registry: CollectorRegistry, name: str, label: str) -> set[str]:
    return {s.labels[label] for m in registry.collect() for s in m.samples if s.name == name}


def test_columns_beyond_the_limit_share_a_label() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, columns=2)
    states = {f"c{i}": ColumnState(score=i / 10, severity="severe" if i == 7 else "") for i in range(500)}
    metrics.show_columns("credit", "predictions", states)
    assert labels(registry, "driftbus_drift_state", "column") == {"c0", "c1", OTHER}
    where = {"monitor": "credit", "stream": "predictions", "column": OTHER}
    assert registry.get_sample_value("driftbus_drift_state", where) == 3
    assert registry.get_sample_value("driftbus_drift_score", where) == 49.9


def test_unknown_figures_are_not_shown_as_zero() -> None:
    registry = CollectorRegistry()
    Metrics(registry).show_columns("credit", "predictions", {"c": ColumnState()})
    assert labels(registry, "driftbus_drift_score", "column") == set()
    assert labels(registry, "driftbus_drift_state", "column") == {"c"}


def test_series_go_with_their_monitor_and_partition() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for monitor in ("a", "b"):
        metrics.panes.labels(monitor, "predictions").inc()
        metrics.show_open(monitor, ["minor", "minor"], ["minor"])
        metrics.show_columns(monitor, "predictions", {"c": ColumnState(1.0, "minor", 0.5)})
    metrics.lag.labels("t", 0).set(1)
    metrics.lag.labels("t", 1).set(1)
    metrics.forget_monitor("a")
    metrics.forget_partition("t", 0)
    assert labels(registry, "driftbus_consumer_lag", "partition") == {"1"}
    left = {s.labels["monitor"] for m in registry.collect() for s in m.samples if "monitor" in s.labels}
    assert left == {"b"}
    assert registry.get_sample_value("driftbus_open_episodes", {"monitor": "b", "severity": "minor"}) == 2
    assert registry.get_sample_value("driftbus_incidents_open", {"monitor": "b", "severity": "minor"}) == 1


def test_what_is_about_no_column_is_seen_by_its_aspect() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.show_aspects(
        "credit", "predictions", [("relation", "minor"), ("freshness", "severe"), ("relation", "moderate")]
    )
    seen = {
        s.labels["aspect"]: s.value for m in registry.collect() for s in m.samples if s.name == "driftbus_aspect_state"
    }
    assert {aspect: level for aspect, level in seen.items() if level} == {"relation": 2, "freshness": 3}
    assert set(seen) == set(ASPECTS)
    metrics.show_aspects("credit", "predictions", [])
    assert labels(registry, "driftbus_aspect_state", "aspect") == set(ASPECTS)
    assert not any(s.value for m in registry.collect() for s in m.samples if s.name == "driftbus_aspect_state")


def test_worst_of_each_figure() -> None:
    states = [ColumnState(0.1, "minor", None), ColumnState(None, "severe", 0.2), ColumnState(0.3, "", 0.1)]
    assert worst(states) == ColumnState(0.3, "severe", 0.2)
    assert worst([]) == ColumnState()


def test_how_well_estimates_did_is_shown_per_version_and_goes_with_the_monitor() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    right = score(Estimate(0.9, 0.88, 0.92, 500), 0.91)
    wrong = score(Estimate(0.9, 0.88, 0.92, 500), 0.85)
    tallies = {str(version): {"auc": Tally().add(right).add(wrong)} for version in range(MOST_VERSIONS + 3)}
    metrics.outcomes.show("credit", {}, {}, tallies)
    assert labels(registry, "driftbus_estimate_error", "version") == {str(v) for v in range(3, MOST_VERSIONS + 3)}
    where = {"monitor": "credit", "version": "5", "metric": "auc"}
    assert registry.get_sample_value("driftbus_estimate_error", where) == pytest.approx(-0.05)
    for result in ("within", "outside"):
        assert registry.get_sample_value("driftbus_estimates_scored", where | {"result": result}) == 1
    metrics.forget_monitor("credit")
    assert labels(registry, "driftbus_estimate_error", "version") == set()

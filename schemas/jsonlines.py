"""Drift events, incidents and retrain triggers as JSON: one event a line, one set of keys for all kinds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from driftbus.schemas.events import (
    ComparisonEvent,
    DriftEvent,
    Hint,
    Histogram,
    Incident,
    Member,
    OffsetRange,
    Published,
    RetrainTrigger,
)
from driftbus.schemas.outcomeevents import MetricValue, Outcome, PerformanceReport


def iso_utc(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC with milliseconds: ``2025-10-16T09:40:00.000Z``.

    Raises:
        ValueError: before the year 1 or after 9999.
    """
    try:
        moment = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    except (OverflowError, OSError) as e:
        raise ValueError(f"{ms} ms is no date") from e
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def drift_json(event: DriftEvent) -> dict[str, Any]:
    """A drift event as JSON values. Times are ISO 8601 UTC, numbers that JSON lacks (NaN, infinity) are null."""
    return {
        "kind": "drift",
        "id": event.id,
        "monitor": event.monitor,
        "stream": event.stream,
        "version": event.version,
        "segment": event.segment,
        "column": event.column,
        "detector": event.detector,
        "status": event.status,
        "severity": event.severity,
        "aspect": event.aspect,
        "what": event.what,
        "direction": event.direction,
        "statistic": _number(event.statistic),
        "threshold": _number(event.threshold),
        "p_value": _number(event.p_value),
        "effect": _number(event.effect),
        "reference_value": _number(event.reference_value),
        "current_value": _number(event.current_value),
        "window_start": iso_utc(event.window_start_ms),
        "window_end": iso_utc(event.window_end_ms),
        "since": iso_utc(event.since_ms),
        "since_low": iso_utc(event.since_low_ms),
        "since_high": iso_utc(event.since_high_ms),
        "opened": iso_utc(event.opened_ms),
        "count": event.count,
        "reference_count": event.reference_count,
        "evidence": {"ranges": _ranges(event.ranges)},
        "episode_id": event.episode_id,
        "profile_id": event.profile_id,
        "fingerprint": event.fingerprint,
        "message": event.message,
        "nature": event.nature,
        "category": event.category,
        "histogram": None if event.histogram is None else _histogram(event.histogram),
        "curve": [_number(value) for value in event.curve],
        "distances": {name: _number(value) for name, value in sorted(event.distances.items())},
        "outcome": None if event.outcome is None else _outcome(event.outcome),
    }


def retrain_json(trigger: RetrainTrigger) -> dict[str, Any]:
    """A retrain trigger as JSON values.

    The keys of a drift event that a trigger has no value for are null, so that a file of both
    kinds reads as one table; ``since`` is the suggested start of the training data.
    """
    since = iso_utc(trigger.train_from_ms)
    return {
        "kind": "retrain",
        "id": trigger.id,
        "monitor": trigger.monitor,
        "version": trigger.version,
        "column": None,
        "detector": None,
        "status": None,
        "severity": trigger.severity or None,
        "what": None,
        "statistic": None,
        "threshold": None,
        "p_value": None,
        "window_start": since,
        "window_end": iso_utc(trigger.decided_ms),
        "since": since,
        "policy": trigger.policy,
        "reason": trigger.reason,
        "decided": iso_utc(trigger.decided_ms),
        "columns": list(trigger.columns),
        "train_from": since,
        "train_to": iso_utc(trigger.train_to_ms),
        "deadline": iso_utc(trigger.deadline_ms),
        "dry_run": trigger.dry_run,
        "requested_by": trigger.requested_by,
        "rules": [
            {
                "kind": f.kind,
                "held": f.held,
                "value": _number(f.value),
                "threshold": _number(f.threshold),
                "text": f.text,
            }
            for f in trigger.rules
        ],
        "model": dict(sorted(trigger.model.items())),
        "evidence": {
            "ranges": _ranges(trigger.ranges),
            "episode_ids": list(trigger.episode_ids),
            "incident_ids": list(trigger.incident_ids),
        },
        "profile_id": trigger.profile_id,
        "fingerprint": trigger.fingerprint,
    }


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident's event as JSON values; the keys of a drift event that it has no value for are null."""
    lead = incident.members[0] if incident.members else None
    return {
        "kind": "incident",
        "id": incident.id,
        "incident_id": incident.incident_id,
        "monitor": incident.monitor,
        "version": incident.version,
        "segment": incident.segment,
        "column": None,
        "detector": None,
        "status": incident.status,
        "severity": incident.severity,
        "what": lead.what if lead else None,
        "statistic": None,
        "threshold": None,
        "p_value": None,
        "window_start": iso_utc(incident.since_low_ms),
        "window_end": iso_utc(incident.decided_ms),
        "decided": iso_utc(incident.decided_ms),
        "opened": iso_utc(incident.opened_ms),
        "since": iso_utc(incident.since_ms),
        "since_low": iso_utc(incident.since_low_ms),
        "since_high": iso_utc(incident.since_high_ms),
        "columns": incident.columns,
        "watched": incident.watched,
        "open": incident.open,
        "members": [_member(member) for member in incident.members],
        "left_out": incident.left_out,
        "hints": [_hint(hint) for hint in incident.hints],
        "evidence": {"ranges": _ranges(incident.ranges), "episode_ids": [m.episode_id for m in incident.members]},
        "profile_id": incident.profile_id,
        "fingerprint": incident.fingerprint,
        "message": incident.message,
    }


def performance_json(report: PerformanceReport) -> dict[str, Any]:
    """A performance report as JSON values; the keys of a drift event that it has no value for are null."""
    return {
        "kind": "performance",
        "id": report.id,
        "monitor": report.monitor,
        "version": report.version,
        "segment": report.segment,
        "column": None,
        "detector": None,
        "status": None,
        "severity": None,
        "what": None,
        "statistic": None,
        "threshold": None,
        "p_value": None,
        "window_start": iso_utc(report.cohort_start_ms),
        "window_end": iso_utc(report.cohort_end_ms),
        "since": iso_utc(report.cohort_start_ms),
        "cohort_start": iso_utc(report.cohort_start_ms),
        "cohort_end": iso_utc(report.cohort_end_ms),
        "stage": report.stage,
        "decided": iso_utc(report.decided_ms),
        "predictions": report.predictions,
        "labels": report.labels,
        "coverage": _number(report.coverage),
        "lag_ms": report.lag_ms,
        "corrected": report.corrected,
        "duplicates": report.duplicates,
        "metrics": {metric.name: _metric(metric) for metric in report.metrics},
        "reference_labels": report.reference_labels,
        "worst_segment": report.worst_segment,
        "moved": list(report.moved),
        "profile_id": report.profile_id,
        "fingerprint": report.fingerprint,
        "message": report.message,
    }


def comparison_json(event: ComparisonEvent) -> dict[str, Any]:
    """A comparison's event as JSON values; the keys of a drift event that it has no value for are null."""
    return {
        "kind": "comparison",
        "id": event.id,
        "comparison_id": event.comparison_id,
        "monitor": event.monitor,
        "version": event.challenger,
        "column": None,
        "detector": None,
        "status": event.status,
        "severity": None,
        "what": event.metric,
        "statistic": None,
        "threshold": None,
        "p_value": None,
        "window_start": iso_utc(event.since_ms),
        "window_end": iso_utc(event.decided_ms),
        "since": iso_utc(event.since_ms),
        "decided": iso_utc(event.decided_ms),
        "champion": event.champion,
        "challenger": event.challenger,
        "metric": event.metric,
        "resolves": event.resolves,
        "champion_value": _number(event.champion_value),
        "challenger_value": _number(event.challenger_value),
        "difference": _number(event.difference),
        "low": _number(event.low),
        "high": _number(event.high),
        "margin": _number(event.margin),
        "alpha": _number(event.alpha),
        "method": event.method,
        "champion_labels": event.champion_labels,
        "challenger_labels": event.challenger_labels,
        "share": _number(event.share),
        "share_value": _number(event.share_value),
        "evidence": {"ranges": _ranges(event.ranges)},
        "profile_id": event.profile_id,
        "fingerprint": event.fingerprint,
        "message": event.message,
    }


def event_json(event: Published) -> dict[str, Any]:
    """Any kind as JSON values."""
    if isinstance(event, Incident):
        return incident_json(event)
    if isinstance(event, PerformanceReport):
        return performance_json(event)
    if isinstance(event, ComparisonEvent):
        return comparison_json(event)
    return drift_json(event) if isinstance(event, DriftEvent) else retrain_json(event)


def json_line(values: Mapping[str, Any]) -> str:
    """One line of JSON without the line's end; equal values give equal text."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _outcome(o: Outcome) -> dict[str, Any]:
    return {
        "metric": o.metric,
        "value": _number(o.value),
        "low": _number(o.low),
        "high": _number(o.high),
        "reference_low": _number(o.reference_low),
        "reference_high": _number(o.reference_high),
        "limit": _number(o.limit),
        "labels": o.labels,
        "coverage": _number(o.coverage),
        "lag_ms": o.lag_ms,
        "cohort_start": iso_utc(o.cohort_start_ms),
        "cohort_end": iso_utc(o.cohort_end_ms),
        "moved": list(o.moved),
        "estimated": o.estimated,
    }


def _metric(m: MetricValue) -> dict[str, Any]:
    return {f.name: _number(getattr(m, f.name)) for f in fields(m) if f.name != "name"}


def _member(m: Member) -> dict[str, Any]:
    return {
        "episode_id": m.episode_id,
        "stream": m.stream,
        "version": m.version,
        "segment": m.segment,
        "column": m.column,
        "aspect": m.aspect,
        "status": m.status,
        "severity": m.severity,
        "what": m.what,
        "direction": m.direction,
        "category": m.category,
        "nature": m.nature,
        "effect": _number(m.effect),
        "reference_value": _number(m.reference_value),
        "current_value": _number(m.current_value),
        "since": iso_utc(m.since_ms),
        "since_low": iso_utc(m.since_low_ms),
        "since_high": iso_utc(m.since_high_ms),
        "opened": iso_utc(m.opened_ms),
        "closed": None if m.closed_ms is None else iso_utc(m.closed_ms),
        "message": m.message,
        "histogram": None if m.histogram is None else _histogram(m.histogram),
        "curve": [_number(value) for value in m.curve],
    }


def _hint(hint: Hint) -> dict[str, Any]:
    return {
        "kind": hint.kind,
        "text": hint.text,
        "columns": list(hint.columns),
        "before": _number(hint.before),
        "after": _number(hint.after),
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {
        "edges": [_number(edge) for edge in histogram.edges],
        "categories": list(histogram.categories),
        "reference": list(histogram.reference),
        "current": list(histogram.current),
    }


def _ranges(ranges: tuple[OffsetRange, ...]) -> list[dict[str, Any]]:
    return [
        {"topic": r.topic, "partition": r.partition, "from_offset": r.from_offset, "to_offset": r.to_offset}
        for r in ranges
    ]

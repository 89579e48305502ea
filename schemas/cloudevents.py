"""CloudEvents 1.0 for drift events, incidents and triggers: headers of the binary mode, body of the structured mode.

Source: CloudEvents 1.0.2, its JSON format and its Kafka protocol binding.
"""

from __future__ import annotations

import re
from typing import Any

from driftbus.schemas.events import ComparisonEvent, DriftEvent, Incident, Published
from driftbus.schemas.jsonlines import event_json, iso_utc, json_line
from driftbus.schemas.outcomeevents import PerformanceReport

AVRO_CONTENT = "application/avro"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
JSON_CONTENT = "application/json"
STRUCTURED_CONTENT = "application/cloudevents+json; charset=UTF-8"


def attributes(event: Published, app: str) -> dict[str, str]:
    """The context attributes of an event; its time is the event time of the decision.

    Args:
        event: what was decided.
        app: name of the deployment (the ``app`` key of driftbus.yaml).
    """
    if isinstance(event, DriftEvent):
        type_, time_ms, subject = f"io.driftbus.drift.{event.status}", event.window_end_ms, event.column
    elif isinstance(event, Incident):
        type_, time_ms, subject = f"io.driftbus.incident.{event.status}", event.decided_ms, event.incident_id
    elif isinstance(event, PerformanceReport):
        type_, time_ms, subject = f"io.driftbus.performance.{event.stage}", event.decided_ms, event.version
    elif isinstance(event, ComparisonEvent):
        type_, time_ms, subject = f"io.driftbus.comparison.{event.status}", event.decided_ms, event.challenger
    else:
        type_, time_ms, subject = "io.driftbus.retrain.triggered", event.decided_ms, event.version
    named = {
        "specversion": "1.0",
        "id": event.id,
        "type": type_,
        "source": f"/{app}/monitors/{event.monitor}",
        "time": iso_utc(time_ms),
    }
    return named | {"subject": _string(subject)} if subject else named


def _string(text: str) -> str:
    """A name from records as a String of CloudEvents, which has no control characters: they are spelled out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def binary_headers(event: Published, app: str, content_type: str = AVRO_CONTENT) -> list[tuple[str, bytes]]:
    """Kafka headers: ``ce_*`` for each attribute, and ``content-type``.

    Args:
        event: what was decided.
        app: name of the deployment.
        content_type: of the record's value; `STRUCTURED_CONTENT` when it is `structured_body`.
    """
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes(event, app).items()]
    return [*headers, ("content-type", content_type.encode())]


def structured(event: Published, app: str) -> dict[str, Any]:
    """The whole CloudEvent as JSON values, the event under ``data`` as in `event_json`."""
    return attributes(event, app) | {"datacontenttype": JSON_CONTENT, "data": event_json(event)}


def structured_body(event: Published, app: str) -> bytes:
    """The record's value in structured mode."""
    return json_line(structured(event, app)).encode()

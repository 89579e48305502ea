"""The line format of replay, and CloudEvents 1.0."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.cloudevents import STRUCTURED_CONTENT, binary_headers, structured_body
from driftbus.schemas.events import Published
from driftbus.schemas.jsonlines import drift_json, event_json, incident_json, iso_utc, json_line, retrain_json
from harness import samples

TABLE = {
    *("kind", "id", "monitor", "column", "detector", "status", "severity", "what", "statistic", "threshold", "p_value"),
    *("window_start", "window_end", "since", "evidence", "profile_id"),
}
RANGES = [
    {"topic": "predictions", "partition": 0, "from_offset": 24_000, "to_offset": 25_098},
    {"topic": "predictions", "partition": 3, "from_offset": 0, "to_offset": 17},
]


def test_a_drift_line() -> None:
    line = drift_json(samples.DRIFT)
    assert line.keys() >= TABLE
    assert {key: line[key] for key in TABLE - {"evidence"}} == {
        "kind": "drift",
        "id": "7f3a0c55d0e14a6b",
        "monitor": "credit",
        "column": "car_value",
        "detector": "psi_1000",
        "status": "opened",
        "severity": "moderate",
        "what": "shift",
        "statistic": 61.25,
        "threshold": 42.5,
        "p_value": 1e-7,
        "window_start": "2025-10-16T09:30:00.000Z",
        "window_end": "2025-10-16T09:40:00.123Z",
        "since": "2025-10-16T09:20:00.000Z",
        "profile_id": "0123456789abcdef0123456789abcdef",
    }
    assert line["evidence"] == {"ranges": RANGES}


def test_a_retrain_line_has_the_same_columns() -> None:
    line = retrain_json(samples.RETRAIN)
    assert line.keys() >= TABLE
    assert line["kind"] == "retrain"
    assert line["since"] == line["train_from"] == "2025-10-16T09:20:00.000Z"
    assert line["evidence"] == {
        "ranges": RANGES,
        "episode_ids": ["1122334455667788", "99"],
        "incident_ids": ["5566"],
    }
    assert line["columns"] == ["car_value", "loan_length"]
    assert line["status"] is None


def test_an_incident_line_has_the_same_columns_and_its_members() -> None:
    line = incident_json(samples.INCIDENT)
    assert line.keys() >= TABLE
    assert (line["kind"], line["status"], line["what"]) == ("incident", "updated", "shift")
    names = {name.removesuffix("_ms") for name in samples.INCIDENT.members[0].__dataclass_fields__}
    assert line["members"][0].keys() == names
    assert line["members"][0]["closed"] == "2025-10-16T09:43:20.000Z"
    assert line["hints"][0] == {
        "kind": "one_segment",
        "text": "the change disappears without country=PT",
        "columns": ["car_value"],
        "before": 0.5,
        "after": 0.01,
    }


def test_no_field_is_lost() -> None:
    """Every field of the typed event is in its line, times without the unit in their name."""
    for event in (samples.DRIFT, samples.RETRAIN, samples.INCIDENT, samples.REPORT, samples.COMPARISON):
        line = event_json(event)
        names = {name.removesuffix("_ms") for name in event.__dataclass_fields__}
        assert names - {"ranges", "episode_ids", "incident_ids"} <= {key.removesuffix("_ms") for key in line}


def test_numbers_that_json_lacks_are_null() -> None:
    event = replace(samples.DRIFT, statistic=float("inf"), effect=float("nan"), p_value=0.0)
    line = json.loads(json_line(drift_json(event)))
    assert (line["statistic"], line["effect"], line["p_value"]) == (None, None, 0.0)


def test_a_line_is_one_line() -> None:
    text = json_line(drift_json(replace(samples.DRIFT, message="first\nsecond", column="São")))
    assert "\n" not in text
    assert '"column":"São"' in text


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_iso_utc_is_exact(ms: int) -> None:
    text = iso_utc(ms)
    moment = datetime.fromisoformat(text)
    assert len(text) == 24
    assert (moment - datetime.fromisoformat("1970-01-01T00:00:00.000Z")).total_seconds() * 1000 == pytest.approx(ms)


def test_a_time_beyond_the_calendar_is_an_error() -> None:
    with pytest.raises(ValueError):
        iso_utc(2**63 - 1)


@pytest.mark.parametrize(
    ("event", "type_", "time"),
    [
        (samples.DRIFT, "io.driftbus.drift.opened", "2025-10-16T09:40:00.123Z"),
        (samples.INCIDENT, "io.driftbus.incident.updated", "2025-10-16T09:45:00.000Z"),
        (samples.REPORT, "io.driftbus.performance.first", "2025-10-18T00:00:00.000Z"),
        (samples.COMPARISON, "io.driftbus.comparison.worse", "2025-10-16T10:10:00.000Z"),
        (samples.RETRAIN, "io.driftbus.retrain.triggered", "2025-10-16T10:10:00.000Z"),
    ],
)
def test_cloud_events(event: Published, type_: str, time: str) -> None:
    headers = {name: value.decode() for name, value in binary_headers(event, "driftbus")}
    body = json.loads(structured_body(event, "driftbus"))
    data = body.pop("data")
    assert data == event_json(event)
    assert body.pop("datacontenttype") == "application/json"
    assert headers.pop("content-type") == "application/avro"
    assert {f"ce_{name}": value for name, value in body.items()} == headers
    assert (headers["ce_specversion"], headers["ce_id"]) == ("1.0", event.id)
    assert (headers["ce_type"], headers["ce_time"]) == (type_, time)
    assert headers["ce_source"] == "/driftbus/monitors/credit"
    assert dict(binary_headers(event, "x", STRUCTURED_CONTENT))["content-type"] == STRUCTURED_CONTENT.encode()

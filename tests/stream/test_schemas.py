"""From bytes to events, without Kafka: schema changes, repeated ids, late records, and skew named as such."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
import numpy as np
import pytest

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.framing import SchemaKey, by_id, frame
from driftbus.stream.driver import Driver
from driftbus.stream.plan import build_plans

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "version", "type": "string"},
    {"name": "x", "type": "double"},
    {"name": "y", "type": ["null", "double"], "default": None},
]
SCHEMAS: dict[int, dict[str, Any]] = {
    1: {"type": "record", "name": "Event", "fields": FIELDS},
    2: {"type": "record", "name": "Event", "fields": [*FIELDS, {"name": "shop", "type": "string", "default": ""}]},
    3: {"type": "record", "name": "Event", "fields": FIELDS[:4]},
    4: {"type": "record", "name": "Event", "doc": "the first with a comment", "fields": FIELDS},
}
ROWS, STEP_MS, START_MS = 6_000, 100, 1_760_000_000_000
RNG = np.random.default_rng(1)
PROFILE = build_profile(
    "m", "predictions", {"x": NumericData(RNG.normal(size=5_000)), "y": NumericData(RNG.normal(size=5_000))}
)
LEARNED = Profile.from_dict({**PROFILE.to_dict(), "profile_id": "", "learned_until_ms": START_MS})


class Resolver:
    bare: WriterSchema | None = None

    def knows(self, key: SchemaKey) -> bool:
        return True

    def resolve(self, key: SchemaKey) -> WriterSchema:
        return parse_schema(SCHEMAS[key.low])


def record(i: int, rng: np.random.Generator) -> dict[str, Any]:
    values = rng.normal(size=2)
    return {
        "id": f"r{i}", "time": START_MS + i * STEP_MS, "version": "1", "x": float(values[0]), "y": float(values[1]),
        "shop": "a",
    }  # fmt: skip


def run(
    schema: Callable[[int], int] = lambda i: 1,
    change: Callable[[int, dict[str, Any]], Mapping[str, Any]] = lambda i, r: r,
    *,
    profile: Profile = PROFILE,
    batch: int = 1_000,
    rows: int = ROWS,
    delay: Callable[[int], int] = lambda i: 20,
) -> list[DriftEvent]:
    """What is decided of a topic of one partition."""
    stream = {"topic": "t", "time": "time", "id": "id", "version": "version"}
    config = Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"m": {"predictions": stream}}})
    plans = build_plans(config, {("m", "predictions"): profile}, {"t": 1})
    driver, decoder = Driver(plans), BatchDecoder(plans.topics["t"].projection, Resolver())
    rng, events = np.random.default_rng(7), []
    for first in range(0, rows, batch):
        numbers = range(first, min(rows, first + batch))
        values, times = [], []
        for i in numbers:
            out = io.BytesIO()
            fields = dict(change(i, record(i, rng)))
            fastavro.schemaless_writer(out, SCHEMAS[schema(i)], fields)
            values.append(frame(by_id(schema(i)), out.getvalue()))
            times.append(fields["time"] + delay(i))
        decoded = decoder.decode(values)
        assert not decoded.bad
        step = driver.feed("t", 0, decoded.block, np.array(numbers), np.array(times), decoded.good)
        events += step.decided
    return [e for e in events + driver.finish() if isinstance(e, DriftEvent)]


def brief(events: list[DriftEvent]) -> list[tuple[str, str, str, str]]:
    return [(e.column, e.what, e.status, e.severity) for e in events]


def test_an_undisturbed_stream_is_quiet() -> None:
    assert run() == []


def test_a_new_field_is_a_minor_change_of_schema() -> None:
    events = run(lambda i: 1 + (i >= 2_050))
    assert brief(events) == [("", "schema", "opened", "minor"), ("", "schema", "closed", "minor")]
    opened = events[0]
    assert (opened.aspect, opened.detector, opened.version, opened.column) == ("schema", "schema", "", "")
    assert opened.message == "the stream: records with another schema have come: added shop; minor"
    assert opened.since_ms == START_MS + 200 * 1_000  # the pane of row 2,050
    assert [(r.from_offset, r.to_offset) for r in opened.ranges] == [(2_000, 2_100)]
    assert opened.episode_id == events[1].episode_id


def test_a_rolling_deployment_is_one_episode() -> None:
    events = run(lambda i: 1 + (i >= 1_000 and (i >= 3_000 or i % 3 == 0)))
    assert brief(events) == [("", "schema", "opened", "minor"), ("", "schema", "closed", "minor")]


def test_a_watched_field_that_goes_is_severe_and_told_beside_its_nulls() -> None:
    events = run(lambda i: 1 if i < 2_000 else 3)
    assert ("", "schema", "opened", "severe") in brief(events)
    assert "removed y" in next(e for e in events if e.what == "schema").message
    assert ("y", "nulls") in {(e.column, e.what) for e in events}


def test_another_comment_is_no_change() -> None:
    assert run(lambda i: 1 if i < 2_000 else 4) == []


def test_batches_and_schema_order_do_not_matter() -> None:
    def mixed(i: int) -> int:
        return 1 + (i >= 1_000) * (i % 2)

    assert run(mixed, batch=1_000) == run(mixed, batch=77)


def test_ids_that_come_twice_are_told() -> None:
    events = run(change=lambda i, r: r | ({"id": f"r{i - i % 10}"} if 5_200 < i < 5_900 else {}), rows=8_000)
    assert brief(events)[0][:3] == ("", "duplicates", "opened")
    assert events[0].message.startswith("the stream: ids come more than once, their share has gone up, 1.00% →")


def test_late_records_are_told_by_the_hour() -> None:
    hours = 30

    def spread(i: int, r: dict[str, Any]) -> dict[str, Any]:
        return r | {"time": START_MS + i * 3_600_000 * hours // ROWS}

    events = run(change=spread, delay=lambda i: 500 if i < ROWS * 27 // hours else 20_000)
    assert brief(events) == [("", "freshness", "opened", "severe")]
    assert events[0].message.startswith("the stream: records come late, the delay has gone up, 448 ms → ")


@pytest.mark.parametrize(("begin", "nature"), [(0, "skew"), (1_500, "drift"), (3_000, "drift")])
def test_a_stream_that_is_off_from_its_first_row_is_skewed_not_drifting(begin: int, nature: str) -> None:
    events = run(change=lambda i, r: r | ({"x": r["x"] + 0.8} if i >= begin else {}))
    assert {e.column for e in events} == {"x"}
    assert {e.nature for e in events} == {nature}
    assert events[0].message.startswith("training/serving skew: x: ") is (nature == "skew")


def test_against_a_reference_of_its_own_a_stream_cannot_be_skewed() -> None:
    events = run(change=lambda i, r: r | {"x": r["x"] + 0.8}, profile=LEARNED)
    assert {e.nature for e in events} == {"drift"}


def test_a_new_version_that_is_off_from_its_first_row_is_skewed() -> None:
    events = run(change=lambda i, r: r | ({"version": "2", "x": r["x"] + 0.8} if i >= 3_000 else {}))
    assert {(e.version, e.nature) for e in events if e.what != "volume"} == {("2", "skew")}

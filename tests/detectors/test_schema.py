"""Schema changes: what differs, how bad it is, and that a rolling deployment is one story."""

from __future__ import annotations

import json

import pytest

from driftbus.detectors.schema import SchemaWatch, compare
from driftbus.schemas.avsc import parse_schema
from driftbus.schemas.fields import writer_fields

OLD = {"id": "string", "age": "int", "income": "double?", "note": "string?", "time": "timestamp-millis"}
WATCHED = {"age": "numeric", "income": "numeric", "id": "text", "time": ""}
NEW = OLD | {"shop": "string"}
FIELDS = {1: OLD, 2: NEW, 3: {path: kind for path, kind in OLD.items() if path != "income"}}


@pytest.mark.parametrize(
    ("new", "severity", "told"),
    [
        (NEW, 1, "added shop"),
        ({k: v for k, v in OLD.items() if k != "note"}, 1, "removed note"),
        (OLD | {"note": "string"}, 1, "retyped note string? → string"),
        (OLD | {"age": "long"}, 2, "retyped age int → long"),
        (OLD | {"note": "bytes"}, 2, "retyped note string? → bytes"),
        (OLD | {"age": "string"}, 3, "retyped age int → string"),
        ({k: v for k, v in OLD.items() if k not in ("note", "income")}, 3, "removed income, note"),
        ({k: v for k, v in OLD.items() if k != "time"}, 3, "removed time"),
    ],
)
def test_a_change_is_told_with_watched_fields_first(new: dict[str, str], severity: int, told: str) -> None:
    change = compare(OLD, new, WATCHED)
    assert (change.severity, change.told()) == (severity, told)


def test_many_fields_are_counted_instead_of_named() -> None:
    assert compare({}, {f"f{i}": "int" for i in range(9)}, {}).told() == "added f0, f1, f2, f3, f4 and 4 more"


def feed(watch: SchemaWatch, panes: list[dict[int, int]], first: int = 0) -> list[tuple[int, str, str]]:
    return [
        (t.opened_tick, t.status, t.severity) for i, p in enumerate(panes) for t in watch.update(first + i, p, FIELDS)
    ]


def test_a_new_schema_is_one_episode_from_first_record_to_the_last_of_the_old() -> None:
    rolling = [{1: 60, 2: 40} if i % 3 else {1: 100} for i in range(30)]
    watch = SchemaWatch(WATCHED)
    told = feed(watch, [{1: 100}] * 20 + rolling + [{2: 100}] * 30)
    assert told == [(21, "opened", "minor"), (21, "closed", "minor")]
    assert feed(watch, [{2: 100}] * 200, 100) == []


def test_a_second_change_inside_escalates_when_it_is_worse() -> None:
    told = feed(SchemaWatch(WATCHED), [{1: 100}, {2: 100}, {3: 100}, {2: 100}, *[{3: 100}] * 20])
    assert told == [(1, "opened", "minor"), (1, "escalated", "severe"), (1, "closed", "severe")]


def test_a_rollback_is_over_and_the_next_attempt_is_told_again() -> None:
    told = feed(SchemaWatch(WATCHED), [{1: 100}, {1: 90, 2: 10}, *[{1: 100}] * 15, {2: 100}])
    assert told == [(1, "opened", "minor"), (1, "closed", "minor"), (17, "opened", "minor")]


def test_two_producers_that_stay_different_become_usual() -> None:
    watch = SchemaWatch(WATCHED)
    assert feed(watch, [{1: 100}, *[{1: 50, 2: 50}] * 300]) == [(1, "opened", "minor"), (1, "closed", "minor")]
    assert feed(watch, [{1: 100}, {2: 100}] * 50, 400) == []


def test_it_resumes_at_any_cut() -> None:
    panes = [{1: 100}] * 5 + [{1: 50, 2: 50}] * 12 + [{2: 400}] * 4 + [{3: 500}] * 3
    whole = SchemaWatch(WATCHED)
    expected = feed(whole, panes)
    assert [status for _, status, _ in expected] == ["opened", "closed", "opened", "closed"]
    for cut in range(len(panes)):
        one, other = SchemaWatch(WATCHED), SchemaWatch(WATCHED)
        told = feed(one, panes[:cut])
        other.restore(json.loads(json.dumps(one.state())))
        assert told + feed(other, panes[cut:], cut) == expected
        assert other.state() == whole.state()


def test_schemas_of_equal_fields_are_one_whatever_their_text() -> None:
    def schema(*fields: dict[str, object], **more: object) -> str:
        return json.dumps({"type": "record", "name": "R", "fields": list(fields), **more})

    age, shop = {"name": "age", "type": "int"}, {"name": "shop", "type": ["null", "string"]}
    prints = [
        writer_fields(parse_schema(text)).fingerprint
        for text in (
            schema(age, shop),
            schema(shop, age, doc="new text"),
            schema(age | {"doc": "in years", "default": 3}, shop),
            schema(age, {"name": "shop", "type": "string"}),
            schema(age),
        )
    ]
    assert prints[0] == prints[1] == prints[2]
    assert len(set(prints)) == 3
    assert writer_fields(parse_schema(schema(age, shop))).fields == (("age", "int"), ("shop", "string?"))


def test_a_huge_schema_is_bounded() -> None:
    fields = [{"name": f"{'n' * 300}{i}", "type": "int"} for i in range(2_000)]
    told = writer_fields(parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields})))
    assert len(told.fields) == 1_000
    assert max(len(path) for path, _ in told.fields) == 200

"""What each kind of field becomes, example by example, and why a record is refused."""

from __future__ import annotations

import io
import json
import struct
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.columns import INVALID, MISSING_TIME, NULL, Projection
from driftbus.schemas.decode.batch import Decoded, Decoder
from driftbus.schemas.decode.machine import ITEMS
from driftbus.schemas.errors import DecodeError
from harness.avro import varint


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Event", "fields": [{"name": name, "type": kind} for name, kind in fields]}


def write(schema: Any, *records: dict[str, Any]) -> list[bytes]:
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    bodies: list[bytes] = []
    for one in records:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, one)
        bodies.append(buffer.getvalue())
    return bodies


def numbers(decoded: Decoded, column: int = 0) -> list[float | str | None]:
    words: dict[int, str | None] = {NULL: None, INVALID: "invalid"}
    block = decoded.block
    return [
        words.get(int(status), float(value))
        for status, value in zip(block.numeric_status[column], block.numeric[column], strict=True)
    ]


def texts(decoded: Decoded, column: int = 0) -> list[str | None]:
    block = decoded.block
    return ["invalid" if block.text_status[column, i] == INVALID else block.string(column, i) for i in range(block.n)]


def test_the_canonical_events_maps_become_columns() -> None:
    schema = record(
        ("id", "string"),
        ("age", ["null", "int"]),
        ("numeric", {"type": "map", "values": ["null", "double"]}),
        ("categorical", {"type": "map", "values": ["null", "string"]}),
    )
    projection = Projection(("income", "age", "numeric.age", "country"), ("country", "id", "categorical.channel"), "")
    bodies = write(
        schema,
        {"id": "a", "age": 40, "numeric": {"income": 1.5, "age": 7.0}, "categorical": {"country": "PT", "x": None}},
        {"id": "b", "age": None, "numeric": {"other": 1.0, "income": None}, "categorical": {"channel": "app"}},
    )
    decoded = Decoder(schema, projection).decode(bodies * 2)
    assert numbers(decoded, 0) == [1.5, None] * 2
    assert numbers(decoded, 1) == [40, None] * 2
    assert numbers(decoded, 2) == [7, None] * 2
    assert numbers(decoded, 3) == ["invalid", None] * 2
    assert texts(decoded, 0) == ["PT", None] * 2
    assert texts(decoded, 1) == ["a", "b"] * 2
    assert texts(decoded, 2) == [None, "app"] * 2


def test_map_keys_may_come_in_any_order_and_twice() -> None:
    schema = record(("m", {"type": "map", "values": "long"}))
    names = [f"feature_{i}" for i in range(50)]
    projection = Projection(tuple(names), (), "")
    decoder = Decoder(schema, projection)
    orders = [names, names[::-1], names[::2], [*names[1::2], "unknown", *names[::2]]]
    bodies = write(schema, *({"m": {name: int("0" + name[8:]) for name in order}} for order in orders))
    decoded = decoder.decode(bodies)
    for row, order in enumerate(orders):
        want = [float(i) if f"feature_{i}" in order else None for i in range(50)]
        assert [numbers(decoded, i)[row] for i in range(50)] == want
    key = b"\x12feature_7"
    twice = Decoder(schema, projection).decode([b"\4" + key + b"\2" + key + b"\6" + b"\0"])
    assert numbers(twice, 7) == [3]


def test_a_root_may_be_a_union_of_records_or_a_map() -> None:
    union = [
        {"type": "record", "name": "A", "fields": [{"name": "x", "type": "double"}]},
        {"type": "record", "name": "B", "fields": [{"name": "y", "type": "string"}, {"name": "x", "type": "int"}]},
    ]
    decoded = Decoder(union, Projection(("x",), ("y",), "")).decode(
        [b"\0" + struct.pack("<d", 2.5), b"\2" + b"\2q" + b"\6", b"\4"]
    )
    assert numbers(decoded) == [2.5, 3, None]
    assert texts(decoded) == [None, "q", None]
    assert [reason for _, reason, _ in decoded.bad] == ["bad_union"]
    mapped = Decoder({"type": "map", "values": "float"}, Projection(("x",), (), ""))
    assert numbers(mapped.decode([b"\2\2x" + struct.pack("<f", 0.5) + b"\0"])) == [0.5]


def test_one_field_can_be_several_columns() -> None:
    schema = record(("n", ["null", "long"]), ("f", ["double", "null"]), ("m", {"type": "map", "values": "int"}))
    decoder = Decoder(schema, Projection(("n", "f", "k"), ("n", "f", "k"), "n", "s"))
    decoded = decoder.decode(
        write(schema, {"n": 1_700_000_000, "f": 0.25, "m": {"k": -3}}, {"n": None, "f": None, "m": {}})
    )
    assert [numbers(decoded, i) for i in range(3)] == [[1.7e9, None], [0.25, None], [-3, None]]
    assert [texts(decoded, i) for i in range(3)] == [["1700000000", None], ["0.25", None], ["-3", None]]
    assert decoded.block.time_ms.tolist() == [1_700_000_000_000, MISSING_TIME]


@pytest.mark.parametrize(
    ("kind", "value", "number", "text"),
    [
        ("boolean", True, 1, "true"),
        ("int", -(2**31), -(2**31), "-2147483648"),
        ("long", -(2**63), -(2.0**63), "-9223372036854775808"),
        ("long", 2**63 - 1, 2.0**63, "9223372036854775807"),
        ("double", 1e15, 1e15, "1000000000000000"),
        ("double", 1e16, 1e16, "1e+16"),
        ("double", -0.1, -0.1, "-0.1"),
        ("float", 0.1, 0.10000000149011612, "0.1"),
        ("double", float("inf"), float("inf"), "invalid"),
        ("string", "12", "invalid", "12"),
        ("string", "", "invalid", ""),
        ("bytes", b"12", "invalid", "invalid"),
        ({"type": "enum", "name": "E", "symbols": ["x", "yy"]}, "yy", "invalid", "yy"),
        ({"type": "array", "items": "int"}, [1, 2], "invalid", "invalid"),
        (record(("x", "int")) | {"name": "R"}, {"x": 1}, "invalid", "invalid"),
        ({"type": "int", "logicalType": "date"}, 1, 86_400_000, "1"),
        ({"type": "int", "logicalType": "time-millis"}, 5, 5, "5"),
        ({"type": "long", "logicalType": "time-micros"}, 1500, 1.5, "1500"),
        ({"type": "long", "logicalType": "timestamp-micros"}, -1500, -1.5, "-1500"),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, 2_500_000, 2.5, "2500000"),
        ({"type": "long", "logicalType": "made-up"}, 7, 7, "7"),
        ({"type": "string", "logicalType": "uuid"}, "not-checked", "invalid", "not-checked"),
        (
            {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
            bytes(range(240, 256)),
            "invalid",
            "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff",
        ),
    ],
)
def test_a_value_is_read_as_what_its_column_wants(kind: Any, value: Any, number: Any, text: str) -> None:
    schema = record(("a", kind))
    bare = record(("a", {k: v for k, v in kind.items() if k != "logicalType"} if isinstance(kind, dict) else kind))
    decoded = Decoder(schema, Projection(("a",), ("a",), "")).decode(write(bare, {"a": value}))
    assert numbers(decoded) == [number]
    assert texts(decoded) == [text]


@pytest.mark.parametrize(("unscaled", "scale"), [(0, 0), (1, 2), (-1, 2), (1999, 2), (-(10**14), 5), (2**53, 1)])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_decimal_is_the_nearest_double(unscaled: int, scale: int, fixed: bool) -> None:
    logical = {"logicalType": "decimal", "precision": 30, "scale": scale}
    raw = unscaled.to_bytes(12 if fixed else 8, "big", signed=True)
    kind = {"type": "fixed", "name": "D", "size": 12} if fixed else {"type": "bytes"}
    body = raw if fixed else varint(len(raw)) + raw
    decoded = Decoder(record(("a", kind | logical)), Projection(("a",), (), "")).decode([body])
    assert numbers(decoded) == [unscaled / 10**scale]


@given(st.datetimes(), st.sampled_from(["", "Z", "+00:00", "+0530", "-11", "z"]))
def test_iso_times_are_python_s(moment: datetime, zone: str) -> None:
    text = moment.isoformat() + zone
    zoned = datetime.fromisoformat(text.upper())
    utc = zoned if zoned.tzinfo else zoned.replace(tzinfo=UTC)
    since = utc - datetime(1970, 1, 1, tzinfo=UTC)
    want = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    decoder = Decoder(record(("t", "string")), Projection((), (), "t"))
    decoded = decoder.decode(write(record(("t", "string")), {"t": text}, {"t": text.replace("T", " ")}))
    assert decoded.block.time_ms.tolist() == [want, want]


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2024-13-01", "2024-02-30", "2023-02-29", "2024-01-00", "0000-01-01", "2024-01-01T", "2024-01-01T10",
        "2024-01-01T24:00", "2024-01-01T10:60", "2024-01-01T10:00:60", "2024-01-01T10:00:", "2024-01-01T10:00:00.",
        "2024-01-01T10:00:00+", "2024-01-01T10:00:00+1", "2024-01-01T10:00:00+25:00", "2024-01-01T10:00:00Zx",
        "2024-01-01x10:00", "20240101", "1700000000000", "2024/01/01", "2024-01-01T10:00:00+01-00", "2024-1-1",
    ],
)  # fmt: skip
def test_what_is_no_iso_time_is_no_time(text: str) -> None:
    schema = record(("t", "string"))
    decoded = Decoder(schema, Projection((), (), "t")).decode(write(schema, {"t": text}))
    assert decoded.good.all()
    assert decoded.block.time_ms.tolist() == [MISSING_TIME]


@pytest.mark.parametrize(
    ("kind", "value", "unit", "want"),
    [
        ("long", 1_700_000_000, "s", 1_700_000_000_000),
        ("long", 1_700_000_000_123_999, "us", 1_700_000_000_123),
        ("long", -1, "us", -1),
        ("double", 1_700_000_000.123, "s", 1_700_000_000_123),
        ("float", 1.5, "s", 1500),
        ("double", float("nan"), "s", MISSING_TIME),
        ("double", 1e300, "ms", MISSING_TIME),
        ("long", 2**63 - 1, "ms", MISSING_TIME),
        ("long", -(2**63), "s", MISSING_TIME),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_123, "s", 1_700_000_000_123),
        ({"type": "int", "logicalType": "date"}, 2, "ns", 172_800_000),
        ({"type": "int", "logicalType": "time-millis"}, 2, "ms", MISSING_TIME),
        ("boolean", True, "ms", MISSING_TIME),
        (["null", "long"], None, "ms", MISSING_TIME),
    ],
)
def test_event_time_has_units(kind: Any, value: Any, unit: str, want: int) -> None:
    schema = record(("t", kind))
    bare = record(("t", kind["type"] if isinstance(kind, dict) else kind))
    decoded = Decoder(schema, Projection((), (), "t", unit)).decode(write(bare, {"t": value}))
    assert decoded.good.all()
    assert decoded.block.time_ms.tolist() == [want]


BOMB = record(("a", {"type": "array", "items": "null"}))
EMPTY = record(("a", {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}))
TEXT = record(("t", "string"))
ENUM = record(("e", {"type": "enum", "name": "E", "symbols": ["x", "y"]}))
ARRAY = record(("a", {"type": "array", "items": "string"}))


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    ("schema", "body", "reason"),
    [
        (TEXT, b"", "truncated"),
        (TEXT, b"\6ab", "truncated"),
        (TEXT, b"\2ab", "trailing_bytes"),
        (TEXT, b"\4\xc3\x28", "bad_utf8"),
        (TEXT, b"\6\xed\xa0\x80", "bad_utf8"),
        (TEXT, b"\4\xc0\x80", "bad_utf8"),
        (TEXT, b"\1", "bad_length"),
        (TEXT, varint(2**40), "bad_length"),
        (TEXT, b"\xfe\xff\xff\xff\x0f", "truncated"),
        (TEXT, b"\xff" * 11, "bad_varint"),
        (TEXT, b"\x80" * 10 + b"\0", "bad_varint"),
        (record(("t", "long")), b"\xff" * 9 + b"\2", "bad_varint"),
        (record(("t", ["null", "double"])), b"\4", "bad_union"),
        (record(("t", ["null", "double"])), b"\1", "bad_union"),
        (record(("t", ["null", "double", "string"])), b"\6", "bad_union"),
        (ENUM, b"\4", "bad_enum"),
        (ENUM, b"\1", "bad_enum"),
        (record(("t", "boolean")), b"\2", "bad_boolean"),
        (BOMB, varint(ITEMS + 1) + b"\0", "too_many_items"),
        (BOMB, varint(ITEMS) + varint(1) + b"\0", "too_many_items"),
        (BOMB, varint(2**62) + b"\0", "too_many_items"),
        (EMPTY, varint(2**62) + b"\0", "too_many_items"),
        (BOMB, varint(-(2**63)) + b"\0\0", "bad_length"),
        (ARRAY, varint(2**62), "truncated"),
        (ARRAY, varint(-1) + varint(-1), "bad_length"),
        (ARRAY, varint(-1) + varint(3) + b"\2x" + b"\0", "bad_length"),
        (ARRAY, varint(-1) + varint(9) + b"\2x" + b"\0", "truncated"),
    ],
)
def test_reasons_do_not_depend_on_who_reads(schema: Any, body: bytes, reason: str, wanted: bool) -> None:
    projection = Projection(("t", "e", "a"), ("t", "e", "a"), "") if wanted else Projection((), (), "")
    decoded = Decoder(schema, projection).decode([body])
    assert [(row, why) for row, why, _ in decoded.bad] == [(0, reason)]


def test_a_message_says_where() -> None:
    schema = record(("id", "string"), ("x", ["null", "double"]), ("y", ["null", "double"]), ("name", "string"))
    decoded = Decoder(schema, Projection(("x", "y"), ("name",), "")).decode([b"\2a\0\2abc", b"\2a\0\0\2\xff"])
    assert [message for _, _, message in decoded.bad] == [
        "the record ends before its last field (byte 3 of the record's body, near field 'y')",
        "a string is not UTF-8 (byte 4 of the record's body, near field 'name')",
    ]


def test_a_schema_of_everything_is_refused_rather_than_compiled_for_ever() -> None:
    wide: Any = {"type": "record", "name": "T0", "fields": [{"name": "x", "type": "int"}]}
    for i in range(1, 30):
        wide = {
            "type": "record",
            "name": f"T{i}",
            "fields": [{"name": "a", "type": wide}, {"name": "b", "type": f"T{i - 1}"}],
        }
    skipped = Decoder(wide, Projection((), (), ""))
    assert [reason for _, reason, _ in skipped.decode([b""]).bad] == ["truncated"]
    deep = '{"type":"array","items":' * 900 + '"int"' + "}" * 900
    with pytest.raises(DecodeError, match="levels deep"):
        Decoder(deep, Projection((), (), ""))

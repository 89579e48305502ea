"""A batch of framed records: grouped by schema, bad ones apart, headers where the value says nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.avsc import WriterSchema, fingerprint, parse_schema
from driftbus.schemas.columns import MISSING_TIME, Projection
from driftbus.schemas.decode.batch import BatchDecoder, Headers, no_headers
from driftbus.schemas.errors import DecodeError, Unavailable
from driftbus.schemas.framing import (
    SCHEMA_ID_HEADER,
    SchemaKey,
    by_fingerprint,
    by_guid,
    by_id,
    frame,
    group_by_schema,
    header_key,
)

GUID = UUID("3fa85f64-5717-4562-b3fc-2c963f66afa6")


def schema_of(kind: str) -> dict[str, Any]:
    return {"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"}, {"name": "x", "type": kind}]}


DOUBLE, INT = schema_of("double"), schema_of("int")
PROJECTION = Projection(("x",), ("id",), "")


class Known:
    """A resolver of a few schemas that keeps count of what was asked."""

    def __init__(self, schemas: dict[SchemaKey, Any], bare: Any = None, down: bool = False) -> None:
        self.schemas = {key: parse_schema(schema) for key, schema in schemas.items()}
        self.bare: WriterSchema | None = parse_schema(bare) if bare else None
        self.down = down
        self.asked: list[SchemaKey] = []

    def knows(self, key: SchemaKey) -> bool:
        return key in self.schemas and not self.down

    def resolve(self, key: SchemaKey) -> WriterSchema:
        self.asked.append(key)
        if self.down:
            raise Unavailable("down")
        if key not in self.schemas:
            raise DecodeError("unknown_schema", f"no {key}")
        return self.schemas[key]


def double(name: str, x: float) -> bytes:
    return bytes([2 * len(name)]) + name.encode() + struct.pack("<d", x)


def small_int(name: str, x: int) -> bytes:
    return bytes([2 * len(name)]) + name.encode() + bytes([2 * x])


def headers(named: dict[int, bytes | None]) -> Callable[[int], Headers]:
    return lambda row: [("trace", b"1"), (SCHEMA_ID_HEADER, named[row])] if row in named else [("trace", b"1")]


def rows(decoder: BatchDecoder, values: list[bytes | None], of: Callable[[int], Headers] = no_headers) -> list[Any]:
    decoded = decoder.decode(values, of)
    reasons = {row: reason for row, reason, _ in decoded.bad}
    block = decoded.block
    assert [row in reasons for row in range(len(values))] == (~decoded.good).tolist()
    return [reasons.get(row) or (block.string(0, row), float(block.numeric[0, row])) for row in range(len(values))]


def test_schemas_and_bad_records_may_be_mixed_in_one_batch() -> None:
    other = by_fingerprint(fingerprint(INT))
    known = Known({by_id(7): DOUBLE, by_guid(GUID): INT, other: INT})
    decoder = BatchDecoder(PROJECTION, known, max_bytes=100)
    values = [
        frame(by_id(7), double("a", 1.5)),
        frame(by_guid(GUID), small_int("b", 2)),
        None,
        frame(other, small_int("c", 3)),
        frame(by_id(8), double("d", 4.5)),
        b"",
        b"\5nonsense",
        b"\0\0\0",
        frame(by_id(7), double("e", 5.5)) + b"!",
        bytes(101),
        frame(by_id(7), double("f", 6.5)),
    ]
    want = [
        ("a", 1.5), ("b", 2), "null_value", ("c", 3), "unknown_schema", "bad_magic", "bad_magic", "bad_magic",
        "trailing_bytes", "too_large", ("f", 6.5),
    ]  # fmt: skip
    assert rows(decoder, values) == want
    assert rows(decoder, values) == want
    assert rows(decoder, []) == []
    assert rows(decoder, [None]) == ["null_value"]


def test_the_schema_may_be_named_in_the_headers() -> None:
    known = Known({by_id(7): DOUBLE, by_guid(GUID): INT})
    decoder = BatchDecoder(PROJECTION, known)
    guid, by_seven = b"\1" + GUID.bytes, b"\0\0\0\0\7"
    bodies = [small_int("a", 1), double("b", 2.5), small_int("", 0), small_int("d", 4), b"\xff", small_int("f", 6)]
    named = {0: guid, 1: by_seven, 2: guid, 3: b"\0\0\0\0\x09", 4: guid, 5: b"junk"}
    want = [("a", 1), ("b", 2.5), ("", 0), "unknown_schema", "truncated", "bad_magic"]
    assert rows(decoder, bodies, headers(named)) == want
    assert rows(decoder, bodies, headers({})) == ["bad_magic"] * 6


def test_a_bare_value_that_looks_like_a_frame_is_read_by_its_headers() -> None:
    """Its first bytes are 00 and four more; the registry must not be asked about that id."""
    guid = b"\1" + GUID.bytes
    kind = {
        "type": "record",
        "name": "E",
        "fields": [{"name": n, "type": ["null", "int"]} for n in ("id", "x", "a", "b", "c")],
    }
    known = Known({by_guid(GUID): kind, by_id(7): DOUBLE})
    decoder = BatchDecoder(PROJECTION, known)
    looks_unknown, looks_known = b"\0\2\x0a\0\0\0", b"\0\0\0\0\2\x0e"
    framed = frame(by_id(7), double("z", 1.0))
    assert rows(decoder, [looks_unknown, framed], headers({0: guid}))[1] == ("z", 1.0)
    decoded = decoder.decode([looks_unknown, looks_known], headers({0: guid, 1: guid}))
    assert decoded.good.all()
    assert decoded.block.numeric[0, 0] == 5
    assert set(known.asked) == {by_guid(GUID), by_id(7)}


def test_bare_records_need_a_schema_file_and_single_objects_still_work() -> None:
    crc = by_fingerprint(fingerprint(INT))
    decoder = BatchDecoder(PROJECTION, Known({crc: INT}, bare=DOUBLE))
    framed = frame(by_id(7), double("a", 1.0))
    values = [double("a", 1.5), frame(crc, small_int("b", 2)), framed, double("", 0.0), None]
    assert rows(decoder, values) == [("a", 1.5), ("b", 2), "trailing_bytes", ("", 0.0), "null_value"]


def test_an_outage_is_not_the_record_s_fault() -> None:
    known = Known({by_id(7): DOUBLE}, down=True)
    decoder = BatchDecoder(PROJECTION, known)
    value = frame(by_id(7), double("a", 1.5))
    with pytest.raises(Unavailable):
        decoder.decode([value])
    known.down = False
    assert rows(decoder, [value]) == [("a", 1.5)]
    known.down = True
    assert rows(decoder, [value]) == [("a", 1.5)]


def test_a_batch_decodes_as_its_records_one_by_one() -> None:
    known = Known({by_id(7): DOUBLE, by_id(9): INT})
    together = BatchDecoder(PROJECTION, known)

    @given(
        st.lists(
            st.one_of(
                st.none(),
                st.binary(max_size=12),
                st.builds(lambda x: frame(by_id(7), double("id", x)), st.floats(allow_nan=False)),
                st.builds(lambda x: frame(by_id(9), small_int("ключ"[:2], x)), st.integers(0, 60)),
                st.builds(lambda b: frame(by_id(7), b), st.binary(max_size=20)),
            ),
            max_size=12,
        )
    )
    def holds(values: list[bytes | None]) -> None:
        alone = [rows(BatchDecoder(PROJECTION, known), [value])[0] for value in values]
        assert rows(together, values) == alone

    holds()


def test_text_that_is_written_out_survives_many_groups() -> None:
    schema = {"type": "record", "name": "E", "fields": [{"name": "n", "type": "long"}, {"name": "f", "type": "double"}]}
    known = Known({by_id(i): schema for i in range(300)})
    decoder = BatchDecoder(Projection((), ("n", "f"), "n"), known)
    values = [frame(by_id(i % 300), bytes([2 * (i % 60)]) + struct.pack("<d", i / 4)) for i in range(900)]
    for _ in range(2):
        decoded = decoder.decode(values)
        assert decoded.bad == []
        assert [decoded.block.string(0, i) for i in range(900)] == [str(i % 60) for i in range(900)]
        assert [decoded.block.string(1, i) for i in range(900)] == [f"{i / 4:g}" for i in range(900)]
    assert decoded.block.time_ms[0] != MISSING_TIME


def test_frames_are_what_they_say() -> None:
    keys = [by_id(0), by_id(2**32 - 1), by_guid(GUID), by_fingerprint(bytes(range(8)))]
    values = [frame(key, b"body") for key in keys] + [b"plain"]
    text = np.frombuffer(b"".join(values) + bytes(16), np.uint8)
    ends = np.cumsum([len(value) for value in values])
    starts = ends - [len(value) for value in values]
    groups, bodies = group_by_schema(text, starts, ends, np.arange(len(values)))
    assert {key: members.tolist() for key, members in groups} == {
        **{k: [i] for i, k in enumerate(keys)},
        SchemaKey(0): [4],
    }
    assert [values[i][bodies[i] - starts[i] :] for i in range(4)] == [b"body"] * 4
    assert bodies[4] == starts[4]
    assert header_key([("x", None)]) is None
    assert header_key([(SCHEMA_ID_HEADER, b"\0\0\0\1\0")]) == by_id(256)
    for wrong in (None, b"", b"\0\0\0\1", b"\1" + bytes(15), b"\2" + bytes(16)):
        with pytest.raises(DecodeError):
            header_key([(SCHEMA_ID_HEADER, wrong)])

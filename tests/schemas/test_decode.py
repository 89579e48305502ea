"""Every record of every schema decodes to what a plain reader and fastavro say, and nothing else is accepted."""

from __future__ import annotations

import io
import math
from typing import Any

import fastavro
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftbus.schemas.columns import NULL, PRESENT, Projection
from driftbus.schemas.decode.batch import Decoded, Decoder
from driftbus.schemas.decode.machine import DEPTH
from driftbus.schemas.fields import field_types
from driftbus.schemas.hashing import hash_bytes
from harness.avro import NO_TIME, Reader, cells, encode, plain, root_of, schemas, values, without_logical

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@st.composite
def projections(draw: st.DrawFn, schema: Any) -> Projection:
    """Some of the schema's paths, some map keys, some that don't exist; a path may be wanted several times."""
    real = st.sampled_from(list(field_types(schema)) or ["none"])
    odd = st.sampled_from([*"abcdef", "a.b", "a.a.b", "k", "key_2", "a.k", "b.ключ", "a rather long key", "no"])
    paths = st.one_of(real, real, real, odd)
    chosen = st.lists(paths, max_size=8, unique=True).map(tuple)
    time = draw(st.one_of(st.just(""), paths))
    return Projection(draw(chosen), draw(chosen), time, draw(st.sampled_from(["s", "ms", "us", "ns"])))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Projection, list[Any]]:
    schema = draw(schemas())
    records = draw(st.lists(values(root_of(schema)), min_size=1, max_size=3))
    return schema, draw(projections(schema)), records


def same_number(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-14, abs_tol=0)


def assert_row(decoded: Decoded, row: int, schema: Any, record: Any, projection: Projection) -> None:
    numbers, texts, time = cells(root_of(schema), record, projection)
    block = decoded.block
    for column, (status, number) in enumerate(numbers):
        assert block.numeric_status[column, row] == status, projection.numeric[column]
        if status == PRESENT:
            assert same_number(block.numeric[column, row], number), projection.numeric[column]
    for column, (status, text) in enumerate(texts):
        assert block.text_status[column, row] == status, projection.strings[column]
        found = block.string(column, row)
        if status == PRESENT:
            assert found is not None
            if isinstance(text, float):
                assert not found.endswith(".0")
                assert float(found) == text or np.float32(found) == np.float32(text)
            else:
                assert found == text
            assert int(block.text_hash[column, row]) == hash_bytes(found.encode())
        else:
            assert found is None
    if time != NO_TIME or block.time_ms[row] == NO_TIME:
        assert block.time_ms[row] == time


def assert_bad(decoded: Decoded, row: int) -> None:
    assert not decoded.good[row]
    assert decoded.block.time_ms[row] == NO_TIME
    assert (decoded.block.numeric_status[:, row] == NULL).all()
    assert (decoded.block.text_status[:, row] == NULL).all()


@given(cases(), st.booleans())
@settings(suppress_health_check=SLOW, max_examples=200)
def test_columns_are_what_fastavro_reads(case: tuple[Any, Projection, list[Any]], sizes: bool) -> None:
    schema, projection, records = case
    root = root_of(schema)
    bodies = [encode(root, record, sizes=sizes) for record in records]
    parsed = fastavro.parse_schema(without_logical(schema))
    for body, record in zip(bodies, records, strict=True):
        read = fastavro.schemaless_reader(io.BytesIO(body), parsed, None)
        assert repr(read) == repr(plain(root, record))
    decoded = Decoder(schema, projection).decode(bodies)
    assert decoded.bad == []
    for row, record in enumerate(records):
        assert_row(decoded, row, schema, record, projection)


@given(cases(), st.booleans(), st.data())
@settings(suppress_health_check=SLOW, max_examples=150)
def test_damaged_records_are_refused_or_mean_what_they_say(
    case: tuple[Any, Projection, list[Any]], sizes: bool, data: st.DataObject
) -> None:
    schema, projection, records = case
    root = root_of(schema)
    body = encode(root, records[0], sizes=sizes)
    damaged = [body[:i] for i in range(min(len(body), 60))]
    damaged += [body + b"\0", body + body, b""]
    for _ in range(20):
        changed = bytearray(body or b"\0")
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.one_of(st.sampled_from([0, 1, 2, 3, 0x7F, 0x80, 0xFF]), st.integers(0, 255)))
        damaged.append(bytes(changed))
    damaged += [data.draw(st.binary(max_size=40)) for _ in range(10)]
    mixed = [part for other in damaged for part in (body, other)]
    decoded = Decoder(schema, projection).decode(mixed)
    parsed = fastavro.parse_schema(without_logical(schema))
    reasons = {row: reason for row, reason, _ in decoded.bad}
    assert sorted(reasons) == [row for row in range(len(mixed)) if not decoded.good[row]]
    for row, other in enumerate(mixed):
        try:
            record = Reader(other).whole(root)
        except (ValueError, RecursionError):
            assert_bad(decoded, row)
            continue
        if reasons.get(row) in ("too_deep", "too_many_items"):
            assert_bad(decoded, row)
            continue
        assert decoded.good[row], reasons[row]
        assert_row(decoded, row, schema, record, projection)
        assert repr(fastavro.schemaless_reader(io.BytesIO(other), parsed, None)) == repr(plain(root, record))


def test_depth_is_bounded_by_the_record_not_by_the_reader() -> None:
    schema = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "x", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
    }
    projection = Projection(("x", "next.x"), (), "")
    chain = [b"\2\2" * n + b"\2\0" for n in (0, 1, DEPTH - 2, DEPTH + 50, 100_000)]
    decoded = Decoder(schema, projection).decode(chain)
    assert decoded.good.tolist() == [True, True, True, False, False]
    assert [reason for _, reason, _ in decoded.bad] == ["too_deep", "too_deep"]
    assert decoded.block.numeric[:, 1].tolist() == [1, 1]
    endless = {"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}
    assert [r for _, r, _ in Decoder(endless, projection).decode([b"", b"\0"]).bad] == ["too_deep", "too_deep"]

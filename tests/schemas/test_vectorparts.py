"""Embeddings as columns: what fastavro reads, projected by numpy, is what the decoder's cells hold."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.schemas.avsc import Node
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Projection
from driftbus.schemas.decode.batch import Decoded, Decoder
from driftbus.schemas.fields import field_types
from driftbus.schemas.hashing import scattered
from driftbus.schemas.vectorparts import (
    DIRECTIONS,
    MOST_COORDINATES,
    PARTS,
    derived_columns,
    derived_names,
    project,
    split_name,
)
from harness.avro import Branch, encode, root_of

Vector = list[float | None] | None


def signs(length: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Those of each direction: float64[8, length]."""
    bits = scattered(np.arange(length, dtype=np.uint64))
    return np.array([np.where((bits >> np.uint64(k)) & np.uint64(1), 1.0, -1.0) for k in range(DIRECTIONS)])


def expected(vector: Vector) -> list[tuple[int, float]]:
    """(status, value) of each part."""
    if vector is None:
        return [(NULL, 0.0)] * len(PARTS)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array([np.nan if v is None else v for v in vector], np.float64)
        squares = float(np.sum(values**2))
    if len(vector) > MOST_COORDINATES or not np.isfinite(squares):
        return [(INVALID, 0.0)] * len(PARTS)
    if not vector:
        return [(PRESENT, 0.0), *[(NULL, 0.0)] * (len(PARTS) - 1)]
    projections = signs(len(vector)) @ values / np.sqrt(len(vector))
    return [(PRESENT, float(v)) for v in (len(vector), np.sqrt(squares), *projections)]


def assert_cells(numeric: Any, status: Any, vectors: list[Vector]) -> None:
    for row, vector in enumerate(vectors):
        for part, (known, value) in enumerate(expected(vector)):
            assert status[part, row] == known
            if known == PRESENT:
                # the norm has 16 bits; a projection may be a small difference of large sums
                size = 1e-12 * float(np.sum(np.abs(np.array(vector, np.float64))))
                assert numeric[part, row] == pytest.approx(value, rel=1.6e-5 if part == 1 else 1e-12, abs=size)


def of_lists(vectors: list[Vector]) -> tuple[Any, Any]:
    values = [np.nan if v is None else v for vector in vectors for v in vector or []]
    lengths = np.array([len(vector or []) for vector in vectors], np.int64)
    status = np.array([NULL if vector is None else PRESENT for vector in vectors], np.uint8)
    return project(np.array(values, np.float64), lengths, status)


def record(kind: Any) -> dict[str, Any]:
    inner = {"type": "record", "name": "I", "fields": [{"name": "emb", "type": kind}, {"name": "y", "type": "int"}]}
    return {
        "type": "record",
        "name": "E",
        "fields": [{"name": "x", "type": "double"}, {"name": "in", "type": ["null", inner]}],
    }


def tagged(node: Node, value: Any) -> Any:
    """The value with the number of its branch in each union of null and one other type."""
    if node.kind == "union":
        number = next(i for i, branch in enumerate(node.branches) if (branch.kind == "null") == (value is None))
        return Branch(number, tagged(node.branches[number], value))
    if node.kind == "record":
        return {name: tagged(child, value[name]) for name, child, _ in node.fields}
    return [tagged(node.item, item) for item in value] if node.kind == "array" else value


def written(schema: Any, row: Any, sizes: bool = False) -> bytes:
    return encode(root_of(schema), tagged(root_of(schema), row), sizes=sizes)


def decoded(schema: Any, rows: list[Any], sizes: bool = False, names: tuple[str, ...] = ()) -> Decoded:
    projection = Projection(names or derived_names("in.emb"), (), "")
    return Decoder(schema, projection).decode([written(schema, row, sizes) for row in rows])


numbers = st.one_of(st.floats(-100, 100, width=32), st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")]))


@given(
    st.sampled_from(["float", "double"]),
    st.sampled_from(["plain", "nullable", "nullable first"]),
    st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), numbers), max_size=20)), min_size=1, max_size=6),
    st.booleans(),
)
@settings(max_examples=150)
def test_cells_are_projections_of_what_fastavro_reads(kind: str, items: str, drawn: list[Vector], sizes: bool) -> None:
    item: Any = {"plain": kind, "nullable": [kind, "null"], "nullable first": ["null", kind]}[items]
    vectors: list[Vector] = [
        None if v is None else [0.5 if x is None and items == "plain" else x for x in v] for v in drawn
    ]
    schema = record(["null", {"type": "array", "items": item}])
    rows = [{"x": 1.0, "in": {"emb": vector, "y": 7}} for vector in vectors] + [{"x": 1.0, "in": None}]
    parsed = fastavro.parse_schema(schema)
    read: list[Vector] = []
    for row in rows:
        body = written(schema, row, sizes)
        inner: Any = fastavro.schemaless_reader(io.BytesIO(body), parsed, None)["in"]  # type: ignore[index,call-overload]
        read.append(inner and inner["emb"])
    found = decoded(schema, rows, sizes)
    assert found.bad == []
    assert_cells(found.block.numeric, found.block.numeric_status, read)
    of_file, status = of_lists(read)
    assert np.array_equal(found.block.numeric_status, status)
    same = np.where(status == PRESENT, found.block.numeric, 0.0)
    assert same.tobytes() == np.where(status == PRESENT, of_file, 0.0).tobytes()


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["float", ["null", "double"]]))
@settings(max_examples=100)
def test_whether_a_record_is_good_does_not_depend_on_who_reads_its_vector(seed: int, sizes: bool, item: Any) -> None:
    rng = np.random.default_rng(seed)
    schema = record({"type": "array", "items": item})
    body = written(schema, {"x": 1.0, "in": {"emb": [0.5, -2.0, 3.0], "y": 7}}, sizes)
    damaged = [body[:i] for i in range(len(body))] + [body + b"\0"]
    for _ in range(40):
        changed = bytearray(body)
        changed[int(rng.integers(9, len(body)))] = int(rng.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFF, rng.integers(256)]))
        damaged.append(bytes(changed))
    with_vector = Decoder(schema, Projection(derived_names("in.emb"), (), "")).decode(damaged)
    without = Decoder(schema, Projection((), (), "")).decode(damaged)
    assert [bad[:2] for bad in with_vector.bad] == [bad[:2] for bad in without.bad]
    assert (with_vector.block.numeric_status[:, ~with_vector.good] == NULL).all()


def test_smallest_count_and_too_large_count_are_refused() -> None:
    schema = record({"type": "array", "items": "float"})
    head = np.float64(1.0).tobytes() + b"\x02"
    smallest = head + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x00" + b"\x00\x0e"
    large = head + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x00" * 8
    found = Decoder(schema, Projection(derived_names("in.emb"), (), "")).decode([smallest, large])
    assert [reason for _, reason, _ in found.bad] == ["bad_length", "truncated"]


def test_long_vectors_are_invalid_and_what_follows_is_read() -> None:
    schema = record({"type": "array", "items": "float"})
    vectors: list[Vector] = [[1.0] * MOST_COORDINATES, [1.0] * (MOST_COORDINATES + 1), []]
    rows = [{"x": 1.0, "in": {"emb": vector, "y": 7}} for vector in vectors]
    found = decoded(schema, rows, names=(*derived_names("in.emb"), "in.y"))
    assert_cells(found.block.numeric, found.block.numeric_status, vectors)
    assert found.block.numeric[-1].tolist() == [7.0] * 3


def test_parts_may_be_wanted_in_any_order_one_by_one_and_beside_other_uses() -> None:
    schema = record({"type": "array", "items": "double"})
    names = ("in.emb[3]", "x", "in.emb", "in.emb[length]", "in.emb[8]")
    found = decoded(schema, [{"x": 4.0, "in": {"emb": [1.0, 2.0], "y": 7}}], names=names).block
    assert found.numeric_status[:, 0].tolist() == [PRESENT, PRESENT, INVALID, PRESENT, NULL]
    assert found.numeric[[1, 3], 0].tolist() == [4.0, 2.0]
    assert found.numeric[0, 0] == pytest.approx(signs(2)[3] @ [1.0, 2.0] / np.sqrt(2))


@pytest.mark.parametrize(
    "kind", ["double", "string", {"type": "array", "items": "int"}, {"type": "map", "values": "double"}]
)
def test_what_is_no_array_of_floats_is_invalid(kind: Any) -> None:
    value = {"double": 1.0, "string": "a"}.get(
        kind if isinstance(kind, str) else "", [1] if "items" in kind else {"length": 1.0}
    )
    found = decoded(record(kind), [{"x": 1.0, "in": {"emb": value, "y": 7}}])
    assert found.bad == []
    assert (found.block.numeric_status == INVALID).all()


def test_a_key_of_a_map_may_be_called_like_a_part() -> None:
    schema = {"type": "record", "name": "E", "fields": [{"name": "f", "type": {"type": "map", "values": "double"}}]}
    found = Decoder(schema, Projection(("emb[0]",), (), "")).decode([written(schema, {"f": {"emb[0]": 2.5}})])
    assert found.block.numeric[0, 0] == 2.5


def test_fields_of_floats_are_vectors() -> None:
    kinds = {
        name: field.kind for name, field in field_types(record({"type": "array", "items": ["null", "float"]})).items()
    }
    assert kinds["in.emb"] == "vector"
    assert field_types(record({"type": "array", "items": "string"}))["in.emb"].kind == "other"


def test_names() -> None:
    names = [*derived_names("a.b"), "c[length]", "c[0]", "x"]
    assert derived_columns(names) == dict.fromkeys(derived_names("a.b"), "a.b")
    assert split_name("a.b[7]") == ("a.b", PARTS.index("7"))
    assert [split_name(name) for name in ("a[8]", "a", "[0]", "a[0]b")] == [None] * 4


def test_unit_vectors_have_one_norm() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((500, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found, _ = of_lists(vectors.astype(np.float64).tolist())
    assert np.unique(found[PARTS.index("norm")]).tolist() == [1.0]


def test_projections_keep_distances() -> None:
    """The mean over directions of a squared projection is the squared norm / d (Johnson and Lindenstrauss)."""
    vectors = np.random.default_rng(2).standard_normal((400, 256))
    found, _ = of_lists(vectors.tolist())
    ratio = (found[2:] ** 2).mean() / (vectors**2).mean()
    assert ratio == pytest.approx(1.0, abs=0.1)

"""Schemas as a graph, their fingerprints, folders of them, and what their fields are."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.schemas.avsc import fingerprint, nodes, parse_schema
from driftbus.schemas.avscfiles import AvscFiles
from driftbus.schemas.columns import Projection
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.errors import ConfigError, DecodeError
from driftbus.schemas.fields import FieldType, field_types
from driftbus.schemas.framing import by_fingerprint, by_id, frame
from driftbus.schemas.hashing import hash_bytes, hash_many
from harness.avro import schemas

ADDRESS = {"type": "record", "name": "Address", "namespace": "a.b", "fields": [{"name": "zip", "type": "int"}]}
EVENT = {
    "type": "record",
    "name": "a.b.Event",
    "doc": "An event.",
    "fields": [
        {"name": "home", "type": ["null", "Address"], "doc": "where"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["X", "Y"]}, "order": "ignore"},
    ],
}


@given(schemas())
@settings(max_examples=100)
def test_fingerprints_are_fastavro_s(schema: Any) -> None:
    canonical = to_parsing_canonical_form(fastavro.parse_schema(schema))
    assert fingerprint(schema).hex() == fastavro_fingerprint(canonical, "CRC-64-AVRO")


def test_the_specification_s_fingerprint() -> None:
    assert fingerprint('"int"') == (0x7275D51A3F395C8F).to_bytes(8, "little")
    assert fingerprint("int") == fingerprint({"type": "int", "logicalType": "date"})


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "not JSON"),
        ("[]", "without branches"),
        ("5", "5 is not a type"),
        ("{}", "is not a type"),
        ('{"type": 5}', "5 is not a type"),
        ('"Foo"', "'Foo' is not defined"),
        ('{"type": "array"}', "array without items"),
        ('{"type": "map"}', "map without values"),
        ('{"type": "record", "fields": []}', "record without a name"),
        ('{"type": "record", "name": "A"}', "'A' without fields"),
        ('{"type": "record", "name": "A", "fields": [5]}', "a field without name or type"),
        ('{"type": "record", "name": "A", "fields": [{"name": "x", "type": "y"}]}', "field 'x': .*'y' is not defined"),
        (
            '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "int"}, {"name": "x", "type": "int"}]}',
            "two fields of one name",
        ),
        ('{"type": "enum", "name": "A", "symbols": "ab"}', "without symbols"),
        ('{"type": "enum", "name": "A", "symbols": ["\\ud800"]}', "not text"),
        ('{"type": "fixed", "name": "A", "size": -1}', "without a size"),
        ('{"type": "fixed", "name": "A", "size": true}', "without a size"),
        ('[{"type": "fixed", "name": "A", "size": 1}, {"type": "enum", "name": "A", "symbols": []}]', "defined twice"),
        ('{"type": ' * 300 + '"int"' + "}" * 300, "levels deep"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_schema_is_refused(schema: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        parse_schema(schema)
    assert caught.value.reason == "bad_schema"


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_is_a_schema_or_refused(value: Any) -> None:
    with contextlib.suppress(DecodeError):
        parse_schema(json.dumps(value))


def test_names_are_found_through_namespaces_and_references() -> None:
    schema = parse_schema(EVENT, [ADDRESS])
    assert {node.name for node in nodes(schema.root) if node.name} == {"a.b.Event", "a.b.Address", "a.b.Kind"}
    assert list(field_types(schema)) == ["home.zip", "kind"]


def test_fields_have_kinds() -> None:
    def typed(name: str, kind: Any, doc: str = "") -> dict[str, Any]:
        return {"name": name, "type": kind, "doc": doc}

    node = {"type": "record", "name": "N", "fields": [typed("v", "float"), typed("next", ["null", "N"])]}
    schema = {
        "type": "record",
        "name": "E",
        "fields": [
            typed("id", "string", "request id"),
            typed("ts", {"type": "long", "logicalType": "timestamp-micros"}),
            typed("born", ["null", {"type": "int", "logicalType": "date"}]),
            typed("at", {"type": "int", "logicalType": "time-millis"}),
            typed("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
            typed("flag", "boolean"),
            typed("kind", ["null", {"type": "enum", "name": "K", "symbols": ["X", "Y"]}]),
            typed("raw", "bytes"),
            typed("mixed", ["null", "bytes", "int", "string"]),
            typed("numbers", {"type": "map", "values": ["null", "double"]}),
            typed("words", ["null", {"type": "map", "values": "string"}]),
            typed("lists", {"type": "map", "values": {"type": "array", "items": "int"}}),
            typed("list", node),
        ],
    }
    assert field_types(json.dumps(schema)) == {
        "id": FieldType("categorical", "string", doc="request id"),
        "ts": FieldType("time", "long", "timestamp-micros"),
        "born": FieldType("time", "int", "date", nullable=True),
        "at": FieldType("numeric", "int", "time-millis"),
        "price": FieldType("numeric", "bytes", "decimal"),
        "flag": FieldType("categorical", "boolean"),
        "kind": FieldType("categorical", "enum", nullable=True, symbols=("X", "Y")),
        "raw": FieldType("other", "bytes"),
        "mixed": FieldType("numeric", "union", nullable=True),
        "numbers": FieldType("map_numeric", "map"),
        "words": FieldType("map_text", "map", nullable=True),
        "lists": FieldType("other", "map"),
        "list.v": FieldType("numeric", "float"),
        "list.next": FieldType("other", "record", nullable=True),
    }


def test_a_folder_of_files_knows_fingerprints_and_its_own_types(tmp_path: Path) -> None:
    (tmp_path / "z_address.avsc").write_text(json.dumps(ADDRESS))
    (tmp_path / "event.avsc").write_text(json.dumps(EVENT))
    whole = json.loads(json.dumps(EVENT).replace('"Address"', json.dumps(ADDRESS)))
    key = by_fingerprint(fingerprint(whole))
    files = AvscFiles(tmp_path)
    assert files.bare is None
    decoder = BatchDecoder(Projection(("home.zip",), ("kind",), ""), files)
    decoded = decoder.decode([frame(key, b"\2\x0e\2"), b"\2\x0e\2", frame(by_id(1), b"\0\0")])
    assert [reason for _, reason, _ in decoded.bad] == ["bad_magic", "unknown_schema"]
    assert decoded.block.numeric[0, 0] == 7
    assert decoded.block.string(0, 0) == "Y"
    bare = BatchDecoder(Projection(("home.zip",), (), ""), AvscFiles(tmp_path / "event.avsc"))
    again = bare.decode([b"\2\x0e\2", frame(key, b"\2\x0e\2")])
    assert again.good.all()
    assert again.block.numeric[0].tolist() == [7, 7]


def test_files_that_can_t_be_used_are_named(tmp_path: Path) -> None:
    for content, why in [(None, "can't read"), ("{", "can't read"), ('"Foo"', "'Foo' is not defined")]:
        file = tmp_path / "x.avsc"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match=why) as caught:
            AvscFiles(file, key="monitors.m.predictions.schema_file")
        assert "x.avsc" in str(caught.value)
        assert caught.value.key.endswith("schema_file")
    (tmp_path / "x.avsc").unlink()
    with pytest.raises(ConfigError, match=r"no \.avsc file"):
        AvscFiles(tmp_path)


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_hashes_depend_on_the_text_alone(texts: list[bytes]) -> None:
    hashes = hash_many(texts).tolist()
    assert hashes == [hash_bytes(text) for text in texts]
    assert len(set(hashes)) == len(set(texts))


def test_hashes_stay_the_same_for_ever() -> None:
    """Samples and identities rest on them."""
    assert [f"{hash_bytes(text):016x}" for text in (b"", b"a", b"category", b"a longer text, of 30 bytes ...")] == [
        "17fb89ee9dcab42a",
        "53130af8b44a6ba2",
        "d2286a96b434a5db",
        "d7b74578aa41db24",
    ]

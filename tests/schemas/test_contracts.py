"""The schemas of the bus: documented, evolvable, and able to read every byte that was ever written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from driftbus.schemas.contracts import contract, contract_names, fingerprint, make_contract, writer_of
from harness.golden import GOLDEN, as_json, records

NAMES = contract_names()
SAVED = sorted(path.name.removesuffix(".avsc") for path in GOLDEN.glob("*.avsc"))


def record_types(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from record_types(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from record_types(field["type"])
        else:
            for key in ("type", "items", "values"):
                yield from record_types(schema.get(key))


def test_all_contracts_are_there() -> None:
    inputs, bus = (
        ["FeatureEvent", "LabelEvent", "PredictionEvent"],
        ["ComparisonEvent", "DriftEvent", "Incident", "PerformanceReport", "RetrainTrigger"],
    )
    inner = ["ManualRetrain", "MonitorState", "Profile", "Registration", "SummaryPart"]
    assert sorted([*inputs, *bus, *inner]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_documented_and_has_a_default(name: str) -> None:
    schema = contract(name).schema
    assert schema["name"] == f"io.driftbus.{name}"
    for record in record_types(schema):
        assert len(record["doc"]) > 10, record["name"]
        for field in record["fields"]:
            assert field.get("doc", "").endswith("."), f"{record['name']}.{field['name']} needs a doc"
            assert "default" in field, f"{record['name']}.{field['name']} needs a default, or it can never be removed"


@pytest.mark.parametrize("name", NAMES)
def test_times_say_their_unit(name: str) -> None:
    for record in record_types(contract(name).schema):
        for field in record["fields"]:
            if "timestamp-millis" in json.dumps(field["type"]):
                assert "milliseconds since 1970-01-01T00:00:00Z" in field["doc"]


@pytest.mark.parametrize("name", NAMES)
def test_the_current_schema_is_saved(name: str) -> None:
    """A change of a schema needs golden files of the new version: PYTHONPATH=tests python -m harness.golden."""
    assert f"{name}.{contract(name).fingerprint.hex()}" in SAVED


def restricted(value: Any, other: Any) -> Any:
    """A value without the fields, at any depth, that the other does not have."""
    if isinstance(value, dict):
        return {key: restricted(value[key], other[key]) for key in value.keys() & other.keys()}
    if isinstance(value, list) and len(value) == len(other):
        return [restricted(a, b) for a, b in zip(value, other, strict=True)]
    return value


@pytest.mark.parametrize("saved", SAVED)
def test_old_bytes_stay_readable(saved: str) -> None:
    """Every version ever released: known by its fingerprint, and its bytes still give what they gave."""
    value = (GOLDEN / f"{saved}.bin").read_bytes()
    writer = writer_of(value)
    assert saved == f"{writer.name}.{writer.fingerprint.hex()}", "keep the old schema in schemas/avro/history/"
    stream = io.BytesIO(value[10:])
    current: Any = contract(writer.name).plain
    read = as_json(schemaless_reader(stream, writer.plain, current))
    assert stream.read() == b""
    expected = json.loads((GOLDEN / f"{saved}.json").read_text())
    assert restricted(read, expected) == restricted(expected, read)


@pytest.mark.parametrize("saved", SAVED)
def test_full_transitive(saved: str) -> None:
    """Every saved version reads what the current one writes, and the other way round."""
    old = make_contract(json.loads((GOLDEN / f"{saved}.avsc").read_text()))
    new = contract(old.name)
    for writer, reader in ((old, new), (new, old)):
        for record in records(old.name):
            stream = io.BytesIO()
            schemaless_writer(stream, writer.plain, record)
            stream.seek(0)
            read: Any = schemaless_reader(stream, writer.plain, reader.plain)
            assert read.keys() == {field["name"] for field in reader.schema["fields"]}
            assert stream.read() == b""


def test_fingerprints_are_those_of_the_specification() -> None:
    """Values of Apache Avro's own test suite (share/test/data/schema-tests.txt)."""
    known = {"null": 0x63DD24E7CC258F8A, "boolean": 0x9F42FC78A4D4F764, "int": 0x7275D51A3F395C8F}
    for name, value in known.items():
        assert fingerprint(parse_schema(name)) == value.to_bytes(8, "little")


def test_golden_files_are_complete() -> None:
    assert {path.suffix for path in GOLDEN.iterdir()} >= {".avsc", ".bin", ".json"}
    for saved in SAVED:
        assert all((GOLDEN / f"{saved}{suffix}").is_file() for suffix in (".avsc", ".bin", ".json"))
        assert Path(GOLDEN / f"{saved}.bin").stat().st_size > 10

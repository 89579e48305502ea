"""The Avro schemas of the bus: the current ones, and every older one that bytes may still be written with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from driftbus.schemas.errors import DecodeError

SINGLE_OBJECT = b"\xc3\x01"
"""First bytes of Avro's single-object encoding; eight bytes of fingerprint follow."""

_FOLDER = Path(__file__).parent / "avro"


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one schema of the bus.

    Attributes:
        name: record name without namespace (``DriftEvent``).
        source: the schema as JSON values, as written.
        schema: the same parsed by fastavro.
        plain: the same without logical types, so that times are read as plain integers.
        fingerprint: CRC-64-AVRO of the parsing canonical form, eight bytes, little-endian.
        header: what a single-object encoded value begins with.
    """

    name: str
    source: Any
    schema: Any
    plain: Any
    fingerprint: bytes
    header: bytes


def fingerprint(schema: Any) -> bytes:
    """CRC-64-AVRO fingerprint of a schema's parsing canonical form, as it stands in single-object encoding.

    Source: Avro specification 1.12, "Schema fingerprints" and "Single-object encoding".
    """
    return bytes.fromhex(fastavro_fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def make_contract(source: Any) -> Contract:
    """A contract from a schema as JSON values."""
    crc = fingerprint(source)
    name = str(source["name"]).rpartition(".")[2]
    return Contract(
        name, source, parse_schema(source), parse_schema(_without_logical_types(source)), crc, SINGLE_OBJECT + crc
    )


@cache
def contract(name: str) -> Contract:
    """The current version of a schema (``SummaryPart``, ``DriftEvent``, ...)."""
    return make_contract(json.loads(schema_text(name)))


@cache
def schema_text(name: str) -> str:
    """The current schema as JSON text, for a registry or a file."""
    return (_FOLDER / f"{name}.avsc").read_text(encoding="utf-8")


def contract_names() -> list[str]:
    """Names of all schemas of the bus, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.avsc"))


def writer_of(value: bytes) -> Contract:
    """The schema that a single-object encoded value was written with, of whatever version.

    Raises:
        DecodeError: it is not single-object encoded, or written by a schema that this version does not have.
    """
    found = known_contracts().get(value[2:10])
    if found is not None and value[:2] == SINGLE_OBJECT:
        return found
    if value[:2] != SINGLE_OBJECT:
        raise DecodeError(
            "bad_magic", f"begins with {value[:2].hex() or 'nothing'}, not with c301 (Avro single-object)"
        )
    if len(value) < 10:
        raise DecodeError("truncated", "ends inside the schema fingerprint")
    raise DecodeError(
        "unknown_schema",
        f"schema fingerprint {value[2:10].hex()} is not known; was it written by a newer driftbus?",
    )


@cache
def known_contracts() -> dict[bytes, Contract]:
    """All versions of all schemas of the bus, by fingerprint.

    Older ones lie in avro/history/ as NAME.FINGERPRINT.avsc and are never removed while their bytes may live.
    """
    older = [make_contract(json.loads(path.read_text(encoding="utf-8"))) for path in _FOLDER.glob("history/*.avsc")]
    return {each.fingerprint: each for each in [*older, *map(contract, contract_names())]}


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    return schema

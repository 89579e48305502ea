"""Records that can't be counted, and why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.framing import by_id, frame
from harness.avro import varint

from .installation import body, framed

START_MS = 1_760_000_000_000
FIELDS: list[dict[str, Any]] = [
    {"name": "ts", "type": ["null", "long"]},
    {"name": "income", "type": ["null", "double"]},
    {"name": "age", "type": "int"},
    {"name": "country", "type": ["null", "string"]},
]


def record_schema(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


LOAN = record_schema("Loan", *FIELDS)
WITHOUT_INCOME = record_schema("LoanWithoutIncome", FIELDS[0], *FIELDS[2:])
WITHOUT_TIME = record_schema("LoanWithoutTime", *FIELDS[1:])
TEXTUAL = record_schema(
    "LoanOfText", *FIELDS[:1], *({"name": n, "type": "string"} for n in ("income", "age", "country"))
)
NULLS = record_schema("Nulls", *FIELDS, {"name": "rest", "type": {"type": "array", "items": "null"}})
CHAIN = record_schema("Chain", *FIELDS, {"name": "next", "type": ["null", "Chain"]})
ENDLESS = record_schema("Endless", *FIELDS, {"name": "next", "type": "Endless"})
SCHEMAS = {schema["name"]: schema for schema in (LOAN, WITHOUT_INCOME, WITHOUT_TIME, TEXTUAL, NULLS, CHAIN, ENDLESS)}

DRAFT = "http://json-schema.org/draft-07/schema#"
NOWHERE = 987_654
"""A schema id that the registry does not have."""


def loan(i: int, **changes: Any) -> dict[str, Any]:
    """The i-th of a partition's good records: all in one pane."""
    country = ["PT", "ES", "FR", None][i % 4]
    return {"ts": START_MS + i, "income": 900.0 + 40 * i, "age": 20 + i, "country": country} | changes


def reference() -> Profile:
    rng = np.random.default_rng(5)
    countries = rng.choice(["PT", "ES", "FR"], 5_000, p=[0.5, 0.3, 0.2])
    columns: dict[str, NumericData | CategoryData] = {
        "income": NumericData(rng.normal(1_000, 100, 5_000)),
        "age": NumericData(rng.integers(18, 70, 5_000).astype(float)),
        "country": CategoryData(countries.astype(object)),
    }
    return build_profile("credit", "predictions", columns)


@dataclass(frozen=True)
class Ids:
    """Schema ids by record name, and one of a schema that is not Avro."""

    by_name: dict[str, int]
    not_avro: int

    def framed(self, name: str, record: dict[str, Any]) -> bytes:
        return framed(self.by_name[name], SCHEMAS[name], record)


@dataclass(frozen=True)
class Bad:
    """A record that can't be counted.

    Args:
        name: of the case.
        reason: why not.
        make: its bytes; None is a tombstone.
    """

    name: str
    reason: str
    make: Callable[[Ids], bytes | None]


def _loan(tail: bytes) -> Callable[[Ids], bytes]:
    """Bytes that begin as a loan and go on as they like."""
    return lambda ids: frame(by_id(ids.by_name["Loan"]), varint(1) + varint(START_MS) + tail)


def _mars(name: bytes) -> bytes:
    """The rest of a loan whose country is some bytes."""
    return varint(0) + varint(30) + varint(1) + varint(len(name)) + name


def _of(name: str, tail: bytes, **changes: Any) -> Callable[[Ids], bytes]:
    """A loan in a larger schema, with the bytes of its last field."""
    return lambda ids: frame(by_id(ids.by_name[name]), body(LOAN, loan(0, **changes)) + tail)


BAD = [
    Bad("truncated", "truncated", lambda ids: ids.framed("Loan", loan(0))[:-1]),
    Bad("only a frame", "truncated", lambda ids: frame(by_id(ids.by_name["Loan"]), b"")),
    Bad("trailing bytes", "trailing_bytes", lambda ids: ids.framed("Loan", loan(0)) + b"!"),
    Bad("JSON", "bad_magic", lambda _: json.dumps(loan(0)).encode()),
    Bad("an unknown magic byte", "bad_magic", lambda ids: b"\x05" + ids.framed("Loan", loan(0))[1:]),
    Bad("no bytes", "bad_magic", lambda _: b""),
    Bad("too short for a frame", "bad_magic", lambda _: b"\0\0\0"),
    Bad("an id beyond all", "unknown_schema", lambda _: b"\0\xff\xff\xff\xff" + bytes(40)),
    Bad("bytes that look like a GUID", "unknown_schema", lambda _: b"\1" + bytes(range(40))),
    Bad("a fingerprint nobody knows", "unknown_schema", lambda _: b"\xc3\x01" + bytes(range(40))),
    Bad("not UTF-8", "bad_utf8", _loan(_mars(b"\xff\xfe"))),
    Bad("half a character", "bad_utf8", _loan(_mars("Österreich".encode()[:1]))),
    Bad("a length beyond the end", "bad_length", _loan(varint(0) + varint(30) + varint(1) + varint(2**40) + b"PT")),
    Bad("an absurd length", "bad_length", _loan(varint(0) + varint(30) + varint(1) + varint(2**63 - 1) + b"PT")),
    Bad("a negative length", "bad_length", _loan(varint(0) + varint(30) + varint(1) + varint(-2) + b"PT")),
    Bad("an endless integer", "bad_varint", _loan(varint(0) + b"\xff" * 30)),
    Bad("a union without such a branch", "bad_union", _loan(varint(7) + b"\0" * 30)),
    Bad("an array of 10^15 nulls", "too_many_items", _of("Nulls", varint(10**15) + b"\0")),
    Bad("arrays of nulls without end", "too_many_items", _of("Nulls", (varint(60_000)) * 9 + b"\0")),
    Bad("a chain that nests 10,000 deep", "too_deep", _of("Chain", (varint(1) + body(LOAN, loan(0))) * 10_000)),
    Bad("a schema that contains itself", "too_deep", _of("Endless", body(LOAN, loan(0)) * 2_000)),
    Bad("too large", "too_large", _loan(_mars(b"x" * 1_000_000))),
    Bad("a tombstone", "null_value", lambda _: None),
    Bad("no event time", "bad_event_time", lambda ids: ids.framed("Loan", loan(0, ts=None))),
    Bad(
        "no field of event time",
        "bad_event_time",
        lambda ids: ids.framed("LoanWithoutTime", {k: v for k, v in loan(0).items() if k != "ts"}),
    ),
    Bad("a negative event time", "bad_event_time", lambda ids: ids.framed("Loan", loan(0, ts=-1))),
    Bad("an event time at the end of days", "bad_event_time", lambda ids: ids.framed("Loan", loan(0, ts=2**62))),
    Bad(
        "an event time beyond its Kafka timestamp",
        "bad_event_time",
        lambda ids: ids.framed("Loan", loan(0, ts=START_MS + 3_600_001)),
    ),
    Bad("a schema that nobody has", "unknown_schema", lambda _: framed(NOWHERE, LOAN, loan(0))),
    Bad("a schema that is not Avro", "bad_schema", lambda ids: framed(ids.not_avro, LOAN, loan(0))),
]

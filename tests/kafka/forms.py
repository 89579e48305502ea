"""The forms that people send events in: the same rows, each with its schema and its way of naming it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.contracts import fingerprint
from driftbus.schemas.framing import by_fingerprint, by_guid, by_id, frame
from driftbus.schemas.jsonlines import iso_utc

from .installation import body, framed

START_MS = 1_760_000_000_000
ROWS, DRIFT_FROM, STEP_MS = 4_000, 2_000, 100
Row = dict[str, Any]


def make_rows() -> list[Row]:
    """Scored applications; from the 2,000th on incomes are higher."""
    rng = np.random.default_rng(8)
    income = rng.lognormal(7, 0.4, ROWS).round(2)
    income[DRIFT_FROM:] = (income[DRIFT_FROM:] * 1.5).round(2)
    missing, age = rng.random(ROWS) < 0.05, rng.integers(18, 80, ROWS)
    country, channel = rng.choice(["PT", "ES", "FR"], ROWS), rng.choice(["web", "app"], ROWS)
    score, returning = rng.beta(2, 5, ROWS), rng.random(ROWS) < 1 / 3
    return [
        {
            "ts": START_MS + i * STEP_MS,
            "id": f"r{i}",
            "version": "12",
            "income": None if missing[i] else float(income[i]),
            "age": int(age[i]),
            "country": str(country[i]),
            "channel": str(channel[i]),
            "returning": "true" if returning[i] else "false",
            "score": float(score[i]),
        }
        for i in range(ROWS)
    ]


CATEGORIES = {
    "country": ["PT", "ES", "FR"],
    "channel": ["web", "app"],
    "returning": ["true", "false", "false"],
    "outcome": ["paid", "lost"],
}
NUMERIC, CATEGORICAL = ("income", "age"), ("country", "channel", "returning")


def make_profile(monitor: str, stream: str, names: dict[str, str]) -> Profile:
    """The reference of columns, by the names that they have in a stream: name → name among the rows."""
    rng = np.random.default_rng(9)
    columns: dict[str, NumericData | CategoryData] = {}
    for name, source in names.items():
        if source == "income":
            columns[name] = NumericData(rng.lognormal(7, 0.4, 5_000), rng.random(5_000) >= 0.05)
        elif source == "age":
            columns[name] = NumericData(rng.integers(18, 80, 5_000).astype(float))
        elif source == "score":
            columns[name] = NumericData(rng.beta(2, 5, 5_000), role="score")
        else:
            role: Any = "label" if source == "outcome" else "feature"
            columns[name] = CategoryData(rng.choice(CATEGORIES[source], 5_000).astype(object), role)
    return build_profile(monitor, stream, columns)


def record(name: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()], **more}


FLAT_TYPES = {
    "ts": "long",
    "version": "string",
    "income": ["null", "double"],
    "age": "int",
    "country": "string",
    "channel": "string",
    "returning": "boolean",
    "score": "double",
}
FLAT = record("Scored", FLAT_TYPES)
EVOLVED = {
    **FLAT,
    "fields": [
        {"name": "region", "type": ["null", "string"], "default": None},
        *[f for f in FLAT["fields"] if f["name"] != "channel"],
    ],
}
ISO = record("Scored", FLAT_TYPES | {"ts": "string"})
SECONDS = record("Scored", FLAT_TYPES | {"ts": "double"})
TIMELESS = record("Scored", {name: type_ for name, type_ in FLAT_TYPES.items() if name != "ts"})
NESTED = record(
    "Decision",
    {
        "meta": record("Meta", {"at": {"type": "long", "logicalType": "timestamp-micros"}, "version": "string"}),
        "customer": [
            "null",
            record(
                "Customer",
                {
                    "income": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
                    "age": "int",
                    "place": record("Place", {"country": {"type": "enum", "name": "C", "symbols": ["PT", "ES", "FR"]}}),
                },
            ),
        ],
        "channel": ["string", "null"],
        "returning": "boolean",
        "score": "float",
    },
)


def flat(row: Row) -> Row:
    return row | {"returning": row["returning"] == "true"}


def nested(row: Row) -> Row:
    income = row["income"]
    return {
        "meta": {"at": row["ts"] * 1000 + 999, "version": row["version"]},
        "customer": {
            "income": None if income is None else Decimal(str(income)),
            "age": row["age"],
            "place": {"country": row["country"]},
        },
        "channel": row["channel"],
        "returning": row["returning"] == "true",
        "score": row["score"],
    }


@dataclass
class Form:
    """One form of events.

    Args:
        monitor: who watches it.
        encode: arguments of produce from the number of a row, the row and the registry ids by schema.
        source: its mapping in driftbus.yaml.
        columns: name of a column → name among the rows.
        schemas: what is registered for it, in order.
        lost: names that a row's form has no field for.
    """

    monitor: str
    encode: Callable[[int, Row, list[int]], dict[str, Any]]
    source: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=lambda: {n: n for n in (*NUMERIC, *CATEGORICAL, "score")})
    schemas: tuple[dict[str, Any], ...] = ()
    lost: Callable[[int], set[str]] = lambda _: set()


def evolved(i: int, row: Row, ids: list[int]) -> dict[str, Any]:
    newer = i % 3 == 0
    return {"value": framed(ids[newer], EVOLVED if newer else FLAT, flat(row) | {"region": "north"})}


def by_its_guid(i: int, row: Row, ids: list[int]) -> dict[str, Any]:
    """With the GUID in front of the value, or in a header."""
    key, value = by_guid(UUID(int=ids[0])), body(FLAT, flat(row))
    if i % 2:
        return {"value": frame(key, value)}
    return {"value": value, "headers": [("__value_schema_id", frame(key, b""))]}


FORMS = [
    Form("evolved", evolved, schemas=(FLAT, EVOLVED), lost=lambda i: {"channel"} if i % 3 == 0 else set()),
    Form(
        "header",
        lambda _, row, ids: {
            "value": body(TIMELESS, flat(row)),
            "headers": [("__value_schema_id", frame(by_id(ids[0]), b""))],
        },
        {"time": ""},
        schemas=(TIMELESS,),
    ),
    Form("guid", by_its_guid, schemas=(FLAT,)),
    Form(
        "single",
        lambda _, row, __: {
            "value": frame(by_fingerprint(fingerprint(ISO)), body(ISO, flat(row) | {"ts": iso_utc(row["ts"])}))
        },
        {"schema_file": "schemas"},
    ),
    Form(
        "bare",
        lambda _, row, __: {"value": body(SECONDS, flat(row) | {"ts": row["ts"] / 1000})},
        {"schema_file": "schemas/seconds.avsc", "time_unit": "s"},
    ),
    Form(
        "nested",
        lambda _, row, ids: {"value": framed(ids[0], NESTED, nested(row))},
        {"time": "meta.at", "version": "meta.version"},
        {
            "customer.income": "income",
            "age": "age",
            "customer.place.country": "country",
            "channel": "channel",
            "returning": "returning",
            "score": "score",
        },
        (NESTED,),
    ),
]
FORMS[-1].source["rename"] = {"customer.age": "age"}

"""Decoding against fastavro: the same records, the same columns, one thread, ratios of one run.

Three shapes of a prediction event with 20 numbers, 5 categories, id, model, time and score:
flat, with nullable features, and with features in two maps. fastavro builds a dict per record;
driftbus fills a block from Confluent-framed values, framing included.
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import fastavro

from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.columns import Projection
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.framing import SchemaKey, by_id, frame

NUMBERS = [f"n{i}" for i in range(20)]
TEXTS = [f"c{i}" for i in range(5)]
HEAD = [
    {"name": "id", "type": "string"},
    {"name": "model", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "score", "type": "double"},
]
PROJECTION = Projection((*NUMBERS, "score"), (*TEXTS, "id", "model"), "ts")


def _record(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": "Event", "fields": HEAD + fields}


SCHEMAS = {
    "flat": _record([{"name": n, "type": "double"} for n in NUMBERS] + [{"name": n, "type": "string"} for n in TEXTS]),
    "nullable": _record(
        [{"name": n, "type": ["null", "double"]} for n in NUMBERS]
        + [{"name": n, "type": ["null", "string"]} for n in TEXTS]
    ),
    "map": _record(
        [
            {"name": "numeric", "type": {"type": "map", "values": "double"}},
            {"name": "categorical", "type": {"type": "map", "values": "string"}},
        ]
    ),
}


class _One:
    """The resolver of a registry that holds one schema."""

    bare = None

    def __init__(self, schema: WriterSchema) -> None:
        self._schema = schema

    def knows(self, key: SchemaKey) -> bool:
        return key == by_id(1)

    def resolve(self, key: SchemaKey) -> WriterSchema:
        if not self.knows(key):
            raise DecodeError("unknown_schema", str(key))
        return self._schema


def events(shape: str, n: int) -> list[bytes]:
    """n records of a shape, bare."""
    rng = random.Random(7)
    parsed = fastavro.parse_schema(SCHEMAS[shape])
    out: list[bytes] = []
    for i in range(n):
        numbers = {name: rng.gauss(0, 1) for name in NUMBERS}
        texts = {name: f"category-{rng.randrange(40)}" for name in TEXTS}
        record: dict[str, Any] = {
            "id": f"{rng.getrandbits(64):016x}",
            "model": f"model-{rng.randrange(8):02d}",
            "ts": 1_700_000_000_000 + i,
            "score": rng.random(),
        }
        if shape == "map":
            record |= {"numeric": numbers, "categorical": texts}
        else:
            missing = 0.05 if shape == "nullable" else 0.0
            record |= {k: None if rng.random() < missing else v for k, v in {**numbers, **texts}.items()}
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, record)
        out.append(buffer.getvalue())
    return out


def seconds_per(call: Callable[[], object], records: int, budget_s: float = 1.0) -> float:
    """Best time per record of repeated calls, in seconds."""
    best, until = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best / records


def main() -> int:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"decode, batches of {n}: microseconds a record")
    print(f"{'':10}{'fastavro':>10}{'driftbus':>10}{'ratio':>8}")
    for shape in SCHEMAS:
        bodies = events(shape, n)
        framed = [frame(by_id(1), body) for body in bodies]
        parsed = fastavro.parse_schema(SCHEMAS[shape])
        decoder = BatchDecoder(PROJECTION, _One(parse_schema(SCHEMAS[shape])))
        decoded = decoder.decode(framed)
        assert decoded.good.all()
        ours = seconds_per(lambda: decoder.decode(framed), n)  # noqa: B023
        theirs = seconds_per(
            lambda: [fastavro.schemaless_reader(io.BytesIO(body), parsed, None) for body in bodies],  # noqa: B023
            n,
        )
        print(f"{shape:10}{theirs * 1e6:10.2f}{ours * 1e6:10.3f}{theirs / ours:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

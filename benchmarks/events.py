"""The event of all benchmarks: 20 numbers, 5 categories, id, model, time and score, as Avro.

Values are drawn once, from a fixed seed: normal, lognormal, exponential, uniform and two-humped
numbers, Zipf-distributed categories, 2 % nulls where the schema allows them. The same rows come
again and again with a growing event time, so that a topic of millions of records is made in
seconds and its panes are real.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.config import Config
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.framing import SchemaKey, by_id, frame

NUMBERS = tuple(f"n{i:02d}" for i in range(20))
TEXTS = tuple(f"c{i}" for i in range(5))
NULLS = 0.02
START_MS = 1_760_000_000_000
EVENTS_PER_S = 5_000
"""Events per second of event time."""

_HEAD: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "model", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "score", "type": "double"},
]


def _record(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": "Event", "fields": _HEAD + fields}


SCHEMAS: dict[str, dict[str, Any]] = {
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


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows as columns.

    Args:
        numbers: float64[20, n].
        texts: n category names for each of the 5 categorical columns.
        nulls: bool[25, n], where a nullable schema writes null.
        score: float64[n].
        model: n model versions.
    """

    numbers: NDArray[np.float64]
    texts: list[list[str]]
    nulls: NDArray[np.bool_]
    score: NDArray[np.float64]
    model: list[str]

    @property
    def n(self) -> int:
        return self.score.size


def rows(n: int, seed: int = 0) -> Rows:
    """n rows; two model versions, four fifths and one fifth of them."""
    rng = np.random.default_rng(seed)
    shapes = (
        lambda j: rng.normal(j, 1 + j / 4, n),
        lambda _: rng.lognormal(0, 0.6, n),
        lambda j: rng.exponential(2 + j, n),
        lambda j: rng.uniform(-1, 1, n) * j,
        lambda _: np.where(rng.random(n) < 0.3, rng.normal(-3, 1, n), rng.normal(3, 1, n)),
    )
    numbers = np.array([shapes[j % 5](j) for j in range(len(NUMBERS))])
    cardinalities = (4, 12, 40, 60, 120)
    texts = [[f"category-{v:03d}" for v in np.minimum(rng.zipf(1.3, n), c).tolist()] for c in cardinalities]
    return Rows(
        numbers=numbers,
        texts=texts,
        nulls=rng.random((len(NUMBERS) + len(TEXTS), n)) < NULLS,
        score=1 / (1 + np.exp(-rng.normal(0, 1.5, n))),
        model=[f"model-{v}" for v in (rng.random(n) < 0.2).astype(int).tolist()],
    )


def records(data: Rows, shape: str) -> Iterator[dict[str, Any]]:
    """The rows as what a serving process would hand to an Avro encoder."""
    nullable = shape == "nullable"
    columns = data.numbers.tolist()
    for i in range(data.n):
        numbers = {name: columns[j][i] for j, name in enumerate(NUMBERS)}
        texts = {name: data.texts[j][i] for j, name in enumerate(TEXTS)}
        record = {"id": f"{i:016x}", "model": data.model[i], "ts": START_MS, "score": float(data.score[i])}
        if shape == "map":
            record |= {"numeric": numbers, "categorical": texts}
        else:
            features: dict[str, Any] = {**numbers, **texts}
            if nullable:
                for j, name in enumerate(features):
                    if data.nulls[j, i]:
                        features[name] = None
            record |= features
        yield record


class Encoded:
    """Avro records of rows, Confluent-framed, whose event time can be set cheaply.

    Args:
        data: the rows.
        shape: a key of `SCHEMAS`.
        framed: with a Confluent frame of schema id 1, else bare.
    """

    def __init__(self, data: Rows, shape: str = "nullable", *, framed: bool = True) -> None:
        parsed = fastavro.parse_schema(SCHEMAS[shape])
        marker = _zigzag(START_MS)
        self._cut: list[tuple[bytes, bytes]] = []
        for record in records(data, shape):
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed, record)
            head, tail = buffer.getvalue().split(marker, 1)
            self._cut.append((frame(by_id(1), head) if framed else head, tail))

    def values(self, first: int, n: int, *, own_ids: bool = False) -> list[bytes]:
        """Records first to first + n of an endless stream at `EVENTS_PER_S`.

        Without a frame each can have an id of its own, its number; otherwise ids come again with the rows.
        """
        cut, size = self._cut, len(self._cut)
        if own_ids:
            return [
                b"\x20%016x" % i
                + cut[i % size][0][17:]
                + _zigzag(START_MS + i * 1000 // EVENTS_PER_S)
                + cut[i % size][1]
                for i in range(first, first + n)
            ]
        return [
            cut[i % size][0] + _zigzag(START_MS + i * 1000 // EVENTS_PER_S) + cut[i % size][1]
            for i in range(first, first + n)
        ]


def _zigzag(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class OneSchema:
    """The resolver of a registry that holds one schema, under id 1."""

    bare = None

    def __init__(self, shape: str = "nullable") -> None:
        self._schema = parse_schema(SCHEMAS[shape])

    def knows(self, key: SchemaKey) -> bool:
        return key == by_id(1)

    def resolve(self, key: SchemaKey) -> WriterSchema:
        if not self.knows(key):
            raise DecodeError("unknown_schema", str(key))
        return self._schema


def profile(data: Rows, monitor: str = "bench") -> Profile:
    """The reference that the events are compared with: the 25 features and the score."""
    columns: dict[str, NumericData | CategoryData] = {
        name: NumericData(data.numbers[j], ~data.nulls[j]) for j, name in enumerate(NUMBERS)
    }
    for j, name in enumerate(TEXTS):
        nulls = data.nulls[len(NUMBERS) + j]
        columns[name] = CategoryData([None if null else v for v, null in zip(data.texts[j], nulls, strict=True)])
    columns["score"] = NumericData(data.score, role="score")
    return build_profile(monitor, "predictions", columns)


def config(
    monitor: str = "bench",
    topic: str = "predictions",
    schema_file: str | None = None,
    profile: str | None = None,
    **sections: Any,
) -> Config:
    """One monitor of the events with every default; `sections` are whole keys of driftbus.yaml."""
    stream = {
        "topic": topic, "schema_file": schema_file, "time": "ts", "id": "id", "score": "score", "version": "model",
    }  # fmt: skip
    sections.setdefault("kafka", {"bootstrap": "unused:9092"})
    return Config.model_validate({"monitors": {monitor: {"predictions": stream, "profile": profile}}, **sections})

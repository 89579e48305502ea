"""Avro schemas, records and damage at random, from a seed: faster than hypothesis's, which also shrinks."""

from __future__ import annotations

import random
import struct
from typing import Any

from driftbus.schemas.avsc import Node
from driftbus.schemas.columns import Projection
from driftbus.schemas.fields import field_types
from driftbus.schemas.vectorparts import derived_names
from harness.avro import LOGICAL, PRIMITIVE, Branch, has_field, varint

NAMES = "abcdef"
KEYS = ("k", "key_2", "a", "ключ", "a rather long key", "")
TEXTS = ("", "PT", "a", "2024-02-29T01:02:03.004Z", "1999-12-31", "ключ", "x" * 63, "𝄞\x00\n", "9" * 30)
NUMBERS = (0, 1, -1, 63, 64, 8191, 8192, 1_700_000_000_000, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63))
REALS = (0.0, -0.0, 1.0, -1.5, 1e15, 1e16, 5e-324, 1.8e308 / 2, float("inf"), float("-inf"), float("nan"), 1.7e12)
BYTES = (0x00, 0x01, 0x02, 0x03, 0x7F, 0x80, 0xFE, 0xFF)
VARINTS = tuple(varint(n) for n in (0, 1, -1, 2, -2, 64, -64, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63)))
ODD_VARINTS = (b"\x80\x00", b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\x80" * 12)


class SchemaMaker:
    """Makes one random schema: nested, named, reused and recursive types, unions of any shape, logical types."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._count = rng, 0
        self._reusable: list[str] = []

    def record(self, depth: int = 4, around: tuple[str, ...] = ()) -> dict[str, Any]:
        """A record schema."""
        name = self._name()
        count = self._rng.randint(0 if around else 1, 6)
        fields = [{"name": f, "type": self._node(depth - 1, (*around, name))} for f in NAMES[:count]]
        self._reusable.append(name)
        return {"type": "record", "name": name, "fields": fields}

    def _name(self) -> str:
        self._count += 1
        return f"T{self._count}"

    def _node(self, depth: int, around: tuple[str, ...]) -> Any:
        rng = self._rng
        kind = rng.choice(["leaf"] * 5 + ["nullable"] * 4 + ["union", "array", "map", "record", "self", "vector"])
        if depth <= 0 or kind == "leaf":
            return self._leaf()
        if kind in ("nullable", "union"):
            return self._union(depth, around, 1 if kind == "nullable" else rng.randint(1, 5), kind == "nullable")
        if kind == "array":
            return {"type": "array", "items": self._node(depth - 1, around)}
        if kind == "map":
            return {"type": "map", "values": self._node(depth - 1, around)}
        if kind == "vector":
            item = rng.choice(["float", "double"])
            return {"type": "array", "items": rng.choice([item, ["null", item], [item, "null"]])}
        if kind == "record":
            return self.record(depth - 1, around)
        return rng.choice([["null", around[-1]], [around[-1], "null"], {"type": "array", "items": around[0]}])

    def _leaf(self) -> Any:
        rng = self._rng
        kind = rng.choice(["primitive"] * 5 + ["logical"] * 2 + ["enum", "fixed", "reuse", "decimal"])
        if kind == "primitive":
            return rng.choice(PRIMITIVE)
        if kind == "logical":
            return rng.choice(LOGICAL)
        if kind == "decimal":
            scale = rng.choice([0, 2, 22, 23, 60, 400])
            return {"type": "bytes", "logicalType": "decimal", "precision": 400, "scale": scale}
        if kind == "reuse" and self._reusable:
            return rng.choice(self._reusable)
        new = self._name()
        self._reusable.append(new)
        if kind == "enum":
            symbols = ["red", "green", "a_much_longer_symbol", *(f"s{i}" for i in range(70))]
            return {"type": "enum", "name": new, "symbols": symbols[: rng.choice([1, 2, 3, 66])]}
        size, logical = rng.choice([(0, None), (3, None), (9, "decimal"), (16, "uuid"), (16, None), (1, "decimal")])
        more = {"logicalType": logical, "precision": 20, "scale": 5} if logical else {}
        return {"type": "fixed", "name": new, "size": size} | more

    def _union(self, depth: int, around: tuple[str, ...], count: int, nullable: bool) -> Any:
        branches: dict[str, Any] = {"null": "null"} if nullable else {}
        for _ in range(count):
            known = len(self._reusable)
            made = self._node(depth - 1, around)
            name = made if isinstance(made, str) else "[" if isinstance(made, list) else made.get("name", made["type"])
            if name == "[" or name in branches:
                del self._reusable[known:]
            else:
                branches[name] = made
        parts = list(branches.values())
        if nullable and self._rng.random() < 0.4:
            parts.reverse()
        return parts or ["long"]


def value(rng: random.Random, node: Node, depth: int = 6) -> Any:
    """A tagged value of a type, as `harness.avro` has them."""
    kind = node.kind
    if kind == "union":
        simple = [i for i, b in enumerate(node.branches) if depth > 0 or b.kind not in ("record", "map", "array")]
        null = [i for i, b in enumerate(node.branches) if b.kind == "null"]
        i = rng.choice(simple or null or [0])
        return Branch(i, value(rng, node.branches[i], depth - 1))
    if kind == "record":
        if depth < -40:
            raise RecursionError("a record that never ends")
        return {name: value(rng, child, depth - 1) for name, child, _ in node.fields}
    if kind in ("array", "map"):
        count = rng.choice((0, 0, 1, 1, 2, 3, 9 if depth > 3 else 1)) if depth > 0 else 0
        items = [value(rng, node.item, depth - 1) for _ in range(count)]
        return items if kind == "array" else {rng.choice(KEYS): item for item in items}
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "int":
        return rng.choice([rng.randint(-3, 70), rng.randint(-(2**31), 2**31 - 1)])
    if kind == "long":
        return rng.choice([rng.randint(-3, 70), rng.randint(-(2**63), 2**63 - 1), rng.choice(NUMBERS)])
    if kind in ("float", "double"):
        real = rng.choice([rng.choice(REALS), rng.gauss(0, 1e3), float(rng.randint(-50, 50))])
        return struct.unpack("<f", struct.pack("<f", real if abs(real) < 1e38 else 0.0))[0] if kind == "float" else real
    if kind == "string":
        return rng.choice(TEXTS)
    if kind in ("bytes", "fixed"):
        return rng.randbytes(node.size if kind == "fixed" else rng.randint(0, 12))
    return rng.randrange(len(node.symbols)) if kind == "enum" else None


def projection(rng: random.Random, schema: Any, root: Node) -> Projection:
    """Some of the schema's paths, parts of its vectors, map keys, and paths that don't exist."""
    kinds = field_types(schema)
    odd = [*NAMES, "a.b", "a.a.b", *KEYS[:-1], "a.k", "b.ключ", "no"]
    vectors = [part for path, kind in kinds.items() if kind.kind == "vector" for part in derived_names(path)]
    # a part of a vector is one only if no field has its name
    vectors = [part for part in vectors if not has_field(root, part)]

    def some() -> tuple[str, ...]:
        pool = [*kinds] * 3 + odd
        return tuple(dict.fromkeys(rng.choice(pool) for _ in range(rng.randint(0, 8))))

    numeric = some() + tuple(dict.fromkeys(rng.choices(vectors, k=rng.randint(0, 4)))) if vectors else some()
    time = rng.choice(["", rng.choice([*kinds, *odd])])
    return Projection(numeric, some(), time, rng.choice(["s", "ms", "us", "ns"]))


def damaged(rng: random.Random, body: bytes, other: bytes) -> bytes:
    """Bytes that were a record before one to four things happened to them."""
    data = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        at = rng.randint(0, len(data))
        how = rng.randrange(11)
        if how <= 2 and data:
            data[at % len(data)] = rng.choice(BYTES) if how else rng.randrange(256)
        elif how == 3 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how == 4:
            del data[at:]
        elif how == 5:
            del data[at : at + rng.randint(1, 4)]
        elif how == 6:
            data[at : at + rng.choice((0, 1))] = rng.choice(VARINTS)
        elif how == 7:
            data[at : at + rng.choice((0, 1))] = rng.choice(ODD_VARINTS)
        elif how == 8:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 20)))
        elif how == 9:
            data[at:] = other[rng.randint(0, len(other)) :]
        else:
            again = data[at : at + rng.randint(1, 16)]
            data[at:at] = again * rng.choice((1, 1, 2, 30))
    return bytes(data)

"""Avro the slow and plain way, to hold the fast way against: any schema, any record, one field after the other.

A value is tagged: of a union it is `Branch(index, value)`, so that nothing has to be guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from driftbus.schemas.avsc import Node, parse_schema
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Projection
from driftbus.schemas.decode.machine import ITEMS

NO_TIME = -(2**63)
FIXED_SIZES = {"null": 0, "float": 4, "double": 8}


class Branch(NamedTuple):
    """A value of a union."""

    number: int
    value: Any


# Schemas and values at random

LOGICAL = [
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    *(
        {"type": "long", "logicalType": f"{zone}timestamp-{unit}"}
        for zone in ("", "local-")
        for unit in ("millis", "micros", "nanos")
    ),
    {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
    {"type": "string", "logicalType": "uuid"},
]
PRIMITIVE = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "double", "string", "long"]
LEAF_KINDS = ["primitive"] * 4 + ["logical"] * 2 + ["enum", "fixed", "reuse"]
NODE_KINDS = ["leaf"] * 4 + ["nullable"] * 4 + ["union", "array", "map", "record", "record", "self"]


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """A record schema with nested, named, reused and recursive types, unions of any shape, logical types."""
    count = 0
    reusable: list[str] = []

    def name() -> str:
        nonlocal count
        count += 1
        return f"T{count}"

    def leaf() -> Any:
        kind = draw(st.sampled_from(LEAF_KINDS))
        if kind == "primitive":
            return draw(st.sampled_from(PRIMITIVE))
        if kind == "logical":
            return draw(st.sampled_from(LOGICAL))
        if kind == "reuse" and reusable:
            return draw(st.sampled_from(reusable))
        new = name()
        reusable.append(new)
        if kind == "enum":
            return {
                "type": "enum",
                "name": new,
                "symbols": ["red", "green", "a_much_longer_symbol"][: draw(st.integers(1, 3))],
            }
        fixed = draw(st.sampled_from([(0, None), (3, None), (9, "decimal"), (16, "uuid"), (16, None)]))
        logical = {"logicalType": fixed[1], "precision": 20, "scale": 5} if fixed[1] else {}
        return {"type": "fixed", "name": new, "size": fixed[0]} | logical

    def node(depth: int, around: tuple[str, ...]) -> Any:
        kind = draw(st.sampled_from(NODE_KINDS)) if depth else "leaf"
        if kind == "nullable":
            value = kept(lambda: node(depth - 1, around), lambda made: not isinstance(made, list) and made != "null")
            value = "double" if value is None else value
            return ["null", value] if draw(st.booleans()) else [value, "null"]
        if kind == "union":
            return union(depth, around)
        if kind == "array":
            return {"type": "array", "items": node(depth - 1, around)}
        if kind == "map":
            return {"type": "map", "values": node(depth - 1, around)}
        if kind == "record":
            return record(depth - 1, around)
        if kind == "self":
            return draw(
                st.sampled_from([["null", around[-1]], [around[-1], "null"], {"type": "array", "items": around[0]}])
            )
        return leaf()

    def union(depth: int, around: tuple[str, ...]) -> list[Any]:
        branches: dict[str, Any] = {}

        def new(made: Any) -> bool:
            return not isinstance(made, list) and branch_name(made) not in branches

        for _ in range(draw(st.integers(1, 4))):
            branch = kept(lambda: node(depth - 1, around), new)
            branches |= {} if branch is None else {branch_name(branch): branch}
        return list(branches.values()) or ["long"]

    def kept(make: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
        """What `make` gives, or None: then names that it defined are not reused either."""
        known = len(reusable)
        made = make()
        if wanted(made):
            return made
        del reusable[known:]
        return None

    def branch_name(schema: Any) -> str:
        return schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))

    def record(depth: int, around: tuple[str, ...]) -> Any:
        new = name()
        fields = [
            {"name": f, "type": node(depth, (*around, new))}
            for f in "abcdef"[: draw(st.integers(0 if around else 1, 6))]
        ]
        reusable.append(new)
        return {"type": "record", "name": new, "fields": fields}

    made: dict[str, Any] = record(3, ())
    return made


INTEGERS = st.one_of(
    st.integers(-3, 70), st.integers(-(2**63), 2**63 - 1), st.sampled_from([1_700_000_000_000, 20_000])
)


def values(node: Node, depth: int = 5) -> st.SearchStrategy[Any]:
    """A tagged value of a type."""
    if node.kind == "union":
        # deep down, the branches that end soonest
        indexes = [
            i for i, b in enumerate(node.branches) if depth > 0 or b.kind not in ("record", "map", "array", "union")
        ]
        chosen = indexes or [next((i for i, b in enumerate(node.branches) if b.kind == "null"), 0)]
        return st.sampled_from(chosen).flatmap(lambda i: _branch(node, i, depth))
    if node.kind == "record":
        return st.fixed_dictionaries({name: _later(child, depth - 1) for name, child, _ in node.fields})
    if node.kind == "array":
        return st.lists(values(node.item, depth - 1), max_size=3) if depth > 0 else st.just([])
    if node.kind == "map":
        keys = st.sampled_from(["k", "key_2", "a", "ключ", "a rather long key"])
        return st.dictionaries(keys, values(node.item, depth - 1), max_size=3) if depth > 0 else st.just({})
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": INTEGERS,
        "float": st.floats(width=32),
        "double": st.one_of(st.floats(), st.integers(-50, 50).map(float), st.just(1.7e12)),
        "bytes": st.binary(max_size=9),
        "string": st.one_of(st.text(max_size=20), st.sampled_from(["2024-02-29T01:02:03.004Z", "1999-12-31"])),
        "fixed": st.binary(min_size=node.size, max_size=node.size),
        "enum": st.integers(0, len(node.symbols) - 1),
    }
    return simple[node.kind]


def _later(node: Node, depth: int) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: values(node, depth))


def _branch(node: Node, i: int, depth: int) -> st.SearchStrategy[Branch]:
    return values(node.branches[i], depth - 1).map(lambda value: Branch(i, value))


# Bytes


def varint(number: int) -> bytes:
    """A zigzag varint."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


def encode(node: Node, value: Any, *, sizes: bool = False) -> bytes:
    """A tagged value as Avro; with `sizes`, arrays and maps come in blocks of one item with byte sizes."""

    def blocks(items: list[bytes]) -> bytes:
        if sizes:
            return b"".join(varint(-1) + varint(len(item)) + item for item in items) + b"\0"
        return varint(len(items)) + b"".join(items) + b"\0" if items else b"\0"

    if node.kind == "union":
        return varint(value.number) + encode(node.branches[value.number], value.value, sizes=sizes)
    if node.kind == "record":
        return b"".join(encode(child, value[name], sizes=sizes) for name, child, _ in node.fields)
    if node.kind == "array":
        return blocks([encode(node.item, item, sizes=sizes) for item in value])
    if node.kind == "map":
        return blocks([_sized(key.encode()) + encode(node.item, item, sizes=sizes) for key, item in value.items()])
    if node.kind in ("int", "long", "enum"):
        return varint(value)
    if node.kind in ("string", "bytes"):
        return _sized(value.encode() if node.kind == "string" else value)
    if node.kind == "fixed":
        return bytes(value)
    formats = {"null": b"", "boolean": b"\1" if value else b"\0"}
    return formats[node.kind] if node.kind in formats else struct.pack("<f" if node.kind == "float" else "<d", value)


def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


@dataclass
class Reader:
    """Reads tagged values back, as strictly as can be."""

    data: bytes
    at: int = 0

    def whole(self, node: Node) -> Any:
        """The one value that all the bytes are.

        Raises:
            ValueError: they are none.
        """
        value = self.value(node)
        if self.at != len(self.data):
            raise ValueError("trailing bytes")
        return value

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self.data) - self.at:
            raise ValueError("truncated")
        self.at += size
        return self.data[self.at - size : self.at]

    def long(self) -> int:
        raw = 0
        for shift in range(0, 70, 7):
            (byte,) = self.take(1)
            raw |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise ValueError("varint too long")
        if raw >> 64:
            raise ValueError("varint too large")
        return (raw >> 1) ^ -(raw & 1)

    def value(self, node: Node) -> Any:
        kind = node.kind
        if kind == "null":
            return None
        if kind in ("int", "long"):
            return self.long()
        if kind in ("union", "enum"):
            index = self.long()
            if not 0 <= index < len(node.branches or node.symbols):
                raise ValueError("no such branch or symbol")
            return Branch(index, self.value(node.branches[index])) if kind == "union" else index
        if kind == "boolean":
            (byte,) = self.take(1)
            if byte > 1:
                raise ValueError("no boolean")
            return bool(byte)
        if kind in ("float", "double"):
            return struct.unpack("<f" if kind == "float" else "<d", self.take(4 if kind == "float" else 8))[0]
        if kind in ("bytes", "string"):
            data = self.take(self.long())
            return data.decode() if kind == "string" else data
        if kind == "fixed":
            return self.take(node.size)
        if kind == "record":
            return {name: self.value(child) for name, child, _ in node.fields}
        return self.items(node)

    def items(self, node: Node) -> Any:
        found: list[Any] = []
        while (count := self.long()) != 0:
            size = self.long() if count < 0 else None
            if size is not None and not 0 <= size <= len(self.data) - self.at:
                raise ValueError("truncated")
            start, count = self.at, abs(count)
            if count > ITEMS:
                raise ValueError("too many items")
            for _ in range(count):
                key = [self.take(self.long()).decode()] if node.kind == "map" else []
                found.append((*key, self.value(node.item)))
            if size is not None and self.at != start + size:
                raise ValueError("block size")
        return found if node.kind == "map" else [item for (item,) in found]


def plain(node: Node, value: Any) -> Any:
    """A tagged value as fastavro gives it when it does not know logical types."""
    if node.kind == "union":
        return plain(node.branches[value.number], value.value)
    if node.kind == "record":
        return {name: plain(child, value[name]) for name, child, _ in node.fields}
    if node.kind == "array":
        return [plain(node.item, item) for item in value]
    if node.kind == "map":
        return {key: plain(node.item, item) for key, item in (value.items() if isinstance(value, dict) else value)}
    return node.symbols[value] if node.kind == "enum" else value


def without_logical(schema: Any) -> Any:
    """The same schema with bare types."""
    if isinstance(schema, dict):
        return {key: without_logical(value) for key, value in schema.items() if key != "logicalType"}
    return [without_logical(part) for part in schema] if isinstance(schema, list) else schema


# Columns

Cell = tuple[int, Any]


def cells(root: Node, value: Any, projection: Projection) -> tuple[list[Cell], list[Cell], int]:
    """(numbers, texts, event time) that a record must decode to."""
    numbers: dict[str, Cell] = {}
    texts: dict[str, Cell] = {}
    times: dict[str, int] = {}
    for path, node, leaf in _leaves(root, value, "", root):
        numbers[path] = number_cell(node, leaf)
        texts[path] = text_cell(node, leaf)
        times[path] = time_of(node, leaf, projection.time_unit)
    none: Cell = (NULL, None)
    return (
        [numbers.get(path, none) for path in projection.numeric],
        [texts.get(path, none) for path in projection.strings],
        times.get(projection.time, NO_TIME),
    )


def _leaves(node: Node, value: Any, path: str, root: Node) -> list[tuple[str, Node, Any]]:
    if node.kind == "union":
        return _leaves(node.branches[value.number], value.value, path, root)
    found = [(path, node, value)]
    if node.kind == "record":
        for name, child, _ in node.fields:
            found += _leaves(child, value[name], f"{path}.{name}" if path else name, root)
    if node.kind == "map":
        for key, item in value.items() if isinstance(value, dict) else value:
            inner, leaf = node.item, item
            while inner.kind == "union":
                inner, leaf = inner.branches[leaf.number], leaf.value
            found.append((f"{path}.{key}", inner, leaf))
            if "." not in path and not has_field(root, key):
                found.append((key, inner, leaf))
    return found


def has_field(node: Node, path: str) -> bool:
    """Whether some field of a schema has a path."""
    first, _, rest = path.partition(".")
    if node.kind == "union":
        return any(has_field(branch, path) for branch in node.branches)
    return any(name == first and (not rest or has_field(child, rest)) for name, child, _ in node.fields)


PER_MS = {"millis": 1, "micros": 1000, "nanos": 1_000_000}
PER_UNIT = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}


def number_cell(node: Node, value: Any) -> Cell:
    """What a value is as a number."""
    if node.kind == "null":
        return NULL, None
    if node.logical == "date":
        return PRESENT, float(value) * 86_400_000
    if node.logical == "decimal":
        return PRESENT, float(Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-node.scale))
    if node.kind in ("int", "long") and node.logical:
        return PRESENT, float(value) / PER_MS[node.logical.rpartition("-")[2]]
    if node.kind in ("int", "long", "float", "double", "boolean"):
        return PRESENT, float(value)
    return INVALID, None


def text_cell(node: Node, value: Any) -> Cell:
    """What a value is as text."""
    if node.kind == "null":
        return NULL, None
    if node.kind == "string":
        return PRESENT, value
    if node.kind == "enum":
        return PRESENT, node.symbols[value]
    if node.kind == "boolean":
        return PRESENT, "true" if value else "false"
    if node.kind in ("int", "long"):
        return PRESENT, str(value)
    if node.logical == "uuid":
        return PRESENT, str(UUID(bytes=value))
    if node.kind in ("float", "double") and abs(value) < float("inf"):
        return PRESENT, value
    return INVALID, None


def time_of(node: Node, value: Any, unit: str) -> int:
    """What a value is as an event time; texts are left to tests of their own."""
    multiply, divide = PER_UNIT[unit]
    if node.logical == "date":
        return _bounded(value * 86_400_000)
    if "timestamp" in node.logical:
        return _bounded(value // PER_MS[node.logical.rpartition("-")[2]])
    if node.kind in ("int", "long") and not node.logical:
        return _bounded(value * multiply // divide)
    if node.kind in ("float", "double") and abs(value) < 1e18:
        return _bounded(int((value * multiply / divide + 0.5) // 1))
    return NO_TIME


def _bounded(ms: int) -> int:
    return ms if abs(ms) <= 8_640_000_000_000_000 else NO_TIME


def root_of(schema: Any) -> Node:
    """The graph of a schema."""
    return parse_schema(schema).root

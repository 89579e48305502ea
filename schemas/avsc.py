"""Avro schemas as a small graph: names resolved, logical types checked, the rest of the text left behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastavro.schema import fingerprint as avro_fingerprint

from driftbus.schemas.errors import DecodeError

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
MAX_NESTING = 200
"""Deepest nesting of a schema's text; beyond it the schema is refused."""

_LOGICAL = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("string", "fixed"),
}


@dataclass(slots=True, eq=False)
class Node:
    """One type of a schema. A recursive schema is a graph with a cycle.

    Attributes:
        kind: Avro's word for it, ``union`` for a JSON array.
        name: full name of a named type, else "".
        logical: logical type where the specification lets it apply, else "".
        scale: of a decimal.
        size: of a fixed, in bytes.
        symbols: of an enum.
        fields: of a record, in the order of the bytes.
        branches: of a union.
        items: of an array or a map.
    """

    kind: str
    name: str = ""
    logical: str = ""
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    fields: tuple[tuple[str, Node, str], ...] = ()
    """(name, type, doc) of each."""
    branches: tuple[Node, ...] = ()
    items: Node | None = None

    @property
    def item(self) -> Node:
        """The item type of an array or map."""
        assert self.items is not None
        return self.items


@dataclass(frozen=True, slots=True, eq=False)
class WriterSchema:
    """A schema that records were written with.

    Attributes:
        root: its graph.
        text: the JSON it came from.
        references: JSON of the schemas it refers to, dependencies first.
    """

    root: Node
    text: str
    references: tuple[str, ...] = ()


@dataclass(slots=True)
class _Parser:
    names: dict[str, Node] = field(default_factory=dict)

    def node(self, schema: Any, namespace: str, depth: int = 0) -> Node:
        if depth > MAX_NESTING:
            raise _bad(f"nested more than {MAX_NESTING} levels deep")
        if isinstance(schema, str):
            return self._named(schema, namespace)
        if isinstance(schema, list):
            return self._union(schema, namespace, depth)
        if not isinstance(schema, dict) or "type" not in schema:
            raise _bad(f"{_brief(schema)} is not a type")
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self.node(kind, namespace, depth + 1)
        if kind in ("record", "error"):
            return self._record(schema, namespace, depth)
        if kind == "enum":
            return self._enum(schema, namespace)
        if kind == "fixed":
            return self._fixed(schema, namespace)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            if key not in schema:
                raise _bad(f"{kind} without {key}")
            return Node(kind, items=self.node(schema[key], namespace, depth + 1))
        if kind in PRIMITIVES:
            return _with_logical(Node(kind), schema)
        return self._named(kind, namespace)

    def _named(self, name: Any, namespace: str) -> Node:
        if name in PRIMITIVES:
            return Node(name)
        if not isinstance(name, str):
            raise _bad(f"{_brief(name)} is not a type")
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        found = self.names.get(full) or self.names.get(name)
        if found is None:
            raise _bad(f"type {full!r} is not defined")
        return found

    def _define(self, schema: dict[str, Any], namespace: str, node: Node) -> str:
        name, own = schema.get("name"), schema.get("namespace", namespace)
        if not isinstance(name, str) or not name or not isinstance(own, str):
            raise _bad(f"{node.kind} without a name")
        node.name = name if "." in name or not own else f"{own}.{name}"
        if node.name in self.names:
            raise _bad(f"type {node.name!r} is defined twice")
        self.names[node.name] = node
        return node.name.rpartition(".")[0]

    def _record(self, schema: dict[str, Any], namespace: str, depth: int) -> Node:
        node = Node("record")
        inner = self._define(schema, namespace, node)
        fields = schema.get("fields")
        if not isinstance(fields, list):
            raise _bad(f"record {node.name!r} without fields")
        parsed: list[tuple[str, Node, str]] = []
        for entry in fields:
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or "type" not in entry:
                raise _bad(f"record {node.name!r} has a field without name or type")
            try:
                kind = entry["type"]
                # a logical type beside "type" in the field itself is a common slip that readers ignore
                child = self.node(kind, inner, depth + 1)
            except DecodeError as error:
                raise _bad(f"field {name!r}: {error}", wrapped=True) from None
            parsed.append((name, child, str(entry.get("doc", ""))))
        if len({name for name, _, _ in parsed}) != len(parsed):
            raise _bad(f"record {node.name!r} has two fields of one name")
        node.fields = tuple(parsed)
        return node

    def _enum(self, schema: dict[str, Any], namespace: str) -> Node:
        node = Node("enum")
        self._define(schema, namespace, node)
        symbols = schema.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise _bad(f"enum {node.name!r} without symbols")
        if any("\ud800" <= character <= "\udfff" for symbol in symbols for character in symbol):
            raise _bad(f"enum {node.name!r} has a symbol that is not text")
        node.symbols = tuple(symbols)
        return node

    def _fixed(self, schema: dict[str, Any], namespace: str) -> Node:
        node = Node("fixed")
        self._define(schema, namespace, node)
        size = schema.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 31:
            raise _bad(f"fixed {node.name!r} without a size")
        node.size = size
        return _with_logical(node, schema)

    def _union(self, branches: list[Any], namespace: str, depth: int) -> Node:
        if not branches:
            raise _bad("a union without branches")
        return Node("union", branches=tuple(self.node(branch, namespace, depth + 1) for branch in branches))


def _with_logical(node: Node, schema: dict[str, Any]) -> Node:
    """The specification: a logical type that does not fit is ignored, the underlying type stays."""
    logical = schema.get("logicalType")
    if not isinstance(logical, str) or node.kind not in _LOGICAL.get(logical, ()):
        return node
    if logical == "decimal":
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision:
            return node
        node.scale = scale
    if logical == "uuid" and node.kind == "fixed" and node.size != 16:
        return node
    node.logical = logical
    return node


def _brief(schema: Any) -> str:
    text = repr(schema)
    return text if len(text) <= 60 else text[:57] + "..."


def _bad(message: str, *, wrapped: bool = False) -> DecodeError:
    return DecodeError("bad_schema", message if wrapped else f"not an Avro schema: {message}")


def parse_schema(schema: Any, references: Iterable[Any] = ()) -> WriterSchema:
    """Read an Avro schema.

    Args:
        schema: its JSON text, or the parsed JSON.
        references: schemas whose named types it uses, dependencies first, in the same forms.

    Raises:
        DecodeError: ``bad_schema``, with what is wrong and in which field.
    """
    parser = _Parser()
    texts = [_as_text(reference) for reference in references]
    for text in texts:
        parser.node(_as_json(text), "")
    text = _as_text(schema)
    return WriterSchema(parser.node(_as_json(text), ""), text, tuple(texts))


def _as_text(schema: Any) -> str:
    if isinstance(schema, str) and schema not in PRIMITIVES:
        return schema
    return json.dumps(schema)


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"not JSON: {error}") from None


def fingerprint(schema: Any) -> bytes:
    """CRC-64-AVRO of the parsing canonical form, as the 8 bytes of the single-object encoding.

    Args:
        schema: JSON text, parsed JSON, or a `WriterSchema`, whose references count as written out in it.
    """
    writer = schema if isinstance(schema, WriterSchema) else parse_schema(schema)
    canonical = json.dumps(_canonical(writer.root, set()), separators=(",", ":"), ensure_ascii=False)
    return bytes.fromhex(avro_fingerprint(canonical, "CRC-64-AVRO"))


def _canonical(node: Node, defined: set[str]) -> Any:
    if node.kind == "union":
        return [_canonical(branch, defined) for branch in node.branches]
    if node.kind == "array":
        return {"type": "array", "items": _canonical(node.item, defined)}
    if node.kind == "map":
        return {"type": "map", "values": _canonical(node.item, defined)}
    if node.kind in PRIMITIVES:
        return node.kind
    if node.name in defined:
        return node.name
    defined.add(node.name)
    if node.kind == "enum":
        return {"name": node.name, "type": "enum", "symbols": list(node.symbols)}
    if node.kind == "fixed":
        return {"name": node.name, "type": "fixed", "size": node.size}
    fields = [{"name": name, "type": _canonical(child, defined)} for name, child, _ in node.fields]
    return {"name": node.name, "type": "record", "fields": fields}


def nodes(root: Node) -> Iterator[Node]:
    """Every type of a schema once, the root first."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        waiting.extend(child for _, child, _ in reversed(node.fields))
        waiting.extend(reversed(node.branches))
        if node.items is not None:
            waiting.append(node.items)

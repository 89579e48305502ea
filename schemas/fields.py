"""What a topic's records are made of, field by field, for people and for planning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from driftbus.schemas.avsc import Node, WriterSchema, parse_schema
from driftbus.schemas.hashing import hash_bytes

FieldKind = Literal["numeric", "categorical", "time", "map_numeric", "map_text", "vector", "other"]

MAX_FIELDS = 10_000
"""Fields that are listed; the rest of a larger schema is left out."""

_FIELDS, _TEXT = 1_000, 200
_NUMBERS = ("int", "long", "float", "double")
_TIMES = ("date", "timestamp-", "local-timestamp-")


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field.

    Args:
        kind: what it can be watched as. ``time``: dates and timestamps; ``map_numeric`` and
            ``map_text``: each key is a column of its own, known only from the data. ``vector``: an
            array of floats or doubles, see `driftbus.schemas.vectorparts`.
        avro: Avro's own word for its type, ``union`` for several.
        logical: logical type, "" if none.
        nullable: whether null is allowed, for itself or a record around it.
        doc: the schema's description, "" if none.
        symbols: of an enum.
    """

    kind: FieldKind
    avro: str
    logical: str = ""
    nullable: bool = False
    doc: str = ""
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriterFields:
    """The fields of a schema that records were written with, as they travel with counts.

    Args:
        fingerprint: hash of the rest: schemas of equal fields are one.
        fields: (path, type) of each, in order of paths, at most 1,000, texts of at most 200 characters; the type is
            the logical one or Avro's own, with a question mark when it may be null.
    """

    fingerprint: int
    fields: tuple[tuple[str, str], ...]


def writer_fields(schema: WriterSchema) -> WriterFields:
    """The fields of a writer schema; `DecodeError` as in `field_types`."""
    told = sorted(
        (path[:_TEXT], f"{kind.logical or kind.avro}{'?' if kind.nullable else ''}"[:_TEXT])
        for path, kind in field_types(schema).items()
    )[:_FIELDS]
    text = "\n".join(f"{path}\t{kind}" for path, kind in told)
    return WriterFields(hash_bytes(text.encode()), tuple(told))


def field_types(writer_schema: Any) -> dict[str, FieldType]:
    """The fields of a schema by dotted path, in the order of the schema; records themselves are not listed.

    A union of several types has the kind of the first that can be watched. A record within itself
    is listed as ``other``.

    Args:
        writer_schema: JSON text, parsed JSON, or a `WriterSchema`.

    Raises:
        DecodeError: ``bad_schema``.
    """
    schema = writer_schema if isinstance(writer_schema, WriterSchema) else parse_schema(writer_schema)
    found: dict[str, FieldType] = {}
    _walk(schema.root, "", "", False, (), found)
    return found


def _walk(
    node: Node, path: str, doc: str, nullable: bool, within: tuple[Node, ...], found: dict[str, FieldType]
) -> None:
    if len(found) >= MAX_FIELDS:
        return
    branches = node.branches if node.kind == "union" else (node,)
    nullable = nullable or any(branch.kind == "null" for branch in branches)
    records = [branch for branch in branches if branch.kind == "record" and branch not in within]
    for record in records:
        for name, child, child_doc in record.fields:
            _walk(child, f"{path}.{name}" if path else name, child_doc, nullable, (*within, record), found)
    others = [branch for branch in branches if branch.kind != "null" and branch not in records]
    if not path or path in found or not others:
        return
    branch = next((branch for branch in others if _kind(branch) != "other"), others[0])
    avro = branch.kind if len(others) == 1 else "union"
    found[path] = FieldType(_kind(branch), avro, branch.logical, nullable, doc, branch.symbols)


def _kind(node: Node) -> FieldKind:
    if node.logical.startswith(_TIMES):
        return "time"
    if node.kind in _NUMBERS or node.logical == "decimal":
        return "numeric"
    if node.kind in ("string", "enum", "boolean") or node.logical == "uuid":
        return "categorical"
    if node.kind == "map":
        values = [_kind(branch) for branch in node.item.branches or (node.item,) if branch.kind != "null"]
        if values and values[0] in ("numeric", "categorical"):
            return "map_numeric" if values[0] == "numeric" else "map_text"
    if node.kind == "array":
        items = [branch.kind for branch in node.item.branches or (node.item,) if branch.kind != "null"]
        if items in (["float"], ["double"]) and len(node.item.branches) != 1:
            return "vector"
    return "other"

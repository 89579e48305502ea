"""What two slow readers say of a record, and where the fast one differs from them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np

from driftbus.schemas.avsc import Node, nodes
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Projection
from driftbus.schemas.decode.batch import Decoded
from driftbus.schemas.decode.shape import Sizes
from driftbus.schemas.hashing import hash_bytes, scattered
from driftbus.schemas.vectorparts import MOST_COORDINATES, split_name
from harness.avro import NO_TIME, Branch, cells, has_field, plain, without_logical

from .strict import strict_reader

OURS = frozenset({"too_deep", "too_many_items"})
"""Reasons that a reader without bounds does not have."""

STRICTER = frozenset({
    "trailing_bytes", "bad_utf8", "bad_varint", "bad_length", "bad_union", "bad_enum", "bad_boolean", "too_deep",
    "truncated",
})  # fmt: skip
"""Reasons for which a record may be refused that fastavro reads: docs/decoding.md has each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input.

    Args:
        fault: what is wrong with us, "" if nothing.
        good: whether it was decoded.
        reason: why it was not.
        lenient: whether fastavro reads it all the same.
    """

    fault: str
    good: bool
    reason: str = ""
    lenient: bool = False


class Oracle:
    """Holds one schema's records against a strict reader in Python and against fastavro.

    Args:
        schema: parsed JSON.
        root: its graph.
        wanted: the columns.
    """

    def __init__(self, schema: Any, root: Node, wanted: Projection) -> None:
        self._root, self._wanted = root, wanted
        self._parsed = fastavro.parse_schema(without_logical(schema))
        self._strict = strict_reader(root)
        sizes = Sizes()
        # fastavro makes as many items without bytes as a damaged count says: 2**62
        self._endless = any(node.kind == "array" and sizes.fixed(node.item) == 0 for node in nodes(root))
        self._vectors = {
            i: part
            for i, name in enumerate(wanted.numeric)
            if (part := split_name(name)) is not None and not has_field(root, name)
        }

    def judge(self, body: bytes, decoded: Decoded, row: int, reason: str) -> Outcome:
        """What came of one body that stands in a row of a batch; `reason` is why it was refused, "" if it was not."""
        try:
            record = self._strict(body)
        except (ValueError, IndexError, RecursionError) as error:
            return self._refused(body, decoded, row, reason, str(error))
        if reason in OURS:
            return Outcome(_not_empty(decoded, row), False, reason)
        if reason:
            return Outcome(f"refused as {reason}, but it is a record: {record!r:.300}", False, reason)
        read, left = self._fastavro(body)
        if left or repr(read) != repr(plain(self._root, record)):
            return Outcome(f"fastavro reads {read!r:.300}, the strict reader {record!r:.300}", True)
        return Outcome(self._differs(decoded, row, record), True)

    def _refused(self, body: bytes, decoded: Decoded, row: int, reason: str, why: str) -> Outcome:
        if not reason:
            return Outcome(f"decoded, but it is no record: {why}", True)
        fault = _not_empty(decoded, row)
        if self._endless:
            return Outcome(fault, False, reason)
        try:
            _, left = self._fastavro(body)
        except Exception:  # noqa: BLE001  whatever it raises, it does not read it
            return Outcome(fault, False, reason)
        lenient = left == 0
        if lenient and reason not in STRICTER:
            fault = fault or f"refused as {reason}, but fastavro reads it"
        return Outcome(fault, False, reason, lenient)

    def _fastavro(self, body: bytes) -> tuple[Any, int]:
        stream = io.BytesIO(body)
        read = fastavro.schemaless_reader(stream, self._parsed, None)
        return read, len(body) - stream.tell()

    def _differs(self, decoded: Decoded, row: int, record: Any) -> str:
        """Which cell is not what the record says, "" if none."""
        block = decoded.block
        numbers, texts, time = cells(self._root, record, self._wanted)
        time = time if self._wanted.time else NO_TIME
        for column, (status, number) in enumerate(numbers):
            tolerance = 0.0
            if column in self._vectors:
                status, number, tolerance = vector_cell(self._root, record, *self._vectors[column])
            found, ours = int(block.numeric_status[column, row]), float(block.numeric[column, row])
            if found != status or (status == PRESENT and not _same(ours, number, tolerance)):
                name = self._wanted.numeric[column]
                return f"number {name}: {found} {block.numeric[column, row]}, not {status} {number}"
        for column, (status, text) in enumerate(texts):
            found, said = int(block.text_status[column, row]), block.string(column, row)
            if found != status or (status == PRESENT and not _reads(said, text)):
                return f"text {self._wanted.strings[column]}: {found} {said!r}, not {status} {text!r}"
            if said is not None and int(block.text_hash[column, row]) != hash_bytes(said.encode()):
                return f"text {self._wanted.strings[column]}: wrong hash of {said!r}"
        ms = int(block.time_ms[row])
        # times in texts have tests of their own
        return f"time {ms}, not {time}" if time not in (NO_TIME, ms) else ""


def _not_empty(decoded: Decoded, row: int) -> str:
    block = decoded.block
    empty = (block.numeric_status[:, row] == NULL).all() and (block.text_status[:, row] == NULL).all()
    fine = empty and block.time_ms[row] == NO_TIME and not decoded.good[row]
    return "" if fine else "a refused record left something behind"


def _same(a: float, b: float, tolerance: float) -> bool:
    """Numbers are equal; decimals to a few units in the last place, parts of vectors to what their sums lose."""
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-13, abs_tol=max(tolerance, 1e-307))


def _reads(said: str | None, text: Any) -> bool:
    if isinstance(text, float) and said is not None:
        return not said.endswith(".0") and (float(said) == text or np.float32(said) == np.float32(text))
    return said == text


def vector_cell(root: Node, record: Any, path: str, part: int) -> tuple[int, float, float]:
    """(status, value, how far off it may be) of one part of an embedding, by the book."""
    node, value = _at(root, record, path)
    if node is None or node.kind == "null":
        return NULL, 0.0, 0.0
    kinds = [] if node.kind != "array" else [b.kind for b in node.item.branches] or [node.item.kind]
    if {*kinds} - {"null"} not in ({"float"}, {"double"}) or kinds == ["null"]:
        return INVALID, 0.0, 0.0
    items = [item.value if isinstance(item, Branch) else item for item in value]
    squares = math.inf if None in items else sum(item * item for item in items)
    if len(items) > MOST_COORDINATES or not math.isfinite(squares):
        return INVALID, 0.0, 0.0
    if part == 0:
        return PRESENT, float(len(items)), 0.0
    if not items:
        return NULL, 0.0, 0.0
    if part == 1:
        return PRESENT, math.sqrt(squares), math.sqrt(squares) * 2**-15
    signs = scattered(np.arange(len(items)).astype(np.uint64)).tolist()
    total = math.fsum(item if sign >> (part - 2) & 1 else -item for sign, item in zip(signs, items, strict=True))
    return PRESENT, total / math.sqrt(len(items)), 1e-12 * math.sqrt(squares)


def _at(node: Node | None, value: Any, path: str) -> tuple[Node | None, Any]:
    while node is not None and node.kind == "union":
        node, value = node.branches[value.number], value.value
    if node is not None and node.kind == "null":
        return node, None
    if not path or node is None:
        return node, value
    first, _, rest = path.partition(".")
    for name, child, _ in node.fields:
        if name == first:
            return _at(child, value[name], rest)
    return None, None

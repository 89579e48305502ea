"""A writer schema and a projection, compiled to a program for the machine.

Fields that nobody wants are still checked while they are skipped: whether a record is good never
depends on who reads it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.avsc import Node, WriterSchema, nodes
from driftbus.schemas.columns import INVALID, NULL, Projection
from driftbus.schemas.decode import opcodes as op
from driftbus.schemas.decode.assemble import Assembler
from driftbus.schemas.decode.shape import Sizes, children, coordinate, has_field
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.hashing import hash_many
from driftbus.schemas.vectorparts import PARTS, split_name

NUMBER, TEXT, TIME, VECTOR = "number", "text", "time", "vector"
Target = tuple[str, int]
"""What a value is wanted as, and its column; of a vector: which list of columns."""

_RUNS = {
    (NUMBER, "double"): (op.DOUBLES, op.NULLABLE_DOUBLES),
    (NUMBER, "float"): (op.FLOATS, op.NULLABLE_FLOATS),
    (NUMBER, "int"): (op.LONGS, op.NULLABLE_LONGS),
    (NUMBER, "long"): (op.LONGS, op.NULLABLE_LONGS),
    (TEXT, "string"): (op.TEXTS, op.NULLABLE_TEXTS),
}
_UNIT_MS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_LOGICAL_MS = {
    "date": (86_400_000, 1),
    "time-millis": (1, 1),
    "time-micros": (1, 1000),
    "timestamp-millis": (1, 1),
    "timestamp-micros": (1, 1000),
    "timestamp-nanos": (1, 1_000_000),
    "local-timestamp-millis": (1, 1),
    "local-timestamp-micros": (1, 1000),
    "local-timestamp-nanos": (1, 1_000_000),
}
_SKIPPED_RUNS = {
    "string": op.SKIP_TEXTS,
    "int": op.SKIP_LONGS,
    "long": op.SKIP_LONGS,
    "bytes": op.SKIP_BYTES,
    "boolean": op.SKIP_BOOLEANS,
}
_UUID_TEXT_BYTES, _NUMBER_TEXT_BYTES = 40, 24


@dataclass(frozen=True, slots=True)
class Program:
    """What the machine needs to decode records of one schema.

    Attributes:
        code: int64[...], instructions and tables; it starts at 0. The machine writes only its
            guesses at the order of map keys into it, never anything that changes a result.
        literals: UTF-8 of enum symbols, booleans and map keys; must stand in the block's text.
        slots: texts per record that have to be written out (integers, UUIDs).
        slot_bytes: bytes of one of them.
    """

    code: NDArray[np.int64]
    literals: bytes
    slots: int
    slot_bytes: int
    _places: tuple[int, ...]
    _paths: tuple[str, ...]

    def path_at(self, pc: int) -> str:
        """The field that the word at `pc` is about, or the last one before it."""
        i = bisect_right(self._places, pc)
        return self._paths[i - 1] if i else ""


def compile_program(schema: WriterSchema, projection: Projection) -> Program:
    """The program that decodes `projection` from records written with `schema`.

    Raises:
        DecodeError: ``bad_schema`` when the program would be larger than `LARGEST_PROGRAM`.
    """
    compiler = _Compiler(schema.root, projection)
    try:
        return compiler.program()
    except RecursionError:
        raise DecodeError("bad_schema", "the schema is nested too deeply") from None


@dataclass(slots=True)
class _Compiler:
    root: Node
    projection: Projection
    wanted: dict[str, list[Target]] = field(default_factory=dict)
    deeper: set[str] = field(default_factory=set)
    loose: list[str] = field(default_factory=list)
    slots: dict[tuple[str, int], int] = field(default_factory=dict)
    slot_bytes: int = _NUMBER_TEXT_BYTES
    tables: list[tuple[int, list[tuple[str, int]]]] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)
    routines: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[int, Node]] = field(default_factory=list)
    sizes: Sizes = field(default_factory=Sizes)
    out: Assembler = field(default_factory=Assembler)
    vectors: list[list[int]] = field(default_factory=list)

    def program(self) -> Program:
        self._plan()
        self._node(self.root, "")
        self.out.emit(op.END)
        self._routines()
        self._tables()
        places, paths = zip(*self.out.places, strict=True) if self.out.places else ((), ())
        return Program(
            np.array(self.out.code, np.int64), bytes(self.out.literals), len(self.slots), self.slot_bytes, places, paths
        )

    def _plan(self) -> None:
        """Who wants which path, which paths lead to wanted ones, and which names are left to maps."""
        lists = ((NUMBER, self.projection.numeric), (TEXT, self.projection.strings))
        for kind, paths in lists:
            for column, path in enumerate(paths):
                if kind == TEXT or not self._part_of_vector(path, column):
                    self.wanted.setdefault(path, []).append((kind, column))
        if self.projection.time:
            self.wanted.setdefault(self.projection.time, []).append((TIME, 0))
        for path in self.wanted:
            parts = path.split(".")
            self.deeper.update(".".join(parts[:i]) for i in range(1, len(parts)))
        self.loose = [path for path in self.wanted if not has_field(self.root, path.split("."))]
        if self.wanted:
            self.deeper.add("")
        edges = Counter(id(child) for node in nodes(self.root) for child in children(node))
        edges[id(self.root)] += 1
        self.shared = {place for place, count in edges.items() if count > 1}

    def _part_of_vector(self, name: str, column: int) -> bool:
        """Whether a name is a part of an embedding, which then wants it: all parts are read at once."""
        part = split_name(name)
        if part is None or has_field(self.root, name.split(".")) or not has_field(self.root, part[0].split(".")):
            return False
        targets = self.wanted.setdefault(part[0], [])
        lists = [self.vectors[at] for kind, at in targets if kind == VECTOR]
        if not lists or lists[-1][part[1]] >= 0:
            targets.append((VECTOR, len(self.vectors)))
            lists.append([-1] * len(PARTS))
            self.vectors.append(lists[-1])
        lists[-1][part[1]] = column
        return True

    # Types

    def _node(self, node: Node, path: str) -> None:
        targets, deeper = self.wanted.get(path, []) if path else [], path in self.deeper
        outer, self.out.path = self.out.path, path or self.out.path
        if node.kind == "map" and (keys := self._keys(path)):
            self._refuse(targets)
            self._map(node, keys)
        elif deeper and node.kind == "record":
            self._refuse(targets)
            for name, child, _ in node.fields:
                self._node(child, f"{path}.{name}" if path else name)
        elif node.kind == "union" and (deeper or any(branch.kind == "map" for branch in node.branches)):
            self._union(node, [partial(self._node, branch, path) for branch in node.branches])
        else:
            self._values(node, targets)
        self.out.path = outer

    def _keys(self, path: str) -> dict[str, list[Target]]:
        """Map keys that are wanted of a map at `path`."""
        keys: dict[str, list[Target]] = {}
        prefix = path + "."
        for name, targets in self.wanted.items():
            if path and name.startswith(prefix):
                keys.setdefault(name[len(prefix) :], []).extend(targets)
        if "." not in path:
            for name in self.loose:
                keys.setdefault(name, []).extend(self.wanted[name])
        return keys

    def _values(self, node: Node, targets: list[Target]) -> None:
        if not targets:
            self._skip(node)
            return
        if len(targets) > 1:
            self.out.emit(op.MARK)
        for i, target in enumerate(targets):
            if i:
                self.out.emit(op.REWIND)
            self._value(node, target)

    def _value(self, node: Node, target: Target) -> None:
        kind, column = target
        if node.kind == "union":
            self._wanted_union(node, target)
        elif node.kind == "null":
            self._status(target, NULL)
        elif kind == NUMBER:
            self._number(node, column)
        elif kind == TEXT:
            self._text(node, column)
        elif kind == VECTOR:
            self._vector(node, column)
        else:
            self._time(node)

    def _status(self, target: Target, status: int) -> None:
        kind, column = target
        if kind == TIME:
            self.out.emit(op.NO_TIME)
        elif kind == VECTOR:
            for each in self.vectors[column]:
                if each >= 0:
                    self.out.emit(op.NUMBER_STATUS, each, status)
        else:
            self.out.emit(op.NUMBER_STATUS if kind == NUMBER else op.TEXT_STATUS, column, status)

    def _refuse(self, targets: list[Target]) -> None:
        for target in targets:
            self._status(target, INVALID)

    def _number(self, node: Node, column: int) -> None:
        if node.logical in _LOGICAL_MS and _LOGICAL_MS[node.logical] != (1, 1):
            self.out.emit(op.SCALED_LONG, column, *_LOGICAL_MS[node.logical])
        elif node.logical == "decimal":
            self.out.emit(op.DECIMAL, column, node.scale, node.size if node.kind == "fixed" else -1)
        elif node.kind == "boolean":
            self.out.emit(op.BOOLEAN_NUMBER, column)
        elif (NUMBER, node.kind) in _RUNS:
            self.out.run(_RUNS[NUMBER, node.kind][0], 0, column)
        else:
            self._status((NUMBER, column), INVALID)
            self._skip(node)

    def _vector(self, node: Node, columns: int) -> None:
        item = coordinate(node)
        if item is None:
            self._status((VECTOR, columns), INVALID)
            self._skip(node)
        else:
            self.out.emit(op.PROJECT, *item, *self.vectors[columns])

    def _text(self, node: Node, column: int) -> None:
        if node.kind == "string":
            self.out.run(op.TEXTS, 0, column)
        elif node.kind == "boolean":
            self._literal_texts(op.BOOLEAN_TEXT, column, ("false", "true"))
        elif node.kind == "enum":
            self._literal_texts(op.ENUM_TEXT, column, node.symbols)
        elif node.kind in ("int", "long"):
            self.out.emit(op.LONG_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "double":
            self.out.emit(op.DOUBLE_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "float":
            self.out.emit(op.FLOAT_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "fixed" and node.logical == "uuid":
            self.out.emit(op.UUID_TEXT, column, self._slot(column, _UUID_TEXT_BYTES))
        else:
            self._status((TEXT, column), INVALID)
            self._skip(node)

    def _slot(self, column: int, size: int) -> int:
        self.slot_bytes = max(self.slot_bytes, size)
        return self.slots.setdefault((TEXT, column), len(self.slots))

    def _literal_texts(self, code: int, column: int, texts: tuple[str, ...]) -> None:
        """The triples stand in the code itself, jumped over."""
        hashes = hash_many([text.encode() for text in texts]).view(np.int64)
        at = self.out.emit(code, column, len(texts), 0)
        over = self.out.emit(op.JUMP, 0)
        self.out.code[at + 3] = len(self.out.code)
        for text, value in zip(texts, hashes, strict=True):
            self.out.code.extend((*self.out.literal(text), int(value)))
        self.out.code[over + 1] = self.out.here()

    def _time(self, node: Node) -> None:
        unit = _UNIT_MS[self.projection.time_unit]
        if node.logical.startswith(("timestamp", "local-timestamp")) or node.logical == "date":
            self.out.emit(op.TIME_LONG, *_LOGICAL_MS[node.logical])
        elif node.kind in ("int", "long") and not node.logical:
            self.out.emit(op.TIME_LONG, *unit)
        elif node.kind == "double":
            self.out.emit(op.TIME_DOUBLE, *unit)
        elif node.kind == "float":
            self.out.emit(op.TIME_FLOAT, *unit)
        elif node.kind == "string":
            self.out.emit(op.TIME_TEXT)
        else:
            self.out.emit(op.NO_TIME)
            self._skip(node)

    # Unions, maps, arrays

    def _wanted_union(self, node: Node, target: Target) -> None:
        kinds = [branch.kind for branch in node.branches]
        if len(kinds) == 2 and "null" in kinds:
            index = 1 - kinds.index("null")
            value = node.branches[index]
            run = _RUNS.get((target[0], value.kind))
            if run and (not value.logical or value.kind == "string" or _LOGICAL_MS.get(value.logical) == (1, 1)):
                self.out.run(run[1], index, target[1])
                return
        self._union(node, [partial(self._value, branch, target) for branch in node.branches])

    def _union(self, node: Node, compile_branch: list[partial[None]]) -> None:
        count = len(node.branches)
        at = self.out.emit(op.UNION, count, *[0] * count)
        jumps: list[int] = []
        empty: list[int] = []
        # null first: then the value falls through to what follows, without a jump
        for i in sorted(range(count), key=lambda i: node.branches[i].kind != "null"):
            start = self.out.here()
            compile_branch[i]()
            if len(self.out.code) == start:
                empty.append(i)
                continue
            self.out.code[at + 2 + i] = start
            jumps.append(self.out.emit(op.JUMP, 0) + 1)
        if jumps:
            del self.out.code[-2:]
            jumps.pop()
        end = self.out.here()
        for jump in jumps:
            self.out.code[jump] = end
        for i in empty:
            self.out.code[at + 2 + i] = end

    def _block(self, item: Node) -> int:
        size = self.sizes.fixed(item)
        return self.out.emit(op.BLOCK, 0, max(1, self.sizes.least(item)), -1 if size is None else size)

    def _map(self, node: Node, keys: dict[str, list[Target]]) -> None:
        block = self.out.emit(op.BLOCK, 0, 1 + self.sizes.least(node.item), -1)
        key = self.out.emit(op.MAP_KEY, 0)
        self._skip(node.item)
        self.out.emit(op.NEXT)
        entries: list[tuple[str, int]] = []
        for name, targets in keys.items():
            entries.append((name, self.out.here()))
            self._values(node.item, targets)
            self.out.emit(op.NEXT)
        self.out.code[block + 1] = self.out.here()
        self.tables.append((key + 1, entries))

    def _tables(self) -> None:
        for operand, entries in self.tables:
            mask = (1 << (2 * len(entries)).bit_length()) - 1
            hashes = [int(value) for value in hash_many([name.encode() for name, _ in entries])]
            index = [0] * (mask + 1)
            self.out.code[operand] = len(self.out.code)
            self.out.code.extend((len(entries), mask))
            for i, (name, address) in enumerate(entries):
                self.out.code.extend((*self.out.literal(name), address, (i + 1) % len(entries)))
                slot = hashes[i] & mask
                while index[slot]:
                    slot = (slot + 1) & mask
                index[slot] = i + 1
            self.out.code.extend(index)

    # Skipping

    def _skip(self, node: Node) -> None:
        size = self.sizes.fixed(node)
        if size is not None:
            if size:
                self.out.skip_run(op.SKIP_FIXED, size)
        elif node.kind in _SKIPPED_RUNS:
            self.out.skip_run(_SKIPPED_RUNS[node.kind], 1)
        elif node.kind == "enum":
            self.out.emit(op.SKIP_ENUM, len(node.symbols))
        elif node.kind == "union":
            self._union(node, [partial(self._skip, branch) for branch in node.branches])
        elif node.kind == "record" and id(node) in self.shared:
            self.calls.append((self.out.emit(op.CALL, 0) + 1, node))
        elif node.kind == "record":
            self._skip_fields(node)
        else:
            self._skip_blocks(node)

    def _skip_fields(self, node: Node) -> None:
        for _, child, _ in node.fields:
            self._skip(child)

    def _skip_blocks(self, node: Node) -> None:
        if node.kind == "array":
            block = self._block(node.item)
        else:
            block = self.out.emit(op.BLOCK, 0, 1 + self.sizes.least(node.item), -1)
            self.out.skip_run(op.SKIP_TEXTS, 1)
        self._skip(node.item)
        self.out.emit(op.NEXT)
        self.out.code[block + 1] = self.out.here()

    def _routines(self) -> None:
        """Records used in several places, or within themselves, are skipped by one routine each."""
        while self.calls:
            operand, node = self.calls.pop()
            if id(node) not in self.routines:
                self.out.path = node.name
                self.routines[id(node)] = self.out.here()
                self._skip_fields(node)
                self.out.emit(op.RETURN)
            self.out.code[operand] = self.routines[id(node)]

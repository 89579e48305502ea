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
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.hashing import hash_many
from driftbus.schemas.vectorparts import PARTS, split_name

LARGEST_PROGRAM = 1 << 20
"""Words; a schema that needs more is refused."""

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
_COORDINATES = {"float": 4, "double": 8}
_FIXED_BYTES = {"null": 0, "float": 4, "double": 8}
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
    code: list[int] = field(default_factory=list)
    literals: bytearray = field(default_factory=bytearray)
    wanted: dict[str, list[Target]] = field(default_factory=dict)
    deeper: set[str] = field(default_factory=set)
    loose: list[str] = field(default_factory=list)
    places: list[tuple[int, str]] = field(default_factory=list)
    path: str = ""
    run_at: int = -1
    slots: dict[tuple[str, int], int] = field(default_factory=dict)
    slot_bytes: int = _NUMBER_TEXT_BYTES
    tables: list[tuple[int, list[tuple[str, int]]]] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)
    routines: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[int, Node]] = field(default_factory=list)
    sizes: dict[int, int | None] = field(default_factory=dict)
    vectors: list[list[int]] = field(default_factory=list)

    def program(self) -> Program:
        self._plan()
        self._node(self.root, "")
        self._emit(op.END)
        self._routines()
        self._tables()
        places, paths = zip(*self.places, strict=True) if self.places else ((), ())
        return Program(
            np.array(self.code, np.int64), bytes(self.literals), len(self.slots), self.slot_bytes, places, paths
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
        self.loose = [path for path in self.wanted if not _has_field(self.root, path.split("."))]
        if self.wanted:
            self.deeper.add("")
        edges = Counter(id(child) for node in nodes(self.root) for child in _children(node))
        edges[id(self.root)] += 1
        self.shared = {place for place, count in edges.items() if count > 1}

    def _part_of_vector(self, name: str, column: int) -> bool:
        """Whether a name is a part of an embedding, which then wants it: all parts are read at once."""
        part = split_name(name)
        if part is None or _has_field(self.root, name.split(".")) or not _has_field(self.root, part[0].split(".")):
            return False
        targets = self.wanted.setdefault(part[0], [])
        lists = [self.vectors[at] for kind, at in targets if kind == VECTOR]
        if not lists or lists[-1][part[1]] >= 0:
            targets.append((VECTOR, len(self.vectors)))
            lists.append([-1] * len(PARTS))
            self.vectors.append(lists[-1])
        lists[-1][part[1]] = column
        return True

    # Instructions

    def _emit(self, *words: int) -> int:
        at = len(self.code)
        if at > LARGEST_PROGRAM:
            raise DecodeError("bad_schema", "the schema is too large")
        self._note(at)
        self.code.extend(words)
        self.run_at = -1
        return at

    def _note(self, at: int) -> None:
        if not self.places or self.places[-1][1] != self.path:
            self.places.append((at, self.path))

    def _here(self) -> int:
        """An address that something jumps to: no run may reach across it."""
        self.run_at = -1
        return len(self.code)

    def _run(self, code: int, operand: int, column: int) -> None:
        if self.run_at >= 0 and self.code[self.run_at] == code and self.code[self.run_at + 2] == operand:
            self.code[self.run_at + 1] += 1
            self._note(len(self.code))
            self.code.append(column)
            return
        self.run_at = self._emit(code, 1, operand, column)

    def _skip_run(self, code: int, amount: int) -> None:
        if self.run_at >= 0 and self.code[self.run_at] == code:
            self.code[self.run_at + 1] += amount
        else:
            at = self._emit(code, amount)
            self.run_at = at

    def _literal(self, text: str) -> tuple[int, int]:
        data = text.encode()
        at = self.literals.find(data)
        if at < 0:
            at = len(self.literals)
            self.literals += data
        return at, len(data)

    # Types

    def _node(self, node: Node, path: str) -> None:
        targets, deeper = self.wanted.get(path, []) if path else [], path in self.deeper
        outer, self.path = self.path, path or self.path
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
        self.path = outer

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
            self._emit(op.MARK)
        for i, target in enumerate(targets):
            if i:
                self._emit(op.REWIND)
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
            self._emit(op.NO_TIME)
        elif kind == VECTOR:
            for each in self.vectors[column]:
                if each >= 0:
                    self._emit(op.NUMBER_STATUS, each, status)
        else:
            self._emit(op.NUMBER_STATUS if kind == NUMBER else op.TEXT_STATUS, column, status)

    def _refuse(self, targets: list[Target]) -> None:
        for target in targets:
            self._status(target, INVALID)

    def _number(self, node: Node, column: int) -> None:
        if node.logical in _LOGICAL_MS and _LOGICAL_MS[node.logical] != (1, 1):
            self._emit(op.SCALED_LONG, column, *_LOGICAL_MS[node.logical])
        elif node.logical == "decimal":
            self._emit(op.DECIMAL, column, node.scale, node.size if node.kind == "fixed" else -1)
        elif node.kind == "boolean":
            self._emit(op.BOOLEAN_NUMBER, column)
        elif (NUMBER, node.kind) in _RUNS:
            self._run(_RUNS[NUMBER, node.kind][0], 0, column)
        else:
            self._status((NUMBER, column), INVALID)
            self._skip(node)

    def _vector(self, node: Node, columns: int) -> None:
        item = _coordinate(node)
        if item is None:
            self._status((VECTOR, columns), INVALID)
            self._skip(node)
        else:
            self._emit(op.PROJECT, *item, *self.vectors[columns])

    def _text(self, node: Node, column: int) -> None:
        if node.kind == "string":
            self._run(op.TEXTS, 0, column)
        elif node.kind == "boolean":
            self._literal_texts(op.BOOLEAN_TEXT, column, ("false", "true"))
        elif node.kind == "enum":
            self._literal_texts(op.ENUM_TEXT, column, node.symbols)
        elif node.kind in ("int", "long"):
            self._emit(op.LONG_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "double":
            self._emit(op.DOUBLE_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "float":
            self._emit(op.FLOAT_TEXT, column, self._slot(column, _NUMBER_TEXT_BYTES))
        elif node.kind == "fixed" and node.logical == "uuid":
            self._emit(op.UUID_TEXT, column, self._slot(column, _UUID_TEXT_BYTES))
        else:
            self._status((TEXT, column), INVALID)
            self._skip(node)

    def _slot(self, column: int, size: int) -> int:
        self.slot_bytes = max(self.slot_bytes, size)
        return self.slots.setdefault((TEXT, column), len(self.slots))

    def _literal_texts(self, code: int, column: int, texts: tuple[str, ...]) -> None:
        """The triples stand in the code itself, jumped over."""
        hashes = hash_many([text.encode() for text in texts]).view(np.int64)
        at = self._emit(code, column, len(texts), 0)
        over = self._emit(op.JUMP, 0)
        self.code[at + 3] = len(self.code)
        for text, value in zip(texts, hashes, strict=True):
            self.code.extend((*self._literal(text), int(value)))
        self.code[over + 1] = self._here()

    def _time(self, node: Node) -> None:
        unit = _UNIT_MS[self.projection.time_unit]
        if node.logical.startswith(("timestamp", "local-timestamp")) or node.logical == "date":
            self._emit(op.TIME_LONG, *_LOGICAL_MS[node.logical])
        elif node.kind in ("int", "long") and not node.logical:
            self._emit(op.TIME_LONG, *unit)
        elif node.kind == "double":
            self._emit(op.TIME_DOUBLE, *unit)
        elif node.kind == "float":
            self._emit(op.TIME_FLOAT, *unit)
        elif node.kind == "string":
            self._emit(op.TIME_TEXT)
        else:
            self._emit(op.NO_TIME)
            self._skip(node)

    # Unions, maps, arrays

    def _wanted_union(self, node: Node, target: Target) -> None:
        kinds = [branch.kind for branch in node.branches]
        if len(kinds) == 2 and "null" in kinds:
            index = 1 - kinds.index("null")
            value = node.branches[index]
            run = _RUNS.get((target[0], value.kind))
            if run and (not value.logical or value.kind == "string" or _LOGICAL_MS.get(value.logical) == (1, 1)):
                self._run(run[1], index, target[1])
                return
        self._union(node, [partial(self._value, branch, target) for branch in node.branches])

    def _union(self, node: Node, compile_branch: list[partial[None]]) -> None:
        count = len(node.branches)
        at = self._emit(op.UNION, count, *[0] * count)
        jumps: list[int] = []
        empty: list[int] = []
        # null first: then the value falls through to what follows, without a jump
        for i in sorted(range(count), key=lambda i: node.branches[i].kind != "null"):
            start = self._here()
            compile_branch[i]()
            if len(self.code) == start:
                empty.append(i)
                continue
            self.code[at + 2 + i] = start
            jumps.append(self._emit(op.JUMP, 0) + 1)
        if jumps:
            del self.code[-2:]
            jumps.pop()
        end = self._here()
        for jump in jumps:
            self.code[jump] = end
        for i in empty:
            self.code[at + 2 + i] = end

    def _block(self, item: Node) -> int:
        size = self._fixed_size(item)
        return self._emit(op.BLOCK, 0, max(1, self._least_size(item)), -1 if size is None else size)

    def _map(self, node: Node, keys: dict[str, list[Target]]) -> None:
        block = self._emit(op.BLOCK, 0, 1 + self._least_size(node.item), -1)
        key = self._emit(op.MAP_KEY, 0)
        self._skip(node.item)
        self._emit(op.NEXT)
        entries: list[tuple[str, int]] = []
        for name, targets in keys.items():
            entries.append((name, self._here()))
            self._values(node.item, targets)
            self._emit(op.NEXT)
        self.code[block + 1] = self._here()
        self.tables.append((key + 1, entries))

    def _tables(self) -> None:
        for operand, entries in self.tables:
            mask = (1 << (2 * len(entries)).bit_length()) - 1
            hashes = [int(value) for value in hash_many([name.encode() for name, _ in entries])]
            index = [0] * (mask + 1)
            self.code[operand] = len(self.code)
            self.code.extend((len(entries), mask))
            for i, (name, address) in enumerate(entries):
                self.code.extend((*self._literal(name), address, (i + 1) % len(entries)))
                slot = hashes[i] & mask
                while index[slot]:
                    slot = (slot + 1) & mask
                index[slot] = i + 1
            self.code.extend(index)

    # Skipping

    def _skip(self, node: Node) -> None:
        size = self._fixed_size(node)
        if size is not None:
            if size:
                self._skip_run(op.SKIP_FIXED, size)
        elif node.kind in _SKIPPED_RUNS:
            self._skip_run(_SKIPPED_RUNS[node.kind], 1)
        elif node.kind == "enum":
            self._emit(op.SKIP_ENUM, len(node.symbols))
        elif node.kind == "union":
            self._union(node, [partial(self._skip, branch) for branch in node.branches])
        elif node.kind == "record" and id(node) in self.shared:
            self.calls.append((self._emit(op.CALL, 0) + 1, node))
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
            block = self._emit(op.BLOCK, 0, 1 + self._least_size(node.item), -1)
            self._skip_run(op.SKIP_TEXTS, 1)
        self._skip(node.item)
        self._emit(op.NEXT)
        self.code[block + 1] = self._here()

    def _routines(self) -> None:
        """Records used in several places, or within themselves, are skipped by one routine each."""
        while self.calls:
            operand, node = self.calls.pop()
            if id(node) not in self.routines:
                self.path = node.name
                self.routines[id(node)] = self._here()
                self._skip_fields(node)
                self._emit(op.RETURN)
            self.code[operand] = self.routines[id(node)]

    def _fixed_size(self, node: Node) -> int | None:
        """Bytes of every value of a type, None when they vary or must be looked at."""
        if node.kind in _FIXED_BYTES:
            return _FIXED_BYTES[node.kind]
        if node.kind == "fixed":
            return node.size
        if node.kind != "record":
            return None
        if id(node) not in self.sizes:
            self.sizes[id(node)] = None
            sizes = [self._fixed_size(child) for _, child, _ in node.fields]
            self.sizes[id(node)] = None if None in sizes else sum(size for size in sizes if size)
        return self.sizes[id(node)]

    def _least_size(self, node: Node) -> int:
        """A lower bound of a value's bytes."""
        return self._fixed_size(node) or (0 if node.kind in ("null", "record", "fixed") else 1)


def _coordinate(node: Node) -> tuple[int, int] | None:
    """(bytes of an item, branch of null or -1) of an array of floats or doubles; None of any other type."""
    if node.kind != "array":
        return None
    kinds = [branch.kind for branch in node.item.branches] or [node.item.kind]
    if len(kinds) == 2 and "null" in kinds:
        size = _COORDINATES.get(kinds[1 - kinds.index("null")])
        return None if size is None else (size, kinds.index("null"))
    return (_COORDINATES[kinds[0]], -1) if len(kinds) == 1 and node.item.kind in _COORDINATES else None


def _children(node: Node) -> list[Node]:
    return [child for _, child, _ in node.fields] + list(node.branches) + ([node.items] if node.items else [])


def _has_field(node: Node, parts: list[str]) -> bool:
    if not parts:
        return True
    if node.kind == "union":
        return any(_has_field(branch, parts) for branch in node.branches)
    return any(name == parts[0] and _has_field(child, parts[1:]) for name, child, _ in node.fields)

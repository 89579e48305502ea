"""Batches of raw record values to one block of columns, and the bad records apart from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.columns import PRESENT, Block, Projection, allocate
from driftbus.schemas.decode.compile import Program, compile_program
from driftbus.schemas.decode.faults import REASONS
from driftbus.schemas.decode.machine import DEPTH, run
from driftbus.schemas.decode.opcodes import UNFORMATTED
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.fields import WriterFields, writer_fields
from driftbus.schemas.framing import BY_FINGERPRINT, UNFRAMED, SchemaKey, group_by_schema, header_key
from driftbus.schemas.hashing import PADDING, hash_bytes
from driftbus.schemas.vectorparts import DIRECTIONS

Headers = Sequence[tuple[str, bytes | None]]
Rows = NDArray[np.int64]

MAX_PROGRAMS = 256
"""Compiled programs a decoder keeps; the least recently used is compiled again when it comes back."""


class Resolver(Protocol):
    """Where writer schemas come from."""

    @property
    def bare(self) -> WriterSchema | None:
        """Schema of records without a schema id, None where every record must carry one."""
        ...

    def knows(self, key: SchemaKey) -> bool:
        """Whether `resolve` would answer from memory."""
        ...

    def resolve(self, key: SchemaKey) -> WriterSchema:
        """The schema of a key.

        Raises:
            DecodeError: ``unknown_schema``, there definitely is none; ``bad_schema``, it can't be used.
            Unavailable: it can't be said now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch decodes to.

    Attributes:
        block: all n records; the cells of bad ones are null and their time is missing.
        good: bool[n].
        bad: (row, reason, message) of each bad record, in order of rows.
    """

    block: Block
    good: NDArray[np.bool_]
    bad: list[tuple[int, str, str]]


def no_headers(_row: int) -> Headers:
    """`headers_of` for records without headers."""
    return ()


class BatchDecoder:
    """Decodes batches of one topic's values, grouped by the schema each was written with.

    Args:
        projection: the wanted columns.
        resolver: where schemas come from.
        max_bytes: longest value; longer ones are bad (``too_large``).
    """

    def __init__(self, projection: Projection, resolver: Resolver, *, max_bytes: int = 1_048_576) -> None:
        self._projection, self._resolver, self._max_bytes = projection, resolver, max_bytes
        self._programs: OrderedDict[SchemaKey, tuple[Program, WriterFields]] = OrderedDict()
        self._spare = 4096

    def decode(self, values: Sequence[bytes | None], headers_of: Callable[[int], Headers] = no_headers) -> Decoded:
        """Decode a batch; a bad record never spoils its neighbours.

        Args:
            values: the records' bytes, None for a Kafka tombstone.
            headers_of: headers of the record at an index; asked only for records whose value
                does not say which schema it was written with.

        Raises:
            Unavailable: a schema is needed that can't be fetched now; nothing was consumed.
            ConfigError: the registry refuses us.
        """
        batch = _Batch(values, self._projection, self._spare)
        batch.refuse_where([value is None for value in values] if batch.has_null else None, "null_value", _NULL_VALUE)
        if batch.longest > self._max_bytes:
            too_long = batch.ends - batch.starts > self._max_bytes
            batch.refuse_where(too_long, "too_large", f"longer than {self._max_bytes} bytes")
        groups, bodies = group_by_schema(batch.text, batch.starts, batch.ends, batch.good_rows())
        batch.bodies = bodies
        if self._resolver.bare is not None:
            groups = self._bare_groups(groups, batch)
        for key, rows in groups:
            self._decode_group(batch, key, rows, headers_of)
        batch.format_numbers()
        self._spare = max(self._spare, batch.used)
        return batch.decoded()

    def _bare_groups(self, groups: list[tuple[SchemaKey, Rows]], batch: _Batch) -> list[tuple[SchemaKey, Rows]]:
        """With a schema file, only the fingerprint of a known schema counts as a frame; the rest is bare."""
        framed = [(k, rows) for k, rows in groups if k.kind == BY_FINGERPRINT and self._resolver.knows(k)]
        keys = {key for key, _ in framed}
        bare = [rows for key, rows in groups if key not in keys]
        if not bare:
            return framed
        rows = np.sort(np.concatenate(bare))
        batch.bodies[rows] = batch.starts[rows]
        return [*framed, (SchemaKey(UNFRAMED), rows)]

    def _decode_group(self, batch: _Batch, key: SchemaKey, rows: Rows, headers_of: Callable[[int], Headers]) -> None:
        """By the frame; what fails is tried again by the schema that its headers name, if they do.

        A bare value whose schema stands in the headers may begin like a frame, so the registry
        isn't asked about an unknown id before a look at the headers.
        """
        if key.kind == UNFRAMED and self._resolver.bare is None:
            failed = rows
            refusal: DecodeError | None = DecodeError("bad_magic", "neither Confluent nor single-object framing")
        elif key in self._programs or self._resolver.knows(key) or key.kind == UNFRAMED:
            failed, refusal = self._attempt(batch, key, rows)
        else:
            named = _named_in_headers(rows, headers_of)
            by_frame = np.setdiff1d(rows, named, assume_unique=True)
            failed, refusal = self._attempt(batch, key, by_frame) if by_frame.size else (by_frame, None)
            failed = np.union1d(failed, named)
        if not failed.size:
            return
        if refusal is not None:
            batch.refuse(failed, refusal)
        self._by_headers(batch, failed, headers_of)

    def _by_headers(self, batch: _Batch, rows: Rows, headers_of: Callable[[int], Headers]) -> None:
        groups: dict[SchemaKey, list[int]] = {}
        for row in rows.tolist():
            try:
                key = header_key(headers_of(row))
            except DecodeError as error:
                batch.refuse(np.array([row]), error)
                continue
            if key is not None:
                groups.setdefault(key, []).append(row)
        for key, members in groups.items():
            again = np.array(members, np.int64)
            batch.forgive(again)
            _, refusal = self._attempt(batch, key, again)
            if refusal is not None:
                batch.refuse(again, refusal)

    def _attempt(self, batch: _Batch, key: SchemaKey, rows: Rows) -> tuple[Rows, DecodeError | None]:
        """(rows that failed, why if all failed for one reason)."""
        try:
            program, fields = self._program(key)
        except DecodeError as error:
            return rows, error
        batch.written(rows, fields)
        return batch.run(program, rows), None

    def _program(self, key: SchemaKey) -> tuple[Program, WriterFields]:
        program = self._programs.get(key)
        if program is None:
            bare = self._resolver.bare if key.kind == UNFRAMED else None
            schema = bare or self._resolver.resolve(key)
            program = self._programs[key] = compile_program(schema, self._projection), writer_fields(schema)
            if len(self._programs) > MAX_PROGRAMS:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(key)
        return program


_NULL_VALUE = "the record has no value (a tombstone)"


def _named_in_headers(rows: Rows, headers_of: Callable[[int], Headers]) -> Rows:
    """Those of `rows` whose headers name a schema, rightly or not."""
    named: list[int] = []
    for row in rows.tolist():
        try:
            if header_key(headers_of(row)) is not None:
                named.append(row)
        except DecodeError:
            named.append(row)
    return np.array(named, np.int64)


class _Batch:
    """One batch under way: its joined bytes, its block, what went wrong so far."""

    def __init__(self, values: Sequence[bytes | None], projection: Projection, spare: int) -> None:
        n = len(values)
        self.has_null = False
        try:
            lengths = np.fromiter(map(len, cast(Sequence[bytes], values)), np.int64, n)
        except TypeError:
            self.has_null = True
            values = [b"" if value is None else value for value in values]
            lengths = np.fromiter(map(len, cast(Sequence[bytes], values)), np.int64, n)
        joined = bytearray().join([*cast(Sequence[bytes], values), bytes(PADDING + spare)])
        self.text = np.frombuffer(joined, np.uint8)
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.bodies = self.starts
        self.longest = int(lengths.max()) if n else 0
        self.block = allocate(projection, n, self.text)
        self.faults = np.zeros(n, np.uint8)
        self.fault_pc = np.empty(n, np.int64)
        self.fault_at = np.empty(n, np.int64)
        self.refused: dict[int, tuple[str, str]] = {}
        self._joined = int(self.ends[-1]) if n else 0
        self.used = 0

    def good_rows(self) -> Rows:
        rows = np.arange(self.block.n)
        return np.delete(rows, list(self.refused)) if self.refused else rows

    def written(self, rows: Rows, fields: WriterFields) -> None:
        """The schema that `rows` were written with."""
        block = self.block
        if block.writer is None:
            block.writer = np.zeros(block.n, np.int64)
        if fields not in block.writers:
            block.writers = (*block.writers, fields)
        block.writer[rows] = block.writers.index(fields)

    def refuse_where(self, mask: Any, reason: str, message: str) -> None:
        if mask is not None:
            self.refused |= dict.fromkeys(np.flatnonzero(mask).tolist(), (reason, message))

    def refuse(self, rows: Rows, error: DecodeError) -> None:
        self.refused |= {row: (error.reason, str(error)) for row in rows.tolist()}

    def forgive(self, rows: Rows) -> None:
        """Forget what went wrong before another attempt from the value's first byte."""
        for row in rows.tolist():
            self.refused.pop(row, None)
        self.faults[rows] = 0
        self.bodies[rows] = self.starts[rows]

    def run(self, program: Program, rows: Rows) -> Rows:
        """Decode `rows`; returns those that failed."""
        block = self.block
        literals = self._reserve(len(program.literals) + PADDING)
        self.text[literals : literals + len(program.literals)] = np.frombuffer(program.literals, np.uint8)
        slots_at = self._reserve(rows.size * program.slots * program.slot_bytes)
        failed = run(
            program.code,
            self.text,
            literals,
            slots_at,
            program.slots,
            program.slot_bytes,
            self.bodies,
            self.ends,
            rows,
            block.time_ms,
            block.numeric,
            block.numeric_status,
            block.text_start,
            block.text_length,
            block.text_hash,
            block.text_status,
            self.faults,
            self.fault_pc,
            self.fault_at,
            np.empty((3, DEPTH), np.int64),
            np.empty(DIRECTIONS + 1),
        )
        if not failed:
            return rows[:0]
        bad: Rows = rows[self.faults[rows] != 0]
        for row in bad.tolist():
            reason, what = REASONS[int(self.faults[row])]
            path = program.path_at(int(self.fault_pc[row]))
            near = f", near field {path!r}" if path else ""
            self.refused[row] = reason, f"{what} (byte {self.fault_at[row]} of the record's body{near})"
        return bad

    def _reserve(self, size: int) -> int:
        """Room behind the joined values, for text that they don't contain."""
        at = self._joined + self.used
        self.used += size
        if self.text.size < self._joined + self.used + PADDING:
            self.text = np.concatenate([self.text, np.zeros(self.used + PADDING, np.uint8)])
            self.block.text = self.text
        return at

    def format_numbers(self) -> None:
        """Write numbers with a fraction as text: the shortest decimal that reads back as the same number."""
        block = self.block
        if not (block.text_status == UNFORMATTED).any():
            return
        for column, row in np.argwhere(block.text_status == UNFORMATTED).tolist():
            start, size = int(block.text_start[column, row]), int(block.text_length[column, row])
            number = self.text[start : start + size].view(np.float64 if size == 8 else np.float32)[0]
            digits = str(number).encode()
            self.text[start : start + len(digits)] = np.frombuffer(digits, np.uint8)
            block.text_length[column, row] = len(digits)
            block.text_hash[column, row] = hash_bytes(digits)
            block.text_status[column, row] = PRESENT

    def decoded(self) -> Decoded:
        good = np.ones(self.block.n, np.bool_)
        bad = sorted((row, reason, message) for row, (reason, message) in self.refused.items())
        good[[row for row, _, _ in bad]] = False
        return Decoded(self.block, good, bad)


class Decoder:
    """Decodes bare Avro bodies of one known schema.

    Args:
        writer_schema: its JSON text, the parsed JSON, or a `WriterSchema`.
        projection: the wanted columns.
    """

    def __init__(self, writer_schema: Any, projection: Projection) -> None:
        schema = writer_schema if isinstance(writer_schema, WriterSchema) else parse_schema(writer_schema)
        self._batches = BatchDecoder(projection, _OneSchema(schema))

    def decode(self, bodies: Sequence[bytes | None]) -> Decoded:
        """Decode a batch of bodies."""
        return self._batches.decode(bodies)


@dataclass(frozen=True, slots=True)
class _OneSchema:
    bare: WriterSchema

    def knows(self, key: SchemaKey) -> bool:
        return False

    def resolve(self, key: SchemaKey) -> WriterSchema:
        raise DecodeError("unknown_schema", f"{key}: only bare Avro is read here")

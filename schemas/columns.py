"""The block: a batch of decoded records as columns, never a dict per event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.fields import WriterFields

NULL, PRESENT, INVALID = 0, 1, 2
"""Status of a cell. A numeric cell that is PRESENT may still hold NaN or infinity, which count as invalid."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Which fields of a record become columns, in which order.

    A path is the dotted name of a field of nested records (``customer.age``). A name without
    a field of that path is looked for among the keys of top-level maps (the canonical events
    keep their features in maps).

    A key of any map is also named by the map's path and the key (``features.age``). Of two
    maps with the key of a bare name, the later one in the record counts.

    ``emb[length]``, ``emb[norm]`` and ``emb[0]`` to ``emb[7]`` are numbers derived from an array of
    floats or doubles: see `driftbus.schemas.vectorparts`.

    Args:
        numeric: paths read as float64. Booleans become 0 and 1, decimals the nearest double (a few
            ulp off beyond 53 bits), dates, times of day and timestamps milliseconds.
        strings: paths read as text: categories, the id, the version, segments. Booleans become
            ``true``/``false``, enums their symbol, integers their decimal digits, other numbers
            their shortest decimal form (whole ones without a point).
        time: path of the event time, or "" for the record's Kafka timestamp.
        time_unit: ``ms``, ``us``, ``ns`` or ``s`` for plain numbers; a logical type overrides it.
            ISO 8601 strings are understood whatever the unit.
    """

    numeric: tuple[str, ...]
    strings: tuple[str, ...]
    time: str
    time_unit: str = "ms"


@dataclass(slots=True)
class Block:
    """n decoded records.

    Attributes:
        n: records.
        time_ms: int64[n], event time in milliseconds; the smallest int64 where missing.
        numeric: float64[p, n].
        numeric_status: uint8[p, n].
        text: uint8[...], the UTF-8 bytes that strings point into.
        text_start: int64[s, n], where a string starts in `text`.
        text_length: int32[s, n], its length in bytes.
        text_hash: uint64[s, n], `hash_bytes` of it, so that equal strings have equal hashes.
        text_status: uint8[s, n].
        writer: int64[n], which of `writers` a record was written with; None for rows that aren't Avro.
        writers: the writer schemas met, by their fields.

    Values, starts, lengths and hashes mean something only where the status is PRESENT. A value of
    an Avro type that the column can't hold is INVALID.
    """

    n: int
    time_ms: NDArray[np.int64]
    numeric: NDArray[np.float64]
    numeric_status: NDArray[np.uint8]
    text: NDArray[np.uint8]
    text_start: NDArray[np.int64]
    text_length: NDArray[np.int32]
    text_hash: NDArray[np.uint64]
    text_status: NDArray[np.uint8]
    writer: NDArray[np.int64] | None = None
    writers: tuple[WriterFields, ...] = ()

    @property
    def held(self) -> int:
        """Bytes of memory that it keeps."""
        arrays = (
            self.time_ms, self.numeric, self.numeric_status, self.text, self.text_start, self.text_length,
            self.text_hash, self.text_status,
        )  # fmt: skip
        return sum(array.nbytes for array in arrays) + (0 if self.writer is None else self.writer.nbytes)

    def string(self, column: int, row: int) -> str | None:
        """The text of one cell, None when it is not present."""
        if self.text_status[column, row] != PRESENT:
            return None
        start = int(self.text_start[column, row])
        return self.text[start : start + int(self.text_length[column, row])].tobytes().decode()

    def rows_from(self, first: int, end: int | None = None) -> Block:
        """The block without its first rows, and without those from `end` on."""

        def cut(cells: Any) -> Any:
            return np.ascontiguousarray(cells[..., first:end])

        time_ms = cut(self.time_ms)
        return Block(
            time_ms.size, time_ms, cut(self.numeric), cut(self.numeric_status), self.text,
            cut(self.text_start), cut(self.text_length), cut(self.text_hash), cut(self.text_status),
            None if self.writer is None else cut(self.writer), self.writers,
        )  # fmt: skip


MISSING_TIME = np.iinfo(np.int64).min
"""`Block.time_ms` of a record without an event time."""


def allocate(projection: Projection, n: int, text: NDArray[np.uint8]) -> Block:
    """A block of n records whose cells are all null, with strings to point into `text`."""
    numbers, strings = len(projection.numeric), len(projection.strings)
    return Block(
        n,
        np.full(n, MISSING_TIME, np.int64),
        np.empty((numbers, n), np.float64),
        np.zeros((numbers, n), np.uint8),
        text,
        np.empty((strings, n), np.int64),
        np.empty((strings, n), np.int32),
        np.empty((strings, n), np.uint64),
        np.zeros((strings, n), np.uint8),
    )

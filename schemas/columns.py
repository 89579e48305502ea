"""The block: a batch of decoded records as columns, never a dict per event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NULL, PRESENT, INVALID = 0, 1, 2
"""Status of a cell. A numeric cell that is PRESENT may still hold NaN or infinity, which count as invalid."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Which fields of a record become columns, in which order.

    A path is the dotted name of a field of nested records (``customer.age``). A name without
    a field of that path is looked for among the keys of top-level maps (the canonical events
    keep their features in maps).

    Args:
        numeric: paths read as float64.
        strings: paths read as text: categories, the id, the version, segments. Booleans become
            ``true``/``false``, enums their symbol, integers their decimal digits.
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

    def string(self, column: int, row: int) -> str | None:
        """The text of one cell, None when it is not present."""
        if self.text_status[column, row] != PRESENT:
            return None
        start = int(self.text_start[column, row])
        return self.text[start : start + int(self.text_length[column, row])].tobytes().decode()


MISSING_TIME = np.iinfo(np.int64).min
"""`Block.time_ms` of a record without an event time."""

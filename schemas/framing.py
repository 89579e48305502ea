"""Which schema a record was written with: Confluent framing, Avro single-object encoding, or none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.errors import DecodeError
from driftbus.schemas.kernel import leaf_kernel

SCHEMA_ID_HEADER = "__value_schema_id"
"""Record header in which newer Confluent clients put the schema's GUID or id; the value is then bare Avro."""

UNFRAMED, BY_ID, BY_GUID, BY_FINGERPRINT = 0, 1, 2, 3


class SchemaKey(NamedTuple):
    """What a record says of its schema.

    Args:
        kind: `BY_ID`, `BY_GUID`, `BY_FINGERPRINT`, or `UNFRAMED` for bare Avro.
        high, low: the id or fingerprint in `low`; the GUID's two halves.
    """

    kind: int
    high: int = 0
    low: int = 0

    @property
    def guid(self) -> UUID:
        """The GUID of a `BY_GUID` key."""
        return UUID(int=self.high << 64 | self.low)

    @property
    def fingerprint(self) -> bytes:
        """The 8 bytes of a `BY_FINGERPRINT` key as they stand in a record."""
        return self.low.to_bytes(8, "little")

    def __str__(self) -> str:
        if self.kind == BY_ID:
            return f"schema id {self.low}"
        if self.kind == BY_GUID:
            return f"schema GUID {self.guid}"
        return f"schema fingerprint {self.fingerprint.hex()}" if self.kind == BY_FINGERPRINT else "no schema id"


def by_id(schema_id: int) -> SchemaKey:
    """The key of a registry's schema id."""
    return SchemaKey(BY_ID, 0, schema_id)


def by_guid(guid: UUID) -> SchemaKey:
    """The key of a registry's schema GUID."""
    return SchemaKey(BY_GUID, guid.int >> 64, guid.int & 0xFFFF_FFFF_FFFF_FFFF)


def by_fingerprint(fingerprint: bytes) -> SchemaKey:
    """The key of a CRC-64-AVRO fingerprint, 8 bytes as in the single-object encoding."""
    return SchemaKey(BY_FINGERPRINT, 0, int.from_bytes(fingerprint, "little"))


def frame(key: SchemaKey, body: bytes) -> bytes:
    """A record's bytes: the frame of `key`, then `body`."""
    if key.kind == BY_ID:
        return b"\0" + key.low.to_bytes(4, "big") + body
    if key.kind == BY_GUID:
        return b"\1" + key.guid.bytes + body
    return b"\xc3\x01" + key.fingerprint + body if key.kind == BY_FINGERPRINT else body


def header_key(headers: Iterable[tuple[str, bytes | None]]) -> SchemaKey | None:
    """The schema named in a record's headers, None if there is no such header.

    The header holds 01 and a GUID's 16 bytes, or 00 and an id's 4, as Confluent's clients write them.

    Raises:
        DecodeError: ``bad_magic`` when the header holds something else.
    """
    for name, value in headers:
        if name == SCHEMA_ID_HEADER:
            if value is not None and len(value) == 17 and value[0] == 1:
                return by_guid(UUID(bytes=bytes(value[1:])))
            if value is not None and len(value) == 5 and value[0] == 0:
                return by_id(int.from_bytes(value[1:], "big"))
            raise DecodeError("bad_magic", f"the header {SCHEMA_ID_HEADER} is neither an id nor a GUID")
    return None


@leaf_kernel
def _read_frames(
    text: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    keys: NDArray[np.uint64],
    bodies: NDArray[np.int64],
) -> bool:
    """Fill keys uint64[3, n] (kind, high, low) and where bodies start; True when all keys are the same."""
    same = True
    for i in range(starts.size):
        at, length = starts[i], ends[i] - starts[i]
        kind, high, low = np.uint64(UNFRAMED), np.uint64(0), np.uint64(0)
        body = at
        if length >= 5 and text[at] == 0:
            kind, body = np.uint64(BY_ID), at + 5
            for k in range(at + 1, at + 5):
                low = (low << np.uint64(8)) | np.uint64(text[k])
        elif length >= 17 and text[at] == 1:
            kind, body = np.uint64(BY_GUID), at + 17
            for k in range(at + 1, at + 9):
                high = (high << np.uint64(8)) | np.uint64(text[k])
            for k in range(at + 9, at + 17):
                low = (low << np.uint64(8)) | np.uint64(text[k])
        elif length >= 10 and text[at] == 0xC3 and text[at + 1] == 1:
            kind, body = np.uint64(BY_FINGERPRINT), at + 10
            for k in range(at + 9, at + 1, -1):
                low = (low << np.uint64(8)) | np.uint64(text[k])
        keys[0, i], keys[1, i], keys[2, i] = kind, high, low
        bodies[i] = body
        same = same and kind == keys[0, 0] and high == keys[1, 0] and low == keys[2, 0]
    return same


def group_by_schema(
    text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[list[tuple[SchemaKey, NDArray[np.int64]]], NDArray[np.int64]]:
    """Sort a batch's rows by the schema that their frames name.

    Args:
        text: all values, joined.
        starts, ends: int64[n], where each value lies.
        rows: int64[m], the rows that matter.

    Returns:
        ([(key, its rows in ascending order)], int64[n] where the Avro body of each row begins).
    """
    keys = np.empty((3, starts.size), np.uint64)
    bodies = np.empty(starts.size, np.int64)
    same = _read_frames(text, starts, ends, keys, bodies)
    if not rows.size:
        return [], bodies
    if same:
        return [(_key(keys, 0), rows)], bodies
    order = rows[np.lexsort(keys[:, rows])]
    changed = np.flatnonzero((keys[:, order[1:]] != keys[:, order[:-1]]).any(axis=0)) + 1
    return [(_key(keys, int(part[0])), part) for part in np.split(order, changed)], bodies


def _key(keys: NDArray[np.uint64], row: int) -> SchemaKey:
    kind, high, low = keys[:, row].tolist()
    return SchemaKey(kind, high, low)

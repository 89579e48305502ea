"""What stands behind every value of a join's store, so that damage is found and not counted."""

from __future__ import annotations

import struct
import zlib

from driftbus.stream.join.blobs import Buffer

SUM = struct.Struct("<Q")
"""A checksum as it is written: eight bytes, so that words of 64 bits stay aligned."""

FORMAT = 1
"""Number of the layout of keys and values. Stores of another are made again from the topics."""

MARK = bytes((0xFF, FORMAT))
"""Key whose value is the exclusive or of the checksums of all others: none of them can get lost unseen."""


def checksum(key: bytes, value: Buffer) -> int:
    """CRC-32 of a key and its value."""
    return zlib.crc32(value, zlib.crc32(key))

"""Saved state as bytes: msgpack, compressed, with a preamble and a checksum. Never pickle."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack

from driftbus.schemas.errors import StateError

_MAGIC = b"dbs1"


def pack_state(state: dict[str, Any]) -> bytes:
    """Plain data (numbers, text, bytes, lists, dicts with text keys) as bytes; equal data give equal bytes."""
    body = zlib.compress(msgpack.packb(state, use_bin_type=True), 1)
    return _MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


def unpack_state(data: bytes) -> dict[str, Any]:
    """The data of `pack_state`.

    Raises:
        StateError: the bytes are damaged or of another format.
    """
    if data[:4] != _MAGIC or zlib.crc32(data[8:]).to_bytes(4, "big") != data[4:8]:
        raise StateError(
            "saved state is damaged or of another format: `driftbus state forget` the monitor (it is rebuilt from the "
            "summaries topic) and start again"
        )
    try:
        state = msgpack.unpackb(zlib.decompress(data[8:]), raw=False, strict_map_key=False)
    except (zlib.error, ValueError, TypeError, RecursionError, MemoryError, msgpack.UnpackException) as error:
        raise StateError(f"saved state can't be read: {type(error).__name__} {error}") from error
    if not isinstance(state, dict):
        raise StateError("saved state is not a map")
    return state

"""State as bytes: a preamble that says what it is, then arrays, little-endian and compressed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.errors import StateError

_MAGIC = b"DBST"
_VERSION = 2
_DTYPES = ("<f8", "<i8", "|b1", "|u1")
_REMEDY = (
    "`driftbus state forget` the monitor to have it rebuilt from the summaries, "
    "or go back to the configuration, profile and version that wrote it"
)


def pack(kind: str, fingerprint: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as bytes; equal arrays give equal bytes.

    Args:
        kind: what the state is of.
        fingerprint: of everything that the state's meaning depends on.
        arrays: name → float64, int64, bool or uint8 array.
    """
    body = bytearray(struct.pack("<H", len(arrays)))
    for name in sorted(arrays):
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<").str
        body += struct.pack("<BBB", len(name), _DTYPES.index(dtype), array.ndim) + name.encode()
        body += struct.pack(f"<{array.ndim}I", *array.shape) + array.astype(dtype, order="C").tobytes()
    head = _MAGIC + struct.pack("<H", _VERSION)
    for text in (kind, fingerprint):
        head += struct.pack("<B", len(text)) + text.encode()
    return head + struct.pack("<I", zlib.crc32(body)) + zlib.compress(bytes(body), 1)


def unpack(kind: str, fingerprint: str, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `pack` wrote.

    Raises:
        StateError: it is damaged, of another kind or version, or another fingerprint's.
    """
    try:
        magic, version = data[:4], struct.unpack_from("<H", data, 4)[0]
        if magic != _MAGIC or version != _VERSION:
            raise StateError(f"state of {kind}: format {magic!r} {version}, expected {_MAGIC!r} {_VERSION}. {_REMEDY}")
        at = 6
        for name, expected in (("kind", kind), ("fingerprint", fingerprint)):
            found = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            if found != expected:
                raise StateError(f"state of {kind}: its {name} is {found}, expected {expected}. {_REMEDY}")
        body = zlib.decompress(data[at + 4 :])
        if zlib.crc32(body) != struct.unpack_from("<I", data, at)[0]:
            raise StateError(f"state of {kind}: the checksum is wrong. {_REMEDY}")
        return _arrays(body)
    except (struct.error, IndexError, ValueError, OverflowError, zlib.error) as error:
        raise StateError(f"state of {kind} is damaged: {error}. {_REMEDY}") from error


def select(
    arrays: Mapping[str, NDArray[Any]], prefix: str, like: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The arrays named ``prefix.name`` for each name of `like`.

    The second axis may be longer than that of `like`: state grows along it.

    Raises:
        StateError: one is missing or does not fit.
    """
    chosen = {}
    for name, expected in like.items():
        array = arrays.get(f"{prefix}.{name}")
        if array is None or array.dtype != expected.dtype or not _fits(array.shape, expected.shape):
            raise StateError(f"state array {prefix}.{name} is missing or does not fit. {_REMEDY}")
        chosen[name] = array
    return chosen


def _fits(shape: tuple[int, ...], least: tuple[int, ...]) -> bool:
    same = len(shape) == len(least) and shape[:1] == least[:1] and shape[2:] == least[2:]
    return same and shape[1:2] >= least[1:2]


def _arrays(body: bytes) -> dict[str, NDArray[Any]]:
    arrays, at = {}, 2
    for _ in range(struct.unpack_from("<H", body)[0]):
        length, dtype, ndim = struct.unpack_from("<BBB", body, at)
        name = body[at + 3 : at + 3 + length].decode()
        at += 3 + length
        shape = struct.unpack_from(f"<{ndim}I", body, at)
        at += 4 * ndim
        array = np.frombuffer(body, _DTYPES[dtype], prod(shape), at).reshape(shape)
        arrays[name] = array.astype(array.dtype.newbyteorder("="))
        at += array.nbytes
    if at != len(body):
        raise ValueError("trailing bytes")
    return arrays

"""The hash by which equal texts are recognised in a block, and the unchecked loads it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype
from numpy.typing import NDArray

from driftbus.schemas.kernel import INTERPRETED, leaf_kernel

PADDING = 16
"""Bytes that must follow the last one a kernel reads: loads are eight bytes wide."""

_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0x9FB21C651E98DF25)
_FINISH = np.uint64(0xD6E8FEB86659FD93)
_SECOND_SEED, _PRIME_1, _PRIME_2, _PRIME_3 = (
    np.uint64(0x27D4EB2F165667C5),
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
)
_NOT_ASCII = np.uint64(0x8080808080808080)


def _unaligned_load(result: Any, llvm_type: Any) -> Any:
    """A load at any byte of a uint8 array, without bounds check: numba has none of its own."""
    if INTERPRETED:
        dtype = as_dtype(result)
        return lambda array, index: np.frombuffer(array[index : index + dtype.itemsize].tobytes(), dtype)[0]

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def load(_typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            pointer = builder.bitcast(builder.gep(data, [arguments[1]]), llvm_type.as_pointer())
            value = builder.load(pointer)
            value.align = 1
            return value

        return result(array, types.int64), generate

    return load


load_u64 = _unaligned_load(types.uint64, ir.IntType(64))
load_f64 = _unaligned_load(types.float64, ir.DoubleType())
load_f32 = _unaligned_load(types.float32, ir.FloatType())


@leaf_kernel
def hash_text(text: NDArray[np.uint8], start: int, length: int) -> tuple[np.uint64, bool]:
    """(hash, only ASCII) of text[start : start + length]; reads up to 7 bytes beyond.

    Multiplicative, eight bytes a step; a bijection of each word, so that texts of one length up
    to 8 bytes never collide. Not for adversaries.
    """
    value = np.uint64(length + 1) * _SEED
    seen = np.uint64(0)
    at, end = start, start + length
    while at + 8 <= end:
        word = load_u64(text, at)
        seen |= word
        value = (value ^ word) * _MULTIPLIER
        value ^= value >> np.uint64(29)
        at += 8
    if at < end:
        word = load_u64(text, at) & ((np.uint64(1) << (np.uint64(end - at) * np.uint64(8))) - np.uint64(1))
        seen |= word
        value = (value ^ word) * _MULTIPLIER
        value ^= value >> np.uint64(29)
    value ^= value >> np.uint64(32)
    value *= _FINISH
    value ^= value >> np.uint64(32)
    return value, (seen & _NOT_ASCII) == np.uint64(0)


@leaf_kernel
def scatter(value: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): neighbours become strangers."""
    z = value + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@leaf_kernel
def _scatter_all(values: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    for i in range(values.size):
        out[i] = scatter(values[i])


@leaf_kernel
def _hash_all(
    text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int64], out: NDArray[np.uint64]
) -> None:
    for i in range(start.size):
        out[i], _ = hash_text(text, start[i], length[i])


@leaf_kernel
def _second_hash_all(
    text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int32], out: NDArray[np.uint64]
) -> None:
    for i in range(start.size):
        value = np.uint64(length[i]) * _SECOND_SEED + _PRIME_3
        at, left = start[i], np.int64(length[i])
        while left > 0:
            word = load_u64(text, at)
            if left < 8:
                word &= (np.uint64(1) << (np.uint64(left) * np.uint64(8))) - np.uint64(1)
            word *= _PRIME_2
            value ^= ((word << np.uint64(31)) | (word >> np.uint64(33))) * _PRIME_1
            value = ((value << np.uint64(27)) | (value >> np.uint64(37))) * _PRIME_1 + _PRIME_3
            at += 8
            left -= 8
        out[i] = scatter(value)


def second_hashes(text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A hash of the same texts that knows nothing of the first: rounds of XXH64 (Collet, 2012): uint64[n].

    Both together are 128 bits: among n different texts some two are alike in both with a probability of
    about n² / 2^129, 1.5e-19 for ten billion.
    """
    out = np.empty(start.size, np.uint64)
    _second_hash_all(text, start, length, out)
    return out


def hash_slices(text: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes of texts that lie in one buffer, with `PADDING` bytes behind the last: uint64[n]."""
    out = np.empty(start.size, np.uint64)
    _hash_all(text, start, length, out)
    return out


def hash_many(texts: Sequence[bytes]) -> NDArray[np.uint64]:
    """`hash_bytes` of each: uint64[n]."""
    joined = np.frombuffer(bytearray().join([*texts, bytes(PADDING)]), np.uint8)
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    return hash_slices(joined, np.cumsum(length) - length, length)


def hash_bytes(text: bytes) -> int:
    """The hash of one text, equal to `Block.text_hash` of a cell with the same UTF-8 bytes."""
    return int(hash_many([text])[0])


def scattered(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`scatter` of each."""
    out = np.empty(values.size, np.uint64)
    _scatter_all(values, out)
    return out

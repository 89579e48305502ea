"""Whether a file of LMDB's is whole, found out without trusting a byte of it.

LMDB itself follows damaged page numbers into a crash of the process, or gives out a page twice, and has no
checksums. So the file is read as plain bytes before LMDB opens it: both trees page by page, the checksum of
every value (`driftbus.stream.join.lmdbstore` appends it), the sum of all of them, and that no page is used
twice, free and used at once, or lost. The layout is that of lmdb 0.9 (`mdb.c`: MDB_meta, MDB_page, MDB_node).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from driftbus.stream.join.checksum import MARK, SUM, checksum

_HEADER = struct.Struct("<QHHHH")  # number, pad, flags, lower, upper; of overflow pages the last two are their number
_META = struct.Struct("<IIQQ")  # magic, version, address, size of the map
_TREE = struct.Struct("<IHHQQQQQ")  # pad, flags, depth, branches, leaves, overflow pages, entries, root
_LAST = struct.Struct("<QQ")  # last page, transaction
_NODE = struct.Struct("<HHHH")  # low and high half of size or page, flags or highest part of the page, size of the key
_WORD = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG, _INTEGER_KEYS = 1, 8
_NOWHERE = (1 << 64) - 1
_DEEPEST = 32


class Damaged(Exception):
    """The file is not what LMDB and we have written. Says what is wrong."""


class _Meta(NamedTuple):
    page_size: int
    free: tuple[int, ...]
    main: tuple[int, ...]
    last: int
    transaction: int


def check(file: Path) -> None:
    """Read the whole file. Nobody may write it meanwhile.

    Raises:
        Damaged: it can't be used.
        OSError: the disk refuses.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size:
            _Reader(descriptor).check()
    finally:
        os.close(descriptor)


class _Reader:
    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        first = self._meta(0, 0)
        second = self._meta(first.page_size, 1)
        if first.page_size != second.page_size:
            raise Damaged("two sizes of pages")
        self._meta_now = max(first, second, key=lambda meta: meta.transaction)
        self._size = self._meta_now.page_size
        self._seen: set[int] = {0, 1}

    def check(self) -> None:
        total, said = 0, None
        for key, value in self._entries(self._meta_now.main):
            if (
                len(value) < SUM.size
                or checksum(key, value[: -SUM.size]) != SUM.unpack_from(value, len(value) - SUM.size)[0]
            ):
                raise Damaged(f"the value of {key.hex()} does not have its checksum")
            if key == MARK:
                (said,) = SUM.unpack_from(value)
            else:
                total ^= checksum(key, value[: -SUM.size])
        if total != (said or 0):
            raise Damaged("values are missing" if said is not None else "another release wrote it, in another format")
        for _, value in self._entries(self._meta_now.free):
            pages = struct.unpack(f"<{len(value) // _WORD.size}Q", value)
            if not pages or pages[0] != len(pages) - 1:
                raise Damaged("a list of free pages has another length")
            for page in pages[1:]:
                self._take(page, 1)
        if len(self._seen) != self._meta_now.last + 1:
            raise Damaged(f"{len(self._seen)} of {self._meta_now.last + 1} pages are known of")

    def _meta(self, at: int, number: int) -> _Meta:
        data = self._read(at, _HEADER.size + _META.size + 2 * _TREE.size + _LAST.size)
        page, _, flags, _, _ = _HEADER.unpack_from(data)
        magic, version, address, _ = _META.unpack_from(data, _HEADER.size)
        trees = [_TREE.unpack_from(data, _HEADER.size + _META.size + i * _TREE.size) for i in range(2)]
        last, transaction = _LAST.unpack_from(data, len(data) - _LAST.size)
        size = trees[0][0]
        if (page, flags, magic, version) != (number, _META_PAGE, _MAGIC, _VERSION) or not 256 <= size <= 65_536:
            raise Damaged(f"page {number} is none of LMDB's")
        if (address, trees[0][1], trees[1][:2]) != (0, _INTEGER_KEYS, (0, 0)):
            raise Damaged("trees of another kind")
        return _Meta(size, trees[0], trees[1], last, transaction)

    def _read(self, at: int, length: int) -> bytes:
        data = os.pread(self._file, length, at)
        while data and len(data) < length:
            more = os.pread(self._file, length - len(data), at + len(data))
            if not more:
                break
            data += more
        if len(data) < length:
            raise Damaged(f"the file ends before byte {at + length}")
        return data

    def _take(self, page: int, count: int) -> None:
        """These pages are in use, or free, and nothing else may say so."""
        pages = range(page, page + count)
        if page < 2 or page + count > self._meta_now.last + 1:
            raise Damaged(f"page {page} lies outside of the file")
        if not self._seen.isdisjoint(pages):
            raise Damaged(f"page {page} is used twice")
        self._seen.update(pages)

    def _entries(self, tree: tuple[int, ...]) -> Iterator[tuple[bytes, bytes]]:
        *_, depth, _, _, _, entries, root = tree
        if root == _NOWHERE:
            if entries:
                raise Damaged("a tree has lost its root")
            return
        found = 0
        before: bytes | None = None
        integers = tree is self._meta_now.free
        for key, value in self._below(root, depth, None, None, integers):
            if before is not None and _order(key, integers) <= _order(before, integers):
                raise Damaged("keys are out of order")
            before, found = key, found + 1
            yield key, value
        if found != entries:
            raise Damaged(f"{found} of {entries} entries are there")

    def _below(
        self, page: int, depth: int, low: bytes | None, high: bytes | None, integers: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries of a subtree, whose keys lie from `low` up to, but not including, `high`."""
        self._take(page, 1)
        data = self._read(page * self._size, self._size)
        number, _, flags, lower, upper = _HEADER.unpack_from(data)
        wanted = _LEAF if depth == 1 else _BRANCH
        count = (lower - _HEADER.size) // 2
        if number != page or flags != wanted or count < 1 or not lower <= upper <= self._size or depth > _DEEPEST:
            raise Damaged(f"page {page} is no page of its tree")
        nodes = [self._node(data, upper, i) for i in range(count)]
        if flags == _LEAF:
            for at, key in nodes:
                if (low is not None and _order(key, integers) < _order(low, integers)) or (
                    high is not None and _order(key, integers) >= _order(high, integers)
                ):
                    raise Damaged(f"page {page} has a key that lies elsewhere")
                yield key, self._value(data, at, len(key))
            return
        for i, (at, key) in enumerate(nodes):
            bound = nodes[i + 1][1] if i + 1 < count else high
            least, middle, most, _ = _NODE.unpack_from(data, at)
            yield from self._below(least | middle << 16 | most << 32, depth - 1, key if i else low, bound, integers)

    def _node(self, data: bytes, upper: int, i: int) -> tuple[int, bytes]:
        """Where a node lies in its page, and its key."""
        (at,) = struct.unpack_from("<H", data, _HEADER.size + 2 * i)
        if not upper <= at <= len(data) - _NODE.size:
            raise Damaged("a node lies outside of its page")
        length = _NODE.unpack_from(data, at)[3]
        key = data[at + _NODE.size : at + _NODE.size + length]
        if len(key) != length:
            raise Damaged("a key ends outside of its page")
        return at, key

    def _value(self, data: bytes, at: int, key: int) -> bytes:
        low, high, flags, _ = _NODE.unpack_from(data, at)
        begin, length = at + _NODE.size + key, low | high << 16
        if flags not in (0, _BIG) or begin + (_WORD.size if flags else length) > len(data):
            raise Damaged("a value ends outside of its page")
        if not flags:
            return data[begin : begin + length]
        (page,) = _WORD.unpack_from(data, begin)
        count = -(-(_HEADER.size + length) // self._size)
        self._take(page, count)
        pages = self._read(page * self._size, _HEADER.size + length)
        number, _, kind, lower, upper = _HEADER.unpack_from(pages)
        if number != page or kind != _OVERFLOW or lower | upper << 16 != count:
            raise Damaged(f"page {page} does not hold the value it should")
        return pages[_HEADER.size :]


def _order(key: bytes, integers: bool) -> bytes:
    """What keys are ordered by: bytes, or integers as the processor has them."""
    return key[::-1] if integers else key

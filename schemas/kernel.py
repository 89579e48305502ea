"""Compiled inner loops: numba with an on-disk cache, without the GIL.

With NUMBA_DISABLE_JIT=1 they stay Python, a thousand times slower: for a debugger, for coverage, for fuzzing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

INTERPRETED = bool(cast(Any, numba.config).DISABLE_JIT)
"""Whether kernels are left as they are, in Python."""

_PACKAGE = Path(__file__).parents[1]
_IMPORT = re.compile(r"^from driftbus\.([\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)


def kernel(function: F) -> F:
    """Compile a loop over arrays with numba.

    The machine code is cached beside the source, or in the user's cache folder, or where
    NUMBA_CACHE_DIR says; where none of them can be written it is compiled again at each start.
    """
    return _compile(function)


def leaf_kernel(function: F) -> F:
    """A `kernel` that allocates no array: it works on those it is given, and returns none.

    Its arrays are borrowed from the caller, so they aren't counted. In loops that hand arrays to
    other kernels, counting them (atomic operations) costs as much as decoding a record does.
    """
    return _compile(function, _nrt=False)


def _compile(function: F, **options: Any) -> F:
    if INTERPRETED:
        return function
    try:
        compiled: Any = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # numba: "no locator available", neither folder is writable
        return cast(F, numba.njit(nogil=True, error_model="numpy", **options)(function))
    # numba looks at the function's own file only: what it calls could change, and the old code would go on
    compiled._cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename))
    compiled._cache.save_overload = _if_there_is_room(compiled._cache.save_overload)
    return cast(F, compiled)


def _if_there_is_room(save: Callable[..., None]) -> Callable[..., None]:
    """A cache is no more than a cache: on a disk that is full, or has failed, kernels are compiled and not kept."""

    def saved(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    return saved


@cache
def _stamp(file: Path) -> str:
    """Hash of a source file and of all files of this package that it imports, directly or not."""
    found: dict[Path, bytes] = {}
    ahead = [file]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found[path] = path.read_bytes()
            ahead += _imports(found[path].decode())
    contents = sorted(hashlib.sha256(content).digest() for content in found.values())
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _imports(source: str) -> list[Path]:
    files = []
    for module, names in _IMPORT.findall(source):
        place = _PACKAGE.joinpath(*module.split("."))
        candidates = [place, *(place / name for name in re.findall(r"\w+", names))]
        files += [path for c in candidates if (path := c.with_suffix(".py")).is_file()]
    return files

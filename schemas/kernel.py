"""Compiled inner loops: numba with an on-disk cache, without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


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
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function))
    except RuntimeError:  # numba: "no locator available", neither folder is writable
        return cast(F, numba.njit(nogil=True, error_model="numpy", **options)(function))

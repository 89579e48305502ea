"""Cells of an Arrow array as numbers or as texts, with a status for each; nothing raises on bad data.

A null is a null however it is spelled: as the file format's own, or as one of `NULLS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from driftbus.schemas.columns import INVALID, NULL, PRESENT
from driftbus.schemas.hashing import PADDING, hash_slices

pc: Any = pyarrow.compute
"""Its functions are made at run time, where type checkers can't see them."""

NULLS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "NaT", "None", "n/a", "nan", "none", "null", "?", r"\N",
)  # fmt: skip
"""Texts that mean that there is no value: those of pandas, of UCI files (?) and of MySQL (\\N)."""

_NULLS = pa.array(NULLS, pa.string())
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|Inf|INF|infinity|Infinity)$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_DECIMAL_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?$"


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of this type are texts, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether cells of this type are numbers (booleans are not)."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def numbers(array: Any, decimal_comma: bool = False) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """float64[n] and uint8[n] status of the cells: a text that is no number is invalid.

    Args:
        array: Arrow array of texts, numbers, booleans, or a dictionary of them.
        decimal_comma: whether ``1,5`` is one and a half; else commas may separate thousands.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        values, status = numbers(array.dictionary, decimal_comma)
        indices = array.indices
        at = indices.fill_null(0).to_numpy(zero_copy_only=False)
        if not values.size:
            return np.zeros(len(array)), np.full(len(array), NULL, np.uint8)
        valid = indices.is_valid().to_numpy(zero_copy_only=False)
        return values[at], np.where(valid, status[at], NULL).astype(np.uint8)
    if pa.types.is_null(kind):
        return np.zeros(len(array)), np.full(len(array), NULL, np.uint8)
    invalid = np.zeros(len(array), np.bool_)
    if is_text(kind):
        array, invalid = _parsed(array, decimal_comma)
    elif is_number(kind) or pa.types.is_boolean(kind):
        array = array.cast(pa.float64(), safe=False)
    else:
        invalid = array.is_valid().to_numpy(zero_copy_only=False)
        array = pa.nulls(len(array), pa.float64())
    status = np.where(array.is_valid().to_numpy(zero_copy_only=False), PRESENT, NULL).astype(np.uint8)
    status[invalid] = INVALID
    return array.fill_null(0.0).to_numpy(zero_copy_only=False), status


def _parsed(array: Any, decimal_comma: bool) -> tuple[Any, NDArray[np.bool_]]:
    """Texts as a float64 array, and where they are no numbers."""
    texts = _spelled_nulls(array)
    try:
        return texts.cast(pa.float64()), np.zeros(len(array), np.bool_)
    except pa.ArrowInvalid:
        pass
    distinct = texts.dictionary_encode()
    words = distinct.dictionary
    if decimal_comma:
        whole = pc.replace_substring(pc.replace_substring(words, ".", ""), ",", ".")
        words = pc.if_else(pc.match_substring_regex(words, _DECIMAL_COMMA), whole, words)
    else:
        whole = pc.replace_substring(words, ",", "")
        words = pc.if_else(pc.match_substring_regex(words, _THOUSANDS), whole, words)
    fine = pc.match_substring_regex(words, _NUMBER)
    parsed = pc.if_else(fine, words, pa.scalar(None, pa.string())).cast(pa.float64())
    bad = pc.invert(fine).take(distinct.indices).fill_null(False).to_numpy(zero_copy_only=False)
    return parsed.take(distinct.indices), bad


def _spelled_nulls(array: Any) -> Any:
    """Texts without surrounding blanks, null where they spell one."""
    texts = pc.utf8_trim_whitespace(array.cast(pa.string()))
    return pc.if_else(pc.is_in(texts, value_set=_NULLS), pa.scalar(None, pa.string()), texts)


def texts(array: Any) -> Any:
    """The cells as an Arrow array of strings: what equal values look like is the same in every format.

    Booleans become ``true`` and ``false``, whole numbers their digits (``1.0`` too), times ISO 8601.
    Nested values and bytes that are no UTF-8 become nulls.
    """
    if pa.types.is_dictionary(array.type):
        return texts(array.dictionary).take(array.indices)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    distinct = array.dictionary_encode() if not pa.types.is_nested(array.type) else None
    if distinct is None:
        return pa.nulls(len(array), pa.string())
    return _words(distinct.dictionary).take(distinct.indices)


def _words(values: Any) -> Any:
    kind = values.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return pa.array([_digits(v) for v in found.tolist()], pa.string())
    try:
        words = _spelled_nulls(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(values), pa.string())
    lower = pc.utf8_lower(words)
    words = pc.if_else(pc.is_in(lower, value_set=pa.array(["true", "false"])), lower, words)
    return pc.replace_substring_regex(words, r"^([+-]?\d+)\.0+$", r"\1")


def _digits(value: float) -> str | None:
    if value != value:
        return None
    return str(int(value)) if value == value // 1 and abs(value) < 1e15 else repr(value)


def text_cells(
    array: Any,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint8]]:
    """Strings as a block holds them: bytes, start, length, hash, status.

    Args:
        array: Arrow array of type string, as `texts` gives it.

    Returns:
        uint8[...] bytes with padding behind them, int64[n], int32[n], uint64[n], uint8[n].
    """
    n = len(array)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + n + 1] if n else np.zeros(1, np.int32)
    first, last = int(ends[0]), int(ends[-1])
    text = np.zeros(last - first + PADDING, np.uint8)
    if last > first:
        text[: last - first] = np.frombuffer(data, np.uint8)[first:last]
    start = (ends[:-1] - first).astype(np.int64)
    length = np.diff(ends).astype(np.int32)
    status = np.where(array.is_valid().to_numpy(zero_copy_only=False), PRESENT, NULL).astype(np.uint8)
    return text, start, length, hash_slices(text, start, length.astype(np.int64)), status

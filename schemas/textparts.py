"""What can be said of free text in any language: length, words, shares of kinds of characters, one word.

A text field becomes eight columns of the block, `derived_names` of it. The word is chosen by the hash
of the text, so the words of many rows are a fair sample of the vocabulary, and the same row has the
same word wherever it is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import NULL, PRESENT, Block
from driftbus.schemas.hashing import hash_text, scatter
from driftbus.schemas.kernel import leaf_kernel

NUMBERS = ("length", "words", "word_length", "digits", "upper", "punctuation", "non_ascii")
"""Characters; words; characters a word; shares of the characters that are so."""

WORD = "word"

_LENGTH, _WORDS, _WORD_LENGTH, _DIGITS, _UPPER, _PUNCTUATION, _NON_ASCII = range(7)
_SPACE, _PUNCTUATION_MARK, _LETTER, _DIGIT = range(4)


def derived_names(field: str) -> tuple[str, ...]:
    """Names of a text field's columns: ``review.length``, ..., the categorical ``review.word`` last."""
    return tuple(f"{field}.{part}" for part in (*NUMBERS, WORD))


def derived_columns(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Column → (text field, part), of the names that are derived: a field counts if all of its columns are there."""
    names = list(names)
    have = set(names)
    suffix = f".{WORD}"
    fields = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    whole = [field for field in fields if have.issuperset(derived_names(field))]
    return {f"{field}.{part}": (field, part) for field in whole for part in (*NUMBERS, WORD)}


def with_text_parts(block: Block, rows: Collection[int]) -> Block:
    """The block with columns of text fields behind its own.

    Args:
        block: n records.
        rows: t rows of its strings.

    Returns:
        A block with 7 t more numeric columns and t more strings: field by field, in the order of
        `NUMBERS`. Without characters there are no shares, without words no word: null. What is
        null or invalid stays so in all of them.
    """
    if not rows:
        return block
    numeric, numeric_status = [block.numeric], [block.numeric_status]
    starts, lengths, hashes, statuses = [], [], [], []
    for row in rows:
        values, status = np.zeros((7, block.n)), np.empty((7, block.n), np.uint8)
        start, length = np.zeros(block.n, np.int64), np.zeros(block.n, np.int32)
        word_hash, word_status = np.zeros(block.n, np.uint64), np.empty(block.n, np.uint8)
        _measure(
            block.text, block.text_start[row], block.text_length[row], block.text_hash[row], block.text_status[row],
            values, status, start, length, word_hash, word_status,
        )  # fmt: skip
        numeric.append(values)
        numeric_status.append(status)
        starts.append(start)
        lengths.append(length)
        hashes.append(word_hash)
        statuses.append(word_status)
    return replace(
        block,
        numeric=np.concatenate(numeric),
        numeric_status=np.concatenate(numeric_status),
        text_start=np.concatenate([block.text_start, starts]),
        text_length=np.concatenate([block.text_length, lengths]),
        text_hash=np.concatenate([block.text_hash, hashes]),
        text_status=np.concatenate([block.text_status, statuses]),
    )


@leaf_kernel
def _measure(
    text: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    status: NDArray[np.uint8],
    values: NDArray[np.float64],
    value_status: NDArray[np.uint8],
    word_start: NDArray[np.int64],
    word_length: NDArray[np.int32],
    word_hash: NDArray[np.uint64],
    word_status: NDArray[np.uint8],
) -> None:
    for i in range(start.size):
        for f in range(7):
            value_status[f, i] = status[i]
        word_status[i] = status[i]
        if status[i] != PRESENT:
            continue
        characters = words = letters = digits = upper = punctuation = non_ascii = 0
        inside = False
        at, end = start[i], start[i] + length[i]
        while at < end:
            point, size = _code_point(text, at, end)
            kind = _kind(point)
            characters += 1
            non_ascii += point >= 128
            digits += kind == _DIGIT
            punctuation += kind == _PUNCTUATION_MARK
            upper += _is_upper(point)
            if kind >= _LETTER:
                letters += 1
                words += not inside
            inside = kind >= _LETTER
            at += size
        values[_LENGTH, i], values[_WORDS, i] = characters, words
        if characters:
            values[_DIGITS, i], values[_UPPER, i] = digits / characters, upper / characters
            values[_PUNCTUATION, i], values[_NON_ASCII, i] = punctuation / characters, non_ascii / characters
        else:
            for f in range(_DIGITS, 7):
                value_status[f, i] = NULL
        if words:
            values[_WORD_LENGTH, i] = letters / words
            chosen = int(scatter(hashes[i]) % np.uint64(words))
            word_start[i], word_length[i] = _word(text, start[i], end, chosen)
            word_hash[i] = hash_text(text, word_start[i], int(word_length[i]))[0]
        else:
            value_status[_WORD_LENGTH, i] = word_status[i] = NULL


@leaf_kernel
def _word(text: NDArray[np.uint8], start: int, end: int, number: int) -> tuple[int, int]:
    """(start, length in bytes) of a word."""
    at, inside, first, seen = start, False, start, -1
    while at < end:
        point, size = _code_point(text, at, end)
        letter = _kind(point) >= _LETTER
        if letter and not inside:
            seen += 1
            first = at
        if inside and not letter and seen == number:
            return first, at - first
        inside = letter
        at += size
    return first, end - first


@leaf_kernel
def _code_point(text: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """(code point, bytes) of valid UTF-8."""
    lead = int(text[at])
    if lead < 0x80:
        return lead, 1
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    point = lead & (0x7F >> size)
    for k in range(1, size):
        point = (point << 6) | (int(text[at + k]) & 0x3F if at + k < end else 0)
    return point, size


@leaf_kernel
def _kind(point: int) -> int:
    if point < 128:
        if 48 <= point <= 57:
            return _DIGIT
        if 65 <= point <= 90 or 97 <= point <= 122:
            return _LETTER
        return _SPACE if point <= 32 or point == 127 else _PUNCTUATION_MARK
    if point == 0xA0 or 0x2000 <= point <= 0x200B or 0x2028 <= point <= 0x202F or point == 0x3000:
        return _SPACE
    if 0x80 <= point <= 0xBF or 0x2010 <= point <= 0x206F or 0x3001 <= point <= 0x303F or 0xFF01 <= point <= 0xFF0F:
        return _PUNCTUATION_MARK
    return _LETTER


@leaf_kernel
def _is_upper(point: int) -> bool:
    """Of Latin-1, Greek and Cyrillic; other scripts have no case, or are left out."""
    if point < 128:
        return 65 <= point <= 90
    return (0xC0 <= point <= 0xDE and point != 0xD7) or 0x391 <= point <= 0x3A9 or 0x400 <= point <= 0x42F

"""Columns of free text, as the columns that are derived from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from driftbus.detectors.reference import CategoryData, NumericData
from driftbus.schemas.columns import NULL, PRESENT, Block
from driftbus.schemas.textparts import derived_names, with_text_parts
from driftbus.stream.files.cells import pc, text_cells

_SAMPLE = 10_000
_LEAST_WORDS, _LEAST_LENGTH, _LEAST_DISTINCT, _LEAST_SPACES, _LEAST_NON_ASCII = 4.0, 20.0, 0.5, 0.5, 0.5


def text_data(field: str, words: Any, invalid: int = 0) -> dict[str, NumericData | CategoryData]:
    """The derived columns of a text field, by name.

    Args:
        field: its name.
        words: Arrow array of strings, null for null.
        invalid: further rows whose value had a wrong type.
    """
    block = with_text_parts(_block_of(words), [0])
    rows = len(words) + invalid
    found: dict[str, NumericData | CategoryData] = {}
    *numbers, word = derived_names(field)
    for name, values, status in zip(numbers, block.numeric, block.numeric_status, strict=True):
        known = np.full(rows, np.nan)
        known[: len(words)] = np.where(status == PRESENT, values, np.nan)
        present = np.ones(rows, np.bool_)
        present[: len(words)] = status != NULL
        found[name] = NumericData(known, present)
    texts = np.array([block.string(1, i) for i in range(len(words))], np.object_)
    found[word] = CategoryData(texts, invalid=invalid)
    return found


def reads_like_prose(words: Any) -> bool:
    """Whether texts are long, of several words, and mostly different: free text rather than names or codes."""
    sample = words.slice(0, _SAMPLE).drop_null()
    if not len(sample) or len(sample.unique()) < _LEAST_DISTINCT * len(sample):
        return False
    length, words, word_length, _, _, punctuation, non_ascii = with_text_parts(_block_of(sample), [0]).numeric
    spaces = length * (1 - punctuation) - words * word_length
    spaced = words.mean() >= _LEAST_WORDS and spaces.mean() >= _LEAST_SPACES * words.mean()
    # not every script writes spaces
    return bool(length.mean() >= _LEAST_LENGTH and (spaced or non_ascii.mean() >= _LEAST_NON_ASCII))


def _block_of(words: Any) -> Block:
    words = words if pa.types.is_string(words.type) else pc.cast(words, pa.string())
    text, start, length, hashes, status = text_cells(words)
    n = len(words)
    return Block(
        n, np.zeros(n, np.int64), np.zeros((0, n)), np.zeros((0, n), np.uint8),
        text, start[None], length[None], hashes[None], status[None],
    )  # fmt: skip

"""Texts of labels and of predicted classes to class codes.

A text is the class whose text it equals. Else, as topics and files write one number in several ways,
it is the class that equals it as a number: ``1``, ``1.0`` and ``1e0`` are one, and ``true`` and
``false``, in any case, are 1 and 0. Else it is *other*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.columns import PRESENT, Block

NONE = -1
"""Code of a missing label or prediction."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def class_code(shape: OutcomeShape, text: str | None) -> int:
    """The code of one text: its class, ``shape.labels`` for *other*, -1 for None or an empty text.

    Binary: 1 for the positive class, 0 for the negative one.
    """
    if not text:
        return NONE
    table = _table(shape)
    code = table.texts.get(text)
    if code is None:
        number = as_number(text)
        code = None if number is None else table.numbers.get(number)
    return table.rest if code is None else code


def class_codes(shape: OutcomeShape, block: Block, column: int) -> NDArray[np.int64]:
    """int64[n], the code of each cell of a text column of a block; invalid ones are *other*."""
    codes = np.where(block.text_status[column] == 0, NONE, shape.labels).astype(np.int64)
    present = np.flatnonzero(block.text_status[column] == PRESENT)
    _, first, which = np.unique(block.text_hash[column][present], return_index=True, return_inverse=True)
    known = [class_code(shape, block.string(column, int(present[row]))) for row in first.tolist()]
    codes[present] = np.array(known, np.int64)[which]
    return codes


def as_number(text: str) -> float | None:
    """The number that a text writes, None if it writes none; ``true`` and ``false`` are 1 and 0."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return float(lowered == "true")
    return float(lowered) if _NUMBER.fullmatch(lowered) else None


@dataclass(frozen=True, slots=True)
class _Table:
    texts: dict[str, int]
    numbers: dict[float, int]
    rest: int


@lru_cache(maxsize=64)
def _table(shape: OutcomeShape) -> _Table:
    if shape.kind == "binary":
        named = [(shape.positive, 1), *((text, 0) for text in shape.negatives)]
        rest = shape.labels if shape.negatives else 0
    else:
        named, rest = [(text, code) for code, text in enumerate(shape.classes)], shape.labels
    numbers: dict[float, int] = {}
    for text, code in named:
        number = as_number(text)
        if number is not None:
            numbers.setdefault(number, code)
    return _Table(dict(named), numbers, rest)

"""Calibration of binned scores: shares of positives that do not fall as scores rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """P(positive) of each bin.

    Args:
        share: float64[k], ascending, within 0 and 1.
        block: int64[k], the block of bins that share one value, numbered from 0.
        rows: float64[blocks], reference rows behind each block.
    """

    share: Float
    block: Int
    rows: Float


def calibrate(positive: Int, negative: Int) -> Calibration:
    """Isotonic regression of labels on binned scores, by pooling adjacent violators.

    Ayer, Brunk, Ewing, Reid and Silverman (1955), Annals of Mathematical Statistics 26, 641-647;
    as a calibration of classifiers: Zadrozny and Elkan (2002), KDD, 694-699. Integers are compared
    crosswise, so that no rounding decides what is pooled. A bin without rows belongs to the block below
    it, at the ends to the next one.

    Args:
        positive, negative: int64[k], reference rows by bin, scores ascending; not all 0.
    """
    held = np.flatnonzero(positive + negative)
    starts = _pool(positive[held].tolist(), negative[held].tolist())
    block_of_held = np.cumsum(starts) - 1
    blocks = int(block_of_held[-1]) + 1
    p = np.bincount(block_of_held, positive[held], blocks)
    n = p + np.bincount(block_of_held, negative[held], blocks)
    at = np.maximum(np.searchsorted(held, np.arange(positive.size), side="right") - 1, 0)
    block = block_of_held[at]
    return Calibration((p / n)[block], block, n.astype(np.float64))


def _pool(positive: list[int], negative: list[int]) -> list[int]:
    """1 where a block begins, 0 elsewhere."""
    blocks: list[tuple[int, int, int]] = []
    for i, (p, q) in enumerate(zip(positive, negative, strict=True)):
        first = i
        while blocks and blocks[-1][0] * q >= p * blocks[-1][1]:  # the odds below are no smaller
            below, above, first = blocks.pop()
            p, q = p + below, q + above
        blocks.append((p, q, first))
    begins = {first for _, _, first in blocks}
    return [int(i in begins) for i in range(len(positive))]

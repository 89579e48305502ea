"""Design effects of counts: how much more those of N successive values vary than those of independent ones.

D (Kish, 1965) is learned as in `driftbus.detectors.longrun`, from a squared distance q between adjacent
blocks of 1, 2, 4 ... panes whose expectation is 1 without autocorrelation. Autocorrelation loads few
directions: where D > 1, q has nu = 2 D^2 / var(q) degrees of freedom (Satterthwaite, 1946).

Known bias: learned degrees of freedom are a little high, because q is clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.nulls import squared_distance
from driftbus.schemas.kernel import kernel

GRID = 64
"""Points per degree of freedom of what `interpolated` takes."""

_PAIRS, _TOTAL, _SQUARES, LENGTH, _HAS_PENDING, _HAS_PREVIOUS = range(6)
_FIELDS = 6
_PENDING, _PREVIOUS = 0, 1
_PRIOR_PAIRS, _CLIP, _MEMORY, _LEAST_PAIRS, _SIGNIFICANCE = 2.0, 4.0, 1_000.0, 4.0, 4.0
_SCALES, _MOST_SCALES = 8, 30


class DesignEffects:
    """What is learned of c columns.

    Args:
        columns: c.
        widest: most bins of a column.
        static: float64[c, s, 3], (length, D, degrees of freedom) from an ordered reference, 0-padded.

    Attributes:
        moments, blocks: for `learn_design` and `design_of`.
    """

    def __init__(self, columns: int, widest: int, static: NDArray[np.float64] | None = None) -> None:
        self.static = np.zeros((columns, 1, 3)) if static is None else static
        self.moments = np.zeros((columns, _SCALES, _FIELDS))
        self.blocks = np.zeros((columns, _SCALES, 2, widest))
        self._panes = np.zeros(1, np.int64)

    def begin_pane(self) -> None:
        """One more pane: a scale is added before it is needed."""
        self._panes[0] += 1
        needed = int(self._panes[0]).bit_length() + 1
        if self.moments.shape[1] < needed <= _MOST_SCALES:
            more = min(_MOST_SCALES, needed + 3) - self.moments.shape[1]
            self.moments = np.pad(self.moments, ((0, 0), (0, more), (0, 0)))
            self.blocks = np.pad(self.blocks, ((0, 0), (0, more), (0, 0), (0, 0)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {"moments": self.moments, "blocks": self.blocks, "panes": self._panes}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self.moments, self.blocks = arrays["moments"], arrays["blocks"]
        self._panes[...] = arrays["panes"]


@kernel
def learn_design(
    moments: NDArray[np.float64],
    blocks: NDArray[np.float64],
    c: int,
    block: NDArray[np.float64],
    k: int,
    share: NDArray[np.float64],
    law: int,
    unit: float,
) -> None:
    """Take one pane of column c.

    Args:
        moments: float64[c, scales, 6], changed.
        blocks: float64[c, scales, 2, widest], changed.
        c: the column.
        block: float64[widest], its counts in the pane, on k bins; overwritten.
        k: bins.
        share: float64[c, widest], reference shares.
        law, unit: see `driftbus.detectors.nulls`.
    """
    for j in range(moments.shape[1]):
        size = before = 0.0
        for b in range(k):
            size += block[b]
            before += blocks[c, j, _PREVIOUS, b]
        if moments[c, j, _HAS_PREVIOUS] > 0:
            q = squared_distance(law, block, size, blocks[c, j, _PREVIOUS], before, k, share[c])
            q /= (1 / size + 1 / before) * unit
            prior, pairs = 1.0, moments[c, j, _PAIRS]
            if j > 0:
                prior = (moments[c, j - 1, _TOTAL] + _PRIOR_PAIRS) / (moments[c, j - 1, _PAIRS] + _PRIOR_PAIRS)
            q = min(q, _CLIP * (moments[c, j, _TOTAL] + _PRIOR_PAIRS * prior) / (pairs + _PRIOR_PAIRS))
            if pairs >= _MEMORY:
                for f in (_PAIRS, _TOTAL, _SQUARES):
                    moments[c, j, f] *= 1 - 1 / _MEMORY
            moments[c, j, _PAIRS] += 1
            moments[c, j, _TOTAL] += q
            moments[c, j, _SQUARES] += q * q
        for b in range(k):
            blocks[c, j, _PREVIOUS, b] = block[b]
        moments[c, j, _HAS_PREVIOUS], moments[c, j, LENGTH] = 1.0, size
        if moments[c, j, _HAS_PENDING] > 0:
            moments[c, j, _HAS_PENDING] = 0.0
            for b in range(k):
                block[b] += blocks[c, j, _PENDING, b]
        else:
            moments[c, j, _HAS_PENDING] = 1.0
            for b in range(k):
                blocks[c, j, _PENDING, b] = block[b]
            break


@kernel
def forget_blocks(moments: NDArray[np.float64], c: int) -> None:
    """A reported change of column c is not learned."""
    for j in range(moments.shape[1]):
        moments[c, j, _HAS_PENDING], moments[c, j, _HAS_PREVIOUS] = 0.0, 0.0


@kernel
def design_step(moments: NDArray[np.float64], c: int, j: int, full: float, highest: float) -> tuple[float, float]:
    """(D, degrees of freedom) at scale j where it is significant and above `highest`, else (0, 0).

    `full` is the number of degrees that independent values have.
    """
    pairs = moments[c, j, _PAIRS]
    if pairs < _LEAST_PAIRS:
        return 0.0, 0.0
    mean = moments[c, j, _TOTAL] / pairs
    if mean <= highest or mean <= 1 + _SIGNIFICANCE * np.sqrt(3 / (pairs * full)):
        return 0.0, 0.0
    variance = moments[c, j, _SQUARES] / pairs - mean * mean
    freedom = 2 * mean * mean / variance if variance > 0 else full
    return mean, min(max(freedom, 1.0), full)


@kernel
def design_of(
    moments: NDArray[np.float64], static: NDArray[np.float64], c: int, full: float, size: float
) -> tuple[float, float]:
    """(D, degrees of freedom) for a window of `size` values; (1, full) without autocorrelation."""
    design, freedom, highest, fewest = 1.0, full, 0.0, full
    for j in range(moments.shape[1]):
        mean, degrees = design_step(moments, c, j, full, highest)
        if mean > 0:
            # a coarse scale has few pairs and a poor estimate; it loads no more directions than a fine one
            highest, fewest = mean, min(fewest, degrees)
            here = mean * min(1.0, size / moments[c, j, LENGTH])
            if here > design:
                design, freedom = here, fewest
    for j in range(static.shape[1]):
        if static[c, j, 0] <= 0:
            break
        here = static[c, j, 1] * min(1.0, size / static[c, j, 0])
        if here > design:
            design, freedom = here, min(static[c, j, 2], full)
    return design, freedom


@kernel
def interpolated(values: NDArray[np.float64], freedom: float) -> float:
    """A function of the degrees of freedom, given at 1 + i / `GRID`."""
    place = (freedom - 1) * GRID
    low = min(int(place), values.size - 2)
    return float(values[low] + (place - low) * (values[low + 1] - values[low]))

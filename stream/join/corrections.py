"""What one label after another means for the same prediction: the first, a repetition, a correction, a withdrawal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import leaf_kernel

UNKNOWN, LABELLED, WITHDRAWN = 0, 1, 2
"""What is known of a prediction's label."""

FIRST, ADDED, REMOVED, DUP, CHANGED = 1, 2, 4, 8, 16
"""What a label does: a first pair; a pair added and one removed; nothing new; what is known changes."""


def correct(
    order: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    value: NDArray[np.float64],
    null: NDArray[np.bool_],
    known: NDArray[np.int64],
    old: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Go through the labels of each prediction in turn.

    Args:
        order: int64[m], labels by prediction and, of one prediction, by offset.
        fresh: bool[m], where in `order` a new prediction begins.
        value, null: of each label.
        known, old: of each label, what was known of its prediction before the first of them, and its value.

    Returns:
        of each label: int64[n] what it does; int64[n] what is known after it; float64[n] the value before it.
    """
    does, after = np.zeros(value.size, np.int64), np.zeros(value.size, np.int64)
    before = np.full(value.size, np.nan)
    _correct(order, fresh, value, null, known, old, does, after, before)
    return does, after, before


@leaf_kernel
def _correct(
    order: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    value: NDArray[np.float64],
    null: NDArray[np.bool_],
    known: NDArray[np.int64],
    old: NDArray[np.float64],
    does: NDArray[np.int64],
    after: NDArray[np.int64],
    before: NDArray[np.float64],
) -> None:
    state, held = 0, 0.0
    for k in range(order.size):
        i = order[k]
        if fresh[k]:
            state, held = known[i], old[i]
        before[i] = held
        same = value[i] == held or (np.isnan(value[i]) and np.isnan(held))
        if null[i]:
            if state == LABELLED:
                does[i], state = REMOVED | CHANGED, WITHDRAWN
            else:
                does[i] = DUP
        elif state == UNKNOWN:
            does[i], state, held = FIRST | CHANGED, LABELLED, value[i]
        elif state == WITHDRAWN:
            does[i], state, held = ADDED | CHANGED, LABELLED, value[i]
        elif same:
            does[i] = DUP
        else:
            does[i], held = ADDED | REMOVED | CHANGED, value[i]
        after[i] = state

"""A window's scores without labels, on the cells of the reference's pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import OutcomeShape

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """Predictions by score. The profile's bins are coarser: how they divide is taken from the reference.

    Args:
        counts: float64[k], predictions expected in each score cell, without those that have no score.
        group: int64[k], the profile's bin that a cell is part of.
        rows: int64[groups], predictions in each.
        reference: int64[groups], reference rows with a label in each.
        n: predictions with a score.
    """

    counts: Float
    group: Int
    rows: Int
    reference: Int
    n: int

    def division(self, of_cells: Float) -> float:
        """Variance of a sum over predictions of a value per cell, from not knowing how the bins divide.

        Multinomial, in the window and, as the shares are those of a sample, in the reference.
        """
        groups = self.rows.size
        share = self.counts / np.maximum(self.rows, 1)[self.group]
        middle = np.bincount(self.group, share * of_cells, groups)
        square = np.bincount(self.group, share * (of_cells - middle[self.group]) ** 2, groups)
        return float((self.rows * square * (1 + self.rows / np.maximum(self.reference, 1))).sum())


def window_of(shape: OutcomeShape, reference: Int, score_counts: Int) -> Window:
    """The window of these counts; see `driftbus.detectors.cbpe.estimate`.

    Args:
        shape: of the outcomes.
        reference: int64[score_cells - 1], the reference's labelled rows by score cell.
        score_counts: the window's predictions.

    Raises:
        ValueError: there are not as many cells as the shape says.
    """
    profile = bool(shape.reference_edges)
    expected = len(shape.reference_edges) + 5 if profile else shape.score_cells
    if score_counts.shape != (expected,):
        raise ValueError(f"scores of this shape have {expected} cells, not {score_counts.shape}")
    counts = np.maximum(score_counts, 0)
    if not profile:
        rows, group = counts[:-1], np.arange(reference.size)
        return Window(rows.astype(np.float64), group, rows, reference, int(rows.sum()))
    rows = counts[1:-3].copy()
    rows[0] += counts[0]
    rows[-1] += counts[-3]
    lower = np.array([-np.inf, -np.inf, *shape.edges, np.inf])
    group = np.searchsorted(np.array(shape.reference_edges), lower, side="left").astype(np.int64)
    known = np.bincount(group, reference, rows.size).astype(np.int64)
    # a bin that the reference's labels never met is divided evenly
    weight = np.where(known[group] > 0, reference, 1)
    share = weight / np.bincount(group, weight, rows.size)[group]
    return Window(share * rows[group], group, rows, known, int(rows.sum()))

"""What labels said of the training rows: the reference that performance is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.classes import class_code
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.regressionmetrics import interval_of
from driftbus.schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OutcomeReference:
    """Pairs of prediction and label of the reference.

    Args:
        shape: how they are counted.
        labels: rows that have a label.
        cells: ascending cells of the pair table that are not 0.
        counts: what they hold.

    Raises:
        ConfigError: the cells don't fit the shape.
    """

    shape: OutcomeShape
    labels: int
    cells: tuple[int, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        inside = all(0 <= cell < self.shape.pairs for cell in self.cells)
        ascending = all(a < b for a, b in zip(self.cells, self.cells[1:], strict=False))
        if not inside or not ascending or len(self.cells) != len(self.counts) or min(self.counts, default=1) < 1:
            raise ConfigError("the outcomes of a profile don't fit their shape", fix="make the profile again")

    def pairs(self) -> NDArray[np.int64]:
        """int64[pairs], the pair table."""
        table = np.zeros(self.shape.pairs, np.int64)
        table[list(self.cells)] = self.counts
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the shape is JSON text, so that new parts of it need no new schema."""
        shape = json.dumps(self.shape.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return {"shape": shape, "labels": self.labels, "cells": list(self.cells), "counts": list(self.counts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutcomeReference:
        """What `to_dict` wrote; raises ConfigError, KeyError, TypeError or ValueError."""
        return cls(
            OutcomeShape.from_dict(json.loads(data["shape"])),
            int(data["labels"]),
            tuple(int(cell) for cell in data["cells"]),
            tuple(int(count) for count in data["counts"]),
        )

    @classmethod
    def of(cls, shape: OutcomeShape, pairs: NDArray[np.int64], labels: int) -> OutcomeReference:
        """The reference that a pair table is."""
        cells = np.flatnonzero(pairs)
        return cls(shape, labels, tuple(cells.tolist()), tuple(pairs[cells].tolist()))


def outcome_reference(
    shape: OutcomeShape,
    score: NDArray[np.float64],
    prediction: NDArray[np.int64],
    label: NDArray[np.float64],
) -> OutcomeReference | None:
    """The reference of labelled rows; None when none has a label, or binary ones only one class.

    Args:
        shape: how they are counted.
        score, prediction: as `driftbus.detectors.outcomecells.pair_cells` takes them, n rows.
        label: float64[n], class code or value; NaN or -1 where the row has no label.
    """
    known = np.isfinite(label) & ((label >= 0) | (shape.kind == "regression"))
    if not known.any():
        return None
    if shape.kind == "binary" and np.unique(label[known & (label < shape.labels)]).size < shape.labels:
        return None
    cells, amounts = pair_cells(shape, score[known], prediction[known], label[known])
    pairs = np.zeros(shape.pairs, np.int64)
    np.add.at(pairs, cells.ravel(), amounts.ravel())
    if shape.kind == "regression":
        shape = replace(shape, interval=interval_of(shape, pairs))
    return OutcomeReference.of(shape, pairs, int(known.sum()))


def codes_of(shape: OutcomeShape, texts: NDArray[np.object_]) -> NDArray[np.int64]:
    """int64[n], class codes of texts, -1 for None."""
    known = {text: class_code(shape, text) for text in set(texts.tolist())}
    return np.array([known[text] for text in texts.tolist()], np.int64)

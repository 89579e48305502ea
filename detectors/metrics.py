"""Metrics of a model from the pair table of its outcomes, each with an interval, or why it has none.

docs/performance.md defines every metric and names the interval's source and what bins cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import binarymetrics, multiclassmetrics, regressionmetrics
from driftbus.detectors.intervals import Estimate as Estimate
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.outcomeconfig import Metric

Int = NDArray[np.int64]
Measured = dict[str, Estimate | str]

METRICS: tuple[str, ...] = get_args(Metric)
"""Every metric by name, in the order of the pages."""

_KINDS: dict[str, Callable[[OutcomeShape, Int, float], Measured]] = {
    "binary": binarymetrics.measure,
    "multiclass": multiclassmetrics.measure,
    "regression": regressionmetrics.measure,
}


def metrics(
    shape: OutcomeShape, pairs: Int, names: Iterable[str] | None = None, confidence: float = 0.95
) -> dict[str, Estimate]:
    """The metrics that these outcomes define.

    Args:
        shape: of the outcomes.
        pairs: int64[shape.pairs], as `driftbus.detectors.outcomes.pairs_first` or `pairs_now` gives them.
            A cell below 0 (a correction without its first label) counts as 0.
        names: which metrics; None: all.
        confidence: of the intervals.

    Returns:
        Metric → estimate; an undefined metric is not in it, see `undefined`.

    Raises:
        ValueError: the table is not of that shape.
    """
    return {name: e for name, e in _measure(shape, pairs, names, confidence).items() if isinstance(e, Estimate)}


def undefined(shape: OutcomeShape, pairs: Int, names: Iterable[str] | None = None) -> dict[str, str]:
    """Metric → why these outcomes don't define it."""
    return {name: reason for name, reason in _measure(shape, pairs, names, 0.95).items() if isinstance(reason, str)}


def left_out(shape: OutcomeShape, pairs: Int) -> dict[str, int]:
    """Pairs that some metric leaves out, by reason: label or prediction missing or of no known class, and so on."""
    _check(shape, pairs)
    if shape.kind == "regression":
        missing = shape.table("missing", pairs)
        found = {
            "label missing": int(missing[:, 1].sum()),
            "prediction missing": int(missing[1].sum()),
            "error clipped": int(shape.table("clipped", pairs)[0]),
        }
        return {reason: n for reason, n in found.items() if n}
    score = shape.table("score", pairs)
    labels = shape.table("confusion" if shape.kind == "multiclass" else "score", pairs).sum(axis=0)
    found = {
        "label missing": int(labels[-1]),
        "label of no known class": int(labels[-2]),
        "score missing": int(score[-1].sum()),
        "score outside 0 to 1": int(score[0].sum() + score[-2].sum()) if shape.probability else 0,
    }
    if "confusion" in shape.parts:
        guesses = shape.table("confusion", pairs).sum(axis=1)
        found |= {"prediction missing": int(guesses[-1]), "prediction of no known class": int(guesses[-2])}
    return {reason: n for reason, n in found.items() if n}


def _measure(shape: OutcomeShape, pairs: Int, names: Iterable[str] | None, confidence: float) -> Measured:
    _check(shape, pairs)
    found = _KINDS[shape.kind](shape, np.maximum(pairs, 0), confidence)
    wanted = METRICS if names is None else tuple(names)
    return {name: found.get(name, f"not defined for {shape.kind} outcomes") for name in wanted}


def _check(shape: OutcomeShape, pairs: Int) -> None:
    if pairs.shape != (shape.pairs,):
        raise ValueError(f"a pair table of this shape has {shape.pairs} cells, not {pairs.shape}")

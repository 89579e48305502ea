"""Performance before labels come: what calibrated scores let expect.

Confidence-based performance estimation: a calibrated score says how often its prediction is right,
so that expected confusion counts, and metrics of them, follow from scores alone. It is NannyML's CBPE
(Białek, Kuberski, Perrakis and Bifet, 2024, arXiv 2401.08348) on counts: isotonic regression on the
reference's bins calibrates.

It holds while P(label | score) is that of the reference: the inputs may shift (covariate shift), but
a change of what they mean (concept drift) is not seen, and no interval holds it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.binarymetrics import confusion, threshold_row
from driftbus.detectors.directloss import estimate_errors
from driftbus.detectors.expected import decisions, gradients, rankings
from driftbus.detectors.intervals import Estimate, bounded, positive_value
from driftbus.detectors.isotonic import Calibration, calibrate
from driftbus.detectors.outcomes import LEAST_PROBABILITY, LOSS_UNIT, OutcomeShape
from driftbus.detectors.windowcells import Window, window_of

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Slopes = dict[str, tuple[float, Float, Float]]

LEAST_HITS = 5.0
"""Expected true positives from which on metrics of them are estimated: of fewer no normal law holds."""

_OF_HITS = ("precision", "recall", "f1")


def estimate(
    shape: OutcomeShape, reference_pairs: Int, score_counts: Int, confidence: float = 0.95
) -> dict[str, Estimate]:
    """The metrics of a window that has no labels yet.

    The interval is one for the value that labels will give: it holds the chance of the window's own
    labels (a sum of independent yes-or-no values, Poisson-binomial) and the sampling error of the
    reference's calibration, both by the delta method.

    Args:
        shape: of the outcomes.
        reference_pairs: int64[shape.pairs], the pair table of the reference.
        score_counts: the window's predictions by score: int64[len(shape.reference_edges) + 5], the cells of
            the score's column in the profile (underflow, bins, overflow, null, invalid); of a shape
            without ``reference_edges`` int64[shape.score_cells]. Regression: of the predicted value.
        confidence: that the labels' value will lie within.

    Returns:
        Metric → estimate, with the predictions counted as n. Binary: all but ``ece``, as far as defined;
        decisions only if the predicted class is what some threshold says in the reference, and those of
        true positives only if `LEAST_HITS` are expected. Multiclass: ``accuracy``. Regression: ``mae`` and
        ``rmse``. {} without scores or reference.

    Raises:
        ValueError: the counts are not of that shape.
    """
    if reference_pairs.shape != (shape.pairs,):
        raise ValueError(f"a pair table of this shape has {shape.pairs} cells, not {reference_pairs.shape}")
    if shape.kind == "regression":
        return estimate_errors(shape, reference_pairs, score_counts, confidence)
    table = np.maximum(shape.table("score", reference_pairs)[:-1], 0)
    negative, positive = table[:, 0], table[:, 1]
    window = window_of(shape, positive + negative, score_counts)
    if not window.n or not (positive + negative).any():
        return {}
    calibration = calibrate(positive, negative)
    p, q = window.counts * calibration.share, window.counts * (1 - calibration.share)
    if shape.kind == "multiclass":
        found = gradients(_right, p, q)
    else:
        found = gradients(rankings, p, q)
        yes = _decided(shape, reference_pairs)
        if yes is not None:
            decided = gradients(partial(decisions, yes=yes), p, q)
            if float((p * yes[0]).sum()) < LEAST_HITS:
                decided = {name: slopes for name, slopes in decided.items() if name not in _OF_HITS}
            found |= decided
    known = {
        name: Estimate(value, *bounded(value, _variance(window, calibration, *slopes), window.n, confidence), window.n)
        for name, (value, *slopes) in found.items()
    }
    if shape.kind == "binary" and shape.probability:
        for name, (value, *slopes) in _losses(shape, reference_pairs, p, q).items():
            variance = _variance(window, calibration, *slopes)
            known[name] = Estimate(value, *positive_value(value, variance, confidence), window.n)
    return known


def _variance(window: Window, calibration: Calibration, by_positive: Float, by_negative: Float) -> float:
    """Of a metric with these slopes: the window's labels, the shares of the reference, the division of bins."""
    n, block = calibration.rows, calibration.block
    # a block of one kind of labels only has some error too: half a row of each kind is added
    share = (calibration.share * n[block] + 0.5) / (n[block] + 1)
    swing, noise = by_positive - by_negative, share * (1 - share)
    labels = float((window.counts * noise * swing**2).sum())
    weight = np.bincount(block, window.counts * swing, n.size)
    of_block = np.bincount(block, noise, n.size) / np.bincount(block, minlength=n.size)
    shares = float((weight**2 * of_block / n).sum())
    return labels + shares + window.division(calibration.share * by_positive + (1 - calibration.share) * by_negative)


def _right(right: Float, wrong: Float) -> dict[str, Float]:
    return {"accuracy": right.sum(axis=1) / (right.sum(axis=1) + wrong.sum(axis=1))}


def _decided(shape: OutcomeShape, pairs: Int) -> tuple[Float, Float] | None:
    """Share of each score cell's positives, and of its negatives, predicted positive; None: not a matter of scores.

    A predicted class that is a field of its own may follow another threshold than the configured one:
    the reference's counts say in which bin it lies, and how it divides that bin.
    """
    table, k = shape.table("score", pairs)[:-1], shape.score_cells - 1
    if not shape.predicted:
        above = (np.arange(k) >= threshold_row(shape)).astype(np.float64)
        return above, above
    own = confusion(shape, pairs)
    if (own.tp + own.fn, own.fp + own.tn) != (int(table[:, 1].sum()), int(table[:, 0].sum())):
        return None
    for j in range(k):
        inside = [(own.tp, table[:, 1]), (own.fp, table[:, 0])]
        rest = [(hits - int(rows[j + 1 :].sum()), int(rows[j])) for hits, rows in inside]
        if all(0 <= part <= whole for part, whole in rest):
            yes = [(np.arange(k) > j).astype(np.float64) for _ in rest]
            for share, (part, whole) in zip(yes, rest, strict=True):
                share[j] = part / whole if whole else 0.5
            return yes[0], yes[1]
    return None


def _losses(shape: OutcomeShape, pairs: Int, p: Float, q: Float) -> Slopes:
    """Log loss and Brier score: those of the bins' middles, and the difference that bins make in the reference."""
    edges = np.array([0.0, *shape.edges, 1.0])
    middle = (edges[:-1] + edges[1:]) / 2
    middle[0] = 0.0 if edges[1] <= LEAST_PROBABILITY else middle[0]
    middle = np.clip(np.concatenate([[middle[0]], middle, [middle[-1]]]), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    table, n, found = shape.table("score", pairs)[:-1], float(p.sum() + q.sum()), {}
    rows = int(table[1:-1, :2].sum())
    losses = {"log_loss": (-np.log(middle), -np.log(1 - middle)), "brier": ((1 - middle) ** 2, middle**2)}
    for name, (of_positive, of_negative) in losses.items():
        binned = float((table[1:-1, 1] * of_positive[1:-1] + table[1:-1, 0] * of_negative[1:-1]).sum())
        off = (int(shape.table(name, pairs)[0]) * LOSS_UNIT - binned) / max(1, rows)
        value = float((p * of_positive + q * of_negative).sum()) / n + off
        found[name] = (max(0.0, value), of_positive / n, of_negative / n)
    return found

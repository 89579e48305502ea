"""How far probabilities are to be believed: the reliability curve and the expected calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import quantile, wilson
from driftbus.detectors.outcomes import SCORE_UNIT, OutcomeShape


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of the reliability curve.

    Args:
        score: mean score.
        share: share of the bin's rows that are positive (multiclass: predicted right).
        low, high: Wilson's interval of that share.
        n: rows.
    """

    score: float
    share: float
    low: float
    high: float
    n: int


def reliability_curve(shape: OutcomeShape, pairs: NDArray[np.int64], confidence: float = 0.95) -> list[Reliability]:
    """The bins that hold rows, scores ascending; [] where scores are no probabilities.

    Murphy and Winkler (1977), Applied Statistics 26, 41-47.
    """
    if "reliability" not in shape.parts:
        return []
    sums, wrong, right = np.maximum(shape.table("reliability", pairs), 0).tolist()
    return [
        Reliability(total * SCORE_UNIT / (no + yes), yes / (no + yes), *wilson(yes, no + yes, confidence), no + yes)
        for total, no, yes in zip(sums, wrong, right, strict=True)
        if no + yes
    ]


def calibration_error(curve: list[Reliability], confidence: float = 0.95) -> tuple[float, float, float]:
    """Expected calibration error: mean over rows of |share - score| of their bin; with its bounds.

    Naeini, Cooper and Hauskrecht (2015), AAAI, 2901-2907. Known bias: noise of the shares makes it
    positive even where scores are calibrated. The bounds hold for the error without that noise, given
    the bins. With noise e_b of the share of bin b, the triangle inequality gives
    |measured - true| <= sum w_b |e_b|, from whose first two moments the lower bound is taken; the
    measured error's mean is at least the true one and its variance at most sum w_b^2 var(e_b), which
    gives the upper bound. Both are conservative.

    Args:
        curve: at least one bin.
        confidence: of the interval.
    """
    n = sum(each.n for each in curve)
    value = sum(each.n * abs(each.share - each.score) for each in curve) / n
    z = quantile(confidence)
    # the share of few rows says little of its noise: that of a calibrated bin is the least assumed
    shares = [max(each.share * (1 - each.share), each.score * (1 - each.score)) for each in curve]
    noise = [each.n / n * math.sqrt(spread / each.n) for each, spread in zip(curve, shares, strict=True)]
    squares = sum(each * each for each in noise)
    most = math.sqrt(2 / math.pi) * sum(noise) + z * math.sqrt((1 - 2 / math.pi) * squares)
    return value, max(0.0, value - most), min(1.0, value + z * math.sqrt(squares))

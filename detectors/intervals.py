"""Confidence intervals from counts and moments. Two-sided; each names its source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri, stdtrit


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric and what can be said of it.

    Args:
        value: as measured, or as estimated.
        low, high: bounds of the confidence interval.
        n: labels, or predictions, behind it; of a share those it is a share of.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def error(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def quantile(confidence: float) -> float:
    """z with P(|normal| < z) = confidence."""
    return float(ndtri((1 + confidence) / 2))


def wilson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion, n > 0 trials, not necessarily whole.

    The score interval of Wilson (1927), Journal of the American Statistical Association 22, 209-212:
    all p that a normal test of `hits` does not reject.
    """
    z2 = quantile(confidence) ** 2
    p = hits / n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(max(0.0, p * (1 - p) / n + z2 / (4 * n * n))) * math.sqrt(z2) / (1 + z2 / n)
    return max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach))


def bounded(value: float, variance: float, least: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a mean-like metric in [0, 1] from its variance: Wilson's with an effective sample size.

    value (1 - value) / variance independent trials would be as uncertain (Korn and Graubard, 1998,
    Survey Methodology 24, 193-201). Unlike value +- z sqrt(variance) it stays within [0, 1].

    Args:
        value: 0 to 1.
        variance: of the value.
        least: effective trials where the sample shows no variance, as in a perfect ranking.
        confidence: of the interval.
    """
    spread = value * (1 - value)
    return wilson(value * (n := spread / variance if spread > 0 and variance > 0 else least), n, confidence)


def mean_of(intervals: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Interval of the mean of independent estimates, from an interval of each.

    MOVER, the method of variance estimates recovery: Zou and Donner (2008), Statistics in Medicine
    27, 1693-1702; Newcombe (1998) for two proportions.

    Args:
        intervals: (value, low, high) of each.
    """
    k = len(intervals)
    mean = sum(value for value, _, _ in intervals) / k
    down = math.sqrt(sum((value - low) ** 2 for value, low, _ in intervals)) / k
    up = math.sqrt(sum((high - value) ** 2 for value, _, high in intervals)) / k
    return mean - down, mean + up


def mean(value: float, variance: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of n values with that variance of one value; n < 2: unbounded."""
    if n < 2:
        return -math.inf, math.inf
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * math.sqrt(max(0.0, variance) / n)
    return value - reach, value + reach


def positive_mean(value: float, variance: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """`mean` of values that are at least 0 and skewed to the right, on the scale of its logarithm.

    Delta method: the error of ln(mean) is that of the mean, divided by it (Casella and Berger, 2002,
    Statistical Inference, section 5.5.4).
    """
    if n < 2:
        return 0.0, math.inf
    if value <= 0:
        return 0.0, max(0.0, mean(value, variance, n, confidence)[1])
    reach = mean(0.0, variance / (value * value), n, confidence)[1]
    return value * math.exp(-reach), value * math.exp(min(reach, 700.0))


def positive_value(value: float, variance: float, confidence: float = 0.95) -> tuple[float, float]:
    """`positive_mean` of any positive quantity, from its own variance, normal on the scale of its logarithm."""
    if value <= 0:
        return 0.0, quantile(confidence) * math.sqrt(variance)
    reach = quantile(confidence) * math.sqrt(variance) / value
    return value * math.exp(-reach), value * math.exp(min(reach, 700.0))


def f1(true_positive: int, wrong: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of F1 = 2 tp / (2 tp + fp + fn); wrong = fp + fn, and tp + wrong > 0.

    tp / (tp + fp + fn) = F1 / (2 - F1) is a proportion of the rows that aren't true negatives, so
    Wilson's interval of it, transformed: the indirect score interval of Lam, Gopal and Qian (2023),
    arXiv 2309.14621.
    """
    low, high = wilson(true_positive, true_positive + wrong, confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)

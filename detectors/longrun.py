"""Long-run variance: how much more the mean of a block varies than that of independent values.

Haar contrasts between adjacent blocks of 2^j panes (the Haar wavelet variance: Percival and Walden,
2000, "Wavelet Methods for Time Series Analysis", chapter 8). Two blocks of n_a and n_b values give

    q = (mean_a - mean_b)^2 / (1/n_a + 1/n_b),

whose expectation is the variance where values are independent. lambda_j is the mean of q at scale j, or,
where that is larger, sqrt(mean of q^2 / 3): equal for normal means, larger where the variance itself comes in
clusters, so that extreme means are more frequent than normal ones of the same variance.
Known bias: q is clipped at nine times its current estimate, so that a change does not pass
for noise; lambda is therefore a little low where values are heavy-tailed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel

PENDING_N, PENDING_SUM, PREVIOUS_N, PREVIOUS_SUM, PAIRS, TOTAL, LENGTH, SQUARES = range(8)
"""Fields of one scale: the half-built block, the last whole one, pairs seen, sum of q, block length,
sum of q^2."""

FIELDS = 8
SCALES = 32
PRIOR_PAIRS = 2.0
CLIP = 9.0
MEMORY = 1_000.0
LEAST_PAIRS = 4.0
SIGNIFICANCE = 4.0
TAIL_VALUES = 32.0
"""Values in a block from which on its mean is nearly normal, and q^2 counts."""


@dataclass(frozen=True, slots=True)
class LongRun:
    """Autocorrelation of one score, learned from training rows in time order.

    Args:
        score: name of the score inside the column (``loc``, ``spr``, ``nulls``, ``psi``, ...).
        lengths: block lengths, in values, ascending.
        variances: long-run variance of the score at that length (``psi``: design effect), ascending.
        freedom: ``psi``: degrees of freedom at that length; empty for the other scores.
    """

    score: str
    lengths: tuple[float, ...]
    variances: tuple[float, ...]
    freedom: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "score": self.score,
            "lengths": list(self.lengths),
            "variances": list(self.variances),
            "freedom": list(self.freedom),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LongRun:
        """From its JSON values; raises KeyError, TypeError or ValueError where they are none."""
        lengths, variances, freedom = (
            tuple(float(value) for value in data[name]) for name in ("lengths", "variances", "freedom")
        )
        return cls(str(data["score"]), lengths, variances, freedom)


@kernel
def learn(scales: NDArray[np.float64], i: int, n: float, total: float, variance: float, tails: bool) -> None:
    """Take one pane of score i.

    Args:
        scales: float64[s, scales, FIELDS], changed.
        i: score.
        n, total: values of the pane and their sum.
        variance: prior of q at the finest scale.
        tails: whether q^2 counts; not for shares, whose means are far from normal when they are rare.
    """
    for j in range(scales.shape[1]):
        if scales[i, j, PREVIOUS_N] > 0:
            difference = total / n - scales[i, j, PREVIOUS_SUM] / scales[i, j, PREVIOUS_N]
            q = difference * difference / (1 / n + 1 / scales[i, j, PREVIOUS_N])
            prior = variance
            if j > 0:
                prior = (scales[i, j - 1, TOTAL] + PRIOR_PAIRS * variance) / (scales[i, j - 1, PAIRS] + PRIOR_PAIRS)
            pairs = scales[i, j, PAIRS]
            estimate = (scales[i, j, TOTAL] + PRIOR_PAIRS * max(prior, 1e-12)) / (pairs + PRIOR_PAIRS)
            if pairs >= MEMORY:
                scales[i, j, PAIRS] *= 1 - 1 / MEMORY
                scales[i, j, TOTAL] *= 1 - 1 / MEMORY
                scales[i, j, SQUARES] *= 1 - 1 / MEMORY
            scales[i, j, PAIRS] += 1
            q = min(q, CLIP * estimate)
            scales[i, j, TOTAL] += q
            if tails and n >= TAIL_VALUES:
                scales[i, j, SQUARES] += q * q
        scales[i, j, PREVIOUS_N] = n
        scales[i, j, PREVIOUS_SUM] = total
        scales[i, j, LENGTH] = n
        if scales[i, j, PENDING_N] > 0:
            n += scales[i, j, PENDING_N]
            total += scales[i, j, PENDING_SUM]
            scales[i, j, PENDING_N] = 0
            scales[i, j, PENDING_SUM] = 0
        else:
            scales[i, j, PENDING_N] = n
            scales[i, j, PENDING_SUM] = total
            break


@kernel
def forget_blocks(scales: NDArray[np.float64], i: int) -> None:
    """Drop the blocks of score i: contrasts across a reported change are not learned."""
    for j in range(scales.shape[1]):
        for k in (PENDING_N, PENDING_SUM, PREVIOUS_N, PREVIOUS_SUM):
            scales[i, j, k] = 0


@kernel
def steps(
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    i: int,
    variance: float,
    out: NDArray[np.float64],
) -> int:
    """Where the long-run variance of score i rises significantly above `variance`.

    lambda_j counts if it has at least four pairs and exceeds variance (1 + 4 sqrt(3 / pairs)).

    Args:
        scales: float64[s, scales, FIELDS].
        static: float64[s, k, 2], (length, variance) learned from an ordered reference; length 0 ends it.
        i: score.
        variance: what independent values would give.
        out: float64[2 * SCALES, 2], takes (length, running maximum of lambda), ascending.

    Returns:
        Number of steps written.
    """
    count, highest = 0, 0.0
    for j in range(scales.shape[1]):
        pairs = scales[i, j, PAIRS]
        if pairs < LEAST_PAIRS:
            continue
        mean = max(scales[i, j, TOTAL] / pairs, np.sqrt(scales[i, j, SQUARES] / (3 * pairs)))
        if mean > highest and mean > variance * (1 + SIGNIFICANCE * np.sqrt(3 / pairs)):
            out[count, 0], out[count, 1] = scales[i, j, LENGTH], mean
            count, highest = count + 1, mean
    for j in range(static.shape[1]):
        if static[i, j, 0] <= 0:
            break
        out[count, 0], out[count, 1] = static[i, j, 0], static[i, j, 1]
        count += 1
    return count


@kernel
def at(out: NDArray[np.float64], count: int, n0: float, n1: float) -> float:
    """Long-run variance for comparing the means of n0 and n1 values; 0 if nothing is significant.

    max over steps with length <= 2 max(n0, n1) of lambda min(1, 2 min(n0, n1) / length): a
    coarse scale moves every shorter block too.
    """
    longest, shortest, variance = 2 * max(n0, n1), 2 * min(n0, n1), 0.0
    for k in range(count):
        if out[k, 0] <= longest:
            variance = max(variance, out[k, 1] * min(1.0, shortest / out[k, 0]))
    return variance

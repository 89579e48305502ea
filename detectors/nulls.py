"""What distances between two samples of one distribution are: their laws without drift.

With k bins of shares p and samples of N and M values, d / sqrt(1/N + 1/M), d being the difference
of the shares, is about normal with covariance diag(p) - p p' (the multinomial law). From that

- PSI, 8 JS^2, 8 H^2 and chi-squared are all sum of d^2 / p to first order: chi-squared, k - 1 degrees;
- KS is the largest of k - 1 normal variables (a Brownian bridge looked at in k - 1 places), TV the
  largest over all sets of bins, Wasserstein over all signs of the steps: their upper quantiles are
  bounded by the sum over those directions (Boole), for KS also by Kolmogorov's law (1933).

In one form: T^2 / ((1/N + 1/M) unit) has mean 1; its quantile is chi2_nu(1 - alpha) / nu, `freedom`
being the nu for which that holds at the level alpha.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, kolmogi, log_ndtr, logsumexp, ndtri

from driftbus.detectors.eigen import product
from driftbus.schemas.kernel import kernel

QUADRATIC, KS, TV, WASSERSTEIN = range(4)
"""Laws."""

LAWS = {"psi": QUADRATIC, "js": QUADRATIC, "hellinger": QUADRATIC, "chi2": QUADRATIC, "ks": KS, "tv": TV,
        "wasserstein": WASSERSTEIN}  # fmt: skip

STATIC = ("psi", "ks", "tv", "wasserstein")
"""By law, the name under which a profile keeps what an ordered reference says of it (`LongRun.score`)."""

_POINTS = 4_096
_MOST_DIRECTIONS = 13


@lru_cache(maxsize=4_096)
def null_law(law: int, share: tuple[float, ...], alpha: float) -> tuple[float, float, float]:
    """(unit, degrees of freedom of q, degrees of freedom at the level) of a column.

    Args:
        law: which.
        share: reference shares of its bins, all positive, at least two.
        alpha: level of one judgement.

    Returns:
        Mean of T^2 / (1/N + 1/M); 2 mean^2 / variance of it; nu at the level. Known bias: the last
        comes from an upper bound, so that thresholds of KS, TV and Wasserstein are up to 5 % high.
    """
    p = np.array(share)
    if law == QUADRATIC or p.size == 2:
        unit = 1.0 if law == QUADRATIC else float(p[0] * p[1])
        return unit * (p.size - 1), p.size - 1.0, p.size - 1.0
    squares = _squares(law, _normal_differences(p))
    unit = float(squares.mean())
    return unit, 2 * unit * unit / float(squares.var()), _freedom(upper_quantile(law, p, alpha) ** 2 / unit, alpha)


def upper_quantile(law: int, share: NDArray[np.float64], alpha: float) -> float:
    """Bound that T / sqrt(1/N + 1/M) exceeds with probability of at most alpha.

    Args:
        law: ``KS``, ``TV`` or ``WASSERSTEIN``.
        share: float64[k], shares of the bins.
        alpha: level.
    """
    bound = _boole(_directions(law, share), alpha)
    return min(bound, float(kolmogi(alpha))) if law == KS else bound


@kernel
def squared_distance(
    law: int,
    a: NDArray[np.float64],
    size_a: float,
    b: NDArray[np.float64],
    size_b: float,
    k: int,
    share: NDArray[np.float64],
) -> float:
    """T^2 between two samples.

    Args:
        law: which.
        a, b: float64[>= k], their counts on k bins.
        size_a, size_b: their values.
        k: bins.
        share: float64[>= k], reference shares; only of account to the quadratic law.
    """
    t = running = 0.0
    for i in range(k):
        d = a[i] / size_a - b[i] / size_b
        running += d
        if law == QUADRATIC:
            t += d * d / max(share[i], 1e-4)
        elif law == KS:
            t = max(t, abs(running))
        elif law == TV:
            t += 0.5 * abs(d)
        elif i < k - 1:
            t += abs(running)
    return t if law == QUADRATIC else t * t


def _squares(law: int, d: NDArray[np.float64]) -> NDArray[np.float64]:
    running = np.abs(np.cumsum(d, axis=1)[:, :-1])
    found = {KS: running.max(axis=1), TV: np.abs(d).sum(axis=1) / 2, WASSERSTEIN: running.sum(axis=1)}[law]
    return np.asarray(found * found, np.float64)


def _normal_differences(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[points, k], evenly spread draws of the normal limit: Kronecker's sequence, no randomness."""
    k, root = p.size, 2.0
    for _ in range(30):  # the root of x^(k + 1) = x + 1 (Roberts, 2018) spreads points in k dimensions
        root = (1 + root) ** (1 / (k + 1))
    steps = root ** -np.arange(1, k + 1)
    z = ndtri((0.5 + np.arange(1, _POINTS + 1)[:, None] * steps) % 1.0)
    weighted = z * np.sqrt(p)
    return np.asarray(weighted - p * weighted.sum(axis=1, keepdims=True), np.float64)


def _directions(law: int, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations of the normal variables whose absolute values' maximum T is."""
    k, below = p.size, np.cumsum(p)[:-1]
    if law == KS:
        return np.sqrt(below * (1 - below))
    bits = min(k - 1, _MOST_DIRECTIONS)
    chosen = (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1
    if law == TV:
        if k - 1 > bits:
            return np.full(2 ** min(k - 1, 60), 0.5)
        mass = (chosen[1:] * p[:-1]).sum(axis=1)
        return np.asarray(np.sqrt(mass * (1 - mass)), np.float64)
    covariance = np.minimum.outer(below, below) - np.outer(below, below)
    sign = 2.0 * chosen - 1
    if k - 1 > bits:
        sign = np.repeat(sign, -(-(k - 1) // bits), axis=1)[:, : k - 1]
    sign = sign[: max(1, sign.shape[0] // 2)]
    return np.asarray(
        np.sqrt((product(np.asarray(sign, np.float64), np.asarray(covariance, np.float64)) * sign).sum(axis=1)),
        np.float64,
    )


def _boole(deviations: NDArray[np.float64], alpha: float) -> float:
    """x with sum of P(|normal| > x / deviation) = alpha."""
    wide = deviations[deviations > 0.2 * deviations.max()]
    low, high = 0.0, 40 * float(wide.max())
    for _ in range(48):
        x = (low + high) / 2
        if float(logsumexp(log_ndtr(-x / wide))) + np.log(2) > np.log(alpha):
            low = x
        else:
            high = x
    return high


def _freedom(ratio: float, alpha: float) -> float:
    """nu >= 1 with chi2_nu(1 - alpha) / nu = ratio, which falls in nu."""
    low, high = 1.0, 100.0
    for _ in range(48):
        nu = (low + high) / 2
        if chdtri(nu, alpha) / nu > ratio:
            low = nu
        else:
            high = nu
    return low

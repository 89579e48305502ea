"""Distances between two distributions that are given as counts on the same bins.

Pure functions of counts; `a` is the reference and `b` the current sample where order matters.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64] | NDArray[np.float64]


def psi(a: Counts, b: Counts, *, pseudo: float = 0.5) -> float:
    """Population stability index: sum of (p_b - p_a) ln(p_b / p_a) over the bins.

    It is the symmetric Kullback-Leibler divergence (Jeffreys, 1946). Between samples of N and M
    values of one distribution its mean is about (k - 1) (1/N + 1/M), so that the usual 0.1 and 0.25
    mean nothing without the sample sizes; see `expected_psi`.

    Args:
        a, b: float[k], counts.
        pseudo: added to every bin, so that empty bins stay finite.
    """
    p, q = _shares(a, pseudo), _shares(b, pseudo)
    return float(np.sum((q - p) * np.log(q / p)))


def expected_psi(bins: int, n: float, m: float) -> float:
    """Mean of `psi` between samples of n and m independent values of one distribution on `bins` bins."""
    return (bins - 1) * (1 / n + 1 / m)


def psi_of_shares(p: float, q: float, n: float, m: float, *, pseudo: float = 0.5) -> float:
    """`psi` of a yes-or-no value: share p of n reference values, share q of m current ones, bias removed.

    Returns:
        The index, at least 0.
    """
    p, q = (p * n + pseudo) / (n + 2 * pseudo), (q * m + pseudo) / (m + 2 * pseudo)
    index = (q - p) * (log(q / p) - log((1 - q) / (1 - p)))
    return max(0.0, index - expected_psi(2, n, m))


def ks(a: Counts, b: Counts) -> float:
    """Kolmogorov-Smirnov statistic of ordered bins: the largest difference of the distribution functions.

    Known bias: on bins it is at most the statistic of the values themselves.
    """
    return float(np.max(np.abs(np.cumsum(_shares(b)) - np.cumsum(_shares(a)))))


def jensen_shannon(a: Counts, b: Counts) -> float:
    """Jensen-Shannon distance: the square root of the divergence, natural logarithm (Lin, 1991)."""
    p, q = _shares(a), _shares(b)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(0.0, divergence)))


def hellinger(a: Counts, b: Counts) -> float:
    """Hellinger distance, between 0 and 1."""
    difference = np.sqrt(_shares(a)) - np.sqrt(_shares(b))
    return float(np.sqrt(np.sum(difference * difference) / 2))


def wasserstein(a: Counts, b: Counts, positions: NDArray[np.float64]) -> float:
    """Earth mover's distance of ordered bins (first Wasserstein), in the unit of `positions`.

    Args:
        a, b: float[k], counts.
        positions: float64[k], where the values of a bin are taken to lie, ascending.
    """
    gap = np.abs(np.cumsum(_shares(b)) - np.cumsum(_shares(a)))[:-1]
    return float(np.sum(gap * np.diff(positions)))


def _shares(counts: Counts, pseudo: float = 0.0) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + pseudo
    return np.asarray(smoothed / smoothed.sum(), np.float64)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))

"""Distances between two distributions that are given as counts on the same bins.

Pure functions of counts; `a` is the reference and `b` the current sample where order matters. None
of them means anything without the sample sizes: `driftbus.detectors.nulls` has their laws without drift.
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

    Smirnov (1939), Bulletin Moscow University 2, 3-16.

    Args:
        a, b: float[k], counts.

    Returns:
        0 to 1. Known bias: on bins it is at most the statistic of the values themselves.
    """
    return float(np.max(np.abs(np.cumsum(_shares(b)) - np.cumsum(_shares(a)))))


def jensen_shannon(a: Counts, b: Counts) -> float:
    """Jensen-Shannon distance: the square root of the divergence, natural logarithm.

    Lin (1991), IEEE Transactions on Information Theory 37, 145-151; Endres and Schindelin (2003): the
    root is a metric.

    Args:
        a, b: float[k], counts; empty bins are fine.

    Returns:
        0 to sqrt(ln 2) = .83.
    """
    p, q = _shares(a), _shares(b)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(0.0, divergence)))


def hellinger(a: Counts, b: Counts) -> float:
    """Hellinger distance: sqrt(1/2 sum of (sqrt p_b - sqrt p_a)^2).

    Hellinger (1909), Journal für die reine und angewandte Mathematik 136, 210-271.

    Args:
        a, b: float[k], counts; empty bins are fine.

    Returns:
        0 to 1.
    """
    difference = np.sqrt(_shares(a)) - np.sqrt(_shares(b))
    return float(np.sqrt(np.sum(difference * difference) / 2))


def wasserstein(a: Counts, b: Counts, positions: NDArray[np.float64] | None = None) -> float:
    """Earth mover's distance of ordered bins (first Wasserstein), in the unit of `positions`.

    The area between the two distribution functions: Vallender (1974), Theory of Probability and its
    Applications 18, 784-786.

    Args:
        a, b: float[k], counts.
        positions: float64[k], where the values of a bin are taken to lie, ascending; None: 0, 1, 2, ...,
            so that the distance is in bins: outliers weigh no more than their share.
    """
    gap = np.abs(np.cumsum(_shares(b)) - np.cumsum(_shares(a)))[:-1]
    return float(np.sum(gap if positions is None else gap * np.diff(positions)))


def chi_square(a: Counts, b: Counts) -> float:
    """Chi-squared distance: sum of (p_b - p_a)^2 / p over the bins, p being the share in both samples together.

    Pearson's statistic of the 2 by k table (Pearson, 1900, Philosophical Magazine 50, 157-175) is
    this, divided by 1/N + 1/M. Near 0 it equals `psi`.

    Args:
        a, b: float[k], counts; bins that are empty in both are left out.
    """
    together = np.asarray(a, np.float64) + np.asarray(b, np.float64)
    held = together > 0
    difference = (_shares(b) - _shares(a))[held]
    return float(np.sum(difference * difference / (together[held] / together.sum())))


def total_variation(a: Counts, b: Counts) -> float:
    """Total variation: half of the sum of |p_b - p_a|, the share of values that would have to move.

    Levin, Peres, Wilmer (2009), Markov Chains and Mixing Times, proposition 4.2.

    Args:
        a, b: float[k], counts; the order of the bins is of no account.

    Returns:
        0 to 1.
    """
    return float(np.abs(_shares(b) - _shares(a)).sum() / 2)


def all_distances(a: Counts, b: Counts, places: NDArray[np.float64] | None = None) -> dict[str, float]:
    """Every distance by name, {} if a sample is empty.

    Args:
        a, b: float[k], counts.
        places: float64[k], where the values of ordered bins lie, in data units; None: the bins have
            no order, so that ``ks`` and both Wasserstein distances are left out.
    """
    if np.sum(a) <= 0 or np.sum(b) <= 0:
        return {}
    found = {
        "psi": psi(a, b), "js": jensen_shannon(a, b), "hellinger": hellinger(a, b), "chi2": chi_square(a, b),
        "tv": total_variation(a, b),
    }  # fmt: skip
    if places is not None:
        found |= {"ks": ks(a, b), "wasserstein": wasserstein(a, b), "wasserstein_data": wasserstein(a, b, places)}
    return found


def _shares(counts: Counts, pseudo: float = 0.0) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + pseudo
    return np.asarray(smoothed / smoothed.sum(), np.float64)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))

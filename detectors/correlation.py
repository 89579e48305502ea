"""Correlations of normal scores, pair by pair, against the reference's.

Fisher's transform of both, z = artanh r, with

    statistic = |z_window - z_reference| / sqrt(v (V (1/N + 1/R) + 1/M)),

N rows in the window, M sampled and R counted reference rows. v is the variance of one row's influence
on z, from the sample, at least 1 (that of independent or normal columns), and V >= 1 how much more
than that autocorrelation makes window means vary (`driftbus.detectors.longrun`). The largest statistic
is judged at the level divided by the number of pairs (Bonferroni).

Source: Fisher (1921), "On the probable error of a coefficient of correlation"; correlation of normal
scores: Hájek, Šidák (1967), "Theory of Rank Tests". Known bias: conservative where pairs move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel

_MOST = 0.999


@dataclass(frozen=True, slots=True)
class Correlations:
    """The reference's correlations; p pairs of s series.

    Args:
        first, second: int64[p], the series of each pair.
        r: float64[p], reference correlation.
        influence: float64[p], variance of a row's influence on r.
        v: float64[p], the same on artanh r.
        rows: M.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    r: NDArray[np.float64]
    influence: NDArray[np.float64]
    v: NDArray[np.float64]
    rows: int

    def of(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[p], correlations of float64[n, s] scores; 0 where a pair never stands together."""
        return correlations(z, self.first, self.second)

    def statistic(
        self, r: NDArray[np.float64], n: int, inflation: NDArray[np.float64], rows: int
    ) -> NDArray[np.float64]:
        """float64[p], see the module.

        Args:
            r: float64[p], of the window.
            n: rows in the window.
            inflation: float64[p], V.
            rows: R.
        """
        difference = np.abs(_artanh(r) - _artanh(self.r))
        return np.asarray(difference / self.standard_error(n, inflation, rows))

    def standard_error(self, n: int, inflation: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """float64[p], of the difference of transformed correlations."""
        return np.asarray(np.sqrt(self.v * (inflation * (1 / n + 1 / rows) + 1 / self.rows)))

    def bounded(self, r: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[p], the window's correlations two standard errors nearer to the reference."""
        a, b = _artanh(r), _artanh(self.r)
        nearer = b + np.sign(a - b) * np.maximum(0.0, np.abs(a - b) - 2 * error)
        return np.asarray(np.tanh(nearer))


def correlations_of(z: NDArray[np.float64], columns: NDArray[np.int64]) -> Correlations:
    """Reference correlations of float64[m, s] scores; series of one column (int64[s]) make no pair."""
    first, second = np.triu_indices(z.shape[1], 1)
    apart = columns[first] != columns[second]
    first, second = first[apart].astype(np.int64), second[apart].astype(np.int64)
    r = correlations(z, first, second)
    influence = np.empty(r.size)
    for p in range(r.size):
        a, b = z[:, first[p]], z[:, second[p]]
        influence[p] = np.var(a * b - 0.5 * r[p] * (a * a + b * b))
    v = np.maximum(1.0, influence / (1 - np.clip(r, -_MOST, _MOST) ** 2) ** 2)
    return Correlations(first, second, r, np.maximum(influence, 1e-9), v, z.shape[0])


def correlations(z: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[p], mean products of scores over the rows in which both have a value (a score that is not 0)."""
    product, squares = np.zeros((2, z.shape[1], z.shape[1]))
    if (z != 0.0).all():
        sum_products(z, product)
        squares[...] = np.diag(product)[:, None]
    else:
        _products_of_present(z, product, squares)
    scale = np.sqrt(squares[first, second] * squares[second, first])
    return np.asarray(np.where(scale > 0, product[first, second] / np.maximum(scale, 1e-300), 0.0))


def effect(r: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Size of a change of correlation in index units.

    The population stability index (symmetrised Kullback-Leibler divergence) of two bivariate normal
    distributions with these correlations: .1 → .4 is .10, 0 → .5 is .33.
    """
    a, b = np.clip(r, -_MOST, _MOST), np.clip(reference, -_MOST, _MOST)
    return np.asarray((1 - a * b) / (1 - a * a) + (1 - a * b) / (1 - b * b) - 2)


def _artanh(r: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.arctanh(np.clip(r, -_MOST, _MOST)))


@kernel
def sum_products(z: NDArray[np.float64], product: NDArray[np.float64]) -> None:
    """Add z_a z_b of float64[n, s] rows to the upper triangle of float64[s, s]."""
    for i in range(z.shape[0]):
        for a in range(z.shape[1]):
            x = z[i, a]
            for b in range(a, z.shape[1]):
                product[a, b] += x * z[i, b]


@kernel
def _products_of_present(z: NDArray[np.float64], product: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
    # squares[a, b]: of a, in the rows in which b has a value
    for i in range(z.shape[0]):
        for a in range(z.shape[1]):
            x = z[i, a]
            if x == 0.0:
                continue
            for b in range(z.shape[1]):
                product[a, b] += x * z[i, b]
                if z[i, b] != 0.0:
                    squares[a, b] += x * x

"""Error of rebuilding a row from the principal components of the reference.

The components of the normal scores that explain 70 % of the reference are what its columns share. The
squared distance of a row to them grows when columns no longer belong together, and shrinks when they
do more than before. It becomes a score like any column's (normal score of its reference rank), so that
outliers count once; its window mean is compared with the reference's:

    statistic = |mean| / sqrt(V (1/N + 1/R) + 1/M),   V >= 1 the long-run variance.

Source: NannyML's multivariate drift detection by PCA reconstruction error (docs.nannyml.com, "Data
Reconstruction with PCA"). Known bias: blind where columns share nothing, and inside the components.
Columns of few values take no part: where little is shared, halves of the reference have other components, and
the errors of few values depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.copula import scores
from driftbus.detectors.eigen import eigen, gram
from driftbus.schemas.kernel import kernel

EXPLAINED = 0.7
"""Share of the reference that the components explain: more leave less to rebuild badly, fewer share less."""

_BINS = 64


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Principal components, and the scores of errors.

    Args:
        components: float64[s, k], orthonormal.
        edges: float64[b], between the bins of errors, ascending.
        table: float64[b + 1], score of each bin.
        rows: M.
    """

    components: NDArray[np.float64]
    edges: NDArray[np.float64]
    table: NDArray[np.float64]
    rows: int

    def scores(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n], how badly float64[n, s] rows are rebuilt; mean 0 and variance 1 in the reference."""
        return np.asarray(self.table[np.searchsorted(self.edges, errors(z, self.components))])


def reconstruction(z: NDArray[np.float64]) -> Reconstruction | None:
    """The components of float64[m, s] scores of a reference; None with fewer than three columns that vary."""
    if int((z != 0.0).any(axis=0).sum()) < 3:
        return None
    components = principal(z, _enough(z))
    # errors of rows that the components were not made of: their own would be too small
    even, odd, k = z[::2], z[1::2], components.shape[1]
    error = np.concatenate([errors(even, principal(odd, k)), errors(odd, principal(even, k))])
    edges = np.unique(np.quantile(error, np.arange(1, _BINS) / _BINS))
    counts = np.bincount(np.searchsorted(edges, error), minlength=edges.size + 1).astype(np.float64)
    return Reconstruction(components, edges, scores(counts[None, :])[0, :-1], z.shape[0])


def principal(z: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """float64[s, k], the first k principal components of float64[m, s] centred rows."""
    vectors = eigen(gram(z))[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :k])


def errors(z: NDArray[np.float64], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n], squared distance of rows to the space of the components."""
    error = np.empty(z.shape[0])
    _errors(z, components, np.empty(z.shape[1]), error)
    return error


def _enough(z: NDArray[np.float64]) -> int:
    """How many components explain enough; at least one dimension is left to be rebuilt badly."""
    values = eigen(gram(z))[0][::-1]
    share = np.cumsum(values) / max(float(values.sum()), 1e-300)
    varying = int((z != 0.0).any(axis=0).sum())
    return min(int(np.searchsorted(share, EXPLAINED)) + 1, varying - 1)


@kernel
def _errors(
    z: NDArray[np.float64], components: NDArray[np.float64], rest: NDArray[np.float64], error: NDArray[np.float64]
) -> None:
    for i in range(z.shape[0]):
        rest[:] = z[i]
        for k in range(components.shape[1]):
            along = 0.0
            for s in range(rest.size):
                along += z[i, s] * components[s, k]
            for s in range(rest.size):
                rest[s] -= along * components[s, k]
        error[i] = 0.0
        for s in range(rest.size):
            error[i] += rest[s] * rest[s]

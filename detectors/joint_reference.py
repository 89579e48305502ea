"""What a profile's sampled rows say about relations: the side that `driftbus.detectors.joint` compares with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.copula import Scale, scale_of, scored, scores
from driftbus.detectors.correlation import Correlations, correlations_of
from driftbus.detectors.multivariate import KernelTest, kernel_test
from driftbus.detectors.profile import Profile
from driftbus.detectors.reconstruction import Reconstruction, reconstruction

_FITS_KEPT = 16
_LEAST_VALUES = 20


@dataclass(slots=True)
class Fit:
    """The reference with some of its series left out."""

    test: KernelTest
    rebuilt: Reconstruction | None


@dataclass(slots=True)
class Reference:
    """What a profile's sampled rows say about relations.

    Args:
        scale: levels and scores.
        columns: int64, places of the sampled columns in the profile.
        z: float64[m, s], scores of the sample.
        table: float64[s, l + 1], its scores by level.
        pairs: correlations.
        seed: of the random features.
        rows: reference rows that were counted.
        static: float64[p + 1 + s, 1, 2], (length, inflation) of pairs, of the reconstruction and of series that
            the columns' own autocorrelation in an ordered reference gives, length 0 where it shows none.
    """

    scale: Scale
    columns: NDArray[np.int64]
    z: NDArray[np.float64]
    table: NDArray[np.float64]
    pairs: Correlations
    seed: int
    rows: int
    static: NDArray[np.float64]
    whole: Fit = field(init=False)
    _fits: dict[bytes, Fit] = field(default_factory=dict)

    coarse: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        # ranks of few values move with the shares of the values, which is no relation: columns together are of many
        self.coarse = np.array([np.unique(column).size < _LEAST_VALUES for column in self.z.T])
        self.whole = self._fitted(np.zeros(self.z.shape[1], np.bool_))

    def without(self, left_out: NDArray[np.bool_]) -> Fit:
        """The same with series left out; a few answers are kept."""
        if not left_out.any():
            return self.whole
        key = left_out.tobytes()
        if key not in self._fits:
            if len(self._fits) >= _FITS_KEPT:
                self._fits.pop(next(iter(self._fits)))
            self._fits[key] = self._fitted(left_out)
        return self._fits[key]

    def _fitted(self, left_out: NDArray[np.bool_]) -> Fit:
        z = self.fine(np.where(left_out, 0.0, self.z))
        return Fit(kernel_test(z, self.seed), reconstruction(z))

    def fine(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n, s], scores without those of series of few values."""
        return np.where(self.coarse, 0.0, z)


@lru_cache(maxsize=64)
def reference_of(profile: Profile) -> Reference | None:
    """The reference of a profile, None if it holds no rows or fewer than two columns that vary."""
    scale = scale_of(profile)
    if scale is None or profile.sample is None:
        return None
    place = {column.name: i for i, column in enumerate(profile.columns)}
    levels = scale.of_cells(profile.sample.table())
    table = scores(scale.counts(levels))
    z = scored(levels, table)
    columns = np.array([place[name] for name in profile.sample.columns], np.int64)
    pairs = correlations_of(z, scale.at)
    return Reference(
        scale, columns, z, table, pairs, int(profile.profile_id[:15], 16), max(1, profile.rows),
        _static(profile, scale, pairs),
    )  # fmt: skip


def _static(profile: Profile, scale: Scale, pairs: Correlations) -> NDArray[np.float64]:
    """A series whose means vary D times as much as independent values' has a correlation of (D - 1) / (D + 1)
    with its next value, if it is autoregressive; products of two series have the product of theirs."""
    own = np.zeros((scale.at.size, 2))
    for i, series in enumerate(scale.series):
        longest = [(r.lengths[-1], r.variances[-1]) for r in profile.column(series.column).longrun if not r.freedom]
        own[i] = max(longest, key=lambda each: each[1], default=(0.0, 1.0))
    near = np.maximum(0.0, (own[:, 1] - 1) / (own[:, 1] + 1))
    both = near[pairs.first] * near[pairs.second]
    length = np.where(both > 0, np.maximum(own[pairs.first, 0], own[pairs.second, 0]), 0.0)
    products = np.array([length, (1 + both) / (1 - both)]).T
    mean = np.array([[length.max(initial=0.0), products[:, 1].mean() if both.size else 1.0]])
    return np.concatenate([products, mean, own])[:, None, :]

"""Intervals by resampling rows: of a metric, of the difference of two versions, of the gap between groups.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13: percentile intervals,
rows drawn with replacement. Of versions that scored the same rows, the same rows are drawn for both, so that what is
common to both cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.stream.gate.exact import Exact
from driftbus.stream.gate.task import Scored

Float = NDArray[np.float64]

UNDEFINED = 0.05
"""Share of draws in which a metric may be undefined before its interval is given up."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A value and the values of all draws; NaN where undefined."""

    value: float
    draws: Float

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Percentile interval, None where too many draws are undefined or all are the same."""
        held = self.draws[~np.isnan(self.draws)]
        if np.isnan(self.value) or held.size < (1 - UNDEFINED) * self.draws.size or held.min() == held.max():
            return None
        low, high = np.quantile(held, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Metrics of the versions and of groups, over the same draws.

    Args:
        metrics: version → metric → spread.
        groups: (metric, column) → group → spread, of the last version.
    """

    metrics: Sequence[Mapping[str, Spread]]
    groups: Mapping[tuple[str, str], Mapping[str, Spread]]


def draw(
    versions: Sequence[Scored],
    metrics: Sequence[str],
    gaps: Sequence[tuple[str, str]],
    least: int,
    paired: bool,
    draws: int,
    seed: int,
    progress: Callable[[int], None],
) -> Drawn:
    """Resample rows and measure again.

    Args:
        versions: rows of the champion, if there is one, and of the candidate.
        metrics: what is measured of each.
        gaps: (metric, column): what is measured of each group of the candidate.
        least: groups of fewer rows are passed over.
        paired: whether row i of all versions is the same example.
        draws, seed: how often, from which seed.
        progress: called with the number of draws done.
    """
    rng = np.random.default_rng(seed)
    exact = [Exact(rows) for rows in versions]
    parts = {(metric, column): _groups(versions[-1], column, least) for metric, column in gaps}
    values = [{m: np.empty(draws) for m in metrics} for _ in versions]
    inner = {key: {name: np.empty(draws) for name in of} for key, of in parts.items()}
    for k in range(draws):
        weights: list[Float] = []
        for version in versions:
            again = paired and weights
            weights.append(weights[0] if again else _weights(rng, version.n))
        for found, each, w in zip(values, exact, weights, strict=True):
            for metric in metrics:
                found[metric][k] = each.value(metric, w)
        for (metric, column), of in parts.items():
            for name, (rows, group) in of.items():
                inner[metric, column][name][k] = group.value(metric, weights[-1][rows])
        progress(1)
    return Drawn(
        [{m: Spread(each.value(m), found[m]) for m in metrics} for each, found in zip(exact, values, strict=True)],
        {
            (metric, column): {
                name: Spread(group.value(metric), inner[metric, column][name]) for name, (_, group) in of.items()
            }
            for (metric, column), of in parts.items()
        },
    )


def difference(champion: Spread, challenger: Spread) -> Spread:
    """Challenger minus champion, draw by draw."""
    return Spread(challenger.value - champion.value, challenger.draws - champion.draws)


def gap(groups: Mapping[str, Spread], confidence: float) -> tuple[float, float, float, str, str] | None:
    """(gap, low, high, worst, best) of the largest difference between two groups; None with fewer than two.

    The interval holds for all pairs at once: its half width is the quantile, over draws, of how far any pair's
    difference is from its value.
    """
    held = {name: s for name, s in groups.items() if not np.isnan(s.value)}
    if len(held) < 2:
        return None
    names = list(held)
    values = np.array([held[name].value for name in names])
    shifts = np.stack([held[name].draws - held[name].value for name in names])
    reach = np.nanmax(shifts, axis=0) - np.nanmin(shifts, axis=0)
    half = float(np.quantile(reach[~np.isnan(reach)], confidence))
    worst, best = int(values.argmin()), int(values.argmax())
    largest = float(values[best] - values[worst])
    return largest, max(0.0, largest - half), largest + half, names[worst], names[best]


def _weights(rng: np.random.Generator, n: int) -> Float:
    return np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)


def _groups(rows: Scored, column: str, least: int) -> dict[str, tuple[NDArray[np.int64], Exact]]:
    texts = rows.groups[column]
    found = {}
    for name in np.unique(texts).tolist():
        mine = np.flatnonzero(texts == name)
        if mine.size >= least:
            found[str(name)] = (mine, Exact(rows.take(mine)))
    return found

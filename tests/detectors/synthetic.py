"""Seeded columns, their profiles, and their panes as vectors of counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition

PANE = 32
UNDIVIDED = Settings(pane_ms=10_000)

Values = NDArray[np.float64] | list[str | None]


def profile_of(columns: Mapping[str, Values], *, ordered: bool = False) -> Profile:
    """Reference of columns; a numeric NaN is a null."""
    data = {
        name: CategoryData(values) if isinstance(values, list) else NumericData(values, ~np.isnan(values))
        for name, values in columns.items()
    }
    return build_profile("m", "predictions", data, ordered=ordered)


def cells_of(column: ColumnProfile, values: Values) -> NDArray[np.int64]:
    """Cell of each row, the obvious way; a numeric NaN is a null, infinity is invalid."""
    if isinstance(values, list):
        place = {name: i for i, name in enumerate(column.categories)}
        return np.array([column.bins + 1 if v is None else place.get(v, column.bins) for v in values], np.int64)
    cells = 1 + np.searchsorted(column.edges, values)
    cells[values < column.low], cells[values > column.high] = 0, column.bins + 1
    cells[np.isnan(values)], cells[np.isinf(values)] = column.bins + 2, column.bins + 3
    return cells


def counts_of(profile: Profile, columns: Mapping[str, Values]) -> NDArray[np.int64]:
    """All rows as one vector of counts."""
    return next(panes_of(profile, columns, len(next(iter(columns.values())))))


def panes_of(profile: Profile, columns: Mapping[str, Values], pane: int = PANE) -> Iterator[NDArray[np.int64]]:
    """Vectors of counts of `pane` rows each; rows that don't fill one are left out."""
    layout = profile.layout()
    cells = np.array([o + cells_of(c, columns[c.name]) for c, o in zip(profile.columns, layout.offsets, strict=True)])
    for start in range(0, cells.shape[1] - pane + 1, pane):
        yield np.bincount(cells[:, start : start + pane].ravel(), minlength=layout.total).astype(np.int64)


def transitions_of(
    profile: Profile, columns: Mapping[str, Values], settings: Settings = UNDIVIDED, pane: int = PANE
) -> list[Transition]:
    """What a fresh group says of a stream; volume left out."""
    group = GroupDetector(profile, settings)
    said = [t for tick, counts in enumerate(panes_of(profile, columns, pane)) for t in group.update(tick, counts, pane)]
    return [t for t in said if t.aspect != "volume"]


def autoregressive(rng: np.random.Generator, size: int, rho: float) -> NDArray[np.float64]:
    """AR(1) with variance 1."""
    noise, x = rng.standard_normal(size) * np.sqrt(1 - rho * rho), np.empty(size)
    last = rng.standard_normal()
    for i in range(size):
        last = rho * last + noise[i]
        x[i] = last
    return x

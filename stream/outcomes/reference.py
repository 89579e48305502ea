"""What performance is compared with: the profile's labelled rows, else the first labels of a version or segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.stream.outcomes.content import labelled, packed_counts, unpacked_counts

Int = NDArray[np.int64]
Group = tuple[str, str]
"""(version, segment)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A pair table to compare with.

    Args:
        pairs: int64[shape.pairs].
        labels: labels behind it.
        estimates: metric → estimate, at the confidence that is told.
        sure: the same at the confidence that decides.
    """

    pairs: Int
    labels: int
    estimates: dict[str, Estimate]
    sure: dict[str, Estimate]


class References:
    """The references of a monitor's versions and segments.

    Args:
        shape: of the outcomes.
        profile: of the predictions; its outcomes are the reference of all rows of every version.
        enough: labels from which on what was learned is a reference.
        told, sure: confidence of the bounds that are told, and of those that decide.
    """

    def __init__(self, shape: OutcomeShape, profile: Profile | None, enough: int, told: float, sure: float) -> None:
        self._shape, self._enough, self._told, self._sure = shape, enough, told, sure
        known = None if profile is None else profile.outcome
        self.given = self._of(known.pairs()) if known is not None and known.shape == shape else None
        self._learned: dict[Group, Int] = {}
        self._ready: dict[Group, Reference] = {}

    def of(self, group: Group) -> Reference | None:
        """The reference of a version or segment, None while it is being learned."""
        if self.given is not None and not group[1]:
            return self.given
        return self._ready.get(group)

    def forget(self, version: str) -> None:
        """A version's segments and rows have no reference any more, but the given one."""
        for group in [group for group in self._learned if group[0] == version]:
            del self._learned[group]
            self._ready.pop(group, None)

    def learn(self, group: Group, pairs: Int) -> None:
        """Labels that become a part of the reference, of a group that has none yet."""
        if self.of(group) is not None:
            return
        self._learned[group] = self._learned.get(group, 0) + np.maximum(pairs, 0)
        self._settle(group)

    def state(self) -> list[Any]:
        return [[*group, *packed_counts(pairs)] for group, pairs in sorted(self._learned.items(), key=_first)]

    def restore(self, state: list[Any]) -> None:
        self._learned = {(v, s): unpacked_counts(cells, counts, self._shape.pairs) for v, s, cells, counts in state}
        self._ready = {}
        for group in self._learned:
            self._settle(group)

    def _settle(self, group: Group) -> None:
        pairs = self._learned[group]
        if labelled(self._shape, pairs) >= self._enough:
            self._ready[group] = self._of(pairs)

    def _of(self, pairs: Int) -> Reference:
        return Reference(
            pairs,
            labelled(self._shape, pairs),
            metrics(self._shape, pairs, None, self._told),
            metrics(self._shape, pairs, None, self._sure),
        )


def scored_column(shape: OutcomeShape, profile: Profile | None) -> ColumnProfile | None:
    """The column of the profile that estimates are made from: the score, or the predicted value."""
    if profile is None or not shape.reference_edges:
        return None
    roles = ("prediction", "score") if shape.kind == "regression" else ("score",)
    found = (c for role in roles for c in profile.columns if c.role == role and c.kind == "numeric")
    return next((column for column in found if column.edges == shape.reference_edges), None)


def scores_in(profile: Profile, column: ColumnProfile, counts: Int) -> Int:
    """The cells of one column in a vector of the profile's layout."""
    layout = profile.layout()
    start = int(layout.offsets[layout.columns.index(column.name)])
    return counts[start : start + column.width]


def _first(item: tuple[Group, Int]) -> Group:
    return item[0]

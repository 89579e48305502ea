"""Predictions of each cohort, as their stream has sealed them: what labels are a share of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.events import Group
from driftbus.stream.groups import GroupPane
from driftbus.stream.outcomes.content import packed_counts, unpacked_counts

Int = NDArray[np.int64]


@dataclass(slots=True)
class Rows:
    """Predictions of one group and cohort.

    Args:
        rows: how many.
        counts: int64[total] in the layout of the profile, of all rows of a version only; else empty.
    """

    rows: int
    counts: Int


@dataclass(slots=True)
class Ledger:
    """Predictions by cohort and (version, segment).

    Args:
        pane_ms: length of a pane.
        cohort_ms: length of a cohort.
        most: versions, and as many segments, that a cohort tells apart; others are coverage of nobody.
        keep: cohorts kept when nobody asks for them any more.
        total: cells of the layout.
    """

    pane_ms: int
    cohort_ms: int
    most: int
    keep: int
    total: int
    cohorts: dict[int, dict[tuple[str, str], Rows]] = field(default_factory=dict)

    def add(self, tick: int, pane: Mapping[Group, GroupPane]) -> None:
        """A sealed pane; it belongs to the cohort of its start."""
        cohort = tick * self.pane_ms // self.cohort_ms
        if cohort not in self.cohorts:
            self.cohorts[cohort] = {}
            for old in [c for c in self.cohorts if c < max(self.cohorts) - self.keep]:
                del self.cohorts[old]
        known = self.cohorts.get(cohort, {})
        for group in sorted(pane):
            content, key = pane[group], (group.version, group.segment)
            if key in known:
                known[key].rows += content.rows
                if not group.segment:
                    known[key].counts = known[key].counts + content.counts
            elif sum(bool(segment) is bool(group.segment) for _, segment in known) < self.most:
                known[key] = Rows(content.rows, np.zeros(0, np.int64) if group.segment else content.counts)

    def of(self, cohort: int) -> Mapping[tuple[str, str], Rows]:
        """Predictions of a cohort."""
        return self.cohorts.get(cohort, {})

    def end_ms(self, cohort: int) -> int:
        """Event time after a cohort."""
        return (cohort + 1) * self.cohort_ms

    def forget(self, before: int) -> None:
        """Drop cohorts that are judged for good."""
        for old in [c for c in self.cohorts if c < before]:
            del self.cohorts[old]

    def state(self) -> list[Any]:
        return [
            [c, [[*key, one.rows, *packed_counts(one.counts)] for key, one in sorted(groups.items())]]
            for c, groups in sorted(self.cohorts.items())
        ]

    def restore(self, state: list[Any]) -> None:
        self.cohorts = {
            c: {
                (v, s): Rows(rows, np.zeros(0, np.int64) if s else unpacked_counts(cells, counts, self.total))
                for v, s, rows, cells, counts in groups
            }
            for c, groups in state
        }

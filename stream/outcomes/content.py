"""Outcome counts of one group and cohort, with the label offsets that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import Entry
from driftbus.stream.join.ranges import vector_of

Int = NDArray[np.int64]

Key = tuple[str, str, int]
"""(version, segment, cohort); cohort -1: labels without a prediction."""


@dataclass(slots=True)
class Content:
    """Counts of some labels.

    Args:
        counts: int64[shape.size], see `driftbus.detectors.outcomes`.
        rows: labels.
        offsets: partition → first label offset, and the one after the last.
    """

    counts: Int
    rows: int = 0
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)

    def merge(self, other: Content) -> None:
        """Add other labels of the same group and cohort."""
        self.counts = self.counts + other.counts
        self.rows += other.rows
        widen(self.offsets, other.offsets)

    def state(self) -> list[Any]:
        """Plain data, small where most cells are 0."""
        return [*packed_counts(self.counts), self.rows, [[p, *span] for p, span in sorted(self.offsets.items())]]

    @classmethod
    def restored(cls, state: list[Any], size: int) -> Content:
        cells, counts, rows, offsets = state
        return cls(unpacked_counts(cells, counts, size), rows, {p: (low, high) for p, low, high in offsets})


def packed_counts(counts: Int) -> tuple[bytes, bytes]:
    """Cells that are not 0, and what they hold."""
    cells = np.flatnonzero(counts)
    return cells.astype("<u4").tobytes(), counts[cells].astype("<i8").tobytes()


def unpacked_counts(cells: bytes, counts: bytes, size: int) -> Int:
    """int64[size], what `packed_counts` wrote."""
    whole = np.zeros(size, np.int64)
    whole[np.frombuffer(cells, "<u4").astype(np.int64)] = np.frombuffer(counts, "<i8")
    return whole


def add_entry(pane: dict[Key, Content], entry: Entry, partition: int, shape: OutcomeShape) -> None:
    """Add an entry of a part to the content of its pane."""
    try:
        counts = vector_of(entry, shape.size)
    except ValueError as error:
        raise StateError(f"outcomes of {entry.group} don't fit their shape: {error}") from error
    fresh = Content(counts, entry.rows, {partition: (entry.from_offset, entry.to_offset)})
    add_content(pane, (entry.group.version, entry.group.segment, entry.cohort), fresh)


def add_content(into: dict[Key, Content], key: Key, fresh: Content) -> None:
    """Add content, without changing what is added."""
    known = into.get(key)
    if known is None:
        into[key] = Content(fresh.counts, fresh.rows, dict(fresh.offsets))
    else:
        known.merge(fresh)


def widen(into: dict[int, tuple[int, int]], other: Mapping[int, tuple[int, int]]) -> None:
    """Spans of offsets that hold both."""
    for partition, (low, high) in other.items():
        known = into.get(partition)
        into[partition] = (low, high) if known is None else (min(low, known[0]), max(high, known[1]))


def labelled(shape: OutcomeShape, pairs: Int) -> int:
    """Predictions that have a label."""
    if shape.kind == "regression":
        return int(shape.table("error", pairs).sum() + shape.table("missing", pairs)[0, 0])
    table = shape.table("confusion" if shape.kind == "multiclass" else "score", pairs)
    return int(table[:, : shape.labels + 1].sum())

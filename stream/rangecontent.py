"""What a range holds, and its form on the bus: below 16 MiB, whatever its records hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.sketches import Sketches
from driftbus.detectors.summary import UNSEEN_KEPT, Unseen, pack_counts, smallest
from driftbus.schemas.events import Entry, Group
from driftbus.schemas.fields import WriterFields

_UNSEEN_BYTES, _SCHEMA_BYTES = 16 << 10, 2 << 20
"""Of the unknown names of an entry, of the schemas of a part: with `plan.MAX_PART_BYTES` a part stays below 16 MiB."""


@dataclass(slots=True)
class Content:
    """The growing content of one (group, pane) of the open range."""

    counts: NDArray[np.int64]
    rows: int
    from_offset: int
    to_offset: int
    unseen: Unseen
    sketches: Sketches | None = None


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries as they stand in a part."""
    return sorted(entries, key=lambda entry: (entry.group, entry.tick))


def told(writers: Iterable[WriterFields]) -> Iterator[WriterFields]:
    """The schemas whose fields fit into a part; a judge knows what to say of a change to another."""
    room = _SCHEMA_BYTES
    for writer in writers:
        room -= sum(len(path.encode()) + len(kind.encode()) for path, kind in writer.fields)
        if room >= 0:
            yield writer


def _shown(unseen: Unseen) -> tuple[tuple[str, str, int], ...]:
    """Unknown names as a part has them: fewer of each column where all of them are too long."""
    for kept in (UNSEEN_KEPT, 2, 1):
        found = [
            (column, name, count)
            for column, names in sorted(unseen.items())
            for name, count in sorted(smallest(names, kept).items())
        ]
        if sum(len(column.encode()) + len(name.encode()) for column, name, _ in found) <= _UNSEEN_BYTES:
            return tuple(found)
    return tuple(found[: _UNSEEN_BYTES // 1024])


def as_entry(group: Group, tick: int, content: Content, mark: str) -> Entry:
    """The entry of a part that holds a content; `mark` names its cells."""
    counts, width = pack_counts(content.counts)
    unseen = _shown(content.unseen)
    sample, ids, delays, writers = (b"",) * 4 if content.sketches is None else content.sketches.packed()
    return Entry(
        group, tick, content.rows, content.from_offset, content.to_offset, counts, width, unseen,
        sample, ids, delays, writers, profile=mark,
    )  # fmt: skip

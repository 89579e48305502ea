"""Panes of label time that are not sealed yet, within the bounds of `driftbus.stream.crowding`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import Entry
from driftbus.stream.crowding import OTHER, most_groups, most_open
from driftbus.stream.outcomes.content import Content, Key, add_content, add_entry

Names = tuple[str, str]
"""(version, segment)."""


class OpenPanes:
    """What labels have said, pane by pane.

    Args:
        shape: of the outcomes.
        most: versions, and as many segments, that are judged on their own.
        known: those of which there is something already.

    Attributes:
        size: contents, one for each group, cohort and pane.
    """

    def __init__(self, shape: OutcomeShape, most: int, known: Callable[[], Container[Names]]) -> None:
        self._shape, self._most, self._known = shape, most, known
        self._most_groups = most_groups(2 * most, shape.size)
        self._most_open = most_open(shape.size)
        self._panes: dict[int, dict[Key, Content]] = {}
        self._names: dict[int, set[Names]] = {}
        self.size = 0

    def __iter__(self) -> Iterator[int]:
        return iter(self._panes)

    def add(self, entry: Entry, partition: int) -> int:
        """Take an entry of a part; returns the rows that were let go for it."""
        pane, names = self._panes.setdefault(entry.tick, {}), self._names.setdefault(entry.tick, set())
        before = len(pane)
        add_entry(pane, entry, partition, self._shape)
        names.add((entry.group.version, entry.group.segment))
        if len(names) > self._most_groups:
            thin(pane, self._known(), self._most)
            self._names[entry.tick] = _names(pane)
        self.size += len(pane) - before
        dropped = 0
        while self.size > self._most_open and len(self._panes) > 1:
            # a time so far ahead of all others is the likeliest to be wrong
            dropped += sum(
                content.rows for (_, segment, _), content in self.pop(max(self._panes)).items() if not segment
            )
        return dropped

    def pop(self, tick: int) -> dict[Key, Content]:
        """The content of a pane, which is open no more."""
        pane = self._panes.pop(tick, {})
        self._names.pop(tick, None)
        self.size -= len(pane)
        return pane

    def narrow(self, pane: dict[Key, Content]) -> None:
        """Leave in a pane that is sealed what may be judged: the same, in whatever order it came."""
        names = _names(pane)
        if len(names) > self._most_groups or (OTHER, "") in names:
            thin(pane, self._known(), self._most)

    def state(self) -> list[Any]:
        return [
            [tick, [[*key, pane[key].state()] for key in sorted(pane)]] for tick, pane in sorted(self._panes.items())
        ]

    def restore(self, state: list[Any]) -> None:
        self._panes = {
            tick: {(v, s, c): Content.restored(content, self._shape.size) for v, s, c, content in pane}
            for tick, pane in state
        }
        self._names = {tick: _names(pane) for tick, pane in self._panes.items()}
        self.size = sum(map(len, self._panes.values()))


def thin(pane: dict[Key, Content], known: Container[Names], most: int) -> None:
    """Leave in a pane what can still be told apart: the `most` first by name of what is not known yet.

    Segments behind those are in the counts of all rows; versions behind them are put together.
    """
    for of_segments in (False, True):
        strangers = {(v, s) for v, s, _ in pane if bool(s) is of_segments and v != OTHER and (v, s) not in known}
        gone = set(sorted(strangers)[most:])
        for version, segment, cohort in [key for key in pane if key[:2] in gone]:
            content = pane.pop((version, segment, cohort))
            if not of_segments:
                add_content(pane, (OTHER, "", cohort), content)


def _names(pane: dict[Key, Content]) -> set[Names]:
    return {(version, segment) for version, segment, _ in pane}

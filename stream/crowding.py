"""Bounds on what waits to be judged, for records that name more groups or more panes than anybody has."""

from __future__ import annotations

from collections.abc import Container, Mapping

from driftbus.schemas.events import Group
from driftbus.stream.groups import GroupPane

OTHER = "__other__"
"""Version of the group that collects the versions beyond `max_groups`."""

_PANE_BYTES, _OPEN_BYTES = 32 << 20, 512 << 20
_CONTENT_BYTES = 1_024


def most_groups(max_groups: int, cells: int) -> int:
    """Groups of one pane that are kept apart before it is sealed, each with so many cells."""
    return 2 * max_groups + max(16, min(1_024, _PANE_BYTES // (8 * cells + _CONTENT_BYTES)))


def most_open(cells: int) -> int:
    """Contents, one for each group and pane, that wait for their panes to be sealed."""
    return max(4_096, _OPEN_BYTES // (8 * cells + _CONTENT_BYTES))


def thin(pane: dict[Group, GroupPane], known: Container[Group], own: Container[str], most: int) -> int:
    """Leave in a pane what can still be judged on its own; returns the rows of segments that were let go.

    Of groups that are not judged yet a pane admits at most the `most` first by name, of all rows and of
    segments each. Segments behind those are in the counts of all rows; versions behind them are judged
    together. What is among the first of all is among the first at any time, so the order in which content
    came does not matter.
    """
    gone = 0
    for of_segments in (False, True):
        peers = [g for g in pane if bool(g.segment) is of_segments and g not in known]
        strangers = sorted(g for g in peers if of_segments or (g.version not in own and g.version != OTHER))
        for group in strangers[most:]:
            content = pane.pop(group)
            if of_segments:
                gone += content.rows
                continue
            other = Group(group.monitor, group.stream, OTHER, "")
            if other in pane:
                pane[other].merge(content)
            else:
                pane[other] = content
    return gone


def furthest(panes: Mapping[int, Mapping[Group, GroupPane]]) -> tuple[int, int]:
    """The latest open pane, and its rows: an event time so far ahead of all others is the likeliest to be wrong."""
    tick = max(panes)
    return tick, sum(content.rows for group, content in panes[tick].items() if not group.segment)

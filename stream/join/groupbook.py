"""Numbers of the groups that outcomes are counted in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.events import Group
from driftbus.stream.join.outcomeplan import STREAM

_MOST_GROUPS = 4096


class GroupBook:
    """The groups of one monitor by number, in the order in which they were met.

    Args:
        monitor: its name.
        names: names of its segment fields.

    Attributes:
        groups: by number.
    """

    def __init__(self, monitor: str, names: tuple[str, ...]) -> None:
        self._monitor, self._names = monitor, names
        self.groups: list[Group] = []
        self._numbers: dict[Group, int] = {}

    def trim(self) -> None:
        """Forget them when they are many; nobody may hold a number."""
        if len(self.groups) > _MOST_GROUPS:
            self.groups, self._numbers = [], {}

    def rows(self, codes: list[NDArray[np.int64]], names: list[list[str]]) -> NDArray[np.int64]:
        """Numbers of the groups of a version and of it with each segment field; -1 codes and "" have none."""
        out = np.full((codes[0].size, len(codes)), -1, np.int64)
        for slot, code in enumerate(codes):
            pairs, at = np.unique(np.stack([codes[0], code], axis=1), axis=0, return_inverse=True)
            ids = []
            for version, other in pairs.tolist():
                text = names[slot][other] if slot and other >= 0 else ""
                if version < 0 or (slot and not text):
                    ids.append(-1)
                    continue
                segment = f"{self._names[slot - 1]}={text}" if slot else ""
                ids.append(self.number(Group(self._monitor, STREAM, names[0][version], segment)))
            out[:, slot] = np.array(ids, np.int64)[at.ravel()] if ids else -1
        return out

    def number(self, group: Group) -> int:
        known = self._numbers.get(group)
        if known is None:
            known = self._numbers[group] = len(self.groups)
            self.groups.append(group)
        return known

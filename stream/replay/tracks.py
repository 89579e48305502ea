"""What the groups of a replay held over event time, in few enough steps to keep: for pictures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Layout, Profile
from driftbus.schemas.events import DriftEvent, Group
from driftbus.stream.groups import GroupJudge, GroupPane

STEPS = 256
"""Most steps of a track; an even number."""

_LEAST_STEPS = 16
_MOST_CELLS = 16_000_000


@dataclass(slots=True)
class Aftermath:
    """What came after the last event of an episode that opened, grew or changed again.

    Attributes:
        counts: int64[cells of the column].
        open: whether the episode still is.
    """

    counts: NDArray[np.int64]
    open: bool = True


class Track:
    """One group over event time: sums of neighbouring panes that hold rows, and the columns' index after each.

    When the steps are used up, neighbours are merged, so that a track has at least half of them.

    Attributes:
        reference: what the group is compared with, None while a segment learns.
        size: steps used; the arrays below have as many rows in use, oldest first.
        first, last: int64[steps], first and last pane.
        rows: int64[steps].
        counts: int64[steps, cells], in the order of the profile's layout.
        index: float64[steps, columns], population stability index, NaN before there is one.
    """

    def __init__(self, layout: Layout, steps: int) -> None:
        self.layout = layout
        self.reference: Profile | None = None
        self.size, self._panes, self._per_step = 0, 0, 1
        self.first, self.last, self.rows = (np.zeros(steps, np.int64) for _ in range(3))
        self.counts = np.zeros((steps, layout.total), np.int64)
        self.index = np.full((steps, len(layout.columns)), np.nan)

    def add(self, tick: int, content: GroupPane, judge: GroupJudge) -> None:
        """The next pane."""
        if self._panes == self._per_step or not self.size:
            if self.size == self.rows.size:
                self.halve()
            self.first[self.size], self.rows[self.size], self.counts[self.size] = tick, 0, 0
            self.size, self._panes = self.size + 1, 0
        at = self.size - 1
        self._panes += 1
        self.last[at] = tick
        self.rows[at] += content.rows
        self.counts[at] += content.counts
        if self._panes == self._per_step:
            self._look(judge)

    def finish(self, judge: GroupJudge) -> None:
        """Nothing more comes."""
        if self.size:
            self._look(judge)

    def halve(self) -> None:
        """Merge neighbouring steps."""
        odd, pairs = self.size % 2, self.size // 2
        evens, odds = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        a, b = self.index[evens], self.index[odds]
        merged = np.where(np.isnan(a), b, np.where(np.isnan(b), a, (a + b) / 2))
        for array in (self.rows, self.counts):
            array[:pairs] = array[evens] + array[odds]
        self.first[:pairs], self.last[:pairs], self.index[:pairs] = self.first[evens], self.last[odds], merged
        if odd:
            for array in (self.rows, self.counts, self.first, self.last, self.index):
                array[pairs] = array[self.size - 1]
        self.size = pairs + odd
        self.index[self.size :] = np.nan
        # the last step may have room for more panes now
        self._panes += 0 if odd else self._per_step
        self._per_step *= 2

    def shorten(self, steps: int) -> None:
        """Have at most so many steps from now on."""
        while self.size > steps:
            self.halve()
        for name in ("rows", "counts", "first", "last", "index"):
            setattr(self, name, getattr(self, name)[:steps].copy())

    def column(self, name: str) -> slice:
        """The cells of a column."""
        c = self.layout.columns.index(name)
        return slice(int(self.layout.offsets[c]), int(self.layout.offsets[c] + self.layout.widths[c]))

    def _look(self, judge: GroupJudge) -> None:
        self.reference = judge.reference()
        for c, view in enumerate(judge.views()):
            self.index[self.size - 1, c] = np.nan if view.psi is None else view.psi


@dataclass(slots=True)
class Tracks:
    """The tracks of all groups of a replay; an observer of its judges. Memory is bounded, whatever the number of rows.

    Attributes:
        tracks: by group.
        after: by id of the episode.
    """

    tracks: dict[Group, Track] = field(default_factory=dict)
    after: dict[str, Aftermath] = field(default_factory=dict)
    _steps: int = STEPS
    _cells: int = 0
    _open: dict[Group, dict[str, slice]] = field(default_factory=dict)
    _judges: dict[Group, GroupJudge] = field(default_factory=dict)

    def pane(
        self, tick: int, group: Group, content: GroupPane | None, judge: GroupJudge, events: list[DriftEvent]
    ) -> None:
        """A pane that has been judged; None when the group had no row in it."""
        track = self._track(group, judge)
        if track is None:
            return
        if content is not None:
            track.add(tick, content, judge)
        for event in events:
            self._note(group, track, event)
        if content is not None:
            for episode, cells in self._open.get(group, {}).items():
                self.after[episode].counts += content.counts[cells]

    def only(self, monitors: Collection[str]) -> None:
        """Forget the groups of other monitors."""
        self.tracks = {group: track for group, track in self.tracks.items() if group.monitor in monitors}

    def finish(self) -> None:
        """The replay has ended."""
        for group, track in self.tracks.items():
            track.finish(self._judges[group])

    def _note(self, group: Group, track: Track, event: DriftEvent) -> None:
        mine = self._open.setdefault(group, {})
        if event.status == "closed":
            mine.pop(event.episode_id, None)
            if event.episode_id in self.after:
                self.after[event.episode_id].open = False
            return
        if event.column in track.layout.columns:
            cells = mine[event.episode_id] = track.column(event.column)
            self.after[event.episode_id] = Aftermath(np.zeros(cells.stop - cells.start, np.int64))

    def _track(self, group: Group, judge: GroupJudge) -> Track | None:
        track = self.tracks.get(group)
        if track is not None:
            return track
        layout = judge.layout
        self._cells += layout.total
        while self._cells * self._steps > _MOST_CELLS and self._steps > _LEAST_STEPS:
            self._steps //= 2
            for other in self.tracks.values():
                other.shorten(self._steps)
        if group.segment and self._cells * self._steps > _MOST_CELLS:
            self._cells -= layout.total
            return None
        self._judges[group] = judge
        self.tracks[group] = Track(layout, self._steps)
        return self.tracks[group]

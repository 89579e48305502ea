"""One group of a monitor: content of its panes, its detectors, and the source offsets behind a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.histogram import Picture
from driftbus.detectors.profile import Layout, Profile
from driftbus.detectors.sketches import Sketches, SketchShape, merged
from driftbus.detectors.summary import Unseen, merge_unseen, unpack_counts
from driftbus.detectors.verdict import ColumnView, Transition
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import DriftEvent, Entry, Group, OffsetRange
from driftbus.stream.driftevents import drift_event
from driftbus.stream.plan import MonitorPlan, StreamPlan
from driftbus.stream.sentences import sentence

_MARKS_PER_LEVEL = 8
_LEVELS = 24
_OF_VALUES = ("distribution", "quality", "cardinality")
"""Aspects that compare values with the reference."""


@dataclass(slots=True)
class GroupPane:
    """On-time content of one (group, pane): counts, sketches, and per partition the offsets they came from."""

    counts: NDArray[np.int64]
    rows: int = 0
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    unseen: Unseen = field(default_factory=dict)
    sketches: Sketches | None = None

    def merge(self, other: GroupPane) -> None:
        """Add another content of the same pane."""
        self.counts = self.counts + other.counts
        self.rows += other.rows
        _span(self.offsets, other.offsets)
        for column, names in other.unseen.items():
            merge_unseen(self.unseen, column, names.items())
        self.sketches = merged(self.sketches, other.sketches)

    def state(self) -> list[Any]:
        return [
            self.counts.astype("<i8").tobytes(),
            self.rows,
            [[p, *span] for p, span in sorted(self.offsets.items())],
            [[c, sorted(names.items())] for c, names in sorted(self.unseen.items())],
            None if self.sketches is None else list(self.sketches.packed()),
        ]

    @classmethod
    def restored(cls, state: list[Any], shape: SketchShape) -> GroupPane:
        counts, rows, offsets, unseen, sketches = state
        return cls(
            np.frombuffer(counts, "<i8").astype(np.int64),
            rows,
            {p: (low, high) for p, low, high in offsets},
            {column: dict(names) for column, names in unseen},
            None if sketches is None else Sketches.unpacked(shape, *sketches),
        )


def add_entry(pane: dict[Group, GroupPane], group: Group, entry: Entry, partition: int, stream: StreamPlan) -> None:
    """Add an entry of a part to the content of its pane."""
    sketches = None
    try:
        counts = unpack_counts(entry.counts, entry.width, stream.layout.total)
        if stream.shape.k and not group.segment:
            sketches = Sketches.unpacked(stream.shape, entry.sample, entry.ids, entry.delays, entry.writers)
    except ValueError as error:
        raise StateError(f"counts of {group} don't fit its profile: {error}") from error
    unseen: Unseen = {}
    for column, name, count in entry.unseen:
        unseen.setdefault(column, {})[name] = count
    fresh = GroupPane(counts, entry.rows, {partition: (entry.from_offset, entry.to_offset)}, unseen, sketches)
    if group in pane:
        pane[group].merge(fresh)
    else:
        pane[group] = fresh


@dataclass(slots=True)
class _Mark:
    """Offsets behind a run of panes."""

    first: int
    last: int
    offsets: dict[int, tuple[int, int]]


class OffsetMarks:
    """Which source offsets a run of panes came from: exact for the latest panes, coarser with age.

    Level r holds at most eight marks of 2^r panes each, so memory is bounded and the start of a
    window is known to within an eighth of its age.
    """

    def __init__(self) -> None:
        self._levels: list[list[_Mark]] = [[]]

    def add(self, tick: int, offsets: dict[int, tuple[int, int]]) -> None:
        """The next pane with content."""
        self._levels[0].append(_Mark(tick, tick, dict(offsets)))
        for level in range(_LEVELS):
            marks = self._levels[level]
            if len(marks) <= _MARKS_PER_LEVEL:
                return
            older, newer = marks.pop(0), marks.pop(0)
            _span(older.offsets, newer.offsets)
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(_Mark(older.first, newer.last, older.offsets))
        self._levels[_LEVELS].clear()

    def ranges(self, topic: str, from_tick: int) -> tuple[OffsetRange, ...]:
        """Source offsets of all panes from `from_tick` on."""
        found: dict[int, tuple[int, int]] = {}
        for marks in self._levels:
            for mark in marks:
                if mark.last >= from_tick:
                    _span(found, mark.offsets)
        return tuple(OffsetRange(topic, p, low, high) for p, (low, high) in sorted(found.items()))

    def state(self) -> list[Any]:
        return [
            [[m.first, m.last, [[p, *span] for p, span in sorted(m.offsets.items())]] for m in marks]
            for marks in self._levels
        ]

    @classmethod
    def restored(cls, state: list[Any]) -> OffsetMarks:
        marks = cls()
        marks._levels = [
            [_Mark(first, last, {p: (low, high) for p, low, high in offsets}) for first, last, offsets in level]
            for level in state
        ]
        return marks


def _span(into: dict[int, tuple[int, int]], other: Mapping[int, tuple[int, int]]) -> None:
    for partition, (low, high) in other.items():
        known = into.get(partition)
        into[partition] = (low, high) if known is None else (min(low, known[0]), max(high, known[1]))


def span(topic: str, offsets: Iterable[Mapping[int, tuple[int, int]]]) -> tuple[OffsetRange, ...]:
    """Source offsets, per partition, that hold all of these."""
    found: dict[int, tuple[int, int]] = {}
    for one in offsets:
        _span(found, one)
    return tuple(OffsetRange(topic, p, low, high) for p, (low, high) in sorted(found.items()))


class GroupJudge:
    """The detectors of one group, and what their transitions mean in event time and offsets.

    A segment is not compared with all rows, from which it differs by nature. If the profile has no
    reference of its own for it, its first `learn.segment_rows` rows become that.
    """

    def __init__(self, plan: MonitorPlan, stream: StreamPlan, group: Group) -> None:
        self._plan, self._stream, self._group = plan, stream, group
        self._topic = plan.config.streams[stream.stream].topic
        self._marks = OffsetMarks()
        self._empty = np.zeros(stream.layout.total, np.int64)
        self._learned = GroupPane(self._empty)
        self._given = stream.profile.of_segment(group.segment) if group.segment else stream.profile
        self._detector = None if self._given is None else GroupDetector(self._given, plan.settings)
        self.last_tick = -1
        self._first_tick = -1
        self._skewed: set[tuple[str, str]] = set()

    @property
    def layout(self) -> Layout:
        """The order of the cells of its counts."""
        return self._stream.layout

    def update(self, tick: int, content: GroupPane | None) -> list[DriftEvent]:
        """Judge the next sealed pane; None when the group had no row in it."""
        self.last_tick = tick
        if content is not None:
            self._marks.add(tick, content.offsets)
            self._first_tick = tick if self._first_tick < 0 else self._first_tick
        if self._detector is None:
            self._learn(content)
            return []
        if content is None:
            transitions = self._detector.update(tick, self._empty, 0)
        else:
            transitions = self._detector.update(tick, content.counts, content.rows, content.sketches)
        return [self._event(tick, transition, content) for transition in transitions]

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes; none while a segment is still learning."""
        return [] if self._detector is None else self._detector.open_episodes()

    def picture(self, column: str, aspect: str, what: str, since: int) -> Picture:
        """What an open episode looks like now; nothing while a segment is still learning."""
        return (None, ()) if self._detector is None else self._detector.picture(column, aspect, what, since)

    def reference(self) -> Profile | None:
        """What the group is compared with, None while a segment is still learning."""
        return None if self._detector is None else self._reference()

    def ended(self, tick: int) -> list[DriftEvent]:
        """Its open episodes are over: from this pane on its rows are compared with another profile."""
        events = []
        for e in self.open_episodes():
            closed = Transition(
                e.column, e.aspect, "closed", e.severity, "", e.what, "", 0.0, 0.0, None, e.effect, None, None,
                e.opened_tick, e.since_tick, e.since_tick, e.since_tick, e.since_tick, 0, 0,
            )  # fmt: skip
            event = event_of(self._plan, self._stream, self._group, tick, closed, ())
            over = f"{e.column or 'the stream'}: over, version {self._group.version} has a profile of its own now"
            events.append(replace(event, message=over))
        return events

    @property
    def mark(self) -> str:
        """Which cells its counts have, as in `StreamPlan`."""
        return self._stream.mark

    def views(self) -> list[ColumnView]:
        """Present state of the columns; none while a segment is still learning."""
        return [] if self._detector is None else self._detector.views()

    def state(self) -> list[Any]:
        return [
            self.last_tick,
            None if self._detector is None else self._detector.dump(),
            self._marks.state(),
            self._learned.state(),
            self._first_tick,
            [list(key) for key in sorted(self._skewed)],
        ]

    @classmethod
    def restored(cls, plan: MonitorPlan, stream: StreamPlan, group: Group, state: list[Any]) -> GroupJudge:
        judge = cls(plan, stream, group)
        judge.last_tick, detector, marks, learned, judge._first_tick, skewed = state
        judge._skewed = {(column, aspect) for column, aspect in skewed}
        judge._marks = OffsetMarks.restored(marks)
        judge._learned = GroupPane.restored(learned, stream.shape)
        if detector is not None:
            judge._detector = GroupDetector.load(judge._reference(), plan.settings, detector)
        return judge

    def _learn(self, content: GroupPane | None) -> None:
        if content is not None:
            self._learned.counts = self._learned.counts + content.counts
            self._learned.rows += content.rows
        if self._learned.rows >= self._plan.config.learn.segment_rows:
            self._detector = GroupDetector(self._reference(), self._plan.settings)

    def _reference(self) -> Profile:
        """What the group is compared with."""
        return self._given or self._stream.profile.recounted(self._learned.counts, self._learned.rows)

    def _event(self, tick: int, t: Transition, content: GroupPane | None) -> DriftEvent:
        names = content.unseen.get(t.column, {}) if content is not None and t.what == "unseen" else {}
        ranges = self._marks.ranges(self._topic, t.window_start_tick)
        return event_of(self._plan, self._stream, self._group, tick, self._natured(tick, t), ranges, names)

    def _natured(self, tick: int, t: Transition) -> Transition:
        """Named skew when the reference is training data and the change reaches back to the group's first rows."""
        if self._stream.profile.learned_until_ms is not None or self._given is None or t.aspect not in _OF_VALUES:
            return t
        key = (t.column, t.aspect)
        if t.status == "opened":  # decided once for the episode
            self._skewed.discard(key)
            if self._at_once(t):
                self._skewed.add(key)
        return replace(t, nature="skew") if key in self._skewed else t

    def _at_once(self, t: Transition) -> bool:
        at_once = t.since_tick - self._first_tick <= max(1, (t.opened_tick - self._first_tick) // 4)
        return t.since_low_tick <= self._first_tick and at_once


def event_of(
    plan: MonitorPlan,
    stream: StreamPlan,
    group: Group,
    tick: int,
    t: Transition,
    ranges: tuple[OffsetRange, ...],
    names: Mapping[str, int] | None = None,
) -> DriftEvent:
    """What a transition of a group means in event time and offsets.

    Args:
        plan, stream, group: whose.
        tick: the pane at which it was decided.
        t: the transition.
        ranges: source offsets that it rests on.
        names: unknown categories of the pane, with their counts.
    """
    known = names or {}
    column = stream.profile.column(t.column) if t.column and t.aspect != "relation" else None
    said = sentence(t, column, sorted(known, key=lambda name: (-known[name], name)))
    return drift_event(plan, group, stream.profile.profile_id, tick, t, ranges, said)

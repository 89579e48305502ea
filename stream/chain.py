"""What each source of a topic has settled, and how far its event time has come.

Ranges of one source may arrive twice, late, or out of order; each is settled exactly once and in
order. A preview of a source's open range lies over what is settled until the range itself comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import Entry, SummaryPart

ANYWHERE = -2
"""`SourceChain.applied` of a source whose first ranges are no longer in the summaries log."""

MAX_PENDING = 4096
"""Ranges of one source that may wait for an earlier one, which a producer's retry brings within moments."""


class Sources(Protocol):
    """What a chain has to know of its sources; lateness and retention are whole panes."""

    @property
    def partitions(self) -> int: ...
    @property
    def lateness(self) -> int: ...
    @property
    def retention(self) -> int: ...


class Late(Enum):
    """Where content stands against its source's own clock."""

    ON_TIME = "on time"
    LATE = "late"
    EXPIRED = "expired"


@dataclass(slots=True)
class SourceChain:
    """One source: `applied` is the end of the settled ranges, negative before the first."""

    applied: int = -1
    clock: int = -1
    forced: int = -1
    pending: dict[int, SummaryPart] = field(default_factory=dict)
    overlay: SummaryPart | None = None
    waiting: SummaryPart | None = None

    def next_a(self, base: int) -> int:
        return base if self.applied < 0 else self.applied

    def begin_again(self, base: int) -> None:
        """Its epoch ended, another one counted for a while, and now it goes on: what lies between is not in it."""
        self.applied = base
        self.pending = {a: part for a, part in self.pending.items() if a >= base}
        self.overlay = self.waiting = None

    @property
    def log_clock(self) -> int:
        """Greatest tick that the source's log has shown, its open range included."""
        return self.clock if self.overlay is None else max(self.clock, self.overlay.max_tick)


class Chain:
    """All sources of one topic, for one stream of a monitor.

    How many there are is said on the summaries log, so that it is a function of the log when panes begin to wait for
    a new partition.

    Attributes:
        sources: by partition; empty before the first message.
    """

    def __init__(self, topic: Sources) -> None:
        self._topic = topic
        self.sources: list[SourceChain] = []

    @property
    def forced(self) -> bool:
        """Whether some clock was ever forced: only then sealed content can be contradicted."""
        return any(source.forced >= 0 for source in self.sources)

    @property
    def silent(self) -> bool:
        """Whether every source was said to be at its end since the clock of any moved."""
        reached = max((source.log_clock for source in self.sources), default=-1)
        return bool(self.sources) and all(source.forced >= max(reached, 0) for source in self.sources)

    @property
    def pending(self) -> int:
        """Ranges that wait for an earlier one."""
        return sum(len(source.pending) for source in self.sources)

    def register(self, partitions: int) -> None:
        """Wait for so many sources from here on; there are never fewer than before."""
        self.sources += [SourceChain() for _ in range(len(self.sources), partitions)]

    def begin_anywhere(self) -> None:
        """Begin each source with the first range that comes: the log no longer has the earlier ones."""
        self.register(self._topic.partitions)
        for source in self.sources:
            source.applied = ANYWHERE

    def take(self, part: SummaryPart) -> Iterator[SummaryPart]:
        """Apply a part; yields the ranges to settle now, in order. Settle each before asking for the next.

        The part of a partition that nobody has registered registers it.

        Raises:
            StateError: two ranges of one source overlap: workers with different code or limits feed one epoch.
        """
        if not self.sources:  # a replay, or an older release: nothing was registered
            self.register(self._topic.partitions)
        self.register(part.source.partition + 1)
        source = self.sources[part.source.partition]
        if source.applied == ANYWHERE and part.kind == "final":
            source.applied = part.a
        if part.base > source.applied >= 0:
            source.begin_again(part.base)
        expected = source.next_a(part.base)
        if part.kind == "clock":
            # Without a tick of its own a silent source is held to have come as far as the others have on
            # this very log, which keeps what is sealed a function of it.
            reached = part.max_tick if part.max_tick >= 0 else max(s.log_clock for s in self.sources)
            source.forced = max(source.forced, reached, 0)
        elif part.kind == "preview":
            self._take_preview(source, part, expected)
        elif part.a < expected:
            if part.b > expected:
                raise StateError(_overlap(part, expected))
        else:
            known = source.pending.setdefault(part.a, part)
            if known != part:
                raise StateError(_overlap(part, known.b))
            if len(source.pending) > MAX_PENDING:
                raise StateError(
                    f"{MAX_PENDING} ranges of {part.source.topic}[{part.source.partition}] wait for the one that "
                    f"begins at {expected}: it is lost from the summaries topic (too short a retention, or records "
                    "deleted). Start again under a new `app` name, and raise the topic's retention.ms"
                )
            while (following := source.pending.pop(source.next_a(part.base), None)) is not None:
                yield following
            stale = [a for a in source.pending if a < source.applied]
            if stale:
                raise StateError(_overlap(source.pending[stale[0]], source.applied))

    def settle(self, part: SummaryPart) -> Iterator[tuple[Entry, Late]]:
        """Move the source past a range; yields its entries and how late they are."""
        source = self.sources[part.source.partition]
        source.clock = max(source.clock, part.max_tick)
        source.applied = part.b
        source.overlay = None
        if source.waiting is not None and source.waiting.a <= part.b:
            source.overlay = source.waiting if source.waiting.a == part.b else None
            source.waiting = None
        for entry in part.entries:
            yield entry, self.lateness(entry.tick, source.clock)

    def lateness(self, tick: int, clock: int) -> Late:
        """Where a pane stands when its source's clock shows `clock`."""
        if tick + 1 + self._topic.lateness > clock:
            return Late.ON_TIME
        return Late.LATE if tick + 1 + self._topic.lateness + self._topic.retention > clock else Late.EXPIRED

    def overlay_entries(self) -> Iterator[tuple[int, Entry]]:
        """(partition, entry) of the on-time content of all open ranges that are known."""
        for partition, source in enumerate(self.sources):
            if source.overlay is not None:
                for entry in source.overlay.entries:
                    if self.lateness(entry.tick, source.log_clock) is Late.ON_TIME:
                        yield partition, entry

    def frontier(self) -> int:
        """Greatest pane that every source has passed, forced clocks included; below 0 for none."""
        return self._lowest() - 1 - self._topic.lateness

    def expired_before(self) -> int:
        """Panes before this are expired for every source."""
        return self._lowest() - 1 - self._topic.lateness - self._topic.retention

    def _lowest(self) -> int:
        """How far the slowest source has come."""
        return min((max(s.log_clock, s.forced) for s in self.sources), default=-1)

    def state(self) -> list[list[Any]]:
        return [
            [
                source.applied,
                source.clock,
                source.forced,
                [encode_part(part) for _, part in sorted(source.pending.items())],
                None if source.overlay is None else encode_part(source.overlay),
                None if source.waiting is None else encode_part(source.waiting),
            ]
            for source in self.sources
        ]

    def restore(self, state: list[list[Any]]) -> None:
        self.sources = []
        for applied, clock, forced, pending, overlay, waiting in state:
            parts = [decode_part(data) for data in pending]
            self.sources.append(
                SourceChain(
                    applied=applied,
                    clock=clock,
                    forced=forced,
                    pending={part.a: part for part in parts},
                    overlay=None if overlay is None else decode_part(overlay),
                    waiting=None if waiting is None else decode_part(waiting),
                )
            )

    @staticmethod
    def _take_preview(source: SourceChain, part: SummaryPart, expected: int) -> None:
        """Keep the longest preview of the range that comes next; one further ahead waits."""
        if part.a == expected:
            if source.overlay is None or part.b > source.overlay.b:
                source.overlay = part
        elif part.a > expected and (source.waiting is None or (part.a, part.b) > (source.waiting.a, source.waiting.b)):
            source.waiting = part


def _overlap(part: SummaryPart, expected: int) -> str:
    return (
        f"range [{part.a}, {part.b}) of {part.source.topic}[{part.source.partition}] overlaps what is settled up to "
        f"{expected}: workers with different versions or limits feed the same epoch. Stop all of them, and start "
        "them again with one configuration under a new `app` name"
    )

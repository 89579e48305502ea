"""Stage 2: parts of the summaries topic become drift events and retrain triggers.

Each monitor is a machine of its own: its chain (what each source has settled), its unsealed
panes, its detectors, its policies, and the offset of the summaries partition it has reached. Its
sealed output is a pure function of that prefix. docs/protocol.md has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.verdict import ColumnView
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import DriftEvent, Entry, Group, ManualRetrain, Published, Registration, SummaryPart
from driftbus.stream.chain import Chain, Late
from driftbus.stream.crowding import OTHER as OTHER
from driftbus.stream.crowding import furthest, most_groups, most_open, thin
from driftbus.stream.facts import Fact, Facts
from driftbus.stream.groups import GroupJudge, GroupPane, add_entry
from driftbus.stream.incidents import Incidents
from driftbus.stream.migrations import PRESENT, migrated
from driftbus.stream.outcomes.judge import OutcomeJudge
from driftbus.stream.plan import MonitorPlan, Plans, StreamPlan
from driftbus.stream.quiet import Quiet
from driftbus.stream.schemas import SchemaJudge
from driftbus.stream.state import pack_state, unpack_state
from driftbus.stream.triggers import PolicyClock, Sealed

Message = SummaryPart | ManualRetrain | Registration
Decided = Published

_HOUR_MS = 3_600_000


class Observer(Protocol):
    """Sees every pane right after it was judged; changes nothing."""

    def pane(
        self, tick: int, group: Group, content: GroupPane | None, judge: GroupJudge, events: list[DriftEvent]
    ) -> None:
        """A pane of a group, None when it had no row in it, and what was decided."""


@dataclass(slots=True)
class Counts:
    """What a monitor's stream has done so far, for metrics. Rows are counted once, not again for each segment."""

    panes: int = 0
    rows: int = 0
    late: int = 0
    expired: int = 0
    contradictions: int = 0
    unfit: int = 0
    beyond: int = 0
    dropped: int = 0


class StreamJudge:
    """One stream of a monitor: seals panes in order and feeds its groups' detectors."""

    def __init__(self, plan: MonitorPlan, stream: StreamPlan) -> None:
        self._plan, self._stream = plan, stream
        topic = plan.topics[plan.config.streams[stream.stream].topic]
        self.topic = topic.topic
        self.name = stream.stream
        self.chain = Chain(topic)
        self.sealed = -1
        self.counts = Counts()
        self._panes: dict[int, dict[Group, GroupPane]] = {}
        self._open = 0
        self._thinned: set[int] = set()
        self._most_groups = most_groups(plan.config.detection.max_groups, stream.layout.total)
        self._most_open = most_open(stream.layout.total)
        self._used: dict[int, dict[Group, list[int]]] = {}
        self.groups: dict[Group, GroupJudge] = {}
        self.versions: set[str] = set()  # of the pane that was judged last, so it is no state
        self._facts = Facts(plan, stream)
        self.observer: Observer | None = None
        self.listener: Callable[[int, Mapping[Group, GroupPane]], None] | None = None
        self._schemas = SchemaJudge(plan, stream, self.topic)

    def learn(self, part: SummaryPart) -> None:
        """Take what a part says beside its counts."""
        self._schemas.learn(part)

    def settle(self, part: SummaryPart) -> None:
        """Take the on-time entries of a settled range."""
        for entry, late in self.chain.settle(part):
            if entry.group.monitor != self._plan.name or entry.group.stream != self._stream.stream:
                continue
            if not self._fits(entry):
                self.counts.unfit += 0 if entry.group.segment else entry.rows
                continue
            if late is Late.ON_TIME:
                if entry.tick <= self.sealed:
                    self._check_used(entry.tick, entry.group, entry.rows)
                else:
                    self._keep(entry, part.source.partition)
            elif entry.group.segment:
                pass  # its rows are counted in the group of all rows
            elif late is Late.LATE:
                self.counts.late += entry.rows
            else:
                self.counts.expired += entry.rows

    def seal(self) -> Iterator[tuple[int, list[DriftEvent], list[Fact]]]:
        """Judge every pane that all sources have passed: (pane, what was decided, what was known), in order."""
        frontier = self.chain.frontier()
        if frontier <= self.sealed:
            return
        ahead: dict[int, dict[Group, GroupPane]] = {}
        for partition, entry in self.chain.overlay_entries():
            mine = entry.group.monitor == self._plan.name and entry.group.stream == self._stream.stream
            if mine and self._fits(entry) and self.sealed < entry.tick <= frontier:
                pane = ahead.setdefault(entry.tick, {})
                add_entry(pane, entry.group, entry, partition, self._stream.of(entry.group.version))
        for tick in sorted(t for t in {*self._panes, *ahead} if t <= frontier):
            settled = self._panes.pop(tick, {})
            self._open -= len(settled)
            rows = {group: [content.rows, content.rows] for group, content in settled.items()}
            for group, content in ahead.get(tick, {}).items():
                if group in settled:
                    settled[group].merge(content)
                else:
                    settled[group] = content
                rows.setdefault(group, [0, 0])[0] += content.rows
            if self.chain.forced:
                self._used[tick] = rows
            if self.listener is not None:
                self.listener(tick, {group: self._common(group, content) for group, content in settled.items()})
            yield tick, *self._judge(tick, settled)
        self.sealed = frontier
        self._thinned = {tick for tick in self._thinned if tick > frontier}
        horizon = self.chain.expired_before()
        for tick in [t for t in self._used if t < horizon]:
            del self._used[tick]

    def _keep(self, entry: Entry, partition: int) -> None:
        """Add an entry to the open pane that it belongs to, within the bounds of `driftbus.stream.crowding`."""
        pane = self._panes.setdefault(entry.tick, {})
        before = len(pane)
        add_entry(pane, entry.group, entry, partition, self._stream.of(entry.group.version))
        if len(pane) > self._most_groups:
            most = self._plan.config.detection.max_groups
            self.counts.beyond += thin(pane, self.groups, self._stream.own, most)
            self._thinned.add(entry.tick)
        self._open += len(pane) - before
        while self._open > self._most_open and len(self._panes) > 1:
            tick, rows = furthest(self._panes)
            self._open -= len(self._panes.pop(tick))
            self.counts.dropped += rows

    def views(self) -> dict[Group, list[ColumnView]]:
        """Present state of the columns of each group."""
        return {name: group.views() for name, group in self.groups.items()}

    def open_episodes(self) -> list[OpenEpisode]:
        """Open episodes of all groups, and of the stream's schema."""
        return [*self._schemas.open_episodes(), *(e for judge in self.groups.values() for e in judge.open_episodes())]

    def state(self) -> dict[str, object]:
        return {
            "chain": self.chain.state(),
            "sealed": self.sealed,
            "counts": [getattr(self.counts, name) for name in Counts.__slots__],
            "panes": [
                [tick, [[*self._named(group), content.state()] for group, content in sorted(pane.items(), key=_first)]]
                for tick, pane in sorted(self._panes.items())
            ],
            "used": [
                [tick, [[*_key(group), *rows] for group, rows in sorted(used.items(), key=_first)]]
                for tick, used in sorted(self._used.items())
            ],
            "thinned": sorted(self._thinned),
            "facts": self._facts.state(),
            "schemas": self._schemas.state(),
            "groups": [
                [*_key(group), judge.mark, judge.state()] for group, judge in sorted(self.groups.items(), key=_first)
            ],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        values: dict[str, object] = dict(state)
        self.chain.restore(values["chain"])  # type: ignore[arg-type]
        self.sealed = values["sealed"]  # type: ignore[assignment]
        self.counts = Counts(*values["counts"])  # type: ignore[misc]
        self._panes = {
            tick: {
                self._group(v, s): GroupPane.restored(content, self._stream.of(v).shape)
                for v, s, mark, content in groups
                if mark == self._stream.of(v).mark  # else counted before the version had a profile of its own
            }
            for tick, groups in values["panes"]  # type: ignore[attr-defined]
        }
        self._open = sum(map(len, self._panes.values()))
        self._used = {
            tick: {self._group(v, s): [a, b] for v, s, a, b in groups}
            for tick, groups in values["used"]  # type: ignore[attr-defined]
        }
        self._thinned = set(values.get("thinned", ()))  # type: ignore[call-overload]
        self._facts.restore(values["facts"])  # type: ignore[arg-type]
        self._schemas.restore(values["schemas"])  # type: ignore[arg-type]
        self.groups = {}
        for version, segment, mark, content in values["groups"]:  # type: ignore[attr-defined]
            group, own = self._group(version, segment), self._stream.of(version)
            stream = own if own.mark == mark else self._stream
            self.groups[group] = GroupJudge.restored(self._plan, stream, group, content)

    def knows(self, state: Mapping[str, object]) -> bool:
        """Whether the profiles that versions were compared with in a state are still there."""
        groups: list[list[object]] = state["groups"]  # type: ignore[assignment]
        return all(mark in ("", self._stream.of(str(version)).mark) for version, _, mark, _ in groups)

    def _fits(self, entry: Entry) -> bool:
        """Whether an entry was counted into the cells that its version is compared in."""
        return entry.profile == self._stream.of(entry.group.version).mark

    def _common(self, group: Group, content: GroupPane) -> GroupPane:
        """In the cells of all versions; of a version with cells of its own only the rows are known there."""
        if not self._stream.of(group.version).mark:
            return content
        return GroupPane(np.zeros(self._stream.layout.total, np.int64), content.rows, content.offsets)

    def _named(self, group: Group) -> tuple[str, str, str]:
        return *_key(group), self._stream.of(group.version).mark

    def _group(self, version: str, segment: str) -> Group:
        return Group(self._plan.name, self._stream.stream, version, segment)

    def _check_used(self, tick: int, group: Group, rows: int) -> None:
        """Content of a sealed pane must be what an overlay showed when it was sealed; more contradicts it."""
        used = self._used.setdefault(tick, {}).setdefault(group, [0, 0])
        used[1] += rows
        if used[1] > used[0]:
            self.counts.contradictions += 0 if group.segment else used[1] - used[0]
            used[0] = used[1]

    def _admit(self, pane: dict[Group, GroupPane]) -> dict[Group, GroupPane]:
        """The groups of a pane that are judged, within the bound on versions and on segments.

        Versions beyond it are judged together; segments beyond it are not judged on their own:
        their rows are in the group of all rows.
        """
        most = self._plan.config.detection.max_groups
        known = {kind: {g for g in self.groups if bool(g.segment) is kind} for kind in (False, True)}
        admitted: dict[Group, GroupPane] = {}
        # what was put together before it was sealed takes no version's place
        for group, content in sorted(pane.items(), key=lambda item: (item[0].version == OTHER, item[0])):
            peers, judged = known[bool(group.segment)], group
            bounded = bool(group.segment) or group.version not in self._stream.own
            if bounded and group not in peers and len(peers) >= most:
                self.counts.beyond += content.rows
                if group.segment:
                    continue
                judged = self._group(OTHER, "")
            peers.add(judged)
            if judged in admitted:
                admitted[judged].merge(content)
            else:
                admitted[judged] = content
        return admitted

    def _judge(self, tick: int, pane: dict[Group, GroupPane]) -> tuple[list[DriftEvent], list[Fact]]:
        self.counts.panes += 1
        self.versions = {group.version for group in pane}
        self.counts.rows += sum(content.rows for group, content in pane.items() if not group.segment)
        events = self._schemas.update(tick, pane)
        admitted = self._admit(pane)
        for group, content in admitted.items():
            stream = self._stream.of(group.version)
            if group in self.groups and self.groups[group].mark != stream.mark:
                events += self.groups.pop(group).ended(tick)
                self._facts.forget(group.version)
            if group not in self.groups:
                self.groups[group] = GroupJudge(self._plan, stream, group)
                if any(later > tick for later in self._thinned):  # its rows there may have been let go already
                    self.counts.dropped += content.rows
            events += self._update(tick, group, content)
        hour = tick * self._plan.pane_ms // _HOUR_MS
        for group, judge in sorted(self.groups.items(), key=_first):
            if group not in admitted and judge.last_tick * self._plan.pane_ms // _HOUR_MS < hour:
                events += self._update(tick, group, None)
        return events, self._facts.note(tick, admitted, self.groups, events)

    def _update(self, tick: int, group: Group, content: GroupPane | None) -> list[DriftEvent]:
        events = self.groups[group].update(tick, content)
        if self.observer is not None:
            self.observer.pane(tick, group, content, self.groups[group], events)
        return events


def _first(item: tuple[Group, object]) -> Group:
    return item[0]


def _key(group: Group) -> tuple[str, str]:
    return group.version, group.segment


class MonitorJudge:
    """One monitor: its streams, its policies, and how far it has read."""

    def __init__(self, plan: MonitorPlan) -> None:
        self.plan = plan
        self.offset = 0
        self.streams = [StreamJudge(plan, stream) for stream in sorted(plan.streams, key=lambda s: s.stream)]
        self.policy = PolicyClock(plan)
        self.incidents = Incidents(plan)
        self.outcomes = None if plan.outcomes is None else OutcomeJudge(plan, plan.outcomes)
        for stream in self.streams:
            if stream.name == "predictions" and self.outcomes is not None:
                stream.listener = self.outcomes.predicted
        self.quiet = Quiet(plan.name, plan.fingerprint)
        self.foreign = 0

    def begin_anywhere(self) -> None:
        """Begin with the first ranges that come: the summaries before them were deleted."""
        for stream in self.streams:
            stream.chain.begin_anywhere()
        if self.outcomes is not None:
            self.outcomes.chain.begin_anywhere()

    def apply(self, offset: int, message: Message) -> list[Decided]:
        """One message of the summaries partition; what is already inside the state is passed over."""
        if offset < self.offset:
            return []
        self.offset = offset + 1
        if isinstance(message, ManualRetrain):
            mine = message.monitor == self.plan.name
            return self.quiet.passed(self.policy.manual(message, self.incidents.homes)) if mine else []
        if isinstance(message, Registration):
            return self._register(message)
        return self.quiet.passed(self._take(message))

    def _take(self, message: SummaryPart) -> list[Decided]:
        outcomes, topic = self.plan.outcomes, self.plan.topics.get(message.source.topic)
        if outcomes is not None and (message.source.topic, message.source.epoch) == (outcomes.topic, outcomes.epoch):
            return self._take_outcomes(message)
        if topic is None:
            return []
        if message.source.epoch != topic.epoch:
            self.foreign += 1
            return []
        for stream in self.streams:
            if stream.topic == topic.topic:
                stream.learn(message)
                for part in stream.chain.take(message):
                    stream.settle(part)
        return self._advance()

    def _register(self, message: Registration) -> list[Decided]:
        """From here on wait for so many partitions of a topic; tell what was held back before this configuration."""
        outcomes = self.plan.outcomes
        if message.topic not in self.plan.topics:
            return []
        for stream in self.streams:
            if (stream.topic, self.plan.topics[stream.topic].epoch) == (message.topic, message.epoch):
                stream.chain.register(message.partitions)
        if outcomes is not None and (outcomes.topic, outcomes.epoch) == (message.topic, message.epoch):
            assert self.outcomes is not None
            self.outcomes.chain.register(message.partitions)
        return self.quiet.registered(message.monitors)

    def _take_outcomes(self, part: SummaryPart) -> list[Decided]:
        """A part of the outcomes: counts of labels beside what was predicted, in a chain of their own."""
        assert self.outcomes is not None
        for settled in self.outcomes.chain.take(part):
            self.outcomes.settle(settled)
        return self._advance()

    def _advance(self) -> list[Decided]:
        decided: list[Decided] = []
        for stream in self.streams:
            for tick, events, facts in stream.seal():
                if self.outcomes is not None:
                    self.outcomes.noticed(tick, events)
                    expected, reports = self.outcomes.before_labels()
                    events = [*events, *expected]
                    decided += reports
                decided += events
                self.policy.queue(stream, tick, events, stream.versions)
                self.incidents.queue(stream, tick, events, facts)
        decided += self._judge_outcomes()
        clocks = self._clocks()
        silent = self.outcomes is None or self.outcomes.chain.silent
        return [
            *decided,
            *self.incidents.advance(clocks),
            *self.policy.advance(clocks, self.incidents.homes, silent=silent),
        ]

    def _judge_outcomes(self) -> list[Decided]:
        """What labels say of predictions, as far as both are sealed."""
        if self.outcomes is None:
            return []
        decided: list[Decided] = []
        clocks = {clock.name: clock for clock in self._clocks()}
        prompt = [stream for stream in self.streams if stream.name != "labels"]
        sealed = min((stream.sealed for stream in prompt), default=None)
        silent = all(stream.chain.silent for stream in prompt)
        for told in self.outcomes.advance(sealed, silent=silent):
            decided += [*told.events, *told.others]
            self.policy.queue_outcomes(told.tick, told.news)
            self.incidents.queue(clocks[told.path], told.tick, told.events, [])
        return decided

    def _clocks(self) -> list[Sealed]:
        """All that says how far it has sealed."""
        if self.outcomes is None:
            return list(self.streams)
        return [*self.streams, self.outcomes.panes, self.outcomes.cohorts, self.outcomes]

    def snapshot(self) -> bytes:
        """Everything that this monitor's future depends on, with the offset it belongs to."""
        return pack_state(
            {
                "version": PRESENT,
                "key": self.plan.state_key,
                "offset": self.offset,
                "foreign": self.foreign,
                "streams": [[s.topic, s.state()] for s in self.streams],
                "policy": self.policy.state(),
                "incidents": self.incidents.state(),
                "outcomes": None if self.outcomes is None else self.outcomes.state(),
                "quiet": self.quiet.state(),
            }
        )

    def restore(self, data: bytes) -> bool:
        """Continue from a snapshot; False when it was made under another configuration.

        Raises:
            StateError: it is damaged or of a format that this release doesn't know.
        """
        try:
            return self._restore(migrated(unpack_state(data), self.plan))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
            raise StateError(
                f"the state of monitor {self.plan.name} does not hold what this release writes "
                f"({type(error).__name__}: {error}): delete the monitor's records from the state topic, its windows "
                "are rebuilt from the summaries topic"
            ) from error

    def _restore(self, state: dict[str, Any]) -> bool:
        if state["key"] != self.plan.state_key:
            return False
        if not all(stream.knows(saved) for stream, (_, saved) in zip(self.streams, state["streams"], strict=True)):
            return False
        self.offset, self.foreign = state["offset"], state["foreign"]
        for stream, (topic, saved) in zip(self.streams, state["streams"], strict=True):
            assert stream.topic == topic
            stream.restore(saved)
        self.policy.restore(state["policy"])
        self.incidents.restore(state["incidents"])
        if self.outcomes is not None:
            self.outcomes.restore(state["outcomes"])
        self.quiet.restore(state["quiet"])
        return True


class Judge:
    """Stage 2 of one summaries partition.

    Args:
        plans: all plans.
        shard: the partition.
    """

    def __init__(self, plans: Plans, shard: int) -> None:
        self.shard = shard
        self.monitors = {name: MonitorJudge(plan) for name, plan in plans.monitors.items() if plan.shard == shard}
        self._written = dict.fromkeys(self.monitors, 0)

    @property
    def position(self) -> int:
        """First summaries offset that some monitor still needs."""
        return min((monitor.offset for monitor in self.monitors.values()), default=0)

    def restore(self, snapshots: Mapping[str, bytes]) -> list[str]:
        """Continue from snapshots by monitor; returns the monitors whose snapshot is of another configuration."""
        stale = []
        for name, monitor in self.monitors.items():
            if name in snapshots and not monitor.restore(snapshots[name]):
                stale.append(name)
            self._written[name] = monitor.offset
        return stale

    def apply(self, offset: int, message: Message) -> list[Decided]:
        """One message of the partition; what it decided, in order."""
        decided: list[Decided] = []
        for monitor in self.monitors.values():
            decided += monitor.apply(offset, message)
        return decided

    def changed(self) -> Iterable[str]:
        """Monitors that have moved since their last snapshot, the oldest snapshot first."""
        moved = [name for name, monitor in self.monitors.items() if monitor.offset > self._written[name]]
        return sorted(moved, key=lambda name: (self._written[name], name))

    def snapshot(self, name: str) -> bytes:
        """A snapshot of one monitor; it counts as written from here on."""
        self._written[name] = self.monitors[name].offset
        return self.monitors[name].snapshot()

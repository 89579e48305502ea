"""Episodes that move together become one incident: a pure machine at the pace of the monitor's slowest stream.

An episode joins an open incident when it is a part of one of its members (a segment's or another
version's episode of the same column), when it opens within the joining horizon, or when its change
point interval meets that of the incident. Else it begins one of its own.

Labels come late and must not hold the others up: they have a lane of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from driftbus.schemas.codec import decode_drift, encode_drift
from driftbus.schemas.events import DriftEvent, Histogram, Incident
from driftbus.stream.case import Case, plain, restored
from driftbus.stream.facts import Fact
from driftbus.stream.plan import MonitorPlan
from driftbus.stream.scene import Held, Scene, rank
from driftbus.stream.story import MOST_DRAWN, Told, told
from driftbus.stream.triggers import Sealed, join_ranges

HORIZON_PANES, MOST_HORIZON_PANES = 10, 1_000
"""Bounds of the joining horizon; between them it is twice the time that the first member took to be found."""
MOST_OPEN = 16
"""Open incidents; more would tell nobody anything, so what comes then joins the newest."""
MOST_HELD = 200
"""Members that an incident knows whole; of the others it knows that they are open."""


class Lane:
    """The incidents of some streams of a monitor.

    Args:
        plan: of the monitor.
        streams: names of the streams whose episodes it takes, and whose slowest it waits for.
    """

    def __init__(self, plan: MonitorPlan, streams: Sequence[str]) -> None:
        self._plan, self.streams = plan, tuple(streams)
        self._timeline: list[tuple[int, str, list[DriftEvent], list[Fact]]] = []
        self._open: list[Case] = []
        self._versions: dict[tuple[str, str], tuple[int, int]] = {}
        self._touched: dict[str, str] = {}
        self._escalated: set[str] = set()  # of the pane that is being told, so it is no state

    def queue(self, stream: str, tick: int, events: Sequence[DriftEvent], facts: Sequence[Fact]) -> None:
        """What a stream decided at a pane, and what it knew then."""
        if events or facts:
            self._timeline.append((tick, stream, list(events), list(facts)))

    def advance(self, reached: int) -> Iterator[Incident]:
        """Tell what is to be told up to a pane that all streams have sealed."""
        due = sorted((item for item in self._timeline if item[0] <= reached), key=lambda item: item[:2])
        self._timeline = [item for item in self._timeline if item[0] > reached]
        self._touched = {}
        pane_ms = self._plan.pane_ms
        for i, (tick, stream, events, facts) in enumerate(due):
            yield from self._look(tick * pane_ms)
            for fact in facts:
                self._learn(stream, fact)
            for event in events:
                self._take(event)
            if i + 1 == len(due) or due[i + 1][0] > tick:
                yield from self._speak((tick + 1) * pane_ms)
        yield from self._look((reached + 1) * pane_ms)

    def severities(self) -> list[str]:
        """Severities of the open incidents."""
        return [case.severity for case in self._open]

    def homes(self) -> dict[str, str]:
        """Episode → incident, of all that were open since the last step began."""
        return self._touched | {name: case.id for case in self._open for name in (*case.held, *case.rest)}

    def _learn(self, stream: str, fact: Fact) -> None:
        kind, *rest = fact
        if kind == "version":
            version, first, last = rest
            self._versions[stream, version] = (first * self._plan.pane_ms, (last + 1) * self._plan.pane_ms)
            return
        if kind == "picture":
            self._draw(stream, *rest)
            return
        version, column, aspect, segment, before, after = rest
        for case in self._open:
            if (stream, column) in case.columns:
                case.shares[stream, version, column, aspect] = (segment, before, after)

    def _draw(
        self, stream: str, version: str, segment: str, column: str, aspect: str, bins: list[Any], curve: list[float]
    ) -> None:
        """An open episode as it looks now."""
        whose = (stream, version, segment, column, aspect)
        for case in self._open:
            for name, held in case.held.items():
                e = held.event
                if held.closed_ms is None and (e.stream, e.version, e.segment, e.column, e.aspect) == whose:
                    histogram = Histogram(*(tuple(part) for part in bins))
                    case.held[name] = Held(replace(e, histogram=histogram, curve=tuple(curve)), None)

    def _take(self, event: DriftEvent) -> None:
        case = next((c for c in self._open if event.episode_id in c.held or event.episode_id in c.rest), None)
        if case is None:
            if event.status in ("changed", "closed"):  # opened before this machine began
                return
            case = self._home(event)
            case.columns.add((event.stream, event.column))
        self._touched[event.episode_id] = case.id
        known = case.held.pop(event.episode_id, None)
        self._escalated |= {event.episode_id} if event.status == "escalated" else set()
        if event.status == "closed":
            case.rest.discard(event.episode_id)
            if known is not None:
                case.held[event.episode_id] = Held(known.event, event.window_end_ms)
            return
        if event.status == "changed" and known is not None:  # the story began with the first change
            first = known.event
            event = replace(
                event, since_ms=first.since_ms, since_low_ms=first.since_low_ms, since_high_ms=first.since_high_ms
            )
        if event.episode_id in case.rest:
            case.rest.discard(event.episode_id)
            case.more -= 1
        case.held[event.episode_id] = Held(event, None)
        case.severity = max(case.severity, event.severity, key=rank)
        case.ranges = join_ranges([*case.ranges, *event.ranges])
        if len(case.held) > MOST_HELD:
            least = max(case.held.values(), key=lambda h: (h.closed_ms is not None, h.order()))
            del case.held[least.event.episode_id]
            case.more += 1
            if least.closed_ms is None:
                case.rest.add(least.event.episode_id)

    def _home(self, event: DriftEvent) -> Case:
        """The incident that an episode belongs to."""
        newest = list(reversed(self._open))
        for case in newest:
            if any(h.closed_ms is None and _is_part(event, h.event) for h in case.held.values()):
                return case
        margin = self._plan.pane_ms
        for case in newest:
            near = event.opened_ms <= case.opened_ms + case.horizon_ms
            meets = event.since_low_ms <= case.high_ms + margin and event.since_high_ms >= case.low_ms - margin
            if near or meets:
                return case
        if len(newest) >= MOST_OPEN:
            return newest[0]
        delay = 2 * (event.opened_ms - event.since_low_ms)
        horizon = min(max(HORIZON_PANES * margin, delay), MOST_HORIZON_PANES * margin)
        name = hashlib.sha256(
            "\0".join([event.monitor, event.fingerprint, str(event.opened_ms), event.episode_id]).encode()
        ).hexdigest()[:32]
        case = Case(
            name, event.opened_ms, horizon, event.opened_ms + horizon, "", event.since_low_ms, event.since_high_ms
        )
        self._open.append(case)
        return case

    def _speak(self, now_ms: int) -> Iterator[Incident]:
        """At the end of a pane with events: what can't wait."""
        for case in list(self._open):
            worse = rank(case.severity) > rank(case.said.partition(" ")[0]) or self._led_by_escalated(case)
            if not case.said:
                yield self._tell(case, "opened", now_ms)
            elif not case.is_over() and (worse or case.size >= 2 * case.grown):
                yield self._tell(case, "updated", now_ms)
            if case.is_over():
                self._open.remove(case)
                yield self._tell(case, "closed", now_ms)
        self._escalated.clear()

    def _led_by_escalated(self, case: Case) -> bool:
        """Whether a member that has just escalated is among the first; of the others the next look tells."""
        if self._escalated.isdisjoint(case.held):
            return False
        first = sorted(case.held.values(), key=Held.order)[:MOST_DRAWN]
        return any(held.event.episode_id in self._escalated for held in first)

    def _look(self, now_ms: int) -> Iterator[Incident]:
        """At the ends of the horizon and its doublings: what has gathered since."""
        while True:
            case = min(self._open, key=lambda c: c.due_ms, default=None)
            if case is None or case.due_ms > now_ms:
                return
            at_ms = case.due_ms
            case.due_ms += max(self._plan.pane_ms, at_ms - case.opened_ms)
            story = self._story(case, at_ms)
            if story.signature != case.said:
                yield self._tell(case, "updated", at_ms, story)

    def _story(self, case: Case, now_ms: int) -> Told:
        settled = now_ms >= case.opened_ms + case.horizon_ms
        story = told(
            Scene(
                plan=self._plan,
                streams=self.streams,
                held=tuple(case.held.values()),
                columns=frozenset(case.columns),
                versions=self._versions,
                shares=case.shares,
                settled=settled,
                now_ms=now_ms,
            ),
            case.severity,
            len(case.rest),
            case.size,
        )
        case.low_ms, case.high_ms = story.since_low_ms, story.since_high_ms
        return story

    def _tell(self, case: Case, status: str, now_ms: int, story: Told | None = None) -> Incident:
        story = self._story(case, now_ms) if story is None else story
        case.said, case.grown = story.signature, case.size
        identity = "\0".join([case.id, status, str(now_ms)])
        return story.incident(
            id=hashlib.sha256(identity.encode()).hexdigest()[:32],
            incident_id=case.id,
            status=status,
            decided_ms=now_ms,
            opened_ms=case.opened_ms,
            ranges=case.ranges,
        )

    def state(self) -> dict[str, Any]:
        return {
            "timeline": [[t, s, [encode_drift(e) for e in events], facts] for t, s, events, facts in self._timeline],
            "versions": [[*key, *span] for key, span in sorted(self._versions.items())],
            "open": [plain(case) for case in self._open],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._timeline = [(t, s, [decode_drift(e) for e in events], facts) for t, s, events, facts in state["timeline"]]
        self._versions = {(stream, version): (first, last) for stream, version, first, last in state["versions"]}
        self._open = [restored(saved) for saved in state["open"]]


class Incidents:
    """The incidents of a monitor.

    Args:
        plan: of the monitor.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        names = sorted(stream.stream for stream in plan.streams)
        prompt = [name for name in names if name != "labels"]
        late = [name for name in names if name == "labels"] + ([] if plan.outcomes is None else ["labelled", "cohorts"])
        self._lanes = [Lane(plan, group) for group in (prompt, late) if group]

    def queue(self, stream: Sealed, tick: int, events: Sequence[DriftEvent], facts: Sequence[Fact]) -> None:
        """What a stream decided at a pane, and what it knew then."""
        for lane in self._lanes:
            if stream.name in lane.streams:
                lane.queue(stream.name, tick, events, facts)

    def advance(self, streams: Sequence[Sealed]) -> Iterator[Incident]:
        """Tell what is to be told up to the panes that the streams have sealed."""
        for lane in self._lanes:
            yield from lane.advance(min(s.sealed for s in streams if s.name in lane.streams))

    def severities(self) -> list[str]:
        """Severities of the open incidents."""
        return [severity for lane in self._lanes for severity in lane.severities()]

    def homes(self) -> dict[str, str]:
        """Episode → incident, of all that were open since the last step began."""
        return {name: case for lane in self._lanes for name, case in lane.homes().items()}

    def state(self) -> list[dict[str, Any]]:
        return [lane.state() for lane in self._lanes]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        for lane, saved in zip(self._lanes, state, strict=True):
            lane.restore(saved)


def _is_part(event: DriftEvent, member: DriftEvent) -> bool:
    """Whether an episode is that of a segment or of another version of a member's column."""
    same = (event.stream, event.column, event.aspect) == (member.stream, member.column, member.aspect)
    return same and member.segment in ("", event.segment)

"""Policies of a monitor at the pace of its slowest stream, so that streams' order on the bus can't matter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from driftbus.detectors.policy import Decision, Evidence, Policy
from driftbus.schemas.events import DriftEvent, ManualRetrain, OffsetRange, RetrainTrigger
from driftbus.stream.plan import MonitorPlan, StreamPlan

Homes = Callable[[], Mapping[str, str]]


class Sealed(Protocol):
    """A stream as far as policies are concerned."""

    name: str
    sealed: int


class PolicyClock:
    """Collects what the streams decided and shows it to the policy in order of event time.

    Labels don't hold it up: they arrive late, and drift of features must not wait for them. Their
    episodes are told, but don't count as columns.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        self._plan = plan
        self._policy = None if plan.config.retrain is None else Policy(plan.config.retrain, plan.pane_ms)
        self._streams = {s.stream for s in plan.streams if s.stream != "labels"} or {"labels"}
        self._timeline: list[tuple[int, str, list[Any]]] = []
        self._open: dict[str, tuple[Evidence, tuple[OffsetRange, ...]]] = {}
        self._started = False
        self._homes: Homes = dict

    def queue(self, stream: Sealed, tick: int, events: Sequence[DriftEvent]) -> None:
        """What a stream decided at a pane with content."""
        if self._policy is not None and stream.name in self._streams:
            self._timeline.append((tick, stream.name, [_change(e) for e in events if _counts(e)]))

    def advance(self, streams: Sequence[Sealed], homes: Homes = dict) -> Iterator[RetrainTrigger]:
        """Decide up to the pane that all streams have sealed.

        Args:
            streams: how far they are.
            homes: gives the incident of each episode that was open since the last call.
        """
        self._homes = homes
        if self._policy is None:
            return
        reached = min(s.sealed for s in streams if s.name in self._streams)
        due = sorted((item for item in self._timeline if item[0] <= reached), key=lambda item: item[:2])
        self._timeline = [item for item in self._timeline if item[0] > reached]
        for tick, _, changes in due:
            self._started = True
            yield from self._decide(tick * self._plan.pane_ms)
            for status, *rest in changes:
                evidence = Evidence(*rest[0])
                if status == "closed":
                    self._open.pop(evidence.episode_id, None)
                else:
                    ranges = tuple(OffsetRange(*r) for r in rest[1])
                    known = self._open.get(evidence.episode_id)
                    self._open[evidence.episode_id] = (evidence, join_ranges([*(known[1] if known else ()), *ranges]))
        if self._started:
            yield from self._decide((reached + 1) * self._plan.pane_ms)

    def manual(self, command: ManualRetrain, homes: Homes = dict) -> Iterator[RetrainTrigger]:
        """A person's command is obeyed at once, whatever the cooldown."""
        self._homes = homes
        evidence = tuple(e for e, _ in self._open.values())
        reason = command.reason or "Asked for by hand"
        version = next((e.version for e in evidence if e.version), "")
        decision = Decision("manual", command.requested_ms, reason, version, evidence)
        yield self._trigger(decision, command.requested_by)
        if self._policy is not None:
            self._policy.told(command.requested_ms, evidence)

    def state(self) -> dict[str, Any]:
        return {
            "policy": None if self._policy is None else self._policy.state(),
            "timeline": [list(item) for item in self._timeline],
            "open": [[_plain(e), [_range(r) for r in ranges]] for e, ranges in self._open.values()],
            "started": self._started,
        }

    def restore(self, state: dict[str, Any]) -> None:
        if self._policy is not None:
            self._policy.restore(state["policy"])
        self._timeline = [(tick, stream, changes) for tick, stream, changes in state["timeline"]]
        self._open = {}
        for plain, ranges in state["open"]:
            evidence = Evidence(*plain)
            self._open[evidence.episode_id] = (evidence, tuple(OffsetRange(*r) for r in ranges))
        self._started = state["started"]

    def _decide(self, now_ms: int) -> Iterator[RetrainTrigger]:
        assert self._policy is not None
        for decision in self._policy.advance(now_ms, [e for e, _ in self._open.values()]):
            yield self._trigger(decision, "")

    def _trigger(self, decision: Decision, requested_by: str) -> RetrainTrigger:
        retrain = self._plan.config.retrain
        evidence = decision.evidence
        ids = tuple(e.episode_id for e in evidence)
        homes = self._homes()
        identity = [
            self._plan.name,
            decision.version,
            decision.policy,
            str(decision.decided_ms),
            self._plan.fingerprint,
        ]
        if decision.policy == "manual":
            identity += [decision.reason, requested_by]
        return RetrainTrigger(
            id=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32],
            monitor=self._plan.name,
            version=decision.version,
            policy=decision.policy,
            reason=decision.reason,
            severity=evidence[0].severity if evidence else "",
            decided_ms=decision.decided_ms,
            columns=tuple(dict.fromkeys(e.column for e in evidence)),
            episode_ids=ids,
            train_from_ms=min((e.since_ms for e in evidence), default=decision.decided_ms),
            dry_run=retrain is not None and retrain.dry_run,
            ranges=join_ranges([r for i in ids for r in self._open[i][1]]),
            profile_id=profile_ids(self._plan.streams),
            fingerprint=self._plan.fingerprint,
            requested_by=requested_by,
            incident_ids=tuple(dict.fromkeys(homes[i] for i in ids if i in homes)),
        )


def join_ranges(ranges: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
    """One range per partition that covers all of its ranges."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for r in ranges:
        low, high = spans.get((r.topic, r.partition), (r.from_offset, r.to_offset))
        spans[r.topic, r.partition] = min(low, r.from_offset), max(high, r.to_offset)
    return tuple(OffsetRange(topic, p, low, high) for (topic, p), (low, high) in sorted(spans.items()))


def profile_ids(streams: Sequence[StreamPlan]) -> str:
    """Profile of the predictions, else of the first stream."""
    named = {s.stream: s.profile.profile_id for s in streams}
    return named.get("predictions") or named[min(named)]


def _plain(evidence: Evidence) -> list[Any]:
    return list(asdict(evidence).values())


def _range(r: OffsetRange) -> list[Any]:
    return [r.topic, r.partition, r.from_offset, r.to_offset]


def _counts(event: DriftEvent) -> bool:
    """Whether policies look at it: all rows only, and a column that moves again is not a new drift."""
    return not event.segment and event.column != "" and event.status != "changed"


def _change(event: DriftEvent) -> list[Any]:
    """An event as plain data: it waits in saved state."""
    evidence = Evidence(
        event.episode_id, event.version, event.stream, event.column, event.severity, event.what, event.direction,
        event.effect, event.since_ms, event.opened_ms,
    )  # fmt: skip
    return [event.status, _plain(evidence), [_range(r) for r in event.ranges]]

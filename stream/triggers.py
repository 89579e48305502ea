"""Policies at the pace of the monitor's slowest stream, so that streams' order on the bus can't matter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from driftbus.detectors.conditions import Evidence, Labels, Measured, Surroundings
from driftbus.detectors.policy import DEFAULT_WINDOW_PANES, Decision, Policy
from driftbus.schemas.events import DriftEvent, ManualRetrain, OffsetRange, RetrainTrigger
from driftbus.stream.plan import MonitorPlan, StreamPlan

Homes = Callable[[], Mapping[str, str]]

_MOST_VERSIONS = 1_000
OUTCOMES = "outcomes"
_OTHER_CLOCK_MS = 7 * 86_400_000
"""Outcomes that are ahead of the events by more have another clock: Kafka timestamps of old events, say."""

_LATE_STREAMS = frozenset({"labels", OUTCOMES})


class Sealed(Protocol):
    """A stream as far as policies are concerned."""

    @property
    def name(self) -> str: ...
    @property
    def sealed(self) -> int: ...


class PolicyClock:
    """Collects what the streams decided and shows it to the policy in order of event time.

    Labels don't hold it up: they arrive late, and drift of features must not wait for them. Their
    episodes are told, but don't count as columns. What outcomes say (metrics, numbers of labels) has the time
    at which the labels came. Only where a rule is about that, all rules wait for it: as long as there are labels
    to read, and for `retrain.outcomes_wait` once there are none.

    Attributes:
        overtaken: how often outcomes came whose time had passed by then; they count when they come.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        self._plan = plan
        self._policy = None if plan.config.retrain is None else _policy_of(plan)
        self._streams = {s.stream for s in plan.streams if s.stream not in _LATE_STREAMS} or {"labels"}
        self._timeline: list[tuple[int, str, list[Any], list[str]]] = []
        self._outcomes: list[tuple[int, list[Any]]] = []
        self._open: dict[str, tuple[Evidence, tuple[OffsetRange, ...]]] = {}
        self._versions: list[str] = []
        self._reached = -1
        self._started = False
        self._homes: Homes = dict
        self._kept: dict[str, str] = {}
        self.overtaken = 0

    @property
    def pending(self) -> bool:
        """Whether a trigger waits for its new version."""
        return self._policy is not None and self._policy.pending

    def queue(self, stream: Sealed, tick: int, events: Sequence[DriftEvent], versions: Iterable[str] = ()) -> None:
        """What a stream decided at a pane with content, and the versions that were in it."""
        if self._policy is not None and stream.name in self._streams:
            named = sorted({v for v in versions if v})
            self._timeline.append((tick, stream.name, [_change(e) for e in events if _counts(e)], named))

    def queue_outcomes(self, tick: int, news: Sequence[Measured | Labels]) -> None:
        """What labels said at a pane of the outcomes, in order."""
        if self._policy is not None and news:
            self.overtaken += self._policy.about_labels and tick <= self._reached
            self._outcomes.append((tick, [list(asdict(one).values()) for one in news]))

    def advance(
        self, streams: Sequence[Sealed], homes: Homes = dict, *, silent: bool = False
    ) -> Iterator[RetrainTrigger]:
        """Decide up to the pane that all streams have sealed.

        Args:
            streams: how far they are; one by the name of ``outcomes`` among them if there are outcomes.
            homes: gives the incident of each episode that was open since the last call.
            silent: all labels that there are have been read.
        """
        self._homes = homes
        if self._policy is None:
            return
        foremost = min(s.sealed for s in streams if s.name in self._streams)
        self._reached = reached = self._up_to(foremost, [s.sealed for s in streams if s.name == OUTCOMES], silent)
        self._keep_homes(foremost)
        if foremost < 0:
            return
        for tick, changes, versions, news in self._due(reached, foremost + _OTHER_CLOCK_MS // self._plan.pane_ms):
            self._started |= news is None
            if self._started:
                yield from self._decide(tick * self._plan.pane_ms)
            if news is None:
                self._policy.seen(tick * self._plan.pane_ms)
            for plain in news or ():
                self._policy.take(Measured(*plain) if len(plain) > 1 else Labels(*plain))
            self._meet(tick * self._plan.pane_ms, versions)
            for status, *rest in changes:
                self._change(status, *rest)
        if self._started:
            yield from self._decide((reached + 1) * self._plan.pane_ms)

    def manual(self, command: ManualRetrain, homes: Homes = dict) -> Iterator[RetrainTrigger]:
        """A person's command is obeyed at once, whatever the cooldown."""
        self._homes = homes
        policy, config = self._policy, self._plan.config.retrain
        evidence = tuple(e for e, _ in self._open.values())
        # the policy's time is that of the events, which may not be the clock on the wall
        now_ms = (self._reached + 1) * self._plan.pane_ms if self._started else command.requested_ms
        if command.action == "done":
            if policy is not None:
                policy.trained(now_ms, evidence)
            return
        began = [e.since_ms for e in evidence]
        if not began and policy is not None and policy.trained_ms is not None:
            began = [policy.trained_ms]
        decision = Decision(
            policy="manual",
            decided_ms=command.requested_ms,
            reason=command.reason or "Asked for by hand",
            version=next((e.version for e in evidence if e.version), ""),
            evidence=evidence,
            severity=evidence[0].severity if evidence else "",
            train_from_ms=min(began, default=command.requested_ms),
            deadline_ms=command.requested_ms + (0 if config is None else config.deadline),
        )
        yield self._trigger(decision, command)
        if policy is not None and not command.dry_run:
            policy.told(now_ms, evidence)

    def state(self) -> dict[str, Any]:
        return {
            "policy": None if self._policy is None else self._policy.state(),
            "timeline": [list(item) for item in self._timeline],
            "outcomes": [list(item) for item in self._outcomes],
            "open": [[_plain(e), [_range(r) for r in ranges]] for e, ranges in self._open.values()],
            "versions": list(self._versions),
            "reached": self._reached,
            "started": self._started,
            "overtaken": self.overtaken,
            "homes": self._kept,
        }

    def restore(self, state: dict[str, Any]) -> None:
        if self._policy is not None:
            self._policy.restore(state["policy"])
        self._timeline = [(tick, stream, changes, versions) for tick, stream, changes, versions in state["timeline"]]
        self._outcomes = [(tick, news) for tick, news in state["outcomes"]]
        self._open = {}
        for plain, ranges in state["open"]:
            evidence = Evidence(*plain)
            self._open[evidence.episode_id] = (evidence, tuple(OffsetRange(*r) for r in ranges))
        self._versions = list(state["versions"])
        self._reached, self._started = state["reached"], state["started"]
        self.overtaken, self._kept = state.get("overtaken", 0), dict(state.get("homes", {}))

    @property
    def _patience(self) -> int:
        """Panes that streams wait for outcomes that are silent."""
        retrain = self._plan.config.retrain
        return 0 if retrain is None else retrain.outcomes_wait // self._plan.pane_ms

    def _up_to(self, foremost: int, outcomes: Sequence[int], silent: bool) -> int:
        """The pane up to which rules can be looked at.

        How far labels are behind says nothing while they are read: after an outage, or in a replay, anything.
        """
        if not outcomes or self._policy is None or not self._policy.about_labels:
            return foremost
        known = max(min(outcomes), foremost - self._patience) if silent else min(outcomes)
        return max(self._reached, min(foremost, known))

    def _due(self, reached: int, ahead: int) -> list[tuple[int, list[Any], list[str], list[Any] | None]]:
        """What is to be taken up to a pane, in order: (pane, changes, versions, news of outcomes or None).

        Outcomes of other clocks than that of the events, beyond the pane `ahead`, come first.
        """
        due: list[tuple[int, str, list[Any], list[str], list[Any] | None]] = []
        due += [(tick, name, changes, versions, None) for tick, name, changes, versions in self._timeline]
        due += [(-1 if tick > ahead else tick, OUTCOMES, [], [], news) for tick, news in self._outcomes]
        self._timeline = [item for item in self._timeline if item[0] > reached]
        self._outcomes = [item for item in self._outcomes if reached < item[0] <= ahead]
        return [(t, c, v, n) for t, _, c, v, n in sorted(due, key=lambda item: item[:2]) if t <= reached]

    def _keep_homes(self, foremost: int) -> None:
        """While rules wait for labels, remember incidents that may be over when the rules come to their episodes."""
        behind = self._reached < foremost
        if not behind and not self._kept:
            return
        known = {**(self._homes() if behind else {}), **self._kept}
        queued = {Evidence(*plain).episode_id for _, _, changes, _ in self._timeline for _, plain, _ in changes}
        self._kept = {name: known[name] for name in (*self._open, *queued) if name in known}

    def _change(self, status: str, plain: list[Any], ranges: list[Any]) -> None:
        """An episode opened, escalated or closed."""
        evidence = Evidence(*plain)
        if status == "closed":
            self._open.pop(evidence.episode_id, None)
            return
        known = self._open.get(evidence.episode_id)
        added = [OffsetRange(*r) for r in ranges]
        self._open[evidence.episode_id] = (evidence, join_ranges([*(known[1] if known else ()), *added]))

    def _meet(self, at_ms: int, versions: Sequence[str]) -> None:
        """A version that was never there before is what a trigger waits for."""
        new = [version for version in versions if version not in self._versions]
        if new and self._versions and self._policy is not None:
            self._policy.trained(at_ms, [e for e, _ in self._open.values()])
        self._versions = [*self._versions, *new][-_MOST_VERSIONS:]

    def _decide(self, now_ms: int) -> Iterator[RetrainTrigger]:
        assert self._policy is not None
        for decision in self._policy.advance(now_ms, [e for e, _ in self._open.values()]):
            yield self._trigger(decision)

    def _trigger(self, decision: Decision, command: ManualRetrain | None = None) -> RetrainTrigger:
        retrain = self._plan.config.retrain
        evidence = decision.evidence
        ids = tuple(e.episode_id for e in evidence)
        homes = {**self._homes(), **self._kept}
        identity = [
            self._plan.name,
            decision.version,
            decision.policy,
            str(decision.decided_ms),
            self._plan.fingerprint,
        ]
        by = "" if command is None else command.requested_by
        if command is not None:
            identity += [decision.reason, by]
        return RetrainTrigger(
            id=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32],
            monitor=self._plan.name,
            version=decision.version,
            policy=decision.policy,
            reason=decision.reason,
            severity=decision.severity,
            decided_ms=decision.decided_ms,
            columns=tuple(dict.fromkeys(e.column for e in evidence)),
            episode_ids=ids,
            train_from_ms=decision.train_from_ms,
            dry_run=(retrain is not None and retrain.dry_run) or (command is not None and command.dry_run),
            ranges=join_ranges([r for i in ids for r in self._open[i][1]]),
            profile_id=profile_ids([s.of(decision.version) for s in self._plan.streams]),
            fingerprint=self._plan.fingerprint,
            requested_by=by,
            incident_ids=tuple(dict.fromkeys(homes[i] for i in ids if i in homes)),
            train_to_ms=decision.decided_ms,
            deadline_ms=decision.deadline_ms,
            rules=decision.findings,
            model=self._references(decision.version),
        )

    def _references(self, version: str) -> dict[str, str]:
        """What is known of a version's training: of its profile, and of the configuration for all versions."""
        retrain = self._plan.config.retrain
        found = {} if retrain is None else dict(retrain.model)
        for stream in self._plan.streams:
            found |= stream.of(version).profile.model
        return dict(sorted(found.items()))


def _importance(streams: Sequence[StreamPlan]) -> dict[str, float]:
    """Weight of every column: what the profiles say, the newest of a stream first; all alike when none says it."""
    given: dict[str, float] = {}
    for stream in streams:
        for plan in (stream, *stream.own.values()):
            given |= plan.profile.importance
    return {name: given.get(name, 0.0) if given else 1.0 for s in streams for name in s.columns}


def _policy_of(plan: MonitorPlan) -> Policy:
    """The policy of a monitor with a section ``retrain``."""
    config = plan.config
    assert config.retrain is not None
    prompt = [s for s in plan.streams if s.stream not in _LATE_STREAMS]
    around = Surroundings(
        window_ms=DEFAULT_WINDOW_PANES * plan.pane_ms,
        importance=_importance(prompt),
        limits={str(metric): limit for metric, limit in config.performance.limits.items()},
        cohort_ms=config.performance.cohort,
    )
    versioned = any(config.streams[s.stream].version for s in prompt)
    return Policy(config.retrain, plan.pane_ms, around, versioned=versioned)


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
    about = event.stream != OUTCOMES and (event.column != "" or event.aspect == "schema")
    return about and not event.segment and event.status != "changed"


def _change(event: DriftEvent) -> list[Any]:
    """An event as plain data: it waits in saved state."""
    evidence = Evidence(
        event.episode_id, event.version, event.stream, event.column, event.severity, event.what, event.direction,
        event.effect, event.since_ms, event.opened_ms, event.aspect,
    )  # fmt: skip
    return [event.status, _plain(evidence), [_range(r) for r in event.ranges]]

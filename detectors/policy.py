"""When a retrain trigger is due, in event time.

Rules are looked at only at fixed points of event time (ends of policy windows, cron times), with what
was known there, so that a decision does not depend on the steps in which event time advanced. A rule
that holds gives a trigger unless it is held back: by the cooldown, by a limit on triggers per period, or
by a trigger that still waits for its new version. `driftbus.detectors.conditions` has what rules look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from driftbus.detectors.conditions import (
    MOST_COHORTS,
    Evidence,
    Known,
    Labels,
    Look,
    Measured,
    Surroundings,
    look,
    window_ms,
    worst_first,
)
from driftbus.detectors.rules import Leaf, cron_after, held, holds, settled
from driftbus.schemas.configtypes import SEVERITIES
from driftbus.schemas.events import Finding
from driftbus.schemas.retrainconfig import PolicyRule, RetrainConfig

DEFAULT_WINDOW_PANES = 10
_MOST_VERSIONS = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """A trigger that is due.

    Args:
        policy: what held: ``drift``, ``quality``, ``performance``, ``labels``, ``schedule``, several joined by ``+``.
        decided_ms: event time of the decision.
        reason: one sentence for a person.
        version: model version it is about, "" when none is known.
        evidence: open episodes, worst first.
        findings: every condition of every rule, in the order of the configuration.
        severity: worst of what was found, "" for none.
        train_from_ms: where training data should begin.
        deadline_ms: by when a new version should be there.
    """

    policy: str
    decided_ms: int
    reason: str
    version: str
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...] = ()
    severity: str = ""
    train_from_ms: int = 0
    deadline_ms: int = 0


class Policy:
    """The retrain rules of one monitor.

    Args:
        config: rules, and what holds triggers back.
        pane_ms: pane length of the monitor.
        around: what conditions need of the monitor; its windows are ten panes long when None.
        versioned: whether new versions can be seen.
    """

    def __init__(
        self, config: RetrainConfig, pane_ms: int, around: Surroundings | None = None, *, versioned: bool = False
    ) -> None:
        self._config, self._pane_ms = config, pane_ms
        self._around = around or Surroundings(DEFAULT_WINDOW_PANES * pane_ms)
        self._waits = not config.dry_run and (config.pending == "always" or (config.pending == "auto" and versioned))
        self._leaves = [[Leaf(leaf) for leaf in rule.leaves] for rule in config.rules]
        self._last_ms: int | None = None
        self._recent: list[int] = []
        self._pending: list[int] | None = None
        self._told: set[str] = set()
        self._since_ms = -1
        self._seen_ms: int | None = None
        self._trained_ms: int | None = None
        self._labels = [0, 0, 0]  # in all, at the last trigger, at the last training
        self._cohorts: dict[tuple[str, str], list[Measured]] = {}

    @property
    def about_labels(self) -> bool:
        """Whether a rule looks at what labels say."""
        return any(leaf.rule.performance or leaf.rule.labels for rule in self._leaves for leaf in rule)

    @property
    def trained_ms(self) -> int | None:
        """Up to when data was trained on, as far as triggers tell; before the first the start of the stream."""
        return self._trained_ms

    @property
    def pending(self) -> bool:
        """Whether a trigger waits for its new version."""
        return self._pending is not None

    def advance(self, now_ms: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """Decide at every due point up to `now_ms`, with what was known since the last call."""
        decisions: list[Decision] = []
        leaves = [leaf for rule in self._leaves for leaf in rule]
        if self._trained_ms is None and leaves:
            self._trained_ms = now_ms
        for leaf in leaves:
            if leaf.due_ms < 0:
                leaf.due_ms = self._grid(leaf, now_ms + (leaf.rule.schedule is not None))
        while leaves and (at := min(leaf.due_ms for leaf in leaves)) <= now_ms:
            self._expire(at)
            due = [leaf for leaf in leaves if leaf.due_ms == at]
            for leaf in due:
                self._note(leaf, evidence)
            made = len(decisions)
            for rule, mine in zip(self._config.rules, self._leaves, strict=True):
                able = self._opens_ms() <= at <= self._alive_ms()
                if made == len(decisions) and able and any(leaf in due for leaf in mine):
                    decisions += self._decide(rule, mine, at, evidence)
            for rule, mine in zip(self._config.rules, self._leaves, strict=True):
                for leaf in mine:
                    if leaf.due_ms == at:
                        leaf.due_ms = self._next(rule, mine, leaf, now_ms, evidence)
                    elif made < len(decisions):  # what it jumped over may say something else after a trigger
                        leaf.due_ms = min(leaf.due_ms, self._grid(leaf, at + 1))
        return decisions

    def seen(self, at_ms: int) -> None:
        """There are events at `at_ms`.

        Between events there may be a gap of any length: a topic that nobody wrote to, or one record whose clock is
        a century ahead. What was true before a gap may ask for a retrain within the first deadline of it, and not
        again at each deadline, or time of a schedule, until it ends.
        """
        self._seen_ms = at_ms

    def take(self, news: Measured | Labels) -> None:
        """What labels say; it counts from the next point on at which a rule is looked at."""
        if isinstance(news, Labels):
            self._labels[0] += news.count
            return
        cohorts = self._cohorts.pop((news.metric, news.version), [])
        cohorts = [c for c in cohorts if c.cohort_end_ms != news.cohort_end_ms] + [news]
        cohorts.sort(key=lambda c: c.cohort_end_ms)
        self._cohorts[news.metric, news.version] = cohorts[-MOST_COHORTS:]
        peers = [key for key in self._cohorts if key[0] == news.metric]
        if len(peers) > _MOST_VERSIONS:
            del self._cohorts[min(peers, key=lambda key: (self._cohorts[key][-1].cohort_end_ms, key))]

    def told(self, decided_ms: int, evidence: Iterable[Evidence]) -> None:
        """A trigger was published: hold others back, and ask for something new before the next.

        Args:
            decided_ms: when.
            evidence: all episodes open then; a retrain meets them all, told in the trigger or not.
        """
        self._expire(decided_ms)
        self._begin_again()
        self._last_ms = decided_ms if self._last_ms is None else max(self._last_ms, decided_ms)
        self._told = {e.episode_id for e in evidence}
        self._since_ms = max(self._since_ms, decided_ms)
        self._labels[1] = self._labels[0]
        if self._config.limit is not None:
            self._recent = sorted([*self._recent, decided_ms])[-self._config.limit[0] :]
        if self._waits:
            self._pending = [decided_ms, decided_ms + self._config.deadline]
        else:
            self._labels[2], self._trained_ms = self._labels[0], decided_ms  # nobody says when the training was

    def trained(self, at_ms: int, evidence: Iterable[Evidence]) -> None:
        """A new version is there, or a person said so: nothing is pending, and what is open is met by it."""
        self._expire(at_ms)
        self._begin_again()
        self._told |= {e.episode_id for e in evidence}
        self._since_ms = max(self._since_ms, at_ms)
        # what came after the trigger was not trained on
        self._labels[2] = self._labels[1] if self._pending is not None else self._labels[0]
        self._trained_ms = self._pending[0] if self._pending is not None else at_ms
        self._pending = None

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` takes back."""
        return {
            "leaves": [[[leaf.due_ms, list(leaf.history)] for leaf in rule] for rule in self._leaves],
            "last_ms": self._last_ms,
            "recent": list(self._recent),
            "pending": None if self._pending is None else list(self._pending),
            "told": sorted(self._told),
            "since_ms": self._since_ms,
            "seen_ms": self._seen_ms,
            "trained_ms": self._trained_ms,
            "labels": list(self._labels),
            "cohorts": [[list(asdict(c).values()) for c in cohorts] for _, cohorts in sorted(self._cohorts.items())],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state` of a policy with the same configuration."""
        for rule, saved in zip(self._leaves, state["leaves"], strict=True):
            for leaf, (due, history) in zip(rule, saved, strict=True):
                leaf.due_ms, leaf.history = due, [bool(x) for x in history]
        self._last_ms, self._recent = state["last_ms"], list(state["recent"])
        self._pending = None if state["pending"] is None else list(state["pending"])
        self._told, self._since_ms = set(state["told"]), state["since_ms"]
        self._seen_ms = state.get("seen_ms")  # the format before had none
        self._trained_ms, self._labels = state["trained_ms"], list(state["labels"])
        self._cohorts = {}
        for saved in state["cohorts"]:
            cohorts = [Measured(*plain) for plain in saved]
            self._cohorts[cohorts[-1].metric, cohorts[-1].version] = cohorts

    def _opens_ms(self) -> int:
        """From when on a trigger is not held back."""
        opens = [0]
        if self._last_ms is not None:
            opens += [self._last_ms + max(1, self._config.cooldown)]
        if self._pending is not None:
            opens += [self._pending[1]]
        if self._config.limit is not None and len(self._recent) == self._config.limit[0]:
            opens += [self._recent[0] + self._config.limit[1]]
        return max(opens)

    def _alive_ms(self) -> float:
        """Up to when what is known is recent enough for a trigger."""
        return math.inf if self._seen_ms is None else self._seen_ms + self._config.deadline

    def _expire(self, at_ms: int) -> None:
        """The deadline has passed and no new version came: what was told asks for a retrain again."""
        if self._pending is not None and self._pending[1] <= at_ms:
            self._pending, self._told, self._since_ms = None, set(), -1
            self._begin_again()

    def _begin_again(self) -> None:
        """Windows before now no longer count: what was told is another."""
        for rule in self._leaves:
            for leaf in rule:
                leaf.history = []

    def _window(self, leaf: Leaf) -> int:
        return window_ms(leaf.rule, self._around, self._pane_ms)

    def _grid(self, leaf: Leaf, ms: int) -> int:
        """The first point from `ms` on at which a condition is looked at."""
        if leaf.rule.schedule is not None:
            return cron_after(leaf.rule.schedule, ms - 1)
        window = self._window(leaf)
        return -(-ms // window) * window

    def _next(self, rule: PolicyRule, mine: Sequence[Leaf], leaf: Leaf, now_ms: int, open_: Sequence[Evidence]) -> int:
        """The next point at which something can be different."""
        following = self._grid(leaf, leaf.due_ms + 1)
        if any(not settled(each) for each in mine):
            return following
        # Nothing changes up to `now_ms` any more, except that a trigger may no longer be held back.
        after, opens = self._grid(leaf, now_ms + 1), self._opens_ms()
        opens = opens if self._pending is None else min(opens, self._pending[1])
        if opens > leaf.due_ms:
            return max(following, min(self._grid(leaf, opens), after))
        # the times of a schedule differ from one another where a rule has several
        able = leaf.rule.schedule is not None and following <= self._alive_ms()
        able = able and holds(rule, iter(self._looks(mine, open_)), every_time=True)
        return following if able else max(following, after)

    def _known(self, evidence: Sequence[Evidence]) -> Known:
        return Known(evidence, frozenset(self._told), self._cohorts, self._since_ms, self._labels[0] - self._labels[2])

    def _looks(self, mine: Sequence[Leaf], evidence: Sequence[Evidence]) -> list[tuple[Leaf, Look]]:
        known = self._known(evidence)
        return [(leaf, look(leaf.rule, known, self._around, self._window(leaf))) for leaf in mine]

    def _note(self, leaf: Leaf, evidence: Sequence[Evidence]) -> None:
        """Remember what a window said."""
        windowed = leaf.rule.drift or leaf.rule.quality
        if windowed is not None:
            ((_, found),) = self._looks([leaf], evidence)
            leaf.history = [*leaf.history, found.holds][-windowed.m_of_n[1] :]

    def _decide(self, rule: PolicyRule, mine: Sequence[Leaf], at: int, evidence: Sequence[Evidence]) -> list[Decision]:
        looks = self._looks(mine, evidence)
        if not holds(rule, iter(looks), at):
            return []
        true = [found for leaf, found in looks if held(leaf, found, at)]
        every = [pair for one in self._leaves for pair in self._looks(one, evidence)]
        rested = {e.episode_id: e for found in true for e in found.evidence}
        # without episodes of its own, what is open is told as what goes on besides
        told = worst_first(rested.values()) or worst_first(evidence)
        began = [found.since_ms for found in true if found.since_ms is not None] or [e.since_ms for e in told]
        severities = [found.severity for found in true] + [e.severity for e in told]
        decision = Decision(
            policy="+".join(sorted({found.kind for found in true})),
            decided_ms=at,
            reason="; and ".join(found.text for found in true),
            version=next((found.version for found in true if found.version), ""),
            evidence=tuple(told),
            findings=tuple(
                Finding(found.kind, held(leaf, found, at), found.value, found.threshold, found.text)
                for leaf, found in every
            ),
            severity=max(severities, key=("", *SEVERITIES).index, default=""),
            train_from_ms=min(began, default=at if self._trained_ms is None else self._trained_ms),
            deadline_ms=at + self._config.deadline,
        )
        self.told(at, evidence)
        return [decision]

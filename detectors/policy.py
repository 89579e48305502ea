"""When a retrain trigger is due: from open episodes, and by schedule, in event time.

Conditions are looked at only at fixed points of event time (ends of policy windows, cron times),
with the episodes as they stood there, so that a decision does not depend on the steps in which
event time advanced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from croniter import croniter

from driftbus.schemas.configtypes import SEVERITIES, format_duration
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.retrainconfig import DriftPolicy, RetrainConfig

_DEFAULT_WINDOW_PANES = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """An open episode as a policy sees it. Times are milliseconds of event time."""

    episode_id: str
    version: str
    stream: str
    column: str
    severity: str
    what: str
    direction: str
    effect: float
    since_ms: int
    opened_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A trigger that is due.

    Args:
        policy: ``drift`` or ``schedule``.
        decided_ms: event time of the decision.
        reason: one sentence for a person.
        version: model version it is about, "" when none is known.
        evidence: open episodes, worst first.
    """

    policy: str
    decided_ms: int
    reason: str
    version: str
    evidence: tuple[Evidence, ...]


@dataclass(slots=True)
class _Rule:
    """State of one rule: when it is looked at next, and what the last windows said."""

    due_ms: int = -1
    history: list[bool] = field(default_factory=list)


class Policy:
    """The retrain rules of one monitor.

    Args:
        config: rules, cooldown.
        pane_ms: pane length of the monitor.
    """

    def __init__(self, config: RetrainConfig, pane_ms: int) -> None:
        self._config = config
        self._pane_ms = pane_ms
        self._rules = [_Rule() for _ in config.any]
        self._last_ms: int | None = None
        self._told: set[str] = set()

    def advance(self, now_ms: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """Decide at every due point up to `now_ms`, with the episodes open since the last call."""
        decisions = []
        for i, rule in enumerate(self._rules):
            if rule.due_ms < 0:
                rule.due_ms = self._first_due(i, now_ms)
        while self._rules:
            i = min(range(len(self._rules)), key=lambda k: (self._rules[k].due_ms, k))
            rule = self._rules[i]
            if rule.due_ms > now_ms:
                break
            drift = self._config.any[i].drift
            decision = self._by_schedule(i, evidence) if drift is None else self._by_drift(rule, drift, evidence)
            if decision is not None:
                decisions.append(decision)
                self.told(decision.decided_ms, evidence)
            rule.due_ms = self._next_due(i, now_ms, evidence)
        return decisions

    def told(self, decided_ms: int, evidence: Iterable[Evidence]) -> None:
        """A trigger was published: start the cooldown, and ask for something new before the next.

        Args:
            decided_ms: when.
            evidence: all episodes open then; a retrain meets them all, told in the trigger or not.
        """
        self._last_ms = decided_ms if self._last_ms is None else max(self._last_ms, decided_ms)
        self._told = {e.episode_id for e in evidence}

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` takes back."""
        return {
            "rules": [[rule.due_ms, list(rule.history)] for rule in self._rules],
            "last_ms": self._last_ms,
            "told": sorted(self._told),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state` of a policy with the same configuration."""
        self._rules = [_Rule(due, [bool(x) for x in history]) for due, history in state["rules"]]
        self._last_ms = state["last_ms"]
        self._told = set(state["told"])

    def _window_ms(self, drift: DriftPolicy) -> int:
        panes = -(-drift.window // self._pane_ms) or _DEFAULT_WINDOW_PANES
        return panes * self._pane_ms

    def _first_due(self, i: int, now_ms: int) -> int:
        drift = self._config.any[i].drift
        if drift is None:
            return self._cron_after(i, now_ms)
        window = self._window_ms(drift)
        return -(-now_ms // window) * window

    def _next_due(self, i: int, now_ms: int, evidence: Sequence[Evidence]) -> int:
        rule, drift = self._rules[i], self._config.any[i].drift
        if drift is None:
            cooled = (
                rule.due_ms if self._last_ms is None else max(rule.due_ms, self._last_ms + self._config.cooldown - 1)
            )
            return self._cron_after(i, cooled)
        window = self._window_ms(drift)
        following = rule.due_ms + window
        _, n = drift.m_of_n
        if len(rule.history) < n or len(set(rule.history)) > 1:
            return following
        # Nothing changes up to `now_ms` any more, except that a cooldown may end.
        last = now_ms // window * window
        if rule.history[0] and self._fresh(self._matching(drift, evidence)[1]) and self._last_ms is not None:
            cooled = -(-(self._last_ms + self._config.cooldown) // window) * window
            return max(following, min(cooled, last + window))
        return max(following, last + window)

    def _cron_after(self, i: int, ms: int) -> int:
        line = self._config.any[i].schedule
        try:
            following = croniter(line, datetime.fromtimestamp(ms / 1000, UTC)).get_next(datetime)
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"{line!r} is not a cron line ({error})", key="retrain.any.schedule", fix="e.g. '0 2 * * SUN'"
            ) from error
        return int(following.timestamp() * 1000)

    def _cooled(self, ms: int) -> bool:
        return self._last_ms is None or ms >= self._last_ms + self._config.cooldown

    def _fresh(self, evidence: Sequence[Evidence]) -> bool:
        """An episode that the last trigger did not tell: what is known already asks for no second retrain."""
        return any(e.episode_id not in self._told for e in evidence)

    def _by_schedule(self, i: int, evidence: Sequence[Evidence]) -> Decision | None:
        due = self._rules[i].due_ms
        if not self._cooled(due):
            return None
        reason = f"Scheduled retrain ({self._config.any[i].schedule})"
        return Decision("schedule", due, reason, "", tuple(_worst_first(evidence)))

    def _by_drift(self, rule: _Rule, drift: DriftPolicy, evidence: Sequence[Evidence]) -> Decision | None:
        m, n = drift.m_of_n
        version, matching = self._matching(drift, evidence)
        rule.history = [*rule.history, len({e.column for e in matching}) >= drift.columns][-n:]
        if not rule.history[-1] or sum(rule.history) < m or not self._cooled(rule.due_ms) or not self._fresh(matching):
            return None
        count, lead = len({e.column for e in matching}), matching[0]
        since = datetime.fromtimestamp(min(e.since_ms for e in matching) / 1000, UTC)
        change = f"{lead.what} {lead.direction}".strip()
        times = f"{m} of the last {n} windows" if n > 1 else "the last window"
        reason = (
            f"{count} {'column has' if count == 1 else 'columns have'} drifted at severity {drift.severity} or worse "
            f"in {times} of {format_duration(self._window_ms(drift))}, "
            f"led by {lead.column} ({lead.severity} {change}), since {since:%Y-%m-%d %H:%M:%S} UTC"
        )
        return Decision("drift", rule.due_ms, reason, version, tuple(matching))

    def _matching(self, drift: DriftPolicy, evidence: Sequence[Evidence]) -> tuple[str, list[Evidence]]:
        """The version with the most drifted columns, and its evidence; streams without a version count for all."""
        worst = SEVERITIES.index(drift.severity)
        able = [
            e
            for e in evidence
            if SEVERITIES.index(e.severity) >= worst and (not drift.any_of or e.column in drift.any_of)
        ]
        best: tuple[str, list[Evidence]] = ("", [])
        for version in sorted({e.version for e in able}):
            mine = [e for e in able if e.version in ("", version)]
            if len({e.column for e in mine}) > len({e.column for e in best[1]}):
                best = (version, mine)
        return best[0], _worst_first(best[1])


def _worst_first(evidence: Iterable[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda e: (-SEVERITIES.index(e.severity), -e.effect, e.column, e.episode_id))

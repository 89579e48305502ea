"""Which inputs and predictions had moved by the end of a cohort, from the episodes of the other streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbus.schemas.events import DriftEvent
from driftbus.stream.plan import MonitorPlan

INPUTS, PREDICTIONS = "P(X)", "P(Ŷ)"
_OUTPUTS = frozenset({"score", "prediction"})
_ASPECTS = frozenset({"distribution", "quality", "cardinality", "relation"})
_MOST = 512
_NAMED = 3


class Moves:
    """Episodes of inputs and predictions of all rows, over event time.

    Args:
        plan: of the monitor.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        self._pane_ms = plan.pane_ms
        self._roles = {(s.stream, c.name): c.role for s in plan.streams for c in s.profile.columns}
        # by episode: version, which, words, event time at which it was known, since when, until when
        self._known: dict[str, list[Any]] = {}

    def note(self, tick: int, events: Sequence[DriftEvent]) -> None:
        """What a stream decided at a pane."""
        for e in events:
            if e.segment or e.stream not in ("predictions", "features") or e.aspect not in _ASPECTS:
                continue
            if e.status == "closed":
                if e.episode_id in self._known:
                    self._known[e.episode_id][5] = tick
            elif e.episode_id not in self._known:
                which = PREDICTIONS if self._roles.get((e.stream, e.column)) in _OUTPUTS else INPUTS
                change = f"{e.what} {e.direction}".strip()
                words = f"{e.column} {change}" if e.column else f"{e.stream}: {change}"
                self._known[e.episode_id] = [e.version, which, words, tick, e.since_ms // self._pane_ms, -1]
        while len(self._known) > _MOST:
            over = [name for name, known in self._known.items() if known[5] >= 0]
            del self._known[over[0] if over else next(iter(self._known))]

    def by(self, version: str, start_ms: int, end_ms: int) -> dict[str, list[str]]:
        """What had moved in a stretch of event time, as far as its end knew it: which → words, oldest first.

        Only what was decided before its end counts: that is the same whenever it is asked.
        """
        first, last = start_ms // self._pane_ms, -(-end_ms // self._pane_ms) - 1
        found: dict[str, list[str]] = {}
        for of, which, words, known, _, closed in sorted(self._known.values(), key=lambda k: (k[3], k[2])):
            if of in ("", version) and known <= last and (closed < 0 or closed > last or closed >= first):
                found.setdefault(which, []).append(words)
        return found

    def forget(self, before_ms: int) -> None:
        """Drop episodes that were over before any open cohort."""
        before = before_ms // self._pane_ms
        self._known = {name: known for name, known in self._known.items() if known[5] < 0 or known[5] >= before}

    def state(self) -> list[Any]:
        return [[name, *known] for name, known in self._known.items()]

    def restore(self, state: list[Any]) -> None:
        self._known = {name: known for name, *known in state}


def named(words: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more

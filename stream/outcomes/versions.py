"""Versions side by side: each comparison of a monitor, fed with first labels pane by pane, and what it tells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from driftbus.detectors.comparison import Comparison, Rules, Standing, Verdict
from driftbus.detectors.measures import LOWER_IS_BETTER, measure_of
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import ComparisonEvent, OffsetRange
from driftbus.schemas.outcomeconfig import ComparisonConfig
from driftbus.stream.outcomes.content import Content, widen
from driftbus.stream.outcomes.words import named, number
from driftbus.stream.plan import MonitorPlan


class Versions:
    """The comparisons of one monitor; a watcher of its outcomes.

    Args:
        plan: of the monitor.
        topic: of its labels.
        shape: of its outcomes.

    Raises:
        ConfigError: versions can't be compared by a metric.
    """

    def __init__(self, plan: MonitorPlan, topic: str, shape: OutcomeShape) -> None:
        self._pairs = [_Pair(plan, topic, shape, config) for config in plan.config.comparisons]

    def labels(self, tick: int, first: Mapping[str, Content]) -> Sequence[ComparisonEvent]:
        """A sealed pane of label time: version → first labels of all its rows; what is told of them."""
        return [event for pair in self._pairs for event in pair.update(tick, first)]

    def standings(self) -> list[tuple[ComparisonConfig, Standing]]:
        """Where each comparison stands, for metrics."""
        return [(pair.config, pair.comparison.standing()) for pair in self._pairs]

    def state(self) -> list[Any]:
        """Plain data."""
        return [pair.state() for pair in self._pairs]

    def restore(self, state: list[Any]) -> None:
        """Go on from what `state` gave."""
        for pair, saved in zip(self._pairs, state, strict=True):
            pair.restore(saved)


class _Pair:
    """One comparison, and the label offsets behind it."""

    def __init__(self, plan: MonitorPlan, topic: str, shape: OutcomeShape, config: ComparisonConfig) -> None:
        self.config = config
        self._plan, self._topic = plan, topic
        self._measure = measure_of(shape, config.metric)
        self.comparison = Comparison(self._measure, Rules(config.margin, config.alpha, config.share))
        self._since = -1
        self._offsets: dict[int, tuple[int, int]] = {}
        profile = next((s.profile.profile_id for s in plan.streams if s.stream == "predictions"), "")
        self._profile_id = profile
        rules = [repr(config.margin), repr(config.alpha), repr(config.share)]
        names = ["comparison", config.champion, config.challenger, config.metric]
        self._id = _hash(plan.name, *names, *rules, plan.fingerprint, profile)

    def update(self, tick: int, first: Mapping[str, Content]) -> list[ComparisonEvent]:
        """The next pane."""
        old, new = (first.get(version) for version in (self.config.champion, self.config.challenger))
        if old is None and new is None:
            return []
        self._since = tick if self._since < 0 else self._since
        for content in (old, new):
            if content is not None:
                widen(self._offsets, content.offsets)
        found = self.comparison.update(*(None if content is None else content.counts for content in (old, new)))
        return [self._event(tick, verdict, self.comparison.standing()) for verdict in found]

    def state(self) -> list[Any]:
        return [self.comparison.state(), self._since, [[p, *span] for p, span in sorted(self._offsets.items())]]

    def restore(self, state: list[Any]) -> None:
        saved, self._since, offsets = state
        self.comparison.restore(saved)
        self._offsets = {p: (low, high) for p, low, high in offsets}

    def _event(self, tick: int, verdict: Verdict, at: Standing) -> ComparisonEvent:
        config, pane_ms = self.config, self._plan.pane_ms
        # shares can be wrong, right and wrong again; all else is told once
        when = [str(tick)] if "mismatch" in (verdict.status, verdict.resolves) else []
        return ComparisonEvent(
            id=_hash(self._id, verdict.status, verdict.resolves, *when),
            comparison_id=self._id,
            monitor=self._plan.name,
            champion=config.champion,
            challenger=config.challenger,
            metric=config.metric,
            status=verdict.status,
            resolves=verdict.resolves,
            decided_ms=(tick + 1) * pane_ms,
            since_ms=self._since * pane_ms,
            champion_value=at.champion_value,
            challenger_value=at.challenger_value,
            difference=at.difference,
            low=at.low,
            high=at.high,
            margin=config.margin,
            alpha=config.alpha,
            method=self._measure.method,
            champion_labels=at.champion_labels,
            challenger_labels=at.challenger_labels,
            share=config.share,
            share_value=at.share_value,
            ranges=tuple(OffsetRange(self._topic, p, low, high) for p, (low, high) in sorted(self._offsets.items())),
            profile_id=self._profile_id,
            fingerprint=self._plan.fingerprint,
            message=sentence(config, verdict, at),
        )


def sentence(config: ComparisonConfig, verdict: Verdict, at: Standing) -> str:
    """A verdict in one sentence."""
    new, old = config.challenger, config.champion
    labels = f"{at.champion_labels:,} and {at.challenger_labels:,} labels"
    if "mismatch" in (verdict.status, verdict.resolves):
        share = "unknown" if at.share_value is None else f"{at.share_value:.1%}"
        told = f"{new} has {share} of the labels, {config.share or 0:.1%} was meant"
        if verdict.status == "resolved":
            return f"{told}: as it should be again; {labels}"
        return f"{told}: versions may not get comparable rows; {labels}"
    metric = named(config.metric)
    if verdict.status == "resolved":
        head = f"{new} is no longer {verdict.resolves} than {old}"
    else:
        by = f" by more than {number(config.margin)}" if config.margin > 0 and verdict.status != "better" else ""
        head = f"{new} is {verdict.status.replace('_', ' ')} than {old}{by}"
    values = [at.champion_value, at.challenger_value]
    told = " → ".join("undefined" if value is None else number(value) for value in values)
    if at.difference is not None and at.low is not None and at.high is not None:
        told += f", difference {_signed(at.difference)} ({_signed(at.low)} to {_signed(at.high)})"
    lower = ", lower is better" if config.metric in LOWER_IS_BETTER else ""
    return f"{head}: {metric} {told}{lower}; {labels}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

"""Episodes of performance: one per version, segment, metric and aspect, opened, escalated and closed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.intervals import Estimate
from driftbus.schemas.events import DriftEvent, OffsetRange
from driftbus.schemas.outcomeevents import Outcome
from driftbus.stream.outcomes.compare import Finding
from driftbus.stream.outcomes.words import interval, named, number, share, span
from driftbus.stream.scene import rank

CALM = 2
"""Judgements in a row that have to be good before an episode closes."""

Where = tuple[str, str, str, str, str]
"""(version, segment, metric, aspect, field): the field is that of a gap, else ""."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a metric at one judgement.

    Args:
        where: whose metric.
        tick: pane of the decision, on the clock of the stream that decides.
        number: of the cohort or window; grows.
        start_ms, end_ms: event time of the predictions.
        estimate: told bounds.
        reference: told bounds of the reference, None without one.
        finding: why it is worse, None if that is not sure.
        back: whether it is no worse than it should be, as far as the told bounds can tell.
        labels, reference_labels: behind both.
        coverage: share of the predictions that have a label.
        lag_ms: median lag of the labels.
        moved: which distributions have moved.
        beside: what moved, in words, "" for nothing.
        ranges: source offsets.
        detail: of a gap: which values, "" else.
    """

    where: Where
    tick: int
    number: int
    start_ms: int
    end_ms: int
    estimate: Estimate
    reference: Estimate | None
    finding: Finding | None
    back: bool
    labels: int
    reference_labels: int
    coverage: float | None
    lag_ms: int | None
    moved: tuple[str, ...]
    beside: str
    ranges: tuple[OffsetRange, ...]
    detail: str = ""


@dataclass(slots=True)
class _Open:
    """An open episode: when it opened, its severity and finding's words, since when, good judgements in a row."""

    opened_tick: int
    severity: str
    direction: str
    by: str
    since_ms: int
    since_high_ms: int
    effect: float = 0.0
    calm: int = 0
    seen: int = -1


class Book:
    """The open episodes of a monitor's performance.

    Args:
        monitor: its name.
        pane_ms: length of a pane.
        profile_id, fingerprint: what a verdict depends on besides the log.
    """

    def __init__(self, monitor: str, pane_ms: int, profile_id: str, fingerprint: str) -> None:
        self._monitor, self._pane_ms = monitor, pane_ms
        self._profile_id, self._fingerprint = profile_id, fingerprint
        self._open: dict[Where, _Open] = {}

    def take(self, look: Look) -> list[DriftEvent]:
        """What a judgement does to the episode of its metric."""
        known, finding = self._open.get(look.where), look.finding
        if finding is None:
            if known is None:
                return []
            known.calm = known.calm + (look.number > known.seen) if look.back else 0
            known.seen = max(known.seen, look.number)
            if known.calm < CALM:
                return []
            del self._open[look.where]
            return [self._event(look, known, "closed")]
        if known is None:
            fresh = _Open(look.tick, finding.severity, finding.direction, finding.by, look.start_ms, look.end_ms)
            fresh.seen, fresh.effect = look.number, finding.effect
            self._open[look.where] = fresh
            return [self._event(look, fresh, "opened")]
        known.calm, known.seen = 0, max(known.seen, look.number)
        known.effect = max(known.effect, finding.effect)
        if rank(finding.severity) <= rank(known.severity):
            return []
        known.severity, known.by = finding.severity, finding.by
        return [self._event(look, known, "escalated")]

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, for people who look on."""
        return [
            OpenEpisode(
                metric, aspect, one.severity, aspect, one.effect, one.opened_tick, one.since_ms // self._pane_ms
            )
            for (_, _, metric, aspect, _), one in sorted(self._open.items(), key=_first)
        ]

    def state(self) -> list[Any]:
        return [
            [*where, *(getattr(one, name) for name in _Open.__slots__)]
            for where, one in sorted(self._open.items(), key=_first)
        ]

    def restore(self, state: list[Any]) -> None:
        self._open = {(v, s, m, a, f): _Open(*rest) for v, s, m, a, f, *rest in state}

    def _event(self, look: Look, one: _Open, status: str) -> DriftEvent:
        version, segment, metric, aspect, field = look.where
        estimate, reference, finding = look.estimate, look.reference, look.finding
        opened_ms, decided_ms = one.opened_tick * self._pane_ms, (look.tick + 1) * self._pane_ms
        limit = None if finding is None else finding.limit
        episode = _hash(
            self._monitor, "outcomes", version, segment, metric, aspect, field, self._fingerprint, self._profile_id,
            str(opened_ms),
        )  # fmt: skip
        before = limit if limit is not None else reference.value if reference is not None else None
        return DriftEvent(
            id=_hash(episode, status, one.severity),
            episode_id=episode,
            monitor=self._monitor,
            stream="outcomes",
            version=version,
            segment=segment,
            column=metric,
            detector="cbpe" if aspect == "estimated" else one.by,
            status=status,
            severity=one.severity,
            aspect=aspect,
            what=aspect,
            direction=one.direction,
            statistic=0.0 if finding is None else finding.gap,
            threshold=0.0 if finding is None else finding.margin,
            p_value=None,
            effect=0.0 if finding is None else finding.effect,
            reference_value=before,
            current_value=estimate.value,
            window_start_ms=look.start_ms,
            window_end_ms=decided_ms,
            since_ms=one.since_ms,
            since_low_ms=one.since_ms,
            since_high_ms=one.since_high_ms,
            opened_ms=opened_ms,
            count=look.labels,
            reference_count=look.reference_labels,
            ranges=look.ranges,
            profile_id=self._profile_id,
            fingerprint=self._fingerprint,
            message=_sentence(look, one, status),
            category=field,
            outcome=Outcome(
                metric=metric,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                reference_low=None if reference is None else reference.low,
                reference_high=None if reference is None else reference.high,
                limit=limit,
                labels=look.labels,
                coverage=look.coverage,
                lag_ms=look.lag_ms,
                cohort_start_ms=look.start_ms,
                cohort_end_ms=look.end_ms,
                moved=look.moved,
                estimated=aspect == "estimated",
            ),
        )


def _sentence(look: Look, one: _Open, status: str) -> str:
    _, _, metric, aspect, field = look.where
    name = named(metric)
    if aspect == "gap":
        name = f"the gap in {name} between values of {field}"
    elif aspect == "estimated":
        name = f"estimated {name}"
    if status == "closed":
        return f"{name}: back, {interval(look.estimate)}"
    went = {"down": "has fallen", "up": "has risen"}[one.direction]
    limit = None if look.finding is None else look.finding.limit
    against = ""
    if limit is not None:
        against = f", {'below' if one.direction == 'down' else 'above'} the limit {number(limit)}"
    elif look.reference is not None:
        against = f" from {number(look.reference.value)}"
    text = f"{name} {went} to {interval(look.estimate)}{against}"
    if look.detail:
        text += f", {look.detail}"
    counted = "predictions, labels not in yet" if aspect == "estimated" else f"labels{share(look.coverage)}"
    text += f"; predictions of {span(look.start_ms, look.end_ms)}, {look.labels:,} {counted}"
    if look.moved:
        text += f"; {', '.join(look.moved)} moved"
        text += f" ({look.beside})" if look.beside else ""
    return f"{text}; {one.severity}"


def _first(item: tuple[Where, _Open]) -> Where:
    return item[0]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

"""A transition of an episode as an event: pane numbers become event time, and what was decided becomes its id."""

from __future__ import annotations

import hashlib

from driftbus.detectors.verdict import Transition
from driftbus.schemas.events import DriftEvent, Group, OffsetRange
from driftbus.schemas.outcomeevents import Outcome
from driftbus.stream.plan import MonitorPlan


def drift_event(
    plan: MonitorPlan,
    group: Group,
    profile_id: str,
    tick: int,
    t: Transition,
    ranges: tuple[OffsetRange, ...],
    message: str,
    outcome: Outcome | None = None,
) -> DriftEvent:
    """The event of a transition.

    Args:
        plan, group: whose.
        profile_id: of the reference.
        tick: the pane at which it was decided.
        t: the transition.
        ranges: source offsets that it rests on.
        message: it in a sentence.
        outcome: what labels say, where it is about them.
    """
    pane_ms = plan.pane_ms
    episode = _hash(
        group.monitor, group.stream, group.version, group.segment, t.column, t.aspect,
        plan.fingerprint, profile_id, str(t.opened_tick * pane_ms),
    )  # fmt: skip
    return DriftEvent(
        id=_hash(episode, t.status, t.severity, *([str(tick)] if t.status == "changed" else [])),
        episode_id=episode,
        monitor=group.monitor,
        stream=group.stream,
        version=group.version,
        segment=group.segment,
        column=t.column,
        detector=t.detector,
        status=t.status,
        severity=t.severity,
        aspect=t.aspect,
        what=t.what,
        direction=t.direction,
        statistic=t.statistic,
        threshold=t.threshold,
        p_value=t.p_value,
        effect=t.effect,
        reference_value=t.reference_value,
        current_value=t.current_value,
        window_start_ms=t.window_start_tick * pane_ms,
        window_end_ms=(tick + 1) * pane_ms,
        since_ms=t.since_tick * pane_ms,
        since_low_ms=t.since_low_tick * pane_ms,
        since_high_ms=t.since_high_tick * pane_ms,
        opened_ms=t.opened_tick * pane_ms,
        count=t.count,
        reference_count=t.reference_count,
        ranges=ranges,
        profile_id=profile_id,
        fingerprint=plan.fingerprint,
        nature=t.nature,
        category=t.category,
        histogram=t.histogram,
        curve=t.curve,
        distances=t.distances,
        outcome=outcome,
        message=message,
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

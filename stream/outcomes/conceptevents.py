"""A transition of the detectors of errors and labels, in event time and offsets."""

from __future__ import annotations

from driftbus.detectors.verdict import Transition
from driftbus.schemas.events import DriftEvent, Group
from driftbus.schemas.outcomeevents import Outcome
from driftbus.stream.driftevents import drift_event
from driftbus.stream.groups import OffsetMarks
from driftbus.stream.join.outcomeplan import OutcomeSource
from driftbus.stream.outcomes.words import named, number
from driftbus.stream.plan import MonitorPlan

_TOLD = {
    "concept": "what labels say of predictions has changed, {}",
    "mix": "{}, mostly because other rows come: each score by itself means about what it meant",
    "prior": "labels have changed, {}",
}


def concept_event(
    plan: MonitorPlan, source: OutcomeSource, version: str, tick: int, t: Transition, marks: OffsetMarks
) -> DriftEvent:
    """The event of a transition.

    Args:
        plan, source: whose outcomes.
        version: of the model.
        tick: pane of label time at which it was decided.
        t: the transition.
        marks: label offsets behind the panes.
    """
    pane_ms = plan.pane_ms
    profile_id = next((s.profile.profile_id for s in plan.streams if s.stream == "predictions"), "")
    outcome = Outcome(
        metric=t.column,
        value=t.current_value,
        low=None,
        high=None,
        reference_low=None,
        reference_high=None,
        limit=None,
        labels=t.count,
        coverage=None,
        lag_ms=None,
        cohort_start_ms=t.since_tick * pane_ms,
        cohort_end_ms=(tick + 1) * pane_ms,
        moved=t.moved,
    )
    ranges = marks.ranges(source.topic, t.window_start_tick)
    return drift_event(plan, Group(plan.name, "outcomes", version), profile_id, tick, t, ranges, sentence(t), outcome)


def sentence(t: Transition) -> str:
    """A transition in one sentence."""
    name = f"share of {t.category!r}" if t.category else named(t.column)
    if t.status == "closed":
        return f"{name} of labelled rows: back to what it was"
    went = f"the {name} has gone {t.direction}".strip()
    if t.reference_value is not None and t.current_value is not None:
        went += f", {number(t.reference_value)} → {number(t.current_value)}"
    again = "again, " if t.status == "changed" else ""
    told = again + _TOLD.get(t.what, "{}").format(went)
    moved = f"; {', '.join(t.moved)} moved" if t.moved else ""
    return f"{told}; {t.count:,} labels{moved}; {t.severity}, {t.detector}"

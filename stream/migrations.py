"""Saved state of a monitor from the formats of older releases to the present one.

Every format has a number, and every step from one to the next a function here, so that an upgrade keeps windows, open
episodes and incidents. tests/stream/golden has state that each older format has really written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from driftbus.schemas.errors import StateError
from driftbus.stream.fingerprint import fingerprint
from driftbus.stream.plan import MonitorPlan

State = dict[str, Any]
Step = Callable[[State, MonitorPlan], State]

PRESENT = 4
"""The format that this release writes. Raise it with any change of what a snapshot holds, and add the step."""


def migrated(state: State, plan: MonitorPlan, steps: Mapping[int, Step] | None = None) -> State:
    """State in the present format.

    Args:
        state: as it was saved.
        plan: of its monitor.
        steps: format → step to the next one; None: those of this release.

    Raises:
        StateError: a newer release wrote it, or one that is too old.
    """
    known = STEPS if steps is None else steps
    version = state.get("version")
    way_out = (
        f"or give it up: `driftbus state forget {plan.name}`, and the monitor is rebuilt from the summaries topic, as "
        "far back as that goes"
    )
    if not isinstance(version, int) or version > PRESENT:
        raise StateError(
            f"the state of monitor {plan.name} has format {version}, and this release reads up to {PRESENT}: a newer "
            f"driftbus wrote it. Run that one, {way_out}"
        )
    while version < PRESENT:
        if version not in known:
            raise StateError(
                f"the state of monitor {plan.name} has format {version}, which this release no longer reads. Run an "
                f"older release in between, {way_out}"
            )
        state = known[version](state, plan)
        version = state["version"]
    return state


def _from_3(state: State, plan: MonitorPlan) -> State:
    """How many sources a chain has, and since when there is a configuration, is said on the log now."""
    sources = {topic: len(saved["chain"]) for topic, saved in state["streams"]}
    outcomes = plan.outcomes
    key = [
        plan.fingerprint,
        sorted((name, topic.epoch, sources.get(name, 0)) for name, topic in plan.topics.items()),
        *(
            []
            if outcomes is None
            else [[outcomes.topic, outcomes.epoch, len((state["outcomes"] or {}).get("chain", []))]]
        ),
        *(comparison.model_dump(mode="json") for comparison in plan.config.comparisons),
    ]
    same = state["key"] == fingerprint(key)
    return state | {"version": 4, "key": plan.state_key if same else state["key"], "quiet": ["mine", []]}


STEPS: Mapping[int, Step] = {3: _from_3}
"""Format → the step to the next one."""

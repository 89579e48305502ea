"""A rule as a tree of conditions: how often each has held, and whether the whole holds at a point of event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from croniter import croniter

from driftbus.detectors.conditions import Look
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.retrainconfig import PolicyRule


@dataclass(slots=True)
class Leaf:
    """A condition that is no combination: when it is looked at next, and what the last windows said."""

    rule: PolicyRule
    due_ms: int = -1
    history: list[bool] = field(default_factory=list)


def held(leaf: Leaf, found: Look, at_ms: int | None = None) -> bool:
    """Whether a condition holds in as many windows as it asks for, the present among them; any time if None."""
    if leaf.rule.schedule is not None:
        # not by when it is looked at next: where nothing else holds, its times are passed over
        return at_ms is None or cron_after(leaf.rule.schedule, at_ms - 1) == at_ms
    windowed = leaf.rule.drift or leaf.rule.quality
    often = windowed is None or (bool(leaf.history) and leaf.history[-1] and sum(leaf.history) >= windowed.m_of_n[0])
    return often and found.holds


def holds(
    rule: PolicyRule, looks: Iterator[tuple[Leaf, Look]], at_ms: int | None = None, *, every_time: bool = False
) -> bool:
    """Whether a rule holds; `looks` gives its conditions in order."""
    inner = rule.any or rule.all
    if inner is None:
        leaf, found = next(looks)
        return held(leaf, found, None if every_time else at_ms)
    each = [holds(part, looks, at_ms, every_time=every_time) for part in inner]
    return any(each) if rule.any else all(each)


def settled(leaf: Leaf) -> bool:
    """Whether more windows like the last one would change nothing."""
    windowed = leaf.rule.drift or leaf.rule.quality
    if windowed is None:
        return True
    return len(leaf.history) == windowed.m_of_n[1] and len(set(leaf.history)) == 1


def cron_after(line: str, ms: int) -> int:
    try:
        following = croniter(line, datetime.fromtimestamp(ms / 1000, UTC)).get_next(datetime)
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"{line!r} is not a cron line ({error})", key="retrain.any.schedule", fix="e.g. '0 2 * * SUN'"
        ) from error
    return int(following.timestamp() * 1000)

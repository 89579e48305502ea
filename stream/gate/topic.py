"""Outcomes of a range of a monitor's topics: labels joined with what was predicted, as counts of each version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import OutcomeShape, pairs_now
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.events import SummaryPart
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.ranges import vector_of
from driftbus.stream.join.rows import NEVER
from driftbus.stream.replay.topicreplay import TopicReplay

Int = NDArray[np.int64]

_BUFFERED = 200_000


@dataclass
class Joined:
    """Outcomes by version and segment.

    Args:
        shape: how they are counted.
        counts: (version, segment) → int64[shape.size]; segment "" for all rows.
    """

    shape: OutcomeShape
    counts: dict[tuple[str, str], Int] = field(default_factory=dict)

    def pairs(self, version: str, segment: str = "") -> Int:
        """int64[shape.pairs], as corrected; version "": of all versions."""
        found = np.zeros(self.shape.size, np.int64)
        for (name, part), counts in self.counts.items():
            if part == segment and name and version in ("", name):
                found += counts
        if not version and ("", segment) in self.counts:
            found += self.counts["", segment]
        return pairs_now(self.shape, found)

    @property
    def versions(self) -> list[str]:
        """Versions with outcomes, sorted; a monitor that maps none has "" only."""
        named = {version for (version, segment), c in self.counts.items() if not segment and pairs_of(self.shape, c)}
        return sorted(named)

    def groups(self, version: str) -> dict[str, dict[str, Int]]:
        """Segment field → value → pairs of a version."""
        found: dict[str, dict[str, Int]] = {}
        for segment in sorted({segment for _, segment in self.counts if segment}):
            column, _, value = segment.partition("=")
            found.setdefault(column, {})[value] = self.pairs(version, segment)
        return found

    @property
    def orphans(self) -> int:
        """Labels without a prediction in the range."""
        return sum(int(c[self.shape.orphan]) for (_, segment), c in self.counts.items() if not segment)


def pairs_of(shape: OutcomeShape, counts: Int) -> bool:
    """Whether there is any pair in counts."""
    return bool(counts[shape.first].any())


def gather(replay: TopicReplay, monitor: str, progress: Callable[[int], None]) -> Joined:
    """Join all that the range holds.

    Args:
        replay: the topics, at their first records.
        monitor: whose outcomes.
        progress: called with the number of records done since the last call.

    Raises:
        ConfigError: labels of the monitor find no predictions.
        Unavailable: brokers or schema registry don't answer.
    """
    config = replay.config.monitors.get(monitor)
    labels = "" if config is None or config.labels is None else config.labels.topic
    plan = replay.plans.outcomes.get(labels)
    source = None if plan is None else plan.source(monitor)
    if plan is None or source is None:
        raise ConfigError(
            f"labels of {monitor} don't find their predictions",
            key=f"monitors.{monitor}.labels",
            fix="map labels.label, and labels.id with predictions.id (docs/labels.md)",
        )
    joined = Joined(source.shape)
    machines = {p: OutcomeMachine(plan, p, MemoryBlobs(), base=0, position=0) for p in range(plan.partitions)}
    for batches in replay.polled():
        for batch, decoded in batches:
            machine, seen = machines.get(batch.partition), (batch.offsets, batch.timestamps, decoded.good)
            if machine is None:
                continue
            if batch.topic in plan.predictions:
                columns = replay.plans.topics[batch.topic].projection
                machine.feed_predictions(batch.topic, decoded.block, *seen, columns)
                _add(joined, monitor, (part for _, part in machine.advance().parts))
            if batch.topic == labels:
                _add(joined, monitor, (part for _, part in machine.feed_labels(decoded.block, *seen).parts))
            if machine.store.buffered > _BUFFERED:
                machine.persist(machine.commit_offset)
            progress(len(batch))
    for machine in machines.values():
        _end(joined, monitor, plan, machine)
    return joined


def _end(joined: Joined, monitor: str, plan: OutcomePlan, machine: OutcomeMachine) -> None:
    for topic in plan.predictions:
        machine.predictions_end(topic, NEVER)
    _add(joined, monitor, (part for _, part in machine.advance().parts))
    _add(joined, monitor, (part for _, part in machine.finish()))


def _add(joined: Joined, monitor: str, parts: Iterable[SummaryPart]) -> None:
    for part in parts:
        for entry in part.entries:
            if entry.group.monitor == monitor:
                key = entry.group.version, entry.group.segment
                known = joined.counts.get(key)
                counts = vector_of(entry, joined.shape.size)
                joined.counts[key] = counts if known is None else known + counts


def versions_of(joined: Joined, champion: str, challenger: str) -> Mapping[str, Int]:
    """Name → pairs of what is asked about, the candidate last; without a name all versions together.

    Raises:
        ConfigError: a version has no labels in the range.
    """
    for name in filter(None, (champion, challenger)):
        if name not in joined.versions:
            known = ", ".join(filter(None, joined.versions)) or "none"
            raise ConfigError(f"version {name!r} has no labels in this range", fix=f"versions that have: {known}")
    names = [*([champion] if champion else []), challenger]
    return {name or "all versions": joined.pairs(name) for name in names}

"""Both stages driven synchronously, without Kafka: for replay, tests and benchmarks.

The step functions are those of the live worker; only what carries parts from stage 1 to stage 2
is a function call instead of a topic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import Block
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.rows import NEVER
from driftbus.stream.judge import Decided, Judge, Observer
from driftbus.stream.plan import Plans
from driftbus.stream.summarise import Rejection, ShardPart, Summariser

_BUFFERED = 200_000
"""Predictions and labels in memory before they are sorted in, and what no label can match any more is dropped."""


@dataclass(slots=True)
class Step:
    """What one batch led to: decisions in order, and rows that could not be counted."""

    decided: list[Decided] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


class Driver:
    """All machines of a configuration in one place.

    Args:
        plans: topics and monitors.
        observer: sees every pane that is judged.
    """

    def __init__(self, plans: Plans, observer: Observer | None = None) -> None:
        self.plans = plans
        self.judges = {shard: Judge(plans, shard) for shard in sorted({m.shard for m in plans.monitors.values()})}
        self.summarisers = {
            (topic.topic, partition): Summariser(topic, partition, base=0, position=0)
            for topic in plans.topics.values()
            for partition in range(topic.partitions)
        }
        self.joins = {
            (topic.topic, partition): OutcomeMachine(topic, partition, MemoryBlobs(), base=0, position=0)
            for topic in plans.outcomes.values()
            for partition in range(topic.partitions)
        }
        self._offsets = dict.fromkeys(self.judges, 0)
        for judge in self.judges.values():
            for monitor in judge.monitors.values():
                for stream in monitor.streams:
                    stream.observer = observer

    def feed(
        self,
        topic: str,
        partition: int,
        block: Block,
        offsets: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        good: NDArray[np.bool_],
    ) -> Step:
        """The next records of a source partition; the arguments are those of `Summariser.feed`."""
        output = self.summarisers[topic, partition].feed(block, offsets, timestamps, good)
        decided = self._judge(output.parts)
        for (labels, number), join in self.joins.items():
            if number != partition:
                continue
            if topic in join.plan.predictions:
                columns = self.plans.topics[topic].projection
                join.feed_predictions(topic, block, offsets, timestamps, good, columns)
                decided += self._judge(join.advance().parts)
            if topic == labels:
                decided += self._judge(join.feed_labels(block, offsets, timestamps, good).parts)
            if join.store.buffered > _BUFFERED:
                join.persist(join.commit_offset)
        return Step(decided, output.rejected)

    def finish(self) -> list[Decided]:
        """The logs end here for ever: close every range and judge every pane."""
        decided: list[Decided] = []
        for join in self.joins.values():
            decided += self._resolve_all(join)
        for summariser in self.summarisers.values():
            decided += self._judge(summariser.finish())
        for topic in self.plans.topics.values():
            mine = [s for (name, _), s in self.summarisers.items() if name == topic.topic]
            last = max(s.clock for s in mine)
            if last >= 0:
                for summariser in mine:
                    decided += self._judge(summariser.force(last + topic.lateness + 1))
        for join in self.joins.values():
            decided += self._judge(join.finish())
        for outcomes in self.plans.outcomes.values():
            machines = [join for (name, _), join in self.joins.items() if name == outcomes.topic]
            last = max(join.clock for join in machines)
            if last >= 0:
                for join in machines:
                    decided += self._judge(join.force(last + outcomes.lateness + 1))
        return decided

    def rest(self, sources: Iterable[tuple[str, int]]) -> list[Decided]:
        """Nothing more comes of these partitions now: judge what a live worker judges when they are idle.

        Their open ranges are judged as they stand, and they don't hold up others.
        """
        resting = list(sources)
        idle = [self.summarisers[source] for source in resting]
        decided: list[Decided] = []
        for summariser in idle:
            decided += self._judge(summariser.preview())
        for summariser in idle:
            decided += self._judge(summariser.force())
        for (labels, partition), join in self.joins.items():
            for topic in join.plan.predictions:
                if (topic, partition) in resting:
                    join.predictions_end(topic, NEVER)
            decided += self._judge(join.advance().parts)
            if (labels, partition) in resting and not join.waiting:
                decided += self._judge(join.preview() + join.force())
        return decided

    def _resolve_all(self, join: OutcomeMachine) -> list[Decided]:
        """No prediction comes any more."""
        for topic in join.plan.predictions:
            join.predictions_end(topic, NEVER)
        return self._judge(join.advance().parts)

    def watermark_ms(self, topic: str) -> int:
        """Event time up to which all partitions of a topic have been read; -1 before that."""
        plan = self.plans.topics[topic]
        return min(s.clock for (name, _), s in self.summarisers.items() if name == topic) * plan.pane_ms

    def _judge(self, parts: list[ShardPart]) -> list[Decided]:
        decided: list[Decided] = []
        for shard, part in parts:
            judge = self.judges.get(shard)
            if judge is not None:
                decided += judge.apply(self._offsets[shard], part)
                self._offsets[shard] += 1
        return decided

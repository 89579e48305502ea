"""Says on the summaries log how many partitions each source topic has, before anything else is said of it.

Judges wait for all registered partitions. A registration is acknowledged before its worker produces a part, so the
first thing that a log has of an epoch is how many partitions to wait for, and a judge that begins anew waits for the
same ones at the same points.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from driftbus.schemas.codec import encode_message
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import Registration
from driftbus.stream.plan import Plans
from driftbus.stream.worker.outbox import Outbox

LOG = logging.getLogger(__name__)


class Registrar:
    """The partitions of all source topics, as this worker knows them.

    Args:
        plans: what was known at the start.
        summaries: the topic to say it on.
        outbox: where to.
    """

    def __init__(self, plans: Plans, summaries: str, outbox: Outbox) -> None:
        self._plans, self._summaries, self._outbox = plans, summaries, outbox
        self._known = {topic: plan.partitions for topic, plan in plans.topics.items()}
        self._said: dict[str, int] = {}
        self._lock = asyncio.Lock()
        joined = [(labels, of) for labels, plan in plans.outcomes.items() for of in plan.predictions]
        self._joined = {topic: (labels, of) for labels, of in joined for topic in (labels, of)}

    @property
    def topics(self) -> Iterable[str]:
        """The source topics."""
        return self._known.keys()

    def partitions(self, topic: str) -> int:
        """How many partitions a topic is known to have."""
        return self._known[topic]

    async def look(self, counts: Mapping[str, int]) -> None:
        """Register the partitions that have been added; returns when that is acknowledged.

        Args:
            counts: topic → number of partitions, as the brokers say.

        Raises:
            StateError: as `announce`.
        """
        for topic, count in counts.items():
            if count > self._known[topic]:
                LOG.info("%s has got %d partitions instead of %d", topic, count, self._known[topic])
                await self.announce(topic, count)

    async def announce(self, topic: str, partitions: int = 0) -> None:
        """Register a topic unless it was said already; returns when it is acknowledged.

        Args:
            topic: a source topic.
            partitions: so many have been seen.

        Raises:
            StateError: it is joined, and has got more partitions; or the summaries topic refuses.
        """
        if partitions > self._known[topic] and topic in self._joined:
            labels, of = self._joined[topic]
            raise StateError(
                f"{topic} has got {partitions} partitions instead of {self._known[topic]}. A label is looked for in "
                f"the partition of its prediction, so {of} and {labels} need the same number: give both of them "
                f"{partitions}, and start again. Labels of predictions from before become orphans where their id "
                "belongs to another partition now; docs/labels-on-kafka.md says how long"
            )
        async with self._lock:
            self._known[topic] = count = max(partitions, self._known[topic])
            if self._said.get(topic, 0) >= count:
                return
            plan, outcomes = self._plans.topics[topic], self._plans.outcomes.get(topic)
            monitors = {s.monitor: self._plans.monitors[s.monitor].fingerprint for s in plan.streams}
            said = [Registration(topic, plan.epoch, count, monitors)]
            if outcomes is not None:
                said.append(Registration(topic, outcomes.epoch, count, monitors))
            for shard in range(self._plans.shards):
                for one in said:
                    await self._outbox.send(self._summaries, encode_message(one), partition=shard)
            await self._outbox.flush()
            self._said[topic] = count

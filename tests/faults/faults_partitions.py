"""Partitions that are added to the topic of predictions while workers read it.

They stay empty until the fault is healed: verdicts wait for them from the moment they are noticed. What comes into
them then lies ahead of everything, so that nobody's pane was sealed without it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.cimpl import NewPartitions

from faults.deployment import Deployment
from faults.fault import Kind

_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """So many more. Nothing where labels are joined (both topics would need them), or while the broker is away."""

    count: int
    name: str = "partitions-added"

    def strike(self, on: Deployment, rng: random.Random) -> None:
        if on.labelled or on.broker_down or on.broker_frozen:
            return
        try:
            known = len(on.kafka.admin.list_topics(on.source, timeout=_ANSWER_S).topics[on.source].partitions)
            wanted = NewPartitions(on.source, known + self.count)
            on.kafka.admin.create_partitions([wanted], request_timeout=_ANSWER_S)[on.source].result(_ANSWER_S)
        except (KafkaException, TimeoutError):
            pass  # another fault was faster; whether they were added is seen when they are closed

    def heal(self, on: Deployment) -> None:
        if not on.broker_down and not on.broker_frozen:
            on.close_added()


FAULTS = [
    Kind("partitions-added", lambda rng: AddPartitions(rng.randint(1, 3)), lasts=(0.0, 6.0), weight=0.7),
]

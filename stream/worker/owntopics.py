"""Whether driftbus's own topics are still there, and still the same, while a worker runs.

A producer that never gives a record up waits for a topic that was deleted as it waits for brokers that are down, and
who has nothing to write does not notice at all. So the brokers are asked.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, Uuid

from driftbus.schemas.config import Config
from driftbus.schemas.errors import StateError
from driftbus.stream.transport.rights import RIGHTS
from driftbus.stream.worker.topics import label_copies, required_topics

LOG = logging.getLogger(__name__)

LOOKS = 5
"""So many looks in a row must miss a topic: a broker that has just come back may not know of all of them yet, and
rights are replaced by taking them away and giving them again."""

IDS_S = 300.0
"""How often ids are asked for when nothing else says that a topic may be another one."""

_NO_ID = str(Uuid(0, 0))
"""Of brokers before Kafka 2.8."""

_END = "Nothing past what was acknowledged was committed"


def own_topics(config: Config) -> list[str]:
    """Topics that `driftbus topics --create` makes."""
    copies = (config.monitors[name].streams["labels"].topic for name in label_copies(config))
    return [*(topic.name for topic in required_topics(config)), *copies]


class OwnTopics:
    """What was seen of our own topics, look by look.

    Args:
        names: the topics.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._ids: dict[str, str] = {}
        self._asked_at = -math.inf
        self._missed: Counter[tuple[str, int]] = Counter()
        self._back = False

    def see(self, seen: Mapping[str, int | KafkaError]) -> None:
        """The brokers' answer to one look; topics that they said nothing of are left out.

        Raises:
            StateError: a topic is gone, or hidden from us.
        """
        for topic, answer in seen.items():
            if isinstance(answer, KafkaError):
                self._missed[topic, answer.code()] += 1
                if self._missed[topic, answer.code()] == 1:
                    LOG.warning("topic %s can't be seen: %s", topic, answer.str())
                if self._missed[topic, answer.code()] >= LOOKS:
                    _stop(topic, answer)
                continue
            for missed in [key for key in self._missed if key[0] == topic]:
                del self._missed[missed]
                self._back = True

    def asks(self, now_s: float) -> bool:
        """Whether ids should be asked for: one is not known yet, a topic is back that a look had missed, or it is time.

        Args:
            now_s: of a monotonic clock.
        """
        return self._back or len(self._ids) < len(self.names) or now_s - self._asked_at >= IDS_S

    def identify(self, ids: Mapping[str, str], now_s: float) -> None:
        """The ids that brokers gave when they were asked; topics that they said nothing of are left out.

        Raises:
            StateError: a topic is another one of the same name.
        """
        self._asked_at = now_s
        self._back = self._back and len(ids) < len(self.names)
        for topic, now in ids.items():
            known, self._ids[topic] = self._ids.get(topic, now), now
            if known not in (now, _NO_ID):
                raise StateError(
                    f"topic {topic} was deleted and made anew while this worker ran. Check it with `driftbus topics` "
                    "(what makes topics by itself knows nothing of their settings) and start again; "
                    f"docs/operations.md says what can be had back. {_END}"
                )


def _stop(topic: str, error: KafkaError) -> None:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise StateError(
            f"topic {topic} is gone: it was deleted while this worker ran. Create it again with `driftbus topics "
            "--create` and start again: what was not acknowledged is written then, and docs/operations.md says what "
            f"can be had back of the rest. {_END}"
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise StateError(
            f"this login may not see topic {topic} any more: its right to WRITE it, or to DESCRIBE it, was taken away. "
            f"Give it back and start again; {RIGHTS}. {_END}"
        )

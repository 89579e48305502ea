"""Asks the brokers where partitions end: how far behind we are, and whether they answer at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from faust.types import TP

LOG = logging.getLogger(__name__)

_ANSWER_S = 5.0
_MOVED = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
_SAID = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})


class Probe:
    """What the brokers last said.

    A consumer does not know the end of a partition that it has paused, so lag is asked for separately.

    Args:
        admin: client to ask with.

    Attributes:
        ends: partition → offset of the next record to come.
        answered_at: `time.monotonic` of the last full answer, None before the first.
    """

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self.ends: dict[TP, int] = {}
        self.answered_at: float | None = None

    async def ask(self, tps: Iterable[TP]) -> bool:
        """Ask once; whether there was an answer. Brokers that don't answer are no error here."""
        try:
            ends = await asyncio.to_thread(self._ask, set(tps))
        except (KafkaException, TimeoutError) as error:
            LOG.warning("the brokers don't answer: %r", error)
            return False
        self.ends, self.answered_at = ends, time.monotonic()
        return True

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Topic → number of partitions, of those of which it can be seen now."""
        seen = await self.look(topics)
        return {topic: answer for topic, answer in seen.items() if not isinstance(answer, KafkaError)}

    async def look(self, topics: Iterable[str]) -> dict[str, int | KafkaError]:
        """Topic → its number of partitions, or why brokers don't tell. Without those they are silent on."""
        return await asyncio.to_thread(self._look, sorted(topics))

    def _look(self, topics: list[str]) -> dict[str, int | KafkaError]:
        found: dict[str, int | KafkaError] = {}
        for topic in topics:
            try:
                answer = self._admin.list_topics(topic, timeout=_ANSWER_S).topics[topic]
            except KafkaException as error:
                LOG.debug("topic %s: %r", topic, error)
                break  # the next ones would have to wait as long
            if answer.error is None:
                found[topic] = len(answer.partitions)
            elif answer.error.code() in _SAID:
                found[topic] = answer.error
        return found

    async def is_spare(self, group: str, member: str) -> bool:
        """Whether a member of a group has nothing to do: all partitions are with others, and none is under way."""
        return await asyncio.to_thread(self._is_spare, group, member)

    def _is_spare(self, group: str, member: str) -> bool:
        asked = self._admin.describe_consumer_groups([group], request_timeout=_ANSWER_S)[group]
        try:
            found = asked.result(_ANSWER_S + 1)
        except (KafkaException, TimeoutError) as error:
            LOG.debug("group %s: %r", group, error)
            return False
        mine = [one.assignment for one in found.members if one.member_id == member]
        return found.state == ConsumerGroupState.STABLE and bool(mine) and not mine[0].topic_partitions

    async def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Topic → its id, which no other topic of that name will have; without those of which it can't be had now.

        Not to be asked often: confluent-kafka 2.16 never frees the ids that it gives (100 bytes each).
        """
        return await asyncio.to_thread(self._ids, sorted(topics))

    def _ids(self, topics: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        asked = self._admin.describe_topics(TopicCollection(topics), request_timeout=_ANSWER_S)
        for topic, future in asked.items():
            try:
                found[topic] = str(future.result(_ANSWER_S + 1).topic_id)
            except (KafkaException, TimeoutError) as error:
                LOG.debug("topic %s: %r", topic, error)
        return found

    def _ask(self, tps: set[TP]) -> dict[TP, int]:
        if not tps:
            self._admin.list_topics(timeout=_ANSWER_S)
            return {}
        try:
            return self._ends(tps)
        except KafkaException as error:
            if error.args[0].code() not in _MOVED:
                raise
        # the client goes on asking the leaders that it knows until it is told to look again
        self._admin.list_topics(timeout=_ANSWER_S)
        return self._ends(tps)

    def _ends(self, tps: set[TP]) -> dict[TP, int]:
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        questions = {TopicPartition(*tp): latest for tp in tps}
        answers = self._admin.list_offsets(questions, request_timeout=_ANSWER_S)
        return {TP(p.topic, p.partition): future.result(_ANSWER_S + 1).offset for p, future in answers.items()}

"""Where the join of a label partition begins: in its store, or where both logs have to be read again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from faust.types import TP

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import Unavailable
from driftbus.stream.join.lmdbstore import LmdbBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.transport.properties import is_transient, means_nothing_without_a_group
from driftbus.stream.transport.rights import refusal
from driftbus.stream.worker.sourcestate import Start
from driftbus.stream.worker.storefolder import StoreFolder

LOG = logging.getLogger(__name__)

_ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A join that can go on.

    Args:
        machine: with its store.
        folder: of the store.
        predictions: topic → offset to read from, and present end of the log.
        rebuilding: whether the store was empty although labels have been counted before.
    """

    machine: OutcomeMachine
    folder: StoreFolder
    predictions: Mapping[str, tuple[int, int]]
    rebuilding: bool


class Lookup:
    """Answers about offsets, over a consumer of its own that joins no group. Blocks: use a thread.

    Raises:
        Unavailable: (all methods) the brokers don't answer.
        KafkaException: (all methods) they refuse.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        properties: dict[str, Any] = {
            "group.id": "driftbus-lookup",  # required, but no group is joined and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            **kafka.librdkafka(),
        }
        self._consumer = Consumer(properties, logger=logging.getLogger("librdkafka"))

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def bounds(self, tp: TP) -> tuple[int, int]:
        """First offset that is still in the log, and the offset of the next record to come."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=_ANSWER_S)
        except KafkaException as error:
            raise _unavailable(tp, error) from error
        return int(low), int(high)

    def offset_at(self, tp: TP, time_ms: int) -> int:
        """Offset of the first record whose Kafka timestamp is at least this; the log's end if there is none."""
        low, high = self.bounds(tp)
        if time_ms < 0:
            return low
        try:
            asked = [TopicPartition(tp.topic, tp.partition, time_ms)]
            found = self._consumer.offsets_for_times(asked, timeout=_ANSWER_S)[0].offset
        except KafkaException as error:
            raise _unavailable(tp, error) from error
        return high if found < 0 else int(found)

    def time_near(self, tp: TP, offset: int) -> int:
        """Kafka timestamp of the first record at or after an offset, else of the last before it; -1 for none."""
        low, high = self.bounds(tp)
        first = self._first_time(tp, max(low, offset), high)
        step = 1
        while first < 0 and low < offset:  # before the end there may be nothing but marks of transactions
            offset = max(low, min(offset, high) - step)
            first, step = self._first_time(tp, offset, high, last=True), 2 * step
        return first

    def _first_time(self, tp: TP, offset: int, high: int, *, last: bool = False) -> int:
        found = -1
        if offset >= high:
            return found
        self._consumer.assign([TopicPartition(tp.topic, tp.partition, offset)])
        deadline = time.monotonic() + _ANSWER_S
        try:
            while time.monotonic() < deadline:
                for message in self._consumer.consume(500, 0.1):
                    error = message.error()
                    if error is None:
                        found = int(message.timestamp()[1])
                        if not last:
                            return found
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return found
                    elif not is_transient(error) and not means_nothing_without_a_group(error):
                        raise refusal(error, "READ", tp.topic)
        finally:
            self._consumer.unassign()
        raise Unavailable(f"{tp.topic}[{tp.partition}]: the brokers have not answered for {_ANSWER_S:g} s")


def begin(kafka: KafkaConfig, root: Path, plan: OutcomePlan, starts: Iterable[tuple[int, Start]]) -> dict[int, Begun]:
    """Take up the joins of some partitions of a label topic. Blocks: use a thread.

    Args:
        kafka: how to connect.
        root: folder of all stores of this deployment.
        plan: the label topic.
        starts: (partition, how its outcomes are taken up).

    Raises:
        ConfigError: the folder can't be used.
        StateError: what is stored can't be read.
        Unavailable: the brokers don't answer.
    """
    lookup = Lookup(kafka)
    try:
        return {partition: _begin(lookup, root, plan, partition, start) for partition, start in starts}
    finally:
        lookup.close()


def _begin(lookup: Lookup, root: Path, plan: OutcomePlan, partition: int, start: Start) -> Begun:
    labels = TP(plan.topic, partition)
    folder = StoreFolder.take(root / plan.topic / str(partition), f"{plan.epoch}-{start.base}")
    machine = _machine(folder, plan, partition, start)
    if machine.position < lookup.bounds(labels)[0] and not machine.fresh:
        LOG.warning("%s[%d]: what is stored is older than the log: it is made again", *labels)
        machine.close()
        folder.wipe()
        machine = _machine(folder, plan, partition, start)
    rebuilding = machine.fresh and start.position > 0
    if rebuilding:
        first_ms = lookup.time_near(labels, start.position)
        wanted = machine.rebuild(first_ms)
        offsets = {t: lookup.offset_at(TP(t, partition), ms) for t, ms in wanted.predictions_ms.items()}
        machine.begin(lookup.offset_at(labels, wanted.labels_ms), offsets, first_ms)
        for topic in offsets:
            first_offset, _ = lookup.bounds(TP(topic, partition))
            missing_ms = wanted.missing_ms(topic, first_offset, lookup.time_near(TP(topic, partition), first_offset))
            if missing_ms:
                LOG.warning(
                    "%s[%d]: the log begins %.0f s later than labels may look back: labels of what was deleted become "
                    "orphans. Retain predictions for 9/8 of join.horizon",
                    topic, partition, missing_ms / 1000,
                )  # fmt: skip
        LOG.info(
            "%s[%d]: nothing is stored of the predictions that labels wait for: read again from offset %s on, labels "
            "from offset %d",
            *labels, ", ".join(map(str, offsets.values())), machine.position,
        )  # fmt: skip
    found = {}
    for topic in plan.predictions:
        low, high = lookup.bounds(TP(topic, partition))
        position = machine.prediction_position(topic)
        if 0 < position < low:
            LOG.warning(
                "%s[%d]: predictions from offset %d to %d were deleted before they were read: labels of theirs "
                "become orphans; the topic's retention is shorter than the outage",
                topic, partition, position, low,
            )  # fmt: skip
        found[topic] = (max(low, position), high)
    return Begun(machine, folder, found, rebuilding and bool(found))


def _machine(folder: StoreFolder, plan: OutcomePlan, partition: int, start: Start) -> OutcomeMachine:
    blobs = LmdbBlobs(folder.path / "data")
    return OutcomeMachine(plan, partition, blobs, base=start.base, position=start.position)


def _unavailable(tp: TP, error: KafkaException) -> Exception:
    answer = cast(KafkaError, error.args[0])
    if is_transient(answer):
        return Unavailable(f"{tp.topic}[{tp.partition}]: {answer.str()}")
    return refusal(answer, "DESCRIBE", tp.topic)

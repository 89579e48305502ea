"""Where the join of a label partition begins: in its store, or where both logs have to be read again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faust.types import TP

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.configtypes import format_instant
from driftbus.schemas.errors import StateError
from driftbus.stream.join.lmdbcheck import Damaged
from driftbus.stream.join.lmdbstore import LmdbBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.places import Rebuild
from driftbus.stream.worker.lookup import Lookup
from driftbus.stream.worker.sourcestate import Start
from driftbus.stream.worker.storefolder import StoreFolder

LOG = logging.getLogger(__name__)


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


def begin(kafka: KafkaConfig, root: Path, plan: OutcomePlan, starts: Iterable[tuple[int, Start]]) -> dict[int, Begun]:
    """Take up the joins of some partitions of a label topic. Blocks: use a thread.

    What is stored and can't be used is made again: damaged, of another partition, behind the beginning of a
    log or ahead of its end.

    Args:
        kafka: how to connect.
        root: folder of all stores of this deployment.
        plan: the label topic.
        starts: (partition, how its outcomes are taken up).

    Raises:
        ConfigError: the folder can't be used.
        StateError: nothing is stored, and the logs no longer have what it would be made of.
        Unavailable: the brokers don't answer.
    """
    lookup = Lookup(kafka)
    begun: dict[int, Begun] = {}
    try:
        for partition, start in starts:
            begun[partition] = _Beginning(lookup, root, plan, partition, start).begin()
    except BaseException:
        for one in begun.values():
            one.machine.close()
            one.folder.release()
        raise
    finally:
        lookup.close()
    return begun


class _Beginning:
    def __init__(self, lookup: Lookup, root: Path, plan: OutcomePlan, partition: int, start: Start) -> None:
        self._lookup, self._plan, self._partition, self._start = lookup, plan, partition, start
        self._labels = TP(plan.topic, partition)
        self._folder = StoreFolder.take(root / plan.topic / str(partition), f"{plan.epoch}-{start.base}")

    def begin(self) -> Begun:
        try:
            return self._begin()
        except BaseException:
            self._folder.release()
            raise

    def _begin(self) -> Begun:
        machine = self._stored()
        rebuilding = machine.fresh and self._start.position > 0
        try:
            if rebuilding:
                self._rebuild(machine)
            found = {}
            for topic in self._plan.predictions:
                low, high = self._lookup.bounds(TP(topic, self._partition))
                found[topic] = (max(low, machine.prediction_position(topic)), high)
        except BaseException:
            machine.close()
            raise
        return Begun(machine, self._folder, found, rebuilding and bool(found))

    def _stored(self) -> OutcomeMachine:
        """The join where its store stands; a new one when the store can't be used."""
        try:
            machine = self._machine()
        except Damaged as damage:
            return self._anew(f"what is stored is damaged ({damage})")
        if why := self._foreign(machine):
            machine.close()
            return self._anew(why)
        return machine

    def _anew(self, why: str) -> OutcomeMachine:
        LOG.warning("%s[%d]: %s: it is made again", *self._labels, why)
        self._folder.wipe()
        return self._machine()

    def _machine(self) -> OutcomeMachine:
        blobs = LmdbBlobs(self._folder.path / "data")
        try:
            return OutcomeMachine(
                self._plan, self._partition, blobs, base=self._start.base, position=self._start.position
            )
        except StateError as error:
            blobs.close()
            raise Damaged(str(error)) from error

    def _foreign(self, machine: OutcomeMachine) -> str:
        """Why a join can't go on from what is stored, "" when it can."""
        if machine.fresh:
            return ""
        positions = {self._labels: machine.position}
        positions |= {TP(t, self._partition): machine.prediction_position(t) for t in self._plan.predictions}
        for tp, position in positions.items():
            low, high = self._lookup.bounds(tp)
            # nothing of this topic is stored at 0: what there is, is read
            if position < low and (position or tp == self._labels):
                return f"what is stored ends before {tp.topic}[{tp.partition}] begins"
            if position > high:
                return f"what is stored ends behind the end of {tp.topic}[{tp.partition}]"
        return ""

    def _rebuild(self, machine: OutcomeMachine) -> None:
        """Read both logs again, from where labels may still look back to."""
        lookup, partition = self._lookup, self._partition
        first_ms = lookup.time_near(self._labels, self._start.position)
        wanted = machine.rebuild(first_ms)
        gaps = self._gaps(wanted, first_ms)
        if gaps and self._start.position > self._start.base:
            raise StateError(
                f"{self._labels.topic}[{partition}]: nothing is stored of the predictions that labels wait for, and "
                f"{' and '.join(gaps)}: what was counted so far can't be gone on with. Write join: {{since: "
                f"{format_instant(self._complete_from())}}} for this monitor, or a shorter horizon; "
                "docs/labels-on-kafka.md#a-log-that-is-too-short says what that does"
            )
        for gap in gaps:
            LOG.warning(
                "%s[%d]: %s: labels of what was deleted become orphans. Retain both topics for 9/8 of join.horizon, or "
                "write a shorter one",
                *self._labels, gap,
            )  # fmt: skip
        offsets = {t: lookup.offset_at(TP(t, partition), ms) for t, ms in wanted.predictions_ms.items()}
        machine.begin(lookup.offset_at(self._labels, wanted.labels_ms), offsets, first_ms)
        LOG.info(
            "%s[%d]: nothing is stored of the predictions that labels wait for: read again from offset %s on, labels "
            "from offset %d",
            *self._labels, ", ".join(map(str, offsets.values())), machine.position,
        )  # fmt: skip

    def _gaps(self, wanted: Rebuild, first_ms: int) -> list[str]:
        """What the logs no longer have of what is wanted."""
        found = []
        asked = {TP(topic, self._partition): ms for topic, ms in wanted.predictions_ms.items()}
        for tp, ms in ({self._labels: wanted.labels_ms} | asked).items():
            low, _ = self._lookup.bounds(tp)
            begins = self._lookup.time_near(tp, low)
            missing = wanted.missing_ms(ms, low, begins)
            if missing is None or (first_ms < 0 and low > 0):
                found.append(f"all records of {tp.topic} were deleted")
            elif missing:
                found.append(
                    f"{tp.topic} begins {missing / 1000:.0f} s later than is needed: at offset {low}, "
                    f"{format_instant(begins)}"
                )
        return found

    def _complete_from(self) -> int:
        """Since when, in Kafka timestamps, no partition lacks anything, in milliseconds."""
        wait = max(join.wait_ms for join in self._plan.joins)
        since = 0
        for topic in [self._plan.topic, *self._plan.predictions]:
            for partition in range(self._plan.partitions):
                low, _ = self._lookup.bounds(TP(topic, partition))
                if low:
                    begins = self._lookup.time_near(TP(topic, partition), low)
                    begins = begins if begins >= 0 else time.time_ns() // 1_000_000
                    since = max(since, begins + (wait if topic == self._plan.topic else 0))
        return since

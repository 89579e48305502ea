"""The worker: one Faust application with the agents `summarise` and `judge`, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from confluent_kafka import TopicPartition
from faust.types import TP

from driftbus.schemas.config import Config
from driftbus.stream.transport.app import BusApp, Plan
from driftbus.stream.transport.loginfile import LoginFile
from driftbus.stream.transport.poller import Committed, Starts
from driftbus.stream.worker.health import Health, Status
from driftbus.stream.worker.judge_agent import JudgeAgent
from driftbus.stream.worker.memory import GIVE_BACK_S, Memory
from driftbus.stream.worker.metrics import Metrics
from driftbus.stream.worker.outbox import Outbox, producer_properties
from driftbus.stream.worker.outcome_agent import OutcomeAgent
from driftbus.stream.worker.owntopics import OwnTopics, own_topics
from driftbus.stream.worker.probe import Probe
from driftbus.stream.worker.publish import Publisher
from driftbus.stream.worker.registrar import Registrar
from driftbus.stream.worker.repartition_agent import RepartitionAgent
from driftbus.stream.worker.sourcestate import Place, Start, commit_of, start_of
from driftbus.stream.worker.start import Prepared
from driftbus.stream.worker.summarise_agent import SummariseAgent
from driftbus.stream.worker.wallclock import WallClock

LOG = logging.getLogger(__name__)

PROBE_S = 5.0
LAST_SNAPSHOTS_S = 10.0
"""Time for snapshots when a worker is asked to stop, half of what it has for everything."""
PARTITIONS_S = 2.0
"""Seconds between two looks at how many partitions the source topics have, and whether our own are there."""
STATUS_S = 1.0
RESTORED_AT_ONCE = 4
"""Partitions whose snapshots are read and unpacked at the same time."""


class Worker(BusApp):
    """One worker of a deployment.

    Args:
        config: the configuration.
        ready: what was checked and loaded for it.
        health: where its status is written.
        metrics: of the process.
    """

    def __init__(
        self,
        config: Config,
        ready: Prepared,
        health: Health,
        metrics: Metrics,
    ) -> None:
        super().__init__(config.app, config.kafka, commit_s=config.run.commit_every / 1000)
        self.health, self.metrics = health, metrics
        self._settings, self._plans, self._targets = config, ready.plans, ready.targets
        self._admin, self._login = ready.admin, LoginFile(config.kafka)
        self._probe, self._clock = Probe(ready.admin), WallClock()
        self._own = OwnTopics(own_topics(config))
        self._lock = asyncio.Lock()
        self._last: dict[TP, Committed] = {}
        self._held: set[tuple[TP, str]] = set()
        self._committed_at: float | None = None
        self._commit_due_at: float | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._memory, self._restoring = Memory(), asyncio.Semaphore(RESTORED_AT_ONCE)
        self.outbox = Outbox(producer_properties(config.kafka, f"{config.app}-outbox"), self.poison)
        publish = Publisher(config, self.outbox, ready.schema_ids)
        plans = ready.plans
        self.registrar = Registrar(plans, config.topics.summaries, self.outbox)
        self.outcomes = OutcomeAgent(
            config,
            plans.outcomes,
            ready.resolvers,
            publish=publish,
            lock=self._lock,
            hold=partial(self._hold, "join"),
            fail=self.poison,
            metrics=metrics,
        )
        self.summarising = SummariseAgent(
            config,
            plans.topics,
            ready.resolvers,
            outcomes=self.outcomes,
            outbox=self.outbox,
            publish=publish,
            lock=self._lock,
            hold=partial(self._hold, "outside"),
            fail=self.poison,
            metrics=metrics,
            partitions=self.registrar.partitions,
        )
        self.repartitioning = RepartitionAgent(
            config,
            ready.targets,
            ready.resolvers,
            outbox=self.outbox,
            lock=self._lock,
            hold=partial(self._hold, "outside"),
            fail=self.poison,
            metrics=metrics,
        )
        self.judging = JudgeAgent(
            config, plans, uuid.uuid4().hex, outbox=self.outbox, publish=publish, lock=self._lock, metrics=metrics
        )
        self.consume("summarise", plans.topics, self.summarising.handle)
        if ready.targets:
            self.consume("repartition", ready.targets, self.repartitioning.handle)
        self.consume("judge", [config.topics.summaries], self.judging.handle)

    def _hold(self, why: str, tp: TP, held: bool) -> None:
        """Stop delivery of a partition while there is any reason to."""
        (self._held.add if held else self._held.discard)((tp, why))
        self.delivery.poller.hold(tp, any(other == tp for other, _ in self._held))

    async def boot(self) -> None:
        # a topic that is made anew is told by the id that it had before anything was read or written
        await self._look_for_own_topics()
        await super().boot()

    # Partitions come and go.

    async def restore(self, new: Starts) -> Mapping[TP, int]:
        positions: dict[TP, int] = {}
        joins: dict[TP, Start] = {}
        judged: list[TP] = []
        for tp, committed in new.items():
            if tp.topic == self._settings.topics.summaries:
                judged.append(tp)
                continue
            if tp.topic in self._targets:
                self.repartitioning.take(tp, committed)
                continue
            plan, outcomes = self._plans.topics[tp.topic], self._plans.outcomes.get(tp.topic)
            await self.registrar.announce(tp.topic, tp.partition + 1)
            start = start_of(committed, plan.epoch)
            starts, places = [start], [Place(plan.epoch, start.base, start.position)]
            if outcomes is not None:
                joins[tp] = start_of(committed, outcomes.epoch, 1)
                starts.append(joins[tp])
                places.append(Place(outcomes.epoch, joins[tp].base, joins[tp].position))
            if any(one.announce for one in starts):
                told = ", ".join(f"{place.epoch} at offset {place.base}" for place in places)
                LOG.info("%s[%d]: epoch begins at offset %d (%s)", *tp, start.base, told)
                await self.delivery.commit_now(tp, commit_of(*places))
            self.summarising.take(tp, start)
        for tp, position in (await self.outcomes.take(joins)).items():
            begin, committed = min(position, self.summarising.position(tp) or 0), new[tp]
            if committed is not None and begin != committed.offset:
                positions[tp] = begin
        positions |= zip(judged, await asyncio.gather(*map(self._restore_judge, judged)), strict=True)
        self.outcomes.find_predictions(self.summarising.position)
        LOG.info("took up %d partitions", len(new))
        return positions

    async def _restore_judge(self, tp: TP) -> int:
        """Some at a time: what is read of each is in memory as a whole."""
        async with self._restoring:
            return await self.judging.take(tp, *await self._log_bounds(tp))

    async def _log_bounds(self, tp: TP) -> tuple[int, int]:
        """First offset that is still in the log, and the offset of the next record to come."""
        place = TopicPartition(*tp)
        low, high = await self.delivery.poller.call(lambda consumer: consumer.get_watermark_offsets(place, 10))
        return int(low), int(high)

    async def forget(self, tps: set[TP]) -> None:
        for tp in tps:
            self._last.pop(tp, None)
            self._held = {(other, why) for other, why in self._held if other != tp}
            if tp in self.outcomes.owned:
                await self.outcomes.forget(tp)
            if tp in self.judging.judges:
                self.judging.forget(tp)
            elif tp in self.summarising.sources:
                self.summarising.forget(tp)
            elif tp in self.repartitioning.tasks:
                self.repartitioning.forget(tp)
        self._memory.forgotten = True
        self.outcomes.find_predictions(self.summarising.position)

    async def checkpoint(self, assignment: set[TP]) -> Plan:
        async with self._lock:
            ticket, marks = self.outbox.cut(), self.outcomes.marks()
            plan = self.summarising.commits() | self.judging.commits() | self.repartitioning.commits()
        plan = {tp: committed for tp, committed in plan.items() if self._last.get(tp) != committed}
        if plan and self._commit_due_at is None:
            self._commit_due_at = time.monotonic()
        await self.outbox.acked(ticket)
        self.outcomes.acknowledged(marks)
        return plan

    def committed(self, plan: Plan) -> None:
        self._last |= plan
        self._committed_at, self._commit_due_at = time.monotonic(), None

    async def drained(self) -> None:
        await self.judging.snapshot_all(LAST_SNAPSHOTS_S)

    # What runs beside the agents.

    def begin_beside(self) -> None:
        """Start the timers."""
        run = self._settings.run
        timers: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (run.preview_every / 1000, self._show_open_ranges),
            (min(1.0, run.snapshot_every / 1000), self.judging.snapshot_due),
            (PROBE_S, self._ask_brokers),
            (PARTITIONS_S, self._look_for_partitions),
            (PARTITIONS_S, self._look_for_own_topics),
            (PROBE_S, self.judging.show),
            (STATUS_S, self._write_status),
            (STATUS_S, lambda: self.outcomes.show(self._probe.ends)),
            (GIVE_BACK_S, self._memory.give_back),
        ]
        if self._login.watched:
            timers.append((PROBE_S, self._renew_login))
        self._beside = [asyncio.create_task(self._every(seconds, step)) for seconds, step in timers]

    async def end_beside(self) -> None:
        """Stop the timers."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        try:
            while not self.poisoned:
                await step()
                await asyncio.sleep(seconds)
        except Exception as error:  # noqa: BLE001 - stops the worker
            self.poison(error)

    async def _show_open_ranges(self) -> None:
        await self.summarising.preview()
        await self.outcomes.preview()
        await self.summarising.force_silent(self._caught_up)

    def _caught_up(self, tp: TP) -> bool:
        """Whether we have everything of a partition, and the brokers have lately said so."""
        end, asked = self.delivery.caught_up(tp), self._probe.answered_at
        fresh = asked is not None and time.monotonic() - asked < 3 * PROBE_S
        return fresh and end is not None and self._probe.ends.get(tp, end + 1) <= end

    async def _look_for_partitions(self) -> None:
        if self.joined:  # before it nothing is said of any topic
            await self.registrar.look(await self._probe.partitions(self.registrar.topics))
            return
        # with the consumer protocol nobody is told that there is nothing for him
        member = await self.delivery.poller.call(lambda consumer: consumer.memberid())
        if member and not self.delivery.assignment() and await self._probe.is_spare(self._settings.app, member):
            self.delivery.assigned_soon({})

    async def _look_for_own_topics(self) -> None:
        self._own.see(await self._probe.look(self._own.names))
        if self._own.asks(time.monotonic()):
            self._own.identify(await self._probe.ids(self._own.names), time.monotonic())

    async def _ask_brokers(self) -> None:
        at_ms = time.time_ns() // 1_000_000
        if await self._probe.ask(self.delivery.assignment() | set(self.outcomes.partitions())):
            self.outcomes.see_ends(self._probe.ends, at_ms, self.delivery.caught_up)
        for tp in [*self.summarising.sources, *self.repartitioning.tasks]:
            if (lag := self._lag(tp)) is not None:
                self.metrics.lag.labels(*tp).set(lag)

    def _lag(self, tp: TP) -> int | None:
        end = self._probe.ends.get(tp)
        position = self.repartitioning.position(tp) if tp.topic in self._targets else self.summarising.position(tp)
        if position is None or end is None:
            return None
        # behind the last record there may be transaction markers, which are nobody's to read
        return 0 if self.delivery.caught_up(tp) == end else max(0, end - position)

    async def _renew_login(self) -> None:
        """Give all clients a password that was changed in its file; they use it at their next connect."""
        if (renewal := self._login.renewal()) is None:
            return
        LOG.info("the password in %s has changed: the next connections use it", self._settings.kafka.password_file)
        for client in (self.outbox.producer, self._admin):
            renewal(client)
        self.outcomes.call_readers(renewal)
        await self.delivery.poller.call(renewal)

    async def _write_status(self) -> None:
        self._clock.look()
        lags = [self._lag(tp) for tp in self.summarising.sources]
        self.health.status = Status(
            at=time.monotonic(),
            joined=self.joined,
            failure=str(self.poisoned or ""),
            partitions=len(self.delivery.assignment()),
            polled_at=self.delivery.poller.last_poll,
            brokers_at=self._probe.answered_at,
            lag=None if None in lags else sum(lag for lag in lags if lag is not None),
            committed_at=self._committed_at,
            commit_due_at=self._commit_due_at,
            waiting=self.summarising.waits() + self.repartitioning.waits() + self.outcomes.waits(),
            rebuilding=self.outcomes.rebuilds(),
        )

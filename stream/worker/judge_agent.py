"""Drives stage 2: parts of a summaries partition are applied, what they decide is queued, and state is stored.

Order: outputs acknowledged, then the snapshot, then the input's commit. The commit is for people
who look at the group's lag; a restart resumes at the snapshots' own offsets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from driftbus.schemas.codec import decode_message
from driftbus.schemas.config import Config
from driftbus.schemas.errors import DecodeError, StateError
from driftbus.schemas.events import ComparisonEvent, DriftEvent, Incident, MonitorState
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.judge import Decided, Judge, Message, MonitorJudge
from driftbus.stream.plan import Plans
from driftbus.stream.records import RecordBatch
from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.deadletter import dead_letter, send_dead_letters
from driftbus.stream.worker.metrics import ColumnState, Metrics, worst
from driftbus.stream.worker.outbox import Outbox
from driftbus.stream.worker.publish import Publisher
from driftbus.stream.worker.readback import read_to_end
from driftbus.stream.worker.snapshots import Found, SnapshotWriter, find_states

LOG = logging.getLogger(__name__)

NEWER = frozenset({"unknown_schema", "bad_kind"})
"""Reasons that mean that a newer driftbus wrote a record: passing it over would lose what it says."""


class JudgeAgent:
    """All summaries partitions of a worker.

    Args:
        config: names of topics and intervals.
        plans: all plans.
        owner: unique to this process.
        outbox, publish: where decisions, dead letters and snapshots go.
        lock: shared with everything that makes outputs or a checkpoint.
        metrics: of the worker.
    """

    def __init__(
        self,
        config: Config,
        plans: Plans,
        owner: str,
        *,
        outbox: Outbox,
        publish: Publisher,
        lock: asyncio.Lock,
        metrics: Metrics,
    ) -> None:
        self._config, self._plans = config, plans
        self._outbox, self._publish, self._lock, self._metrics = outbox, publish, lock, metrics
        self._writer = SnapshotWriter(outbox, config.topics.state, config.app, owner)
        self._every_s = config.run.snapshot_every / 1000
        self.judges: dict[TP, Judge] = {}
        self._stored: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._taken_at: dict[str, float] = {}
        self._seen: dict[tuple[str, str], Mapping[str, int]] = {}
        metrics.snapshot_age.set_function(self._oldest_s)

    async def take(self, tp: TP, log_start: int, log_end: int) -> int:
        """Restore a newly assigned partition; where to start reading.

        Args:
            tp: the partition.
            log_start: first offset that is still in its log.
            log_end: offset of the next record to come.

        Raises:
            StateError: a snapshot can't be used, or summaries that it needs were deleted.
        """
        begun = time.monotonic()
        judge = Judge(self._plans, tp.partition)
        if not judge.monitors:
            self.judges[tp] = judge
            return log_end
        found = await asyncio.to_thread(self._read, tp.partition)
        stale = await asyncio.to_thread(judge.restore, {m: s.body for m, s in found.states.items()})
        for name in stale:
            LOG.info("monitor %s starts afresh: its saved state is of another configuration", name)
        for name, monitor in judge.monitors.items():
            if 0 < monitor.offset < log_start:
                raise StateError(
                    f"the state of monitor {name} goes on at offset {monitor.offset} of {tp.topic}[{tp.partition}], "
                    f"whose log now starts at {log_start}: summaries were deleted before they were judged. Raise the "
                    f"topic's retention.ms, and run `driftbus state forget {name}` to begin with what is left"
                )
            if monitor.offset > log_end:
                raise StateError(
                    f"the state of monitor {name} goes on at offset {monitor.offset} of {tp.topic}[{tp.partition}], "
                    f"whose log ends at {log_end}: the topic was made anew, and what it held is lost. Start again "
                    "under a new `app` name"
                )
            if monitor.offset == 0 < log_start:
                LOG.info("monitor %s begins with what is left of %s[%d]", name, tp.topic, tp.partition)
                monitor.begin_anywhere()
        self._writer.took_over(found)
        self.judges[tp] = judge
        self._schedule(judge)
        LOG.info(
            "judging %d monitors of %s[%d] from offset %d, restored in %.2f s",
            len(judge.monitors), tp.topic, tp.partition, judge.position, time.monotonic() - begun,
        )  # fmt: skip
        return max(judge.position, log_start)

    def _read(self, partition: int) -> Found:
        records = read_to_end(self._config.kafka.librdkafka(), self._config.topics.state, [partition])
        return find_states(self._config.app, ((record.key(), record.value()) for record in records))

    def _schedule(self, judge: Judge) -> None:
        """Spread the first snapshots evenly over the interval, so that they never come all at once."""
        now = time.monotonic()
        for i, (name, monitor) in enumerate(judge.monitors.items()):
            self._due[name] = now + self._every_s * (i + 1) / len(judge.monitors)
            self._stored[name], self._taken_at[name] = monitor.offset, now
            for stream in monitor.streams:
                self._seen[name, stream.name] = _tally(stream.counts)
            self._seen[name, ""] = {"foreign": monitor.foreign}
            self._seen[name, "rules"] = {"overtaken": monitor.policy.overtaken}
            if monitor.outcomes is not None:
                self._seen[name, monitor.outcomes.name] = _tally(monitor.outcomes.counts)

    async def handle(self, batch: Batch) -> None:
        """The next parts and commands of a partition."""
        judge, records = self.judges[batch.tp], batch.records()
        if not judge.monitors:
            return
        messages, bad = await asyncio.to_thread(_decode, records)
        async with self._lock:
            if self.judges.get(batch.tp) is not judge:
                return
            with self._metrics.step.labels("judge").time():
                decided = await asyncio.to_thread(_apply, judge, messages)
            letters = [dead_letter(records, row, reason, message) for row, reason, message in bad]
            await send_dead_letters(self._outbox, self._config.topics.deadletter, letters)
            await self._publish.decided(decided)
        for letter in letters:
            self._metrics.dead_letters.labels(letter.topic, letter.reason).inc()
        for event in decided:
            self._count(event)

    async def snapshot_due(self) -> None:
        """Store the snapshots whose turn it is, one after the other."""
        for tp, judge in list(self.judges.items()):
            changed = set(judge.changed())
            for name in [name for name in judge.monitors if self._due[name] <= time.monotonic()]:
                if name in changed:
                    await self._store(tp, judge, name)
                else:
                    self._taken_at[name] = time.monotonic()
                self._due[name] = time.monotonic() + self._every_s

    async def snapshot_all(self, within_s: float) -> None:
        """Store every monitor that has moved, the oldest snapshot first, so that the next owner repeats nothing.

        What is not stored in time is judged again from the snapshot before it.

        Args:
            within_s: seconds after which it stops.
        """
        moved = [(tp, judge, name) for tp, judge in self.judges.items() for name in judge.changed()]
        moved.sort(key=lambda one: self._taken_at[one[2]])
        stored = 0
        try:
            async with asyncio.timeout(within_s):
                for tp, judge, name in moved:
                    await self._store(tp, judge, name)
                    stored += 1
        except TimeoutError:
            LOG.warning("%d of %d snapshots written within %g s", stored, len(moved), within_s)
        else:
            LOG.info("%d snapshots written before leaving", stored)

    async def _store(self, tp: TP, judge: Judge, name: str) -> None:
        begun = time.monotonic()
        async with self._lock:
            if self.judges.get(tp) is not judge:
                return
            ticket = self._outbox.cut()
            offset = judge.monitors[name].offset
            body = await asyncio.to_thread(judge.snapshot, name)
        await self._outbox.acked(ticket)
        await self._writer.write(MonitorState(name, offset, body), tp.partition)
        if self.judges.get(tp) is judge:
            self._stored[name], self._taken_at[name] = offset, begun
        self._metrics.snapshot_duration.observe(time.monotonic() - begun)

    def commits(self) -> dict[TP, Committed]:
        """Input offsets that no stored snapshot needs any more."""
        return {
            tp: Committed(position, "")
            for tp, judge in self.judges.items()
            if (position := min((self._stored[name] for name in judge.monitors), default=0)) > 0
        }

    def forget(self, tp: TP) -> None:
        """A partition went away."""
        for name in self.judges.pop(tp).monitors:
            del self._due[name], self._stored[name], self._taken_at[name]
            for key in [key for key in self._seen if key[0] == name]:
                del self._seen[key]
            self._metrics.forget_monitor(name)

    async def show(self) -> None:
        """Bring the metrics of all monitors up to date."""
        for tp, judge in list(self.judges.items()):
            for name, monitor in judge.monitors.items():
                async with self._lock:  # a step may be changing the monitor in a thread
                    if self.judges.get(tp) is judge:
                        self._show(name, monitor)

    def _show(self, name: str, monitor: MonitorJudge) -> None:
        open_: list[str] = []
        for stream in monitor.streams:
            columns: dict[str, list[ColumnState]] = {}
            for views in stream.views().values():
                for view in views:
                    columns.setdefault(view.column, []).append(ColumnState(view.psi, view.severity, view.null_rate))
            episodes = stream.open_episodes()
            for episode in episodes:
                if episode.column in columns:  # also what its views don't know of, such as stuck values
                    columns[episode.column].append(ColumnState(severity=episode.severity))
            open_ += [episode.severity for episode in episodes]
            self._metrics.show_aspects(name, stream.name, [(e.aspect, e.severity) for e in episodes])
            self._metrics.show_columns(name, stream.name, {column: worst(s) for column, s in columns.items()})
            grown = self._grown((name, stream.name), _tally(stream.counts))
            self._metrics.panes.labels(name, stream.name).inc(grown["panes"])
            self._metrics.late.labels(name, stream.name).inc(grown["late"])
            self._metrics.expired.labels(name, stream.name).inc(grown["expired"])
            self._metrics.contradictions.labels(name).inc(grown["contradictions"])
            self._metrics.unfit.labels(name).inc(grown["unfit"])
            self._metrics.beyond.labels(name, stream.name).inc(grown["beyond"])
            self._metrics.dropped.labels(name, stream.name).inc(grown["dropped"])
        self._metrics.overtaken.labels(name).inc(
            self._grown((name, "rules"), {"overtaken": monitor.policy.overtaken})["overtaken"]
        )
        self._metrics.pending.labels(name).set(monitor.policy.pending)
        outcomes = monitor.outcomes
        if outcomes is not None:
            grown = self._grown((name, outcomes.name), _tally(outcomes.counts))
            self._metrics.contradictions.labels(name).inc(grown["contradictions"])
            self._metrics.dropped.labels(name, outcomes.name).inc(grown["dropped"])
            episodes = outcomes.open_episodes()
            open_ += [episode.severity for episode in episodes]
            self._metrics.show_aspects(name, outcomes.name, [(e.aspect, e.severity) for e in episodes])
            self._metrics.outcomes.show(name, outcomes.latest, outcomes.estimates.latest(), outcomes.scored.tallies)
        self._metrics.show_open(name, open_, monitor.incidents.severities())
        self._metrics.foreign_parts.labels(name).inc(self._grown((name, ""), {"foreign": monitor.foreign})["foreign"])

    def _grown(self, key: tuple[str, str], now: Mapping[str, int]) -> dict[str, int]:
        """How much counters of the state have grown since they were last looked at."""
        before, self._seen[key] = self._seen[key], now
        return {name: max(0, value - before[name]) for name, value in now.items()}

    def _count(self, event: Decided) -> None:
        if isinstance(event, DriftEvent):
            self._metrics.episodes.labels(event.monitor, event.status, event.severity).inc()
            LOG.info("drift %s: %s %s", event.status, event.monitor, event.message)
        elif isinstance(event, Incident):
            self._metrics.incidents.labels(event.monitor, event.status, event.severity).inc()
            LOG.info("incident %s: %s", event.status, event.message)
        elif isinstance(event, PerformanceReport):
            LOG.debug("performance %s: %s", event.stage, event.message)
        elif isinstance(event, ComparisonEvent):
            self._metrics.comparisons.labels(event.monitor, event.challenger, event.metric, event.status).inc()
            LOG.info("comparison %s: %s", event.status, event.message)
        else:
            self._metrics.triggers.labels(event.monitor, event.policy, str(event.dry_run).lower()).inc()
            LOG.info("retrain trigger: %s %s", event.monitor, event.reason)

    def _oldest_s(self) -> float:
        taken = list(self._taken_at.values())
        return time.monotonic() - min(taken) if taken else 0.0


def _tally(counts: Any) -> dict[str, int]:
    shown = ("panes", "late", "expired", "contradictions", "unfit", "beyond", "dropped")
    return {name: getattr(counts, name) for name in shown if hasattr(counts, name)}


def _decode(records: RecordBatch) -> tuple[list[tuple[int, Message]], list[tuple[int, str, str]]]:
    """(offset, message) of what can be read, and (row, reason, message) of what is no message of ours.

    Raises:
        StateError: a record was written by a newer version.
    """
    messages: list[tuple[int, Message]] = []
    bad: list[tuple[int, str, str]] = []
    for row, value in enumerate(records.values):
        try:
            messages.append((int(records.offsets[row]), decode_message(value or b"")))
        except DecodeError as error:
            if error.reason in NEWER:
                where = f"{records.topic}[{records.partition}] offset {records.offsets[row]}"
                raise StateError(f"{where}: {error}. Run the newer version everywhere") from error
            bad.append((row, error.reason, str(error)))
    return messages, bad


def _apply(judge: Judge, messages: list[tuple[int, Message]]) -> list[Decided]:
    return [event for offset, message in messages for event in judge.apply(offset, message)]

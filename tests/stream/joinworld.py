"""A world of two logs, workers, disks, crashes and zombies around the real join, driven by integers.

What must hold: whatever happens, the ranges of the label partition are those of `joinlogs.derive`, which
is computed from the two whole logs, and one range never has two contents.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.events import SummaryPart
from driftbus.stream.chain import Chain
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import SEGMENTS, OutcomePlan
from driftbus.stream.join.ranges import cells_of
from driftbus.stream.join.rows import NEVER
from driftbus.stream.summarise import ShardPart

from .joinlogs import (
    LABELS,
    MONITOR,
    PREDICTIONS,
    Label,
    Prediction,
    Range,
    Rules,
    derive,
    label_block,
    plans_by,
    prediction_block,
    random_logs,
    ranges_of,
)

FAULTS = frozenset({"crash", "zombie", "disk", "dup", "reorder", "gap"})
END = 1 << 40


@dataclass(frozen=True)
class Schedule:
    """Everything that a run depends on. `mode`: append, create or wild timestamps."""

    rules: Rules
    mode: str
    skew: int
    faults: frozenset[str]
    predictions: tuple[Prediction, ...]
    labels: tuple[Label, ...]
    actions: tuple[tuple[str, int, int], ...]


@dataclass
class Worker:
    """A worker's hold on the partition: its machine, and what it has sent."""

    machine: OutcomeMachine
    disk: MemoryBlobs
    place: int
    box: list[tuple[int, SummaryPart, int]] = field(default_factory=list)
    outstanding: dict[int, int] = field(default_factory=dict)
    commits: list[tuple[int, int]] = field(default_factory=list)
    acknowledged: int | None = None
    failed: bool = False
    uid: int = 0

    def queue(self, parts: list[ShardPart]) -> None:
        """Send parts some time; what is committed waits for them."""
        self.uid += 1
        for shard, part in parts:
            self.box.append((shard, part, self.uid))
            self.outstanding[self.uid] = self.outstanding.get(self.uid, 0) + 1
        offset = self.machine.commit_offset
        if offset is not None and (not self.commits or self.commits[-1][1] != offset):
            self.commits.append((self.uid, offset))

    def settled(self) -> int | None:
        """The boundary whose parts, and all before them, are acknowledged."""
        while self.commits and not any(n for u, n in self.outstanding.items() if u <= self.commits[0][0] and n):
            self.acknowledged = self.commits.pop(0)[1]
        return self.acknowledged


class JoinWorld:
    """The two logs of one partition, the summaries, and whoever reads and writes them."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.plans = plans_by(schedule.rules)
        self.plan: OutcomePlan = self.plans.outcomes[LABELS]
        self.now = 0
        self.contradicted = False
        self.drained = False
        self.committed: int | None = None
        self.disks: dict[int, MemoryBlobs] = {}
        self.summaries: list[list[bytes]] = [[] for _ in range(schedule.rules.shards)]
        self.notes: dict[str, int] = {}
        clock, self.pclocks = -1, []
        for p in schedule.predictions:
            clock = max(clock, p.kts)
            self.pclocks.append(clock)
        clock, self.lclocks = -1, []
        for label in schedule.labels:
            clock = max(clock, label.kts)
            self.lclocks.append(clock)
        self.workers: list[Worker] = []
        self.workers = [self.new(0)]

    def run(self) -> None:
        for action in self.schedule.actions:
            self.act(*action)
        self.drain()

    def act(self, what: str, x: int, r: int) -> None:
        faults = self.schedule.faults
        worker = self.workers[-1 - x % len(self.workers)]
        if worker.failed and what in {"predictions", "labels", "send", "persist"}:
            return
        match what:
            case "time":
                self.now += r % (5 if r % 7 else 40)
            case "predictions":
                self.read_predictions(worker, 1 + r % 6)
            case "labels":
                self.read_labels(worker, 1 + r % 4)
            case "send":
                for i in range(1 + r % 4):
                    self.send(worker, r // 4 + 101 * i)
            case "preview":
                worker.queue(worker.machine.preview())
            case "commit":
                offset = worker.settled()
                self.committed = offset if offset is not None else self.committed
            case "persist":
                self.note("persisted", worker.machine.persist(worker.settled()))
            case "crash" if "crash" in faults:
                self.workers[-1] = self.new(self.workers[-1].place, gone=self.workers[-1])
            case "zombie" if "zombie" in faults:
                self.workers = [*self.workers[-2:], self.new(r % 3)]
            case "disk" if "disk" in faults:
                place = r % 3  # lost with its worker: whoever starts there finds nothing
                if not any(w.place == place and not w.failed for w in self.workers):
                    self.disks.pop(place, None)

    def note(self, what: str, happened: bool = True) -> None:
        self.notes[what] = self.notes.get(what, 0) + happened

    def clock(self, worker: Worker) -> int:
        return self.now + ((worker.place % 3) - 1 if self.schedule.skew else 0)

    def visible(self, log: Any) -> list[Any]:
        return [record for record in log if record.at <= self.now]

    def read_predictions(self, worker: Worker, most: int) -> None:
        machine, before = worker.machine, self.clock(worker)  # the clock is read before the fetch
        ahead = [
            p for p in self.visible(self.schedule.predictions) if p.off >= machine.prediction_position(PREDICTIONS)
        ]
        if ahead:
            projection = self.plan.predictions[PREDICTIONS].projection
            machine.feed_predictions(PREDICTIONS, *prediction_block(projection, ahead[:most]))
        elif self.drained:
            machine.predictions_end(PREDICTIONS, NEVER)
        else:
            machine.predictions_end(PREDICTIONS, before)
        worker.queue(machine.advance().parts)

    def read_labels(self, worker: Worker, most: int) -> bool:
        machine, before = worker.machine, self.clock(worker)
        ahead = [label for label in self.visible(self.schedule.labels) if label.off >= machine.position]
        if ahead:
            worker.queue(machine.feed_labels(*label_block(self.plan.labels, ahead[:most])).parts)
        else:
            machine.labels_end(before)
        return bool(ahead)

    def send(self, worker: Worker, r: int) -> None:
        faults = self.schedule.faults
        if not worker.box or worker.failed:
            return
        i = (r // 11) % len(worker.box) if "reorder" in faults and r % 3 == 0 else 0
        if "gap" in faults and r % 37 == 5:
            worker.failed = True
            return
        shard, part, uid = worker.box.pop(i)
        self.summaries[shard].append(encode_part(part))
        if "dup" in faults and r % 5 == 2:
            self.summaries[shard].append(encode_part(part))
        worker.outstanding[uid] -= 1

    def held(self, gone: Worker | None) -> list[MemoryBlobs]:
        return [w.disk for w in self.workers if w is not gone]

    def new(self, place: int, gone: Worker | None = None) -> Worker:
        disk = self.disks.get(place)
        if disk is None or any(disk is other for other in self.held(gone)):
            disk = self.disks[place] = MemoryBlobs()  # a zombie holds the folder: a new one
        committed = self.committed or 0
        machine = OutcomeMachine(self.plan, 0, disk, base=0, position=committed)
        self.watch(machine)
        if not machine.fresh:
            self.note("resumed" if machine.position >= committed else "resumed stale")
        elif committed:
            self.rebuild(machine, committed)
        return Worker(machine, disk, place)

    def rebuild(self, machine: OutcomeMachine, committed: int) -> None:
        self.note("rebuilt")
        labels = self.visible(self.schedule.labels)
        after = [label.kts for label in labels if label.off >= committed]
        known = after[:1] or [label.kts for label in labels[-1:]]
        first = known[0] if known else -1
        wanted = machine.rebuild(first)
        predictions = {t: self.offset(self.schedule.predictions, ms) for t, ms in wanted.predictions_ms.items()}
        machine.begin(self.offset(self.schedule.labels, wanted.labels_ms), predictions, first)

    def offset(self, log: Any, ms: int) -> int:
        """As Kafka's ListOffsets: the first record with such a timestamp, else the end."""
        seen = self.visible(log)
        return next((r.off for r in seen if r.kts >= ms), seen[-1].off + 1 if seen else 0)

    def watch(self, machine: OutcomeMachine) -> None:
        """Notice what the machine may hold for true and the logs contradict."""
        (joiner,) = machine._joiners
        claim, forget = joiner.claim, joiner.forget

        def claimed(clock: int) -> None:
            until, position = clock + joiner.plan.wait_ms, machine.prediction_position(PREDICTIONS)
            for p, c in zip(self.schedule.predictions, self.pclocks, strict=True):
                self.contradicted |= p.off >= position and c <= until
            self.note("forced", not self.drained)
            claim(clock)

        def forgotten(clock: int, silent_ms: int) -> int:
            dropped = forget(clock, silent_ms)
            self.note("evicted", dropped > 0)
            for label, c in zip(self.schedule.labels, self.lclocks, strict=True):
                if label.off >= machine._done and silent_ms >= 0:
                    self.contradicted |= joiner.first_segment(c) < joiner.low
            return dropped

        joiner.claim, joiner.forget = claimed, forgotten  # type: ignore[method-assign]

    def drain(self) -> None:
        """All is written, read and sent; zombies' last words come last."""
        self.now, self.drained = END, True
        if self.workers[-1].failed:
            self.workers[-1] = self.new(self.workers[-1].place, gone=self.workers[-1])
        last = self.workers[-1]
        while self.read_labels(last, 3):
            pass
        for _ in range(len(self.schedule.predictions) + 2):
            self.read_predictions(last, 3)
        last.queue(last.machine.preview())
        for worker in [last, *(w for w in self.workers[:-1] if not w.failed)]:
            for shard, part, _ in worker.box:
                self.summaries[shard].append(encode_part(part))

    # What has to hold

    def settled(self, shard: int) -> list[Range]:
        """The ranges that a judge takes from the summaries, and the open one's preview."""
        source = self.plans.monitors[MONITOR].outcomes
        assert source is not None
        chain, taken = Chain(source), []
        for data in self.summaries[shard]:
            for part in chain.take(decode_part(data)):
                taken.append(self.said(part))
                list(chain.settle(part))
        overlay = chain.sources[0].overlay if chain.sources else None
        return [*taken, *([self.said(overlay)] if overlay is not None else [])]

    def said(self, part: SummaryPart) -> Range:
        """A part in the oracle's form."""
        cells, rows = {}, {}
        for entry in part.entries:
            key = (entry.group.version, entry.group.segment, entry.tick, entry.cohort)
            rows[key] = entry.rows
            found, counts = cells_of(entry, self.plan.joins[0].shape.size)
            cells |= {(*key, cell): count for cell, count in zip(found.tolist(), counts.tolist(), strict=True)}
        return Range(part.a, None if part.kind == "preview" else part.b, part.max_tick, cells, rows)

    def check(self) -> None:
        """Equal to the definition; after a contradiction only: no overlaps."""
        shard = self.plan.joins[0].shard
        got = self.settled(shard)
        if self.contradicted:
            assert self.schedule.mode == "wild", "contradicted although timestamps keep their promise"
            return
        want = ranges_of(self.plan, derive(self.plan, list(self.schedule.predictions), list(self.schedule.labels)))
        assert got == want
        for log in self.summaries:
            ranges: dict[int, bytes] = {}
            for data in log:
                part = decode_part(data)
                if part.kind == "final":
                    assert ranges.setdefault(part.a, data) == data, "one range, two contents"


KINDS = (
    ["time"] * 10 + ["labels"] * 9 + ["predictions"] * 8 + ["persist"] * 7 + ["disk"] + ["send"] * 10
    + ["preview"] + ["commit"] * 4 + ["crash"] * 2 + ["zombie"] * 2
)  # fmt: skip


def random_schedule(seed: int, faults: frozenset[str] | None = None, mode: str | None = None) -> Schedule:
    """A schedule from a seed."""
    r = random.Random(seed)
    if faults is None:
        faults = frozenset(f for f in sorted(FAULTS) if r.random() < 0.75)
    mode = mode or r.choice(["append", "create", "create", "wild"])
    skew = r.randint(0, 1)
    rules = Rules(
        wait=r.choice([0, 1, 3, 6]),
        horizon=SEGMENTS * r.choice([1, 2, 3, 6]),
        grace=(0 if mode == "append" else 3) + skew + (1 << 30) * (r.random() < 0.3),
        pane=r.choice([2, 5, 10]),
        cohort=r.choice([4, 9]),
        range_records=r.choice([1, 2, 5, 100]),
        log_time=r.random() < 0.7,
        sample=r.choice([1.0, 1.0, 1.0, 0.5]),
        shards=r.randint(1, 2),
        since=random.Random(seed).choice([None, None, None, 20, 45]),
    )
    predictions, labels = random_logs(r, mode)
    if r.random() < 0.3:  # labels come when the horizon of some predictions ends
        late = rules.horizon + r.randint(-12, 6)
        labels = [replace(y, at=y.at + late, kts=y.kts + late, et=y.et + late) for y in labels]
    actions = tuple((r.choice(KINDS), r.choice([0, 0, 0, 1, 2]), r.getrandbits(16)) for _ in range(r.randint(20, 220)))
    return Schedule(rules, mode, skew, faults, tuple(predictions), tuple(labels), actions)


def checked(schedule: Schedule) -> JoinWorld:
    """Run it and check it."""
    world = JoinWorld(schedule)
    world.run()
    world.check()
    return world


def other_actions(schedule: Schedule, seed: int) -> Schedule:
    """The same logs, another course of events."""
    other = random_schedule(seed, FAULTS)
    return Schedule(
        schedule.rules, schedule.mode, schedule.skew, schedule.faults, schedule.predictions, schedule.labels,
        other.actions,
    )  # fmt: skip


def bytes_of(world: JoinWorld) -> list[list[bytes]]:
    """Distinct final parts of each shard."""
    return [sorted({data for data in log if decode_part(data).kind == "final"}) for log in world.summaries]

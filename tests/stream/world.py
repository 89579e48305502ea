"""A world of logs, workers, crashes and zombies around the real machines, driven by integers.

Every choice (which worker, how many messages, which fault) comes from a list of small integers,
so any failing schedule can be shrunk and printed. What must hold: whatever happens, the set of
published events equals `oracle`, which is computed from the source logs alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.sampling import NO_DELAY
from driftbus.detectors.sketches import Sketches, merged
from driftbus.detectors.verdict import ColumnView, Transition
from driftbus.schemas.codec import decode_message, encode_message
from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, Histogram, Incident, Registration, SummaryPart
from driftbus.schemas.fields import WriterFields
from driftbus.schemas.hashing import hash_bytes
from driftbus.stream.judge import Judge
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.summarise import ShardPart, Summariser

TOPIC = "source"
MONITORS = ("m0", "m1", "m2")
OF_PARTITIONS = frozenset({"append", "read", "send", "preview", "force", "commit", "crash1", "zombie1"})
"""Actions on a source partition; the others are on a summaries partition, or on the topic."""
FAULTS = frozenset({"crash1", "zombie1", "crash2", "zombie2", "dup", "reorder", "gap", "snaploss", "force"})


@dataclass(frozen=True)
class Rec:
    """A source record: offset, event time, monitor, model version, a value."""

    off: int
    et: int
    monitor: str
    version: str
    x: float


@dataclass(frozen=True)
class Schedule:
    """Everything that a run depends on.

    Args:
        known: partitions that the topic has in the beginning, the others are added by ``grow``; 0: all of them.
    """

    partitions: int
    shards: int
    pane_ms: int
    lateness: int
    range_records: int
    range_entries: int
    faults: frozenset[str]
    logs: tuple[tuple[Rec, ...], ...]
    actions: tuple[tuple[str, int, int, int], ...]
    known: int = 0


class FoldingDetector:
    """Stands in for the detectors: what opens in a pane depends on every count and sketch it ever saw.

    Each pane ends what the pane before left open, and every second one its own, so that incidents come to an end.
    """

    def __init__(self, profile: Profile, settings: object) -> None:
        self.fold = ""
        self.last = -1

    def update(self, tick: int, counts: np.ndarray, rows: int, sketches: Sketches | None = None) -> list[Transition]:
        if rows == 0:
            return []
        assert sketches is not None
        text = f"{self.fold}|{tick}|{rows}|{counts.tolist()}|{sketches.packed()}"
        self.fold = hashlib.sha256(text.encode()).hexdigest()
        value = float(int(self.fold[:12], 16))
        opened = Transition("x", "distribution", "opened", "minor", "fold", "shift", "up", value, 0.0, None, 0.0, None,
                            float(rows), tick, tick, tick, tick, tick, rows, 0)  # fmt: skip
        ending = [t for t in (self.last, tick) if t >= 0 and (t != tick or value % 2)]
        self.last = -1 if tick in ending else tick
        return [opened, *(replace(opened, status="closed", opened_tick=t) for t in ending)]

    def views(self) -> list[ColumnView]:
        return []

    def picture(self, column: str, aspect: str, what: str, since: int) -> tuple[Histogram | None, tuple[float, ...]]:
        return Histogram((), (column, aspect), (since,), (int(self.fold[:6], 16),)), (0.5,)

    def dump(self) -> bytes:
        return f"{self.last} {self.fold}".encode()

    @classmethod
    def load(cls, profile: Profile, settings: object, data: bytes) -> FoldingDetector:
        detector = cls(profile, settings)
        last, _, detector.fold = data.decode().partition(" ")
        detector.last = int(last)
        return detector


PROFILE = Profile(
    monitor="m",
    stream="predictions",
    columns=(
        ColumnProfile(
            name="x",
            kind="numeric",
            role="feature",
            edges=(1.0, 2.0),
            low=0.0,
            high=3.0,
            categories=(),
            counts=(0, 10, 10, 10, 0),
            nulls=0,
            invalid=0,
        ),
    ),
    rows=30,
    source="test",
)


WRITERS = (WriterFields(9, (("x", "double"),)), WriterFields(5, (("x", "double"), ("y", "string?"))))
"""Two writer schemas that alternate."""


def plans_of(schedule: Schedule, partitions: int = 0) -> Plans:
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "none:1"},
            "monitors": {
                m: {
                    "predictions": {"topic": TOPIC, "time": "t", "id": "i", "version": "v", "where": {"m": m}},
                    "detection": {"sample_rows": 2},
                    "retrain": None,
                }
                for m in MONITORS
            },
            "limits": {
                "pane": schedule.pane_ms,
                "lateness": schedule.lateness * schedule.pane_ms,
                "retention": 2 * schedule.pane_ms,
                "range_records": schedule.range_records,
                "range_entries": schedule.range_entries,
            },
        }
    )
    profiles = {(m, "predictions"): PROFILE for m in MONITORS}
    return build_plans(config, profiles, {TOPIC: partitions or schedule.partitions}, schedule.shards)


def block_of(plans: Plans, records: list[Rec]) -> tuple[Block, np.ndarray]:
    """Records as a decoded block, and their offsets."""
    projection = plans.topics[TOPIC].projection
    n = len(records)
    fields = {
        "m": [r.monitor for r in records],
        "v": [r.version for r in records],
        "i": [str(r.off % 4) for r in records],
    }
    texts = [[text.encode() for text in fields[path]] for path in projection.strings]
    joined = b"".join(b"".join(row) for row in texts)
    length = np.array([[len(text) for text in row] for row in texts], np.int32).reshape(len(texts), n)
    start = np.concatenate([[0], np.cumsum(length.ravel())[:-1]]).astype(np.int64).reshape(len(texts), n)
    block = Block(
        n=n,
        time_ms=np.array([r.et for r in records], np.int64),
        numeric=np.array([[r.x for r in records]], np.float64),
        numeric_status=np.full((1, n), PRESENT, np.uint8),
        text=np.frombuffer(joined + bytes(16), np.uint8),
        text_start=start,
        text_length=length,
        text_hash=np.array([[hash_bytes(t) for t in row] for row in texts], np.uint64).reshape(len(texts), n),
        text_status=np.full((len(texts), n), PRESENT, np.uint8),
    )
    written = [r.off % 3 % 2 for r in records]
    block.writers = tuple(WRITERS[i] for i in dict.fromkeys(written))
    block.writer = np.array([block.writers.index(WRITERS[i]) for i in written], np.int64)
    return block, np.array([r.off for r in records], np.int64)


def kafka_times(records: list[Rec]) -> np.ndarray:
    """Kafka timestamps of records, some of them without one."""
    return np.array([-1 if r.off % 7 == 6 else r.et + 37 * r.off % 5_000 for r in records], np.int64)


@dataclass
class Stage1:
    """A worker's hold on one partition: a summariser, and what it has sent so far."""

    plans: Plans
    partition: int
    position: int
    box: dict[int, list[tuple[SummaryPart, int]]] = field(default_factory=dict)
    outstanding: dict[int, int] = field(default_factory=dict)
    commits: list[tuple[int, int]] = field(default_factory=list)
    committable: int | None = None
    failed: bool = False
    uid: int = 0
    delayed: list[tuple[int, SummaryPart]] = field(default_factory=list)

    def __post_init__(self) -> None:
        topic = self.plans.topics[TOPIC]
        self.machine = Summariser(topic, self.partition, base=0, position=self.position)

    def read(self, records: list[Rec]) -> None:
        block, offsets = block_of(self.plans, records)
        self.queue(self.machine.feed(block, offsets, kafka_times(records), np.ones(len(records), bool)).parts)

    def queue(self, parts: list[ShardPart]) -> None:
        self.uid += 1
        for shard, part in parts:
            self.box.setdefault(shard, []).append((part, self.uid))
            self.outstanding[self.uid] = self.outstanding.get(self.uid, 0) + 1
        if self.machine.commit_offset is not None:
            self.commits.append((self.uid, self.machine.commit_offset))

    def acknowledge(self, uid: int) -> None:
        self.outstanding[uid] -= 1

    def commit_offset(self) -> int | None:
        while self.commits and not any(n for u, n in self.outstanding.items() if u <= self.commits[0][0] and n):
            self.committable = self.commits.pop(0)[1]
        return self.committable


class World:
    """The logs, the broker's topics, and the workers of a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.plans = plans_of(schedule)
        self.available = [0] * schedule.partitions
        self.summaries: list[list[bytes]] = [[] for _ in range(schedule.shards)]
        self.published: list[DriftEvent | Incident] = []
        self.snapshots: dict[str, bytes] = {}
        self.committed: list[int | None] = [None] * schedule.partitions
        self.known = schedule.known or schedule.partitions
        self.grown = self.known == schedule.partitions
        self.stage1 = [[self.new1(p)] if p < self.known else [] for p in range(schedule.partitions)]
        self.stage2 = [[self.new2(s)] for s in range(schedule.shards)]

    def run(self) -> None:
        for action in self.schedule.actions:
            self.act(*action)
        self.drain()

    def act(self, what: str, x: int, y: int, r: int) -> None:
        faults = self.schedule.faults
        p, s = x % self.schedule.partitions, x % self.schedule.shards
        if what == "grow":
            self.grown = True
            return
        if what == "notice":
            self.notice()
            return
        if p >= self.known and what in OF_PARTITIONS and not (what == "append" and self.grown):
            return
        if what == "append":
            self.available[p] = min(len(self.schedule.logs[p]), self.available[p] + 1 + r % 3)
            return
        if what not in OF_PARTITIONS:
            p = 0
        worker = self.stage1[p][-1 - y % len(self.stage1[p])]
        judge, events = self.stage2[s][-1 - y % len(self.stage2[s])]
        if worker.failed and what in {"read", "send", "preview", "force"}:
            return
        match what:
            case "read":
                self.read(worker, 1 + r % 4)
            case "send":
                for i in range(1 + r % 4):
                    self.send(worker, r // 4 + 101 * i)
            case "preview":
                worker.queue(worker.machine.preview())
            case "force" if "force" in faults:
                worker.queue(worker.machine.preview() + worker.machine.force())
            case "commit":
                self.committed[p] = worker.commit_offset() if worker.commit_offset() is not None else self.committed[p]
            case "crash1" if "crash1" in faults:
                self.stage1[p][-1] = self.new1(p)
            case "zombie1" if "zombie1" in faults:
                self.stage1[p] = [*self.stage1[p][-2:], self.new1(p)]
            case "judge":
                self.judge(judge, events, s, 1 + r % 5)
            case "publish":
                for _ in range(min(len(events), 1 + r % 6)):
                    self.published.append(events.pop(0))
            case "snapshot" if not events:  # outputs are acknowledged before a snapshot
                for name in list(judge.changed())[: 1 + r % 3]:
                    data = judge.snapshot(name)
                    if not ("snaploss" in faults and r % 4 == 0):
                        self.snapshots[name] = data
            case "crash2" if "crash2" in faults:
                self.stage2[s][-1] = self.new2(s)
            case "zombie2" if "zombie2" in faults:
                self.stage2[s] = [*self.stage2[s][-2:], self.new2(s)]

    def read(self, worker: Stage1, most: int) -> bool:
        log = self.schedule.logs[worker.partition][: self.available[worker.partition]]
        ahead = [record for record in log if record.off >= worker.machine.position][:most]
        if ahead:
            worker.read(ahead)
        return bool(ahead)

    def send(self, worker: Stage1, r: int) -> None:
        faults = self.schedule.faults
        shards = [s for s, box in sorted(worker.box.items()) if box]
        if not shards or worker.failed:
            return
        shard, r = shards[r % len(shards)], r // 7
        box = worker.box[shard]
        i = (r // 11) % len(box) if "reorder" in faults and r % 3 == 0 else 0
        if r % 17 == 5 and "gap" in faults:
            worker.failed = True  # a produce that fails stops the worker; what it sent before may be anything
            return
        part, uid = box.pop(i)
        self.summaries[shard].append(encode_message(part))
        if "dup" in faults and r % 5 == 2:
            self.summaries[shard].append(encode_message(part))
        if "dup" in faults and "reorder" in faults and r % 5 == 3:
            worker.delayed.append((shard, part))
        worker.acknowledge(uid)

    def judge(self, judge: Judge, events: list[DriftEvent | Incident], shard: int, most: int) -> None:
        for _ in range(most):
            at = judge.position
            if at >= len(self.summaries[shard]) or not judge.monitors:
                return
            for decided in judge.apply(at, decode_message(self.summaries[shard][at])):
                assert isinstance(decided, DriftEvent | Incident)
                events.append(decided)

    def notice(self) -> None:
        """A worker sees that partitions were added: it registers them, and they are taken up."""
        before, self.known = self.known, self.schedule.partitions if self.grown else self.known
        for p in range(before, self.known):
            self.stage1[p] = [self.new1(p)]

    def new1(self, p: int) -> Stage1:
        """A worker takes a partition up; it says first how many there are, and waits until that is acknowledged."""
        epoch, monitors = self.plans.topics[TOPIC].epoch, {m: p.fingerprint for m, p in self.plans.monitors.items()}
        for log in self.summaries:
            log.append(encode_message(Registration(TOPIC, epoch, self.known, monitors)))
        return Stage1(self.plans, p, self.committed[p] or 0)

    def new2(self, shard: int) -> tuple[Judge, list[DriftEvent | Incident]]:
        judge = Judge(plans_of(self.schedule, self.known), shard)
        assert judge.restore(self.snapshots) == []
        return judge, []

    def drain(self) -> None:
        """Everything is read, sent, judged and published; zombies' last words come last."""
        self.grown = True
        self.notice()
        self.available = [len(log) for log in self.schedule.logs]
        for p, workers in enumerate(self.stage1):
            if workers[-1].failed:
                workers[-1] = self.new1(p)
            while self.read(workers[-1], 100):
                pass
            workers[-1].queue(workers[-1].machine.preview())
            self.flush(workers[-1])
        for workers in self.stage1:
            for zombie in workers[:-1]:
                if not zombie.failed:
                    self.flush(zombie)
            for worker in workers:
                for shard, part in worker.delayed:
                    self.summaries[shard].append(encode_message(part))
        for shard, owners in enumerate(self.stage2):
            for judge, events in owners:
                self.judge(judge, events, shard, len(self.summaries[shard]) + 1)
                self.published += events
                events.clear()

    def flush(self, worker: Stage1) -> None:
        for shard, box in worker.box.items():
            self.summaries[shard] += [encode_message(part) for part, _ in box]
            box.clear()

    def owners(self) -> Iterator[Judge]:
        for owners in self.stage2:
            yield owners[-1][0]

    def contradictions(self) -> int:
        return sum(s.counts.contradictions for j in self.owners() for m in j.monitors.values() for s in m.streams)

    def events(self) -> dict[str, DriftEvent | Incident]:
        """Published events by id; the same id must always say the same."""
        found: dict[str, DriftEvent | Incident] = {}
        for event in self.published:
            assert found.setdefault(event.id, event) == event, "one id, two events"
        return found


def replayed(world: World) -> dict[str, DriftEvent | Incident]:
    """What a fresh judge makes of the summaries logs."""
    found = {}
    for shard, log in enumerate(world.summaries):
        judge = Judge(world.plans, shard)
        for offset, data in enumerate(log):
            for decided in judge.apply(offset, decode_message(data)):
                assert isinstance(decided, DriftEvent | Incident)
                found[decided.id] = decided
    return found


def oracle(
    schedule: Schedule, *, ended: bool = False
) -> Mapping[tuple[str, str, int], tuple[float, int, tuple[tuple[int, int, int], ...]]]:
    """From the logs alone: (monitor, version, pane) → (fold, rows, offsets per partition) of all sealed panes.

    Args:
        schedule: has the logs.
        ended: whether no record comes any more, so that all panes are sealed.
    """
    plans = plans_of(schedule)
    clocks, content = [], {}
    for p, log in enumerate(schedule.logs):
        clock = -1
        for record in log:
            tick = record.et // schedule.pane_ms
            clock = max(clock, tick)
            if tick + 1 + schedule.lateness > clock:
                content.setdefault((record.monitor, record.version, tick), []).append((p, record))
        clocks.append(clock)
    frontier = max(clocks) if ended else min(clocks) - 1 - schedule.lateness
    sealed, detectors = {}, {}
    for (monitor, version, tick), records in sorted(content.items(), key=lambda item: item[0][2]):
        if tick > frontier:
            continue
        counts, sketches = np.zeros(PROFILE.layout().total, np.int64), None
        for p, record in records:
            block, offsets = block_of(plans, [record])
            plan = next(s for s in plans.topics[TOPIC].streams if s.monitor == monitor)
            counts += plan.counter.count(block, np.zeros(1, np.int64), 1)[0][0]
            stamps = kafka_times([record])
            delay = np.where(stamps < 0, NO_DELAY, stamps - record.et)
            seed = hash_bytes(f"{TOPIC}/{p}".encode())
            one = plan.sampler.sketch(block, seed, offsets, delay, np.zeros(1, np.int64), [None])[0]
            sketches = merged(sketches, one)
        detector = detectors.setdefault((monitor, version), FoldingDetector(PROFILE, None))
        statistic = detector.update(tick, counts, len(records), sketches)[0].statistic
        offsets = {p: [r.off for q, r in records if q == p] for p, _ in records}
        spans = tuple((p, min(o), max(o) + 1) for p, o in sorted(offsets.items()))
        sealed[monitor, version, tick] = (statistic, len(records), spans)
    return sealed


def told(schedule: Schedule, events: Mapping[str, DriftEvent | Incident]) -> dict:
    """Published events in the oracle's form."""
    return {
        (e.monitor, e.version, e.window_start_ms // schedule.pane_ms): (
            e.statistic,
            e.count,
            tuple((r.partition, r.from_offset, r.to_offset) for r in e.ranges),
        )
        for e in events.values()
        if isinstance(e, DriftEvent) and e.aspect != "schema" and e.status == "opened"
    }


def random_schedule(seed: int, faults: frozenset[str] | None = None) -> Schedule:
    """A schedule from a seed: logs with disorder, gaps and jumps, and a mixed bag of actions."""
    r = random.Random(seed)
    if faults is None:
        faults = frozenset(f for f in sorted(FAULTS - {"force"}) if r.random() < 0.7)
    partitions, pane = r.randint(1, 3), r.choice([1, 2, 5, 10])
    lateness = r.randint(0, 2)
    logs = []
    for _ in range(partitions):
        off, t, log = r.choice([0, 0, 0, 3]), r.randint(0, 2 * pane), []
        for _ in range(0 if r.random() < 0.08 else r.randint(1, 14)):
            jump = r.random()
            if jump < 0.6:
                t += r.randint(0, pane)
            elif jump < 0.75:
                t += r.randint(pane, 4 * pane)
            et = max(0, t - r.randint(0, (lateness + 3) * pane)) if r.random() < 0.35 else t
            log.append(Rec(off, et, r.choice(MONITORS), r.choice(["1", "2"]), r.uniform(-0.5, 3.5)))
            off += 1 if r.random() < 0.85 else r.randint(2, 4)
        logs.append(tuple(log))
    kinds = (
        ["append"] * 4 + ["read"] * 8 + ["send"] * 9 + ["preview"] * 2 + ["force"] + ["commit"] * 4
        + ["crash1", "zombie1"] + ["judge"] * 8 + ["publish"] * 4 + ["snapshot"] * 3 + ["crash2", "zombie2"]
    )  # fmt: skip
    actions = tuple(
        (r.choice(kinds), r.randrange(6), r.choice([0, 0, 0, 1, 2]), r.getrandbits(16))
        for _ in range(r.randint(20, 160))
    )
    return Schedule(
        partitions, r.randint(1, 2), pane, lateness, r.choice([1, 2, 3, 5, 100]), r.choice([1, 2, 4, 100]), faults,
        tuple(logs), actions,
    )  # fmt: skip


def growing_schedule(seed: int, faults: frozenset[str], *, timely: bool) -> Schedule:
    """A schedule in which partitions are added, with records from then on.

    Args:
        seed: of everything.
        faults: what may happen.
        timely: whether the new partitions are noticed before any of their panes can be sealed without them.
    """
    r = random.Random(f"growing {seed}")
    schedule = random_schedule(seed, faults)
    while schedule.partitions == 1:
        seed += 1_000_003
        schedule = random_schedule(seed, faults)
    known = r.randint(1, schedule.partitions - 1)
    grow = r.randrange(len(schedule.actions))
    notice = r.randrange(grow, len(schedule.actions))
    actions = list(schedule.actions)
    actions.insert(notice, ("notice", 0, 0, 0))
    actions.insert(grow, ("grow", 0, 0, 0))
    logs = list(schedule.logs)
    if timely:
        seen = [0] * schedule.partitions
        for what, x, _, number in actions[: notice + 1]:
            p = x % schedule.partitions
            if what == "append" and p < known:
                seen[p] = min(len(logs[p]), seen[p] + 1 + number % 3)
        ticks = [rec.et // schedule.pane_ms for p in range(known) for rec in logs[p][: seen[p]]]
        first = (max(ticks, default=0) - schedule.lateness) * schedule.pane_ms
        for p in range(known, schedule.partitions):
            shift = max(0, first - min((rec.et for rec in logs[p]), default=first))
            logs[p] = tuple(replace(rec, et=rec.et + shift) for rec in logs[p])
    last = max((rec.et for log in logs for rec in log), default=0) + schedule.pane_ms
    for p in range(known, schedule.partitions):  # what contradicts a seal is counted when its range is closed
        off = logs[p][-1].off + 1 if logs[p] else 0
        logs[p] = (*logs[p], Rec(off, last, MONITORS[0], "1", 1.0))
    return replace(schedule, logs=tuple(logs), actions=tuple(actions), known=known)

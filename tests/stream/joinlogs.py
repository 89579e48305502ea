"""Two logs of one partition, and what their join must say, by definition and by brute force."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape, lag_cells
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.columns import MISSING_TIME, NULL, PRESENT, Block, Projection
from driftbus.schemas.config import Config
from driftbus.schemas.hashing import hash_bytes, second_hashes
from driftbus.stream.join.outcomeplan import SEGMENTS, OutcomePlan
from driftbus.stream.plan import Plans, build_plans

PREDICTIONS, LABELS, MONITOR = "predictions", "labels", "m"


@dataclass(frozen=True)
class Prediction:
    """A record: offset, when it became visible, Kafka timestamp, id, score, version, segment, event time."""

    off: int
    at: int
    kts: int
    id: str
    score: float
    version: str
    country: str
    et: int
    good: bool = True


@dataclass(frozen=True)
class Label:
    """A record; no label withdraws an earlier one."""

    off: int
    at: int
    kts: int
    id: str
    label: str | None
    et: int
    good: bool = True


@dataclass(frozen=True)
class Rules:
    """What a join is configured with; times in milliseconds."""

    wait: int = 5
    horizon: int = 80
    grace: int = 4
    pane: int = 10
    cohort: int = 9
    range_records: int = 100
    log_time: bool = True
    sample: float = 1.0
    shards: int = 1
    since: int | None = None


@cache
def plans_by(rules: Rules) -> Plans:
    """The plans of rules, made once."""
    return plans_of(rules)


def plans_of(rules: Rules, **monitor: Any) -> Plans:
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "none:1"},
            "monitors": {
                MONITOR: {
                    "predictions": {"topic": PREDICTIONS, "time": "t", "id": "i", "score": "s", "version": "v"},
                    "labels": {"topic": LABELS, "time": "t", "id": "i", "label": "y"},
                    "segments": ["c"],
                    "join": {
                        "horizon": rules.horizon, "wait": rules.wait, "grace": rules.grace, "sample": rules.sample,
                        "since": rules.since,
                        "pane": "log" if rules.log_time else "event",
                    },
                    "performance": {"cohort": rules.cohort},
                    "detection": {"sample_rows": 0},
                    "retrain": None,
                }
                | monitor
            },
            "limits": {
                "pane": rules.pane, "lateness": 2 * rules.pane, "retention": 4 * rules.pane,
                "range_records": rules.range_records,
            },
        }
    )  # fmt: skip
    partitions = {stream.topic: 1 for stream in config.monitors[MONITOR].streams.values()}
    return build_plans(config, {(MONITOR, s): PROFILES[s] for s in config.monitors[MONITOR].streams}, partitions,
                       rules.shards)  # fmt: skip


def _profile(stream: str, column: str, role: str) -> Profile:
    return build_profile(MONITOR, stream, {column: NumericData(np.arange(50.0) / 50, role=role)})  # type: ignore[arg-type]


PROFILES = {"predictions": _profile("predictions", "s", "score"), "labels": _profile("labels", "y", "label")}


def block_of(projection: Projection, records: list[dict[str, Any]], times: list[int]) -> Block:
    """Records as a block: paths to numbers or texts, None for null."""
    n = len(records)
    texts = [[r.get(path) for r in records] for path in projection.strings]
    encoded = [["" if t is None else str(t) for t in row] for row in texts]
    raw = [[t.encode() for t in row] for row in encoded]
    length = np.array([[len(t) for t in row] for row in raw], np.int32).reshape(len(raw), n)
    start = np.concatenate([[0], np.cumsum(length.ravel())[:-1]]).astype(np.int64)[: length.size]
    numbers = [[r.get(path) for r in records] for path in projection.numeric]

    def status(rows: list[list[Any]]) -> np.ndarray:
        return np.array([[NULL if v is None else PRESENT for v in row] for row in rows], np.uint8).reshape(len(rows), n)

    return Block(
        n=n,
        time_ms=np.array(times, np.int64) if projection.time else np.full(n, MISSING_TIME),
        numeric=np.array([[float(v or 0) for v in row] for row in numbers], np.float64).reshape(len(numbers), n),
        numeric_status=status(numbers),
        text=np.frombuffer(b"".join(b"".join(row) for row in raw) + bytes(16), np.uint8),
        text_start=start.reshape(len(raw), n),
        text_length=length,
        text_hash=np.array([[hash_bytes(t) for t in row] for row in raw], np.uint64).reshape(len(raw), n),
        text_status=status(texts),
    )


def prediction_block(projection: Projection, log: list[Prediction]) -> tuple[Block, np.ndarray, np.ndarray, np.ndarray]:
    records = [{"i": p.id, "s": p.score, "v": p.version, "c": p.country} for p in log]
    block = block_of(projection, records, [p.et for p in log])
    return block, *_columns(log)


def label_block(projection: Projection, log: list[Label]) -> tuple[Block, np.ndarray, np.ndarray, np.ndarray]:
    records = [{"i": r.id, "y": r.label} for r in log]
    return block_of(projection, records, [r.et for r in log]), *_columns(log)


def _columns(log: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([r.off for r in log], np.int64),
        np.array([r.kts for r in log], np.int64),
        np.array([r.good for r in log], np.bool_),
    )


@dataclass(frozen=True)
class Counted:
    """What one label must add: (group, cohort, cell) → amount, and the label's offset, pane and clock."""

    off: int
    tick: int
    adds: dict[tuple[str, str, int, int], int]
    groups: tuple[tuple[str, str, int], ...]


def derive(plan: OutcomePlan, plog: list[Prediction], llog: list[Label], number: int = 0) -> list[Counted]:
    """The rules of docs/labels.md, label by label, from two whole logs, for one of the topic's monitors."""
    join = plan.joins[number]
    shape, length = join.shape, join.segment_ms
    clocks, clock = [], -1
    for p in plog:
        clock = max(clock, p.kts)
        clocks.append(clock)
    found, said, ever = [], {}, set()
    clock = -1
    for label in llog:
        clock = max(clock, label.kts)
        if not label.good or label.et < 0 or (label.kts >= 0 and label.et - label.kts > plan.future_ms):
            continue
        tick = (clock if plan.log_time else label.et) // plan.pane_ms
        if not kept(join, label.id):
            found.append(Counted(label.off, tick, {}, ()))
            continue
        first: dict[int, Prediction] = {}
        for c, p in zip(clocks, plog, strict=True):
            if p.good and p.et >= 0 and p.id == label.id and c <= clock + join.wait_ms:
                first.setdefault(c // length, p)
        segment = max((s for s in first if s >= max(clock // length - SEGMENTS, join.since)), default=None)
        if segment is None:
            group = ("", "", -1)
            found.append(Counted(label.off, tick, {(*group, shape.orphan): 1}, (group,)))
            continue
        p, key = first[segment], (segment, label.id)
        cells: list[tuple[int, int]] = []
        old = said.get(key)
        if label.label is None:
            if old is None:
                cells.append((shape.dup, 1))
            else:
                cells += pair(shape, shape.removed.start, p, old)
                said[key] = None
        elif key not in ever:
            cells += pair(shape, shape.first.start, p, label.label)
            cells.append((int(lag_cells(shape, np.array([clock - p.et]))[0]), 1))
            ever.add(key)
            said[key] = label.label
        elif old == label.label:
            cells.append((shape.dup, 1))
        else:
            cells += pair(shape, shape.added.start, p, label.label)
            if old is not None:
                cells += pair(shape, shape.removed.start, p, old)
            said[key] = label.label
        groups = ((p.version, "", p.et // join.cohort_ms), (p.version, f"c={p.country}", p.et // join.cohort_ms))
        adds: dict[tuple[str, str, int, int], int] = {}
        for group in groups:
            for cell, amount in cells:
                adds[*group, cell] = adds.get((*group, cell), 0) + amount
        found.append(Counted(label.off, tick, {k: v for k, v in adds.items() if v}, groups))
    return found


def kept(join: Any, id_: str) -> bool:
    raw = id_.encode()
    text = np.frombuffer(raw + bytes(16), np.uint8)
    return int(second_hashes(text, np.zeros(1, np.int64), np.array([len(raw)], np.int32))[0]) < join.threshold


def pair(shape: OutcomeShape, start: int, p: Prediction, label: str) -> list[tuple[int, int]]:
    cells, amounts = pair_cells(shape, np.array([p.score]), np.array([-1]), np.array([float(label == "1")]))
    return [(start + int(c), int(a)) for c, a in zip(cells[0], amounts[0], strict=True)]


@dataclass(frozen=True)
class Range:
    """A range of labels: [a, b), its greatest pane, and the sums of its entries."""

    a: int
    b: int | None
    max_tick: int
    cells: dict[tuple[str, str, int, int, int], int]
    rows: dict[tuple[str, str, int, int], int]


def ranges_of(plan: OutcomePlan, counted: list[Counted]) -> list[Range]:
    """The ranges that the labels alone decide; the last is open."""
    groups: list[list[Counted]] = []
    for one in counted:
        if not groups or one.tick > max(c.tick for c in groups[-1]) or len(groups[-1]) >= plan.range_records:
            groups.append([])
        groups[-1].append(one)
    found = []
    for i, labels in enumerate(groups):
        cells: dict[Any, int] = {}
        rows: dict[Any, int] = {}
        for one in labels:
            for (version, segment, cohort, cell), amount in one.adds.items():
                key = (version, segment, one.tick, cohort, cell)
                cells[key] = cells.get(key, 0) + amount
            for version, segment, cohort in one.groups:
                rows[version, segment, one.tick, cohort] = rows.get((version, segment, one.tick, cohort), 0) + 1
        a = 0 if i == 0 else labels[0].off
        b = groups[i + 1][0].off if i + 1 < len(groups) else None
        found.append(Range(a, b, max(c.tick for c in labels), cells, rows))
    return found


def random_logs(r: random.Random, mode: str, most: int = 14) -> tuple[list[Prediction], list[Label]]:
    """Logs with repeated ids, duplicates, silences, gaps of offsets and timestamps as `mode` has them."""
    ids = [f"id{i}" for i in range(r.choice([1, 2, 4, 8]))]
    disorder = 0 if mode == "append" else 3

    def stamp(at: int) -> int:
        if mode == "append":
            return at
        if mode == "wild" and r.random() < 0.2:
            return max(0, at - r.randint(0, 30))
        if r.random() < 0.08:
            return at + r.randint(0, 10)  # a producer whose clock is ahead
        return max(0, at - r.randint(0, disorder))

    def walk(count: int, burst: float) -> list[tuple[int, int]]:
        at, off, out = r.randint(0, 8), r.choice([0, 0, 3]), []
        for _ in range(count):
            if r.random() > burst:
                at += r.randint(0, 3) if r.random() < 0.8 else r.randint(4, 25)
            out.append((off, at))
            off += 1 if r.random() < 0.85 else r.randint(2, 4)
        return out

    def some(n: int) -> int:
        return 0 if r.random() < 0.06 else r.randint(1, n)

    predictions = [
        Prediction(off, at, stamp(at), r.choice(ids), r.choice([0.1, 0.6, 0.9]), r.choice("12"), r.choice(["PT", "ES"]),
                   max(0, at - r.randint(0, 5)), r.random() > 0.05)
        for off, at in walk(some(most), 0.3)
    ]  # fmt: skip
    labels = [
        Label(off, at, stamp(at), r.choice(ids), r.choice(["0", "1", "1", None]),
              max(0, at - (r.randint(0, 12) if r.random() < 0.4 else 0)), r.random() > 0.05)
        for off, at in walk(some(most), 0.4)
    ]  # fmt: skip
    return predictions, labels

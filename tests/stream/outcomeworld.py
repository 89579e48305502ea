"""Predictions and late labels of a monitor as summary parts, to be judged in any interleaving."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.config import Config
from driftbus.schemas.events import Published, SummaryPart
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.driver import Driver
from driftbus.stream.files.rows import block_of
from driftbus.stream.files.trainoutcomes import with_outcomes
from driftbus.stream.judge import Judge
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.summarise import ShardPart

PANE_MS, COHORT_MS = 5_000, 60_000
PREDICTIONS, LABELS = "predictions", "labels"
START_MS = 6_000_000


@dataclass(frozen=True)
class Data:
    """Rows in order of prediction.

    Args:
        time_ms: int64[n], when each was predicted.
        score: float64[n].
        version, segment: n texts.
        label: int64[n], 0 or 1.
        came_ms: int64[n], when its label came; -1: never.
    """

    time_ms: np.ndarray
    score: np.ndarray
    version: np.ndarray
    segment: np.ndarray
    label: np.ndarray
    came_ms: np.ndarray


def data_of(
    seed: int,
    cohorts: int = 12,
    per_cohort: int = 240,
    falls_at: float = 0.5,
    lost: float = 0.1,
    lag_ms: tuple[int, int] = (20_000, 150_000),
) -> Data:
    """A calibrated model whose labels turn random for a part of the rows at a share of the way."""
    rng = np.random.default_rng(seed)
    n = cohorts * per_cohort
    time_ms = np.sort(START_MS + rng.integers(0, cohorts * COHORT_MS, n))
    score = np.round(rng.beta(0.4, 0.4, n), 3)
    label = (rng.random(n) < score).astype(np.int64)
    wrong = (np.arange(n) >= falls_at * n) & (rng.random(n) < 0.5)
    label = np.where(wrong, rng.integers(0, 2, n), label)
    came_ms = np.where(rng.random(n) < lost, -1, time_ms + rng.integers(*lag_ms, n))
    pick = np.array(["1", "2"], object)[rng.integers(0, 2, n)]
    return Data(time_ms, score, pick, np.array(["a", "b", "c"], object)[rng.integers(0, 3, n)], label, came_ms)


def profiles_of(*, known: bool = True) -> dict[tuple[str, str], Profile]:
    """References from training rows, with or without what labels said of them."""
    old = data_of(1_000, cohorts=10, per_cohort=1_000, falls_at=1.0)
    data: dict[str, Any] = {
        "p": NumericData(old.score, role="score"),
        "y": CategoryData([str(y) for y in old.label], role="label"),
    }
    profile = build_profile("m", PREDICTIONS, {"p": data["p"]})
    if known:
        profile, note = with_outcomes(profile, data, "y", PerformanceConfig())
        assert not note
    return {("m", PREDICTIONS): profile, ("m", LABELS): build_profile("m", LABELS, {"y": data["y"]})}


def plans_of(
    performance: Mapping[str, Any] | None = None, *, known: bool = True, partitions: int = 2, **monitor: Any
) -> Plans:
    """One monitor of two topics."""
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "none:1"},
            "monitors": {
                "m": {
                    PREDICTIONS: {"topic": PREDICTIONS, "id": "id", "score": "p", "version": "v", "ignore": ["g"]},
                    LABELS: {"topic": LABELS, "id": "id", "label": "y"},
                    "segments": ["g"],
                    "join": {"horizon": "10m", "wait": "1s"},
                    "performance": {"cohort": COHORT_MS, "min_labels": 30, **(performance or {})},
                    "detection": {"sample_rows": 0},
                    "retrain": None,
                    **monitor,
                }
            },
            "limits": {"pane": PANE_MS, "lateness": 2_000, "retention": 4_000},
        }
    )
    return build_plans(config, profiles_of(known=known), {PREDICTIONS: partitions, LABELS: partitions}, 1)


class _Recorder(Driver):
    """Keeps the parts instead of judging them."""

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.parts: list[SummaryPart] = []

    def _judge(self, parts: list[ShardPart]) -> list[Published]:
        self.parts += [part for _, part in parts]
        return []


def parts_of(plans: Plans, data: Data, *, batch: int = 400, ids: Sequence[str] | None = None) -> list[SummaryPart]:
    """All parts of the logs, as one order of the reading made them; ids are row numbers unless they are given."""
    named = [str(i) for i in range(data.time_ms.size)] if ids is None else ids
    driver = _Recorder(plans)
    partitions = plans.topics[PREDICTIONS].partitions
    of = np.array([int(name) for name in named]) % partitions
    came = [i for i in np.argsort(data.came_ms, kind="stable").tolist() if data.came_ms[i] >= 0]
    offsets = dict.fromkeys(((t, p) for t in (PREDICTIONS, LABELS) for p in range(partitions)), 0)
    steps: list[tuple[int, str, int]] = [(int(t), PREDICTIONS, i) for i, t in enumerate(data.time_ms.tolist())]
    steps += [(int(data.came_ms[i]), LABELS, i) for i in came]
    steps.sort(key=lambda step: step[0])
    for start in range(0, len(steps), batch):
        for topic in (PREDICTIONS, LABELS):
            for p in range(partitions):
                rows = [i for _, t, i in steps[start : start + batch] if t == topic and of[i] == p]
                if rows:
                    _feed(driver, plans, topic, p, rows, data, named, offsets)
    driver.finish()
    return driver.parts


def _feed(
    driver: Driver, plans: Plans, topic: str, p: int, rows: list[int], data: Data, named: Sequence[str],
    offsets: dict[tuple[str, int], int],
) -> None:  # fmt: skip
    ids = [named[i] for i in rows]
    if topic == PREDICTIONS:
        batch = {"id": ids, "p": data.score[rows], "v": data.version[rows].tolist(), "g": data.segment[rows].tolist()}
        times = data.time_ms[rows]
    else:
        batch, times = {"id": ids, "y": [str(y) for y in data.label[rows]]}, data.came_ms[rows]
    block = block_of(pa.table(batch), plans.topics[topic].projection, times.copy())
    at = offsets[topic, p]
    offsets[topic, p] = at + len(rows)
    numbers = np.arange(at, at + len(rows), dtype=np.int64)
    driver.feed(topic, p, block, numbers, times, np.ones(len(rows), np.bool_))


def lanes_of(parts: Sequence[SummaryPart]) -> list[list[SummaryPart]]:
    """The parts of each source, in order: these may come in any interleaving."""
    lanes: dict[tuple[str, int, str], list[SummaryPart]] = {}
    for part in parts:
        lanes.setdefault((part.source.topic, part.source.partition, part.source.epoch), []).append(part)
    return [lanes[key] for key in sorted(lanes)]


def shuffled(parts: Sequence[SummaryPart], seed: int) -> list[SummaryPart]:
    """Another interleaving: lanes are chosen at random, often the same one many times over."""
    rng = random.Random(seed)
    lanes = [list(lane) for lane in lanes_of(parts)]
    found: list[SummaryPart] = []
    while any(lanes):
        lane = rng.choice([lane for lane in lanes if lane])
        most = rng.choice([1, 3, 30, 300])
        found += lane[:most]
        del lane[:most]
    return found


def judged(plans: Plans, parts: Sequence[SummaryPart]) -> dict[str, Published]:
    """What a judge makes of parts, by id; the same id must always say the same."""
    judge, found = Judge(plans, 0), {}
    for offset, part in enumerate(parts):
        for event in judge.apply(offset, decode_part(encode_part(part))):
            assert found.setdefault(event.id, event) == event, "one id, two events"
    return found


@cache
def usual() -> tuple[Plans, Data, list[SummaryPart]]:
    """A world that several tests look at."""
    plans, data = plans_of(), data_of(11)
    return plans, data, parts_of(plans, data)

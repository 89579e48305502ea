"""A learned profile is a function of the source logs, not of how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbus.detectors.profile import Profile
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import LearnConfig
from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.rows import block_of
from driftbus.stream.learn import Learner, LearnPlan

PERIOD = 100_000
PROJECTION = Projection(("x", "n"), ("colour", "id", "kind"), "ts")


def plan(**learn: int) -> LearnPlan:
    return LearnPlan(
        monitor="m",
        stream="predictions",
        topic="t",
        names={"x": "x", "n": "count", "colour": "colour"},
        roles={"x": "score"},
        projection=PROJECTION,
        id="id",
        where=(("kind", "real"),),
        learn=LearnConfig(**{"period": PERIOD, "min_rows": 100, "max_rows": 150} | learn),
        lateness_ms=5_000,
    )


@dataclass
class Log:
    """One partition: event times and everything else."""

    table: pa.Table
    time_ms: np.ndarray

    def feed(self, learner: Learner, partition: int, start: int, stop: int) -> None:
        stop = min(stop, len(self.time_ms))
        block = block_of(self.table.slice(start, stop - start), PROJECTION, self.time_ms[start:stop].copy())
        learner.feed(partition, block, np.arange(start, stop), np.ones(stop - start, np.bool_))


def log(seed: int, rows: int, first_ms: int, step_ms: int, jitter_ms: int = 0) -> Log:
    rng = np.random.default_rng(seed)
    table = pa.table(
        {
            "x": rng.normal(size=rows),
            "n": rng.integers(0, 9, rows),
            "colour": rng.choice(["red", "blue"], rows),
            "id": [f"{seed}-{i}" for i in range(rows)],
            "kind": np.where(rng.random(rows) < 0.9, "real", "test"),
        }
    )
    return Log(table, first_ms + np.arange(rows) * step_ms - rng.integers(0, jitter_ms + 1, rows))


LOGS = [log(1, 900, 1_000_000, 400, 9_000), log(2, 500, 1_020_000, 700), log(3, 300, 1_001_000, 1_100, 2_000)]


def learned(logs: Sequence[Log], steps: Sequence[tuple[int, int]], **learn: int) -> Profile:
    """Feed batches of the partitions named, then the rest in turn."""
    learner, at = Learner(plan(**learn), len(logs)), [0] * len(logs)

    def step(partition: int, rows: int) -> None:
        logs[partition].feed(learner, partition, at[partition], at[partition] + rows)
        at[partition] += rows

    for partition, rows in steps:
        if at[partition] < len(logs[partition].time_ms) and not learner.done:
            step(partition, rows)
    while not learner.done:
        for partition, each in enumerate(logs):
            if at[partition] < len(each.time_ms):
                step(partition, 50)
    return learner.profile()


EXPECTED = learned(LOGS, [])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 120)), max_size=40))
def test_how_the_logs_are_read_does_not_matter(steps: list[tuple[int, int]]) -> None:
    profile = learned(LOGS, steps)
    assert profile.profile_id == EXPECTED.profile_id
    assert profile.source == EXPECTED.source


def test_what_is_learned() -> None:
    assert [(c.name, c.kind, c.role) for c in EXPECTED.columns] == [
        ("x", "numeric", "score"),
        ("count", "numeric", "feature"),
        ("colour", "categorical", "feature"),
    ]
    assert EXPECTED.rows == 150
    first = min(int(each.time_ms[0]) for each in LOGS)
    assert EXPECTED.learned_until_ms == first + PERIOD


def test_without_a_limit_every_matching_row_of_the_period_counts_once() -> None:
    first = min(int(each.time_ms[0]) for each in LOGS)
    inside = 0
    for each in LOGS:
        times, reached = each.time_ms, np.maximum.accumulate(each.time_ms)
        on_time = np.concatenate(([True], reached[:-1] <= first + PERIOD + 5_000))
        wanted = (times >= first) & (times < first + PERIOD) & on_time
        inside += int((wanted & (np.array(each.table["kind"].to_pylist()) == "real")).sum())
    assert learned(LOGS, [], max_rows=50_000).rows == inside


def test_too_few_rows_are_filled_up_from_the_next_periods() -> None:
    profile = learned(LOGS, [], min_rows=700, max_rows=5_000)
    first = min(int(each.time_ms[0]) for each in LOGS)
    assert profile.rows >= 700
    assert profile.learned_until_ms == first + 2 * PERIOD


def test_a_silent_partition_is_passed_over_once_another_is_through() -> None:
    learner = Learner(plan(), 2)
    LOGS[0].feed(learner, 0, 0, 100)
    assert not learner.started
    assert learner.ahead(0.1) == {0}
    learner.pass_over(1)
    assert learner.started
    assert not learner.done, "nobody has passed the end of the period"
    LOGS[0].feed(learner, 0, 100, 900)
    assert learner.done
    assert learner.reached() == 1.0


def test_a_log_that_ends_before_the_period_is_all_there_is() -> None:
    learner = Learner(plan(period=10**9), 1)
    LOGS[0].feed(learner, 0, 0, 80)
    learner.complete()
    with pytest.raises(ConfigError, match=r"only .* records to learn m/predictions from"):
        learner.profile()
    longer: Any = Learner(plan(period=10**9), 1)
    LOGS[0].feed(longer, 0, 0, 900)
    assert not longer.done
    longer.complete()
    assert longer.profile().rows == 150

"""Memory over a week of event time: 100 monitors of 25 columns, panes of 10 s, flat or not.

The machines are the worker's (`Summariser`, `Judge`), driven without Kafka. Every monitor has rows
in one pane of ten, a tenth of the monitors drift on the third day and come back on the fifth, and
all are snapshotted every six hours. In a process of its own:
python -m benchmarks.memory_week MONITORS prints a line of JSON per quarter of a day.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import psutil

from benchmarks.judging import many
from benchmarks.measure import Figure, Report
from driftbus.schemas.columns import Block
from driftbus.schemas.events import DriftEvent
from driftbus.stream.driver import Driver

WANTED = 1.05
_DAYS = 7
_PANES_A_DAY = 8_640
_BUSY = 10
_ROWS = 20
_STRETCH = 120
"""Panes a batch covers: twenty minutes."""
_START = 176_000_000
_PATIENCE_S = 900


@dataclass(frozen=True, slots=True)
class Point:
    """A look at the process.

    Args:
        day: event time since the beginning, in days.
        resident: bytes.
        rows: rows judged so far.
        opened, closed: episodes so far.
    """

    day: float
    resident: int
    rows: int
    opened: int
    closed: int


def week(monitors: int) -> Iterator[Point]:
    """Go through the week, with a look every quarter of a day."""
    plans, block = many(monitors)
    driver, topics = Driver(plans), list(plans.topics)
    step = _STRETCH // _BUSY * _ROWS
    stamps, good = np.full(step, -1, np.int64), np.ones(step, np.bool_)
    busy = np.repeat(np.arange(0, _STRETCH, _BUSY), _ROWS)
    usual = [_rows(block, first, step) for first in range(0, block.n - step, step)]
    drifted = [replace(part, numeric=part.numeric * 1.3 + 0.5) for part in usual]
    opened = closed = 0
    for k, first in enumerate(range(0, _DAYS * _PANES_A_DAY, _STRETCH)):
        for i, topic in enumerate(topics):
            strange = i % 10 == 0 and 2 <= first / _PANES_A_DAY < 4
            part = (drifted if strange else usual)[(k * 13 + i * 7) % len(usual)]
            part.time_ms = (_START + first + busy + (i + k) % _BUSY) * 10_000
            offsets = np.arange(k * step, (k + 1) * step)
            for event in driver.feed(topic, 0, part, offsets, stamps, good).decided:
                if isinstance(event, DriftEvent):
                    opened += event.status == "opened"
                    closed += event.status == "closed"
        if (first + _STRETCH) % (_PANES_A_DAY // 4) == 0:
            for judge in driver.judges.values():
                for name in judge.monitors:
                    judge.snapshot(name)
            gc.collect()
            resident = psutil.Process().memory_info().rss
            yield Point((first + _STRETCH) / _PANES_A_DAY, resident, (k + 1) * step * len(topics), opened, closed)


def _rows(block: Block, first: int, n: int) -> Block:
    """n rows of a block, as a block."""
    part = np.s_[:, first : first + n]
    return Block(
        n,
        block.time_ms[first : first + n].copy(),
        block.numeric[part],
        block.numeric_status[part],
        block.text,
        block.text_start[part],
        block.text_length[part],
        block.text_hash[part],
        block.text_status[part],
    )


def run(*, quick: bool) -> Report:
    """Resident memory at the end of the week against the end of its first day."""
    monitors = 10 if quick else 100
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_week", str(monitors)],
        capture_output=True, text=True, check=True, timeout=_PATIENCE_S,
    )  # fmt: skip
    points = [Point(**json.loads(line)) for line in done.stdout.splitlines()]
    first = next(point for point in points if point.day >= 1)
    last = points[-1]
    ratio = last.resident / first.resident
    daily = [point for point in points if point.day == int(point.day)]
    return Report(
        f"memory: a week of event time, {monitors} monitors x 25 columns, panes of 10 s, {last.rows:,} rows",
        [
            Figure(
                "resident at the end / after one day",
                f"{last.resident / 2**20:,.0f} / {first.resident / 2**20:,.0f} MiB = {ratio:.3f}",
                f"<= {WANTED}",
                ratio <= WANTED,
                note=f"{last.opened:,} episodes opened and {last.closed:,} closed meanwhile",
            )
        ],
        ["MiB at the end of each day: " + "  ".join(f"{point.resident / 2**20:,.1f}" for point in daily)],
    )


def main() -> None:
    """Print a line for each look."""
    for point in week(int(sys.argv[1])):
        print(json.dumps(asdict(point)), flush=True)


if __name__ == "__main__":
    main()

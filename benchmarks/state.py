"""What a monitor of 25 columns weighs: in memory, and as the snapshot that is stored of it."""

from __future__ import annotations

import statistics
import time
import tracemalloc

from benchmarks.judging import Parts, many
from benchmarks.measure import Figure, Report
from driftbus.stream.judge import Judge

_ROWS = 100
_START = 176_000_000
_WANTED = 2**30
_MONITORS = 1_000


def _judged(monitors: int, panes: int) -> list[Judge]:
    """Judges of so many monitors after so many panes."""
    plans, block = many(monitors)
    parts = Parts(plans, block, _ROWS)
    judges = [Judge(plans, shard) for shard in range(plans.shards)]
    offsets = [0] * plans.shards
    for tick in range(_START, _START + panes):
        for monitor, part in parts.of_pane(tick, _START):
            shard = plans.monitors[monitor].shard
            judges[shard].apply(offsets[shard], part)
            offsets[shard] += 1
    return judges


def run(*, quick: bool) -> Report:
    """Bytes a monitor, once its windows are full; profile and plan included."""
    monitors, panes = (10, 60) if quick else (40, 200)
    _judged(2, panes)  # compiled code and what is made once don't count
    tracemalloc.start()
    judges = _judged(monitors, panes)
    resident = tracemalloc.get_traced_memory()[0] / monitors
    tracemalloc.stop()
    sizes, seconds = [], []
    for judge in judges:
        for name in judge.monitors:
            started = time.perf_counter()
            sizes.append(len(judge.snapshot(name)))
            seconds.append(time.perf_counter() - started)
    total = resident * _MONITORS
    return Report(
        f"state: a monitor of 25 columns and 3 windows, after {panes} panes of {_ROWS} rows",
        [
            Figure("memory a monitor", f"{resident / 1e3:,.0f} kB"),
            Figure(
                f"memory of {_MONITORS:,} monitors, by that",
                f"{total / 2**20:,.0f} MiB",
                "< 1,024 MiB",
                total < _WANTED,
            ),
            Figure(
                "snapshot of a monitor",
                f"{statistics.median(sizes) / 1e3:,.0f} kB",
                note=f"{1e3 * statistics.median(seconds):.2f} ms to make one",
            ),
        ],
    )

"""What judging costs: 1,000 monitors of 25 columns, each with a part every 10 seconds of event time.

A part goes to all summaries partitions, because it is the heartbeat of its source; one worker owns
them all here. Decoding the parts is included.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from benchmarks.judging import Parts, many
from benchmarks.measure import Figure, Report
from driftbus.schemas.codec import decode_message, encode_message
from driftbus.stream.judge import Judge

_ROWS = 100
_START = 176_000_000


def seconds_a_pane(monitors: int, warm: int, panes: int) -> list[float]:
    """Seconds that all judges together need for one pane of all monitors, pane by pane."""
    plans, block = many(monitors)
    parts = Parts(plans, block, _ROWS)
    pane_ms = next(iter(plans.monitors.values())).pane_ms
    start = _START * 10_000 // pane_ms
    judges = [Judge(plans, shard) for shard in range(plans.shards)]
    seconds, offset = [], 0
    for tick in range(start, start + warm + panes):
        shard_of = {name: plan.shard for name, plan in plans.monitors.items()}
        full = [(shard_of[name], part) for name, part in parts.of_pane(tick, start)]
        messages = [
            [encode_message(part if own == shard else replace(part, entries=())) for own, part in full]
            for shard in range(plans.shards)
        ]
        started = time.perf_counter()
        for judge, received in zip(judges, messages, strict=True):
            for i, message in enumerate(received):
                judge.apply(offset + i, decode_message(message))
        if tick >= start + warm:
            seconds.append(time.perf_counter() - started)
        offset += len(full)
    return seconds


def run(*, quick: bool) -> Report:
    """Share of one core at real time."""
    counts = (100, 1_000)
    report = Report(f"judge: monitors of 25 columns, a part of {_ROWS} rows each per pane of 10 s, at real time")
    for monitors in counts:
        seconds = seconds_a_pane(monitors, warm=2 if quick else 10, panes=4 if quick else 20)
        share = statistics.median(seconds) / 10.0
        report.rows.append(
            Figure(
                f"share of one core, {monitors:,} monitors",
                f"{share:.1%} ({min(seconds) / 10:.1%}-{max(seconds) / 10:.1%})",
                "< 10%" if monitors == 1_000 else "",
                share < 0.1 if monitors == 1_000 else None,
                note=f"{1e6 * statistics.median(seconds) / monitors:.0f} us a monitor and pane",
            )
        )
    return report

"""What a worker holds, looked at from outside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.soak.stage import Stage

_JUDGED = re.compile(r'driftbus_panes_sealed_total{monitor="(\w+)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Args:
        seconds: since the beginning.
        day: of event time, since the beginning.
        resident: bytes of memory, mapped files included.
        private: bytes of memory without mapped files; 0 where the system doesn't say.
        descriptors, threads: of the process.
        series: lines of its metrics.
        store: bytes of the folder of predictions that wait for labels.
        waiting: predictions in it.
        state: bytes of the state topic on the broker's disk.
        live: bytes of the newest value of each of its keys.
        keys: how many keys there are.
        cpu: seconds so far.
        lag: records not read yet.
        contradictions: counted by the worker.
        judged: monitors that it judges.
    """

    seconds: float
    day: float
    resident: int
    private: int
    descriptors: int
    threads: int
    series: int
    store: int
    waiting: int
    state: int
    live: int
    keys: int
    cpu: float
    lag: int
    contradictions: float
    judged: int


def look(stage: Stage, pid: int, port: int, store: Path, seconds: float, day: float) -> Sample:
    """A sample, now.

    Raises:
        psutil.NoSuchProcess: the worker has ended.
    """
    process = psutil.Process(pid)
    with process.oneshot():
        memory, cpu = process.memory_info(), process.cpu_times()
        descriptors, threads = process.num_fds(), process.num_threads()
    lines = _metrics(port)
    live, keys = _newest(stage)
    return Sample(
        round(seconds, 1), round(day, 3), memory.rss, memory.rss - getattr(memory, "shared", memory.rss),
        descriptors, threads, len(lines), _size(store), int(_sum(lines, "driftbus_join_predictions{")),
        sum(_size(folder) for folder in stage.data.glob(f"{stage.config.topics.state}-*")), live, keys,
        cpu.user + cpu.system, int(_sum(lines, "driftbus_consumer_lag{")),
        _sum(lines, "driftbus_contradictions_total{") + _sum(lines, "driftbus_join_contradictions_total{"),
        len({found[1] for line in lines if (found := _JUDGED.match(line))}),
    )  # fmt: skip


def _metrics(port: int) -> list[str]:
    found = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
    return [line for line in found if not line.startswith("#")]


def _sum(lines: list[str], start: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


def _newest(stage: Stage) -> tuple[int, int]:
    newest = {m.key(): len(m.value() or b"") for m in stage.broker.read(stage.config.topics.state)}
    return sum(newest.values()), sum(size > 0 for size in newest.values())


def _size(folder: Path) -> int:
    """Bytes on disk; holes of sparse files are none."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_blocks * 512
        except FileNotFoundError:  # what is looked at lives
            continue
    return found

"""Through Faust, on a real Apache Kafka: the whole worker against the limit, and against the usual way.

A preloaded topic of 4 partitions is read by (a) confluent-kafka alone, (b) `driftbus run` in a
process of its own, with everything that it does: decode, count, publish parts, judge, snapshot,
commit, (c) stock Faust with fastavro and river's ADWIN, on fewer events because it is slow. They
take turns; each is timed from its first to its last event, without its start. Broker and worker
share the machine's cores, as do broker and consumer in (a).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import events
from benchmarks.measure import Ratio, Report
from driftbus.schemas.config import Config
from driftbus.stream.files.training import save_profile
from driftbus.stream.worker.topics import admin_client, create_topics

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.broker import Broker
from harness.process import Child, free_ports

PARTITIONS = 4
_POLL_S = 0.2
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Timed:
    """What one candidate did.

    Args:
        events: between the first and the last look.
        seconds: the same, wall clock.
        cpu: seconds of all its threads.
    """

    events: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


class Stage:
    """A broker with a loaded topic."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = Path(tempfile.mkdtemp(prefix="driftbus-bench-"))
        self.broker = Broker()
        self.broker.start()
        data = events.rows(20_000)
        self.schema = self.folder / "event.avsc"
        self.schema.write_text(json.dumps(events.SCHEMAS["nullable"]))
        save_profile(events.profile(data), self.folder / "profile.json")
        self.topic = self.broker.create_topic("predictions", PARTITIONS)
        encoded = events.Encoded(data, framed=False)
        self.broker.produce(
            self.topic,
            self._records(encoded, count),
            {"linger.ms": 20, "batch.size": 262_144, "queue.buffering.max.messages": 300_000},
        )

    def _records(self, encoded: events.Encoded, count: int) -> Iterator[dict[str, Any]]:
        for first in range(0, count, 10_000):
            for i, value in enumerate(encoded.values(first, min(10_000, count - first)), first):
                yield {"value": value, "partition": i % PARTITIONS}

    def close(self) -> None:
        self.broker.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def script(self, module: str, *arguments: object) -> Timed:
        """A candidate that measures itself."""
        command = [sys.executable, "-m", f"benchmarks.{module}", self.broker.bootstrap, self.topic]
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stderr}")
        return Timed(**json.loads(done.stdout.splitlines()[-1]))

    def worker(self, name: str) -> Timed:
        """A worker of a deployment of its own, from the beginning of the topic to its end."""
        (port,) = free_ports(1)
        config = events.config(
            topic=self.topic,
            schema_file=str(self.schema),
            profile=str(self.folder / "profile.json"),
            app=name,
            kafka={"bootstrap": self.broker.bootstrap},
            topics={topic: f"{name}.{topic}" for topic in ("summaries", "drift", "retrain", "state", "deadletter")},
            run={"metrics_port": port, "log": "json"},
        )
        create_topics(admin_client(config.kafka), config)
        child = Child(
            [sys.executable, "-m", "driftbus", "run", "-c", _written(config, self.folder / f"{name}.json")],
            self.folder / f"{name}.log",
            environment={"TMPDIR": str(self.folder)},
        )
        try:
            return self._watch(child, f"http://127.0.0.1:{port}/metrics")
        finally:
            code = child.stop()
            if code:
                raise RuntimeError(f"the worker ended with {code}:\n{child.tail()}")

    def _watch(self, child: Child, url: str) -> Timed:
        process, deadline = psutil.Process(child.pid), time.monotonic() + _PATIENCE_S
        first: tuple[int, float, float] | None = None
        while time.monotonic() < deadline and child.returncode is None:
            count, now, cpu = _counted(url), time.perf_counter(), sum(process.cpu_times()[:2])
            if count and first is None:
                first = count, now, cpu
            if first is not None and count >= self.count:
                return Timed(count - first[0], now - first[1], cpu - first[2])
            time.sleep(_POLL_S)
        raise RuntimeError(f"the worker did not come to the end of the topic:\n{child.tail()}")


def _written(config: Config, path: Path) -> Path:
    path.write_text(config.model_dump_json(by_alias=True, exclude_defaults=True))
    return path


def _counted(url: str) -> int:
    """Events that the worker has counted; 0 while it starts."""
    try:
        lines = httpx.get(url, timeout=5).text.splitlines()
    except httpx.TransportError:
        return 0
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("driftbus_events_total{"))


def run(*, quick: bool) -> Report:
    """Events per second of the three, and their ratios."""
    rounds, count, few = (2, 600_000, 8_000) if quick else (5, 2_000_000, 30_000)
    stage = Stage(count)
    try:
        candidates: list[Callable[[int], Timed]] = [
            lambda _: stage.script("consume_only", count),
            lambda i: stage.worker(f"bench-{i}"),
            lambda _: stage.script("stock_faust", stage.schema, few),
        ]
        found: list[list[Timed]] = [[], [], []]
        for i in range(rounds):
            for k in (0, 1, 2) if i % 2 == 0 else (2, 1, 0):
                found[k].append(candidates[k](i))
    finally:
        stage.close()
    consume, worker, stock = (tuple(t.rate for t in timed) for timed in found)
    cpu = [sorted(1e6 * t.cpu / t.events for t in timed)[rounds // 2] for timed in found]
    return Report(
        f"through Faust on Apache Kafka: {count:,} events, {PARTITIONS} partitions, 1 worker, broker on the same cores",
        [
            Ratio(
                "driftbus run / confluent-kafka consume only",
                worker,
                consume,
                "ev/s",
                wanted=0.2,
                note=f"CPU of the process {cpu[1]:.2f} against {cpu[0]:.2f} us an event",
            ),
            Ratio(
                "driftbus run / Faust + fastavro + river ADWIN",
                worker,
                stock,
                "ev/s",
                wanted=20,
                note=f"CPU of the process {cpu[1]:.2f} against {cpu[2]:.1f} us an event",
            ),
        ],
    )

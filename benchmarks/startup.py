"""How long a worker takes to be ready with much behind it: many monitors, and an hour of their snapshots uncompacted.

Judges are filled in this process and their snapshots are written as a worker would, every minute of an hour, which is
what a state topic holds at most before its cleaner comes by (a month leaves no more). Then `driftbus run` is started,
and timed from its first instruction to /readyz, with the times of what it says on the way.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer

from benchmarks import events
from benchmarks.judging import FEATURES, Parts, profiles_of
from benchmarks.measure import Figure, Report
from driftbus.schemas.codec import encode_part
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.events import MonitorState
from driftbus.stream.judge import Judge
from driftbus.stream.plan import build_plans
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.snapshots import cut_state
from driftbus.stream.worker.topics import admin_client, create_topics

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.broker import Broker
from harness.process import Child, free_ports

PANES, ROWS, START = 60, 100, 176_000_000
COPIES = 60
_PATIENCE_S = 600.0
WANTED_S = 30.0


class Stage:
    """A deployment of many monitors with their state on Kafka."""

    def __init__(self, monitors: int, copies: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="driftbus-startup-"))
        self.data = self.folder / "kafka"
        self.broker = Broker({"log.cleaner.backoff.ms": 1_000}, data=self.data)
        self.broker.start()
        names = [f"model-{i:04d}" for i in range(monitors)]
        schema = self.folder / "event.avsc"
        schema.write_text(json.dumps(events.SCHEMAS["nullable"]))
        for name in names:
            self.broker.create_topic(name, unique=False)
        self.document: dict[str, Any] = {
            "kafka": {"bootstrap": self.broker.bootstrap},
            "monitors": {n: {"predictions": {"topic": n, "time": "ts", "schema_file": str(schema)}} for n in names},
        }
        self.config = Config.model_validate(self.document)
        create_topics(admin_client(self.config.kafka), self.config)
        self._fill(names, copies)

    def _fill(self, names: list[str], copies: int) -> None:
        data = events.rows(20_000)
        profiles = profiles_of(data, names)
        for profile in profiles.values():
            publish_profile(self.config.kafka, self.config.topics.profiles, profile)
        plans = build_plans(self.config, profiles, dict.fromkeys(names, 1))
        projection = plans.topics[names[0]].projection
        block = BatchDecoder(projection, events.OneSchema()).decode(events.Encoded(data).values(0, 20_000)).block
        judges, offsets = [Judge(plans, shard) for shard in range(plans.shards)], [0] * plans.shards
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 20, "compression.type": "lz4"})
        parts = Parts(plans, block, ROWS)
        for tick in range(START, START + PANES):
            for monitor, part in parts.of_pane(tick, START):
                shard = plans.monitors[monitor].shard
                self._send(producer, self.config.topics.summaries, shard, encode_part(part))
                judges[shard].apply(offsets[shard], part)
                offsets[shard] += 1
        producer.flush()
        self.state_bytes = 0
        for shard, judge in enumerate(judges):
            for name, monitor in judge.monitors.items():
                state = MonitorState(name, monitor.offset, judge.snapshot(name))
                for _ in range(copies):
                    for key, value in cut_state(state, f"{self.config.app}/{name}/before", "A"):
                        self._send(producer, self.config.topics.state, shard, value, key)
                        self.state_bytes += len(value)
        producer.flush()

    @staticmethod
    def _send(producer: Producer, topic: str, partition: int, value: bytes, key: str | None = None) -> None:
        while True:
            try:
                producer.produce(topic, value, key, partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def wait_for_the_cleaner(self) -> int:
        """Bytes of the state topic on the disk, once compaction has nothing more to do."""
        sizes = [-1]
        while len(sizes) < 4 or len(set(sizes[-4:])) > 1:
            time.sleep(2.0)
            files = self.data.glob(f"{self.config.topics.state}-*/*.log")
            sizes.append(sum(file.stat().st_size for file in files))
        return sizes[-1]

    def start(self) -> tuple[float, list[str]]:
        """Seconds until ready, and what was said when."""
        (port,) = free_ports(1)
        path, log = self.folder / "driftbus.json", self.folder / "log"
        path.write_text(json.dumps(self.document | {"run": {"metrics_port": port, "log": "json"}}))
        log.unlink(missing_ok=True)
        wall, begun = time.time(), time.perf_counter()
        worker = Child([sys.executable, "-m", "driftbus", "run", "-c", path], log)
        try:
            worker.wait_until(lambda: _ready(port), _PATIENCE_S, "driftbus run")
            seconds = time.perf_counter() - begun
        finally:
            worker.kill()
        return seconds, [_told(line, wall) for line in log.read_text().splitlines() if line.startswith("{")]

    def close(self) -> None:
        self.broker.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _ready(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False


def _told(line: str, wall: float) -> str:
    said = json.loads(line)
    at = datetime.fromisoformat(said["timestamp"].replace("Z", "+00:00")).timestamp() - wall
    return f"{at:6.1f} s  {said['event'][:110]}"


def run(*, quick: bool) -> Report:
    """Seconds until ready."""
    monitors, copies = (10, 10) if quick else (100, COPIES)
    stage = Stage(monitors, copies)
    try:
        left = stage.wait_for_the_cleaner()
        stage.start()
        found = [stage.start() for _ in range(3)]
        seconds, said = sorted(found)[1]
    finally:
        stage.close()
    return Report(
        f"start-up: {monitors} monitors x {FEATURES} columns, {copies} snapshots of each on the state topic",
        [
            Figure(
                "from start to ready",
                f"{seconds:.1f} s",
                f"< {WANTED_S:g} s",
                seconds < WANTED_S,
                note=f"of {stage.state_bytes >> 20:,} MiB of snapshots compaction had left {left >> 20:,} MiB",
            )
        ],
        said,
    )

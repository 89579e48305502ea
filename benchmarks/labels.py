"""Labels: `driftbus run` that joins a label to every tenth prediction against the same without labels; and its store.

Both read the same preloaded topic of 4 partitions, in turns, and are timed from their first to their last
event; with labels until every label has found its prediction. Then a store is lost and made again.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks import events
from benchmarks.measure import Figure, Ratio, Report
from benchmarks.through_faust import PARTITIONS, Stage, Timed
from driftbus.detectors.reference import CategoryData, build_profile
from driftbus.schemas.config import Config
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.topics import admin_client, create_topics

from harness.process import Child, free_ports  # isort: skip

LABEL: dict[str, Any] = {
    "type": "record",
    "name": "Outcome",
    "fields": [{"name": "id", "type": "string"}, {"name": "y", "type": "string"}],
}
WAIT_MS = 5_000
_PATIENCE_S = 900.0
_POLL_S = 0.2


class Labelled(Stage):
    """A broker with predictions of ids of their own, and labels for a tenth of them, up to half the time later."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.end_ms = time.time_ns() // 1_000_000 - 60_000
        self.span_ms = count * 1_000 // events.EVENTS_PER_S
        self.start_ms = self.end_ms - self.span_ms
        super().__init__(count)
        rng = np.random.default_rng(11)
        chosen = rng.choice(count, count // 7, replace=False)
        times = self.start_ms + chosen * 1_000 // events.EVENTS_PER_S + rng.integers(0, self.span_ms // 2, chosen.size)
        order = np.argsort(times, kind="stable")
        order = order[times[order] + WAIT_MS < self.end_ms - 1_000][: count // 10]
        chosen, times = chosen[order], times[order]
        self.labels = chosen.size
        self.label_schema = self.folder / "outcome.avsc"
        self.label_schema.write_text(json.dumps(LABEL))
        self.label_topic = self.broker.create_topic("labels", PARTITIONS)
        said = (rng.random(chosen.size) < 0.3).astype(int).tolist()
        records = (
            {
                "value": b"\x20" + f"{i:016x}".encode() + b"\x02" + (b"1" if y else b"0"),
                "partition": i % PARTITIONS,
                "timestamp": at,
            }
            for i, at, y in zip(chosen.tolist(), times.tolist(), said, strict=True)
        )
        self.broker.produce(self.label_topic, records, {"linger.ms": 20, "queue.buffering.max.messages": 300_000})

    def _records(self, encoded: events.Encoded, count: int) -> Iterator[dict[str, Any]]:
        for first in range(0, count, 10_000):
            for i, value in enumerate(encoded.values(first, min(10_000, count - first), own_ids=True), first):
                yield {"value": value, "partition": i % PARTITIONS, "timestamp": self._time(i)}

    def _time(self, i: int) -> int:
        return self.start_ms + i * 1_000 // events.EVENTS_PER_S

    def config(self, name: str, port: int, *, labels: bool) -> Config:
        """Of a deployment of its own."""
        found = events.config(
            topic=self.topic,
            schema_file=str(self.schema),
            app=name,
            kafka={"bootstrap": self.broker.bootstrap},
            topics={
                topic: f"{name}.{topic}"
                for topic in (
                    "summaries",
                    "drift",
                    "incidents",
                    "performance",
                    "retrain",
                    "state",
                    "profiles",
                    "deadletter",
                )
            },
            run={"metrics_port": port, "log": "json", "store": str(self.folder / "store")},
        ).model_dump(mode="json", exclude_defaults=True)
        monitor = found["monitors"]["bench"]
        if labels:
            monitor["labels"] = {
                "topic": self.label_topic, "schema_file": str(self.label_schema), "id": "id", "label": "y",
            }  # fmt: skip
            monitor["join"] = {"horizon": f"{self.span_ms // 1000}s", "wait": f"{WAIT_MS // 1000}s"}
        return Config.model_validate(found)

    def run_worker(self, name: str, *, labels: bool) -> tuple[Timed, Child, Config]:
        """A worker from the beginning of the topics to their end; it still runs."""
        (port,) = free_ports(1)
        config = self.config(name, port, labels=labels)
        create_topics(admin_client(config.kafka), config)
        publish_profile(config.kafka, config.topics.profiles, events.profile(events.rows(20_000)))
        if labels:
            said = CategoryData(["0"] * 700 + ["1"] * 300, role="label")
            publish_profile(config.kafka, config.topics.profiles, build_profile("bench", "labels", {"y": said}))
        child = self.start(config)
        try:
            return self._time_of(child, port, labels), child, config
        except BaseException:
            child.stop()
            raise

    def start(self, config: Config) -> Child:
        """`driftbus run`."""
        path = self.folder / f"{config.app}.json"
        path.write_text(config.model_dump_json(by_alias=True, exclude_defaults=True))
        return Child([sys.executable, "-m", "driftbus", "run", "-c", path], self.folder / f"{config.app}.log")

    def _time_of(self, child: Child, port: int, labels: bool) -> Timed:
        process, deadline = psutil.Process(child.pid), time.monotonic() + _PATIENCE_S
        first: tuple[int, float, float] | None = None
        while time.monotonic() < deadline and child.returncode is None:
            found = series(port)
            count, now, cpu = found.get("events/predictions", 0), time.perf_counter(), sum(process.cpu_times()[:2])
            if count and first is None:
                first = int(count), now, cpu
            joined = not labels or (found.get("events/labels", 0) >= self.labels and found.get("waiting", 1) == 0)
            if first is not None and count >= self.count and joined:
                return Timed(int(count) - first[0], now - first[1], cpu - first[2])
            time.sleep(_POLL_S)
        raise RuntimeError(f"the worker did not come to the end of the topics:\n{child.tail()}")


def series(port: int) -> dict[str, float]:
    """What the benchmark looks at in a worker's metrics; nothing while it starts."""
    found: dict[str, float] = {}
    try:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text.splitlines()
    except httpx.TransportError:
        return found
    names = {
        "driftbus_join_waiting_labels{": "waiting",
        "driftbus_join_predictions{": "predictions",
        "driftbus_join_store_bytes{": "bytes",
        "driftbus_join_rebuilt_ratio{": "rebuilt",
    }
    for line in lines:
        value = float(line.rsplit(" ", 1)[1]) if not line.startswith("#") else 0.0
        if line.startswith("driftbus_events_total{"):
            key = "events/labels" if 'stream="labels"' in line else "events/predictions"
            found[key] = found.get(key, 0.0) + value
        for start, key in names.items():
            if line.startswith(start):
                found[key] = found.get(key, 0.0) + value
    return found


def run(*, quick: bool) -> Report:
    """Events per second with and without labels; what a waiting prediction takes; how fast a store is made again."""
    rounds, count = (2, 600_000) if quick else (3, 2_000_000)
    stage = Labelled(count)
    with_labels: list[Timed] = []
    without: list[Timed] = []
    figures: list[Figure] = []
    try:
        for i in range(rounds):
            for labels in (False, True) if i % 2 == 0 else (True, False):
                timed, child, config = stage.run_worker(f"bench-{i}-{labels}", labels=labels)
                (with_labels if labels else without).append(timed)
                if labels and i == rounds - 1:
                    figures = _of_store(stage, child, config)
                elif child.stop():
                    raise RuntimeError(child.tail())
    finally:
        stage.close()
    cpu = [sorted(1e6 * t.cpu / t.events for t in timed)[rounds // 2] for timed in (with_labels, without)]
    ratio = Ratio(
        "driftbus run with a label for every tenth prediction / without labels",
        tuple(t.rate for t in with_labels),
        tuple(t.rate for t in without),
        "predictions/s",
        wanted=0.5,
        note=f"CPU of the process {cpu[0]:.2f} against {cpu[1]:.2f} us a prediction",
    )
    title = f"labels joined on Apache Kafka: {count:,} predictions, {stage.labels:,} labels, {PARTITIONS} partitions"
    return Report(title, [ratio, *figures])


def _of_store(stage: Labelled, child: Child, config: Config) -> list[Figure]:
    """Disk and memory of what waits, and a store that is lost and made again."""
    port = config.run.metrics_port
    time.sleep(10.0)  # what is in memory goes to the disk
    found = series(port)
    waiting, disk = found["predictions"], found["bytes"]
    if child.stop():
        raise RuntimeError(child.tail())
    shutil.rmtree(Path(config.run.store))
    again = stage.start(config)
    began: float | None = None
    peak = 0
    try:
        process, deadline = psutil.Process(again.pid), time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and again.returncode is None:
            rebuilt = series(port).get("rebuilt", -1.0)
            peak = max(peak, process.memory_info().rss)
            if rebuilt >= 0 and began is None:
                began = time.perf_counter()
            if rebuilt >= PARTITIONS:
                break
            time.sleep(_POLL_S)
        seconds = time.perf_counter() - (began or 0.0)
        base = process.memory_info().rss
    finally:
        again.stop()
    return [
        Figure("disk of a waiting prediction", f"{disk / waiting:.0f} bytes", note=f"{waiting:,.0f} of them"),
        Figure("a lost store is made again", f"{waiting / seconds:,.0f} predictions/s", note=f"{seconds:.0f} s in all"),
        Figure("resident while it is made again", f"{peak >> 20} MiB", note=f"{base >> 20} MiB afterwards"),
    ]

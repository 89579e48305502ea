"""A broker, the topics, two workers: one that is watched all the time, one that comes and goes."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from benchmarks.soak.world import EVENT, HORIZON_DAYS, LABEL, SOURCES, WAIT_MS, Record, reference
from driftbus.schemas.config import Config
from driftbus.schemas.events import Published
from driftbus.schemas.jsonlines import event_json
from driftbus.stream.cli.main import run
from driftbus.stream.replay.topicreplay import prepare
from driftbus.stream.worker.topics import create_topics

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from faults.checker import Verdict, compare, history_of, raws_of
from harness.broker import Broker
from harness.process import Child, free_ports

PARTITIONS = 2
GROUPS = 4
"""Versions and segments of a stream with detectors of their own: fewer than there will be."""

_ROLES = ("summaries", "drift", "incidents", "performance", "retrain", "state", "profiles", "deadletter")
_BROKER = {"log.cleaner.backoff.ms": 5_000, "log.retention.check.interval.ms": 20_000}


class Stage:
    """Everything of one run, in a folder of its own.

    Args:
        end_of_reference_ms: event time at which the stream begins.
        speed: seconds of event time per second.
    """

    def __init__(self, end_of_reference_ms: int, speed: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="driftbus-soak-"))
        self.data = self.folder / "kafka"
        self.broker = Broker(_BROKER, data=self.data)
        self.broker.start()
        forever = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
        self.topics = {role: self.broker.create_topic(role, PARTITIONS, forever) for role in _source_roles()}
        (self.folder / "event.avsc").write_text(json.dumps(EVENT))
        (self.folder / "label.avsc").write_text(json.dumps(LABEL))
        self.config = Config.model_validate(self._document())
        create_topics(self.broker.admin, self.config)
        self._in_simulated_time(speed)
        for source in SOURCES:
            self._publish_profile(source.name, reference(source, end_of_reference_ms))
        self._producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap, "linger.ms": 50, "acks": "all", "log_level": 0}
        )
        self._refused: list[str] = []
        self.sent = 0
        self._started = 0

    def _document(self) -> dict[str, Any]:
        monitors: dict[str, Any] = {}
        mapping = {"schema_file": str(self.folder / "event.avsc"), "time": "ts", "id": "id", "version": "version",
                   "score": "score"}  # fmt: skip
        for source in SOURCES:
            stream = "predictions" if source.labelled else "features"
            monitors[source.name] = {
                stream: {"topic": self.topics[source.name], **mapping},
                "segments": ["country"],
                "detection": {"events_per_second": source.per_s, "max_groups": GROUPS},
                "retrain": {"any": [{"drift": {"columns": 1}}], "cooldown": "2d", "pending": "never"},
            }
            if source.labelled:
                monitors[source.name]["labels"] = {
                    "topic": self.topics[f"{source.name}.labels"],
                    "schema_file": str(self.folder / "label.avsc"),
                    "id": "id",
                    "label": "outcome",
                }
                # the stream's clock runs apart from ours: silence is none
                monitors[source.name]["join"] = {"horizon": f"{HORIZON_DAYS}d", "wait": f"{WAIT_MS}ms", "grace": "400d"}
                monitors[source.name]["performance"] = {"min_coverage": 0.1}
        return {
            "app": "soak",
            "kafka": {"bootstrap": self.broker.bootstrap, "session_timeout": "10s"},
            "monitors": monitors,
            "topics": {role: f"soak.{role}" for role in _ROLES} | {"summaries_partitions": 2},
            "limits": {"pane": "1m", "lateness": "2m"},
            "run": {"snapshot_every": "10s", "log": "json", "seal_after": "0s"},
        }

    def _in_simulated_time(self, speed: float) -> None:
        """What retention and compaction do in a month, in the time that this month takes."""
        topics = self.config.topics
        week = {"retention.ms": f"{7 * 86_400_000 / speed:.0f}", "segment.ms": f"{86_400_000 / speed:.0f}"}
        short = {"segment.ms": "30000", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "30000"}
        wanted = {topics.summaries: week, topics.state: short}
        changes = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in new.items()
                ],
            )
            for topic, new in wanted.items()
        ]
        for future in self.broker.admin.incremental_alter_configs(changes).values():
            future.result(30)

    def _publish_profile(self, monitor: str, rows: list[dict[str, Any]]) -> None:
        train = self.folder / f"{monitor}.csv"
        with train.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        labels = ["--label", "outcome"] if self.config.monitors[monitor].labels else ["--ignore", "outcome"]
        arguments = ["profile", train, "--monitor", monitor, "-c", self._written("check"), "--publish", *labels]
        with (self.folder / "profile.log").open("a") as said, contextlib.redirect_stdout(said):
            code = run([str(argument) for argument in arguments])
        if code:
            raise RuntimeError(f"driftbus profile ended with {code}")

    def _written(self, name: str, **run: Any) -> Path:
        path = self.folder / f"{name}.json"
        document = self._document()
        document["run"] |= {"store": str(self.folder / f"store-{name}"), **run}
        path.write_text(json.dumps(document))
        return path

    def start(self, name: str) -> tuple[Child, int]:
        """A worker and the port of its metrics; workers of one name share a store, one after the other."""
        (port,) = free_ports(1)
        self._started += 1
        path = self._written(name, metrics_port=port)
        return Child([sys.executable, "-m", "driftbus", "run", "-c", path], self.folder / f"{name}.log"), port

    def store(self, name: str) -> Path:
        """Where workers of that name keep what waits for labels."""
        return self.folder / f"store-{name}"

    def produce(self, records: list[Record]) -> None:
        """Queue records."""
        for record in records:
            while True:
                try:
                    self._producer.produce(
                        self.topics[record.role],
                        record.value,
                        record.key,
                        timestamp=record.timestamp,
                        on_delivery=self._delivered,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._refused.append(str(error))
        else:
            self.sent += 1

    def flush(self) -> None:
        """All that was produced is in the log."""
        if self._producer.flush(120) or self._refused:
            raise RuntimeError(f"not everything was produced: {self._refused[:3]}")

    def verdict(self, patience_s: float) -> tuple[int, Verdict]:
        """Events published, and how they compare with a replay's, once they are complete or patience is over."""
        found: list[Published] = []
        prepare(self.config, "", None, None).run(found.append, lambda count: None)
        wanted = {event.id: event_json(event) for event in found}
        topics = self.config.topics
        names = (topics.drift, topics.incidents, topics.performance, topics.retrain)
        deadline = time.monotonic() + patience_s
        while True:
            history = history_of(raws_of(self.broker, names))
            if wanted.keys() <= history.events.keys() or time.monotonic() > deadline:
                return len(history.events), compare(history, wanted.values())
            time.sleep(1)

    def close(self, *, keep: bool = False) -> None:
        self.broker.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _source_roles() -> list[str]:
    return [role for s in SOURCES for role in (s.name, f"{s.name}.labels") if s.labelled or "." not in role]

"""One configuration on topics of its own: workers to start, kill and freeze, a broker to harm, and what was published.

A supervisor is part of it (`tend`): a worker that ended by itself with an exit code that asks for it is started again.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka.scenario import SCHEMA

from driftbus.schemas.config import Config
from driftbus.schemas.events import Published
from driftbus.schemas.framing import SchemaKey, by_id, frame
from driftbus.schemas.jsonlines import event_json
from driftbus.stream.replay.topicreplay import prepare
from driftbus.stream.worker.profiles import publish_profile
from driftbus.stream.worker.topics import create_topics
from faults.checker import Raw, history_of, published_as, raws_of
from faults.load import LABEL, UNREADABLE, Sender, Sent, reference
from faults.shape import Shape, document_of
from faults.worker import Worker
from harness.broker import Broker
from harness.clients import Kafka, patiently
from harness.nursery import Nursery
from harness.process import Child, Process, free_ports, wait_for
from harness.registry import Registry
from harness.registryproxy import RegistryProxy

_EXPECTED = {False: {3}, True: {0, 3, -signal.SIGKILL, -signal.SIGTERM}}
"""Exit codes of workers, by whether they were told to end. 3: something could not be reached; 4 would be a failure.

SIGTERM ends a worker at once while it is still importing.
"""


_SCHEMAS = 8
"""Of each source topic, one after the other, where there is a registry."""

_CONTRADICTIONS = tuple(
    f"driftbus_{name}_total{{" for name in ("contradictions", "join_contradictions", "overtaken_outcomes")
)


@dataclass
class Deployment:
    """A configuration that runs.

    Args:
        kafka: one broker, or three.
        shape: what it is like.
        nursery: forks workers; None: every worker is a program started anew.
        rng: decides what nobody else does.
        overrides: changes to the configuration, section by section.
        registry: where the shape asks for one.
    """

    kafka: Kafka
    shape: Shape = field(default_factory=Shape)
    nursery: Nursery | None = None
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    registry: Registry | None = None

    def __post_init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="driftbus-faults-"))
        kept = {"retention.ms": "-1"}  # event times are of 2023
        self.source = self.kafka.create_topic("predictions", self.shape.partitions, kept)
        self.labelled = self.kafka.create_topic("labels", self.shape.partitions, kept) if self.shape.labels else ""
        self.registry_proxy: RegistryProxy | None = None
        if self.shape.registry:
            assert self.registry is not None
            self.registry_proxy = RegistryProxy(self.registry.url)
            self.registry_proxy.start()
        (self.home / "scored.avsc").write_text(json.dumps(SCHEMA))
        (self.home / "outcome.avsc").write_text(json.dumps(LABEL))
        self.config = Config.model_validate(self.document())
        create_topics(self.kafka.admin, self.config)
        for profile in reference():
            if profile.stream == "predictions" or self.shape.labels:
                publish_profile(self.config.kafka, self.config.topics.profiles, profile)
        self.workers: list[Worker] = []
        self.notes: list[str] = []
        """What is remarkable, and nobody's fault here."""
        self.problems: list[str] = []
        """What no fault excuses: exit codes, for example."""
        self.excused: set[int] = set()
        """Exit codes that a fault explains, of workers that nobody asked to end."""
        self.broker_down = self.broker_frozen = False
        self.wanted = self.shape.workers
        self.sender: Sender | None = None
        self.records: dict[str, Raw] = {}
        """What must be published, to the last byte, by id; empty if only the values are known."""
        self._replayed: dict[str, dict[str, Any]] | None = None
        self.sent: list[Sent] = []

    def document(self) -> dict[str, Any]:
        """driftbus.yaml."""
        registry = self.registry_proxy.url if self.registry_proxy else ""
        document = document_of(self.shape, self.home, self.source, self.labelled, self.kafka.outside, registry)
        for section, values in self.overrides.items():
            document[section] = {**document.get(section, {}), **values}
        return document

    # workers

    def start(self, environment: Mapping[str, str] = {}) -> Worker:
        """One more worker; it is not waited for. One in ten is a program of its own, as people start it.

        Args:
            environment: added to this process's; with one it is a program of its own.
        """
        (port,) = free_ports(1)
        document, number = self.document(), len(self.workers)
        document["run"] |= {"metrics_port": port}
        path, log = self.home / f"driftbus-{number}.yaml", self.home / f"worker-{number}.log"
        path.write_text(json.dumps(document))  # JSON is YAML
        process: Process
        if self.nursery is None or environment or self.rng.random() < self.shape.executed:
            process = Child([sys.executable, "-m", "driftbus", "run", "-c", path], log, environment=environment)
        else:
            process = self.nursery.start(["run", "-c", path], log)
        self.workers.append(Worker(process, port))
        return self.workers[-1]

    def running(self) -> list[Worker]:
        """Workers that run, frozen ones too."""
        return [worker for worker in self.workers if worker.runs]

    def choose(self, rng: random.Random, *, frozen: bool = False) -> Worker | None:
        """One of the running workers."""
        found = [worker for worker in self.running() if frozen or not worker.frozen]
        return rng.choice(found) if found else None

    def kill(self, worker: Worker) -> None:
        """SIGKILL."""
        worker.asked = True
        worker.process.kill()

    def freeze(self, worker: Worker) -> None:
        """SIGSTOP: it will wake and not know that it was asleep."""
        worker.frozen = True
        worker.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to all that are frozen."""
        for worker in self.workers:
            if worker.frozen:
                worker.frozen = False
                worker.process.signal(signal.SIGCONT)

    def ask_to_stop(self, worker: Worker) -> None:
        """SIGTERM; `tend` looks at how it ends."""
        worker.asked = True
        worker.process.signal(signal.SIGTERM)

    def tend(self) -> None:
        """Start again what ended by itself, and note what ended as nothing should; what supervisors do."""
        for worker in self.workers:
            code = worker.process.returncode
            if code is not None and code not in _EXPECTED[worker.asked] | self.excused:
                told = f"{worker.process.log.name} ended with {code}:\n{worker.process.tail(30)}"
                if told not in self.problems:
                    self.problems.append(told)
        while len(self.running()) < self.wanted and not self.problems:
            self.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once all workers that should run have taken up their partitions.

        Raises:
            AssertionError: they have not, after so many seconds; or a worker failed.
        """

        def done() -> bool:
            self.tend()
            assert not self.problems, self.problems[0]
            return all(worker.ready for worker in self.running())

        wait_for(done, timeout_s, "workers to be ready", every_s=0.2)

    # the broker, where there is only one

    @property
    def _broker(self) -> Broker:
        assert isinstance(self.kafka, Broker)
        return self.kafka

    def kill_broker(self) -> None:
        """SIGKILL, as a crashed machine would."""
        if not self.broker_down:
            self.broker_down, self.broker_frozen = True, False
            self._broker.kill()

    def freeze_broker(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        if not self.broker_down:
            self.broker_frozen = True
            self._broker.freeze()

    def heal_broker(self) -> None:
        """It runs, and answers."""
        if self.broker_down:
            self._broker.start()
            self.broker_down = False
        if self.broker_frozen:
            self._broker.thaw()
            self.broker_frozen = False

    # records in, events out

    def send(self, records: list[Sent], per_second: float) -> Sender:
        """Send in the background."""
        if self.registry_proxy:
            records = self._framed(records)
        self.sent = self.sent + records
        self.sender = Sender(self.kafka.bootstrap, [self.source, self.labelled], records, per_second)
        self.sender.start()
        return self.sender

    def _framed(self, records: list[Sent]) -> list[Sent]:
        """With ids of the registry: producers change their schema again and again, and it stays the same but for its
        name."""
        assert self.registry is not None
        told = {False: (self.source, SCHEMA), True: (self.labelled, LABEL)}
        keys: dict[tuple[bool, int], SchemaKey] = {}
        found = []
        for place, one in enumerate(records):
            number = place * _SCHEMAS // len(records)
            if (one.labels, number) not in keys:
                topic, schema = told[one.labels]
                text = json.dumps(schema | {"name": f"{schema['name']}{number}"})
                keys[one.labels, number] = by_id(self.registry.register(f"{topic}-{number}-value", text))
            readable = one.value != UNREADABLE
            found.append(one._replace(value=frame(keys[one.labels, number], one.value)) if readable else one)
        return found

    def wait_sent(self, timeout_s: float = 300.0) -> None:
        """Everything is acknowledged.

        What stands in the topics may be more or less all the same when a broker is killed: what a producer is told is
        between it and Kafka. It is noted; what is published must be what those logs say.
        """
        assert self.sender is not None
        self.sender.hurry.set()
        self.sender.join(timeout_s)
        assert not self.sender.is_alive(), f"{self.sender.sent} of {len(self.sent)} records acknowledged"
        assert not self.sender.failed, self.sender.failed[:3]
        self.close_added()
        for labels, topic in enumerate([self.source, self.labelled]):
            if topic:
                stand = self.kafka.end_offsets(topic)
                wanted = [sum(one.labels == labels and one.partition == p for one in self.sent)
                          for p in range(self.shape.partitions)]  # fmt: skip
                if stand != wanted:
                    self.notes.append(f"{topic} has {stand} records, {wanted} were acknowledged")

    def close_added(self) -> None:
        """Send the last records, which close every range, into partitions that were added too."""
        added = range(self.shape.partitions, len(self.kafka.end_offsets(self.source)))
        last = [one for one in self.sent if one.key.startswith(b"end") and one.partition == 0 and not one.labels]
        for partition in set(added) - {one.partition for one in self.sent}:
            mine = [one._replace(partition=partition) for one in last]
            records = [
                {"partition": one.partition, "key": one.key, "value": one.value, "timestamp": one.timestamp}
                for one in mine
            ]
            self.kafka.produce(self.source, records, {"enable.idempotence": True})
            self.sent = self.sent + mine

    def replayed(self, by_command: bool = False) -> dict[str, dict[str, Any]]:
        """By id, what `driftbus replay` makes of the source topics as they stand, as JSON values; computed once.

        Args:
            by_command: run the command, not its functions in this process.
        """
        if self._replayed is None:
            found = self._command_replays() if by_command else patiently(self._replays)
            self._replayed = {event["id"]: event for event in found}
        return self._replayed

    def _replays(self) -> list[dict[str, Any]]:
        found: list[Published] = []
        prepare(self.config, "", None, None).run(found.append, lambda count: None)
        if not self.config.registry.url:
            self.records = {event.id: published_as(event, self.config) for event in found}
        return [event_json(event) for event in found]

    def _command_replays(self) -> list[dict[str, Any]]:
        path, out = self.home / "replay.yaml", self.home / "replay.jsonl"
        path.write_text(json.dumps(self.document()))
        command: list[str | Path] = [sys.executable, "-m", "driftbus", "replay", "-c", path, "--out", out]
        done = Child(command, self.home / "replay.log")
        assert done.wait(120) == 0, done.tail()
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    def raws(self) -> list[Raw]:
        """What stands on the topics of results."""
        topics = self.config.topics
        names = [topics.drift, topics.incidents, topics.performance, topics.retrain]
        return raws_of(self.kafka, names)

    def contradictions(self) -> float:
        """What running workers count of content that came after a pane was sealed; 0 as long as live is the log."""
        found = 0.0
        for worker in self.running():
            for line in worker.get("/metrics")[1].splitlines():
                if line.startswith(_CONTRADICTIONS):
                    found += float(line.rsplit(" ", 1)[1])
        return found

    def settle(self, timeout_s: float = 120.0) -> None:
        """Wait until everything that the logs lead to is published.

        Raises:
            AssertionError: it is not, after so many seconds; or a worker failed.
        """
        wanted = self.replayed().keys()

        def done() -> bool:
            self.tend()
            assert not self.problems, self.problems[0]
            return wanted <= history_of(self.raws()).events.keys()

        wait_for(done, timeout_s, "all events", every_s=1.0)

    def stop_all(self) -> None:
        """SIGTERM to all at once; each must end with 0, or at once if it is still importing."""
        last = self.running()
        for worker in last:
            self.ask_to_stop(worker)
        for worker in last:
            if (code := worker.process.stop(40.0)) not in (0, -signal.SIGTERM):
                self.problems.append(f"{worker.process.log.name} ended with {code}:\n{worker.process.tail(30)}")

    def said(self) -> str:
        """The ends of all workers' logs."""
        return "\n".join(f"--- {w.process.log}, {w.process.returncode}\n{w.process.tail(12)}" for w in self.workers)

    def kill_all(self) -> None:
        """SIGKILL to what runs."""
        for worker in self.running():
            worker.process.kill()

    def close(self) -> None:
        """Kill what runs, and take away what stands in front of the registry."""
        self.kill_all()
        if self.registry_proxy:
            self.registry_proxy.close()

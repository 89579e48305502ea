"""An installation of driftbus as a user has it: a configuration file, topics, workers; and what they have counted."""

from __future__ import annotations

import io
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import httpx
import numpy as np

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.summary import merge_unseen, unpack_counts
from driftbus.schemas.codec import decode_message
from driftbus.schemas.config import Config
from driftbus.schemas.events import DeadLetter, DriftEvent, Group, RetrainTrigger, SummaryPart
from driftbus.schemas.framing import by_id, frame
from driftbus.stream.worker.deadletter import read_dead_letter
from driftbus.stream.worker.topics import create_topics
from harness.broker import Broker
from harness.process import wait_for

from .workers import ROLES, Worker, published, start_worker


@dataclass
class Counted:
    """What the final parts say of one group, summed over panes and ranges.

    Attributes:
        rows: records.
        cells: column → its cells as in the profile's layout, null and invalid last.
        unseen: column → unknown name → times.
    """

    rows: int = 0
    cells: dict[str, list[int]] = field(default_factory=dict)
    unseen: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class Installation:
    """One `app` on topics of its own.

    Args:
        kafka: the broker.
        folder: where its files are.
        monitors: as in driftbus.yaml.
        overrides: changes to the other sections of driftbus.yaml, section by section.
    """

    kafka: Broker
    folder: Path
    monitors: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.workers: list[Worker] = []
        self.app = f"app-{uuid4().hex[:8]}"
        self.path = self.folder / "driftbus.yaml"
        self.configure()
        create_topics(self.kafka.admin, self.config)

    @property
    def config(self) -> Config:
        return Config.model_validate(self._document())

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "app": self.app,
            "kafka": {"bootstrap": self.kafka.bootstrap, "session_timeout": "6s"},
            "monitors": self.monitors,
            "topics": {role: f"{self.app}.{role}" for role in ROLES} | {"summaries_partitions": 2},
            "limits": {"pane": "1s", "lateness": "2s"},
            "run": {"snapshot_every": "1s", "commit_every": "200ms", "log": "json", "seal_after": "0s"},
        }
        for section, values in self.overrides.items():
            document[section] = {**document.get(section, {}), **values}
        return document

    def configure(self, **sections: Any) -> None:
        """Write driftbus.yaml, with sections of it changed, for what is started from now on."""
        self.overrides = {**self.overrides, **{k: v for k, v in sections.items() if k != "monitors"}}
        self.monitors = sections.get("monitors", self.monitors)
        self.path.write_text(json.dumps(self._document()))  # JSON is YAML

    def start(self) -> Worker:
        """One more worker; it is not waited for."""
        worker = start_worker(self.folder, self._document(), len(self.workers))
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            worker.child.kill()

    def said(self) -> str:
        """The ends of all workers' logs."""
        return "\n".join(f"--- {worker.child.log}\n{worker.child.tail(25)}" for worker in self.workers)

    def parts(self) -> list[SummaryPart]:
        """The final parts of all sources, each once; one that was written again must say the same."""
        found: dict[tuple[Any, ...], SummaryPart] = {}
        for message in self.kafka.read(self.config.topics.summaries):
            part = decode_message(message.value() or b"")
            if isinstance(part, SummaryPart) and part.kind == "final":
                place = message.partition(), part.source, part.a
                assert found.setdefault(place, part) == part, "one range, two counts"
        return list(found.values())

    def counted(self, topic: str, profile: Profile, partition: int | None = None, **group: str) -> Counted:
        """What was counted of a topic, or of one partition, in the group of all rows or the one named."""
        return counted(self.parts(), topic, profile, partition, **group)

    def settled(self, topic: str) -> dict[int, int]:
        """Per partition, the offset up to which its records stand in final parts."""
        ends: dict[int, int] = {}
        for part in self.parts():
            if part.source.topic == topic:
                ends[part.source.partition] = max(part.b, ends.get(part.source.partition, 0))
        return ends

    def wait_settled(self, topic: str, offsets: Mapping[int, int], timeout_s: float = 30.0) -> None:
        """Return once the final parts reach the offset of each partition."""

        def reached() -> bool:
            ends = self.settled(topic)
            return all(ends.get(partition, 0) >= offset for partition, offset in offsets.items())

        self.wait(reached, f"{topic} to reach {offsets}", timeout_s)

    def wait(self, condition: Any, what: str, timeout_s: float = 30.0) -> None:
        """Return once a condition holds; AssertionError with the workers' logs if it does not, or one has died."""

        def holds() -> bool:
            died = [w for w in self.workers if w.child.returncode not in (None, 0, -9)]
            assert not died, f"a worker ended with {died[0].child.returncode}"
            return bool(condition())

        try:
            wait_for(holds, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def dead_letters(self, partition: int | None = None) -> list[DeadLetter]:
        """What lies on the dead-letter topic, of one source partition or all."""
        letters = map(read_dead_letter, self.kafka.read(self.config.topics.deadletter))
        return [letter for letter in letters if partition in (None, letter.partition)]

    def events(self) -> list[DriftEvent]:
        """The drift events, each id once."""
        return [event for event in published(self.kafka, self.config).values() if isinstance(event, DriftEvent)]

    def triggers(self) -> list[RetrainTrigger]:
        """The retrain triggers, each id once."""
        return [event for event in published(self.kafka, self.config).values() if isinstance(event, RetrainTrigger)]

    def health(self, worker: Worker, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
        """Status and body of a health endpoint."""
        answer = httpx.get(f"http://127.0.0.1:{worker.port}{path}", timeout=5)
        return answer.status_code, answer.json()


def counted(
    parts: Iterable[SummaryPart], topic: str, profile: Profile, partition: int | None = None, **group: str
) -> Counted:
    """What parts say of a topic, or of one partition, in the group of all rows or the one named."""
    wanted = Group(profile.monitor, profile.stream, **group)
    layout, total = profile.layout(), Counted()
    cells = np.zeros(layout.total, np.int64)
    for part in parts:
        if part.source.topic != topic or partition not in (None, part.source.partition):
            continue
        for entry in part.entries:
            if entry.group == wanted:
                total.rows += entry.rows
                cells += unpack_counts(entry.counts, entry.width, layout.total)
                for column, name, count in entry.unseen:
                    merge_unseen(total.unseen, column, [(name, count)])
    places = zip(layout.columns, layout.offsets, layout.widths, strict=True)
    total.cells = {name: cells[at : at + width].tolist() for name, at, width in places}
    return total


def body(schema: Any, record: Any) -> bytes:
    """Bare Avro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def framed(schema_id: int, schema: Any, record: Any) -> bytes:
    """Avro with Confluent's frame."""
    return frame(by_id(schema_id), body(schema, record))


def tally(profile: Profile, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The cells that rows must lead to, counted one value after the other."""
    return {column.name: _cells(column, [row.get(column.name) for row in rows]) for column in profile.columns}


def _cells(column: ColumnProfile, values: Iterable[Any]) -> list[int]:
    cells = [0] * column.width
    for value in values:
        cells[_cell(column, value)] += 1
    return cells


def _cell(column: ColumnProfile, value: Any) -> int:
    null, invalid = column.width - 2, column.width - 1
    if value is None:
        return null
    if column.kind == "categorical":
        return column.categories.index(value) if value in column.categories else null - 1
    if not isfinite(value):
        return invalid
    if value < column.low:
        return 0
    return null - 1 if value > column.high else 1 + bisect_left(column.edges, value)

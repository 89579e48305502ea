"""Producers that mean harm, or have a bug: floods through both stages, and what they leave behind.

`python -m fuzz.hostile CASE RECORDS` runs one in a process of its own and prints what it took as JSON.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import psutil

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.codec import encode_event, encode_message
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.framing import SchemaKey, by_id, frame
from driftbus.stream.driver import Driver
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.judge import Decided
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.summarise import ShardPart
from harness.avro import varint

START_MS = 1_760_000_000_000
YEAR_MS = 31_556_952_000
BATCH = 5_000
TOPIC, LABELS = "loans", "outcomes"
LABELLED = 2**31 - 1
"""Id of the schema of labels."""

FIELDS: list[dict[str, Any]] = [
    {"name": "ts", "type": "long"},
    {"name": "id", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "country", "type": "string"},
    {"name": "channel", "type": "string"},
    {"name": "income", "type": "double"},
]


def schema_of(number: int) -> dict[str, Any]:
    """The schema of an id: the first has the fields only, every other one ten more of its own."""
    if number == LABELLED:
        return {"type": "record", "name": "Outcome", "fields": [*FIELDS[:2], {"name": "outcome", "type": "string"}]}
    more = [{"name": f"x{number}_{i}", "type": ["null", "long"]} for i in range(10 if number else 0)]
    return {"type": "record", "name": "Loan", "fields": FIELDS + more}


@dataclass(frozen=True, slots=True)
class Row:
    """One record, and how Kafka has it."""

    ts: int
    id: str = "a"
    version: str = "1"
    country: str = "PT"
    channel: str = "web"
    kafka_ms: int = -2
    schema: int = 0
    partition: int = 0

    def value(self) -> bytes:
        texts = (self.id, self.version, self.country, self.channel)
        body = varint(self.ts) + b"".join(_text(text) for text in texts) + struct.pack("<d", 1_000.0)
        return frame(by_id(self.schema), body + bytes(10 if self.schema else 0))


def _text(text: str) -> bytes:
    data = text.encode()
    return varint(len(data)) + data


class AnyId:
    """A registry in which every id has a schema."""

    bare = None

    def knows(self, key: SchemaKey) -> bool:
        return True

    def resolve(self, key: SchemaKey) -> WriterSchema:
        return parse_schema(schema_of(key.low))


@dataclass(frozen=True, slots=True)
class Label:
    """What became of an id, and when that is said to have been."""

    ts: int
    id: str = "a"
    outcome: str = "1"

    def value(self) -> bytes:
        return frame(by_id(LABELLED), varint(self.ts) + _text(self.id) + _text(self.outcome))


def profile() -> Profile:
    rng = np.random.default_rng(7)
    columns: dict[str, NumericData | CategoryData] = {
        "income": NumericData(rng.normal(1_000, 100, 5_000)),
        "channel": CategoryData(rng.choice(["web", "app"], 5_000).astype(object)),
        "country": CategoryData(rng.choice(["PT", "ES"], 5_000).astype(object)),
    }
    return build_profile("credit", "predictions", columns)


def plans(partitions: int = 1, labelled: bool = False) -> Plans:
    stream = {"topic": TOPIC, "time": "ts", "id": "id", "version": "version"}
    monitor: dict[str, Any] = {"predictions": stream, "segments": ["country"], "pane": "10s"}
    profiles, topics = {("credit", "predictions"): profile()}, {TOPIC: partitions}
    if labelled:
        monitor["predictions"] = stream | {"prediction": "channel"}
        monitor["labels"] = {"topic": LABELS, "time": "ts", "id": "id", "label": "outcome"}
        said = {"outcome": CategoryData(np.array(["web", "app"] * 1_000, object), role="label")}
        profiles["credit", "labels"], topics[LABELS] = build_profile("credit", "labels", said), partitions
    config = Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"credit": monitor}})
    return build_plans(config, profiles, topics)


@dataclass
class Found:
    """What a flood came to.

    Attributes:
        largest: bytes of the largest part, snapshot and event.
        counts: of the monitor's stream.
        reasons: why records were refused.
        grown_mb: how much more memory the process has held at most.
        store_mb: what waits for labels, in the end.
        contents: the most that waited for its panes to be sealed, of what labels said.
    """

    records: int = 0
    seconds: float = 0.0
    grown_mb: float = 0.0
    parts: int = 0
    part_mb: float = 0.0
    largest: dict[str, int] = field(default_factory=lambda: {"part": 0, "snapshot": 0, "event": 0})
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    groups: int = 0
    store_mb: float = 0.0
    contents: int = 0


class Flood:
    """A configuration under a flood."""

    def __init__(self, partitions: int = 1, labelled: bool = False) -> None:
        self.plans = plans(partitions, labelled)
        self.driver = Driver(self.plans)
        self.found = Found()
        self._offsets: dict[tuple[str, int], int] = {}
        decide = self.driver._judge

        def measured(parts: list[ShardPart]) -> list[Decided]:
            for _, part in parts:
                size = len(encode_message(part))
                self.found.parts += 1
                self.found.part_mb += size / 1e6
                self.found.largest["part"] = max(self.found.largest["part"], size)
            return decide(parts)

        self.driver._judge = measured  # type: ignore[method-assign]

    def send(self, rows: Iterator[Row | Label]) -> None:
        """Feed rows batch by batch, each partition in order."""
        decoders = {name: BatchDecoder(topic.projection, AnyId()) for name, topic in self.plans.topics.items()}
        waiting: dict[tuple[str, int], list[Row | Label]] = {}
        for row in rows:
            place = (LABELS, 0) if isinstance(row, Label) else (TOPIC, row.partition)
            mine = waiting.setdefault(place, [])
            mine.append(row)
            if len(mine) == BATCH:
                self._feed(decoders[place[0]], place, waiting.pop(place))
        for place, left in sorted(waiting.items(), key=lambda item: (item[0][0] == LABELS, item[0])):
            self._feed(decoders[place[0]], place, left)

    def _feed(self, decoder: BatchDecoder, place: tuple[str, int], rows: list[Row | Label]) -> None:
        decoded = decoder.decode([row.value() for row in rows])
        first = self._offsets.get(place, 0)
        self._offsets[place] = first + len(rows)
        kafka = [row.ts if isinstance(row, Label) or row.kafka_ms == -2 else row.kafka_ms for row in rows]
        times, offsets = np.array(kafka, np.int64), np.arange(first, first + len(rows))
        step = self.driver.feed(*place, decoded.block, offsets, times, decoded.good)
        self.found.records += len(rows)
        for _, reason, _ in [*decoded.bad, *step.rejected]:
            self.found.reasons[reason] = self.found.reasons.get(reason, 0) + 1
        self._look(step.decided)
        for judge in self.driver.judges.values():
            outcomes = judge.monitors["credit"].outcomes
            self.found.contents = max(self.found.contents, outcomes.waiting if outcomes else 0)

    def _look(self, decided: list[Decided]) -> None:
        for event in decided:
            self.found.largest["event"] = max(self.found.largest["event"], len(encode_event(event)))

    def end(self) -> Found:
        """What it came to, after everything is judged and a snapshot is taken."""
        self._snapshot()
        self._look(self.driver.finish())
        self._snapshot()
        (judge,) = self.driver.judges.values()
        stream = judge.monitors["credit"].streams[-1]  # predictions, in order of names
        for join in self.driver.joins.values():
            join.persist(join.commit_offset)
            kept = cast(MemoryBlobs, join.store._blobs)
            self.found.store_mb += sum(len(kept.get(key) or b"") for key in kept.keys(b"")) / 1e6
        self.found.counts = {name: getattr(stream.counts, name) for name in type(stream.counts).__slots__}
        self.found.groups = len(stream.groups)
        return self.found

    def _snapshot(self) -> None:
        (judge,) = self.driver.judges.values()
        self.found.largest["snapshot"] = max(self.found.largest["snapshot"], len(judge.snapshot("credit")))


def _flood(rows: Callable[[int], Iterator[Any]], partitions: int = 1, labelled: bool = False) -> Callable[[int], Found]:
    def run(records: int) -> Found:
        flood = Flood(partitions, labelled)
        flood.send(rows(records))
        return flood.end()

    return run


def _at(i: int) -> int:
    return START_MS + i // 2_000 * 1_000


def _segments(n: int) -> Iterator[Row]:
    return (Row(_at(i), country=f"c{i}") for i in range(n))


def _versions(n: int) -> Iterator[Row]:
    return (Row(_at(i), version=f"v{i}") for i in range(n))


def _both(n: int) -> Iterator[Row]:
    return (Row(START_MS, version=f"v{i}", country=f"c{i}") for i in range(n))


def _categories(n: int) -> Iterator[Row]:
    return (Row(_at(i), channel=f"category {i}") for i in range(n))


def _long_names(n: int) -> Iterator[Row]:
    long = "x" * 250_000
    return (Row(_at(i), f"{i}{long}", f"{i}{long}", f"{i}{long}", f"{i}{long}") for i in range(n))


def _schemas(n: int) -> Iterator[Row]:
    return (Row(_at(i), schema=i + 1, version=f"v{i % 50}") for i in range(n))


def _one_id(n: int) -> Iterator[Row]:
    return (Row(_at(i), id="the only one") for i in range(n))


def _panes(n: int) -> Iterator[Row]:
    """One partition stays where it is, the other claims a thousand years, pane by pane, and Kafka believes it."""
    yield Row(START_MS, partition=1)
    step = 1_000 * YEAR_MS // n
    for i in range(n):
        yield Row(START_MS + i * step)
    yield Row(START_MS + 60_000, partition=1)


def _centuries(n: int) -> Iterator[Row]:
    """Event times and Kafka timestamps anywhere."""
    times = (-(2**63), -1, 0, 1, START_MS, START_MS + 50 * YEAR_MS, 8_640_000_000_000_000, 2**62, 2**63 - 1)
    for i in range(n):
        yield Row(times[i % 9], kafka_ms=(-1, 0, START_MS, 2**62, 8_640_000_000_000_000)[i // 9 % 5])


def _labelled(n: int, labels: Callable[[int], Iterator[Label]], version: str = "1") -> Iterator[Row | Label]:
    """So many predictions, and for each of them what labels are said."""
    for i in range(n):
        yield Row(_at(i), f"a{i}", version.format(i))
        yield from labels(i)


def _classes(n: int) -> Iterator[Row | Label]:
    return _labelled(n // 2, lambda i: iter([Label(_at(i), f"a{i}", f"class {i}")]))


def _labelled_versions(n: int) -> Iterator[Row | Label]:
    return _labelled(n // 2, lambda i: iter([Label(_at(i), f"a{i}", ("web", "app")[i % 2])]), "v{}")


def _long_labels(n: int) -> Iterator[Row | Label]:
    long = "x" * 250_000
    for i in range(n // 2):
        yield Row(_at(i), f"{i}{long}", f"{i}{long}")
        yield Label(_at(i), f"{i}{long}", f"{i}{long}")


def _orphans(n: int) -> Iterator[Row | Label]:
    yield Row(_at(0))
    for i in range(n - 2):
        yield Label(_at(i), f"of nothing {i}", "web")
    yield Row(_at(n))


def _changed_minds(n: int) -> Iterator[Row | Label]:
    return _labelled(n // 100, lambda i: (Label(_at(i), f"a{i}", f"{k}") for k in range(99)))


def _labels_of_centuries(n: int) -> Iterator[Row | Label]:
    times = (-(2**63), -1, 0, 1, START_MS, START_MS + 50 * YEAR_MS, 8_640_000_000_000_000, 2**62, 2**63 - 1)
    return _labelled(n // 2, lambda i: iter([Label(times[i % 9], f"a{i}", "web")]))


CASES: dict[str, Callable[[int], Found]] = {
    "segments": _flood(_segments),
    "versions": _flood(_versions),
    "both": _flood(_both),
    "categories": _flood(_categories),
    "long_names": _flood(_long_names),
    "schemas": _flood(_schemas),
    "one_id": _flood(_one_id),
    "panes": _flood(_panes, 2),
    "centuries": _flood(_centuries),
    "label_classes": _flood(_classes, labelled=True),
    "label_versions": _flood(_labelled_versions, labelled=True),
    "label_names": _flood(_long_labels, labelled=True),
    "label_orphans": _flood(_orphans, labelled=True),
    "label_changes": _flood(_changed_minds, labelled=True),
    "label_centuries": _flood(_labels_of_centuries, labelled=True),
}


def main() -> None:
    case, records = sys.argv[1], int(sys.argv[2])
    CASES["segments"](100)  # compiles
    before, start = psutil.Process().memory_info().rss, time.monotonic()
    found = CASES[case](records)
    found.seconds = round(time.monotonic() - start, 1)
    found.grown_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before / 1e6, 1)
    print(json.dumps({"case": case} | vars(found)))


if __name__ == "__main__":
    main()

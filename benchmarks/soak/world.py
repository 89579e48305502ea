"""The month: three streams with a rhythm of the day, drifts that come and go, versions, and labels days later."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastavro
import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
REFERENCE_DAYS = 28
HORIZON_DAYS = 7
WAIT_MS = 300_000
DRIFT_EVERY_DAYS = 2
"""On each such day one stream drifts for 18 hours."""

COUNTRIES = ("PT", "ES", "FR", "IT")
CHANNELS = ("web", "shop", "phone")
EVENT: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "country", "type": ["null", "string"]},
        {"name": "channel", "type": "string"},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "age", "type": "int"},
        {"name": "score", "type": "double"},
    ],
}
LABEL: dict[str, Any] = {
    "type": "record",
    "name": "Outcome",
    "fields": [{"name": "id", "type": "string"}, {"name": "outcome", "type": "string"}],
}
_EVENT, _LABEL = fastavro.parse_schema(EVENT), fastavro.parse_schema(LABEL)


class Record(NamedTuple):
    """What is produced: role of its topic, key, value, Kafka timestamp in milliseconds."""

    role: str
    key: str
    value: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Source:
    """A stream.

    Args:
        name: of the monitor.
        per_s: events per second, on average.
        labelled: share of the events that get a label; 0: it has no label topic.
        releases_days: how often there is a new version.
    """

    name: str
    per_s: float
    labelled: float
    releases_days: int


SOURCES = (Source("credit", 0.4, 0.5, 2), Source("fraud", 0.3, 0.3, 1), Source("customers", 0.2, 0.0, 1_000))


@dataclass
class World:
    """The stream from a seed, hour by hour.

    Args:
        start_ms: of the month.
        scale: on the rates of all sources.
        seed: of everything.
    """

    start_ms: int
    scale: float = 1.0
    seed: int = 1
    _rng: np.random.Generator = field(init=False)
    _due: list[tuple[int, int, Record]] = field(default_factory=list)
    _told: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def stretch(self, first_ms: int, length_ms: int) -> list[Record]:
        """Everything that is written in a stretch of event time, in the order of Kafka's timestamps."""
        found: list[Record] = []
        for number, source in enumerate(SOURCES):
            columns = _columns(source, self._rng, first_ms, length_ms, self.scale, self._drifts(number, first_ms))
            version = str(1 + (first_ms - self.start_ms) // (source.releases_days * DAY_MS))
            for row in _rows(columns, source.name):
                found += self._written(source, {**row, "version": version})
        while self._due and self._due[0][0] < first_ms + length_ms:
            found.append(heapq.heappop(self._due)[2])
        return sorted(found, key=lambda record: record.timestamp)

    def closing(self, end_ms: int, partitions: int) -> Iterator[Record]:
        """A few records far ahead, enough that some come to every partition: they close all that is open."""
        row = {"country": "PT", "channel": "web", "amount": 1.0, "age": 30, "score": 0.5, "version": "1"}
        for hours in (2, 3, 4):
            at = end_ms + hours * HOUR_MS
            for source in SOURCES:
                for i in range(16 * partitions):
                    name = f"end-{hours}-{i}"
                    yield Record(source.name, name, _bytes(_EVENT, {**row, "ts": at, "id": name}), at)
                    if source.labelled and hours < 4:
                        value = _bytes(_LABEL, {"id": name, "outcome": "0"})
                        yield Record(f"{source.name}.labels", name, value, at - WAIT_MS)

    def _drifts(self, number: int, at_ms: int) -> bool:
        day, rest = divmod(at_ms - self.start_ms, DAY_MS)
        turn, off = divmod(day, DRIFT_EVERY_DAYS)
        return bool(off == 1 and turn % len(SOURCES) == number and rest < 18 * HOUR_MS)

    def _written(self, source: Source, row: Mapping[str, Any]) -> Iterator[Record]:
        """An event, sometimes late, twice or broken; and later what became of it."""
        at, luck = int(row["ts"]), self._rng.random()
        if luck < 0.01:
            row = {**row, "ts": at - int(self._rng.exponential(HOUR_MS / 2))}
        value = b"\xff" * 9 if luck > 0.9999 else _bytes(_EVENT, row)
        event = Record(source.name, row["id"], value, at)
        yield event
        if 0.01 < luck < 0.013:
            yield event
        if self._rng.random() < source.labelled:
            self._label(source, row, at)

    def _label(self, source: Source, row: Mapping[str, Any], at: int) -> None:
        wrong = (at - self.start_ms) // DAY_MS % 9 == 5  # a day on which the model is no good
        said = str(int((self._rng.random() < row["score"]) != wrong))
        delay = int(self._rng.lognormal(np.log(2 * DAY_MS), 0.8))
        told = [(row["id"], delay, said)]
        luck = self._rng.random()
        if luck < 0.02:
            told.append((row["id"], delay + HOUR_MS, said))
        elif luck < 0.04:
            told.append((row["id"], delay + HOUR_MS, "1" if said == "0" else "0"))
        elif luck < 0.045:
            told.append((f"{row['id']}x", delay, said))
        for name, after, what in told:
            self._told += 1
            value = _bytes(_LABEL, {"id": name, "outcome": what})
            heapq.heappush(
                self._due, (at + after, self._told, Record(f"{source.name}.labels", name, value, at + after))
            )


def reference(source: Source, end_ms: int, seed: int = 7) -> list[dict[str, Any]]:
    """Training rows of the weeks before, with outcomes."""
    rng, scale = np.random.default_rng(seed), 0.006 / source.per_s
    first = end_ms - REFERENCE_DAYS * DAY_MS
    rows = []
    for hour in range(REFERENCE_DAYS * 24):
        columns = _columns(source, rng, first + hour * HOUR_MS, HOUR_MS, scale, drifts=False)
        rows += [
            {**row, "version": "0", "outcome": str(int(rng.random() < row["score"]))}
            for row in _rows(columns, source.name)
        ]
    return rows


def _columns(
    source: Source, rng: np.random.Generator, first_ms: int, length_ms: int, scale: float, drifts: bool
) -> dict[str, NDArray[Any]]:
    """Rows of a stretch: amounts and channels have their hours."""
    hour = first_ms // HOUR_MS % 24
    wave = 1 + 0.6 * np.sin(2 * np.pi * (hour - 8) / 24)
    n = int(rng.poisson(source.per_s * scale * wave * length_ms / 1_000))
    night = 0.2 + 0.5 * (hour < 7)
    amount = rng.lognormal(4 + 0.3 * wave, 0.6, n) * (1.5 if drifts else 1.0)
    amount[rng.random(n) < (0.15 if drifts else 0.01)] = np.nan
    return {
        "ts": np.sort(rng.integers(first_ms, first_ms + length_ms, n)),
        "amount": amount,
        "age": rng.integers(18, 80, n),
        "country": rng.choice(COUNTRIES, n, p=[0.4, 0.3, 0.2, 0.1]),
        "channel": rng.choice(CHANNELS, n, p=[night, (1 - night) * 0.6, (1 - night) * 0.4]),
        "score": rng.beta(2, 5, n),
    }


def _rows(columns: Mapping[str, NDArray[Any]], name: str) -> list[dict[str, Any]]:
    values = {key: column.tolist() for key, column in columns.items()}
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    for i, row in enumerate(rows):
        row["id"] = f"{name}-{row['ts']}-{i}"
        row["amount"] = None if row["amount"] != row["amount"] else row["amount"]
    return rows


def _bytes(schema: Any, record: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()

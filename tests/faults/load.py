"""What producers send, from a seed: a drift, records that come twice, out of order, late or unreadable, and labels."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastavro
import numpy as np
from confluent_kafka import Producer
from kafka.scenario import MONITOR, SCHEMA, START_MS

from driftbus.detectors.parts import with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.partitioning import partitions_of_keys

STEP_MS = 20
UNREADABLE = b"\xff" * 9
LABEL: dict[str, Any] = {
    "type": "record",
    "name": "Outcome",
    "fields": [{"name": "id", "type": "string"}, {"name": "defaulted", "type": ["null", "string"]}],
}
_SCORED, _OUTCOME = fastavro.parse_schema(SCHEMA), fastavro.parse_schema(LABEL)

HORIZON_MS, WAIT_MS = 60_000, 5_000
_PHASE = 1_500
_CLOSING_MS = (1_000_000, 1_020_000, 1_040_000)


class Sent(NamedTuple):
    """One record of a source topic."""

    labels: bool
    partition: int
    key: bytes
    value: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Load:
    """Producers' behaviour.

    Args:
        seed: of the rows.
        rows: predictions.
        partitions: of the source topics.
        labels: whether outcomes are sent too.
        duplicates: share of predictions that are sent again a little later.
        reordered: share that is sent up to `window` records later than it happened.
        late: share whose event time lies further back, up to beyond what is still counted.
        unreadable: share of records that are no Avro.
        window: records.
        idle: a partition that gets nothing in the middle third of the rows; -1: none.
        per_second: records a second of wall time.
        silent: topics of which one says nothing for some time, and then everything at once: "", "labels" or
            "predictions".
        silence: (begin, end) of it, as shares of the rows.
    """

    seed: int
    rows: int = 12_000
    partitions: int = 4
    labels: bool = False
    duplicates: float = 0.0
    reordered: float = 0.0
    late: float = 0.0
    unreadable: float = 0.0
    window: int = 200
    idle: int = -1
    per_second: float = 1_200.0
    silent: str = ""
    silence: tuple[float, float] = (0.0, 0.0)

    def records(self) -> list[Sent]:
        """Everything in the order in which it is sent; the last ones lie far ahead and close every range."""
        rng = np.random.default_rng(self.seed)
        rows = _rows(self.rows, rng, _PHASE)
        clocks = START_MS + STEP_MS * np.arange(self.rows)
        late = rng.random(self.rows) < self.late
        back = rng.integers(0, 20_000, self.rows)
        third = self.rows // 3
        at: list[tuple[float, Sent]] = []
        places = self._places([row["id"] for row in rows])
        moved = np.where(rng.random(self.rows) < self.reordered, rng.integers(0, self.window, self.rows), 0)
        again = rng.random(self.rows) < self.duplicates
        broken = rng.random(self.rows) < self.unreadable
        for i, row in enumerate(rows):
            row["ts"] = int(clocks[i] - (back[i] if late[i] else 0))
            if places[i] == self.idle and third <= i < 2 * third:
                continue
            value = UNREADABLE if broken[i] else _encoded(_SCORED, row)
            one = Sent(False, places[i], row["id"].encode(), value, int(clocks[i]))
            at.append((i + float(moved[i]), one))
            if again[i]:
                at.append((i + float(moved[i]) + self.window * 0.7, one))
        if self.labels:
            at += self._outcomes(rows, clocks, rng)
        if self.silent:
            begin, end = (share * self.rows for share in self.silence)
            at = [
                (end if begin <= when < end and one.labels == (self.silent == "labels") else when, one)
                for when, one in at
            ]
        at.sort(key=lambda pair: pair[0])
        return [one for _, one in at] + self._closing(rows[0])

    def _places(self, ids: Sequence[str]) -> list[int]:
        found: list[int] = partitions_of_keys("murmur2", [one.encode() for one in ids], self.partitions).tolist()
        return found

    def _outcomes(self, rows: Sequence[Mapping[str, Any]], clocks: Any, rng: np.random.Generator) -> Any:
        """Labels of half of the predictions: early, late, again, corrected, of nothing, beyond the horizon."""
        found = []
        for i in range(0, len(rows), 2):
            flipped = i > len(rows) // 2
            said = str(int((rng.random() < rows[i]["p_default"]) != flipped))
            delay = int(
                rng.choice([-3_000, 0, 500, 4_000, 15_000, 50_000, 70_000], p=[0.1, 0.2, 0.2, 0.2, 0.2, 0.05, 0.05])
            )
            told: list[tuple[str, int, str | None]] = [(rows[i]["id"], delay, said)]
            if rng.random() < 0.1:
                told.append((rows[i]["id"], delay + int(rng.integers(10_000)), said))
            if rng.random() < 0.1:
                told.append((rows[i]["id"], delay + int(rng.integers(10_000)), "1" if said == "0" else "0"))
            if rng.random() < 0.1:  # withdrawn, and now and then said again
                told.append((rows[i]["id"], delay + int(rng.integers(5_000)), None))
                if rng.random() < 0.5:
                    told.append((rows[i]["id"], delay + int(rng.integers(10_000)), said))
            if rng.random() < 0.05:
                told.append((f"x{i}", delay, said))
            for name, after, what in told:
                value = _encoded(_OUTCOME, {"id": name, "defaulted": what})
                (place,) = self._places([name])
                timestamp = int(clocks[i]) + after
                found.append((i + after / STEP_MS, Sent(True, place, name.encode(), value, timestamp)))
        return found

    def _closing(self, row: Mapping[str, Any]) -> list[Sent]:
        end = START_MS + self.rows * STEP_MS
        found = []
        for number, ahead in enumerate(_CLOSING_MS):
            for partition in range(self.partitions):
                name = f"end{number}-{partition}"
                value = _encoded(_SCORED, {**row, "ts": end + ahead, "id": name})
                found.append(Sent(False, partition, name.encode(), value, end + ahead))
                if self.labels and number < 2:
                    value = _encoded(_OUTCOME, {"id": name, "defaulted": "0"})
                    found.append(Sent(True, partition, name.encode(), value, end + ahead - WAIT_MS))
        return found


def reference() -> list[Profile]:
    """What the stream and its labels look like before they drift."""
    rows = _rows(4_000, np.random.default_rng(1), phase=0)
    countries = [row["country"] for row in rows]
    columns: dict[str, NumericData | CategoryData] = {
        "income": NumericData(np.array([row["income"] for row in rows])),
        "age": NumericData(np.array([row["age"] for row in rows], float)),
        "country": CategoryData(np.array(countries, object)),
        "p_default": NumericData(np.array([row["p_default"] for row in rows]), role="score"),
    }
    predictions = with_parts(build_profile(MONITOR, "predictions", columns), columns, {"country": countries})
    said = CategoryData(["0"] * 1_500 + ["1"] * 500, role="label")
    return [predictions, build_profile(MONITOR, "labels", {"defaulted": said})]


def _rows(count: int, rng: np.random.Generator, phase: int) -> list[dict[str, Any]]:
    """Scored applications; every `phase` rows something else of them has changed, or nothing has; 0: nothing ever."""
    income, age = rng.lognormal(10, 0.5, count), rng.integers(18, 80, count)
    country = rng.choice(["PT", "ES", "FR"], count, p=[0.5, 0.3, 0.2])
    missing = rng.random(count) < 0.01
    for begin in range(phase, count, phase) if phase else ():
        now = slice(begin, begin + phase)
        match int(rng.integers(5)):
            case 0:
                income[now] *= 1.8
            case 1:
                missing[now] = rng.random(missing[now].size) < 0.4
            case 2:
                age[now] //= 2
            case 3:
                country[now] = rng.choice(["PT", "ES", "FR"], country[now].size, p=[0.1, 0.3, 0.6])
                income[now] *= 0.6
            case _:
                pass
    score = rng.beta(2, 5, count)
    return [
        {
            "ts": 0,
            "id": f"r{i}",
            "version": str(1 + (i % 4 == 0)),
            "income": float(income[i]),
            "age": int(age[i]),
            "country": None if missing[i] else str(country[i]),
            "p_default": float(score[i]),
        }
        for i in range(count)
    ]


def _encoded(schema: Any, record: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


class Sender(threading.Thread):
    """Sends records at a rate, through whatever happens to the brokers; every record is acknowledged.

    Args:
        bootstrap: address.
        topics: of predictions and of labels.
        records: in order.
        per_second: of wall time.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str], records: Sequence[Sent], per_second: float) -> None:
        super().__init__(daemon=True)
        self._topics, self._records, self._rate = topics, records, per_second
        self._brokers = bootstrap
        self.hurry = threading.Event()
        self.failed: list[str] = []
        self.sent = 0

    def run(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self._brokers, "linger.ms": 5, "enable.idempotence": True, "log_level": 0,
             "delivery.timeout.ms": 600_000, "socket.timeout.ms": 10_000, "reconnect.backoff.max.ms": 500}
        )  # fmt: skip
        begun = time.monotonic()
        for number, one in enumerate(self._records):
            while True:
                try:
                    producer.produce(
                        self._topics[one.labels],
                        value=one.value,
                        key=one.key,
                        partition=one.partition,
                        timestamp=one.timestamp,
                        on_delivery=self._acknowledged,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            if number % 20 == 19:
                producer.poll(0)
                self.hurry.wait(max(0.0, begun + number / self._rate - time.monotonic()))
        if left := producer.flush(300):
            self.failed.append(f"{left} records not acknowledged")

    def _acknowledged(self, error: Any, _: Any) -> None:
        if error is not None:
            self.failed.append(str(error))
        else:
            self.sent += 1


def drawn(rng: random.Random, partitions: int, labels: bool, rows: int = 12_000) -> Load:
    """Producers that behave well, badly, or very badly."""

    def some(share: float) -> float:
        return round(rng.uniform(0, share), 3) if rng.random() < 0.5 else 0.0

    return Load(
        seed=rng.randrange(1 << 30),
        rows=rows,
        partitions=partitions,
        labels=labels,
        duplicates=some(0.3),
        reordered=some(0.5),
        late=some(0.2),
        unreadable=some(0.01),
        window=rng.choice([5, 50, 400]),
        idle=rng.randrange(partitions) if partitions > 1 and rng.random() < 0.2 else -1,
        per_second=rng.choice([800.0, 1_200.0, 2_500.0]),
        silent=rng.choice(["", "", "labels", "predictions"]) if labels else "",
        silence=rng.choice([(0.0, 0.5), (0.2, 0.4), (0.3, 0.95), (0.6, 2.0)]),
    )

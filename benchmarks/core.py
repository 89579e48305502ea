"""The core on one core, from bytes to parts, against the same work done record by record in Python.

Ours: a batch of Confluent-framed Avro is decoded into a block and counted into ranges, versions
and panes. Theirs: fastavro makes a dict per record, and its values are counted on the same bins.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_left

import fastavro
import numpy as np

from benchmarks import events
from benchmarks.measure import Ratio, Report, rates
from driftbus.detectors.profile import Profile
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.stream.plan import TopicPlan, build_plans
from driftbus.stream.summarise import Summariser

BATCH = 5_000


def plan_of(profile: Profile, partitions: int = 1) -> TopicPlan:
    """The topic of the events, as one monitor with every default sees it."""
    config = events.config()
    return build_plans(config, {("bench", "predictions"): profile}, {"predictions": partitions}).topics["predictions"]


class Core:
    """Batches of a topic, from bytes to parts."""

    def __init__(self, plan: TopicPlan, encoded: events.Encoded, n: int) -> None:
        self._plan = plan
        self._decoder = BatchDecoder(plan.projection, events.OneSchema())
        self._batches = [
            (encoded.values(first, BATCH), np.arange(first, first + BATCH)) for first in range(0, n, BATCH)
        ]
        self._stamps = np.full(BATCH, -1, np.int64)

    def __call__(self) -> int:
        """The number of parts; every record must have been counted."""
        summariser = Summariser(self._plan, 0, base=0, position=0)
        parts = 0
        for values, offsets in self._batches:
            decoded = self._decoder.decode(values)
            output = summariser.feed(decoded.block, offsets, self._stamps, decoded.good)
            assert not decoded.bad
            assert not output.rejected
            parts += len(output.parts)
        return parts


class PlainPython:
    """The same counts by a loop over records."""

    def __init__(self, profile: Profile, pane_ms: int, values: list[bytes]) -> None:
        self._values, self._pane_s = values, pane_ms / 1000
        self._schema = fastavro.parse_schema(events.SCHEMAS["nullable"])
        self._cells = sum(column.width for column in profile.columns)
        self._numeric, self._categorical = [], []
        first = 0
        for column in profile.columns:
            if column.kind == "numeric":
                self._numeric.append((column.name, column.edges, column.low, column.high, first, column.bins))
            else:
                known = {name: first + i for i, name in enumerate(column.categories)}
                self._categorical.append((column.name, known, first + column.bins))
            first += column.width

    def __call__(self) -> int:
        """The number of (version, pane)."""
        panes: dict[tuple[str, int], list[int]] = {}
        for value in self._values:
            record = fastavro.schemaless_reader(io.BytesIO(value[5:]), self._schema, None)
            assert isinstance(record, dict)
            key = record["model"], int(record["ts"].timestamp() // self._pane_s)
            counts = panes.get(key)
            if counts is None:
                counts = panes[key] = [0] * self._cells
            for name, edges, low, high, first, bins in self._numeric:
                number = record[name]
                if number is None:
                    counts[first + bins + 2] += 1
                elif not math.isfinite(number):
                    counts[first + bins + 3] += 1
                elif number < low:
                    counts[first] += 1
                elif number > high:
                    counts[first + bins + 1] += 1
                else:
                    counts[first + 1 + bisect_left(edges, number)] += 1
            for name, known, unseen in self._categorical:
                text = record[name]
                counts[unseen + 1 if text is None else known.get(text, unseen)] += 1
        return len(panes)


def run(*, quick: bool) -> Report:
    """Events per second."""
    data = events.rows(20_000)
    profile = events.profile(data)
    encoded = events.Encoded(data)
    plan = plan_of(profile)
    ours, theirs = 100_000, 2_000 if quick else 5_000
    found = rates(
        {
            "driftbus": (Core(plan, encoded, ours), ours),
            "python": (PlainPython(profile, plan.pane_ms, encoded.values(0, theirs)), theirs),
        },
        rounds=3 if quick else 7,
    )
    cost = sorted(1e6 / rate for rate in found["driftbus"])
    return Report(
        "core: 20 numbers + 5 categories + score, two versions, decode to parts, batches of 5,000, one core",
        [
            Ratio(
                "driftbus / fastavro + Python loop",
                found["driftbus"],
                found["python"],
                "ev/s",
                wanted=50,
                note=f"{cost[len(cost) // 2]:.2f} us an event ({cost[0]:.2f}-{cost[-1]:.2f})",
            )
        ],
    )

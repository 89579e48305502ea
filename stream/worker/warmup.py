"""Compiles every kernel before the first record comes: a worker that compiles while it holds partitions stalls them.

The machine code is cached on disk (see `driftbus.schemas.kernel`), so this costs a minute once and
a fraction of a second afterwards.
"""

from __future__ import annotations

import io
import logging
import time
from typing import Any

import fastavro
import numpy as np

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.framing import SchemaKey, by_id, frame
from driftbus.schemas.textparts import NUMBERS, WORD
from driftbus.stream.driver import Driver
from driftbus.stream.plan import build_plans

LOG = logging.getLogger(__name__)

_SCHEMA = {
    "type": "record",
    "name": "WarmUp",
    "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "version", "type": "string"},
        {"name": "x", "type": ["null", "double"]},
        {"name": "y", "type": "double"},
        {"name": "z", "type": "double"},
        {"name": "note", "type": "string"},
        {"name": "emb", "type": {"type": "array", "items": "float"}},
        {"name": "c", "type": ["null", "string"]},
    ],
}
_SLOW_S = 2.0


class _Resolver:
    """One schema for every id."""

    bare: WriterSchema | None = None

    def knows(self, key: SchemaKey) -> bool:
        return True

    def resolve(self, key: SchemaKey) -> WriterSchema:
        return parse_schema(_SCHEMA)


def warm_up(panes: int = 60, rows: int = 20) -> float:
    """Run a small drifting stream through decoding, counting and judging; the seconds it took.

    Args:
        panes: that it lasts before it drifts, and again as many; fewer than the default leave kernels out.
        rows: of each pane.
    """
    begun = time.monotonic()
    rng = np.random.default_rng(0)
    reference: dict[str, NumericData | CategoryData] = {
        **{name: NumericData(rng.normal(size=500)) for name in ("x", "y", "z", "emb[0]")},
        **{f"note.{name}": NumericData(rng.normal(size=500)) for name in NUMBERS},
        f"note.{WORD}": CategoryData(rng.choice(["a", "few"], 500).astype(object)),
        "c": CategoryData(rng.choice(["a", "b", "c"], 500).astype(object)),
    }
    profile = build_profile("warmup", "predictions", reference, ordered=True)
    document: dict[str, Any] = {
        "kafka": {"bootstrap": "none:1"},
        "monitors": {
            "warmup": {
                "predictions": {
                    "topic": "warmup", "time": "time", "id": "c", "score": "y", "version": "version", "text": ["note"],
                },
                "labels": {"topic": "labels", "time": "time", "id": "c", "label": "version"},
                "segments": ["c"],
                "pane": "1s",
            }
        },
        "limits": {"lateness": "0s"},
    }  # fmt: skip
    labels = build_profile("warmup", "labels", {"version": CategoryData(np.array(["1", "2"] * 500, object))})
    profiles = {("warmup", "predictions"): profile, ("warmup", "labels"): labels}
    plans = build_plans(Config.model_validate(document), profiles, {"warmup": 2, "labels": 2})
    driver, decoder = Driver(plans), BatchDecoder(plans.topics["warmup"].projection, _Resolver())
    label_decoder = BatchDecoder(plans.topics["labels"].projection, _Resolver())
    for half in range(2):
        first = half * panes * rows
        times = [(first + i) * 1_000 // rows for i in range(panes * rows)]
        values = [_record(rng, time_ms, drifted=half == 1) for time_ms in times]
        decoded = decoder.decode([*values, b"\0damaged"], lambda _: ())
        offsets = np.arange(first, first + len(values) + 1, dtype=np.int64)
        for partition in range(2):  # the panes of both are merged
            driver.feed("warmup", partition, decoded.block, offsets, np.full(offsets.size, -1, np.int64), decoded.good)
        _warm_up_join(driver, label_decoder, values[:100], 100 * half)
    driver.rest([("warmup", 0), ("warmup", 1)])
    driver.finish()
    took = time.monotonic() - begun
    if took > _SLOW_S:
        LOG.info("kernels compiled in %.0f s; they are cached for the next start", took)
    return took


def _warm_up_join(driver: Driver, decoder: BatchDecoder, values: list[bytes], first: int) -> None:
    """Labels for some of the predictions, with what was stored before and without."""
    decoded = decoder.decode([*values], lambda _: ())
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    driver.feed("labels", 0, decoded.block, offsets, offsets, decoded.good)
    driver.rest([("warmup", 0)])
    join = driver.joins["labels", 0]
    for _ in range(2):
        join.persist(join.commit_offset)


def _record(rng: np.random.Generator, time_ms: int, *, drifted: bool) -> bytes:
    out = io.BytesIO()
    row = {
        "time": time_ms,
        "version": "1",
        "x": None if rng.random() < 0.06 else float(rng.normal(2.0 if drifted else 0.0)),
        "y": float(rng.normal()),
        "z": float(rng.normal()),
        "note": "a few words " * int(rng.integers(1, 9)),
        "emb": rng.normal(size=4).tolist(),
        "c": None if rng.random() < 0.04 else str(rng.choice(["a", "d"] if drifted else ["a", "b", "c"])),
    }
    fastavro.schemaless_writer(out, _SCHEMA, row)
    return frame(by_id(1), out.getvalue())


if __name__ == "__main__":
    warm_up()

"""Saved state of a release, as files that stay: what a monitor had stored, what came after it, and what that led to.

``PYTHONPATH=tests:src python -m harness.savedstate`` writes those that the present formats lack.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.codec import decode_message, encode_message
from driftbus.schemas.config import Config
from driftbus.schemas.events import Published, SummaryPart
from driftbus.schemas.jsonlines import event_json, json_line
from driftbus.stream.driver import Driver
from driftbus.stream.files.rows import block_of
from driftbus.stream.judge import Judge
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.state import pack_state, unpack_state
from driftbus.stream.summarise import ShardPart

FOLDER = Path(__file__).parents[1] / "stream" / "golden"
TOPIC, MONITOR, START_MS = "scored", "m", 1_760_000_000_000
PARTITIONS, ROWS, BATCH = 2, 6_000, 200
COUNTRIES = ["PT", "ES", "FR"]


@dataclass(frozen=True)
class Saved:
    """What one file holds.

    Args:
        state: bytes of a monitor's snapshot.
        offset: first message that is not in it.
        rest: the messages from there on.
        events: what the release that wrote them decided from those, as lines of JSON.
        profile: of the monitor.
    """

    state: bytes
    offset: int
    rest: tuple[bytes, ...]
    events: tuple[str, ...]
    profile: Profile

    def write(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        content: dict[str, Any] = {name: getattr(self, name) for name in ("state", "offset")}
        content |= {"rest": list(self.rest), "events": list(self.events), "profile": json.dumps(self.profile.to_dict())}
        path.write_bytes(pack_state(content))

    @classmethod
    def read(cls, path: Path) -> Saved:
        found = unpack_state(path.read_bytes())
        profile = Profile.from_dict(json.loads(found["profile"]))
        return cls(found["state"], found["offset"], tuple(found["rest"]), tuple(found["events"]), profile)


def plans_with(profile: Profile, **monitor: Any) -> Plans:
    """One monitor of one topic, with versions, segments, samples and a policy."""
    stream = {"topic": TOPIC, "time": "ts", "id": "id", "version": "version", "score": "p"}
    config = Config.model_validate(
        {
            "app": "kept",
            "kafka": {"bootstrap": "none:1"},
            "monitors": {
                MONITOR: {
                    "predictions": stream,
                    "segments": ["country"],
                    "detection": {"sample_rows": 4, "events_per_second": 10},
                    "retrain": {"any": [{"drift": {"columns": 1}}]},
                    **monitor,
                }
            },
            "limits": {"pane": 10_000, "lateness": 20_000},
        }
    )
    return build_plans(config, {(MONITOR, "predictions"): profile}, {TOPIC: PARTITIONS}, 1)


class _Recorder(Driver):
    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.parts: list[SummaryPart] = []

    def _judge(self, parts: list[ShardPart]) -> list[Published]:
        self.parts += [part for _, part in parts]
        return []


def parts_of_a_drift() -> tuple[Plans, Profile, list[SummaryPart]]:
    """What stage 1 makes of a stream that drifts after a third of its rows, and comes back."""
    profile = reference()
    driver = _Recorder(plans_with(profile))
    feed(driver)
    return driver.plans, profile, driver.parts


def reference() -> Profile:
    """What the stream is compared with."""
    rng = np.random.default_rng(5)
    return build_profile(
        MONITOR,
        "predictions",
        {
            "income": NumericData(rng.lognormal(10, 0.5, 4_000)),
            "p": NumericData(rng.beta(2, 5, 4_000), role="score"),
            "country": CategoryData(list(rng.choice(COUNTRIES, 4_000))),
        },
    )


def feed(driver: Driver, first: int = 0) -> list[Published]:
    """Feed the stream, from a row on that begins a batch; what was decided."""
    rng = np.random.default_rng(6)
    rows = np.arange(ROWS)
    drifted = (rows >= ROWS // 3) & (rows < ROWS * 5 // 6)
    table: dict[str, Any] = {
        "id": [f"r{i}" for i in range(ROWS)],
        "version": [str(1 + i % 2) for i in range(ROWS)],
        "income": rng.lognormal(10, 0.5, ROWS) * np.where(drifted, 1.7, 1.0),
        "p": rng.beta(2, 5, ROWS),
        "country": list(rng.choice(COUNTRIES, ROWS)),
    }
    times = START_MS + 1_000 * np.arange(ROWS, dtype=np.int64)
    decided: list[Published] = []
    for begin in range(first, ROWS, BATCH):
        for p in range(PARTITIONS):
            mine = range(begin + p, begin + BATCH, PARTITIONS)
            batch = pa.table({name: [values[i] for i in mine] for name, values in table.items()})
            at = times[mine.start : mine.stop : PARTITIONS]
            block = block_of(batch, driver.plans.topics[TOPIC].projection, at.copy())
            offsets = np.arange(begin // PARTITIONS, begin // PARTITIONS + len(mine), dtype=np.int64)
            decided += driver.feed(TOPIC, p, block, offsets, at, np.ones(len(mine), np.bool_)).decided
    return decided + driver.finish()


def make() -> Saved:
    """State in the middle of the drift: episodes and an incident are open, ranges wait."""
    plans, profile, parts = parts_of_a_drift()
    judge = Judge(plans, 0)
    half = len(parts) * 3 // 8
    for offset, part in enumerate(parts[:half]):
        judge.apply(offset, part)
    state = judge.snapshot(MONITOR)
    rest = parts[half:]
    events = [event for i, part in enumerate(rest) for event in judge.apply(half + i, part)]
    lines = [json_line(event_json(event)) for event in events]
    return Saved(state, half, tuple(map(encode_message, rest)), tuple(lines), profile)


def gone_on(saved: Saved, judge: Judge) -> list[str]:
    """What a judge decides from the messages after the saved state."""
    found: Sequence[Published] = [
        event for i, data in enumerate(saved.rest) for event in judge.apply(saved.offset + i, decode_message(data))
    ]
    return [json_line(event_json(event)) for event in found]


def path_of(version: int) -> Path:
    """Where the state of a format is kept."""
    return FOLDER / f"monitor.v{version}.bin"


if __name__ == "__main__":
    made = make()
    target = path_of(int(unpack_state(made.state)["version"]))
    if not target.exists():
        made.write(target)
        print(target, target.stat().st_size, len(made.events))

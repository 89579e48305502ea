"""What a value costs once it is a column: counting and all detectors, against river's ADWIN on the same columns.

Ours counts each pane and gives it to the detectors of a group: location, spread and nulls of every
column on ADWIN with long-run variance, the calibrated index on two windows, episodes. Theirs is
one `river.drift.ADWIN` a column, fed value by value. The detectors take a pane at a time, so the
smaller the panes, the more a value costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from river.drift import ADWIN

from benchmarks import events
from benchmarks.core import plan_of
from benchmarks.measure import Ratio, Report, rates
from driftbus.detectors.group import GroupDetector, Settings
from driftbus.detectors.profile import Profile
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import Block
from driftbus.schemas.decode.batch import BatchDecoder

_BLOCK = 10_000
_COLUMNS = len(events.NUMBERS)


def _ours(profile: Profile, block: Block, rows: int, panes: int) -> Callable[[], int]:
    """A call that counts and judges `panes` panes of `rows` rows each."""
    counter = Counter(profile, range(_COLUMNS), [])
    entry, settings = np.arange(_BLOCK) // rows, Settings(pane_ms=10_000)

    def call() -> int:
        group, transitions = GroupDetector(profile, settings), 0
        for first in range(0, panes, _BLOCK // rows):
            counts, _ = counter.count(block, entry, _BLOCK // rows)
            for i, pane in enumerate(counts):
                transitions += len(group.update(first + i, pane, rows))
        return transitions

    return call


def _theirs(columns: list[list[float]]) -> Callable[[], int]:
    detector_class: Any = ADWIN

    def call() -> int:
        alarms = 0
        for column in columns:
            detector = detector_class()
            for value in column:
                detector.update(value)
                alarms += detector.drift_detected
        return alarms

    return call


def run(*, quick: bool) -> Report:
    """Values per second."""
    data = events.rows(20_000)
    profile = events.profile(data)
    projection = plan_of(profile).projection
    block = BatchDecoder(projection, events.OneSchema()).decode(events.Encoded(data).values(0, _BLOCK)).block
    numeric = replace(profile, columns=profile.columns[:_COLUMNS])
    n = 2_000 if quick else 5_000
    columns = [[v for v in row[:n].tolist() if v == v] for row in block.numeric[:_COLUMNS]]
    candidates = {"river": (_theirs(columns), n * _COLUMNS)}
    for rows in (1_000, 100, 10):
        panes = max(_BLOCK // rows, 200 if quick else 500)
        panes -= panes % (_BLOCK // rows)
        candidates[str(rows)] = (_ours(numeric, block, rows, panes), panes * rows * _COLUMNS)
    found = rates(candidates, rounds=3 if quick else 5)
    return Report(
        "engine: counts and all detectors on 20 numeric columns, decoded, one core",
        [
            Ratio(
                f"panes of {rows:,} rows: driftbus / river ADWIN",
                found[str(rows)],
                found["river"],
                "values/s",
                30.0 if rows == 1_000 else None,
                "here each pane is its detectors' fixed cost" if rows == 10 else "",
            )
            for rows in (1_000, 100, 10)
        ],
    )

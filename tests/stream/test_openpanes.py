from __future__ import annotations

import random

import pytest

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import Entry, Group
from driftbus.stream.crowding import OTHER
from driftbus.stream.outcomes import openpanes
from driftbus.stream.outcomes.openpanes import OpenPanes

SHAPE = OutcomeShape(kind="multiclass", classes=("a", "b"))
MOST = 4


def entry(version: str, segment: str = "", tick: int = 1, cohort: int = 0) -> Entry:
    return Entry(
        Group("credit", "outcomes", version, segment), tick, 1, 0, 1, b"\0\0\0\0", b"\1", cohort=cohort
    )  # fmt: skip

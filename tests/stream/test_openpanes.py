from __future__ import annotations

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.events import Entry, Group

SHAPE = OutcomeShape(kind="multiclass", classes=("a", "b"))
MOST = 4


def entry(version: str, segment: str = "", tick: int = 1, cohort: int = 0) -> Entry:
    return Entry(
        Group("credit", "outcomes", version, segment), tick, 1, 0, 1, b"\0\0\0\0", b"\1", cohort=cohort
    )  # fmt: skip

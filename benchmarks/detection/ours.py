"""driftbus's detectors on arrays: the project's profile, its panes, its `GroupDetector`; and how to score what it says.

Many independent runs are the columns of one group, which the detectors never mix: that is faster,
and what is measured is what runs in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.streams import PANE, Sample, Values
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition
from driftbus.schemas.config import DetectionConfig


@dataclass(frozen=True, slots=True)
class Said:
    """A transition, and how many rows of the stream had been seen when it was published."""

    row: int
    transition: Transition


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run scored.

    Args:
        false_alarms: episodes opened without or before the change.
        delay: rows from the change to the first word of it, None if there was none.
        reopened: further episodes opened after that word: duplicates.
        error: estimated minus true change point, in rows; None without an estimate.
        covered: whether the interval of the change point holds it.
    """

    false_alarms: int
    delay: int | None = None
    reopened: int = 0
    error: int | None = None
    covered: bool | None = None


def settings_for(
    columns: int,
    *,
    budget: float | None = None,
    events_per_second: float = 10.0,
    pane: int = PANE,
    row_s: float = 0.1,
) -> Settings:
    """The defaults; `budget` is the number of false alarms accepted a week, None for undivided levels."""
    config = DetectionConfig(false_alarms_per_week=budget, events_per_second=events_per_second)
    return Settings.from_config(config, columns, max(1, round(row_s * pane * 1000)))


def profile_of(columns: Mapping[str, Values], *, ordered: bool = False) -> Profile:
    """The reference: float columns are numeric (NaN is null), integer columns are codes of categories (-1 is null)."""
    data = {name: data_of(values) for name, values in columns.items()}
    return build_profile("benchmark", "features", data, ordered=ordered)


def panes_of(profile: Profile, columns: Mapping[str, Values], pane: int = PANE) -> Iterator[NDArray[np.int64]]:
    """Vectors of counts of `pane` rows each; rows that don't fill one are left out."""
    layout = profile.layout()
    cells = np.array([o + _cells(c, columns[c.name]) for c, o in zip(profile.columns, layout.offsets, strict=True)])
    cells = np.ascontiguousarray(cells.T)
    for start in range(0, cells.shape[0] - pane + 1, pane):
        yield np.bincount(cells[start : start + pane].ravel(), minlength=layout.total).astype(np.int64)


def detect(
    profile: Profile, columns: Mapping[str, Values], settings: Settings, pane: int = PANE, first: int = 0
) -> list[Said]:
    """What a fresh group says of a stream; volume, which is not simulated, is left out. `first` is the first tick."""
    group = GroupDetector(profile, settings)
    return [
        Said((tick + 1) * pane, transition)
        for tick, counts in enumerate(panes_of(profile, columns, pane))
        for transition in group.update(first + tick, counts, pane)
        if transition.aspect != "volume"
    ]


def outcomes(
    samples: Sequence[Sample],
    *,
    columns: int = 1,
    budget: float | None = None,
    pane: int = PANE,
    changed: Mapping[str, float] | None = None,
) -> list[Outcome]:
    """Runs of equal length and kind, scored.

    Args:
        samples: the runs.
        columns: of the monitor, for the budget.
        budget: false alarms a week; None: undivided levels.
        pane: rows of a pane.
        changed: constants of `Settings` that differ from the defaults.
    """
    first, names = samples[0], [str(i) for i in range(len(samples))]
    rows = min(run.values.size for run in samples)
    profile = profile_of({name: run.reference for name, run in zip(names, samples, strict=True)}, ordered=first.ordered)
    settings = settings_for(columns, budget=budget, pane=pane, row_s=first.row_s)
    settings = replace(settings, **(changed or {}))
    stream = {name: run.values[:rows] for name, run in zip(names, samples, strict=True)}
    said: dict[str, list[Said]] = {name: [] for name in names}
    for one in detect(profile, stream, settings, pane):
        said[one.transition.column].append(one)
    return [score(said[name], run.change, pane) for name, run in zip(names, samples, strict=True)]


def score(said: Sequence[Said], change: int | None, pane: int = PANE) -> Outcome:
    """What was said of one column, against the truth."""
    opened = [one for one in said if one.transition.status == "opened"]
    if change is None:
        return Outcome(len(opened))
    before = sum(one.row <= change for one in opened)
    words = [one for one in said if one.row > change and one.transition.status != "closed"]
    if not words:
        return Outcome(before)
    first = words[0]
    t = first.transition
    return Outcome(
        false_alarms=before,
        delay=first.row - change,
        reopened=sum(one.row > first.row for one in opened),
        error=t.since_tick * pane - change,
        covered=t.since_low_tick * pane <= change <= (t.since_high_tick + 1) * pane,
    )


def data_of(values: Values) -> NumericData | CategoryData:
    """Reference rows as profiles are made from."""
    if values.dtype.kind == "f":
        return NumericData(np.asarray(values, np.float64), ~np.isnan(values))
    return CategoryData([None if code < 0 else str(code) for code in values.tolist()])


def _cells(column: ColumnProfile, values: Values) -> NDArray[np.int64]:
    if column.kind == "categorical":
        place = np.full(int(values.max(initial=0)) + 2, column.bins, np.int64)
        for cell, name in enumerate(column.categories):
            if int(name) < place.size - 1:
                place[int(name)] = cell
        place[-1] = column.bins + 1  # what code -1, null, points to
        return np.asarray(place[values], np.int64)
    cells = 1 + np.searchsorted(column.edges, values)
    cells[values < column.low], cells[values > column.high] = 0, column.bins + 1
    cells[np.isnan(values)], cells[np.isinf(values)] = column.bins + 2, column.bins + 3
    return np.asarray(cells, np.int64)

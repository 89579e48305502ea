"""Labels of a replay over a file: where they are, which prediction each is of, and when it came."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import build_profile
from driftbus.schemas.columns import MISSING_TIME
from driftbus.schemas.configtypes import parse_duration_ms
from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.cells import pc, texts
from driftbus.stream.files.filetimes import NICE_MS, Timeline, read_times
from driftbus.stream.files.survey import Wishes, check_column, survey
from driftbus.stream.files.table import Table, open_table
from driftbus.stream.files.timecells import TimeForm
from driftbus.stream.files.training import Training, make_profile

ROW = "__row__"
"""Column that identifies rows where the file has none."""

COHORTS = 20
"""Cohorts that the rows of a file are divided into, if a cohort has rows enough."""

_COHORT_ROWS = 1_000
_LEARNED_SHARE, _LEARNED_ROWS = 0.1, 1_000
_ROWS = re.compile(r"([\d_]+)\s*rows?")


@dataclass(frozen=True, slots=True)
class LabelWishes:
    """What a person said about labels.

    Args:
        path: file that has them; None: the replayed file, or none at all.
        time: column of that file that says when each label came.
        delay: how long after its prediction each came: ``5000rows`` or ``7d``; "" for at once.
    """

    path: Path | None = None
    time: str = ""
    delay: str = ""


@dataclass(slots=True)
class FileLabels:
    """Labels, ready to be replayed, in the order in which they came.

    Attributes:
        topic: name of their source.
        id, label: columns.
        rows: table of both columns.
        time_ms: int64[n], when each came.
        profile: of the label.
        lag_ms: the longest time from a prediction to its label.
        notes: sentences for people.
    """

    topic: str
    id: str
    label: str
    rows: Any
    time_ms: NDArray[np.int64]
    profile: Profile
    lag_ms: int
    notes: list[str] = field(default_factory=list)


def find_label(table: Table, training: Training, wishes: Wishes, labels: LabelWishes) -> str:
    """The label's column, "" when there are no labels to be replayed.

    Raises:
        ConfigError: it isn't there, or several columns could be it.
    """
    if labels.path is None:
        found = training.survey.named("label") if training.survey is not None else ""
        name = wishes.label or found
        if name not in table.names:
            if labels.delay or labels.time:
                raise ConfigError("which column has the labels?", key="--label", fix="name it, or give --labels FILE")
            return ""
        return name
    names = open_table(labels.path).names
    check_column(wishes.label, names, labels.path.name, "--label")
    check_column(labels.time, names, labels.path.name, "--label-time")
    if wishes.label:
        return wishes.label
    known = set(training.survey.data) if training.survey is not None else set()
    rest = [name for name in names if name not in (wishes.id, labels.time) and name not in table.names]
    found_here = rest if len(rest) == 1 else [name for name in rest if name in known]
    if len(found_here) != 1:
        raise ConfigError(f"which column of {labels.path.name} is the label?", key="--label", fix=f"{', '.join(names)}")
    return found_here[0]


def read_labels(
    table: Table, timeline: Timeline, training: Training, label: str, wishes: Wishes, labels: LabelWishes, monitor: str
) -> FileLabels:
    """The labels of a file's rows.

    Args:
        table, timeline: the predictions.
        training: the reference; the label's profile if it has the label, else the first labels are.
        label: its column, see `find_label`.
        wishes, labels: what is said about them.
        monitor: whose they are.

    Raises:
        ConfigError: ids or times can't be found.
    """
    own = open_table(labels.path) if labels.path is not None else table
    id_ = _id_of(table, own, label, wishes) if labels.path is not None else wishes.id
    held = own.read([name for name in dict.fromkeys((id_, label)) if name])
    if labels.path is None and timeline.order is not None:
        held = held.take(pa.array(timeline.order))
    notes: list[str] = []
    if labels.path is None:
        place = np.arange(timeline.time_ms.size)
        if not id_:
            held = held.append_column(ROW, pa.array(place))
    else:
        ids = _whole(table.read([id_]).column(id_))
        ids = ids if timeline.order is None else ids.take(pa.array(timeline.order))
        place = pc.index_in(texts(_whole(held.column(id_))), value_set=texts(ids)).fill_null(-1).to_numpy()
    time_ms = _came_at(own, timeline, place, labels, notes)
    known = time_ms != MISSING_TIME
    if not known.all():
        notes.append(f"{own.name}: {int((~known).sum()):,} labels left out, without a time or a row of their id")
    at = np.flatnonzero(known)[np.argsort(time_ms[known], kind="stable")]
    if not at.size:
        raise ConfigError(f"no label of {own.name} belongs to a row of {table.name}", key="--id", fix="name the id")
    rows, time_ms, place = held.take(pa.array(at)), time_ms[at], place[at]
    mine = place >= 0
    lag = int((time_ms[mine] - timeline.time_ms[place[mine]]).max(initial=0))
    profile = _profile(training, rows, label, monitor, notes)
    topic = labels.path.name if labels.path is not None else f"{table.name}#{label}"
    return FileLabels(topic, id_ or ROW, label, rows, time_ms, profile, lag, notes)


def cohort_ms_of(timeline: Timeline, pane_ms: int) -> int:
    """A duration that people read easily, for about `COHORTS` cohorts; whole panes."""
    first, last = timeline.span()
    rows = max(_COHORT_ROWS, timeline.known.size / COHORTS)
    wanted = max(1.0, (last - first) * rows / max(1, timeline.known.size))
    nice = min(NICE_MS, key=lambda ms: abs(np.log(ms / wanted)))
    return max(1, -(-nice // pane_ms)) * pane_ms


def _came_at(
    own: Table, timeline: Timeline, place: NDArray[np.int64], labels: LabelWishes, notes: list[str]
) -> NDArray[np.int64]:
    """int64[n], when each label came; `MISSING_TIME` where that can't be known."""
    if labels.time:
        found = read_times(own, Wishes(time=labels.time), "", TimeForm())
        assert found is not None
        return found.time_ms if labels.path is not None or timeline.order is None else found.time_ms[timeline.order]
    mine = place >= 0
    time_ms = np.full(place.size, MISSING_TIME, np.int64)
    rows = _ROWS.fullmatch(labels.delay.strip())
    if rows:
        time_ms[mine] = _later(timeline.time_ms, place[mine] + int(rows[1].replace("_", "")))
        return time_ms
    try:
        delay = parse_duration_ms(labels.delay) if labels.delay else 0
    except ValueError as error:
        raise ConfigError(str(error), key="--label-delay", fix="write 5000rows or 7d") from error
    of = timeline.time_ms[place[mine]]
    time_ms[mine] = np.where(of == MISSING_TIME, MISSING_TIME, of + delay)
    if not delay:
        notes.append("labels are taken to come with their predictions (--label-delay, --label-time)")
    return time_ms


def _later(time_ms: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of places that may lie behind the last row: there rows come as they did on average."""
    reached = np.maximum.accumulate(time_ms)
    last = time_ms.size - 1
    step = float(reached[-1] - reached[0]) / max(1, last)
    beyond = np.maximum(place - last, 0)
    return reached[np.minimum(place, last)] + np.ceil(beyond * step).astype(np.int64)


def _id_of(table: Table, own: Table, label: str, wishes: Wishes) -> str:
    for where in (table, own):
        check_column(wishes.id, where.names, where.name, "--id")
    if wishes.id:
        return wishes.id
    common = [name for name in own.names if name in table.names and name != label]
    if len(common) != 1 and "id" not in common:
        raise ConfigError(
            f"by which column do labels of {own.name} find rows of {table.name}?",
            key="--id",
            fix=f"both have {', '.join(common)}" if common else "they have no column in common",
        )
    return common[0] if len(common) == 1 else "id"


def _profile(training: Training, rows: Any, label: str, monitor: str, notes: list[str]) -> Profile:
    """The reference of the label as a column: training rows if they have it, else the first labels."""
    if training.survey is not None and label in training.survey.data:
        return make_profile(training, monitor, "labels", columns=[label])
    first = max(_LEARNED_ROWS, int(_LEARNED_SHARE * rows.num_rows))
    found = survey(rows.slice(0, first).select([label]), Wishes(label=label, untimed=True), where=label)
    notes.append(f"{label}: compared with its first {found.rows:,} labels, {training.name} has none")
    return build_profile(monitor, "labels", found.data, ordered=True, rows=found.rows)


def _whole(column: Any) -> Any:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column

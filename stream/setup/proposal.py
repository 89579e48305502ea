"""What the fields of a topic are good for: proposed by name and type, checked against sampled records."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from driftbus.schemas.fields import FieldType
from driftbus.stream.files.prose import reads_like_prose
from driftbus.stream.files.vectors import is_embedding

FREE_TEXT_FROM = 200
"""Different texts in a sample from which on a field is no category."""

_SEGMENT_VALUES = range(2, 13)
_FEW = 20
_NAMES: dict[str, tuple[str, ...]] = {
    "time": (
        r"event_(time|timestamp|ts)",
        r"(prediction|predicted|scored)_(time|timestamp|ts|at)",
        r"timestamp(_ms)?",
        r"ts(_ms)?",
        r"time(_ms)?",
        r"(created|occurred|requested)_at",
        r"(event_)?date_?time|date",
        r".*_(time|timestamp|ts|at)(_ms)?",
    ),
    "id": (
        r"(prediction|request|event|inference)_(id|uuid|key)",
        r"(id|uuid|guid)",
        r"(transaction|trace|message|record|row|order|application)_(id|uuid|key|no|number)",
        r".*_(id|uuid|guid)",
    ),
    "score": (
        r"(y_)?(score|proba|probability|prob)",
        r"y_(pred_)?(proba|prob|score)",
        r"(model|prediction|predicted|pred|raw)_(score|proba|probability|prob|value)",
        r"(p|prob|proba|score)_.+|.+_(score|proba|probability|prob)",
        r"confidence|margin|logit",
    ),
    "prediction": (r"prediction|predicted|y_pred|y_hat", r"(predicted|prediction)_.+|.+_pred(iction)?", r"decision"),
    "label": (r"label|target|y_true|ground_truth|outcome|actual", r".+_(label|outcome)|actual_.+"),
    "version": (r"(model_)?(version|ver|revision|tag)", r"(model|pipeline|schema)_(id|name)"),
    "segment": (
        r"country(_code)?|market|region",
        r"channel|segment|platform|tenant|brand",
        r"(device|customer|user|account|product|client)(_type|_tier|_segment|_group|_category)?",
        r"state|city|language|locale|tier|plan|store|site",
    ),
}
_PLAUSIBLE_S = (946_684_800.0, 4_102_444_800.0)
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Choice:
    """A field and why it was chosen, in a few words."""

    field: str
    why: str


@dataclass(slots=True)
class Column:
    """A field as seen in a sample.

    Args:
        path: dotted name; a key of a top-level map stands by itself.
        type: what the schema says.
        values: those present, in the order of the sample.
        rows: records in the sample.
        parent: name of the map it is a key of, "" for a field.
    """

    path: str
    type: FieldType
    values: list[Any]
    rows: int
    parent: str = ""

    @property
    def name(self) -> str:
        """The last part of the path, in lower snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s\-]+", "_", self.path.rpartition(".")[2]).lower()

    @property
    def distinct(self) -> list[str]:
        """Different values as texts, most frequent first."""
        counts: dict[str, int] = {}
        for value in self.values:
            counts[_text(value)] = counts.get(_text(value), 0) + 1
        return sorted(counts, key=lambda text: (-counts[text], text))

    @property
    def unique(self) -> bool:
        """Whether every record has a value of its own."""
        return len(self.values) == self.rows >= _FEW and len(self.distinct) == self.rows


@dataclass(slots=True)
class Proposal:
    """What `driftbus init` writes down.

    Attributes:
        stream: ``predictions``, ``features`` or ``labels``.
        mapped: key of the configuration (time, id, score, ...) → choice.
        time_unit: of a plain number.
        where: fields that pick the monitor's records out of the topic.
        segments: proposed.
        more_segments: possible as well.
        ignore: fields that say nothing about drift.
        numeric, categorical, embeddings: features.
        events_per_second: measured in the sample, None if it can't be.
    """

    stream: str = "predictions"
    mapped: dict[str, Choice] = field(default_factory=dict)
    time_unit: str = "ms"
    where: dict[str, str] = field(default_factory=dict)
    segments: list[Choice] = field(default_factory=list)
    more_segments: list[Choice] = field(default_factory=list)
    ignore: list[Choice] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    embeddings: list[str] = field(default_factory=list)
    events_per_second: float | None = None


def columns_of(types: Mapping[str, FieldType], records: Sequence[Any]) -> list[Column]:
    """The columns of sampled records, keys of top-level maps among them."""
    columns: dict[tuple[str, str], Column] = {}
    for path, type_ in types.items():
        if not type_.kind.startswith("map_"):
            values = [value for record in records if (value := _at(record, path)) is not None]
            columns["", path] = Column(path, type_, values, len(records))
        elif "." not in path:
            kind = FieldType("numeric", "double") if type_.kind == "map_numeric" else FieldType("categorical", "string")
            for record in records:
                for key, value in (_at(record, path) or {}).items():
                    column = columns.setdefault((path, key), Column(key, kind, [], len(records), path))
                    column.values += [] if value is None else [value]
    return list(columns.values())


def propose(columns: Sequence[Column], schema_name: str = "") -> Proposal:
    """What each column is good for.

    Args:
        columns: as `columns_of` gives them.
        schema_name: full name of the record type; driftbus's own events are recognised by it.
    """
    proposal, left = Proposal(), list(columns)
    if schema_name.startswith("io.driftbus."):
        left = _own_fields(proposal, left)
    _choose(proposal, left, "time", _as_time)
    _choose(proposal, left, "id", _as_id)
    _choose(proposal, left, "version", _as_version)
    _choose(proposal, left, "score", _as_score)
    _choose(proposal, left, "prediction", _as_class)
    _choose(proposal, left, "label", _as_class)
    if "time" in proposal.mapped:
        chosen = next(column for column in columns if column.path == proposal.mapped["time"].field)
        proposal.time_unit = _unit(chosen) or "ms"
        proposal.events_per_second = _rate(chosen, proposal.time_unit)
    _segments(proposal, left)
    for column in left:
        reason = _useless(column)
        if column.parent == "segments":
            continue
        if reason:
            proposal.ignore.append(Choice(column.path, reason))
        elif column.type.kind == "numeric":
            proposal.numeric.append(column.path)
        elif column.type.kind == "vector":
            proposal.embeddings.append(column.path)
        else:
            proposal.categorical.append(column.path)
    has_features = bool(proposal.numeric or proposal.categorical or proposal.embeddings)
    if "label" in proposal.mapped and not has_features and "score" not in proposal.mapped:
        proposal.stream = "labels"
    elif not proposal.mapped.keys() & {"score", "prediction"}:
        proposal.stream = "features"
    return proposal


def _choose(proposal: Proposal, left: list[Column], key: str, test: Callable[[Column], str]) -> None:
    """Map the field with the best name that passes the test, and take it out of the rest."""
    if key in proposal.mapped:
        return
    ranked = sorted(
        (
            (rank, i)
            for i, column in enumerate(left)
            if (rank := _rank(key, column.name)) is not None and not column.parent and column.type.kind != "vector"
        ),
    )
    for _, i in ranked:
        why = test(left[i])
        if why:
            proposal.mapped[key] = Choice(left.pop(i).path, why)
            return
    if key == "time":
        for i, column in enumerate(left):
            if column.type.kind == "time":
                proposal.mapped[key] = Choice(left.pop(i).path, _as_time(column))
                return


def _own_fields(proposal: Proposal, columns: list[Column]) -> list[Column]:
    """The fields of driftbus's own events mean what they are called."""
    left = []
    for column in columns:
        if not column.parent and column.path in ("id", "version", "time", "score", "prediction", "label"):
            if column.values or column.path in ("id", "time"):
                proposal.mapped[column.path] = Choice(column.path, "a field of driftbus's own events")
        elif not column.parent and column.path == "monitor":
            proposal.ignore.append(Choice("monitor", "says which monitor the event is for"))
            names = column.distinct
            if names and names[0]:
                proposal.where["monitor"] = names[0]
        else:
            left.append(column)
    return left


def _segments(proposal: Proposal, left: list[Column]) -> None:
    """Fields of few values; those with a usual name are proposed, at most two, the others mentioned."""
    found = []
    for column in left:
        count = len(column.distinct)
        if column.type.kind != "categorical" or column.type.avro == "boolean" or count not in _SEGMENT_VALUES:
            continue
        values = column.distinct
        why = f"{count} values: {', '.join(values[:4])}{', ...' if count > 4 else ''}"
        rank = -1 if column.parent == "segments" else _rank("segment", column.name)
        found.append((math.inf if rank is None else rank, count, Choice(column.path, why)))
    found.sort(key=lambda each: each[:2])
    usual = [choice for rank, _, choice in found if rank < math.inf][:2]
    proposal.segments = usual
    proposal.more_segments = [choice for _, _, choice in found if choice not in usual][:5]


def _rank(key: str, name: str) -> int | None:
    return next((i for i, pattern in enumerate(_NAMES[key]) if re.fullmatch(pattern, name)), None)


def _as_time(column: Column) -> str:
    if column.type.kind == "time":
        return column.type.logical or column.type.avro
    if column.type.kind == "numeric" and column.type.avro in ("long", "double", "int"):
        unit = _unit(column)
        return f"a number in {unit} since 1970" if unit else ""
    if column.type.kind == "categorical" and column.values and all(map(_is_iso, column.values[:100])):
        return "text in ISO 8601"
    return ""


def _as_id(column: Column) -> str:
    if column.type.kind == "time" or column.type.avro in ("double", "float", "boolean", "enum"):
        return ""
    if column.unique:
        return f"different in all {column.rows:,} sampled records"
    return "by its name" if column.rows < _FEW and len(column.distinct) == len(column.values) else ""


def _as_version(column: Column) -> str:
    count = len(column.distinct)
    if column.type.kind == "time" or count > _FEW:
        return ""
    return f"{count} in the sample: {', '.join(column.distinct[:3])}" if count else "by its name"


def _as_score(column: Column) -> str:
    if column.type.kind != "numeric":
        return ""
    finite = [float(v) for v in column.values if isinstance(v, int | float) and math.isfinite(v)]
    return f"a number, {min(finite):.4g} to {max(finite):.4g}" if finite else "a number"


def _as_class(column: Column) -> str:
    if column.type.kind == "numeric":
        return _as_score(column)
    values = column.distinct
    return f"{len(values)} values: {', '.join(values[:3])}" if 0 < len(values) <= FREE_TEXT_FROM else ""


def _useless(column: Column) -> str:
    if column.type.kind == "time":
        return "a time only ever moves on"
    if column.type.kind == "other":
        return f"{column.type.avro} is nothing to watch"
    if column.type.kind == "vector":
        return "" if _same_length(column.values) else "lists of different lengths, or of one number"
    if column.type.avro in ("double", "float", "boolean", "enum") or column.type.logical == "decimal":
        return ""
    texts = [str(value) for value in column.values] if column.type.kind == "categorical" else []
    if _rank("id", column.name) is None and reads_like_prose(pa.array(texts, pa.string())):
        return ""
    count = len(column.distinct)
    if column.unique and (column.type.kind == "categorical" or _rank("id", column.name) is not None):
        return "different in every record"
    if column.type.kind == "categorical":
        return f"free text, {count:,} different" if count >= FREE_TEXT_FROM else ""
    if _rank("time", column.name) is not None and _unit(column):
        return "a time only ever moves on"
    return f"identifier, {count:,} different" if _rank("id", column.name) is not None and count > FREE_TEXT_FROM else ""


def _same_length(values: Sequence[Any]) -> bool:
    lengths = np.array([len(value) for value in values if isinstance(value, list)], np.float64)
    return not lengths.size or is_embedding(lengths, np.ones(lengths.size, np.uint8))


def _unit(column: Column) -> str:
    """Unit in which all numbers of a column are plausible times, "" for none."""
    numbers = [float(v) for v in column.values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return next((u for u, f in _UNITS.items() if _PLAUSIBLE_S[0] * f <= low and high <= _PLAUSIBLE_S[1] * f), "")


def _rate(column: Column, unit: str) -> float | None:
    """Records a second in the densest half of the sample, two digits.

    The newest records of several partitions do not begin at the same time; in the densest half they overlap.
    """
    seconds = sorted(s for value in column.values if (s := _seconds(value, unit)) is not None)
    half = len(seconds) // 2
    if half < _FEW:
        return None
    span = min(seconds[i + half] - seconds[i] for i in range(len(seconds) - half))
    return float(f"{half / span:.2g}") if span > 0 else None


def _seconds(value: Any, unit: str) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float):
        return value / _UNITS[unit]
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) and _is_iso(value) else None


def _is_iso(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _at(record: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(record, Mapping):
            return None
        record = record.get(name)
    return record


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)

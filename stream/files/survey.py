"""What the columns of a reference are: watched as numbers or categories, or left out and why."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.detectors.profile import Role
from driftbus.detectors.reference import MOST_CATEGORIES, CategoryData, NumericData
from driftbus.schemas.columns import INVALID, MISSING_TIME, NULL, PRESENT
from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.cells import is_number, is_text, numbers, pc, texts
from driftbus.stream.files.prose import reads_like_prose, text_data
from driftbus.stream.files.timecells import TimeForm, guess_time, times
from driftbus.stream.files.vectors import is_embedding, is_vector, vector_cells, vector_data

Data = NumericData | CategoryData

LEAST_UNIQUE = 20
"""Rows from which on a column of nothing but different values is an identifier."""

_FEW_CLASSES = 20
_SAMPLE = 10_000
_SHARE_OF_NUMBERS = 0.9
_SHARE_OF_KEPT = 0.8
_LONG_TEXT = 60
_ID_NAME = re.compile(
    r"(?:^|[_\-. ])(?:id|uuid|guid|key|index|idx|rownum|row_number)$|[a-z](?:Id|ID|UUID|Key)$", re.IGNORECASE
)
_TIME_NAMES = ("timestamp", "event_time", "eventtime", "event_timestamp", "ts", "datetime", "time", "date", "date_time")
_TIME_NAME = re.compile(r"time|date|(?:^|_)(?:ts|dt|at)$|day$", re.IGNORECASE)
_ROLE_NAMES: dict[Role, tuple[str, ...]] = {
    "score": ("y_pred_proba", "y_proba", "y_prob", "y_score", "score", "probability", "pred_proba"),
    "prediction": ("y_pred", "y_hat", "prediction", "predicted", "pred"),
    "label": ("y_true", "label", "target", "outcome", "ground_truth", "actual"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person said about the columns of a file. Names; "" means: find out.

    Args:
        time, id, score, prediction, label: columns with that meaning.
        ignore: columns to leave out.
        categorical: numbers to be treated as categories.
        text: columns of free text; others are recognised.
        untimed: True when rows get times of their own and no time column is wanted.
    """

    time: str = ""
    id: str = ""
    score: str = ""
    prediction: str = ""
    label: str = ""
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    untimed: bool = False


@dataclass(slots=True)
class Survey:
    """The columns of a reference.

    Attributes:
        rows: number of rows.
        data: the watched columns, in the order of the file.
        time: column of the event time, "" for none.
        form: how it writes times.
        time_ms: int64[rows], None without event time.
        left_out: (column, why).
        notes: sentences about bad cells and guesses.
    """

    rows: int
    data: dict[str, Data]
    time: str = ""
    form: TimeForm = field(default_factory=TimeForm)
    time_ms: NDArray[np.int64] | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def named(self, role: Role) -> str:
        """The column of a role, "" if there is none."""
        return next((name for name, data in self.data.items() if data.role == role), "")


def survey(table: Any, wishes: Wishes, *, where: str, decimal_comma: bool = False) -> Survey:
    """Look at every column of a reference.

    Args:
        table: pyarrow Table.
        wishes: what a person said.
        where: the file's name, for errors.
        decimal_comma: see `cells.numbers`.

    Raises:
        ConfigError: a wish names a column that there isn't; no column is left to watch.
    """
    names = list(table.column_names)
    for option in ("time", "id", "score", "prediction", "label"):
        check_column(getattr(wishes, option), names, where, f"--{option}")
    for name in wishes.ignore:
        check_column(name, names, where, "--ignore")
    for name in wishes.text:
        check_column(name, names, where, "text")
    columns = {name: _whole(table.column(name)) for name in names}
    found = Survey(table.num_rows, {})
    time_like = find_time(columns, wishes)
    if wishes.untimed:
        found.left_out += [(name, "time") for name in time_like]
    elif time_like:
        found.time, found.form = next(iter(time_like.items()))
        found.time_ms = times(columns[found.time], found.form)
        found.left_out += [(name, "another time") for name in list(time_like)[1:]]
        _check_times(found, where, wishes)
    roles = _roles(names, wishes)
    for name, column in columns.items():
        if name in time_like:
            continue
        if name == wishes.id or name in wishes.ignore:
            found.left_out.append((name, "id" if name == wishes.id else "ignored"))
            continue
        if is_vector(column.type):
            _take_vectors(found, name, column)
            continue
        role = roles.get(name, "feature")
        looked = _look(name, column, role, name in wishes.categorical, decimal_comma)
        if name in wishes.text or (isinstance(looked, str) and _is_prose(column)):
            found.data |= text_data(name, texts(column))
        elif isinstance(looked, str):
            found.left_out.append((name, looked))
        else:
            found.data[name] = looked
            _note_invalid(found, name, looked)
    if not found.data:
        reasons = ", ".join(f"{name} ({why})" for name, why in found.left_out) or "it is empty"
        raise ConfigError(
            f"{where} has no column to watch: {reasons}",
            fix="is it the right file, with one row per event and one column per feature?",
        )
    return found


def reason_to_leave_out(name: str, data: Data) -> str:
    """Why a column says nothing about drift; "" when it is worth watching."""
    return _of_numbers(name, data) if isinstance(data, NumericData) else _of_texts(pa.array(data.values, pa.string()))


def find_time(columns: dict[str, Any], wishes: Wishes) -> dict[str, TimeForm]:
    """Columns that hold times, the event time first."""
    forms = {}
    for name, column in columns.items():
        if name in wishes.ignore and name != wishes.time:
            continue
        form = guess_time(column.slice(0, _SAMPLE), name == wishes.time or bool(_TIME_NAME.search(name)))
        if form is not None:
            forms[name] = form
    if wishes.time and wishes.time not in forms:
        raise ConfigError(
            f"column {wishes.time!r} holds no times",
            key="--time",
            fix="write them like 2025-10-16T09:40:00, or as s, ms, us or ns since 1970",
        )

    def rank(name: str) -> tuple[bool, int, int]:
        lower = name.lower()
        known = _TIME_NAMES.index(lower) if lower in _TIME_NAMES else len(_TIME_NAMES)
        return name != wishes.time, known, list(forms).index(name)

    return {name: forms[name] for name in sorted(forms, key=rank)}


def check_column(name: str, names: Sequence[str], where: str, option: str) -> None:
    """Raises ConfigError when a named column does not exist; "" is no name."""
    if not name or name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    fix = (
        f"did you mean {close[0]!r}?"
        if close
        else f"it has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    )
    raise ConfigError(
        f"{where} has {'a' if where.startswith('neither ') else 'no'} column {name!r}", key=option, fix=fix
    )


def guessed_label(name: str, data: Data, alone: bool) -> bool:
    """Whether a column that only the reference has is the outcome: by its name, or alone and with few classes."""
    if data.role == "label" or name.lower() in _ROLE_NAMES["label"]:
        return True
    classes = np.unique(data.values).size if isinstance(data, NumericData) else len(set(data.values))
    return alone and classes <= _FEW_CLASSES


def _whole(column: Any) -> Any:
    """One array of a chunked column."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column


def _roles(names: Sequence[str], wishes: Wishes) -> dict[str, Role]:
    """What is said, else the first column with a usual name."""
    roles: dict[str, Role] = {}
    said: dict[Role, str] = {"score": wishes.score, "prediction": wishes.prediction, "label": wishes.label}
    for role, wish in said.items():
        usual = [name for known in _ROLE_NAMES[role] for name in names if name.lower() == known]
        name = wish or next(iter(usual), "")
        if name and (wish or name not in said.values()):
            roles.setdefault(name, role)
    return roles


def _check_times(found: Survey, where: str, wishes: Wishes) -> None:
    assert found.time_ms is not None
    missing = int((found.time_ms == MISSING_TIME).sum())
    if missing:
        found.notes.append(f"{where}: {missing:,} rows without a time in {found.time}")
    if found.rows and missing > found.rows // 2 and wishes.time:
        raise ConfigError(f"{missing:,} of {found.rows:,} rows have no time in {found.time!r}", key="--time")


def _look(name: str, column: Any, role: Role, categorical: bool, decimal_comma: bool) -> Data | str:
    """The typed column, or why it is left out."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return "empty"
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        return f"type {kind}"
    numeric = (
        None if pa.types.is_boolean(kind) or categorical else _as_numbers(column, is_text(kind), role, decimal_comma)
    )
    if numeric is not None:
        return _of_numbers(name, numeric) or numeric
    words = texts(column)
    return _of_texts(words) or CategoryData(np.array(words.to_pylist(), np.object_), role)


def _take_vectors(found: Survey, name: str, column: Any) -> None:
    values, status = vector_cells(column)
    if is_embedding(values[0], status[0]):
        found.data |= vector_data(name, zip(values, status, strict=True))
    else:
        empty = not (status[0] == PRESENT).any()
        found.left_out.append((name, "empty" if empty else "lists of different lengths, or of one number"))


def _is_prose(column: Any) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return is_text(kind) and reads_like_prose(texts(column))


def _as_numbers(column: Any, written: bool, role: Role, decimal_comma: bool) -> NumericData | None:
    """None when the column is better read as categories."""
    values, status = numbers(column, decimal_comma)
    present = status == PRESENT
    if written:
        if not present.any() or present.sum() < _SHARE_OF_NUMBERS * (status != NULL).sum():
            return None
        if pc.any(pc.match_substring_regex(texts(column.slice(0, _SAMPLE)), r"^0\d+$")).as_py():
            return None  # codes, like those of postal areas
    if role in ("prediction", "label"):
        classes = np.unique(values[present])
        if classes.size <= _FEW_CLASSES and np.array_equal(classes, np.floor(classes)):
            return None
    return NumericData(np.where(status == INVALID, np.nan, values), status != NULL, role)


def _of_numbers(name: str, data: NumericData) -> str:
    present = np.ones(data.values.size, np.bool_) if data.present is None else data.present
    valid = data.values[present & np.isfinite(data.values)]
    distinct = np.unique(valid)
    if not distinct.size:
        return "empty"
    if distinct.size == 1 and valid.size == data.values.size:
        return "constant"
    if not np.array_equal(distinct, np.floor(distinct)):
        return ""
    unique = distinct.size == data.values.size >= LEAST_UNIQUE
    steps = np.diff(distinct)
    if unique and (bool(_ID_NAME.search(name)) or steps.max() == steps.min()):
        return "unique"
    return "id" if _ID_NAME.search(name) and distinct.size > MOST_CATEGORIES else ""


def _of_texts(words: Any) -> str:
    counted = pc.value_counts(words.drop_null())
    distinct, present = len(counted), len(words) - words.null_count
    if not distinct:
        return "empty"
    if distinct == 1 and present == len(words):
        return "constant"
    if distinct == present >= LEAST_UNIQUE:
        return "unique"
    if distinct <= MOST_CATEGORIES:
        return ""
    counts = np.sort(counted.field("counts").to_numpy())[::-1]
    long = pc.mean(pc.utf8_length(words)).as_py() > _LONG_TEXT
    if long or counts[:MOST_CATEGORIES].sum() < _SHARE_OF_KEPT * present:
        return f"free text, {distinct:,} different"
    return ""


def _note_invalid(found: Survey, name: str, data: Data) -> None:
    if isinstance(data, NumericData):
        present = np.ones(data.values.size, np.bool_) if data.present is None else data.present
        bad = int((present & ~np.isfinite(data.values)).sum())
        if bad:
            found.notes.append(f"{name}: {bad:,} cells of the reference are no numbers")

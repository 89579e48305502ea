"""Scored examples from files: labels, scores, predictions, ids and groups as arrays, one set for each version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.columns import PRESENT
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.files.cells import numbers, texts
from driftbus.stream.files.table import open_table
from driftbus.stream.gate.task import Scored, codes, none_of, shape_of

Texts = list[str | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; "" where there is none.

    Args:
        label, score, prediction, id, version: what they hold.
        groups: columns whose values are compared.
    """

    label: str
    score: str = ""
    prediction: str = ""
    id: str = ""
    version: str = ""
    groups: tuple[str, ...] = ()

    @property
    def named(self) -> list[str]:
        """All of them."""
        mine = (self.label, self.score, self.prediction, self.id, self.version, *self.groups)
        return [name for name in dict.fromkeys(mine) if name]


@dataclass(frozen=True)
class Material:
    """What a gate looks at.

    Args:
        shape: of the outcomes.
        champion: None when nothing is compared.
        candidate: what has to be good enough.
        names: of the champion and of the candidate.
        paired: whether row i of both is the same example.
        notes: sentences for people.
    """

    shape: OutcomeShape
    champion: Scored | None
    candidate: Scored
    names: tuple[str, str]
    paired: bool
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """Columns of a file."""

    label: Texts
    score: NDArray[np.float64]
    guess: Texts
    id: Texts
    version: Texts
    groups: dict[str, Texts]

    @property
    def n(self) -> int:
        return int(self.score.size)


def from_files(
    path: Path,
    columns: Columns,
    config: PerformanceConfig,
    *,
    labels: Path | None = None,
    champion: Path | None = None,
    versions: tuple[str, str] = ("", ""),
) -> Material:
    """Rows of one file with or without a version column, or of two files.

    Args:
        path: scored examples.
        columns: where what stands.
        config: kind, classes, positive and threshold, as far as they are known.
        labels: file with ids and labels, None: they stand beside the scores.
        champion: file of the champion's scores.
        versions: champion and challenger of the version column; "" for the champion: nothing is compared.

    Raises:
        ConfigError: a file can't be read, a column is missing, or there are no rows of a version.
    """
    notes: list[str] = []
    known = None if labels is None else _labels_of(labels, columns, notes)
    mine = _read(path, columns, known, notes)
    other = None if champion is None else _read(champion, columns, known, notes)
    every = [mine, *([] if other is None else [other])]
    kind = shape_of(config, [t for each in every for t in each.label], [t for each in every for t in each.guess])
    if kind.kind == "multiclass" and not columns.prediction:
        raise ConfigError("several classes need the predicted class", key="--prediction", fix="name its column")
    if kind.kind == "regression" and not (columns.score or columns.prediction):
        raise ConfigError("there is no predicted value", key="--prediction", fix="name its column")
    if other is not None:
        pair = _scored(other, kind), _scored(mine, kind)
        return _material(kind, *pair, (champion.name if champion else "", path.name), columns, notes)
    if not columns.version:
        return Material(kind, None, _labelled(_scored(mine, kind), path.name, notes), ("", path.name), False, notes)
    found = {name: _of_version(mine, name, path) for name in versions if name}
    scored = {name: _scored(rows, kind) for name, rows in found.items()}
    if not versions[0]:
        rows = _labelled(scored[versions[1]], versions[1], notes)
        return Material(kind, None, rows, ("", versions[1]), False, notes)
    return _material(kind, scored[versions[0]], scored[versions[1]], versions, columns, notes)


def _read(path: Path, columns: Columns, known: dict[str, str | None] | None, notes: list[str]) -> _Read:
    table = open_table(path)
    wanted = [name for name in columns.named if known is None or name != columns.label]
    for name in wanted:
        if name not in table.names:
            raise ConfigError(
                f"{path.name} has no column {name!r}",
                fix=f"it has {', '.join(table.names[:12])}; say which one is meant",
            )
    whole = table.read(wanted)
    notes += [note for note in (*table.notes, table.misfit_note()) if note]

    def text(name: str) -> Texts:
        return [] if not name else texts(whole.column(name).combine_chunks()).to_pylist()

    ids = text(columns.id)
    label = text(columns.label) if known is None else [known.get(i) if i else None for i in ids]
    score, _ = none_of(whole.num_rows)
    value = columns.score or columns.prediction
    if value:
        cells, status = numbers(whole.column(value).combine_chunks(), table.decimal_comma)
        score = np.where(status == PRESENT, cells, np.nan)
    return _Read(
        label, score, text(columns.prediction), ids, text(columns.version), {g: text(g) for g in columns.groups}
    )


def _labels_of(path: Path, columns: Columns, notes: list[str]) -> dict[str, str | None]:
    if not columns.id:
        raise ConfigError("labels of another file are found by id", key="--id", fix="name the column of ids")
    read = _read(path, Columns(columns.label, id=columns.id), None, notes)
    found: dict[str, str | None] = {}
    for name, label in zip(read.id, read.label, strict=True):
        if name:
            found.setdefault(name, label)
    return found


def _of_version(read: _Read, name: str, path: Path) -> _Read:
    rows = [i for i, version in enumerate(read.version) if version == name]
    if not rows:
        seen = ", ".join(sorted({v for v in read.version if v})[:8])
        raise ConfigError(f"{path.name} has no row of version {name!r}", key="--challenger", fix=f"it has {seen}")

    def of(cells: Sequence[str | None]) -> Texts:
        return [cells[i] for i in rows] if cells else []

    groups = {column: of(cells) for column, cells in read.groups.items()}
    return _Read(of(read.label), read.score[rows], of(read.guess), of(read.id), [], groups)


def _scored(read: _Read, shape: OutcomeShape) -> Scored:
    _, none = none_of(read.n)
    if shape.kind == "regression":
        label, guess = _values(read.label), none
    else:
        label = codes(shape, read.label).astype(np.float64)
        guess = codes(shape, read.guess) if read.guess else none
    ids = tuple(name or "" for name in read.id)
    groups = {column: np.array([cell or "" for cell in cells]) for column, cells in read.groups.items()}
    return Scored(shape, label, read.score, guess, ids, groups)


def _values(cells: Texts) -> NDArray[np.float64]:
    import pyarrow as pa

    values, status = numbers(pa.array(cells, pa.string()))
    return np.where(status == PRESENT, values, np.nan)


def _labelled(rows: Scored, name: str, notes: list[str]) -> Scored:
    """Rows that have a label of a known class or a value; others can say nothing."""
    held = np.isfinite(rows.label) & (rows.label >= 0 if rows.shape.kind != "regression" else True)
    left = int(rows.n - np.count_nonzero(held))
    if left:
        notes.append(f"{name}: {left:,} rows without a label are left out")
    return rows.take(np.flatnonzero(held)) if left else rows


def _material(
    shape: OutcomeShape, champion: Scored, candidate: Scored, names: tuple[str, str], columns: Columns, notes: list[str]
) -> Material:
    """Both versions, row by row where they scored the same examples."""
    one, two = _labelled(champion, names[0], notes), _labelled(candidate, names[1], notes)
    if not columns.id:
        notes.append("without --id the versions' rows are drawn apart, which takes a larger difference to show")
        return Material(shape, one, two, names, False, notes)
    first, second = (_first_rows(rows, name, notes) for rows, name in zip((one, two), names, strict=True))
    common = [name for name in first if name in second]
    if not common:
        notes.append("no id is in both versions: their rows are drawn apart")
        return Material(shape, one, two, names, False, notes)
    if left := len(first) + len(second) - 2 * len(common):
        notes.append(f"{left:,} rows whose id is in one version only are left out")
    rows = [np.array([of[name] for name in common], np.int64) for of in (first, second)]
    return Material(shape, one.take(rows[0]), two.take(rows[1]), names, True, notes)


def _first_rows(rows: Scored, name: str, notes: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for i, each in enumerate(rows.ids):
        if each:
            found.setdefault(each, i)
    if again := rows.n - len(found):
        most, times = Counter(rows.ids).most_common(1)[0]
        notes.append(f"{name}: {again:,} rows repeat an id or have none ({most!r} {times} times); the first counts")
    return found

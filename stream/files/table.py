"""A file of rows (CSV, Parquet, Arrow, Feather) in batches of Arrow columns, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.csvfile import CsvFile, open_csv

BATCH_ROWS = 16_384
"""Rows of a batch of Parquet; also the most that any batch has."""

_PARQUET, _ARROW = (".parquet", ".pq"), (".arrow", ".feather", ".ipc", ".arrows")

_BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What a file leads to that is not what its name says; names of its columns may be no text."""


@dataclass(slots=True)
class Table:
    """Rows of a file.

    Nested records are flattened: ``customer.age`` is a column of its own.

    Attributes:
        path: of the file.
        names: columns in order.
        notes: what was odd about it, in sentences for people.
        decimal_comma: whether texts may write a number as ``1,5``.
    """

    path: Path
    names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    decimal_comma: bool = False
    _csv: CsvFile | None = None

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    def batches(self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most `rows` at a time; `columns` in the order given, None for all.

        Raises:
            ConfigError: the file can't be read on.
        """
        wanted = list(self.names if columns is None else columns)
        for batch in self._all(wanted):
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows at once."""
        wanted = list(self.names if columns is None else columns)
        batches = list(self._all(wanted))
        if not batches:
            return pa.table({name: pa.array([], pa.string()) for name in wanted})
        return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()

    def misfit_note(self) -> str:
        """What is to be said of rows that the last reading had to leave out; "" when there were none."""
        if self._csv is None or self._csv.first_misfit is None:
            return ""
        row, cells = self._csv.first_misfit
        rows = f"{self._csv.misfits:,} row{'s' if self._csv.misfits > 1 else ''}"
        return f"{self.name}: {rows} left out, first row {row} with {cells} cells instead of {len(self.names)}"

    def _all(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        if self._csv is not None:
            yield from self._csv.batches(wanted)
            return
        try:
            parquet = self.path.suffix.lower() in _PARQUET
            for batch in _parquet(self.path, wanted) if parquet else _arrow(self.path):
                batch.validate(full=True)  # offsets and UTF-8 of a file are as its writer left them
                yield _flat(batch).select(wanted)
        except _BROKEN as e:
            raise _unreadable(self.path, e) from e


def open_table(path: Path) -> Table:
    """A file by its extension; .csv and everything unknown is read as CSV, also compressed or zipped.

    Raises:
        ConfigError: there is no such file, or it is not what its name says.
    """
    if not path.is_file():
        near = _neighbour(path)
        raise ConfigError(f"there is no file {path}", fix=f"did you mean {near}?" if near else "check the path")
    if path.suffix.lower() not in (*_PARQUET, *_ARROW):
        file = open_csv(path)
        return Table(path, file.names, file.notes, file.dialect.decimal_comma, file)
    try:
        if path.suffix.lower() in _PARQUET:
            schema = pq.read_schema(path)
        else:
            with _open_arrow(path) as reader:
                schema = reader.schema
        return Table(path, tuple(_flat(_empty(schema)).schema.names))
    except _BROKEN as e:
        raise _unreadable(path, e) from e


def _empty(schema: Any) -> Any:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _parquet(path: Path, wanted: list[str]) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        top = {name.split(".", 1)[0] for name in wanted} | set(wanted)
        names = [name for name in file.schema_arrow.names if name in top]
        yield from file.iter_batches(BATCH_ROWS, columns=names)


def _arrow(path: Path) -> Iterator[Any]:
    with _open_arrow(path) as reader:
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
        else:
            yield from reader


def _open_arrow(path: Path) -> Any:
    """Both containers have one extension in practice: the file format, else the stream format."""
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def _flat(batch: Any) -> Any:
    table = pa.Table.from_batches([batch])
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    flat = table.combine_chunks().to_batches()
    return flat[0] if flat else _empty(table.schema)


def _neighbour(path: Path) -> Path | None:
    """A file of the same beginning in the same folder."""
    stem = path.name.split(".", 1)[0]
    if not path.parent.is_dir():
        return None
    found = sorted(p for p in path.parent.iterdir() if p.is_file() and p.name.split(".", 1)[0] == stem)
    return found[0] if found else None


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = str(error).strip().splitlines()[0].rstrip(".")[:300] if str(error).strip() else type(error).__name__
    return ConfigError(
        f"{path} can't be read: {reason}", fix=f"is it really a {path.suffix.lower()} file, and complete?"
    )

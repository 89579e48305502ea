"""CSV files as batches of texts: the dialect is found out, rows that don't fit are counted and said."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from driftbus.schemas.errors import ConfigError

_SNIFFED = 1 << 18
_BLOCK = 1 << 20
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")


_BROKEN = (EOFError, OSError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error)
"""What reading a file on may raise."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Args:
        delimiter: between cells.
        encoding: of the text.
        header: whether the first row names the columns.
        decimal_comma: whether a number may be written ``1,5``.
    """

    delimiter: str
    encoding: str
    header: bool
    decimal_comma: bool


@dataclass(slots=True)
class CsvFile:
    """A CSV file, also compressed (.gz, .bz2, .zst) or alone in a .zip.

    Attributes:
        path: of the file.
        dialect: how it is written.
        names: columns in order.
        notes: what was odd about it, in sentences for people.
        misfits: rows of the last complete reading that have too few or too many cells.
        first_misfit: (row counted from 1 with the header, its cells), None without misfits.
    """

    path: Path
    dialect: Dialect
    names: tuple[str, ...]
    notes: list[str]
    misfits: int = 0
    first_misfit: tuple[int, int] | None = field(default=None)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows as texts, about a megabyte at a time; `columns` in the order given, None for all.

        Raises:
            ConfigError: the file can't be read on; names the file and what is wrong.
        """
        self.misfits, self.first_misfit = 0, None
        wanted = self.names if columns is None else columns
        with _stream(self.path) as stream:
            try:
                reader = pacsv.open_csv(
                    stream,
                    pacsv.ReadOptions(
                        use_threads=False,
                        block_size=_BLOCK,
                        column_names=list(self.names),
                        skip_rows=int(self.dialect.header),
                        encoding=self.dialect.encoding,
                    ),
                    pacsv.ParseOptions(
                        delimiter=self.dialect.delimiter, newlines_in_values=True, invalid_row_handler=self._misfit
                    ),
                    pacsv.ConvertOptions(
                        column_types=dict.fromkeys(self.names, pa.string()),
                        include_columns=list(wanted),
                        strings_can_be_null=False,
                    ),
                )
                yield from reader
            except (pa.ArrowInvalid, *_BROKEN) as e:
                raise ConfigError(f"{self.path} can't be read: {_sentence(e)}", fix=_advice(e)) from e

    def _misfit(self, row: Any) -> str:
        self.misfits += 1
        if self.first_misfit is None:
            self.first_misfit = (row.number or 0, row.actual_columns)
        return "skip"


def open_csv(path: Path) -> CsvFile:
    """Look at the beginning of a file and find out how it is written.

    Raises:
        ConfigError: it is empty, a zip with several files, or no text.
    """
    with _stream(path) as stream:
        try:
            head = stream.read(_SNIFFED)
        except _BROKEN as e:
            raise ConfigError(f"{path} can't be read: {_sentence(e)}", fix=_advice(e)) from e
    text, encoding = _decoded(path, bytes(head))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"{path} is empty", fix="it needs a line with the names of the columns, and rows")
    if len(head) == _SNIFFED and len(lines) > 1:
        lines.pop()  # perhaps cut off
    delimiter = _delimiter(lines[:50])
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines[:20])), delimiter=delimiter))
    except csv.Error as e:
        raise ConfigError(f"{path} can't be read: {_sentence(e)}", fix=_advice(e)) from e
    header = not _is_data(rows)
    notes = []
    if header:
        names, renamed = _unique(rows[0])
        if renamed:
            notes.append(f"{path.name}: columns without a name of their own are called {', '.join(renamed)}")
    else:
        names = tuple(f"c{i}" for i in range(len(rows[0])))
        notes.append(f"{path.name} has no header (its first row is data): columns are called c0 .. c{len(names) - 1}")
    if encoding != "utf8":
        notes.append(f"{path.name} is not UTF-8; read as Windows-1252")
    return CsvFile(path, Dialect(delimiter, encoding, header, delimiter == ";"), names, notes)


def _decoded(path: Path, head: bytes) -> tuple[str, str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", errors="ignore"), "utf16"
    if b"\0" in head:
        raise ConfigError(
            f"{path} is no text", fix="give a .csv, .parquet, .arrow or .feather file, or a .csv.gz or .zip"
        )
    try:
        # the last character may be cut off
        return codecs.getincrementaldecoder("utf-8-sig")().decode(head), "utf8"
    except UnicodeDecodeError:
        return head.decode("cp1252", errors="replace"), "cp1252"


def _delimiter(lines: list[str]) -> str:
    """The one that gives the most lines the same number of cells, and at least two."""
    best = (0.0, ",")
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter) if row]
        width = widths[0] if widths else 0
        agree = widths.count(width) / len(widths) if width > 1 else 0.0
        if agree > best[0] + 0.1:
            best = (agree, delimiter)
    return best[1]


def _is_data(rows: list[list[str]]) -> bool:
    """Whether the first row holds numbers where the second does, in at least half of its cells."""
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        return False
    both = sum(1 for a, b in zip(*rows[:2], strict=True) if _NUMBER.fullmatch(a) and _NUMBER.fullmatch(b))
    return 2 * both >= len(rows[0])


def _unique(header: list[str]) -> tuple[tuple[str, ...], list[str]]:
    names: list[str] = []
    renamed = []
    for i, cell in enumerate(header):
        name = cell.strip()
        if not name or name in names:
            name = f"{name}.{i}" if name else f"c{i}"
            while name in names:
                name += "_"
            renamed.append(name)
        names.append(name)
    return tuple(names), renamed


@contextmanager
def _stream(path: Path) -> Iterator[Any]:
    """The bytes of a file, uncompressed."""
    if path.suffix.lower() == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as e:
            raise ConfigError(f"{path} is no zip file", fix="pack it again, or give the .csv itself") from e
        with archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
            if len(members) != 1:
                held = ", ".join(m.filename for m in members[:5]) or "nothing"
                raise ConfigError(f"{path} holds {held}", fix="pack exactly one file into it, or give the .csv itself")
            try:
                opened = archive.open(members[0])
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as e:  # encrypted, or packed in an odd way
                raise ConfigError(f"{path} can't be unpacked: {_sentence(e)}", fix="unpack it first") from e
            with opened as member:
                yield pa.PythonFile(member, mode="r")
        return
    try:
        stream = pa.input_stream(str(path), compression="detect", buffer_size=_BLOCK)
    except (OSError, pa.ArrowInvalid) as e:
        raise ConfigError(f"{path} can't be read: {_sentence(e)}", fix=_advice(e)) from e
    with stream:
        yield stream


def _sentence(error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return text.splitlines()[0][:300]


def _advice(error: Exception) -> str:
    text = str(error)
    if "UTF8" in text or "UTF-8" in text:
        return "convert it to UTF-8: iconv -f WINDOWS-1252 -t UTF-8"
    if "zlib" in text or "truncated" in text.lower() or isinstance(error, EOFError | zipfile.BadZipFile):
        return "the file is incomplete or damaged: fetch it again"
    if "straddling" in text:
        return "a row is longer than a megabyte: is a quotation mark missing?"
    return "check that it is a CSV file"

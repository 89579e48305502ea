"""Public data sets as columns of texts."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from pathlib import Path

Table = dict[str, list[str]]


def read_csv(path: Path) -> Table:
    """A gzipped CSV file with a header."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def read_zip(path: Path) -> Table:
    """The first file of an archive, CSV without a header: columns f0, f1, ..."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        columns = zip(*csv.reader(io.TextIOWrapper(file)), strict=True)
        return {f"f{i}": list(column) for i, column in enumerate(columns)}

"""Files of rows: formats, dialects, and what is said about odd ones."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.table import Table, open_table

ROWS = {"a": [1, 2, 3], "b": ["x", "y", None]}


def written(folder: Path, text: str | bytes, name: str = "t.csv") -> Table:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_table(path)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.zip", "t.parquet", "t.arrow", "t.arrows", "t.feather"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path, table, text = tmp_path / name, pa.table(ROWS), "a,b\n1,x\n2,y\n3,\n"
    if name == "t.csv":
        path.write_text(text)
    elif name == "t.csv.gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif name == "t.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("t.csv", text)
    elif name == "t.parquet":
        pq.write_table(table, path)
    elif name == "t.arrows":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.feather.write_feather(table, path)
    read = open_table(path)
    assert read.names == ("a", "b")
    assert [str(v) for v in read.read(["a"])["a"].to_pylist()] == ["1", "2", "3"]
    assert [b or None for b in read.read()["b"].to_pylist()] == ROWS["b"]
    assert [batch.num_rows for batch in read.batches(rows=2)] == [2, 1]
    assert next(read.batches(["b"])).schema.names == ["b"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    lines = ["name,value", '"a, b; c",1', "d,2"] if delimiter == "," else [f"name{delimiter}value", f"d{delimiter}2,5"]
    assert written(tmp_path, "\n".join(lines)).names == ("name", "value")


def test_quotes_may_hold_line_ends(tmp_path: Path) -> None:
    assert written(tmp_path, 'a,b\n"x\ny",1\nz,2\n').read()["a"].to_pylist() == ["x\ny", "z"]


def test_a_file_without_header_says_so(tmp_path: Path) -> None:
    table = written(tmp_path, "1.5,2,red\n2.5,3,blue\n")
    assert table.names == ("c0", "c1", "c2")
    assert table.read()["c0"].to_pylist() == ["1.5", "2.5"]
    assert "no header" in table.notes[0]


def test_columns_without_a_name_of_their_own_get_one(tmp_path: Path) -> None:
    table = written(tmp_path, ",a,a\n0,1,2\n")
    assert table.names == ("c0", "a", "a.2")
    assert "c0, a.2" in table.notes[0]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert written(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n").names == ("a", "b")


def test_windows_text_is_read_and_said(tmp_path: Path) -> None:
    table = written(tmp_path, "city,n\nMálaga,1\n".encode("cp1252"))
    assert table.read()["city"].to_pylist() == ["Málaga"]
    assert "Windows-1252" in table.notes[0]


def test_rows_that_do_not_fit_are_left_out_and_said(tmp_path: Path) -> None:
    table = written(tmp_path, "a,b\n1,2\n3\n4,5\n6,7,8\n")
    assert table.misfit_note() == ""
    assert table.read()["a"].to_pylist() == ["1", "4"]
    assert "2 rows left out, first row 3 with 1 cells instead of 2" in table.misfit_note()


def test_nested_records_are_flattened(tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer": [{"age": 1, "home": {"zip": "a"}}], "x": [2]}), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.names == ("customer.age", "customer.home.zip", "x")
    assert table.read(["customer.home.zip"]).to_pydict() == {"customer.home.zip": ["a"]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a\0b", "is no text"),
        ("t.zip", b"PK no zip", "is no zip file"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-20], "can't be read"),
        ("t.parquet", b"a,b\n1,2\n", "can't be read"),
        ("t.arrow", b"a,b\n1,2\n", "can't be read"),
    ],
)
def test_what_can_not_be_read_is_said_with_its_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        written(tmp_path, content, name).read()
    assert name in str(error.value)
    assert error.value.fix or name == "t.csv"


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.csv.gz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"did you mean .*train\.csv\.gz"):
        open_table(tmp_path / "train.csv")

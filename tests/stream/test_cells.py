"""Cells of files as numbers, texts and times, whatever they are written like."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.columns import INVALID, MISSING_TIME, NULL, PRESENT
from driftbus.schemas.hashing import hash_bytes
from driftbus.stream.files.cells import NULLS, numbers, text_cells, texts
from driftbus.stream.files.timecells import TimeForm, guess_time, times


@pytest.mark.parametrize(
    ("cell", "value", "status"),
    [
        ("1", 1.0, PRESENT),
        (" +2.5 ", 2.5, PRESENT),
        ("1e3", 1000.0, PRESENT),
        (".5", 0.5, PRESENT),
        ("1,234.5", 1234.5, PRESENT),
        ("inf", float("inf"), PRESENT),
        ("abc", 0.0, INVALID),
        ("1,5", 0.0, INVALID),
        ("0x10", 0.0, INVALID),
        (None, 0.0, NULL),
        *((null, 0.0, NULL) for null in NULLS),
    ],
)
def test_text_as_number(cell: str | None, value: float, status: int) -> None:
    for more in ([], ["not a number"]):  # with a bad neighbour cells are parsed one by one
        values, found = numbers(pa.array([cell, *more], pa.string()))
        assert (values[0], found[0]) == (value, status)


def test_decimal_comma() -> None:
    values, status = numbers(pa.array(["1,5", "1.234,25", "7", "x"]), decimal_comma=True)
    assert values.tolist() == [1.5, 1234.25, 7.0, 0.0]
    assert status.tolist() == [PRESENT, PRESENT, PRESENT, INVALID]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None], pa.int32()), [1.0, None]),
        (pa.array([Decimal("1.25"), None]), [1.25, None]),
        (pa.array([True, None]), [1.0, None]),
        (pa.array(["3", None, "4", "3"]).dictionary_encode(), [3.0, None, 4.0, 3.0]),
        (pa.array([None, None]), [None, None]),
    ],
)
def test_typed_numbers(array: Any, expected: list[float | None]) -> None:
    values, status = numbers(array)
    assert [v if s == PRESENT else None for v, s in zip(values.tolist(), status.tolist(), strict=True)] == expected


def test_a_number_that_is_nan_is_present_as_in_a_stream() -> None:
    values, status = numbers(pa.array([float("nan")]))
    assert np.isnan(values[0])
    assert status[0] == PRESENT


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["True", "FALSE", "1.0", "007", " a ", "None", ""]), ["true", "false", "1", "007", "a", None, None]),
        (pa.array([1.0, 2.5, None, float("nan")]), ["1", "2.5", None, None]),
        (pa.array([7, None]), ["7", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.array(["b", "a", None]).dictionary_encode(), ["b", "a", None]),
        (pa.array([date(2024, 2, 29)]), ["2024-02-29"]),
        (pa.array([[1]]), [None]),
    ],
)
def test_texts_look_the_same_from_every_format(array: Any, expected: list[str | None]) -> None:
    assert texts(array).to_pylist() == expected


@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=30), st.integers(0, 5))
def test_text_cells_hold_the_texts_and_their_hashes(cells: list[str | None], skipped: int) -> None:
    array = pa.array(cells, pa.string()).slice(skipped)
    text, start, length, hashes, status = text_cells(array)
    for i, cell in enumerate(cells[skipped:]):
        assert status[i] == (NULL if cell is None else PRESENT)
        if cell is not None:
            raw = text[start[i] : start[i] + length[i]].tobytes()
            assert raw.decode() == cell
            assert int(hashes[i]) == hash_bytes(raw)


MOMENT = datetime(2018, 10, 30, 18, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2018-10-30T18:05:00Z",
        "2018-10-30 18:05",
        "2018-10-30 18:05:00.000",
        "2018-10-30T19:05:00+01:00",
        "2018-10-30T18:05:00.000000000+0000",
        "2018/10/30 18:05:00",
        "30.10.2018 18:05",
        "30/10/2018 6:05 PM",
        "10/30/2018 06:05:00 pm",
        "30-Oct-2018 18:05:00",
        "October 30, 2018 18:05",
        "20181030T180500",
        "1540922700",
        "1540922700000",
    ],
)
def test_forms_of_time(written: str) -> None:
    array = pa.array([written])
    form = guess_time(array, named_like_time=True)
    assert form is not None
    assert times(array, form).tolist() == [int(MOMENT.timestamp() * 1000)]


@pytest.mark.parametrize(
    "array", [pa.array(["abc", "x"]), pa.array(["2018-02-30"]), pa.array(["2018"]), pa.array([1.5])]
)
def test_what_is_no_time(array: Any) -> None:
    assert guess_time(array, named_like_time=True) is None


def test_a_plain_number_is_a_time_only_by_its_name() -> None:
    array = pa.array([1_540_922_700, 1_540_922_701])
    assert guess_time(array) is None
    assert guess_time(array, named_like_time=True) == TimeForm(unit="s")


def test_day_and_month_are_told_apart_by_the_column() -> None:
    assert guess_time(pa.array(["1/2/2020", "13/2/2020"])) == TimeForm("dmy")
    assert guess_time(pa.array(["1/2/2020", "1/13/2020"])) == TimeForm("mdy")
    ascending_as_months = pa.array(["1/5/2020", "1/9/2020", "2/3/2020", "3/1/2020"])
    assert guess_time(ascending_as_months) == TimeForm("mdy")


@pytest.mark.parametrize(
    "array",
    [
        pa.array([MOMENT], pa.timestamp("ns", "UTC")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("s")).dictionary_encode(),
    ],
)
def test_typed_times(array: Any) -> None:
    assert times(array, TimeForm()).tolist() == [int(MOMENT.timestamp() * 1000)]


def test_a_missing_time_is_missing() -> None:
    form = TimeForm()
    assert times(pa.array(["2018-10-30", None, "x", "NA"]), form).tolist()[1:] == [MISSING_TIME] * 3
    assert times(pa.array([None], pa.timestamp("ms")), form).tolist() == [MISSING_TIME]


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_iso_times_round_trip_and_agree_with_the_slow_way(second: int) -> None:
    text = np.datetime64(second, "s").item().isoformat()
    fast = times(pa.array([text]), TimeForm())[0]
    slow = times(pa.array([text.replace("-", "/")]), TimeForm())[0]
    assert fast == slow == second * 1000

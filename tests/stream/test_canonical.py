"""Whatever serving code hands over becomes numbers, texts and missing values."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.codec import encode_input
from driftbus.stream.client.canonical import (
    MAX_DEPTH,
    MAX_TEXT,
    Cleaner,
    optional_number,
    optional_text,
    text_of,
    time_ms,
    with_utf8,
)


class Colour(enum.Enum):
    RED = "red"


class NAType:
    """Named as pandas' missing value."""


class Weird:
    def __str__(self) -> str:
        return "weird"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (1.5, 1.5),
        (math.inf, math.inf),
        (10**400, math.inf),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3.0),
        (np.array(2.5), 2.5),
        (Decimal("1.25"), 1.25),
        (Fraction(1, 4), 0.25),
        (None, None),
        (NAType(), None),
    ],
)
def test_numbers(value: Any, number: float | None) -> None:
    found = Cleaner().features({"x": value})
    assert (found.numeric, found.categorical) == ({"x": number}, {})


def test_nan_is_kept() -> None:
    for value in (math.nan, np.nan, np.float64("nan")):
        number = Cleaner().features({"x": value}).numeric["x"]
        assert number is not None
        assert math.isnan(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("PT", "PT"),
        ("", ""),
        (True, "true"),
        (np.bool_(False), "false"),
        (np.str_("a"), "a"),
        (Colour.RED, "red"),
        (b"raw", "raw"),
        (Weird(), "weird"),
        ([1, 2], "[1, 2]"),
        (datetime(2025, 1, 2, tzinfo=UTC), "2025-01-02T00:00:00+00:00"),
    ],
)
def test_texts(value: Any, text: str) -> None:
    found = Cleaner().features({"x": value})
    assert (found.numeric, found.categorical) == ({}, {"x": text})


def test_a_missing_text_stays_a_text() -> None:
    cleaner = Cleaner()
    assert cleaner.features({"country": None}).numeric == {"country": None}
    cleaner.features({"country": "PT"})
    assert cleaner.features({"country": None}).categorical == {"country": None}


def test_nested_features_are_flattened() -> None:
    found = Cleaner().features({"customer": {"age": 30, "home": {"country": "PT"}}, 7: 1})
    assert found.numeric == {"customer.age": 30.0, "7": 1.0}
    assert found.categorical == {"customer.home.country": "PT"}


def test_endless_nesting_ends() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    found = Cleaner().features(loop)
    (name,) = found.categorical
    assert name.count("again") == MAX_DEPTH + 1


def test_long_texts_are_cut_and_counted() -> None:
    found = Cleaner().features({"x": "a" * 5_000, "y": Weird(), "z": 10**400})
    assert found.categorical["x"] == "a" * MAX_TEXT
    assert found.cleaned == {"long_text": 1, "unknown_type": 1, "too_large": 1}


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="not list"):
        Cleaner().features([1, 2])  # type: ignore[arg-type]


@given(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_every_cleaned_row_can_be_written(values: Mapping[str, Any]) -> None:
    found = Cleaner().features(values)
    record = {"numeric_features": found.numeric, "categorical_features": found.categorical}
    encode_input("FeatureEvent", with_utf8(record))


def test_texts_without_utf8_form() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_input("FeatureEvent", {"id": "\ud800"})
    encode_input("FeatureEvent", with_utf8({"id": "\ud800", "segments": {"\udfff": None}}))


def test_identities_and_labels() -> None:
    assert [text_of(v) for v in ("a", 7, np.int64(7), True)] == ["a", "7", "7", "true"]
    assert [optional_text(v) for v in (None, "paid", 1, 0.5)] == [None, "paid", "1", "0.5"]
    assert [optional_number(v) for v in (None, 1, np.float32(0.5), "0.25")] == [None, 1.0, 0.5, 0.25]
    with pytest.raises(TypeError):
        optional_number([1])


def test_times() -> None:
    assert time_ms(None, 12.3456) == 12_346
    assert time_ms(1_760_607_000.123, 0.0) == 1_760_607_000_123
    assert time_ms(np.float64(1.5), 0.0) == 1_500  # type: ignore[arg-type]
    assert time_ms(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 0.0) == 1_000

"""A dead letter keeps the record as it was and says why it is one."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.errors import DecodeError
from driftbus.schemas.events import DeadLetter
from driftbus.stream.records import RecordBatch
from driftbus.stream.worker.deadletter import dead_letter, headers_of, read_dead_letter

names = st.text(max_size=20) | st.sampled_from(["driftbus-reason", "driftbus-offset"])
letters = st.builds(
    DeadLetter,
    topic=st.text(max_size=20),
    partition=st.integers(0, 1_000),
    offset=st.integers(0, 2**62),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(st.tuples(names, st.none() | st.binary(max_size=20)), max_size=4),
    timestamp_ms=st.integers(-1, 2**50),
    reason=st.text(max_size=20),
    message=st.text(max_size=1_000),
)


def record(letter: DeadLetter, headers: Any = None) -> Message:
    class Record:
        def key(self) -> bytes | None:
            return letter.key

        def value(self) -> bytes | None:
            return letter.value

        def headers(self) -> Any:
            return headers_of(letter) if headers is None else headers

        def topic(self) -> str:
            return "driftbus.deadletter"

        def partition(self) -> int:
            return 0

        def offset(self) -> int:
            return 17

    return cast(Message, Record())


@given(letters)
def test_it_is_read_back_as_it_was(letter: DeadLetter) -> None:
    assert read_dead_letter(record(letter)) == letter


@pytest.mark.parametrize("headers", [[], [("driftbus-reason", b"x")], None])
def test_what_is_no_dead_letter_is_said_to_be_none(headers: Any) -> None:
    letter = DeadLetter("t", 0, 1, None, b"v", timestamp_ms=5, reason="r", message="m")
    damaged = [(n, b"NaN" if n == "driftbus-offset" else v) for n, v in headers_of(letter)]
    with pytest.raises(DecodeError, match=r"driftbus\.deadletter\[0\] offset 17"):
        read_dead_letter(record(letter, damaged if headers is None else headers))


def test_it_is_made_from_a_row_of_a_batch() -> None:
    batch = RecordBatch(
        "t",
        3,
        np.array([7, 8]),
        np.array([70, 80]),
        [b"a", b"b"],
        lambda row: b"key%d" % row,
        lambda row: [("h", b"%d" % row)],
    )
    assert dead_letter(batch, 1, "truncated", "ends early") == DeadLetter(
        "t", 3, 8, b"key1", b"b", [("h", b"1")], 80, "truncated", "ends early"
    )

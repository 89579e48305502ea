"""What is written is read back; what is not ours, damaged or newer is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas import codec
from driftbus.schemas.contracts import contract, make_contract, schema_text, writer_of
from driftbus.schemas.errors import DecodeError, StateError
from driftbus.schemas.events import ManualRetrain, MonitorState, Published, Registration, SummaryPart
from harness import samples


@given(samples.parts | samples.manuals | samples.registrations)
def test_messages_come_back_equal(message: SummaryPart | ManualRetrain | Registration) -> None:
    assert codec.decode_message(codec.encode_message(message)) == message


@given(samples.drifts | samples.retrains | samples.incidents | samples.comparisons)
def test_events_come_back_equal_in_both_framings(event: Published) -> None:
    assert codec.decode_event(codec.encode_event(event)) == event
    framed = codec.encode_event(event, schema_id=70_000)
    assert framed[:5] == b"\x00\x00\x01\x11\x70"
    assert codec.confluent_id(framed) == 70_000
    assert codec.decode_event(framed, contract(type(event).__name__)) == event


@given(samples.states)
def test_snapshots_come_back_equal(state: MonitorState) -> None:
    assert codec.unpack_state(codec.pack_state(state)) == state


def test_profiles_come_back_equal() -> None:
    assert codec.unpack_profile(codec.pack_profile(samples.PROFILE)) == samples.PROFILE


def test_equal_values_give_equal_bytes() -> None:
    assert codec.encode_message(samples.PART) == codec.encode_message(samples.PART)
    assert codec.encode_event(samples.DRIFT) == codec.encode_event(samples.DRIFT)


@given(st.data())
def test_a_part_cut_anywhere_is_refused(data: st.DataObject) -> None:
    value = codec.encode_message(samples.PART)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(DecodeError) as e:
        codec.decode_message(value[:cut])
    assert e.value.reason in {"truncated", "bad_magic"}


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(noise: bytes) -> None:
    for value in (noise, contract("SummaryPart").header + b"\xff" + noise):
        with pytest.raises(DecodeError):
            codec.decode_message(value)


@given(st.data())
def test_a_damaged_snapshot_is_a_state_error(data: st.DataObject) -> None:
    value = bytearray(codec.pack_state(samples.STATE))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError):
        codec.unpack_state(bytes(value))


def test_a_snapshot_that_cannot_be_used_says_what_to_do() -> None:
    value = codec.pack_state(samples.STATE)
    newer = value[:10] + b"\x04" + value[11:]
    for bad, said in ((value[:-1] + b"\x00", "wrong checksum"), (newer, "has format 2"), (b"", "can't be read")):
        with pytest.raises(StateError, match=said) as e:
            codec.unpack_state(bad)
        assert "driftbus state forget" in str(e.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "bad_magic"),
        (b"\x00\x00\x00\x00\x01abc", "bad_magic"),
        (b"\xc3\x01\x01\x02", "truncated"),
        (b"\xc3\x01" + bytes(8) + b"x", "unknown_schema"),
        (codec.encode_message(samples.PART) + b"\x00", "trailing_bytes"),
        (codec.encode_event(samples.DRIFT), "wrong_schema"),
    ],
)
def test_the_reason_of_a_refusal(value: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as e:
        codec.decode_message(value)
    assert e.value.reason == reason


def test_a_kind_from_the_future_is_refused() -> None:
    part = SummaryPart("sketch", samples.PART.source, 0, 0, 1, 1)
    with pytest.raises(DecodeError) as e:
        codec.decode_message(codec.encode_message(part))
    assert e.value.reason == "bad_kind"


def test_an_event_by_a_registry_needs_its_schema() -> None:
    with pytest.raises(DecodeError, match="schema id 7 needs a registry"):
        codec.decode_event(codec.encode_event(samples.DRIFT, schema_id=7))


def test_readers_resolve_by_the_writers_schema() -> None:
    """A newer writer has a field more, an older one a field less, and fields in another order."""
    schema: dict[str, Any] = dict(contract("ManualRetrain").schema) | {"name": "io.driftbus.ManualRetrain"}
    newer = make_contract(schema | {"fields": [*schema["fields"], {"name": "ticket", "type": "string", "default": ""}]})
    older = make_contract(schema | {"fields": list(reversed(schema["fields"][:2]))})
    assert codec.decode_manual(codec.encode_manual(samples.MANUAL) + b"\x04T1", newer) == samples.MANUAL
    assert codec.decode_manual(b"\x06now\x0ccredit", older) == ManualRetrain("credit", "now", "", 0)


def test_the_header_is_that_of_the_specification() -> None:
    value = codec.encode_message(samples.MANUAL)
    assert value[:2] == b"\xc3\x01"
    assert writer_of(value).name == "ManualRetrain"
    assert schema_text("ManualRetrain").startswith("{")

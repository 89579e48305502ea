"""How a source partition is taken up from what the group has committed."""

from __future__ import annotations

import pytest

from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.sourcestate import Place, Start, commit_of, start_of

BOTH = commit_of(Place("e1", 30, 90), Place("o1", 40, 70))


def test_without_a_commit_the_epoch_begins_with_the_log() -> None:
    assert start_of(None, "e1") == Start(0, 0, announce=False)


def test_a_commit_of_this_epoch_goes_on() -> None:
    assert start_of(commit_of(Place("e1", 30, 70)), "e1") == Start(30, 70, announce=False)


def test_one_machine_is_written_as_ever() -> None:
    assert commit_of(Place("e1", 30, 70)) == Committed(70, "e1:30")


@pytest.mark.parametrize("text", ["e0:30", "", "e1", "e1:", "e1:x", "e1:-3", "e1:71", "e1:30:", "e1:30:69", "e1:30:x"])
def test_any_other_commit_begins_a_new_epoch_and_says_so_first(text: str) -> None:
    assert start_of(Committed(70, text), "e1") == Start(70, 70, announce=True)


def test_each_machine_goes_on_where_it_stood_and_reading_begins_at_the_first_of_them() -> None:
    assert Committed(70, "e1:30:90 o1:40:70") == BOTH
    assert start_of(BOTH, "e1") == Start(30, 90, announce=False)
    assert start_of(BOTH, "o1", 1) == Start(40, 70, announce=False)


def test_a_new_epoch_of_one_machine_begins_where_its_own_old_one_ended() -> None:
    assert start_of(BOTH, "e2") == Start(90, 90, announce=True)
    assert start_of(BOTH, "o2", 1) == Start(70, 70, announce=True)


def test_a_machine_that_is_new_begins_where_the_first_stands() -> None:
    assert start_of(Committed(70, "e1:30"), "o1", 1) == Start(70, 70, announce=True)
    assert start_of(Committed(60, "e1:30:90"), "o1", 1) == Start(90, 90, announce=True)


def test_a_machine_that_is_gone_is_passed_over() -> None:
    assert start_of(BOTH, "e1") == Start(30, 90, announce=False)


@pytest.mark.parametrize("text", ["e1:30:90 o1", "e1:30:90 o1:80:70", "e1:30:90 o1:4:", "e1:30:90  o1:40:70"])
def test_half_a_commit_is_none(text: str) -> None:
    assert start_of(Committed(70, text), "e1") == Start(70, 70, announce=True)

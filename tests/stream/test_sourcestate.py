"""How a source partition is taken up from what the group has committed."""

from __future__ import annotations

import pytest

from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.sourcestate import Start, metadata, start_of


def test_without_a_commit_the_epoch_begins_with_the_log() -> None:
    assert start_of(None, "e1") == Start(0, 0, announce=False)


def test_a_commit_of_this_epoch_goes_on() -> None:
    assert start_of(Committed(70, metadata("e1", 30)), "e1") == Start(30, 70, announce=False)


@pytest.mark.parametrize("text", [metadata("e0", 30), "", "e1", "e1:", "e1:x", "e1:-3", "e1:71", "kafka-ui"])
def test_any_other_commit_begins_a_new_epoch_and_says_so_first(text: str) -> None:
    assert start_of(Committed(70, text), "e1") == Start(70, 70, announce=True)

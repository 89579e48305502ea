"""Snapshots: cut and joined again; no torn write, zombie or leftover gives a wrong state."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.errors import StateError
from driftbus.schemas.events import MonitorState
from driftbus.stream.worker.outbox import Outbox
from driftbus.stream.worker.snapshots import SnapshotWriter, cut_state, find_states, join_state, mains_first

LIMIT = 500
Log = list[tuple[bytes | None, bytes | None]]


def state(offset: int, size: int = 100, monitor: str = "credit") -> MonitorState:
    return MonitorState(monitor, offset, random.Random(offset).randbytes(size))


def written(state: MonitorState, owner: str = "o1", slot: str = "A") -> Log:
    return [(key.encode(), value) for key, value in cut_state(state, f"app/{state.monitor}/{owner}", slot, LIMIT)]


class Sent:
    """An outbox that keeps what it is sent."""

    def __init__(self) -> None:
        self.records: Log = []

    async def send(self, topic: str, value: bytes | None, *, key: bytes, partition: int) -> None:
        self.records.append((key, value))

    async def flush(self) -> None:
        """Everything is acknowledged at once."""


def writer(log: Sent, owner: str) -> SnapshotWriter:
    return SnapshotWriter(cast(Outbox, log), "state", "app", owner)


@given(st.integers(0, 5_000))
def test_cut_and_join(size: int) -> None:
    one = state(7, size)
    records = cut_state(one, "app/credit/o1", "A", LIMIT)
    assert join_state(records[-1][1], dict(records)) == one
    assert all(len(value) <= LIMIT for _, value in records[:-1])


@given(st.integers(0, 3_000), st.integers(1, 3_000), st.data())
def test_a_torn_write_leaves_the_snapshot_before_it(small: int, large: int, data: st.DataObject) -> None:
    before, after = state(5, small), state(9, large)
    second = written(after, slot="B")
    torn = data.draw(st.integers(0, len(second)))
    found = find_states("app", written(before, slot="A") + second[:torn])
    assert found.states["credit"] == (after if torn == len(second) else before)


def test_the_whole_snapshot_with_the_highest_offset_wins_whoever_wrote_it() -> None:
    newest = state(20, 2_000)
    found = find_states("app", written(newest, "new") + written(state(10, 50), "zombie") + written(state(3, 50), "old"))
    assert found.states["credit"] == newest
    assert len(found.keys["credit"]) == len(written(newest, "new")) + 2


def test_a_zombie_s_manifest_without_chunks_is_passed_over() -> None:
    zombie = written(state(30, 2_000), "zombie")
    tombstones: Log = [(key, None) for key, _ in zombie[:-1]]
    found = find_states("app", zombie[:-1] + tombstones + zombie[-1:] + written(state(8), "new"))
    assert found.states["credit"] == state(8)


@pytest.mark.parametrize("harm", ["missing", "changed", "damaged manifest"])
def test_no_whole_snapshot_is_an_error_that_says_how_to_get_out(harm: str) -> None:
    log = written(state(5, 2_000))
    if harm == "missing":
        del log[1]
    elif harm == "changed":
        log[1] = (log[1][0], b"else")
    else:
        log[-1] = (log[-1][0], (log[-1][1] or b"")[:-3])
    with pytest.raises(StateError, match=r"driftbus state forget credit"):
        find_states("app", log)


def test_other_applications_and_foreign_keys_are_not_ours() -> None:
    log: Log = [(b"apple/credit/o", b"x"), (None, b"y"), (b"app", b"z"), (b"app/", None), (b"\xff\xfe", b"")]
    assert find_states("app", log).states == {}


def test_after_a_takeover_the_former_owner_s_records_are_deleted() -> None:
    async def takeover() -> Log:
        log = Sent()
        log.records = written(state(5, 2_000), "old")
        ours = writer(log, "new")
        ours.took_over(find_states("app", log.records))
        await ours.write(state(6, 100), 0)
        return log.records

    found = find_states("app", asyncio.run(takeover()))
    assert found.states["credit"] == state(6, 100)
    assert found.keys["credit"] == {"app/credit/new"}


@given(st.lists(st.sampled_from([10, 700, 1_900, 4_000]), min_size=1, max_size=8))
def test_any_series_of_sizes_leaves_the_last_and_no_leftovers(sizes: list[int]) -> None:
    async def run() -> Log:
        log = Sent()
        ours = writer(log, "o1")
        for offset, size in enumerate(sizes):
            await ours.write(state(offset, size * 1_000), 0)
        return log.records

    log = asyncio.run(run())
    assert find_states("app", log).states["credit"].offset == len(sizes) - 1
    live: Mapping[Any, Any] = {key: value for key, value in dict(log).items() if value is not None}
    assert len(live) <= 2 * (4_000_000 // 900_000 + 1) + 1


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.randoms(use_true_random=False))
def test_a_bit_that_turns_over_anywhere_never_changes_what_is_restored(
    size: int, size_before: int, rng: random.Random
) -> None:
    """The record before it under the same key is used, also when it names chunks of the other slot."""
    before, newest = state(5, size_before), state(9, size)
    log = written(before, slot="A") + written(newest, slot="B")
    harmed = rng.randrange(len(written(before, slot="A")), len(log))
    value = bytearray(log[harmed][1] or b"")
    value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    log[harmed] = log[harmed][0], bytes(value)
    assert find_states("app", log).states["credit"] == before
    with pytest.raises(StateError, match=r"no snapshot of monitor credit can be read"):
        find_states("app", log[len(written(before, slot="A")) :])


def test_a_snapshot_that_was_deleted_does_not_come_back() -> None:
    log: Log = [*written(state(5)), (b"app/credit/o1", None)]
    assert find_states("app", log).states == {}
    damaged: Log = [*log, (b"app/credit/o1", b"damaged")]
    with pytest.raises(StateError):
        find_states("app", damaged)


def test_forgetting_begins_with_what_names_the_rest() -> None:
    """Wherever it is broken off, what is left is no broken snapshot."""
    log = written(state(5, 2_000))
    keys = sorted(find_states("app", log).keys["credit"], key=mains_first)
    for count in range(1, len(keys) + 1):
        tombstones: Log = [(key.encode(), None) for key in keys[:count]]
        assert find_states("app", log + tombstones).states == {}

"""Outcomes are a function of two logs: the join against its definition, under every fault, on random schedules."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftbus.schemas.errors import StateError
from driftbus.stream.join import joiner, machine, rangewriter, store
from driftbus.stream.join.joiner import Joiner
from driftbus.stream.join.lmdbstore import LmdbBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.places import Rebuild
from driftbus.stream.join.rangewriter import Mark, RangeWriter
from driftbus.stream.join.store import JoinStore

from . import joinworld
from .joinlogs import Label, Prediction, Rules
from .joinworld import FAULTS, JoinWorld, Schedule, bytes_of, checked, other_actions, random_schedule

SCHEDULES = int(os.environ.get("DRIFTBUS_SCHEDULES", "300"))


def test_random_faults_equal_the_definition() -> None:
    seen: dict[str, int] = {}
    for seed in range(SCHEDULES):
        for what, times in checked(random_schedule(seed)).notes.items():
            seen[what] = seen.get(what, 0) + times
    assert all(seen[what] > SCHEDULES // 20 for what in ("evicted", "forced", "rebuilt", "resumed", "resumed stale"))


@pytest.mark.parametrize("mode", ["append", "create", "wild"])
def test_all_faults_at_once(mode: str) -> None:
    contradicted = sum(
        checked(random_schedule(5_000_000 + seed, FAULTS, mode)).contradicted for seed in range(SCHEDULES // 5)
    )
    assert mode == "wild" or not contradicted


def test_the_same_logs_give_the_same_bytes_whatever_happens() -> None:
    for seed in range(SCHEDULES // 10):
        schedule = random_schedule(6_000_000 + seed, FAULTS, "create")
        worlds = [checked(other_actions(schedule, 10 * seed + i)) for i in range(3)]
        assert bytes_of(worlds[0]) == bytes_of(worlds[1]) == bytes_of(worlds[2])


def test_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same with LMDB: every new owner opens the file that the former one left."""
    held: list[LmdbBlobs] = []

    class Folder:
        """A folder that outlives its owners."""

        def __init__(self) -> None:
            self.path = tmp_path / str(len(list(tmp_path.iterdir())))
            self.path.mkdir()

    init = OutcomeMachine.__init__

    def opened(self: OutcomeMachine, plan: Any, partition: int, blobs: Any, **places: int) -> None:
        for other in [one for one in held if one._file.parent == blobs.path]:
            held.remove(other)
            other.close()
        held.append(LmdbBlobs(blobs.path, sync=False))
        init(self, plan, partition, held[-1], **places)

    monkeypatch.setattr(joinworld, "MemoryBlobs", Folder)
    monkeypatch.setattr(OutcomeMachine, "__init__", opened)
    for seed in range(SCHEDULES // 20):
        checked(random_schedule(7_000_000 + seed, FAULTS, "create"))
        while held:
            held.pop().close()


Patch = Callable[[pytest.MonkeyPatch], None]


def naive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OutcomeMachine, "_passed", lambda self, joiner, clock: (clock.size, clock.size))


def read_ahead(patch: pytest.MonkeyPatch) -> None:
    match = Joiner._match

    def ahead(self: Joiner, said: Any, clock: Any, label: Any) -> Any:
        plan, self.plan = self.plan, replace(self.plan, wait_ms=1 << 30)
        try:
            return match(self, said, clock, label)
        finally:
            self.plan = plan

    patch.setattr(Joiner, "_match", ahead)


def raw_timestamps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "clock_of", lambda timestamps, before: timestamps)


def last_record(patch: pytest.MonkeyPatch) -> None:
    sort, merge = store.sorted_run, store.merged_runs
    patch.setattr(store, "sorted_run", lambda rows, *, last: sort(rows, last=True))
    patch.setattr(store, "merged_runs", lambda old, new, *, last: merge(old, new, last=True))


def oldest_segment(patch: pytest.MonkeyPatch) -> None:
    segments = JoinStore.segments
    patch.setattr(JoinStore, "segments", lambda self, number: segments(self, number)[::-1])


def horizon_is_what_is_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(joiner, "SEGMENTS", 50)
    patch.setattr(Joiner, "first_segment", lambda self, clock: clock // self.plan.segment_ms - joinworld.SEGMENTS)


def evicted_by_predictions(patch: pytest.MonkeyPatch) -> None:
    persist = OutcomeMachine.persist

    def early(self: OutcomeMachine, acknowledged: int | None) -> bool:
        (one,) = self._joiners
        one.forget(self.prediction_clock("predictions"), -1)
        return persist(self, acknowledged)

    patch.setattr(OutcomeMachine, "persist", early)


def evicted_by_labels_in_memory(patch: pytest.MonkeyPatch) -> None:
    persist = OutcomeMachine.persist

    def early(self: OutcomeMachine, acknowledged: int | None) -> bool:
        (one,) = self._joiners
        one.forget(self._fed_clock, -1)
        return persist(self, acknowledged)

    patch.setattr(OutcomeMachine, "persist", early)


def persisted_before_acknowledged(patch: pytest.MonkeyPatch) -> None:
    persist = OutcomeMachine.persist
    patch.setattr(OutcomeMachine, "persist", lambda self, acknowledged: persist(self, self.commit_offset))


def labels_without_position(patch: pytest.MonkeyPatch) -> None:
    resume = OutcomeMachine._resume

    def elsewhere(self: OutcomeMachine, state: Any) -> None:
        committed = self.position
        resume(self, state)
        self._done = self.position = committed
        self._ranges = RangeWriter(self.plan, self.source, 0, committed)

    patch.setattr(OutcomeMachine, "_resume", elsewhere)


def corrections_see_what_is_written(patch: pytest.MonkeyPatch) -> None:
    runs = JoinStore._runs

    def written(self: JoinStore, kind: bytes, key: Any, newest: bool) -> Any:
        stack = self._stacks[kind].get(key)
        if kind != b"l" or stack is None:
            return runs(self, kind, key, newest)
        return iter([self._load(kind, key, number) for number in sorted(stack.written, reverse=True)])

    patch.setattr(JoinStore, "_runs", written)


def zombies_share_a_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JoinWorld, "held", lambda self, gone: [])


def rebuilt_too_short(patch: pytest.MonkeyPatch) -> None:
    rebuild = OutcomeMachine.rebuild

    def short(self: OutcomeMachine, first: int) -> Rebuild:
        wanted = rebuild(self, first)
        begin = first - self._joiners[0].plan.segment_ms * joinworld.SEGMENTS
        return Rebuild(wanted.labels_ms, dict.fromkeys(wanted.predictions_ms, max(-1, begin)))

    patch.setattr(OutcomeMachine, "rebuild", short)


def rebuilt_without_labels(patch: pytest.MonkeyPatch) -> None:
    begin = OutcomeMachine.begin
    patch.setattr(
        OutcomeMachine, "begin", lambda self, labels, predictions, first: begin(self, END, predictions, first)
    )


def rebuilt_without_the_wait(patch: pytest.MonkeyPatch) -> None:
    rebuild = OutcomeMachine.rebuild

    def short(self: OutcomeMachine, first: int) -> Rebuild:
        wanted = rebuild(self, first)
        return Rebuild(wanted.labels_ms + self._joiners[0].plan.wait_ms, wanted.predictions_ms)

    patch.setattr(OutcomeMachine, "rebuild", short)


def predictions_clock_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OutcomeMachine, "_resume", _and_then(lambda self: setattr(self._sides["predictions"], "clock", -1)))


def labels_clock_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OutcomeMachine, "_resume", _and_then(lambda self: setattr(self, "_fed_clock", -1)))


def _and_then(more: Callable[[Any], None]) -> Any:
    resume = OutcomeMachine._resume

    def both(self: OutcomeMachine, state: Any) -> None:
        resume(self, state)
        more(self)

    return both


def no_grace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OutcomeMachine, "predictions_end", _later(OutcomeMachine.predictions_end))


def _later(end: Any) -> Any:
    def without(self: OutcomeMachine, topic: str, at_ms: int) -> None:
        grace = self._joiners[0].plan.grace_ms + self._joiners[0].plan.wait_ms
        end(self, topic, at_ms if at_ms == machine.NEVER or grace > 1 << 20 else at_ms + grace)

    return without


def silence_judged_after_the_fetch(patch: pytest.MonkeyPatch) -> None:
    advance = OutcomeMachine.advance

    def stale(self: OutcomeMachine) -> Any:
        for side in self._sides.values():
            if side.seen_end_ms not in (-1, machine.NEVER):
                side.seen_end_ms += 12  # the clock goes on while nothing is fetched
        return advance(self)

    patch.setattr(OutcomeMachine, "advance", stale)


def undecodable_labels_have_no_time(patch: pytest.MonkeyPatch) -> None:
    feed = OutcomeMachine.feed_labels

    def only_good(self: OutcomeMachine, block: Any, offsets: Any, timestamps: Any, good: Any) -> Any:
        return feed(self, block, offsets, np.where(good, timestamps, -1), good)

    patch.setattr(OutcomeMachine, "feed_labels", only_good)


def clock_before_a_boundary_is_that_of_the_last_label(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rangewriter, "Mark", lambda boundary, clock: Mark(boundary, -1))


END = joinworld.END
RULES: tuple[Patch, ...] = (
    naive, read_ahead, raw_timestamps, last_record, oldest_segment, horizon_is_what_is_stored, evicted_by_predictions,
    evicted_by_labels_in_memory, persisted_before_acknowledged, labels_without_position,
    corrections_see_what_is_written, zombies_share_a_store, rebuilt_without_labels,
    rebuilt_without_the_wait, predictions_clock_lost, labels_clock_lost, no_grace, silence_judged_after_the_fetch,
    undecodable_labels_have_no_time, clock_before_a_boundary_is_that_of_the_last_label,
)  # fmt: skip
RARE = {rebuilt_without_the_wait: 350}
"""Where rules are first noticed that seldom matter: schedules before it need not be tried each time."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_is_needed(rule: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule some schedule differs from the definition: the simulator has the power to see it."""
    rule(monkeypatch)
    begin = RARE.get(rule, 0)
    for seed in range(begin, begin + 20_000):
        try:
            checked(random_schedule(seed, None, "create"))
        except (AssertionError, StateError, IndexError, KeyError):
            return
    pytest.fail("no schedule noticed")


def test_a_rebuild_begins_with_a_whole_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too rare for chance: a label in the last moments of the horizon, right after a lost disk."""
    rules = Rules(horizon=80, range_records=1)
    predictions = (Prediction(0, 2, 2, "a", 0.9, "1", "PT", 2), Prediction(1, 120, 120, "b", 0.9, "1", "PT", 120))
    labels = (Label(0, 10, 10, "c", "1", 10), Label(1, 85, 85, "a", "1", 85), Label(2, 86, 86, "a", "0", 86))
    wait = [("time", 0, 39 * 7 + 35)] * 40
    steps = [("labels", 0, 1), ("predictions", 0, 5), ("send", 0, 3), ("send", 0, 3), ("commit", 0, 0)]
    actions = (*wait, *steps, ("zombie", 0, 1), *steps)
    schedule = Schedule(rules, "append", 0, FAULTS - {"gap", "reorder"}, predictions, labels, actions)
    world = checked(schedule)
    assert world.notes["rebuilt"] == 1
    rebuilt_too_short(monkeypatch)
    with pytest.raises(AssertionError):
        checked(schedule)

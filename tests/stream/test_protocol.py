"""A verdict is a function of the log: the two stages against the oracle, under every fault, on random schedules."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftbus.schemas.errors import StateError
from driftbus.schemas.events import Incident, SummaryPart
from driftbus.stream import groups
from driftbus.stream.chain import Chain, Sources

from . import world
from .world import (
    FAULTS,
    MONITORS,
    FoldingDetector,
    Rec,
    Schedule,
    World,
    growing_schedule,
    oracle,
    random_schedule,
    replayed,
    told,
)

SCHEDULES = int(os.environ.get("DRIFTBUS_SCHEDULES", "300"))
UNFORCED = FAULTS - {"force"}


@pytest.fixture(autouse=True)
def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GroupDetector", FoldingDetector)


def check(schedule: Schedule) -> World:
    w = World(schedule)
    w.run()
    events = w.events()
    assert replayed(w) == events, "the summaries log replayed gives other events"
    if w.contradictions() == 0:
        got, want = told(schedule, events), dict(oracle(schedule))
        if "force" in schedule.faults:  # forced clocks may seal more than the logs alone do, never anything else
            assert {k: v for k, v in got.items() if k in want} == want
        elif schedule.known:  # what was sealed before a partition was added does not wait for its first record
            assert got.items() <= dict(oracle(schedule, ended=True)).items()
            assert want.items() <= got.items()
        else:
            assert got == want
    return w


def test_undisturbed_run_equals_the_oracle() -> None:
    for seed in range(SCHEDULES // 3):
        check(random_schedule(1_000_000 + seed, frozenset()))


def test_incidents_are_among_what_has_to_be_equal() -> None:
    worlds = [check(random_schedule(seed)) for seed in range(20)]
    statuses = {e.status for w in worlds for e in w.events().values() if isinstance(e, Incident)}
    assert statuses == {"opened", "updated", "closed"}


def test_random_faults_equal_the_oracle() -> None:
    for seed in range(SCHEDULES):
        check(random_schedule(seed))


def test_all_faults_at_once_equal_the_oracle() -> None:
    for seed in range(SCHEDULES):
        check(random_schedule(2_000_000 + seed, UNFORCED))


def test_forced_clocks_keep_replay_exact_and_count_what_contradicts_them() -> None:
    contradicted = 0
    for seed in range(SCHEDULES):
        contradicted += check(random_schedule(3_000_000 + seed, FAULTS)).contradictions() > 0
    assert 0 < contradicted < SCHEDULES


def test_partitions_that_are_noticed_in_time_change_no_verdict() -> None:
    for seed in range(SCHEDULES):
        assert check(growing_schedule(seed, UNFORCED, timely=True)).contradictions() == 0


def test_partitions_that_are_noticed_too_late_are_counted() -> None:
    contradicted = 0
    for seed in range(SCHEDULES):
        contradicted += check(growing_schedule(seed, UNFORCED, timely=False)).contradictions() > 0
    assert 0 < contradicted < SCHEDULES


def test_range_boundaries_are_a_function_of_the_log() -> None:
    from driftbus.schemas.codec import decode_message

    for seed in range(SCHEDULES // 3):
        w = World(random_schedule(4_000_000 + seed, UNFORCED))
        w.run()
        for log in w.summaries:
            ranges: dict = {}
            for data in log:
                part = decode_message(data)
                if isinstance(part, SummaryPart) and part.kind == "final":
                    assert ranges.setdefault((part.source, part.a), part) == part


def test_other_interleavings_give_the_same_events() -> None:
    for seed in range(SCHEDULES // 6):
        schedule = random_schedule(seed, UNFORCED)
        results = []
        for other in range(3):
            actions = random_schedule(seed * 1000 + other, UNFORCED).actions
            w = World(Schedule(**{**vars(schedule), "actions": actions}))
            w.run()
            results.append(w.events())
        assert results[0] == results[1] == results[2]


records = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(MONITORS), st.sampled_from("12"), st.integers(1, 3)), max_size=10
)
CRASHES = ["crash1", "zombie1", "crash2", "zombie2"]
actions = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "append",
                "read",
                "send",
                "preview",
                "commit",
                "crash1",
                "zombie1",
                "judge",
                "publish",
                "snapshot",
                "crash2",
                "zombie2",
            ]
        ),
        st.integers(0, 5),
        st.integers(0, 2),
        st.integers(0, 65535),
    ),
    max_size=80,
)


@settings(max_examples=max(100, SCHEDULES // 3), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(records, min_size=1, max_size=3),
    st.integers(1, 2),
    st.sampled_from([1, 5, 10]),
    st.integers(0, 2),
    st.sampled_from([1, 2, 100]),
    st.sampled_from([1, 3, 100]),
    actions,
)
def test_schedules_that_hypothesis_chooses(raw, shards, pane, lateness, most_records, most_entries, acts) -> None:
    logs = []
    for lines in raw:
        log, off = [], 0
        for et, monitor, version, gap in lines:
            log.append(Rec(off, et, monitor, version, float(et % 4)))
            off += gap
        logs.append(tuple(log))
    check(Schedule(len(logs), shards, pane, lateness, most_records, most_entries, UNFORCED, tuple(logs), tuple(acts)))


class TestEveryRuleIsNeeded:
    """Without the rule some schedule differs from the oracle: the simulator has the power to see it."""

    def fails(self, faults: frozenset[str] = UNFORCED, most: int = 3000) -> bool:
        for seed in range(most):
            try:
                check(random_schedule(seed, faults))
            except (AssertionError, StateError):
                return True
        return False

    def test_new_partitions_are_registered_before_they_have_a_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("driftbus.stream.judge.MonitorJudge._register", lambda self, message: [])
        with pytest.raises(AssertionError):
            test_partitions_that_are_noticed_in_time_change_no_verdict()

    def test_how_many_partitions_there_are_is_said_on_the_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("driftbus.stream.chain.Chain.__init__", _all_known)
        with pytest.raises(AssertionError, match="gives other events"):
            test_partitions_that_are_noticed_too_late_are_counted()

    def test_ranges_settle_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def take(self, part):
            self.register(part.source.partition + 1)
            source = self.sources[part.source.partition]
            if part.kind == "final" and part.b > source.applied:
                yield part

        monkeypatch.setattr("driftbus.stream.chain.Chain.take", take)
        assert self.fails()

    def test_a_part_is_committed_only_when_acknowledged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(world.Stage1, "commit_offset", lambda self: self.machine.commit_offset)
        assert self.fails()

    def test_outputs_come_before_snapshots(self, monkeypatch: pytest.MonkeyPatch) -> None:
        act = World.act

        def early(self, what, x, y, r):
            if what == "snapshot":
                judge, _ = self.stage2[x % self.schedule.shards][-1]
                self.snapshots |= {name: judge.snapshot(name) for name in list(judge.changed())}
            else:
                act(self, what, x, y, r)

        monkeypatch.setattr(World, "act", early)
        assert self.fails()

    def test_late_content_stays_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from driftbus.stream.chain import Chain, Late

        monkeypatch.setattr(Chain, "lateness", lambda self, tick, clock: Late.ON_TIME)
        assert self.fails()

    def test_ranges_are_not_cut_by_a_timer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from driftbus.stream.summarise import Summariser

        monkeypatch.setattr(Summariser, "preview", Summariser.finish)
        assert self.fails()


def _all_known(chain: Chain, topic: Sources) -> None:
    chain._topic, chain.sources = topic, []
    chain.register(topic.partitions)

"""The join of labels and predictions: equal to the definition, however the two logs are interleaved."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import numpy as np
import pytest

from driftbus.schemas.events import SummaryPart
from driftbus.stream.driver import Driver
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.ranges import cells_of, vector_of
from driftbus.stream.join.rows import NEVER
from driftbus.stream.judge import Judge

from .joinlogs import (
    LABELS,
    PREDICTIONS,
    Label,
    Prediction,
    Range,
    Rules,
    block_of,
    derive,
    label_block,
    plans_of,
    prediction_block,
    random_logs,
    ranges_of,
)

SCHEDULES = int(os.environ.get("DRIFTBUS_SCHEDULES", "300"))


def random_rules(r: random.Random) -> Rules:
    return Rules(
        wait=r.choice([0, 1, 3, 6]),
        horizon=8 * r.choice([1, 3, 6]),
        cohort=r.choice([4, 9]),
        range_records=r.choice([1, 2, 5, 100]),
        pane=r.choice([2, 5, 10]),
        log_time=r.random() < 0.7,
        sample=r.choice([1.0, 1.0, 0.5]),
    )


def said(plan: OutcomePlan, part: SummaryPart, number: int = 0) -> Range:
    """What a part says of one monitor, in the oracle's form."""
    cells, rows = {}, {}
    for entry in part.entries:
        if entry.group.monitor != plan.joins[number].monitor:
            continue
        key = (entry.group.version, entry.group.segment, entry.tick, entry.cohort)
        rows[key] = entry.rows
        found, counts = cells_of(entry, plan.joins[number].shape.size)
        cells |= {(*key, cell): count for cell, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return Range(part.a, part.b, part.max_tick, cells, rows)


def test_any_interleaving_gives_the_ranges_of_the_definition() -> None:
    kinds = 0
    for seed in range(SCHEDULES):
        r = random.Random(seed)
        plan = plans_of(random_rules(r)).outcomes[LABELS]
        plog, llog = random_logs(r, r.choice(["append", "create", "wild"]))
        machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=0)
        projection = plan.predictions[PREDICTIONS].projection
        parts, i, j = [], 0, 0
        while i < len(plog) or j < len(llog):
            many = r.randint(1, 5)
            if r.random() < 0.5 and i < len(plog):
                machine.feed_predictions(PREDICTIONS, *prediction_block(projection, plog[i : i + many]))
                i += many
                parts += machine.advance().parts
            elif j < len(llog):
                parts += machine.feed_labels(*label_block(plan.labels, llog[j : j + many])).parts
                j += many
            if r.random() < 0.3:
                machine.persist(machine.commit_offset)
        machine.predictions_end(PREDICTIONS, NEVER)
        parts += machine.advance().parts
        want = ranges_of(plan, derive(plan, plog, llog))
        closed = [said(plan, part) for _, part in parts]
        assert closed == want[:-1]
        assert [said(plan, part).cells for _, part in machine.finish()] == [last.cells for last in want[-1:]]
        kinds += sum(bool(one.cells) for one in want)
    assert kinds > SCHEDULES


def joined(rules: Rules, plog: list[Prediction], llog: list[Label]) -> list[dict[str, int]]:
    """What each label adds, by name of the block it adds to."""
    plan = plans_of(rules).outcomes[LABELS]
    shape = plan.joins[0].shape

    def name(cell: int) -> str:
        if cell in (shape.orphan, shape.dup):
            return "orphan" if cell == shape.orphan else "dup"
        blocks = {"first": shape.first, "added": shape.added, "removed": shape.removed, "lag": shape.lag}
        return next(key for key, block in blocks.items() if block.start <= cell < block.stop)

    found = []
    for one in derive(plan, plog, llog):
        names: dict[str, int] = {}
        for (_, segment, _, cell), _amount in one.adds.items():
            if not segment:
                names[name(cell)] = names.get(name(cell), 0) + 1
        found.append(names)
    return found


def p(off: int, at: int, id_: str = "a", score: float = 0.9) -> Prediction:
    return Prediction(off, at, at, id_, score, "1", "PT", at)


def y(off: int, at: int, label: str | None = "1", id_: str = "a") -> Label:
    return Label(off, at, at, id_, label, at)


@pytest.mark.parametrize(
    ("plog", "llog", "want"),
    [
        ([p(0, 2)], [y(0, 70)], [{"first"}]),
        ([p(0, 2)], [y(0, 3, id_="b")], [{"orphan"}]),
        ([p(0, 9)], [y(0, 4)], [{"first"}]),  # early, within the wait
        ([p(0, 9)], [y(0, 3)], [{"orphan"}]),  # too early
        ([p(0, 2)], [y(0, 89), y(1, 90)], [{"first"}, {"orphan"}]),  # the horizon ends with a segment
        ([p(0, 2)], [y(0, 3), y(1, 4), y(2, 5, "0")], [{"first"}, {"dup"}, {"added", "removed"}]),
        ([p(0, 2)], [y(0, 3), y(1, 4, None), y(2, 5, None)], [{"first"}, {"removed"}, {"dup"}]),  # withdrawn
        ([p(0, 2)], [y(0, 3), y(1, 4, None), y(2, 5, "0")], [{"first"}, {"removed"}, {"added"}]),
        ([p(0, 2)], [y(0, 3, None), y(1, 4)], [{"dup"}, {"first"}]),
        ([p(0, 2), p(1, 13)], [y(0, 7), y(1, 20)], [{"first"}, {"first"}]),  # a later segment begins anew
    ],
)
def test_the_rules_by_example(plog: list[Prediction], llog: list[Label], want: list[set[str]]) -> None:
    assert [set(names) - {"lag"} for names in joined(Rules(), plog, llog)] == want


def test_labels_that_carry_what_was_predicted_need_no_join() -> None:
    labels = {"topic": LABELS, "time": "t", "label": "y", "score": "s", "version": "v", "prediction_time": "made"}
    plan = plans_of(Rules(), labels=labels).outcomes[LABELS]
    assert plan.joins[0].predictions is None
    machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=0)
    records = [{"y": "1", "s": 0.9, "v": "7", "c": "PT", "made": 40}, {"y": "0", "s": 0.2, "v": "7", "made": 40}]
    block = block_of(plan.labels, records, [100, 100])
    machine.feed_labels(block, np.arange(2), np.full(2, 2_040), np.ones(2, np.bool_))
    ((_, part),) = machine.finish()
    shape = plan.joins[0].shape
    entries = {(e.group.version, e.group.segment): e for e in part.entries}
    assert {key: (e.rows, e.cohort) for key, e in entries.items()} == {("7", ""): (2, 4), ("7", "c=PT"): (1, 4)}
    counts = vector_of(entries["7", ""], shape.size)
    assert shape.table("score", counts[shape.first]).sum() == 2
    assert counts[shape.lag].tolist()[2] == 2


def test_the_driver_feeds_both_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        r = random.Random(seed)
        plans = plans_of(random_rules(r))
        plog, llog = random_logs(r, "create")
        told: list[SummaryPart] = []
        monkeypatch.setattr(Judge, "apply", lambda self, offset, part, told=told: told.append(part) or [])
        driver = Driver(plans)
        if llog:
            driver.feed(LABELS, 0, *label_block(plans.topics[LABELS].projection, llog))
        if plog:
            driver.feed(PREDICTIONS, 0, *prediction_block(plans.topics[PREDICTIONS].projection, plog))
        driver.finish()
        plan = plans.outcomes[LABELS]
        outcomes = [part for part in told if part.source.epoch == plan.epoch and part.kind == "final"]
        want = ranges_of(plan, derive(plan, plog, llog))
        assert [said(plan, part).cells for part in outcomes] == [one.cells for one in want]


def test_versions_in_shadow_find_the_same_labels() -> None:
    """Each version has its own first prediction of an id; a label without one of the shadow's is no orphan."""
    comparisons = [{"champion": "1", "challenger": v, "shadow": True} for v in ("2", "3")]
    rules = Rules(horizon=800)
    plain, plan = (plans_of(rules, comparisons=c).outcomes[LABELS] for c in ([], comparisons))
    assert plain.epoch != plan.epoch
    assert [join.shadow for join in plan.joins] == [False, True, True]
    plog = [
        Prediction(i, i, i, id_, 0.9, version, "PT", i)
        for i, (id_, version) in enumerate([("a", "1"), ("a", "2"), ("a", "2"), ("b", "1"), ("b", "3"), ("c", "2")])
    ]
    llog = [y(0, 20, id_="a"), y(1, 21, id_="b"), y(2, 22, id_="c"), y(3, 23, id_="d")]
    machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=0)
    machine.feed_predictions(PREDICTIONS, *prediction_block(plan.predictions[PREDICTIONS].projection, plog))
    machine.feed_labels(*label_block(plan.labels, llog))
    machine.predictions_end(PREDICTIONS, NEVER)
    shape, found = plan.joins[0].shape, {"first": {}, "orphan": {}}
    for _, part in [*machine.advance().parts, *machine.finish()]:
        for entry in part.entries:
            if not entry.group.segment:
                counts, version = vector_of(entry, shape.size), entry.group.version
                first, orphan = int(shape.table("score", counts[shape.first]).sum()), int(counts[shape.orphan])
                for name, n in (("first", first), ("orphan", orphan)):
                    if n:
                        found[name][version] = found[name].get(version, 0) + n
    assert found == {"first": {"1": 2, "2": 2, "3": 1}, "orphan": {"": 2}}


def test_monitors_that_share_a_label_topic_are_joined_each_by_its_own_rules() -> None:
    differ = 0
    for seed in range(SCHEDULES // 10):
        r = random.Random(seed)
        short = Rules(horizon=8, wait=0, cohort=4)
        plan = merged_plan(short, Rules(horizon=48, wait=6, cohort=9))
        plog, llog = random_logs(r, "create")
        machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=0)
        parts = []
        for i in range(0, len(llog), 3):
            parts += machine.feed_labels(*label_block(plan.labels, llog[i : i + 3])).parts
        for i in range(0, len(plog), 4):
            projection = plan.predictions[PREDICTIONS].projection
            machine.feed_predictions(PREDICTIONS, *prediction_block(projection, plog[i : i + 4]))
            parts += machine.advance().parts
            machine.persist(machine.commit_offset)
        machine.predictions_end(PREDICTIONS, NEVER)
        parts += machine.advance().parts + machine.finish()
        wants = [ranges_of(plan, derive(plan, plog, llog, number)) for number in (0, 1)]
        for number, want in enumerate(wants):
            assert [said(plan, part, number).cells for _, part in parts] == [one.cells for one in want]
        differ += [one.rows for one in wants[0]] != [one.rows for one in wants[1]]
    assert differ


def merged_plan(one: Rules, other: Rules) -> OutcomePlan:
    """A label topic with two monitors."""
    a, b = (plans_of(rules).outcomes[LABELS] for rules in (one, other))
    return replace(a, joins=(replace(a.joins[0], monitor="a"), replace(b.joins[0], monitor="b")))


def test_what_is_left_of_a_log_is_compared_with_what_a_rebuild_needs() -> None:
    plan = plans_of(Rules(horizon=80, wait=5)).outcomes[LABELS]
    machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=7)
    assert machine.fresh
    wanted = machine.rebuild(205)
    assert (wanted.predictions_ms, wanted.labels_ms) == ({PREDICTIONS: 120}, 115)
    assert wanted.missing_ms(120, 0, 190) == 0  # the log's beginning: nothing was deleted
    assert wanted.missing_ms(120, 40, 100) == 0
    assert wanted.missing_ms(120, 40, 190) == 70
    assert wanted.missing_ms(120, 40, -1) is None  # nothing is left to tell


def test_a_rebuild_asks_for_nothing_from_before_its_own_beginning() -> None:
    plan = plans_of(Rules(horizon=80, wait=5, since=151)).outcomes[LABELS]
    wanted = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=7).rebuild(205)
    assert (wanted.predictions_ms, wanted.labels_ms) == ({PREDICTIONS: 160}, 155)
    assert plan.epoch != plans_of(Rules(horizon=80, wait=5)).outcomes[LABELS].epoch


def test_sampled_ids_are_the_same_on_both_sides() -> None:
    r = random.Random(5)
    plog = [p(i, i, f"id{i}") for i in range(400)]
    llog = [y(i, 400 + i, "1", f"id{i}") for i in r.sample(range(400), 300)]
    rules = Rules(horizon=8_000, sample=0.25, cohort=10_000, pane=10_000)
    names = joined(rules, plog, llog)
    kept = [one for one in names if one]
    assert all(set(one) == {"first", "lag"} for one in kept)  # no orphan: a label that is kept finds its prediction
    assert 45 < len(kept) < 105

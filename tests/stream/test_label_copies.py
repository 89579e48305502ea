"""A copy of labels that repeats some of them after a crash leaves what is known of every prediction as it is."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np

from driftbus.detectors.outcomes import pairs_now
from driftbus.stream.join.blobs import MemoryBlobs
from driftbus.stream.join.machine import OutcomeMachine
from driftbus.stream.join.outcomeplan import OutcomePlan
from driftbus.stream.join.ranges import vector_of
from driftbus.stream.join.rows import NEVER

from .joinlogs import LABELS, PREDICTIONS, Label, Prediction, Rules, label_block, plans_of, prediction_block

Known = dict[tuple[str, str, int], list[int]]
"""(version, segment, cohort) → pairs of prediction and label, as corrected."""


def known(plan: OutcomePlan, plog: list[Prediction], llog: list[Label]) -> tuple[Known, Counter[str]]:
    """What is known in the end, and how many labels repeated another."""
    machine = OutcomeMachine(plan, 0, MemoryBlobs(), base=0, position=0)
    machine.feed_predictions(PREDICTIONS, *prediction_block(plan.predictions[PREDICTIONS].projection, plog))
    machine.predictions_end(PREDICTIONS, NEVER)
    parts = machine.feed_labels(*label_block(plan.labels, llog)).parts + machine.finish()
    shape, sums, kinds = plan.joins[0].shape, {}, Counter[str]()
    for _, part in parts:
        for entry in part.entries:
            counts = vector_of(entry, shape.size)
            key = (entry.group.version, entry.group.segment, entry.cohort)
            sums[key] = sums.get(key, np.zeros(shape.pairs, np.int64)) + pairs_now(shape, counts)
            if not entry.group.segment:
                kinds += Counter(dup=int(counts[shape.dup]), revised=int(counts[shape.removed].sum()))
    return {key: pairs.tolist() for key, pairs in sums.items() if pairs.any()}, kinds


def test_labels_that_come_twice_in_their_order_change_no_figure() -> None:
    plan = plans_of(Rules(horizon=4_000, wait=5)).outcomes[LABELS]
    kinds: Counter[str] = Counter()
    for seed in range(60):
        r = random.Random(seed)
        plog = [
            Prediction(i, i, i, f"id{i}", r.choice([0.1, 0.6, 0.9]), r.choice("12"), r.choice(["PT", "ES"]), i)
            for i in range(40)
        ]
        llog = [
            Label(i, i + 50, i + 50, f"id{r.randrange(40)}", r.choice(["0", "1", "1", None]), i + 50) for i in range(60)
        ]
        again = r.randrange(1, 60)
        begin = r.randrange(again)
        copied = [replace(one, off=i) for i, one in enumerate(llog[:again] + llog[begin:again] + llog[again:])]
        once, first = known(plan, plog, llog)
        twice, second = known(plan, plog, copied)
        assert once == twice
        assert len(once) > 2
        kinds += second
        kinds.subtract(first)
    assert kinds["dup"] > 100, "repeated labels are counted, as what they are"

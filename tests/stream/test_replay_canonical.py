"""What "the same events" means: one order for a set of events, and what differs between two."""

from __future__ import annotations

import json
import random

import pytest

from driftbus.schemas.errors import StateError
from driftbus.schemas.jsonlines import event_json
from driftbus.stream.replay.canonical import canonical_key, canonical_lines, differences
from harness import samples

SAMPLES = (samples.DRIFT, samples.INCIDENT, samples.REPORT, samples.COMPARISON, samples.RETRAIN)
EVENTS = [{**event_json(event), "id": f"{i:032x}"} for i, event in enumerate(SAMPLES)]


def test_any_order_and_any_repetition_give_the_same_lines() -> None:
    lines = canonical_lines(EVENTS)
    assert len(lines) == len(EVENTS)
    for seed in range(20):
        mixed = random.Random(seed).choices(EVENTS, k=20) + EVENTS
        random.Random(seed).shuffle(mixed)
        assert canonical_lines(mixed) == lines
    assert [canonical_key(json.loads(line)) for line in lines] == sorted(map(canonical_key, EVENTS))


def test_an_event_that_was_written_and_read_again_is_the_same_line() -> None:
    assert canonical_lines(json.loads(line) for line in canonical_lines(EVENTS)) == canonical_lines(EVENTS)


def test_one_id_with_two_contents_is_refused() -> None:
    with pytest.raises(StateError, match="one id, two events"):
        canonical_lines([EVENTS[0], {**EVENTS[0], "statistic": 0.0}])


def test_what_differs_is_told_apart() -> None:
    ours, theirs = EVENTS[:4], [*EVENTS[1:3], {**EVENTS[3], "message": "else"}, EVENTS[4]]
    found = differences(ours, theirs)
    assert not found.equal
    assert found.same == tuple(canonical_lines(EVENTS[1:3]))
    assert found.left == tuple(canonical_lines(EVENTS[:1]))
    assert found.right == tuple(canonical_lines(EVENTS[4:]))
    assert [json.loads(b)["message"] for _, b in found.changed] == ["else"]
    assert differences(EVENTS, reversed(EVENTS)).equal

"""A change of configuration does not page with old news, and going back to an old one wedges nothing."""

from __future__ import annotations

import pytest

from driftbus.schemas.codec import decode_message, encode_message
from driftbus.schemas.events import DriftEvent, Incident, Published, Registration, RetrainTrigger, Source, SummaryPart
from driftbus.stream.chain import Chain
from driftbus.stream.judge import Judge
from driftbus.stream.plan import Plans
from harness.savedstate import MONITOR, PARTITIONS, TOPIC, parts_of_a_drift

Log = list[SummaryPart | Registration]


@pytest.fixture(scope="module")
def drift() -> tuple[Plans, list[SummaryPart]]:
    plans, _, parts = parts_of_a_drift()
    return plans, parts


def registration(plans: Plans, fingerprint: str | None = None) -> Registration:
    mine = plans.monitors[MONITOR].fingerprint if fingerprint is None else fingerprint
    return Registration(TOPIC, plans.topics[TOPIC].epoch, PARTITIONS, {MONITOR: mine})


def judged(plans: Plans, log: Log, restart_at: int = -1) -> list[list[Published]]:
    """What is told at each message; the judge is a new one, restored from a snapshot, from `restart_at` on."""
    judge, told = Judge(plans, 0), []
    for offset, message in enumerate(log):
        if offset == restart_at:
            snapshot = judge.snapshot(MONITOR)
            judge = Judge(plans, 0)
            assert judge.restore({MONITOR: snapshot}) == []
        told.append(judge.apply(offset, decode_message(encode_message(message))))
    return told


def open_ones(events: list[Published]) -> list[Published]:
    """Those of episodes and incidents that are not over."""
    stories = {e.id: e.episode_id if isinstance(e, DriftEvent) else e.incident_id for e in events if is_story(e)}
    over = {stories[e.id] for e in events if is_story(e) and e.status == "closed"}
    return [e for e in events if e.id in stories and stories[e.id] not in over]


def is_story(event: Published) -> bool:
    return isinstance(event, DriftEvent | Incident)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_of_what_was_before_a_configuration_only_what_is_still_open_is_told(
    drift: tuple[Plans, list[SummaryPart]], share: float
) -> None:
    plans, parts = drift
    at = round(share * len(parts))
    loud = judged(plans, [registration(plans), *parts])[1:]
    before = [event for events in loud[:at] for event in events]
    log: Log = [registration(plans, "another"), *parts[:at], registration(plans), *parts[at:]]
    told = judged(plans, log)
    assert not any(told[: at + 1])
    assert sorted(e.id for e in told[at + 1]) == sorted(e.id for e in open_ones(before))
    assert told[at + 1] == [e for e in told[at + 1] if e in before], "the same bytes"
    assert told[at + 2 :] == loud[at:]
    assert not any(isinstance(e, RetrainTrigger) for e in told[at + 1])
    for restart in (at // 2, at + 2):
        assert judged(plans, log, restart) == told


def test_some_of_it_is_open_and_some_is_not(drift: tuple[Plans, list[SummaryPart]]) -> None:
    plans, parts = drift
    events = [event for told in judged(plans, [*parts]) for event in told]
    assert any(isinstance(e, RetrainTrigger) for e in events)
    assert len(open_ones(events[: len(events) // 2])) > 0


def test_an_old_configuration_that_is_heard_again_mutes_nobody(drift: tuple[Plans, list[SummaryPart]]) -> None:
    plans, parts = drift
    loud = judged(plans, [registration(plans), *parts])
    assert judged(plans, [registration(plans), registration(plans, "old"), *parts])[1:] == [[], *loud[1:]]
    assert judged(plans, [*parts]) == loud[1:], "an older release registers nothing"


def test_an_epoch_that_begins_again_goes_on_where_it_begins(drift: tuple[Plans, list[SummaryPart]]) -> None:
    """A configuration is changed and changed back: what the other one counted in between is not in it."""
    plan = drift[0].topics[TOPIC]
    source, chain = Source(TOPIC, 0, plan.epoch), Chain(plan)

    def take(a: int, b: int, base: int, kind: str = "final") -> list[int]:
        return [settled.a for part in [SummaryPart(kind, source, base, a, b, b)] for settled in settle(chain, part)]

    assert take(0, 10, 0) + take(10, 20, 0) == [0, 10]
    assert take(30, 40, 0) == [], "published and never committed: another configuration began at 20"
    assert take(70, 80, 70) == [70]
    assert take(30, 40, 0) + take(70, 80, 70) == [], "what comes again of before is passed over"
    assert take(80, 90, 70) == [80]
    assert chain.sources[0].clock == 90
    assert chain.sources[0].pending == {}


def settle(chain: Chain, part: SummaryPart) -> list[SummaryPart]:
    found = []
    for one in chain.take(part):
        list(chain.settle(one))
        found.append(one)
    return found

"""Incidents: what joins, what begins one of its own, when it is told, and that saved state goes on at any point."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, Histogram, Incident, OffsetRange
from driftbus.stream.facts import Fact
from driftbus.stream.incidents import MOST_HELD, MOST_OPEN, Incidents
from driftbus.stream.plan import MonitorPlan, build_plans
from driftbus.stream.scene import common_stretch
from driftbus.stream.state import pack_state, unpack_state

PANE = 10_000


def column(name: str, role: Any = "feature") -> ColumnProfile:
    return ColumnProfile(name, "numeric", role, (1.0, 2.0), 0.0, 3.0, (), (0, 10, 10, 10, 0), 0, 0)


FEATURES = ("car_value", "car_age", "income", "age", "zip", "tenure", "debt", "branch")


def plan(streams: Sequence[str] = ("predictions", "features", "labels")) -> MonitorPlan:
    columns = {
        "predictions": (*map(column, FEATURES), column("score", "score")),
        "features": tuple(map(column, ("customer.rank", "customer.visits", "shop.size"))),
        "labels": (column("label", "label"),),
    }
    mapped: dict[str, dict[str, Any]] = {s: {"topic": s, "time": "ts"} for s in streams}
    config = Config.model_validate(
        {"kafka": {"bootstrap": "none:1"}, "monitors": {"credit": {"pane": "10s", **mapped}}}
    )
    profiles = {("credit", s): Profile("credit", s, columns[s], 30) for s in streams}
    return build_plans(config, profiles, dict.fromkeys(streams, 1)).monitors["credit"]


PLAN = plan()
SINGLE = plan(["predictions"])


def event(
    column: str,
    opened: int,
    *,
    since: tuple[int, int, int] | None = None,
    status: str = "opened",
    severity: str = "moderate",
    stream: str = "predictions",
    segment: str = "",
    version: str = "",
    what: str = "shift",
    at: int | None = None,
    **fields: Any,
) -> DriftEvent:
    """An event of an episode; times in panes. `since` is (low, best, high)."""
    aspect = fields.pop("aspect", "quality" if what in ("nulls", "invalid", "unseen", "range") else "distribution")
    low, best, high = since or (opened - 2, opened - 1, opened)
    episode = "/".join([stream, version, segment, column, aspect, str(opened)])
    end = opened if at is None else at
    return DriftEvent(
        id=f"{episode}/{status}/{severity}",
        episode_id=episode,
        monitor="credit",
        stream=stream,
        version=version,
        segment=segment,
        column=column,
        detector="adwin",
        status=status,
        severity=severity,
        aspect=aspect,
        what=what,
        direction=fields.pop("direction", "up"),
        statistic=1.0,
        threshold=0.5,
        p_value=None,
        effect=fields.pop("effect", 0.2),
        reference_value=fields.pop("reference_value", 0.01),
        current_value=fields.pop("current_value", 0.22),
        window_start_ms=best * PANE,
        window_end_ms=(end + 1) * PANE,
        since_ms=best * PANE,
        since_low_ms=low * PANE,
        since_high_ms=high * PANE,
        opened_ms=opened * PANE,
        count=100,
        reference_count=1_000,
        ranges=(OffsetRange(stream, 0, best * 10, end * 10),),
        profile_id="p",
        fingerprint="f",
        message=f"{column}: {what}",
        histogram=Histogram((1.0,), (), (10, 20), (1, 2)),
        curve=(0.01, 0.2),
        **fields,
    )


def closing(opened: DriftEvent, at: int) -> DriftEvent:
    return replace(opened, id=f"{opened.episode_id}/closed", status="closed", window_end_ms=(at + 1) * PANE)


class Feed:
    """Streams that seal at their own pace."""

    def __init__(self, monitor: MonitorPlan = SINGLE) -> None:
        self.plan = monitor
        self.machine = Incidents(monitor)
        self.sealed = {s.stream: -1 for s in monitor.streams}

    def seal(
        self, stream: str, upto: int, events: Iterable[DriftEvent] = (), facts: Iterable[tuple[int, Fact]] = ()
    ) -> list[Incident]:
        by_tick: dict[int, tuple[list[DriftEvent], list[Fact]]] = {}
        for e in events:
            by_tick.setdefault(e.window_end_ms // PANE - 1, ([], []))[0].append(e)
        for tick, fact in facts:
            by_tick.setdefault(tick, ([], []))[1].append(fact)
        self.sealed[stream] = upto
        for tick, (mine, known) in sorted(by_tick.items()):
            self.machine.queue(_Sealed(stream, upto), tick, mine, known)
        return list(self.machine.advance([_Sealed(s, at) for s, at in self.sealed.items()]))

    def all(
        self, events: Iterable[DriftEvent], upto: int = 2_000, facts: Iterable[tuple[int, Fact]] = ()
    ) -> list[Incident]:
        return self.seal("predictions", upto, events, facts)


class _Sealed:
    def __init__(self, name: str, sealed: int) -> None:
        self.name, self.sealed = name, sealed


def brief(incidents: Iterable[Incident]) -> list[tuple[str, int, int, int]]:
    return [(i.status, i.decided_ms // PANE, i.columns, i.open) for i in incidents]


def test_thirty_columns_that_move_at_once_are_one_incident() -> None:
    columns = [event(name, 100 + i // 3, since=(97, 98, 99)) for i, name in enumerate(FEATURES)]
    said = Feed().all(columns, upto=300)
    assert {i.incident_id for i in said} == {said[0].incident_id}
    assert brief(said)[0] == ("opened", 101, 3, 3)
    assert brief(said)[1] == ("updated", 102, 6, 6)
    assert brief(said)[2] == ("updated", 110, 8, 8)
    assert len(said) == 3
    assert len({i.id for i in said}) == 3


def test_a_second_later_change_is_a_second_incident() -> None:
    first, second = event("income", 100, since=(97, 98, 99)), event("age", 300, since=(295, 297, 299))
    said = Feed().all([first, second, closing(first, 400), closing(second, 410)])
    assert [i.status for i in said if i.status != "updated"] == ["opened", "opened", "closed", "closed"]
    first_id, *_, second_id = (i.incident_id for i in said if i.status == "opened")
    assert first_id != second_id
    assert [i.incident_id for i in said if i.status == "closed"] == [first_id, second_id]


def test_a_change_that_is_found_late_joins_by_its_change_point() -> None:
    said = Feed().all([event("income", 100, since=(97, 98, 99)), event("age", 300, since=(90, 98, 150))])
    assert {i.incident_id for i in said} == {said[0].incident_id}
    # at the horizon it is known that only inputs moved
    assert brief(said)[:3] == [("opened", 101, 1, 1), ("updated", 110, 1, 1), ("updated", 301, 2, 2)]


@pytest.mark.parametrize(
    "part", [{"segment": "country=PT"}, {"version": "13"}, {"segment": "country=PT", "version": "13"}]
)
def test_a_part_of_what_is_open_never_begins_an_incident(part: dict[str, str]) -> None:
    version = "12" if "version" in part else ""
    whole = event("income", 100, version=version)
    feed = Feed()
    said = feed.all([whole, event("income", 900, **part)])
    assert {i.incident_id for i in said} == {said[0].incident_id}
    assert said[-1].members[0].column == said[-1].members[-1].column == "income"
    # of another column it would have
    assert len({i.incident_id for i in Feed().all([whole, event("age", 900, **part)])}) == 2
    # and when the whole is over, too
    over = [whole, closing(whole, 500), event("income", 900, **part)]
    assert len({i.incident_id for i in Feed().all(over)}) == 2


def test_it_is_told_again_when_it_gets_worse_and_once_when_all_are_closed() -> None:
    a, b = event("income", 100, severity="minor"), event("age", 100, severity="minor")
    worse = replace(a, id="x", status="escalated", severity="severe", window_end_ms=151 * PANE)
    said = Feed().all([a, b, worse, closing(worse, 200), closing(b, 250)])
    assert [(i.status, i.severity, i.open, i.decided_ms // PANE) for i in said] == [
        ("opened", "minor", 2, 101),
        ("updated", "minor", 2, 110),
        ("updated", "severe", 2, 151),
        ("closed", "severe", 0, 251),
    ]
    assert said[-1].members[0].status == "closed"
    assert said[-1].members[0].closed_ms == 201 * PANE


def test_a_member_that_escalates_is_told_at_once_though_the_incident_is_severe_already() -> None:
    a, b = event("income", 100, severity="severe", effect=0.9), event("age", 100, severity="minor", effect=0.1)
    worse = replace(b, id="x", status="escalated", severity="moderate", window_end_ms=151 * PANE)
    told = Feed().all([a, b, worse])[-1]
    assert (told.status, told.decided_ms // PANE, told.severity) == ("updated", 151, "severe")
    assert [m.severity for m in told.members] == ["severe", "moderate"]


def test_escalations_behind_the_first_members_wait_for_the_next_look() -> None:
    first = [event("income", 100, segment=f"s={i}", severity="severe", effect=0.9) for i in range(10)]
    last = [event("income", 100, segment=f"t={i}", severity="minor", effect=0.1) for i in range(300)]
    worse = [
        replace(e, id=f"{e.id}!", status="escalated", severity="moderate", window_end_ms=(200 + i) * PANE)
        for i, e in enumerate(last)
    ]
    assert len(Feed().all([*first, *last, *worse], upto=1_000)) < 10


def test_a_column_that_moves_again_is_told_without_a_page_and_keeps_its_beginning() -> None:
    first = event("income", 100, since=(97, 98, 99))
    again = replace(first, id="again", status="changed", since_low_ms=5_000, effect=0.9, window_end_ms=301 * PANE)
    said = Feed().all([first, again])
    assert {i.incident_id for i in said} == {said[0].incident_id}
    assert all(i.decided_ms != 301 * PANE for i in said)
    last = Feed().all([first, again, closing(again, 400)])[-1]
    assert (last.members[0].effect, last.members[0].since_low_ms) == (0.9, 97 * PANE)


def test_the_number_of_events_grows_with_the_logarithm_of_members_and_age() -> None:
    rng = random.Random(1)
    columns = [event(rng.choice(FEATURES), 100 + i, segment=f"s={i}", since=(97, 98, 99)) for i in range(500)]
    said = Feed().all(columns, upto=10_000)
    assert len({i.incident_id for i in said}) == 1
    assert len(said) < 20
    assert len(said[-1].members) == 100
    assert said[-1].left_out == 400
    assert said[-1].open == 500


def test_members_are_ranked_and_the_first_ten_are_drawn() -> None:
    sizes = [("minor", 0.05), ("severe", 0.3), ("moderate", 0.2), ("severe", 0.9)]
    columns = [event(FEATURES[i], 100, severity=s, effect=e) for i, (s, e) in enumerate(sizes)]
    columns += [event("income", 100, segment=f"c={i}", severity="minor", effect=0.01) for i in range(20)]
    (told, *_) = Feed().all(columns, upto=101)
    assert [(m.severity, m.effect) for m in told.members[:4]] == [
        ("severe", 0.9), ("severe", 0.3), ("moderate", 0.2), ("minor", 0.05),
    ]  # fmt: skip
    assert [m.histogram is not None and m.curve != () for m in told.members] == [True] * 10 + [False] * 14
    assert told.severity == "severe"
    assert told.ranges == (OffsetRange("predictions", 0, 990, 1000),)


def test_since_is_the_stretch_that_most_intervals_cover() -> None:
    assert common_stretch([(0, 10), (5, 20), (6, 8), (50, 60)]) == (6, 8)
    assert common_stretch([(0, 1), (5, 6)]) == (0, 1)
    spans = [(90, 99, 99), (97, 98, 120), (95, 97, 98), (60, 60, 61)]
    columns = [event(FEATURES[i], 100, since=span) for i, span in enumerate(spans)]
    told = Feed().all(columns, upto=101)[0]
    assert (told.since_low_ms, told.since_ms, told.since_high_ms) == (97 * PANE, 98 * PANE, 98 * PANE)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=12))
def test_the_stretch_is_covered_by_as_many_as_any_point(spans: list[tuple[int, int]]) -> None:
    intervals = [(low, low + width) for low, width in spans]
    low, high = common_stretch(intervals)
    cover = lambda x: sum(a <= x <= b for a, b in intervals)  # noqa: E731
    assert cover(low) == cover(high) == max(cover(x) for x in range(41))


def world(seed: int) -> dict[str, list[DriftEvent]]:
    """Episodes of three streams that open, escalate and close over time."""
    r = random.Random(seed)
    said: dict[str, list[DriftEvent]] = {"predictions": [], "features": [], "labels": []}
    names = {"predictions": [*FEATURES, "score"], "features": ["customer.rank", "customer.visits"], "labels": ["label"]}
    for _ in range(60):
        stream = r.choice(list(said))
        opened = r.choice([100, 400, 900]) + r.randrange(60)
        one = event(r.choice(names[stream]), opened, stream=stream, segment=r.choice(["", "", "c=PT"]),
                    version=r.choice(["1", "2"]), severity="minor", what=r.choice(["shift", "nulls"]))  # fmt: skip
        if any(one.episode_id == e.episode_id for e in said[stream]):
            continue
        said[stream].append(one)
        if r.random() < 0.5:
            at = (opened + r.randrange(1, 40) + 1) * PANE
            one = replace(one, id=one.id + "!", status="escalated", severity="severe", window_end_ms=at)
            said[stream].append(one)
        if r.random() < 0.6:
            said[stream].append(closing(one, one.window_end_ms // PANE + r.randrange(80)))
    return {s: sorted(events, key=lambda e: (e.window_end_ms, e.id)) for s, events in said.items()}


def walk(seed: int, steps: int, cut: bool) -> dict[str, Incident]:
    """The streams of a world, sealed in an order of its own; with `cut` state is saved and loaded at every step."""
    said, r, feed = world(seed), random.Random(steps), Feed(PLAN)
    found: dict[str, Incident] = {}
    while any(at < 2_000 for at in feed.sealed.values()):
        stream = r.choice([s for s, at in feed.sealed.items() if at < 2_000])
        before, upto = feed.sealed[stream], min(2_000, feed.sealed[stream] + r.randrange(1, steps))
        mine = [e for e in said[stream] if before < e.window_end_ms // PANE - 1 <= upto]
        for incident in feed.seal(stream, upto, mine):
            assert found.setdefault(incident.id, incident) == incident
        if cut:
            saved = pack_state({"x": feed.machine.state()})
            feed.machine = Incidents(PLAN)
            feed.machine.restore(unpack_state(saved)["x"])
            assert pack_state({"x": feed.machine.state()}) == saved
    return found


@pytest.mark.parametrize("seed", range(4))
def test_neither_the_order_of_streams_nor_a_restart_changes_what_is_told(seed: int) -> None:
    once = walk(seed, 5_000, cut=False)
    assert {i.status for i in once.values()} == {"opened", "updated", "closed"}
    assert walk(seed, 7, cut=False) == walk(seed, 150, cut=True) == once


def test_labels_neither_wait_nor_are_waited_for() -> None:
    feed = Feed(PLAN)
    assert feed.seal("predictions", 200, [event("income", 100)]) == []
    told = feed.seal("features", 105)
    assert [i.status for i in told] == ["opened"]
    assert told[0].watched == 12
    late = feed.seal("labels", 100, [event("label", 95, stream="labels")])
    assert [(i.status, i.watched) for i in late] == [("opened", 1)]
    assert late[0].incident_id != told[0].incident_id


def test_state_is_bounded() -> None:
    feed = Feed()
    feed.all(
        [event(FEATURES[i % 8], 100 + i, segment=f"s={i}", since=(97, 98, 99)) for i in range(3 * MOST_HELD)], 1_000
    )
    (case,) = feed.machine._lanes[0]._open
    assert len(case.held) == MOST_HELD
    assert len(case.rest) == 2 * MOST_HELD
    feed = Feed()
    feed.all([event("income", 2_000 * (i + 1), segment=f"s={i}") for i in range(3 * MOST_OPEN)], 10**6)
    assert len(feed.machine._lanes[0]._open) == MOST_OPEN


def test_what_was_left_out_keeps_an_incident_open_and_ends_it() -> None:
    many = [event("income", 100, segment=f"s={i}", effect=1.0 - i / 1000) for i in range(MOST_HELD + 1)]
    said = Feed().all([*many, *(closing(e, 200) for e in many[:-1]), closing(many[-1], 300)])
    assert [i.decided_ms // PANE for i in said if i.status == "closed"] == [301]


def test_the_headline_says_who_what_and_since_when() -> None:
    first = event("income", 100, what="nulls", version="12", severity="severe", segment="country=PT")
    said = Feed().all([first, closing(first, 200)])
    assert said[0].message.startswith(
        "credit v12: 1 of 9 columns has drifted in country=PT since 1970-01-01 00:16 UTC, "
        "led by income (nulls 1.0% → 22.0%). Nulls came in income"
    )
    assert (said[0].version, said[0].segment) == ("12", "country=PT")
    assert said[-1].message.startswith("credit v12: over; 1 of 9 columns has drifted")
    pair = event("income × age", 100, what="relation", aspect="relation")
    assert Feed().all([pair, first], 101)[0].columns == 1
    volume = event("", 100, what="volume", aspect="volume")
    assert Feed().all([volume], 101)[0].message.startswith("credit: : volume since")

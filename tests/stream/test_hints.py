"""Hints: each is there when it is true, and not when it isn't."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driftbus.schemas.events import DriftEvent, Hint
from driftbus.stream.facts import Fact

from .test_incidents import FEATURES, PLAN, SINGLE, Feed, event


def hints(events: list[DriftEvent], *, facts: list[tuple[int, Fact]] | None = None, all_streams: bool = False,
          upto: int = 1_000) -> dict[str, Hint]:  # fmt: skip
    """By kind, the hints of the one incident's last event."""
    feed = Feed(PLAN if all_streams else SINGLE)
    said = []
    for stream in ("features", "predictions") if all_streams else ("predictions",):
        mine = [e for e in events if e.stream == stream]
        said += feed.seal(stream, upto, mine, (facts or []) if stream == "predictions" else ())
    assert len({i.incident_id for i in said}) == 1
    return {hint.kind: hint for hint in said[-1].hints}


def test_nulls_before_or_with_the_shift() -> None:
    nulls = event("income", 100, what="nulls", since=(94, 95, 96))
    shift = event("income", 102, since=(95, 96, 97))
    found = hints([nulls, shift])["nulls_first"]
    assert found.columns == ("income",)
    assert found.text.startswith("Nulls came in income (1.0% → 22.0%), before or with the shift")
    assert hints([nulls])["nulls_first"].text.count("nothing else of the column moved") == 1
    stuck = event("income", 100, what="stuck", aspect="cardinality", direction="", since=(94, 95, 96))
    assert hints([stuck, shift])["nulls_first"].text.startswith("One value only in income, before or with the shift")
    assert "and in 1 more columns" in hints([nulls, event("age", 100, what="unseen")])["nulls_first"].text


@pytest.mark.parametrize(
    "quality",
    [
        event("income", 105, what="nulls", since=(101, 102, 103)),  # after the shift
        event("income", 100, what="nulls", since=(94, 95, 96), direction="down"),  # fewer nulls break nothing
        event("income", 100, what="range", since=(94, 95, 96)),
    ],
)
def test_nulls_after_the_shift_or_fewer_are_no_cause(quality: DriftEvent) -> None:
    assert "nulls_first" not in hints([event("income", 100, since=(94, 95, 97)), quality])


def test_a_schema_change_is_named() -> None:
    said = "the stream: records with another schema have come: retyped income double → string, added tier; severe"
    change = replace(event("", 100, what="schema", aspect="schema"), message=said)
    found = hints([change, event("age", 101)])["schema_change"]
    assert found.columns == ("income",)
    assert found.text == "The producer's schema changed: retyped income double → string, added tier"
    assert "schema_change" not in hints([event("age", 101)])


def test_skew_only_when_all_of_it_is() -> None:
    skewed = event("income", 100, nature="skew")
    assert "skew" in hints([skewed, event("age", 100, nature="skew")])
    assert "skew" not in hints([skewed, event("age", 100)])


def test_a_version_that_came_with_the_change() -> None:
    moved = [
        event("income", 104, version="13", since=(100, 101, 102)),
        event("age", 104, version="13", since=(99, 101, 103)),
    ]
    known: list[tuple[int, Fact]] = [(104, ["version", "12", 0, 104]), (104, ["version", "13", 101, 104])]
    assert "began with version 13" in hints(moved, facts=known)["new_version"].text
    # it had been there for long, and the other one is quiet
    long = [(104, ["version", "12", 0, 104]), (104, ["version", "13", 20, 104])]
    assert "Only version 13 has moved; 12 has not" in hints(moved, facts=long)["new_version"].text  # type: ignore[arg-type]
    assert "new_version" not in hints(moved, facts=long, upto=105)  # type: ignore[arg-type]
    # alone in the world
    assert "new_version" not in hints(moved, facts=[(104, ["version", "13", 101, 104])])
    # the other one moved as well, or was gone
    assert "new_version" not in hints([*moved, event("age", 104, version="12", since=(99, 101, 103))], facts=known)
    gone = [(104, ["version", "12", 0, 50]), (104, ["version", "13", 20, 104])]
    assert "new_version" not in hints(moved, facts=gone)  # type: ignore[arg-type]


def test_one_segment_by_what_leaving_it_out_does() -> None:
    share: Fact = ["share", "", "income", "distribution", "country=PT", 0.31, 0.004]
    found = hints([event("income", 100)], facts=[(101, share)])["one_segment"]
    assert (found.before, found.after) == (0.31, 0.004)
    assert found.text == "Only country=PT: without it the change disappears (PSI 0.310 over all rows, 0.004 without it)"
    # half of the columns or fewer are no story
    three = [event(name, 100) for name in ("income", "age", "zip")]
    assert "one_segment" not in hints(three, facts=[(101, share)])
    # two segments explain it: neither does
    other: Fact = ["share", "", "age", "distribution", "country=ES", 0.3, 0.004]
    assert "one_segment" not in hints(three[:2], facts=[(101, share), (101, other)])


def test_one_segment_when_all_else_is_quiet() -> None:
    part = event("income", 100, segment="country=PT")
    assert "all other rows are as they were" in hints([part])["one_segment"].text
    assert "one_segment" not in hints([part], upto=105)  # others may still come
    assert "one_segment" not in hints([part, event("income", 101)])
    assert "one_segment" not in hints([part, event("age", 101, segment="country=ES")])


def test_everything() -> None:
    most = [event(name, 100) for name in (*FEATURES,)]
    volume = event("", 100, what="volume", aspect="volume")
    assert hints(most)["everything"].text.startswith("8 of 9 columns moved at once: ")
    assert "the number of rows has gone up" in hints([*most, volume])["everything"].text
    assert "everything" not in hints(most[:7])


def test_one_source() -> None:
    cars = [event("car_value", 100), event("car_age", 101)]
    assert "car_*" in hints(cars)["one_source"].text
    assert hints(cars)["one_source"].columns == ("car_age", "car_value")
    assert "one_source" not in hints(cars, upto=105)
    assert "one_source" not in hints([cars[0], event("income", 100)])
    assert "one_source" not in hints([cars[0]])
    customers = [event("customer.rank", 100, stream="features"), event("customer.visits", 101, stream="features")]
    assert "features stream (topic features)" in hints(customers, all_streams=True)["one_source"].text
    assert "one_source" not in hints([customers[0], cars[0]], all_streams=True)


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        (["score"], {"outputs_only"}),
        (["income"], {"inputs_only"}),
        (["income", "score"], set()),
    ],
)
def test_outputs_or_inputs_only(columns: list[str], kinds: set[str]) -> None:
    events: list[Any] = [event(name, 100) for name in columns]
    assert hints(events).keys() & {"outputs_only", "inputs_only"} == kinds
    assert not hints(events, upto=105).keys() & {"outputs_only", "inputs_only"}

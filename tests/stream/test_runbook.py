"""Each incident has the page that helps most, and each page says the same five things."""

from __future__ import annotations

from typing import Any

import pytest

from driftbus.stream.explain.runbook import FOLDER, PAGES, page_of
from harness.cache import REPOSITORY


def member(
    what: str = "shift", stream: str = "predictions", aspect: str = "distribution", nature: str = "drift"
) -> Any:
    return {"what": what, "stream": stream, "aspect": aspect, "nature": nature}


@pytest.mark.parametrize(
    ("members", "hints", "page"),
    [
        ([member()], [], "inputs-drifted"),
        ([member()], ["one_segment", "inputs_only"], "inputs-drifted"),
        ([member("unseen", aspect="quality")], [], "inputs-drifted"),
        ([member("nulls", aspect="quality"), member()], [], "upstream-data-broken"),
        ([member()], ["nulls_first"], "upstream-data-broken"),
        ([member()], ["schema_change", "new_version"], "upstream-data-broken"),
        ([member("volume", aspect="volume")], [], "upstream-data-broken"),
        ([member("stuck", "features", "cardinality")], [], "upstream-data-broken"),
        ([member(nature="skew")], [], "training-serving-skew"),
        ([member(), member(nature="skew")], ["skew"], "training-serving-skew"),
        ([member(), member(nature="skew")], [], "inputs-drifted"),
        ([member()], ["new_version"], "rollback"),
        ([member("accuracy", "outcomes", "performance"), member()], [], "model-performance-degraded"),
        ([member("errors", "outcomes", "concept")], ["inputs_only"], "model-performance-degraded"),
        ([member("accuracy", "outcomes"), member("nulls", aspect="quality")], [], "upstream-data-broken"),
        ([member("volume", "labels", "volume")], [], "labels-late-or-missing"),
        ([member("nulls", "labels", "quality")], [], "labels-late-or-missing"),
        ([member("category", "labels")], [], "inputs-drifted"),
        ([member("volume", "labels", "volume"), member()], [], "inputs-drifted"),
    ],
)
def test_the_page_of_an_incident(members: list[Any], hints: list[str], page: str) -> None:
    incident = {"members": members, "hints": [{"kind": kind} for kind in hints]}
    assert page_of(incident) == f"{FOLDER}/{page}.md"


def test_a_drift_event_alone_has_one_too() -> None:
    assert page_of(member("nulls", aspect="quality")) == f"{FOLDER}/upstream-data-broken.md"


def test_pages_are_there_and_say_the_same_five_things() -> None:
    found = {path.stem for path in (REPOSITORY / FOLDER).glob("*.md")}
    assert found == {*PAGES, "README"}
    listed = (REPOSITORY / FOLDER / "README.md").read_text()
    for name in PAGES:
        assert f"({name}.md)" in listed
        text = (REPOSITORY / FOLDER / f"{name}.md").read_text()
        places = [
            text.find(words) for words in ("**It means**", "**Look at**", "**Decide**", "**Do**", "**It closes**")
        ]
        assert places == sorted(places), name
        assert min(places) > 0, name
        assert len(text.splitlines()) <= 40, name

"""`driftbus explain` over a file of events: what a person reads, and what goes wrong politely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftbus.schemas.codec import encode_event
from driftbus.schemas.events import DriftEvent, Incident
from driftbus.schemas.jsonlines import event_json, json_line
from driftbus.stream.cli.main import run
from driftbus.stream.explain.find import Known, _known
from driftbus.stream.explain.published import events_of
from driftbus.stream.explain.screen import bar, bins_of, moment, values_of

from .test_incidents import Feed, closing, event


def story() -> list[DriftEvent | Incident]:
    """Two incidents: nulls and a shift of income in one segment; later another column, which is over."""
    nulls = event("income", 100, what="nulls", severity="severe", segment="country=PT", since=(94, 95, 96))
    shift = event("income", 101, since=(95, 96, 97), segment="country=PT", effect=0.6)
    later = event("age", 700)
    drifts = [nulls, shift, later, closing(later, 800)]
    return [*drifts, *Feed().all(drifts)]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{json_line(event_json(e))}\n" for e in story()))
    return path


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["explain", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def ids() -> list[str]:
    return list(dict.fromkeys(e.incident_id for e in story() if isinstance(e, Incident)))


def test_without_an_id_the_latest_incidents_are_listed(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    code, said, _ = explained(capsys, "--events", events)
    assert code == 0
    lines = said.splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        [ids()[1][:8], "credit", "closed", "moderate"],
        [ids()[0][:8], "credit", "open", "severe"],
    ]
    assert "next: driftbus explain ID" in said
    assert explained(capsys, "--events", events, "--monitor", "other")[1] == "no incidents\n"
    assert len(explained(capsys, "--events", events, "--json", "--limit", 1)[1].splitlines()) == 1


def test_an_incident_is_told_from_headline_to_offsets(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    code, said, _ = explained(capsys, ids()[0][:6], "--events", events)
    assert code == 0
    assert said.startswith("credit: 1 of 9 columns has drifted in country=PT since 1970-01-01 00:")
    for part in (
        "severe · 2 of 2 episodes open",
        "Nulls came in income (1.0% → 22.0%), before or with the shift",
        "Only country=PT: all other rows are as they were",
        "nulls up",
        "shift up",
        "before  (30)",
        "after  (3)",
        "≤ 1",
        "> 1",
        "Ask who fills income",
        "Look at that segment alone",
        "predictions[0]  950 to 1,009",
    ):
        assert part in said, part
    assert "driftbus retrain" not in said  # it would learn the error


def test_an_episode_leads_to_its_incident(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    drift = story()[1]
    assert isinstance(drift, DriftEvent)
    for name in (drift.episode_id, drift.id):
        code, said, _ = explained(capsys, name, "--events", events)
        assert code == 0
        assert "▸ income" in said
        assert "The episode" in said
        assert "opened " in said
    _, said, _ = explained(capsys, drift.episode_id, "--events", events, "--json")
    assert json.loads(said)["incident_id"] == ids()[0]


def test_an_episode_without_an_incident_is_told_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    lonely = event("income", 100)
    path.write_text(json_line(event_json(lonely)) + "\n")
    code, said, _ = explained(capsys, lonely.episode_id, "--events", path)
    assert code == 0
    assert said.startswith("credit: income: shift")
    assert "before  (30)" in said
    assert "index" in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("zz", None, "no incident, episode or event begins with 'zz'"),
        ("predictions", None, "is the beginning of 3 ids"),
        ("x", "{", "line 1 of"),
        ("x", "[1]", "is no event"),
        ("x", '{"kind": "drift"}', "has no 'episode_id'"),
        ("x", '{"kind": "incident", "incident_id": "x", "id": "x"}', "an event can't be told"),
        ("x", '{"kind": "incident", "incident_id": "x", "id": "x", "members": 3}', "an event can't be told"),
    ],
)
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], events: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        events.write_text(text)
    code, _, error = explained(capsys, name, "--events", events)
    assert code == 2
    assert said in error
    assert explained(capsys, "x", "--events", events.parent / "none")[0] == 2


def test_names_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    evil = "inc\x1b[31mome\u202e\x9b2J\n"
    lines = events.read_text().replace("income", json.dumps(evil)[1:-1])
    events.write_text(lines)
    for arguments in ((), (ids()[0],)):
        code, said, _ = explained(capsys, *arguments, "--events", events)
        assert code == 0
        assert ("inc\\x1b[31mome" in said) == bool(arguments)
        assert not {"\x1b", "\u202e", "\x9b"} & set(said)


def test_every_format_of_the_topics_reads_alike() -> None:
    from driftbus.schemas.cloudevents import structured_body
    from driftbus.schemas.config import Config

    wanted = Known()
    values: list[bytes | None] = [b"junk", None, b"{}", b"\0\0\0\0\1abc"]
    for i, e in enumerate(story()):
        wanted.take(json.loads(json_line(event_json(e))))
        values += [structured_body(e, "driftbus") if i % 2 else encode_event(e)]
    config: Any = {"kafka": {"bootstrap": "none:1"}, "monitors": {"m": {"predictions": {"topic": "t", "time": "ts"}}}}
    known = _known(events_of(Config.model_validate(config), [*values, *values]))
    assert known.incidents == wanted.incidents
    assert known.episodes == wanted.episodes
    assert known.unreadable == 8


def test_small_parts() -> None:
    assert moment("2025-10-16T02:10:00.000Z") == "2025-10-16 02:10"
    assert moment("2025-10-16T02:10:05.500Z") == "2025-10-16 02:10:05.500"
    message = "income: values have shifted up, +0.00σ → +0.74σ; severe, adwin 0.74 against 0.678"
    assert values_of({"message": message}) == "+0.00σ → +0.74σ"
    assert values_of({"message": "income: back to the reference"}) == ""
    assert bar(0) == bar(-1) == " " * 25
    assert bar(1) == bar(2) == "█" * 24 + " "
    assert bins_of({"edges": [1.0, 2.5], "categories": [], "reference": [1, 1, 1]}) == ["≤ 1", "1 … 2.5", "> 2.5"]
    assert bins_of({"edges": [], "categories": [], "reference": [1]}) == ["all values"]

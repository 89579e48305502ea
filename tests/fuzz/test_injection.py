"""Names from records in logs, metrics, JSON lines, headers, reports and on terminals: they stay names everywhere."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Literal

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from driftbus.schemas.cloudevents import AVRO_CONTENT, binary_headers, structured_body
from driftbus.schemas.codec import decode_event, encode_event
from driftbus.schemas.events import DeadLetter, DriftEvent, Incident
from driftbus.schemas.jsonlines import event_json, json_line
from driftbus.schemas.names import LONGEST_NAME, name_hash, short_name
from driftbus.stream.explain.screen import episode_screen, incident_screen, shown
from driftbus.stream.report.markup import el, name
from driftbus.stream.worker.deadletter import headers_of
from driftbus.stream.worker.logs import set_up_logs
from driftbus.stream.worker.metrics import ColumnState, Metrics
from harness.samples import DRIFT, INCIDENT

EVIL = [
    "PT\nlevel=error msg=forged", "\x1b[31mred\x1b[0m\x1b]8;;http://evil\x07link", "a\r\x1b[2Kb",
    '"} 1\nforged_metric{a="b', "<script>alert(1)</script>", '=HYPERLINK("http://evil")', "../../etc/passwd",
    "[bold red]markup[/]", "%(name)s {0.__class__} %n", "\x00\x9b2J\u2028\u2029", "{{ $labels.monitor }}",
    "' OR 1=1 --", "a\\nb\\", "\u200bzero", "\u202eevil",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(EVIL), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))


def events(text: str) -> tuple[DriftEvent, Incident]:
    member = replace(INCIDENT.members[0], column=text, segment=f"country={text}", message=f"{text}: moved")
    drift = replace(
        DRIFT, version=text, segment=f"country={text}", column=text, category=text, message=f"{text}: moved"
    )
    return drift, replace(INCIDENT, message=f"in {text}", version=text, members=(member,))


def obeyed(text: str) -> list[str]:
    """What a terminal would do more than show, newlines aside."""
    return [c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028\u2029\u2066")]


@given(NAMES)
def test_published_events_hold_names_as_they_are(text: str) -> None:
    for event in events(text):
        assert decode_event(encode_event(event)) == event
        line = json_line(event_json(event))
        assert line.count("\n") == line.endswith("\n")
        assert "\r" not in line
        assert json.loads(line)["version"] == text
        body = structured_body(event, "driftbus")
        assert b"\n" not in body.rstrip(b"\n")
        for key, value in binary_headers(event, "driftbus", AVRO_CONTENT):
            assert key.isascii()
            assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value.decode()), (key, value)


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("style", ["console", "json"])
def test_a_line_of_the_log_stays_one_line_that_moves_no_cursor(style: Literal["console", "json"]) -> None:
    out = io.StringIO()
    set_up_logs(style, "info", out)
    log = logging.getLogger("driftbus.test")

    @given(NAMES)
    @settings(max_examples=150)
    def holds(text: str) -> None:
        out.seek(0)
        out.truncate()
        log.info("drift %s: %s", "opened", text)
        structlog.get_logger("driftbus.test").warning(text, name=text)
        lines = out.getvalue().split("\n")
        assert len(lines) == 3
        assert obeyed(out.getvalue()) == []
        if style == "json":
            assert json.loads(lines[0])["event"] == f"drift opened: {text}"

    holds()


@given(NAMES)
def test_labels_of_metrics_are_read_back_as_they_were(text: str) -> None:
    metrics = Metrics(CollectorRegistry(), columns=2)
    metrics.show_columns("m", "predictions", {text: ColumnState(0.1), "other": ColumnState(0.2)})
    metrics.comparisons.labels("m", text, "accuracy", "opened").inc()
    said = generate_latest(metrics.registry).decode()
    samples = [s for family in text_string_to_metric_families(said) for s in family.samples]
    assert {s.labels["column"] for s in samples if s.name == "driftbus_drift_score"} == {text, "other"}
    assert [s.labels["challenger"] for s in samples if s.name == "driftbus_comparisons_total"] == [text]
    assert not any("forged" in s.name for s in samples)


class Elements(HTMLParser):
    """Tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(NAMES)
def test_a_page_has_no_elements_of_their_making(text: str) -> None:
    seen = Elements()
    seen.feed(el("p", text, name(text), title=text))
    seen.close()
    assert seen.tags == ["p", "bdi"]


@given(NAMES)
@settings(max_examples=60, deadline=None)
def test_a_screen_shows_them_spelled_out(text: str) -> None:
    console = Console(file=io.StringIO(), width=300, force_terminal=False)
    drift, incident = events(text)
    console.print(incident_screen(shown(event_json(incident))))
    console.print(episode_screen([shown(event_json(drift))]))
    assert isinstance(console.file, io.StringIO)
    assert obeyed(console.file.getvalue()) == []


@given(NAMES, st.binary(max_size=40))
def test_headers_of_dead_letters_hold_what_they_are_given(text: str, value: bytes) -> None:
    letter = DeadLetter("t", 0, 1, value, value, [(text or "x", value)], 5, "bad_utf8", text * 100)
    found = headers_of(letter)
    assert found[0] == (text or "x", value)
    assert all(isinstance(each, bytes) and len(each) <= 4_000 for _, each in found[1:] if each is not None)


@given(st.one_of(NAMES, st.text(min_size=200, max_size=400)))
def test_a_name_is_short_and_its_own(text: str) -> None:
    short = short_name(text)
    assert len(short.encode()) <= LONGEST_NAME + 19
    assert (short == text) == (len(text.encode()) <= LONGEST_NAME)
    assert short_name(text + "\0") != short
    assert name_hash(short) == name_hash(short_name(text))


def test_long_names_that_begin_alike_stay_apart_and_are_never_taken_for_short_ones() -> None:
    long = "x" * 5_000
    names = {short_name(long + str(i)) for i in range(100)}
    assert len(names) == 100
    assert all(len(each.encode()) > LONGEST_NAME for each in names)

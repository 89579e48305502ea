"""Events in every form that people send them in, and ours as people of another language read them.

Each form is a monitor with a topic of its own; one worker watches them all. The same rows are sent in each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import httpx
import pytest

from driftbus import Producer
from driftbus.detectors.profile import Profile
from driftbus.schemas.cloudevents import structured
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.jsonlines import iso_utc
from driftbus.stream.worker.profiles import publish_profile
from harness.broker import Broker
from harness.node import Node
from harness.registry import Registry

from .forms import FLAT, FLAT_TYPES, FORMS, ISO, ROWS, SECONDS, STEP_MS, Form, Row, flat, make_profile, make_rows
from .installation import Installation, tally
from .scenario import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.registry]


@pytest.fixture(scope="module")
def registry_with_guids(registry: Registry) -> Iterator[str]:
    """Address of the registry behind something that knows GUIDs, as newer registries do: here the id as a number."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = re.sub(r"/schemas/guids/(.+)", lambda found: f"/schemas/ids/{UUID(found[1]).int}", self.path)
            self._pass_on(httpx.get(registry.url + path, timeout=10))

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            kind = {"Content-Type": "application/json"}
            self._pass_on(httpx.post(registry.url + self.path, content=sent, headers=kind, timeout=10))

        def _pass_on(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Silence: pytest's output is for failures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@dataclass
class Site:
    """An installation with one worker and the profiles of its monitors."""

    driftbus: Installation
    worker: Worker
    profiles: dict[tuple[str, str], Profile]
    topics: dict[str, str]

    def counted(self, monitor: str, stream: str = "predictions", **group: str) -> tuple[int, dict[str, list[int]]]:
        found = self.driftbus.counted(self.topics[monitor], self.profiles[monitor, stream], **group)
        return found.rows, found.cells


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return make_rows()


@pytest.fixture(scope="module")
def site(kafka: Broker, registry_with_guids: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "schemas").mkdir()
    (folder / "schemas" / "iso.avsc").write_text(json.dumps(ISO))
    (folder / "schemas" / "seconds.avsc").write_text(json.dumps(SECONDS | {"namespace": "seconds"}))

    def topic(name: str) -> str:
        return kafka.create_topic(name, 1, {"retention.ms": "-1"})  # the records' Kafka timestamps lie in the past

    topics = {form.monitor: topic(form.monitor) for form in FORMS}
    topics |= {name: topic(name) for name in ("own", "own-features", "own-labels", "javascript")}
    monitors: dict[str, Any] = {}
    profiles: dict[tuple[str, str], Profile] = {}
    for form in [*FORMS, Form("javascript", lambda *_: {})]:
        source = {"topic": topics[form.monitor], "time": "ts", "score": "score", "version": "version", **form.source}
        if "schema_file" in source:
            source["schema_file"] = str(folder / source["schema_file"])
        monitors[form.monitor] = {"predictions": source}
        profiles[form.monitor, "predictions"] = make_profile(form.monitor, "predictions", form.columns)
    own = {"time": "time", "id": "id", "where": {"monitor": "own"}}
    monitors["own"] = {
        "predictions": {"topic": topics["own"], "score": "score", "version": "version", **own},
        "features": {"topic": topics["own-features"], "version": "version", **own},
        "labels": {"topic": topics["own-labels"], "label": "label", **own},
        "segments": ["channel"],
    }
    profiles["own", "predictions"] = make_profile(
        "own", "predictions", {"income": "income", "country": "country", "score": "score"}
    )
    profiles["own", "features"] = make_profile("own", "features", {"age": "age", "returning": "returning"})
    profiles["own", "labels"] = make_profile("own", "labels", {"label": "outcome"})
    made = Installation(kafka, folder, monitors, {"registry": {"url": registry_with_guids}})
    for profile in profiles.values():
        publish_profile(made.config.kafka, made.config.topics.profiles, profile)
    worker = made.start()
    worker.wait_ready()
    yield Site(made, worker, profiles, topics)
    made.close()


def renamed(form: Form, rows: list[Row]) -> list[Row]:
    """The rows as the columns of a form name them, without what its records have no field for."""
    return [
        {name: row[source] for name, source in form.columns.items() if source not in form.lost(i)}
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize("form", FORMS, ids=[form.monitor for form in FORMS])
def test_each_form_is_counted_to_the_last_cell(site: Site, registry: Registry, rows: list[Row], form: Form) -> None:
    topic, kafka = site.topics[form.monitor], site.driftbus.kafka
    ids = [registry.register(f"{topic}-value", json.dumps(schema)) for schema in form.schemas]
    some = rows[:300]
    kafka.produce(topic, [form.encode(i, row, ids) | {"timestamp": row["ts"]} for i, row in enumerate(some)])
    closed = 300 - 1000 // STEP_MS  # the last pane's range is still open
    site.driftbus.wait_settled(topic, {0: closed})
    group = {"version": "12"}
    assert site.counted(form.monitor, **group) == (
        closed,
        tally(site.profiles[form.monitor, "predictions"], renamed(form, some)[:closed]),
    )
    assert site.driftbus.dead_letters() == []


def test_the_three_streams_of_the_producer_helper(
    site: Site, kafka: Broker, registry: Registry, rows: list[Row]
) -> None:
    common: dict[str, Any] = {"bootstrap": kafka.bootstrap, "registry": registry.url}
    names = ("own", "own-features", "own-labels")
    events, features, labels = (Producer(site.topics[name], monitor="own", **common) for name in names)
    others = Producer(site.topics["own"], monitor="somebody-else", **common)
    some = [row | {"label": "paid" if i % 4 else "lost"} for i, row in enumerate(rows[:200])]
    # first in the log and in the first pane: were they ahead of our rows, these would close no range any more
    for row in some:
        others.prediction(row["id"], row["version"], {"income": 1.0}, time=some[0]["ts"] / 1000)
    assert others.close(30)
    for row in some:
        when = row["ts"] / 1000
        events.prediction(
            row["id"],
            row["version"],
            {"income": row["income"], "country": row["country"]},
            score=row["score"],
            time=when,
            segments={"channel": row["channel"]},
        )
        features.features(row["id"], {"age": row["age"], "returning": row["returning"] == "true"}, "12", time=when)
        labels.label(row["id"], row["label"], time=when)
    for producer in (events, features, labels):
        assert producer.close(30)
    closed = 200 - 1000 // STEP_MS
    for name in names:
        site.driftbus.wait_settled(site.topics[name], {0: closed + (len(some) if name == "own" else 0)})
    for name, stream, version in zip(names, ("predictions", "features", "labels"), ("12", "12", ""), strict=True):
        profile = site.profiles["own", stream]
        found = site.driftbus.counted(site.topics[name], profile, version=version)
        assert (found.rows, found.cells) == (closed, tally(profile, some[:closed])), stream
    web = [row for row in some[:closed] if row["channel"] == "web"]
    assert site.counted("own", version="12", segment="channel=web") == (
        len(web),
        tally(site.profiles["own", "predictions"], web),
    )


@pytest.mark.node
def test_javascript_is_watched_and_reads_what_we_say(
    site: Site, node: Node, registry: Registry, rows: list[Row], tmp_path: Path
) -> None:
    here, topic = site.driftbus, site.topics["javascript"]
    (tmp_path / "scored.avsc").write_text(json.dumps(FLAT))
    lines = [json.dumps({"timestamp": row["ts"], "value": javascript(row)}) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    files = str(tmp_path / "scored.avsc"), str(tmp_path / "rows.jsonl")
    node.run("produce.js", here.kafka.bootstrap, registry.url, topic, *files)
    closed = ROWS - 1000 // STEP_MS
    here.wait_settled(topic, {0: closed})
    assert site.counted("javascript", version="12") == (
        closed,
        tally(site.profiles["javascript", "predictions"], rows[:closed]),
    )
    here.wait(lambda: any(e.monitor == "javascript" for e in here.events()), "a drift event")
    count = len(here.kafka.read(here.config.topics.drift))
    said = node.run("consume.js", here.kafka.bootstrap, registry.url, here.config.topics.drift, str(count))
    told = [json.loads(line) for line in said.splitlines()]
    by_id = {event.id: event for event in here.events()}
    opened = next(record for record in told if record["key"] == "javascript")
    assert (opened["value"]["column"], opened["value"]["what"]) == ("income", "shift")
    assert opened["value"]["ranges"][0]["topic"] == topic
    for record in told:
        event = by_id[record["value"]["id"]]
        assert record["value"] == json.loads(json.dumps(asdict(event)))
        assert record["headers"] == headers(here, event, "application/avro")


def javascript(row: Row) -> dict[str, Any]:
    """A row as avsc wants it."""
    return {name: value for name, value in flat(row).items() if name in FLAT_TYPES}


def headers(here: Installation, event: DriftEvent, content: str) -> dict[str, str]:
    named = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_type": f"io.driftbus.drift.{event.status}",
        "ce_source": f"/{here.app}/monitors/{event.monitor}",
        "ce_time": iso_utc(event.window_end_ms),
        "content-type": content,
    }
    return named | ({"ce_subject": event.column} if event.column else {})


@pytest.mark.node
def test_cloud_events_in_json(
    site: Site, kafka: Broker, registry: Registry, node: Node, rows: list[Row], tmp_path: Path
) -> None:
    """The stream of `javascript` again, by an application of its own that writes JSON."""
    watched = {"javascript": site.driftbus.monitors["javascript"]}
    sections = {"registry": {"url": registry.url}, "output": {"format": "cloudevents-json"}}
    here = Installation(kafka, tmp_path, watched, sections)
    try:
        profile = site.profiles["javascript", "predictions"]
        publish_profile(here.config.kafka, here.config.topics.profiles, profile)
        here.start()
        avro = [event for event in site.driftbus.events() if event.monitor == "javascript"]
        here.wait(lambda: len(kafka.read(here.config.topics.drift)) >= len(avro), "as many events")
        said = node.run("consume.js", kafka.bootstrap, "", here.config.topics.drift, str(len(avro)))
        told = [json.loads(line) for line in said.splitlines()]
        assert [record["value"] for record in told] == [structured(event, here.app) for event in avro]
        for record, event in zip(told, avro, strict=True):
            assert record["headers"] == headers(here, event, "application/cloudevents+json; charset=UTF-8")
    finally:
        here.close()

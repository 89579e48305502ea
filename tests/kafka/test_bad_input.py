"""Bad input through a real Kafka: what each kind of it leads to, and that its neighbours are counted all the same.

Each case has a source partition of its own; one worker reads them all.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from driftbus.detectors.profile import Profile
from driftbus.schemas.events import DeadLetter, SummaryPart
from driftbus.stream.cli.main import run as driftbus
from driftbus.stream.files.training import save_profile
from driftbus.stream.worker.topics import create_topics
from harness.broker import Broker
from harness.missing import running
from harness.registry import Registry

from .bad_records import (
    BAD,
    DRAFT,
    FIELDS,
    LOAN,
    SCHEMAS,
    START_MS,
    Ids,
    loan,
    record_schema,
    reference,
)
from .installation import Installation, body, counted, framed, tally
from .scenario import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.registry]

MORE = 3
"""Partitions of cases that are not in the table."""
GOOD, COMMAND_LINE, LATER = range(len(BAD), len(BAD) + MORE)


@dataclass
class Site:
    """An installation with one worker, the schema ids, and what was sent to close ranges."""

    driftbus: Installation
    worker: Worker
    ids: Ids
    profile: Profile
    topic: str
    closing: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def record(self, partition: int, value: bytes | None, kafka_ms: int = START_MS, **more: Any) -> dict[str, Any]:
        return {"partition": partition, "value": value, "timestamp": kafka_ms, **more}

    def good(self, partition: int, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.record(partition, self.ids.framed("Loan", row)) for row in rows]

    def send(self, records: list[dict[str, Any]]) -> None:
        """Send records, and behind them two of later panes to each partition; wait for all before the second."""
        ends = dict(enumerate(self.driftbus.kafka.end_offsets(self.topic)))
        for record in records:
            ends[record["partition"]] += 1
        used = {record["partition"]: ends[record["partition"]] for record in records}
        for partition, end in used.items():
            for offset in (end, end + 1):
                later = loan(0, ts=START_MS + 60_000 * (offset + 1))
                self.closing.setdefault(partition, []).append(later)
                records.append(self.record(partition, self.ids.framed("Loan", later), later["ts"]))
        self.driftbus.kafka.produce(self.topic, records, {"message.max.bytes": 4 << 20})
        self.driftbus.wait_settled(self.topic, {partition: end + 1 for partition, end in used.items()})

    def assert_counted(self, parts: list[SummaryPart], partition: int, rows: list[dict[str, Any]]) -> None:
        """Exactly these rows stand in the parts, besides those that closed ranges."""
        rows = rows + self.closing[partition][:-1]
        found = counted(parts, self.topic, self.profile, partition)
        assert found.rows == len(rows)
        assert found.cells == tally(self.profile, rows)


@pytest.fixture(scope="module")
def site(kafka: Broker, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, profile = tmp_path_factory.mktemp("bad-input"), reference()
    # the records' Kafka timestamps lie in the past, and must not expire
    topic = kafka.create_topic("loans", len(BAD) + MORE, {"max.message.bytes": str(4 << 20), "retention.ms": "-1"})
    ids = {name: registry.register(f"{topic}-{name}", json.dumps(schema)) for name, schema in SCHEMAS.items()}
    answer = httpx.post(
        f"{registry.url}/subjects/{topic}-json/versions",
        json={"schemaType": "JSON", "schema": json.dumps({"$schema": DRAFT, "title": topic})},
        timeout=15,
    )
    save_profile(profile, folder / "profile.json")
    source = {"topic": topic, "time": "ts"}
    monitor = {"predictions": source, "profile": str(folder / "profile.json"), "segments": ["country"]}
    made = Installation(
        kafka,
        folder,
        {"credit": monitor},
        {"registry": {"url": registry.url}, "limits": {"record_bytes": 1_000_000}},
    )
    worker = made.start()
    worker.wait_ready()
    yield Site(made, worker, Ids(ids, int(answer.raise_for_status().json()["id"])), profile, topic)
    made.close()


@dataclass
class Seen:
    """What stood on driftbus's topics once all cases were sent."""

    parts: list[SummaryPart]
    letters: list[DeadLetter]
    metrics: str


BEFORE, AFTER = [loan(i) for i in range(5)], [loan(i) for i in range(5, 12)]
HEADERS = [("trace", b"\xff\0"), ("trace", None)]


@pytest.fixture(scope="module")
def seen(site: Site) -> Seen:
    records: list[dict[str, Any]] = []
    for partition, bad in enumerate(BAD):
        records += site.good(partition, *BEFORE)
        records.append(site.record(partition, bad.make(site.ids), key=b"k\xff", headers=HEADERS))
        records += site.good(partition, *AFTER)
    site.send(records)
    return Seen(site.driftbus.parts(), site.driftbus.dead_letters(), site.worker.metrics())


@pytest.mark.parametrize("partition", range(len(BAD)), ids=[bad.name for bad in BAD])
def test_a_bad_record_is_a_dead_letter_and_its_neighbours_are_counted(site: Site, seen: Seen, partition: int) -> None:
    bad = BAD[partition]
    site.assert_counted(seen.parts, partition, BEFORE + AFTER)
    (letter,) = [letter for letter in seen.letters if letter.partition == partition]
    assert (letter.topic, letter.offset, letter.timestamp_ms) == (site.topic, len(BEFORE), START_MS)
    assert (letter.key, letter.value, letter.headers) == (b"k\xff", bad.make(site.ids), HEADERS)
    assert letter.reason == bad.reason
    assert letter.message
    times = [each.reason for each in BAD].count(bad.reason)
    assert f'driftbus_dead_letters_total{{reason="{bad.reason}",topic="{site.topic}"}} {times}.0' in seen.metrics


def test_values_that_are_no_values_are_counted_in_cells_of_their_own(site: Site) -> None:
    rows = [
        *(loan(i, income=value) for i, value in enumerate([math.nan, math.inf, -math.inf, None, 5.0, 1e9, 1_000.0])),
        *(loan(i, country=name) for i, name in enumerate([None, "MARS", "MARS", "Ö", "", "PT"])),
    ]
    lacking = [{k: v for k, v in loan(i).items() if k != "income"} for i in range(3)]
    without = [site.record(GOOD, site.ids.framed("LoanWithoutIncome", row)) for row in lacking]
    textual = {"ts": START_MS, "income": "1000", "age": "many", "country": "PT"}
    wrong = [site.record(GOOD, site.ids.framed("LoanOfText", textual))]
    site.send(site.good(GOOD, *rows) + without + wrong)
    rows += [*lacking, textual | {"income": math.nan, "age": math.nan}]
    parts = site.driftbus.parts()
    site.assert_counted(parts, GOOD, rows)
    found = counted(parts, site.topic, site.profile, GOOD)
    income = found.cells["income"]
    assert (income[0], income[-3], income[-2], income[-1]) == (1, 1, 4, 4)  # below, above, null, invalid
    assert found.unseen == {"country": {"MARS": 2, "Ö": 1, "": 1}}
    assert site.driftbus.dead_letters(GOOD) == []
    for name in ("FR", "MARS"):
        members = [row for row in rows if row["country"] == name]
        segment = counted(parts, site.topic, site.profile, GOOD, segment=f"country={name}")
        assert (segment.rows, segment.cells) == (len(members), tally(site.profile, members))


def test_dead_letters_on_the_command_line(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    junk = b"\xff\0junk"
    site.send([site.record(COMMAND_LINE, junk, key=b"k", headers=[("trace", b"abc")])])
    options = ["-c", str(site.driftbus.path)]

    def lines(*arguments: str) -> list[str]:
        assert driftbus(["dlq", *arguments, *options]) == 0
        return capfdbinary.readouterr().out.decode().splitlines()

    listed = [json.loads(line) for line in lines("ls", "--json", "--limit", "1000", "--topic", site.topic)]
    (mine,) = [each for each in listed if each["partition"] == COMMAND_LINE]
    assert (mine["reason"], mine["offset"], mine["bytes"]) == ("bad_magic", 0, len(junk))
    assert f"{len(listed)} dead letters" in lines("ls")[0]
    shown = "\n".join(lines("show", mine["place"]))
    assert "ff 00 6a 75 6e 6b" in shown
    assert "trace: abc" in shown
    assert driftbus(["dlq", "show", mine["place"], "--raw", *options]) == 0
    assert capfdbinary.readouterr().out == junk


def test_what_was_unknown_is_counted_once_its_schema_is_registered(
    site: Site, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    later = record_schema("LoanWithAPurpose", *FIELDS, {"name": "purpose", "type": "string"})
    schema_id = registry.register(f"{site.topic}-before", json.dumps(record_schema("Before"))) + 1
    rows = [loan(i) for i in range(4)]
    values = [framed(schema_id, later, row | {"purpose": "car"}) for row in rows]
    site.send([site.record(LATER, value, key=b"k") for value in values])
    site.assert_counted(site.driftbus.parts(), LATER, [])
    letters = site.driftbus.dead_letters(LATER)
    assert [letter.reason for letter in letters] == ["unknown_schema"] * 4
    assert registry.register(f"{site.topic}-later", json.dumps(later)) == schema_id
    # a worker asks again for an id that it has met in vain after a minute; a new one asks at once
    assert site.worker.child.stop() == 0
    site.worker = site.driftbus.start()
    command = ["dlq", "replay", "--reason", "unknown_schema", "-c", str(site.driftbus.path)]
    assert driftbus([*command, "--dry-run"]) == 0
    unknown = [letter for letter in site.driftbus.dead_letters() if letter.reason == "unknown_schema"]
    assert f"{len(unknown)} dead letters would be sent" in capsys.readouterr().out
    places = [f"0:{i}" for i, letter in enumerate(site.driftbus.dead_letters()) if letter.partition == LATER]
    assert driftbus(["dlq", "replay", *places, "--yes", "-c", str(site.driftbus.path)]) == 0
    site.send(site.good(LATER, rows[0]))
    site.assert_counted(site.driftbus.parts(), LATER, [*rows, rows[0]])
    assert len(site.driftbus.dead_letters(LATER)) == 4


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Makes an installation whose monitor `credit` reads a topic of loans: bare ones, unless there is a registry."""
    made: list[Installation] = []
    save_profile(reference(), tmp_path / "profile.json")
    (tmp_path / "loan.avsc").write_text(json.dumps(LOAN))

    def make(broker: Broker, topic: str, **sections: Any) -> Installation:
        source = {"topic": topic, "time": "ts"}
        if "registry" not in sections:
            source["schema_file"] = str(tmp_path / "loan.avsc")
        monitors = {"credit": {"predictions": source, "profile": str(tmp_path / "profile.json")}}
        made.append(Installation(broker, tmp_path, monitors, sections))
        return made[-1]

    yield make
    for one in made:
        one.close()


def source_topic(kafka: Broker, partitions: int = 1) -> str:
    return kafka.create_topic("loans", partitions, {"retention.ms": "-1"})


def test_an_unknown_category_is_named_in_the_event(kafka: Broker, installation: Callable[..., Installation]) -> None:
    topic, rng = source_topic(kafka), np.random.default_rng(6)
    here = installation(kafka, topic)
    here.start()
    countries = rng.choice(["PT", "ES", "FR"], 6_000, p=[0.5, 0.3, 0.2]).astype(object)
    countries[3_000:][rng.random(3_000) < 0.1] = "MARS"
    incomes, ages = rng.normal(1_000, 100, 6_000), rng.integers(18, 70, 6_000)
    rows = [
        loan(0, ts=START_MS + 10 * i, income=float(incomes[i]), age=int(ages[i]), country=countries[i])
        for i in range(6_000)
    ]
    kafka.produce(topic, [{"value": body(LOAN, row), "timestamp": row["ts"]} for row in rows])
    here.wait(here.events, "an event")
    opened = here.events()[0]
    assert (opened.column, opened.what, opened.direction, opened.status) == ("country", "unseen", "up", "opened")
    assert "'MARS'" in opened.message
    assert opened.reference_value == 0


@pytest.mark.slow
def test_without_the_registry_a_partition_waits_and_nothing_is_lost(
    kafka: Broker, fragile_registry: Registry, installation: Callable[..., Installation]
) -> None:
    topic, profile = source_topic(kafka, 2), reference()
    newer = record_schema("Loan", *FIELDS, {"name": "purpose", "type": "string", "default": ""})

    def register() -> list[int]:
        return [fragile_registry.register(f"{topic}-value", json.dumps(schema)) for schema in (LOAN, newer)]

    def send(partition: int, *values: bytes) -> None:
        kafka.produce(topic, [{"partition": partition, "value": v, "timestamp": START_MS + 10**6} for v in values])

    ids = register()
    here = installation(kafka, topic, registry={"url": fragile_registry.url, "timeout": "500ms"})
    worker = here.start()
    rows = [loan(i) for i in range(6)]
    later = [loan(0, ts=START_MS + 60_000 * n) for n in range(1, 4)]
    old = [framed(ids[0], LOAN, row) for row in [*rows, *later]]
    new = [framed(ids[1], newer, row | {"purpose": "car"}) for row in [*rows, *later]]
    send(0, *old[:-2])
    here.wait_settled(topic, {0: len(rows)})
    fragile_registry.kill()
    send(1, old[0], new[1], b"junk", *new[2:])
    send(0, *old[-2:])
    here.wait_settled(topic, {0: len(old) - 1})  # the other partition goes on meanwhile
    here.wait(lambda: here.health(worker)[0] == 503, "the worker to say that it waits")
    said = here.health(worker)[1]
    assert said["failing"] == ["not_waiting"]
    assert f"{topic}[1]: the registry at " in said["waiting"][0]
    assert here.health(worker, "/healthz")[0] == 200
    assert f'driftbus_waiting_partitions{{topic="{topic}"}} 1.0' in worker.metrics()
    assert here.dead_letters() == []
    assert 1 not in kafka.committed(here.app, topic)
    worker.child.signal(signal.SIGSTOP)  # it must not ask a registry that has forgotten everything
    fragile_registry.start()
    assert register() == ids
    worker.child.signal(signal.SIGCONT)
    here.wait_settled(topic, {0: len(old) - 1, 1: len(old)})
    for partition in (0, 1):
        found = here.counted(topic, profile, partition)
        assert (found.rows, found.cells) == (8, tally(profile, [*rows, *later[:-1]]))
    assert [letter.value for letter in here.dead_letters()] == [b"junk"]
    here.wait(lambda: here.health(worker)[0] == 200, "the worker to be ready again")
    assert worker.child.stop() == 0


@pytest.fixture
def guarded_kafka() -> Iterator[Broker]:
    """A broker that knows access rules, and allows what no rule is about."""
    with running(
        lambda: Broker(
            {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "true",
            }
        )
    ) as broker:
        yield broker


def writing(kafka: Broker, topic: str, *, allowed: bool) -> None:
    """Let everybody write to a topic, or nobody."""
    what = ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*"
    if allowed:
        anything = AclOperation.ANY, AclPermissionType.ANY
        (future,) = kafka.admin.delete_acls([AclBindingFilter(*what, *anything)]).values()
    else:
        rules = [
            AclBinding(*what, AclOperation.WRITE, AclPermissionType.DENY),
            AclBinding(*what, AclOperation.ALL, AclPermissionType.ALLOW),
        ]
        future, _ = kafka.admin.create_acls(rules).values()
    future.result(30)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["not allowed", "not there"])
def test_when_a_dead_letter_cannot_be_written_the_worker_stops_and_nothing_is_skipped(
    guarded_kafka: Broker, installation: Callable[..., Installation], how: str
) -> None:
    kafka, profile, topic = guarded_kafka, reference(), source_topic(guarded_kafka)
    options = {"topic.metadata.propagation.max.ms": 1_000}  # patience with a topic that nobody knows
    here = installation(kafka, topic, kafka={"options": options})
    dead = here.config.topics.deadletter
    worker = here.start()
    worker.wait_ready()
    if how == "not there":
        kafka.delete_topics(dead)
    else:
        writing(kafka, dead, allowed=False)
    rows = [loan(0, ts=START_MS + 60_000 * i) for i in range(4)]
    values = [body(LOAN, row) for row in rows]
    values.insert(2, b"junk")
    kafka.produce(topic, [{"value": value, "timestamp": START_MS + 10**6} for value in values])
    assert worker.child.wait(30) == 4
    assert dead in worker.child.tail()
    assert kafka.committed(here.app, topic).get(0, (0, ""))[0] <= 2
    if how == "not there":
        create_topics(kafka.admin, here.config)
    else:
        writing(kafka, dead, allowed=True)
    here.workers.clear()
    here.start()
    here.wait(here.dead_letters, "the dead letter")
    here.wait_settled(topic, {0: 4})
    found = here.counted(topic, profile)
    assert (found.rows, found.cells) == (3, tally(profile, rows[:-1]))
    assert [(letter.offset, letter.value) for letter in here.dead_letters()] == [(2, b"junk")]

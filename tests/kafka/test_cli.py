"""Commands that talk to Kafka, on a real one."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from driftbus import Producer
from driftbus.schemas.codec import decode_message, frame_confluent
from driftbus.schemas.configfile import load_config, problems
from driftbus.schemas.events import DeadLetter, ManualRetrain
from driftbus.stream.cli.main import run
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.worker.deadletter import headers_of
from harness.broker import Broker
from harness.registry import Registry

from .workers import ROLES

pytestmark = pytest.mark.kafka

LOAN = {
    "type": "record",
    "name": "Loan",
    "namespace": "shop",
    "fields": [
        {"name": "request_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "model_version", "type": "string"},
        {"name": "p_default", "type": "double"},
        {"name": "decision", "type": {"type": "enum", "name": "Decision", "symbols": ["approve", "reject"]}},
        {
            "name": "customer",
            "type": {
                "type": "record",
                "name": "Customer",
                "fields": [{"name": "age", "type": "int"}, {"name": "income", "type": ["null", "double"]}],
            },
        },
        {"name": "country", "type": "string"},
        {"name": "channel", "type": "string"},
        {"name": "purpose", "type": ["null", "string"]},
        {"name": "session_id", "type": "string"},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "comment", "type": "string"},
    ],
}


def loans(count: int) -> list[dict[str, Any]]:
    rng = random.Random(7)
    return [
        {
            "request_id": f"r-{i}",
            "ts": 1_760_000_000_000 + i * 100,
            "model_version": rng.choice(["11", "12"]),
            "p_default": rng.random(),
            "decision": rng.choice(["approve", "reject"]),
            "customer": {"age": rng.randint(18, 90), "income": None if i % 9 == 0 else rng.gauss(1000, 100)},
            "country": rng.choice(["PT", "ES", "FR"]),
            "channel": rng.choice(["web", "app"]),
            "purpose": rng.choice([None, "car", "house"]),
            "session_id": f"s-{rng.random()}",
            "created_at": 1_760_000_000_000_000 + i,
            "comment": f"text {rng.random()}",
        }
        for i in range(count)
    ]


def body(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(schema), record)
    return out.getvalue()


def configuration(tmp_path: Path, kafka: Broker, name: str, source: str) -> Path:
    """A configuration whose own topics have names of their own."""
    path = tmp_path / "driftbus.yaml"
    topics = "".join(f"  {role}: {name}.{role}\n" for role in ROLES)
    path.write_text(
        f"kafka: {{bootstrap: '{kafka.bootstrap}'}}\nmonitors:\n  credit:\n    predictions: {{topic: {source}}}\n"
        f"topics:\n{topics}"
    )
    return path


@pytest.mark.registry
def test_init_by_the_registry(
    kafka: Broker, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = kafka.create_topic("loans", partitions=3)
    schema_id = registry.register(f"{topic}-value", json.dumps(LOAN))
    kafka.produce(topic, [{"value": frame_confluent(schema_id, body(LOAN, loan))} for loan in loans(500)])
    kafka.produce(topic, [{"value": b"junk"}])
    out = tmp_path / "driftbus.yaml"
    arguments = ["init", "--bootstrap", kafka.bootstrap, "--topic", topic, "--registry", registry.url]
    assert run([*arguments, "--monitor", "credit", "--out", str(out)]) == 0
    assert problems(out) == []
    config = load_config(out, {})
    monitor = config.monitors["credit"]
    stream = monitor.predictions
    assert stream is not None
    assert (stream.topic, stream.time, stream.id) == (topic, "ts", "request_id")
    assert (stream.score, stream.prediction, stream.version) == ("p_default", "decision", "model_version")
    assert monitor.segments == ["country", "channel"]
    assert sorted(stream.ignore) == ["comment", "created_at", "session_id"]
    assert config.registry.url == registry.url
    assert 7 <= monitor.detection.events_per_second <= 15
    assert "# - purpose" in out.read_text()
    said = capsys.readouterr().err
    assert "1 sampled records can't be read: bad_magic" in said
    assert run([*arguments, "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["check", str(out)]) == 0


def test_init_of_our_own_events(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic = kafka.create_topic("own")
    with Producer(topic, bootstrap=kafka.bootstrap, monitor="credit") as events:
        for i, loan in enumerate(loans(200)):
            features = {"customer": loan["customer"], "country": loan["country"]}
            events.prediction(i, "12", features, score=loan["p_default"], segments={"channel": loan["channel"]})
    assert run(["init", "--bootstrap", kafka.bootstrap, "--topic", topic]) == 0
    out = tmp_path / "driftbus.yaml"
    out.write_text(capsys.readouterr().out)
    monitor = load_config(out, {}).monitors["credit"]
    stream = monitor.predictions
    assert stream is not None
    assert (stream.time, stream.id, stream.score, stream.version) == ("time", "id", "score", "version")
    assert (stream.prediction, stream.where, stream.ignore) == ("", {"monitor": "credit"}, ["monitor"])
    assert monitor.segments == ["channel", "country"]


def test_init_by_a_schema_file(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic = kafka.create_topic("bare")
    schema = tmp_path / "loan.avsc"
    schema.write_text(json.dumps(LOAN))
    out = tmp_path / "driftbus.yaml"
    arguments = ["init", "--bootstrap", kafka.bootstrap, "--topic", topic]
    assert run(arguments) == 2
    assert "is empty, and no schema is known" in capsys.readouterr().err
    assert run([*arguments, "--schema", str(schema), "--out", str(out), "-X", "fetch.wait.max.ms=20"]) == 0
    empty = load_config(out, {}).monitors[topic].predictions
    assert empty is not None
    assert (empty.schema_file, empty.time, empty.score) == (str(schema), "ts", "p_default")
    kafka.produce(topic, [{"value": body(LOAN, loan)} for loan in loans(50)])
    assert run(arguments) == 2
    assert "Give --schema FILE.avsc" in capsys.readouterr().err
    assert run([*arguments, "--schema", str(schema), "--out", str(out), "--force"]) == 0
    assert load_config(out, {}).monitors[topic].segments == ["country", "channel"]


def test_init_of_what_is_not_there(kafka: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    topic = kafka.create_topic("there")
    assert run(["init", "--bootstrap", kafka.bootstrap, "--topic", topic[:-1]]) == 2
    assert f"Did you mean {topic}?" in capsys.readouterr().err


def test_topics_are_made_once(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = kafka.create_topic()
    path = configuration(tmp_path, kafka, source, source)
    assert run(["topics", "-c", str(path)]) == 1
    assert "driftbus topics --create" in capsys.readouterr().err
    assert run(["topics", "-c", str(path), "--create"]) == 0
    assert run(["topics", "-c", str(path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert {line["role"]: line["state"] for line in lines} == dict.fromkeys(ROLES, "fine")


def test_a_retrain_by_hand(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = kafka.create_topic()
    path = configuration(tmp_path, kafka, source, source)
    assert run(["retrain", "credit", "--reason", "x", "-c", str(path)]) == 2
    assert run(["topics", "-c", str(path), "--create"]) == 0
    assert run(["retrain", "credi", "--reason", "x", "-c", str(path)]) == 2
    assert "Did you mean credit?" in capsys.readouterr().err
    assert run(["retrain", "credit", "--reason", "new pricing", "--by", "ana", "-c", str(path)]) == 0
    (record,) = kafka.read(f"{source}.summaries")
    assert (record.partition(), record.key()) == (shard_of("credit", 4), b"credit")
    value = record.value()
    assert isinstance(value, bytes)
    command = decode_message(value)
    assert isinstance(command, ManualRetrain)
    assert (command.monitor, command.reason, command.requested_by) == ("credit", "new pricing", "ana")
    assert (command.action, command.dry_run) == ("trigger", False)
    assert run(["retrain", "credit", "--reason", "x", "--done", "-c", str(path)]) == 2
    assert run(["retrain", "credit", "-c", str(path)]) == 2
    assert run(["retrain", "credit", "--reason", "try", "--dry-run", "-c", str(path)]) == 0
    assert run(["retrain", "credit", "--done", "-c", str(path)]) == 0
    commands = [decode_message(record.value() or b"") for record in kafka.read(f"{source}.summaries")]
    assert [(c.action, c.dry_run) for c in commands if isinstance(c, ManualRetrain)] == [
        ("trigger", False), ("trigger", True), ("done", False),
    ]  # fmt: skip


def test_dead_letters_are_listed_shown_and_sent_back(
    kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = kafka.create_topic(partitions=2)
    path = configuration(tmp_path, kafka, source, source)
    assert run(["topics", "-c", str(path), "--create"]) == 0
    letters = [
        DeadLetter(
            source, 1, 7, b"k", b"\x00\x01junk", [("trace", b"abc")], 1_760_000_000_000, "truncated", "ends early"
        ),
        DeadLetter(source, 0, 8, None, None, [], 1_760_000_000_000, "null_value", "no value"),
    ]
    records = [{"value": each.value, "key": each.key, "headers": headers_of(each)} for each in letters]
    kafka.produce(f"{source}.deadletter", [*records, {"value": b"foreign"}])
    capsys.readouterr()

    assert run(["dlq", "ls", "-c", str(path)]) == 0
    said = capsys.readouterr()
    assert "2 dead letters" in said.out
    assert f"{source}[1]@7  truncated: ends early" in said.out
    assert "1 records" in said.err
    assert run(["dlq", "ls", "--json", "--reason", "truncated", "-c", str(path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["reason"], json.loads(line)["bytes"]) == ("truncated", 6)

    place = json.loads(line)["place"]
    assert run(["dlq", "show", place, "-c", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "00 01 6a 75 6e 6b" in shown
    assert "trace: abc" in shown
    assert "decoded now: no, " in shown
    assert run(["dlq", "show", "9:9", "-c", str(path)]) == 2

    assert run(["dlq", "replay", "--dry-run", "-c", str(path)]) == 0
    assert run(["dlq", "replay", "-c", str(path)]) == 1
    assert kafka.read(source) == []
    assert run(["dlq", "replay", place, "--yes", "-c", str(path)]) == 0
    (record,) = kafka.read(source)
    assert (record.partition(), record.key(), record.value()) == (1, b"k", b"\x00\x01junk")
    assert (record.headers(), record.timestamp()[1]) == ([("trace", b"abc")], 1_760_000_000_000)
    assert run(["dlq", "replay", "--reason", "null_value", "--yes", "-c", str(path)]) == 0
    assert [each.value() for each in kafka.read(source)] == [None, b"\x00\x01junk"]


@pytest.mark.parametrize("command", [["topics"], ["dlq", "ls"]])
def test_no_kafka_is_exit_code_3(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "driftbus.yaml"
    path.write_text("kafka: {bootstrap: '127.0.0.1:1'}\nmonitors: {credit: {predictions: {topic: t}}}\n")
    assert run([*command, "-c", str(path)]) == 3
    assert "error: " in capsys.readouterr().err

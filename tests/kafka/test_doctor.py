"""`driftbus doctor`: what is fine is green; each thing that can be wrong is made so, told, mended as told, and green.

Topics and records. The way to the brokers is in test_doctor_network.py, the registry in test_doctor_registry.py.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pytest

from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli import main
from driftbus.stream.doctor import sources
from driftbus.stream.worker.topicchecks import require_topics
from driftbus.stream.worker.topics import admin_client
from harness.broker import Broker
from harness.process import wait_for

from .doctored import Doctored, execute
from .labelled import MONITOR, Labelled, label, prediction, spread

pytestmark = pytest.mark.kafka


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def labelled(kafka: Broker) -> Labelled:
    made = Labelled(kafka, monitor={"join": {"horizon": "4d"}})
    kafka.produce(made.predicted, spread([prediction(i, now_ms()) for i in range(300)]))
    kafka.produce(made.labelled, spread([label(i, now_ms(), "0") for i in range(300)]))
    return made


@pytest.fixture
def doctor(labelled: Labelled, capsys: pytest.CaptureFixture[str]) -> Doctored:
    return Doctored(labelled.home / "driftbus.yaml", labelled.document(), capsys)


def test_what_is_fine_is_green(doctor: Doctored) -> None:
    assert doctor() == 0, doctor.said
    assert {record["status"] for record in doctor.found.values()} == {"ok"}, doctor.said
    assert {"rights", "plan", f"copartition.{MONITOR}", "kafka.login", "machine.store"} <= doctor.found.keys()


def test_it_is_told_in_lines_for_a_person(doctor: Doctored, labelled: Labelled) -> None:
    assert doctor() == 0
    assert main.run(["doctor", "-c", str(doctor.path)]) == 0
    out = doctor.capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines()[-1] == f"{len(doctor.found)} fine"
    assert all(line.startswith("✓ ") for line in out.splitlines()[1:-1])
    assert f"✓ topic {labelled.predicted}" in out


BROKEN = {
    "state": {"cleanup.policy": "delete"},
    "profiles": {"cleanup.policy": "compact,delete"},
    "summaries": {"retention.ms": "60000"},
    "drift": {"min.insync.replicas": "2"},
    "deadletter": {"max.message.bytes": "100000"},
    "predictions": {"retention.ms": "86400000"},
    "labels": {"cleanup.policy": "compact"},
}
STOPS = ("state", "profiles")


def test_settings_are_mended_by_the_commands_that_are_told(doctor: Doctored, labelled: Labelled) -> None:
    kafka, config = labelled.kafka, labelled.config
    named = config.topics.model_dump() | {n: s.topic for n, s in config.monitors[MONITOR].streams.items()}
    for role, changed in BROKEN.items():
        kafka.configure(named[role], changed)
    assert doctor() == 1, doctor.said
    ids = {
        f"topic.{named[role]}.{'replicas' if name == 'min.insync.replicas' else name}": role
        for role, (name,) in BROKEN.items()
    }
    fixes = doctor.wrong()
    assert set(fixes) == set(ids)
    # whatever keeps a worker from starting is red, and what is red besides is warned of at its start
    with pytest.raises(ConfigError) as refused:
        require_topics(admin_client(config.kafka), config)
    assert {role for role in BROKEN if f"topic {named[role]} " in refused.value.message} == set(STOPS)
    (first, *rest) = fixes.values()
    execute(first, kafka, labelled.home)
    for fix in rest:  # the same commands, without a Java for each
        words = shlex.split(fix)
        assert words[:3] == ["kafka-configs.sh", "--bootstrap-server", kafka.bootstrap]
        topic, settings = words[words.index("--entity-name") + 1], words[words.index("--add-config") + 1]
        kafka.configure(topic, dict([settings.split("=")]))
    wait_for(lambda: doctor() == 0, 30, "everything to be green")
    require_topics(admin_client(config.kafka), config)


def test_a_topic_that_is_missing_is_made_by_the_command_that_is_told(doctor: Doctored, labelled: Labelled) -> None:
    names = labelled.config.topics
    labelled.kafka.delete_topics(names.deadletter, names.drift)
    wait_for(lambda: names.drift not in labelled.kafka.admin.list_topics(timeout=10).topics, 30, "it to be gone")
    assert doctor() == 1
    fixes = doctor.wrong()
    assert set(fixes) == {f"topic.{names.deadletter}.existence", f"topic.{names.drift}.existence"}
    assert set(fixes.values()) == {"run `driftbus topics --create`"}
    assert main.run(["topics", "--create", "-c", str(doctor.path)]) == 0
    wait_for(lambda: doctor() == 0, 30, "the topics to be there")


def test_partitions(doctor: Doctored, labelled: Labelled) -> None:
    names = labelled.config.topics
    assert doctor({"topics": {"summaries_partitions": 7}}) == 1
    fixes = doctor.wrong()
    assert set(fixes) == {f"topic.{names.summaries}.partitions", f"topic.{names.state}.partitions"}
    assert all(fix.startswith("write topics.summaries_partitions: 1, or") for fix in fixes.values())
    assert doctor({"topics": {"summaries_partitions": 1}}) == 0


def monitor(labelled: Labelled, **streams: Any) -> dict[str, Any]:
    """The section of monitors with changed streams."""
    made: dict[str, Any] = labelled.document()["monitors"][MONITOR]
    return {"monitors": {MONITOR: {**made, **{name: {**made[name], **more} for name, more in streams.items()}}}}


def test_labels_that_are_spread_otherwise(doctor: Doctored, labelled: Labelled) -> None:
    kafka = labelled.kafka
    few = kafka.create_topic("few", 2)
    assert doctor(monitor(labelled, labels={"topic": few})) == 1
    assert f"repartition: {few}" in doctor.wrong()[f"copartition.{MONITOR}"]
    other = kafka.create_topic("other", 4)
    kafka.produce(other, spread([label(i, now_ms(), "0") for i in range(300)], "fnv1a"))
    assert doctor(monitor(labelled, labels={"topic": other})) == 1
    fix = doctor.wrong()[f"copartition.{MONITOR}"]
    assert f"repartition: {other}, partitioner: crc32}}" in fix
    # as it is told: workers copy them to a topic that is spread like the predictions
    copied = {"topic": f"{other}.by-id", "repartition": other, "partitioner": "crc32"}
    changed = monitor(labelled, labels=copied)
    doctor.path.write_text(json.dumps({**doctor.document, **changed}))
    assert main.run(["topics", "--create", "-c", str(doctor.path)]) == 0
    wait_for(lambda: doctor(changed) == 0, 30, "the copies' topic to be green")


def test_records_that_nobody_can_read(doctor: Doctored, labelled: Labelled) -> None:
    bad = labelled.kafka.create_topic("bad")
    labelled.kafka.produce(bad, [{"value": b"\xff" * 9} for _ in range(30)])
    assert doctor(monitor(labelled, predictions={"topic": bad})) == 1
    assert "30 of the newest 30 can't be read" in doctor.found[f"records.{bad}"]["found"]
    assert f"records.{bad}" in doctor.wrong()
    unframed = {"topic": bad, "schema_file": None}
    assert doctor(monitor(labelled, predictions=unframed)) == 1
    assert "schema_file" in doctor.wrong()[f"records.{bad}"]


def test_fields_that_are_not_there(doctor: Doctored, labelled: Labelled) -> None:
    assert doctor(monitor(labelled, predictions={"score": "scores"})) == 1
    fix = doctor.wrong()[f"fields.{labelled.predicted}.scores"]
    assert fix == f"Write score as monitors.{MONITOR}.predictions.score"


def test_event_times_in_another_unit(doctor: Doctored, labelled: Labelled) -> None:
    kafka = labelled.kafka
    timed = kafka.create_topic("timed")
    types = {"id": "string", "version": "string", "country": "string", "score": "double", "at": "long"}
    schema = {"type": "record", "name": "T", "fields": [{"name": n, "type": t} for n, t in types.items()]}
    (labelled.home / "timed.avsc").write_text(json.dumps(schema))
    values = [b"\x02a\x021\x04PT" + bytes(8) + _zigzag(now_ms() // 1_000 + i) for i in range(30)]
    kafka.produce(timed, [{"value": value} for value in values])
    stream = {"topic": timed, "schema_file": str(labelled.home / "timed.avsc"), "time": "at"}
    assert doctor(monitor(labelled, predictions=stream)) == 1
    assert doctor.wrong()[f"times.{timed}"] == f"Write time_unit: s under monitors.{MONITOR}.predictions"
    doctor(monitor(labelled, predictions={**stream, "time_unit": "s"}))
    assert doctor.found[f"times.{timed}"]["status"] == "ok"


def _zigzag(number: int) -> bytes:
    value, out = number << 1, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_clock_that_is_slow(doctor: Doctored, labelled: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    stamped = labelled.kafka.create_topic("stamped", 4, {"message.timestamp.type": "LogAppendTime"})
    labelled.kafka.produce(stamped, spread([prediction(i, now_ms()) for i in range(30)]))
    changed = monitor(labelled, predictions={"topic": stamped})
    doctor(changed)
    assert doctor.found[f"clock.{stamped}"]["status"] == "ok"
    real = time.time
    monkeypatch.setattr(sources.time, "time", lambda: real() - 3_600)
    assert doctor(changed) == 1
    assert "behind" in doctor.found[f"clock.{stamped}"]["found"]


def test_a_stream_without_a_profile_and_without_records(doctor: Doctored, labelled: Labelled) -> None:
    empty = labelled.kafka.create_topic("empty", 4)
    changed = {"monitors": {"other": {"predictions": {"topic": empty, "id": "id"}, "retrain": None}}}
    document = {**doctor.document, **changed}
    assert Doctored(doctor.path, document, doctor.capsys)() == 0
    doctor.document = document
    assert doctor() == 0
    assert doctor.found["profile.other.predictions"]["status"] == "advice"
    assert doctor.unchecked() == {f"records.{empty}"}


def test_a_store_that_can_not_be_written(doctor: Doctored, labelled: Labelled) -> None:
    (labelled.home / "file").write_text("")
    assert doctor({"run": {"store": str(labelled.home / "file" / "store")}}) == 1
    assert "name a folder" in doctor.wrong()["machine.store"]

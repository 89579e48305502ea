"""The rights that `driftbus doctor --acls` prints: enough for each command, and not one too many.

That a worker has enough is in test_secure.py; here each command is tried with all of them and without each.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli import main
from driftbus.stream.doctor.rights import RIGHTS, Right, run_rights
from driftbus.stream.transport.rights import writing
from harness.missing import running
from harness.process import wait_for
from harness.secure import PASSWORD, USER, SecureBroker

from .scenario import MONITOR, Scenario, encode, rows

pytestmark = pytest.mark.kafka

LONG = bool(os.environ.get("DRIFTBUS_LONG"))


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureBroker]:
    with running(SecureBroker) as broker:
        yield broker


@pytest.fixture
def scenario(broker: SecureBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Records, a dead letter and an incident; the user has no right yet."""
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    made = Scenario(broker, overrides={"kafka": {**broker.section, "session_timeout": "6s"}})
    made.produce(rows(200, seed=8, drift_at=200))
    (made.home / "driftbus.yaml").write_text(json.dumps(made._document()))
    yield made
    made.close()
    broker.forbid()


def command_line(name: str, scenario: Scenario) -> list[str]:
    """A command that asks for all that it ever needs."""
    train = scenario.home / "train.csv"
    train.write_text("age,p_default\n" + "".join(f"{20 + i % 50},{i / 200}\n" for i in range(200)))
    lines = {
        "topics": "topics",
        "topics --create": "topics --create",
        "profile --publish": f"profile {train} --monitor {MONITOR} --publish --score p_default",
        "replay": "replay",
        "retrain": f"retrain {MONITOR} --reason test",
        "dlq": "dlq ls",
        "dlq replay": "dlq replay --yes",
    }
    return [*lines[name].split(), "-c", str(scenario.home / "driftbus.yaml")]


def succeeds(name: str, scenario: Scenario) -> bool:
    """Whether a command does what it should."""
    if name == "producers":
        return produced(scenario)
    code = main.run(command_line(name, scenario))
    assert code in (0, 1, 2, 3), "a missing right is no crash"
    return code == 0


def produced(scenario: Scenario) -> bool:
    refused: list[KafkaError | None] = []
    settings = {"enable.idempotence": True, "delivery.timeout.ms": 5_000}
    producer = Producer({**scenario.config.kafka.librdkafka(), "sasl.password": PASSWORD, **settings})
    try:
        with writing(scenario.source):
            producer.produce(scenario.source, encode(rows(1, 1, 1)[0]), on_delivery=lambda e, _: refused.append(e))
            producer.flush(10)
    except ConfigError:
        return False
    return refused == [None]


def lacking(rights: list[Right], left_out: Right) -> list[tuple[str, str, str]]:
    """All but one; what may be written or read can still be seen, so that it is the operation that fails."""
    kept: list[tuple[str, str, str]] = [right.what for right in rights if right is not left_out]
    if left_out.resource == "topic" and left_out.operation in ("READ", "WRITE"):
        kept.append(("topic", left_out.name, "DESCRIBE"))
    return kept


@pytest.mark.parametrize("name", ["replay", "retrain", "dlq", "dlq replay", "producers", "profile --publish", "topics"])
def test_each_right_of_a_command_is_needed_and_all_are_enough(
    name: str, scenario: Scenario, broker: SecureBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    if name.startswith("dlq"):
        letter = {"driftbus-reason": b"bad_magic", "driftbus-message": b"", "driftbus-topic": scenario.source.encode(),
                  "driftbus-partition": b"0", "driftbus-offset": b"0", "driftbus-timestamp": b"0"}  # fmt: skip
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce(scenario.config.topics.deadletter, b"x", headers=list(letter.items()))
        assert producer.flush(30) == 0
    rights = [right for right in RIGHTS[name](scenario.config) if not right.optional]
    broker.allow(right.what for right in rights)
    wait_for(lambda: succeeds(name, scenario), 20, f"{name} to be allowed")  # rights reach the broker a moment later
    for right in rights if LONG or len(rights) < 4 else rights[:3]:
        broker.forbid()
        broker.allow(lacking(rights, right))
        wait_for(lambda: not succeeds(name, scenario), 20, f"{name} to fail without {right.what}")
    assert PASSWORD not in "".join(capfd.readouterr())


def test_topics_can_be_created(scenario: Scenario, broker: SecureBroker) -> None:
    own = [name for name in scenario.config.topics.model_dump().values() if isinstance(name, str)]
    needed = [right for right in RIGHTS["topics --create"](scenario.config) if not right.optional]
    create = next(right for right in needed if right.operation == "CREATE")
    broker.delete_topics(*own)
    broker.allow(right.what for right in needed if right is not create)

    def all_but_one() -> bool:  # tried again: rights reach the broker a moment later
        assert not succeeds("topics --create", scenario)
        return len(set(own) & set(broker.admin.list_topics(timeout=10).topics)) == len(own) - 1

    wait_for(all_but_one, 20, "all topics but one to be created")
    broker.allow([create.what])
    wait_for(lambda: succeeds("topics --create", scenario), 20, "the last topic to be created")


def test_printed_commands_give_the_rights(
    scenario: Scenario, broker: SecureBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    config = scenario.home / "driftbus.yaml"
    assert main.run(["doctor", "--acls", "--for", "explain", "--bootstrap", broker.bootstrap, "-c", str(config)]) == 0
    printed = [line for line in capfd.readouterr().out.splitlines() if not line.startswith("#")]
    assert len(printed) == 2
    assert all(f"--allow-principal User:{USER}" in line for line in printed)
    assert main.run(["explain", "-c", str(config)]) != 0
    tool = _on_path(broker, scenario.home)
    for line in printed:
        subprocess.run(["sh", "-c", line], check=True, env={**os.environ, "PATH": f"{tool}:{os.environ['PATH']}"})
    wait_for(lambda: main.run(["explain", "-c", str(config)]) == 0, 20, "incidents to be read")
    said = capfd.readouterr()
    assert "no incidents" in said.out
    assert main.run(["explain", "abc", "-c", str(config)]) == 2
    assert "no incident, episode or event begins with 'abc'" in capfd.readouterr().err


def _on_path(broker: SecureBroker, home: Path) -> Path:
    """A folder with kafka-acls.sh in it."""
    folder = home / "bin"
    folder.mkdir()
    program = folder / "kafka-acls.sh"
    program.write_text(broker.script("org.apache.kafka.tools.AclCommand"))
    program.chmod(0o755)
    return folder


@pytest.mark.timeout(1_200)
def test_a_worker_needs_each_of_its_rights(broker: SecureBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """DRIFTBUS_LONG=1 tries without each of them."""
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    data = rows(12_000, seed=8, drift_at=8_000)
    number, count = 0, 1
    while number < count:
        scenario = Scenario(broker, overrides={"kafka": {**broker.section, "session_timeout": "6s"}})
        rights = run_rights(scenario.config)
        count = len(rights) if LONG else 1
        broker.forbid()
        broker.allow(lacking(rights, rights[number]))
        scenario.produce(data)
        broken = Producer({"bootstrap.servers": broker.bootstrap})
        broken.produce(scenario.source, b"garbage", partition=0)
        assert broken.flush(30) == 0
        worker = scenario.start()
        try:
            assert worker.child.wait(250) in (2, 3, 4), f"it goes on without {rights[number]}"
        finally:
            scenario.close()
        number += 1


def test_rights_are_literal_and_never_of_the_cluster(scenario: Scenario) -> None:
    config: Config = scenario.config
    for name, needed in RIGHTS.items():
        for right in needed(config):
            assert right.resource in ("topic", "group"), (name, right)
            assert right.reason

"""What rights follow from a configuration."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from driftbus.schemas.config import Config
from driftbus.stream.cli import main
from driftbus.stream.doctor.rights import RIGHTS, producer_rights, run_rights


def config(monitor: dict[str, Any], **more: Any) -> Config:
    return Config.model_validate({"app": "eye", "kafka": {"bootstrap": "b:9092"}, "monitors": {"m": monitor}, **more})


PREDICTIONS = {"topic": "scored", "id": "id", "score": "p"}
LABELS = {"topic": "labels.by-id", "id": "id", "label": "y", "repartition": "labels"}


def operations(config_: Config, topic: str, command: str = "run") -> set[str]:
    return {right.operation for right in RIGHTS[command](config_) if right.name == topic}


def test_a_worker_may_read_what_it_judges_and_write_what_it_says() -> None:
    found = config({"predictions": PREDICTIONS})
    assert operations(found, "eye") == {"READ"}
    assert operations(found, "scored") == {"READ"}
    assert operations(found, "driftbus.summaries") == {"READ", "WRITE"}
    assert operations(found, "driftbus.drift") == {"WRITE"}
    assert operations(found, "driftbus.performance") == {"DESCRIBE"}


def test_profiles_in_files_need_no_right_to_publish() -> None:
    learned, filed = config({"predictions": PREDICTIONS}), config({"predictions": PREDICTIONS, "profile": "p.json"})
    versions = config({"predictions": {**PREDICTIONS, "version": "v"}, "profile": "p.json"})
    assert operations(learned, "driftbus.profiles") == {"READ", "WRITE"}
    assert operations(filed, "driftbus.profiles") == {"DESCRIBE"}
    assert operations(versions, "driftbus.profiles") == {"READ"}


def test_labels_that_are_copied() -> None:
    found = config({"predictions": PREDICTIONS, "labels": LABELS})
    assert operations(found, "labels") == {"READ"}
    assert operations(found, "labels.by-id") == {"READ", "WRITE"}
    assert operations(found, "driftbus.performance") == {"WRITE"}
    assert {right.name for right in producer_rights(found)} == {"scored", "labels"}
    assert operations(found, "labels.by-id", "topics --create") == {"CREATE", "DESCRIBE"}


def test_a_right_is_listed_once_with_all_its_reasons() -> None:
    found = config({"predictions": PREDICTIONS, "features": {"topic": "scored"}})
    assert len({right.what for right in run_rights(found)}) == len(run_rights(found))
    (read,) = [right for right in run_rights(found) if right.what == ("topic", "scored", "READ")]
    assert "features of m" in read.reason
    assert "predictions of m" in read.reason


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "driftbus.yaml"
    wild = {"predictions": {**PREDICTIONS, "topic": "a topic; rm -rf $HOME\n--all"}}
    path.write_text(json.dumps(json.loads(config(wild).model_dump_json(exclude_unset=True))))
    return str(path)


def test_commands_survive_a_shell_whatever_topics_are_called(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor", "--acls", "--for", "run", "--principal", "CN=a b", "-c", file]) == 0
    words = shlex.split(capsys.readouterr().out, comments=True)
    assert words.count("kafka-acls.sh") == len(
        {(r.resource, r.name) for r in run_rights(config({"predictions": PREDICTIONS}))}
    )
    assert "a topic; rm -rf $HOME\n--all" in words
    assert "User:CN=a b" in words


def test_json_and_strimzi(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor", "--acls", "--json", "-c", file]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["command"] for record in records} == set(RIGHTS)
    assert all(record["pattern_type"] == "LITERAL" for record in records)
    assert main.run(["doctor", "--acls", "--strimzi", "--for", "run", "--principal", "User:Eye", "-c", file]) == 0
    user = YAML(typ="safe").load(capsys.readouterr().out)
    assert user["metadata"]["name"] == "eye"
    group = {"resource": {"type": "group", "name": "eye", "patternType": "literal"}, "operations": ["Read"]}
    assert group in user["spec"]["authorization"]["acls"]

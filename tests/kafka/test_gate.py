"""``driftbus gate`` over topics of a real Kafka: labels are joined with what was predicted, and versions asked."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from driftbus.stream.cli.main import run
from harness.broker import Broker

pytestmark = pytest.mark.kafka

ROWS, PARTITIONS, START_MS = 6_000, 2, 1_700_000_000_000
SCHEMAS: dict[str, dict[str, Any]] = {
    name: {"type": "record", "name": name.capitalize(), "fields": [{"name": f, "type": t} for f, t in fields.items()]}
    for name, fields in (
        ("predictions", {"id": "string", "t": "long", "v": "string", "p": "double", "region": "string"}),
        ("labels", {"id": "string", "t": "long", "y": "string"}),
    )
}


def encoded(schema: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), row)
    return out.getvalue()


@pytest.fixture(scope="module")
def world(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Version 13 takes 30 % of the traffic and is better; a tenth of the labels never comes."""
    rng, folder = np.random.default_rng(9), tmp_path_factory.mktemp("gate")
    topics = {name: kafka.create_topic(name, partitions=PARTITIONS) for name in SCHEMAS}
    label = (rng.random(ROWS) < 0.4).astype(int)
    version = np.where(rng.random(ROWS) < 0.3, "13", "12")
    lost = rng.random(ROWS) < np.where(version == "13", 0.1, 0.3)
    score = np.where(lost, rng.random(ROWS), 0.2 + 0.6 * label)
    there = rng.random(ROWS) < 0.9
    records: dict[str, list[dict[str, Any]]] = {"predictions": [], "labels": []}
    for i in range(ROWS):
        at, row = START_MS + 10 * i, {"id": f"r{i}", "region": "north" if i % 3 else "south"}
        records["predictions"].append(row | {"t": at, "v": str(version[i]), "p": float(score[i])})
        if there[i]:
            records["labels"].append({"id": f"r{i}", "t": at + 5_000, "y": str(label[i])})
    for name, rows in records.items():
        (folder / f"{name}.avsc").write_text(json.dumps(SCHEMAS[name]))
        kafka.produce(
            topics[name],
            [
                {
                    "value": encoded(SCHEMAS[name], row),
                    "partition": int(row["id"][1:]) % PARTITIONS,
                    "timestamp": row["t"],
                }
                for row in rows
            ],
        )
    config = folder / "driftbus.yaml"
    schema = {
        name: {"topic": topics[name], "schema_file": str(folder / f"{name}.avsc"), "id": "id"} for name in SCHEMAS
    }
    document = {
        "app": topics["labels"],
        "kafka": {"bootstrap": kafka.bootstrap},
        "monitors": {
            "credit": {
                "predictions": schema["predictions"] | {"time": "t", "version": "v", "score": "p"},
                "labels": schema["labels"] | {"time": "t", "label": "y"},
                "segments": ["region"],
                "performance": {"limits": {"accuracy": {"min": 0.7}}},
            }
        },
    }
    config.write_text(json.dumps(document))
    right = {}
    for name in ("12", "13"):
        mine = (version == name) & there
        right[name] = accuracy_score(label[mine], score[mine] >= 0.5)
    return {"config": config, "right": right, "labels": int(there.sum())}


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["gate", *map(str, arguments), "--json", "-"])
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err
    return code, json.loads(printed.out)


def test_versions_of_a_topic_are_asked_by_the_labels_that_came(
    world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    versions = ("--champion", "12", "--challenger", "13")
    code, found = asked(capsys, "-c", world["config"], *versions, "--better", "accuracy", "--gap", "accuracy=0.1")
    assert code == 0
    assert sum(found["versions"].values()) == world["labels"]
    for name, right in world["right"].items():
        assert found["metrics"][name]["accuracy"]["value"] == pytest.approx(right)
    assert {c["name"] for c in found["checks"]} == {
        "rows",
        "accuracy min",
        "accuracy better",
        "accuracy gap of region",
    }
    code, _ = asked(capsys, "-c", world["config"], "--champion", "13", "--challenger", "12", "--better", "accuracy")
    assert code == 1


def test_all_versions_together_and_a_part_of_the_topics(
    world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = asked(capsys, "-c", world["config"])
    assert (code, found["versions"]) == (0, {"all versions": world["labels"]})
    _, part = asked(capsys, "-c", world["config"], "--to", "1000")
    assert 0 < part["versions"]["all versions"] < world["labels"]
    # a tenth of the labels is missing, so the labels' first 1,000 offsets reach beyond those of the predictions
    assert "labels found no prediction in this range" in json.dumps(part["notes"])
    assert run(["gate", "-c", str(world["config"]), "--challenger", "14"]) == 2
    assert "'14' has no labels" in capsys.readouterr().err


def test_brokers_that_do_not_answer_are_exit_code_3(world: dict[str, Any], tmp_path: Path) -> None:
    document = json.loads(world["config"].read_text())
    document["kafka"]["bootstrap"] = "127.0.0.1:1"
    config = tmp_path / "driftbus.yaml"
    config.write_text(json.dumps(document))
    assert run(["gate", "-c", str(config)]) == 3

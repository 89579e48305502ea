"""driftbus.yaml: what is wrong is named with its line, and with what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driftbus.schemas.configfile import config_json_schema, load_config, problems
from driftbus.schemas.errors import ConfigError

GOOD = """\
kafka: {bootstrap: kafka:9092}
registry: {url: http://registry:8081}
monitors:
  credit:
    predictions: {topic: predictions, time: ts, id: request_id, score: p_default, version: model_version}
    segments: [country, channel]
    retrain:
      any:
        - drift: {columns: 3, severity: moderate, for: 2 windows}
        - schedule: "0 2 * * SUN"
      cooldown: 24h
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "driftbus.yaml"


def test_a_good_file(file: Path) -> None:
    file.write_text(GOOD)
    assert problems(file) == []
    config = load_config(file, {})
    assert config.kafka.bootstrap == "kafka:9092"
    retrain = config.monitors["credit"].retrain
    assert retrain is not None
    assert retrain.cooldown == 86_400_000
    assert [rule.schedule for rule in retrain.any] == [None, "0 2 * * SUN"]


@pytest.mark.parametrize(
    ("was", "now", "place", "said"),
    [
        ("time: ts", "tme: ts", (5, 39), "credit.predictions.tme: unknown key. Did you mean time?"),
        ("    segments:", "    topic: x\n    segments:", (6, 5), "It belongs under predictions or features or labels"),
        ("segments: [country, channel]", "segmants: []", (6, 5), "Did you mean segments?"),
        ("cooldown: 24h", "cooldown: 24 hours", (11, 17), "'24 hours' is not a duration"),
        ("cooldown: 24h", "cooldown:", (11, 7), "monitors.credit.retrain.cooldown: has no value"),
        ("0 2 * * SUN", "0 2 * SUN", (10, 21), "'0 2 * SUN' is not a cron line"),
        ("0 2 * * SUN", "0 2 * * SUNDAI", (10, 21), "is not a cron line"),
        ("0 2 * * SUN", "0 2 30 2 *", (10, 21), "failed to find next date"),
        ("2 windows", "2 of 1", (9, 11), "need 1 <= M <= N"),
        ("moderate", "modrate", (9, 41), "Write one of minor, moderate, severe; did you mean moderate?"),
        ("columns: 3", "columns: three", (9, 28), 'columns: "three" does not fit: input should be a valid integer'),
        ("topic: predictions, ", "", (5, 5), "credit.predictions.topic: is missing. Add topic:"),
        ("topic: predictions", "topic: 12", (5, 26), "12 is read as a number or a truth value. Put it in quotes"),
        ("    segments:", "    profile: p.json\n    segments:", (6, 14), "profile: there is no /"),
        ("  credit:", "  cr edit:", (4, 3), "use letters, digits, dot, dash and underscore"),
        ("kafka: {", "kafka: {password: 12, ", (1, 19), "the value is read as a number"),
        ("registry:", "kafka:", (2, 1), "kafka: the key kafka is written twice. Keep one of them"),
        ("{bootstrap", "!!python/object:os.system {bootstrap", (1, 1), "the tag"),
        ("country, channel]", "country, channel", (7, 12), "not readable as YAML"),
        ("[country, channel]", "3", (6, 15), "segments: 3 does not fit: input should be a valid list"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(file: Path, was: str, now: str, place: tuple[int, int], said: str) -> None:
    assert was in GOOD
    file.write_text(GOOD.replace(was, now, 1))
    found = {(p.line, p.column): str(p) for p in problems(file)}
    assert said in found.get(place, ""), found


def test_every_problem_is_named_at_once(file: Path) -> None:
    file.write_text(GOOD.replace("time: ts", "tme: ts").replace("24h", "1 fortnight").replace("kafka:9092", "7"))
    found = problems(file)
    assert [p.line for p in found] == [1, 5, 11]
    with pytest.raises(ConfigError) as e:
        load_config(file, {})
    assert all(f"{file}:{line}:" in str(e.value) for line in (1, 5, 11))


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "just text\n", "a: [\n", "\t"])
def test_what_is_no_configuration_at_all(file: Path, text: str) -> None:
    file.write_text(text)
    assert len(problems(file)) == 1


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="driftbus init"):
        load_config(file, {})


def test_a_password_is_never_shown(file: Path) -> None:
    file.write_text(GOOD.replace("{bootstrap", "{password: [hunter2], bootstrap", 1))
    assert problems(file)
    assert "hunter2" not in str(problems(file))
    file.write_text(GOOD.replace("{bootstrap", "{password: hunter2, bootstrap", 1))
    assert "hunter2" not in repr(load_config(file, {}))


def test_monitors_of_one_topic_share_a_pane(file: Path) -> None:
    file.write_text(GOOD + "  eu.other:\n    pane: 1m\n    features: {topic: predictions}\n")
    (problem,) = problems(file)
    assert (problem.line, problem.key) == (13, "monitors.eu.other.pane")


def test_the_environment_overrides(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD.split("\n", 2)[2])
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    env = {
        "DRIFTBUS_KAFKA_BOOTSTRAP": "other:9092",
        "DRIFTBUS_KAFKA_USERNAME": "ana",
        "DRIFTBUS_KAFKA_PASSWORD_FILE": str(secret),
        "DRIFTBUS_REGISTRY_URL": "http://r",
        "DRIFTBUS_REGISTRY_PASSWORD": "direct",
    }
    config = load_config(file, env)
    kafka, registry = config.kafka, config.registry
    assert (kafka.bootstrap, kafka.username, registry.url) == ("other:9092", "ana", "http://r")
    assert kafka.secret("password") == "from-file"
    secret.write_text("changed\n")
    assert kafka.secret("password") == "changed"
    assert registry.secret("password") == "direct"
    with pytest.raises(ConfigError, match="DRIFTBUS_KAFKA_PASSWORD_FILE"):
        load_config(file, env | {"DRIFTBUS_KAFKA_PASSWORD_FILE": str(tmp_path / "none")})


def test_files_are_relative_to_the_configuration(file: Path) -> None:
    (file.parent / "p.json").write_text("{}")
    file.write_text(GOOD.replace("    segments:", "    profile: p.json\n    segments:"))
    assert load_config(file, {}).monitors["credit"].profile == str(file.parent / "p.json")


def test_only_paths_of_files_are_changed(file: Path) -> None:
    file.write_text(GOOD.replace("time: ts", "where: {key: a, profile: b}"))
    predictions = load_config(file, {}).monitors["credit"].predictions
    assert predictions is not None
    assert predictions.where == {"key": "a", "profile": "b"}


def test_the_published_json_schema_is_current() -> None:
    """driftbus check --json-schema > docs/driftbus.schema.json"""
    published = Path(__file__).parents[2] / "docs" / "driftbus.schema.json"
    assert published.read_text() == config_json_schema()
    assert json.loads(config_json_schema())["additionalProperties"] is False

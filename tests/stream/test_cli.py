"""The command line itself: how commands are found, and what an exception becomes."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from confluent_kafka import KafkaError, KafkaException

from driftbus.schemas.errors import ConfigError, StateError, Unavailable
from driftbus.stream.cli import main


def failing(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad", key="a.b", fix="Do c"), 2),
        (click.UsageError("bad"), 2),
        (Unavailable("gone"), 3),
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)), 3),
        (StateError("torn"), 4),
        (RuntimeError("bug"), 4),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 0),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.Commands, "get_command", lambda *_: failing(error))
    assert main.run(["version"]) == code
    said = capsys.readouterr().err
    assert ("error: " in said.lower()) == (code in {2, 3, 4})
    if type(error) is RuntimeError:
        assert "RuntimeError: bug" in said


def test_a_command_returns_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, code in ((None, 0), (1, 1)):
        monkeypatch.setattr(main.Commands, "get_command", lambda *_, value=value: click.command()(lambda: value))
        assert main.run(["version"]) == code


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    names = main.group.list_commands(click.Context(main.group))
    assert {"check", "init", "topics", "dlq", "retrain", "version"} <= set(names)
    assert main.run(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in names:
        assert f"\n  {name} " in listed
        assert main.run([name, "--help"]) == 0
        assert len(capsys.readouterr().out) > 100


def test_a_mistyped_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["chek"]) == 2
    assert "Did you mean check?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["version", "-v"]) == 0
    assert "confluent-kafka 2." in capsys.readouterr().out


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.yaml"
    assert main.run(["check", str(path)]) == 2
    path.write_text("kafka: {bootstrap: k:9092}\nmonitors:\n  m: {predictions: {topc: t}}\n")
    assert main.run(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert f"{path}:3:21: monitors.m.predictions.topc: unknown key\n    Did you mean topic?" in said
    assert main.run(["check", str(path), "--json"]) == 1
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["line"], first["key"]) == (3, "monitors.m.predictions.topic")
    path.write_text("kafka: {bootstrap: k:9092}\nmonitors:\n  m: {predictions: {topic: t}}\n")
    assert main.run(["check", "-c", str(path)]) == 0
    assert "m: predictions from t; pane 10s" in capsys.readouterr().out

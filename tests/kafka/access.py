"""What tests of access share: a provider of tokens, a broker and a registry that ask for a login."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driftbus.stream.cli.main import run

CLIENT, SECRET = "svc-driftbus", "s3cret-of-svc"
"""A client of the provider, which is the user of that name to the brokers."""


@dataclass
class Said:
    """What a command line ended with, and all that it wrote."""

    code: int
    text: str


class Shell:
    """Runs command lines in this process.

    Args:
        folder: where configurations are written.
        capture: pytest's.
    """

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capture = folder, capture

    def __call__(self, document: Mapping[str, Any], *command: str) -> Said:
        """One command with a configuration."""
        path = self._folder / "driftbus.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        self._capture.readouterr()
        code = run([*command, "-c", str(path)])
        said = self._capture.readouterr()
        return Said(code, said.out + said.err)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def document(kafka: Mapping[str, Any], app: str, source: str, **more: Any) -> dict[str, Any]:
    """A configuration whose own topics begin with its app's name."""
    roles = ("summaries", "drift", "incidents", "performance", "retrain", "state", "profiles", "deadletter")
    return {
        "app": app,
        "kafka": dict(kafka),
        "monitors": {"credit": {"predictions": {"topic": source}}},
        "topics": {role: f"{app}.{role}" for role in roles},
        **more,
    }

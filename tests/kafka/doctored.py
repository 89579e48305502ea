"""`driftbus doctor` on a configuration, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from driftbus.stream.cli import main
from harness.broker import Broker

_TOOLS = {"kafka-configs.sh": "kafka.admin.ConfigCommand", "kafka-acls.sh": "org.apache.kafka.tools.AclCommand"}


@dataclass
class Doctored:
    """A file that is examined again and again.

    Args:
        path: of the configuration.
        document: what stands in it.
        capsys: of the test.
    """

    path: Path
    document: dict[str, Any]
    capsys: pytest.CaptureFixture[str]
    found: dict[str, dict[str, str]] = field(default_factory=dict)
    said: str = ""

    def __call__(self, changes: Mapping[str, Mapping[str, Any]] = {}, timeout_s: float = 60) -> int:
        """Examine it with changed sections; the exit code."""
        document = {**self.document, **{name: {**self.document.get(name, {}), **v} for name, v in changes.items()}}
        self.path.write_text(json.dumps(document))
        self.capsys.readouterr()
        code = main.run(["doctor", "--json", "--timeout", str(timeout_s), "-c", str(self.path)])
        out, err = self.capsys.readouterr()
        self.said = out + err
        records = [json.loads(line) for line in out.splitlines()]
        assert all(record["fix"] for record in records if record["status"] in ("wrong", "advice")), records
        self.found = {record["id"]: record for record in records}
        assert len(self.found) == len(records), "an id came twice"
        return code

    def wrong(self) -> dict[str, str]:
        """Check → its fix, of those that are red."""
        return {name: record["fix"] for name, record in self.found.items() if record["status"] == "wrong"}

    def unchecked(self) -> set[str]:
        """Checks that are grey."""
        return {name for name, record in self.found.items() if record["status"] == "not_checked"}


def execute(fix: str, broker: Broker, home: Path, admin: str = "") -> None:
    """Run a fix that is a command of Kafka's, as an administrator would.

    Args:
        fix: as it was printed.
        broker: whose programs are used.
        home: a folder for them.
        admin: address to connect to instead of the printed one: a listener where administrators may do everything.
    """
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    for name, main_class in _TOOLS.items():
        (folder / name).write_text(broker.script(main_class))
        (folder / name).chmod(0o755)
    words = fix.split(" ")
    if admin:
        words[words.index("--bootstrap-server") + 1] = admin
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", " ".join(words)], env={**os.environ, "PATH": path}, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

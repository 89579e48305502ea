"""Prometheus, Alertmanager and their checkers: from PATH, or Debian's packages unpacked without installing."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from harness.cache import cached
from harness.missing import MissingService, not_downloaded
from harness.process import Child, free_ports


def program(name: str) -> Path:
    """Path of prometheus, promtool or amtool.

    Raises:
        MissingService: it is not on PATH and this is not Debian.
    """
    found = shutil.which(name)
    return Path(found) if found else cached("prometheus", _unpack) / "usr" / "bin" / name


def check(name: str, *arguments: str | Path) -> str:
    """Output of `promtool` or `amtool`; AssertionError with it when they find fault."""
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=60)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


class Prometheus:
    """A server that scrapes one target every 200 ms.

    Args:
        target: host:port that serves /metrics.
        rules: a file of alert rules.
        scrape: more of its scrape configuration, for TLS and logins.
    """

    def __init__(self, target: str, rules: Path | None = None, scrape: Mapping[str, object] = {}) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="driftbus-prometheus-"))
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        configuration = self._home / "prometheus.yml"
        job = {"job_name": "driftbus", "static_configs": [{"targets": [target]}], **scrape}
        configuration.write_text(
            "global: {scrape_interval: 200ms, evaluation_interval: 200ms}\n"
            f"rule_files: [{rules or ''}]\n"
            f"scrape_configs: [{json.dumps(job)}]\n"  # JSON is YAML
        )
        command: list[str | Path] = [
            program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self._home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._child = Child(command, self._home / "log")
        self._child.wait_until(self._ready, 30.0, "Prometheus")

    def query(self, expression: str, timeout_s: float = 15.0) -> list[dict[str, Any]]:
        """Result of a PromQL query, waiting until it has one."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10).raise_for_status()
            result: list[dict[str, Any]] = answer.json()["data"]["result"]
            if result or time.monotonic() > deadline:
                return result
            time.sleep(0.1)

    def close(self) -> None:
        """Stop it and forget its data."""
        self._child.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).is_success
        except httpx.TransportError:
            return False


def _unpack(folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise MissingService("Prometheus: put prometheus, promtool and amtool on PATH")
    done = subprocess.run(
        ["apt-get", "-q", "download", "prometheus", "prometheus-alertmanager"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    packages = list(folder.glob("*.deb"))
    if done.returncode or not packages:
        raise not_downloaded("Prometheus", done.stderr or "apt-get update is needed first")
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
        package.unlink()

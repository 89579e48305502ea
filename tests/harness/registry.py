"""A real schema registry that speaks Confluent's protocol: Apicurio, in memory."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

import httpx

from harness.java import java, registry_home
from harness.process import Child, free_ports

VERSION = "2.6.13.Final"


class Registry:
    """One registry process; what is registered is lost at `kill`."""

    def __init__(self) -> None:
        self._home = registry_home(VERSION)
        self._logs = Path(tempfile.mkdtemp(prefix="driftbus-registry-"))
        (self._port,) = free_ports(1)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Base address for Confluent-compatible clients."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start, empty, with BACKWARD compatibility as Confluent's default. Returns when it answers."""
        command: list[str | Path] = [
            java(),
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={self._port}",
            *self._options,
            "-jar",
            self._home / f"apicurio-registry-app-{VERSION}-runner.jar",
        ]
        self._child = Child(command, self._logs / "log", cwd=self._home)
        self._child.wait_until(self._answers, 90.0, "Apicurio Registry")
        with self._client() as http:
            http.put(f"{self.url}/config", json={"compatibility": "BACKWARD"}).raise_for_status()

    def kill(self) -> None:
        """Stop answering at once, as an outage would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers, nothing is forgotten."""
        if self._child is not None:
            self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, the end of `freeze`."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it."""
        self.kill()
        shutil.rmtree(self._logs, ignore_errors=True)

    def register(self, subject: str, schema: str) -> int:
        """Schema id of an Avro schema, registered under a subject when it is new."""
        with self._client() as http:
            answer = http.post(f"{self.url}/subjects/{subject}/versions", json={"schema": schema})
        answer.raise_for_status()
        return int(answer.json()["id"])

    @property
    def _options(self) -> list[str]:
        """More of Java's arguments."""
        return []

    def _client(self) -> httpx.Client:
        """Somebody who may do everything."""
        return httpx.Client(timeout=15)

    def _answers(self) -> bool:
        try:
            with self._client() as http:
                return http.get(f"{self.url}/subjects").is_success
        except httpx.TransportError:
            return False

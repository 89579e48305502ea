"""Workers forked from a process that has imported and compiled everything: a start costs milliseconds, not seconds.

Nothing of librdkafka may run before the fork: its threads don't come along.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.process import Child, Process, end_with_parent

_COMPILED_S = 600.0
"""Compiling all kernels for the first time on a busy machine."""


class Nursery:
    """A process that forks `driftbus` commands; `close` ends it and all its forks.

    Args:
        patch: "module:function" that is called before the first fork; tests break the product with it.
    """

    def __init__(self, patch: str = "") -> None:
        self._home = Path(tempfile.mkdtemp(prefix="driftbus-nursery-"))
        door = self._home / "door"
        found = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        command: list[str | Path] = [sys.executable, "-m", "harness.nursery", door, patch]
        self._child = Child(command, self._home / "log", environment={"PYTHONPATH": found})
        try:
            self._child.wait_until(door.exists, _COMPILED_S, "the nursery")
        except RuntimeError:
            self._child.kill()
            raise
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(door))
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str | Path], log: Path) -> Fork:
        """`driftbus ARGUMENTS` in a fork, its output appended to a file."""
        log.touch()  # whoever reads it need not wait until it is opened
        return Fork(self, int(self.ask({"run": [str(a) for a in arguments], "log": str(log)})), log)

    def ask(self, question: dict[str, Any]) -> Any:
        """What the nursery answers."""
        with self._lock:
            self._lines.write(json.dumps(question) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        assert answer, f"the nursery ended:\n{self._child.tail()}"
        return json.loads(answer)

    def close(self) -> None:
        self._child.kill()
        self._socket.close()
        shutil.rmtree(self._home, ignore_errors=True)


class Fork(Process):
    """A process that the nursery forked."""

    def __init__(self, nursery: Nursery, pid: int, log: Path) -> None:
        self._nursery, self._pid, self.log = nursery, pid, log
        self._code: int | None = None

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative signal number, or None while it runs."""
        if self._code is None:
            self._code = self._nursery.ask({"code_of": self.pid})
        return self._code

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs; its pid is not given away before its code was asked for."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """Exit code once it has ended; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout_s
        while (code := self.returncode) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout_s)
            time.sleep(0.05)
        return code


def _serve(door: str, patch: str) -> None:
    from driftbus.stream.cli.main import run
    from driftbus.stream.worker.running import run_worker  # noqa: F401 - imported for the forks
    from driftbus.stream.worker.warmup import warm_up

    warm_up()
    if patch:
        where, _, name = patch.partition(":")
        getattr(importlib.import_module(where), name)()
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(f"{door}.new")
        ear.listen()
        Path(f"{door}.new").rename(door)
        caller, _address = ear.accept()
    lines = caller.makefile("rw", encoding="utf-8")
    for line in lines:
        ask = json.loads(line)
        if "code_of" in ask:
            pid, status = os.waitpid(ask["code_of"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                os.close(caller.fileno())
                _become(ask["log"])
                os._exit(run(ask["run"]))
        lines.write(json.dumps(answer) + "\n")
        lines.flush()


def _become(log: str) -> None:
    """A process of its own, that ends with the nursery."""
    os.setsid()
    end_with_parent()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)


if __name__ == "__main__":
    _serve(*sys.argv[1:])

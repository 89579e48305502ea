"""Child processes that are stopped by pid and never outlive the tests."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Survives exec; unlike preexec_fn it is safe with the threads that Kafka clients have started.
_TETHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def end_with_parent() -> None:
    """This process is killed when the thread that started it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process(ABC):
    """A process with its output in a file, and how it is ended.

    Attributes:
        log: file that has stdout and stderr.
    """

    log: Path

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """Exit code, negative signal number, or None while it runs."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int:
        """Exit code once it has ended; raises subprocess.TimeoutExpired."""

    def stop(self, timeout_s: float = 40.0) -> int:
        """SIGTERM, and SIGKILL when that does not end it in time; its exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL: no chance to write anything."""
        self.signal(signal.SIGKILL)
        return self.wait(15.0)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Return once `ready` holds.

        Raises:
            RuntimeError: it ended first, or it took longer than timeout_s seconds; with the end of its output.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.returncode is not None:
                raise RuntimeError(f"{what} ended with {self.returncode} while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} was not ready after {timeout_s:g} s:\n{self.tail()}")
            time.sleep(0.05)


class Child(Process):
    """A program started in a session of its own, with its output in a file.

    Args:
        command: program and arguments.
        log: file that gets stdout and stderr; appended to.
        environment: added to this process's own.
    """

    def __init__(
        self, command: Sequence[str | Path], log: Path, *, cwd: Path | None = None, environment: Mapping[str, str] = {}
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _TETHER, str(os.getpid()), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative signal number, or None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.returncode is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Exit code once it has ended; raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.05) -> None:
    """Return once `condition` holds, asked every so many seconds; AssertionError naming `what` after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(every_s)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on.

    They lie below the range from which the system takes the ports of outgoing connections, so that a killed
    service finds its own free again.
    """
    held: list[socket.socket] = []
    while len(held) < count:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", random.randrange(12_000, 32_000)))
        except OSError:
            probe.close()
        else:
            held.append(probe)
    ports = [int(probe.getsockname()[1]) for probe in held]
    for probe in held:
        probe.close()
    return ports


def accepts(port: int) -> bool:
    """True when something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""`driftbus run` in a process of its own, as schedules know it."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass

from harness.process import Process


@dataclass
class Worker:
    """`driftbus run`, in a process of its own.

    Attributes:
        asked: it was told to end, or killed, by us.
        frozen: SIGSTOP was the last that it got.
    """

    process: Process
    port: int
    asked: bool = False
    frozen: bool = False

    @property
    def runs(self) -> bool:
        return self.process.returncode is None

    @property
    def ready(self) -> bool:
        """Whether it has taken up its partitions."""
        return self.get("/readyz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its own HTTP endpoint; 0 while it doesn't answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

"""A wall clock of a process's own, that jumps while it runs (see jumpingclock.c). Monotonic clocks stay as they are."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from harness.cache import cached
from harness.missing import MissingService

_SOURCE = Path(__file__).with_suffix(".c")


def available() -> bool:
    """Whether there can be one here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def _library() -> Path:
    if not available():
        raise MissingService("a wall clock that jumps needs Linux and a C compiler (Debian: apt-get install gcc)")

    def compile_(folder: Path) -> None:
        command: list[str | Path] = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", folder / "clock.so", _SOURCE]
        subprocess.run([*command, "-ldl", "-pthread"], check=True, capture_output=True, timeout=60)

    return cached(f"jumpingclock-{sha256(_SOURCE.read_bytes()).hexdigest()[:8]}", compile_) / "clock.so"


class Clock:
    """The wall clock of the processes that are started with its `environment`.

    Args:
        file: says how far it is from the computer's.

    Raises:
        MissingService: there can't be one here.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._library = file, _library()
        file.write_bytes(struct.pack("<q", 0))

    @property
    def environment(self) -> Mapping[str, str]:
        """For a process that is to live by it."""
        return {"LD_PRELOAD": str(self._library), "JUMPING_CLOCK": str(self._file)}

    def jump(self, seconds: float) -> None:
        """From now on it is so far ahead of the computer's clock, or behind it."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            shared[:] = struct.pack("<q", round(seconds * 1e9))

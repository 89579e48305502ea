"""A file system of its own, that is really full, or can really not be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.missing import MissingService


class SmallDisk:
    """A file system in memory of a chosen size.

    Args:
        megabytes: its size.
    """

    def __init__(self, megabytes: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="driftbus-disk-"))
        self._megabytes = megabytes

    def start(self) -> None:
        """Mount it; raises MissingService where nobody may."""
        try:
            _as_root("mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=1777", "driftbus", self.path)
        except (OSError, subprocess.SubprocessError) as error:
            raise MissingService(f"a small file system needs Linux and the right to mount: {error}") from error

    @property
    def free(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self.path).free

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 65_536)
            except OSError:
                pass

    def make_room(self) -> None:
        """Undo `fill`."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, value: bool = True) -> None:
        """As the system makes a disk that fails; nothing on it may be open for writing then."""
        _as_root("mount", "-o", f"remount,{'ro' if value else 'rw'}", self.path)

    def close(self) -> None:
        """Unmount and forget what was on it."""
        if self.path.is_mount():
            _as_root("umount", "--lazy", self.path)
        self.path.rmdir()

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"


def _as_root(*command: str | Path) -> None:
    before = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*before, *command], check=True, capture_output=True, timeout=30)

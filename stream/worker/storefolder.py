"""The folder of what one label partition keeps: one process at a time, and never one that hangs.

A frozen process goes on holding its folder. Whoever owns the partition then takes a new one, which is
rebuilt from the topics; the old one is removed once nobody holds it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from driftbus.schemas.errors import ConfigError

LOG = logging.getLogger(__name__)

_LOCK = "lock"


@dataclass(slots=True)
class StoreFolder:
    """A folder that this process holds until `release`.

    Attributes:
        path: where it is.
    """

    path: Path
    _lock: IO[str]

    @classmethod
    def take(cls, place: Path, name: str) -> StoreFolder:
        """The newest folder of a name that nobody holds, or a new one; all others that nobody holds are removed.

        Args:
            place: of this partition, of no other.
            name: of what the folder holds: an epoch, for example. Folders of another name are of no more use.

        Raises:
            ConfigError: the place can't be written.
        """
        try:
            place.mkdir(parents=True, exist_ok=True)
            mine = cls._existing(place, name) or cls._new(place, name)
            for other in sorted(place.iterdir()):
                if other != mine.path:
                    _remove_unheld(other)
        except OSError as error:
            raise _unusable(place, error) from error
        return mine

    @classmethod
    def _existing(cls, place: Path, name: str) -> StoreFolder | None:
        for number in sorted(_numbers(place, name), reverse=True):
            path = place / f"{name}.{number}"
            if (lock := _locked(path)) is not None:
                return cls(path, lock)
            LOG.warning("%s is held by another process: a new folder is begun", path)
        return None

    @classmethod
    def _new(cls, place: Path, name: str) -> StoreFolder:
        while True:
            path = place / f"{name}.{1 + max(_numbers(place, name), default=-1)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            if (lock := _locked(path)) is not None:
                return cls(path, lock)

    def wipe(self) -> None:
        """Remove what it holds; it stays held."""
        for entry in self.path.iterdir():
            if entry.name != _LOCK:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    @property
    def size(self) -> int:
        """Bytes on the disk, as far as they are written."""
        try:
            return sum(entry.stat().st_blocks * 512 for entry in self.path.rglob("*") if entry.is_file())
        except FileNotFoundError:  # written anew meanwhile
            return 0

    def release(self) -> None:
        """Let others take it."""
        self._lock.close()


def require_writable(root: Path) -> None:
    """Raises ConfigError when nothing can be stored there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise _unusable(root, error) from error


def _unusable(place: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{place} can't be used: {error.strerror or error}",
        key="run.store",
        fix="name a folder that the worker may write, with room for the predictions that wait for labels",
    )


def _numbers(place: Path, name: str) -> list[int]:
    found = (re.fullmatch(rf"{re.escape(name)}\.(\d+)", entry.name) for entry in place.iterdir())
    return [int(match[1]) for match in found if match]


def _locked(folder: Path) -> IO[str] | None:
    """The folder's lock, None when another holds it or the folder is gone."""
    try:
        lock = (folder / _LOCK).open("w")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # whoever removed the folder meanwhile held the lock of a file that is gone
        if os.fstat(lock.fileno()).st_ino == (folder / _LOCK).stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    lock.close()
    return None


def _remove_unheld(folder: Path) -> None:
    lock = _locked(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()

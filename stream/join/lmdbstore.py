"""A join's bytes on disk, in LMDB: atomic batches, and values that are read in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import lmdb

from driftbus.schemas.errors import StateError
from driftbus.stream.join.blobs import Buffer

_FIRST_BYTES = 64 << 20


class LmdbBlobs:
    """Values in a folder that nobody else uses: `driftbus.stream.worker.storefolder` sees to that.

    The file grows as it needs, and never shrinks: what is dropped makes room for what comes.

    Args:
        folder: is there already.
        sync: whether a batch is on the disk when `write` returns. Without it a batch outlives the process
            but not the computer, and after a power cut the folder may hold anything.

    Raises:
        StateError: what is in the folder can't be read.
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self._file = folder / "data.mdb"
        try:
            # no read-ahead: searches jump
            self._env = lmdb.open(
                str(folder), map_size=max(_FIRST_BYTES, 2 * self.size), sync=sync, metasync=sync, readahead=False
            )
        except lmdb.Error as error:
            raise StateError(f"{folder} can't be read ({error}): delete it, it is rebuilt from the topics") from error
        self._read = self._env.begin(buffers=True)

    @property
    def size(self) -> int:
        """Size of the file."""
        return self._file.stat().st_size if self._file.exists() else 0

    def get(self, key: bytes) -> Buffer | None:
        value: memoryview | None = self._read.get(key)
        return value

    def keys(self, prefix: bytes) -> list[bytes]:
        cursor = self._read.cursor()
        found: list[bytes] = []
        if cursor.set_range(prefix):
            for key in cursor.iternext(keys=True, values=False):
                if not bytes(key).startswith(prefix):
                    break
                found.append(bytes(key))
        return found

    def write(self, puts: Mapping[bytes, Buffer], drops: Iterable[bytes]) -> None:
        """One atomic batch; raises StateError when the disk refuses, and then nothing is written."""
        dropped = list(drops)
        self._read.abort()  # values that were read in place end here
        try:
            while not self._batch(puts, dropped):
                self._env.set_mapsize(2 * self._env.info()["map_size"])
        except lmdb.Error as error:
            raise StateError(
                f"{self._file} can't be written ({error}): is the disk full? run.store names the folder"
            ) from error
        finally:
            self._read = self._env.begin(buffers=True)

    def close(self) -> None:
        self._read.abort()
        self._env.close()

    def _batch(self, puts: Mapping[bytes, Buffer], drops: list[bytes]) -> bool:
        """Whether there was room."""
        try:
            with self._env.begin(write=True) as batch:
                for key in drops:
                    batch.delete(key)
                for key, value in puts.items():
                    batch.put(key, value)
        except lmdb.MapFullError:
            return False
        return True

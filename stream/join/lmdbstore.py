"""A join's bytes on disk, in LMDB: atomic batches, and values that are read in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import lmdb

from driftbus.schemas.errors import StateError
from driftbus.stream.join.blobs import Buffer
from driftbus.stream.join.checksum import MARK, SUM, checksum
from driftbus.stream.join.lmdbcheck import Damaged, check

_FIRST_BYTES = 64 << 20
_FILE = "data.mdb"


class LmdbBlobs:
    """Values in a folder that nobody else uses: `driftbus.stream.worker.storefolder` sees to that.

    The file grows as it needs, and never shrinks: what is dropped makes room for what comes. All of it is
    checked when it is opened. What a disk changes underneath a process that has opened it is found when the
    value is next rewritten, or at the next opening.

    Args:
        folder: is there already.
        sync: whether a batch is on the disk when `write` returns. Without it a batch outlives the process
            but not the computer, and after a power cut the folder may hold anything.

    Raises:
        Damaged: what is in the folder can't be used.
        StateError: the folder can't be used.
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self._file = folder / _FILE
        try:
            if self.size:
                check(self._file)
            # no read-ahead: searches jump
            self._env = lmdb.open(
                str(folder), map_size=max(_FIRST_BYTES, 2 * self.size), sync=sync, metasync=sync, readahead=False
            )
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise Damaged(str(error)) from error
        except (lmdb.Error, OSError) as error:
            raise StateError(f"{folder} can't be opened ({error}); run.store names the folder") from error
        self._read = self._env.begin(buffers=True)
        mark: memoryview | None = self._read.get(MARK)
        self._total = 0 if mark is None else int(SUM.unpack_from(mark)[0])

    @property
    def size(self) -> int:
        """Size of the file."""
        return self._file.stat().st_size if self._file.exists() else 0

    def get(self, key: bytes) -> Buffer | None:
        value: memoryview | None = self._read.get(key)
        return None if value is None else value[: -SUM.size]

    def checked(self, key: bytes) -> Buffer | None:
        value: memoryview | None = self._read.get(key)
        if value is None:
            return None
        if checksum(key, value[: -SUM.size]) != _sum_of(value):
            raise StateError(f"{self._file} has been damaged since it was opened: start again, it is made anew")
        return value[: -SUM.size]

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
        except (lmdb.Error, OSError) as error:
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
        total = self._total
        try:
            with self._env.begin(write=True, buffers=True) as batch:
                for key in {*drops, *puts}:
                    if (old := batch.get(key)) is not None:
                        total ^= _sum_of(old)
                for key in drops:
                    batch.delete(key)
                for key, value in puts.items():
                    own = checksum(key, value)
                    total ^= own
                    batch.put(key, b"".join((value, SUM.pack(own))))
                mark = SUM.pack(total)
                batch.put(MARK, mark + SUM.pack(checksum(MARK, mark)))
        except lmdb.MapFullError:
            return False
        self._total = total
        return True


def _sum_of(value: memoryview) -> int:
    return int(SUM.unpack_from(value, len(value) - SUM.size)[0])

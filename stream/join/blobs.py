"""Where a join keeps its bytes: named values that are written all at once or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

Buffer = bytes | memoryview


class Blobs(Protocol):
    """Named values. What `get` gives is valid until the next `write`."""

    def get(self, key: bytes) -> Buffer | None:
        """The value of a key."""

    def checked(self, key: bytes) -> Buffer | None:
        """The same, for what is about to be written again.

        Raises:
            StateError: it is not what was written.
        """

    def keys(self, prefix: bytes) -> list[bytes]:
        """Keys that begin so, ascending."""
        ...

    def write(self, puts: Mapping[bytes, Buffer], drops: Iterable[bytes]) -> None:
        """Drop keys, then put values: one atomic batch."""

    def close(self) -> None:
        """Give it back."""


class MemoryBlobs:
    """Values in memory, for replays and tests."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> Buffer | None:
        return self._values.get(key)

    checked = get

    def keys(self, prefix: bytes) -> list[bytes]:
        return sorted(key for key in self._values if key.startswith(prefix))

    def write(self, puts: Mapping[bytes, Buffer], drops: Iterable[bytes]) -> None:
        for key in drops:
            self._values.pop(key, None)
        self._values.update({key: bytes(value) for key, value in puts.items()})

    def close(self) -> None:
        pass

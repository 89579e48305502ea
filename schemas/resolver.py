"""Where the writer schemas of a stream come from: our own events, a file, a registry."""

from __future__ import annotations

from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.avscfiles import AvscFiles
from driftbus.schemas.contracts import known_contracts
from driftbus.schemas.errors import DecodeError
from driftbus.schemas.framing import SchemaKey, by_fingerprint
from driftbus.schemas.registry import Registry
from driftbus.schemas.streamconfig import StreamConfig


class OwnFirst:
    """Knows driftbus's own events by their fingerprint, and asks another resolver for everything else.

    Args:
        other: the other one; None: there are only our own events.
    """

    def __init__(self, other: Registry | AvscFiles | None) -> None:
        self._other = other
        self._own = {by_fingerprint(each.fingerprint): each for each in known_contracts().values()}

    @property
    def bare(self) -> WriterSchema | None:
        """As the other one's."""
        return self._other.bare if self._other else None

    def knows(self, key: SchemaKey) -> bool:
        """Whether `resolve` would answer from memory."""
        return key in self._own or self._other is None or self._other.knows(key)

    def resolve(self, key: SchemaKey) -> WriterSchema:
        """The schema of a key; raises what the other one raises, DecodeError ``unknown_schema`` without one."""
        if key in self._own:
            return parse_schema(self._own[key].source)
        if self._other is None:
            raise DecodeError("unknown_schema", f"{key}: neither registry.url nor schema_file is configured")
        return self._other.resolve(key)


def open_resolver(stream: StreamConfig, registry: Registry | None, *, key: str = "") -> OwnFirst:
    """Where the writer schemas of a stream come from: its schema file, else the registry; our own events always.

    Raises:
        ConfigError: the file can't be used.
    """
    if stream.schema_file is not None:
        return OwnFirst(AvscFiles(stream.schema_file, key=f"{key}.schema_file" if key else "schema_file"))
    return OwnFirst(registry)

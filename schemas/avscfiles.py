"""Writer schemas from .avsc files, where there is no registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from driftbus.schemas.avsc import PRIMITIVES, WriterSchema, fingerprint, parse_schema
from driftbus.schemas.errors import ConfigError, DecodeError
from driftbus.schemas.framing import BY_FINGERPRINT, SchemaKey, by_fingerprint


class AvscFiles:
    """Resolves bare records by one file, and single-object records by the fingerprints of a folder's files.

    Files of one folder may use each other's named types.

    Args:
        path: an ``.avsc`` file, whose schema then holds for every record without a fingerprint; or
            a folder of them, where every record must carry a fingerprint.
        key: configuration key to name in errors.

    Raises:
        ConfigError: the path can't be read, or a schema in it can't be used.
    """

    def __init__(self, path: str | Path, *, key: str = "") -> None:
        self._key = key
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        files = list(folder.glob("*.avsc"))
        if not path.is_dir() and path not in files:
            files.append(path)
        texts = {file: self._read(file) for file in sorted(files)}
        if not texts:
            raise ConfigError(f"no .avsc file in {path}", key=key)
        self._types = {name: text for file in texts for name, text in _defined(texts[file])}
        wanted = list(texts) if path.is_dir() else [path]
        schemas = {file: self._complete(file, texts[file]) for file in wanted}
        self.bare = None if path.is_dir() else schemas[path]
        self._by_key = {by_fingerprint(fingerprint(schema)): schema for schema in schemas.values()}

    def knows(self, key: SchemaKey) -> bool:
        """Whether a file has the fingerprint."""
        return key in self._by_key

    def resolve(self, key: SchemaKey) -> WriterSchema:
        """The schema with a fingerprint.

        Raises:
            DecodeError: ``unknown_schema``.
        """
        try:
            return self._by_key[key]
        except KeyError:
            more = "" if key.kind == BY_FINGERPRINT else ", and no registry is configured"
            raise DecodeError("unknown_schema", f"no .avsc file has {key}{more}") from None

    def _read(self, file: Path) -> Any:
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"can't read {file}: {error}", key=self._key) from None

    def _complete(self, file: Path, schema: Any) -> WriterSchema:
        """The file's schema, preceded by those of the folder that it needs, dependencies first."""
        own = {name for name, _ in _defined(schema)}
        references: list[Any] = []
        placed: set[str] = set(own)

        def place(needed: Any) -> None:
            for name in _mentioned(needed):
                if name in self._types and name not in placed:
                    placed.update(defined for defined, _ in _defined(self._types[name]))
                    place(self._types[name])
                    references.append(self._types[name])

        place(schema)
        try:
            return parse_schema(json.dumps(schema), map(json.dumps, references))
        except DecodeError as error:
            raise ConfigError(f"{file}: {error}", key=self._key) from None


def _defined(schema: Any, namespace: str = "") -> list[tuple[str, Any]]:
    """(full name, the whole schema) of the outermost named type, or of each in a union."""
    if isinstance(schema, list):
        return [(name, schema) for branch in schema for name, _ in _defined(branch, namespace)]
    if isinstance(schema, dict) and isinstance(schema.get("name"), str):
        name, own = schema["name"], schema.get("namespace", namespace)
        return [(name if "." in name or not own else f"{own}.{name}", schema)]
    return []


def _mentioned(schema: Any, namespace: str = "") -> list[str]:
    """Full names that a schema's types could refer to, in the order of the text."""
    if isinstance(schema, str):
        return [] if schema in PRIMITIVES else [schema, f"{namespace}.{schema}"]
    if isinstance(schema, list):
        return [name for branch in schema for name in _mentioned(branch, namespace)]
    if not isinstance(schema, dict):
        return []
    name = schema.get("name")
    if isinstance(name, str):
        namespace = name.rpartition(".")[0] or schema.get("namespace", namespace)
    inner = [schema.get("type"), schema.get("items"), schema.get("values")]
    inner += [entry.get("type") for entry in schema.get("fields", []) if isinstance(entry, dict)]
    return [name for part in inner for name in _mentioned(part, namespace)]

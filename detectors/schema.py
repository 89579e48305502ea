"""A stream's writer schemas: fields added, removed, retyped.

The schemas met first, and later all that an episode ended with, are known. A pane with rows of another
one opens an episode, which tells how its fields differ from the known schema that most rows had. Old and
new schema alternating, as in a rolling deployment, are one episode: it closes after 1,000 rows of one
schema alone, or, when both stay, 10,000 rows after the latest new schema.

Schemas are compared by their fields, not by their text or their registry's id: another comment or default
is no change. Known bias: what keys a map holds is not in a schema, and `sample_rows: 0` turns the watch off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from driftbus.detectors.episodes import SEVERITIES, OpenEpisode
from driftbus.detectors.verdict import Transition

_PURE, _MIXED = 1_000, 10_000
_KNOWN = 8
_TOLD = 5
_NUMBERS = frozenset({"int", "long", "float", "double", "boolean", "union", "decimal"})
_VECTORS = frozenset({"array", "union"})
_TEXTS = _NUMBERS | {"string", "enum", "uuid"}

Fields = Mapping[str, str]
"""Path of a field → its type: Avro's word or the logical type, with a question mark when it may be null."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """How one schema differs from another.

    Args:
        added, removed: paths, watched ones first.
        retyped: (path, old type, new type), watched ones first.
        severity: 1 only additions, or removals of what is not watched; 2 a type has changed; 3 a watched field
            is gone or can no longer be read.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[tuple[str, str, str], ...]
    severity: int

    @property
    def size(self) -> int:
        """Fields that differ."""
        return len(self.added) + len(self.removed) + len(self.retyped)

    def told(self) -> str:
        """The change in words."""
        parts = [
            ("removed", self.removed),
            ("retyped", [f"{path} {old} → {new}" for path, old, new in self.retyped]),
            ("added", self.added),
        ]
        return ", ".join(
            f"{verb} {', '.join(items[:_TOLD])}{f' and {len(items) - _TOLD} more' if len(items) > _TOLD else ''}"
            for verb, items in parts
            if items
        )


def compare(old: Fields, new: Fields, watched: Mapping[str, str]) -> SchemaChange:
    """How the fields of a new schema differ from those of an old one.

    Args:
        old, new: the fields.
        watched: path → ``numeric``, ``text`` or ``vector``, how a field is read; "" for one that has only to be there.
    """

    def order(path: str) -> tuple[bool, str]:
        return path not in watched, path

    removed = sorted(old.keys() - new.keys(), key=order)
    retyped = [(path, old[path], new[path]) for path in sorted(old.keys() & new.keys(), key=order)]
    retyped = [change for change in retyped if change[1] != change[2]]
    lost = [path for path in removed if path in watched]
    lost += [path for path, _, kind in retyped if not readable(kind, watched.get(path, ""))]
    base = [path for path, before, after in retyped if before.rstrip("?") != after.rstrip("?")]
    severity = 3 if lost else 2 if base else 1
    return SchemaChange(tuple(sorted(new.keys() - old.keys(), key=order)), tuple(removed), tuple(retyped), severity)


def readable(kind: str, use: str) -> bool:
    """Whether a column of this use can be read from a field of this type."""
    base = kind.rstrip("?")
    if not use:
        return True
    if use == "vector":
        return base in _VECTORS
    is_time = base.startswith(("date", "time", "local-time"))
    return base in (_NUMBERS if use == "numeric" else _TEXTS) or is_time


class SchemaWatch:
    """The writer schemas of one stream.

    Args:
        watched: see `compare`.
    """

    def __init__(self, watched: Mapping[str, str]) -> None:
        self._watched = watched
        self._known: list[int] = []
        self._main = 0
        self._met: list[int] = []
        self._severity = self._opened = self._since = 0
        self._rows = self._alone = self._alone_rows = 0
        self._detail = ""
        self._size = 0

    def update(self, tick: int, rows: Mapping[int, int], fields: Mapping[int, Fields]) -> list[Transition]:
        """Take one pane.

        Args:
            tick: pane number.
            rows: fingerprint of a schema → its rows in the pane.
            fields: fingerprint → fields, of all that are known.
        """
        if not rows:
            return []
        most = min(rows, key=lambda one: (-rows[one], one))
        if not self._known:
            self._known, self._main = sorted(rows)[:_KNOWN], most
            return []
        found = []
        for one in sorted(rows):
            if one not in self._known and one not in self._met:
                found += self._meet(tick, one, fields, rows[one])
        if not self._severity:
            return found
        self._rows += sum(rows.values())
        if len(rows) == 1 and most == self._alone:
            self._alone_rows += rows[most]
        else:
            self._alone, self._alone_rows = (most, rows[most]) if len(rows) == 1 else (0, 0)
        if not found and (self._alone_rows >= _PURE or self._rows >= _MIXED):
            found.append(self._transition("closed", tick, sum(rows.values())))
            pure = self._alone_rows >= _PURE
            self._known = [self._alone] if pure else sorted({*self._known, *self._met})[-_KNOWN:]
            self._main, self._met, self._severity = (self._alone if pure else most), [], 0
        return found

    def state(self) -> list[Any]:
        """The state as plain data."""
        return [getattr(self, f"_{name}") for name in _STATE]

    def restore(self, state: list[Any]) -> None:
        """Take a state that `state` gave."""
        for name, value in zip(_STATE, state, strict=True):
            setattr(self, f"_{name}", list(value) if isinstance(value, (list, tuple)) else value)

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episode, if there is one."""
        if not self._severity:
            return []
        return [OpenEpisode("", "schema", SEVERITIES[self._severity], "schema", 0.0, self._opened, self._since)]

    def known(self) -> set[int]:
        """Fingerprints whose fields are still needed."""
        return {*self._known, *self._met, self._main}

    def _meet(self, tick: int, one: int, fields: Mapping[int, Fields], rows: int) -> list[Transition]:
        self._met = [*self._met, one][-_KNOWN:]
        self._rows = 0
        change = compare(fields.get(self._main, {}), fields.get(one, {}), self._watched)
        if not change.size:  # of a schema that is not told any more
            change = SchemaChange((), (), (), 1)
        if change.severity <= self._severity:
            return []
        status = "escalated" if self._severity else "opened"
        if status == "opened":
            self._opened = self._since = tick
            self._alone = self._alone_rows = 0
        self._severity, self._detail, self._size = change.severity, change.told(), change.size
        return [self._transition(status, tick, rows)]

    def _transition(self, status: str, tick: int, rows: int) -> Transition:
        return Transition(
            column="",
            aspect="schema",
            status=status,
            severity=SEVERITIES[self._severity],
            detector="schema",
            what="schema",
            direction="",
            statistic=float(self._size),
            threshold=0.0,
            p_value=None,
            effect=0.0,
            reference_value=None,
            current_value=None,
            opened_tick=self._opened,
            window_start_tick=tick,
            since_tick=self._since,
            since_low_tick=self._since,
            since_high_tick=self._since,
            count=rows,
            reference_count=0,
            detail=self._detail,
        )


_STATE = ("known", "main", "met", "severity", "opened", "since", "rows", "alone", "alone_rows", "detail", "size")

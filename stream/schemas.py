"""The writer schemas of one stream: what parts tell of them, and what their watch says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.schema import SchemaWatch
from driftbus.detectors.sketches import MOST_WRITERS
from driftbus.schemas.events import DriftEvent, Group, SummaryPart
from driftbus.stream.groups import GroupPane, event_of, span
from driftbus.stream.plan import MonitorPlan, StreamPlan

_KEPT = 64
"""Schemas whose fields are kept; a change to a further one is told without its fields."""


class SchemaJudge:
    """Schema changes of one stream, over all its versions."""

    def __init__(self, plan: MonitorPlan, stream: StreamPlan, topic: str) -> None:
        self._plan, self._stream, self._topic = plan, stream, topic
        self._watch = SchemaWatch(stream.watched)
        self._fields: dict[int, dict[str, str]] = {}

    def learn(self, part: SummaryPart) -> None:
        """Take the fields of schemas that a part names."""
        for schema in part.schemas:
            if schema.fingerprint not in self._fields:
                if len(self._fields) >= _KEPT:
                    needed = self._watch.known()
                    self._fields = {one: fields for one, fields in self._fields.items() if one in needed}
                self._fields[schema.fingerprint] = dict(schema.fields)

    def update(self, tick: int, pane: Mapping[Group, GroupPane]) -> list[DriftEvent]:
        """Judge the schemas of a sealed pane."""
        whole = [content for group, content in pane.items() if not group.segment]
        writers = [content.sketches.writers for content in whole if content.sketches is not None]
        if not writers:
            return []
        met = reduce(lambda one, other: one.merged(other, MOST_WRITERS), writers)
        rows = dict(zip(met.hashes.tolist(), met.counts.tolist(), strict=True))
        transitions = self._watch.update(tick, rows, self._fields)
        group = Group(self._plan.name, self._stream.stream)
        ranges = span(self._topic, (content.offsets for content in whole)) if transitions else ()
        return [event_of(self._plan, self._stream, group, tick, t, ranges) for t in transitions]

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episode, if there is one."""
        return self._watch.open_episodes()

    def state(self) -> list[Any]:
        return [self._watch.state(), [[one, sorted(fields.items())] for one, fields in sorted(self._fields.items())]]

    def restore(self, state: Iterable[Any]) -> None:
        watch, fields = state
        self._watch.restore(watch)
        self._fields = {one: dict(pairs) for one, pairs in fields}

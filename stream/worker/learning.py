"""Learning a missing profile from its topic: the reading around `Learner`."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from driftbus.detectors.profile import Profile, Role
from driftbus.schemas.columns import MISSING_TIME, Projection
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.errors import ConfigError, DecodeError
from driftbus.schemas.fields import FieldType, field_types
from driftbus.schemas.registry import Registry
from driftbus.schemas.resolver import open_resolver
from driftbus.schemas.vectorparts import derived_names
from driftbus.stream.learn import Learner, LearnPlan
from driftbus.stream.records import RecordBatch
from driftbus.stream.replay.sources import Part, SourceReader, Tell
from driftbus.stream.setup.peek import decode_one, schema_and_body

LOG = logging.getLogger(__name__)

_LOOKED_AT = 100
"""First records of a partition whose fields are looked at."""

_AHEAD = 0.1
"""How far a partition may be ahead of the slowest, in learning periods."""

_NUMERIC, _TEXTUAL = ("numeric", "map_numeric"), ("categorical", "map_text")


def learn_from_topic(
    config: Config,
    monitor: str,
    stream: str,
    partitions: int,
    *,
    wait: bool = True,
    tell: Tell | None = None,
    stopped: Callable[[], bool] = lambda: False,
    now_ms: int = 0,
) -> Profile:
    """Learn the profile of a monitor's stream from the first period of its topic. Blocks: use a thread.

    Args:
        config: the configuration.
        monitor, stream: whose profile.
        partitions: of the topic.
        wait: True to wait for records that are still to come; a partition that is silent for
            ``run.seal_after`` is then passed over. False: learn from what there is.
        tell: called with the share of the period that is done and the rows so far.
        stopped: asked now and then; True ends the waiting with a ConfigError.
        now_ms: wall-clock time of making.

    Raises:
        ConfigError: too few records, or no field worth watching, or stopped.
        Unavailable: brokers or schema registry don't answer.
    """
    topic = config.monitors[monitor].streams[stream].topic
    reader = SourceReader(config.kafka, {topic: partitions}, follow=wait)
    try:
        return _Learning(config, monitor, stream, partitions, reader).run(wait, tell, stopped).profile(now_ms)
    finally:
        reader.close()


class _Learning:
    def __init__(self, config: Config, monitor: str, stream: str, partitions: int, reader: SourceReader) -> None:
        self._config, self._monitor, self._stream = config, monitor, stream
        self._settings = config.monitors[monitor].streams[stream]
        self._partitions, self._reader = partitions, reader
        registry = Registry(config.registry) if config.registry.url else None
        self._resolver = open_resolver(self._settings, registry, key=f"monitors.{monitor}.{stream}")
        self._first: dict[int, list[RecordBatch]] = {}
        self._looked: Counter[int] = Counter()
        self._kinds: dict[int, dict[str, FieldType]] = {}
        self._learner: Learner | None = None
        self._decoders: dict[int, BatchDecoder] = {}
        self._silent_since = dict.fromkeys(range(partitions), time.monotonic())
        self._passed_over: set[int] = set()

    def run(self, wait: bool, tell: Tell | None, stopped: Callable[[], bool]) -> Learner:
        while self._learner is None or not self._learner.done:
            for batch in self._reader.poll():
                self._silent_since[batch.partition] = time.monotonic()
                self._take(batch)
            if wait:
                self._pass_over_silent()
            elif not self._reader.left:
                return self._complete()
            if self._learner is None and self._all_shown():
                self._start()
            self._reader.hold(self._ahead())
            if tell is not None and self._learner is not None:
                tell(self._learner.reached(), self._learner.rows)
            if stopped():
                raise ConfigError(
                    f"{self._settings.topic}: stopped before its first period was over",
                    key=f"monitors.{self._monitor}.learn",
                )
        return self._learner

    def _take(self, batch: RecordBatch) -> None:
        if self._learner is None:
            self._first.setdefault(batch.partition, []).append(batch)
            self._look(batch)
            return
        decoder = self._decoders.get(batch.partition)
        if decoder is None:
            decoder = BatchDecoder(self._plan.projection, self._resolver, max_bytes=self._config.limits.record_bytes)
            self._decoders[batch.partition] = decoder
        decoded = decoder.decode(batch.values, batch.headers_of)
        block = decoded.block
        if not self._settings.time:
            block.time_ms = np.where(batch.timestamps >= 0, batch.timestamps, MISSING_TIME)
        known = (batch.timestamps >= 0) & (block.time_ms >= 0)
        future = known & (block.time_ms - np.maximum(batch.timestamps, 0) > self._config.limits.future)
        self._learner.feed(batch.partition, block, batch.offsets, decoded.good & ~future)

    def _complete(self) -> Learner:
        if self._learner is None:
            self._start()
        assert self._learner is not None
        self._learner.complete()
        return self._learner

    def _pass_over_silent(self) -> None:
        """Nothing is passed over while everything is silent: then the period is not over for anyone."""
        limit = self._config.run.seal_after / 1000
        if not limit:
            return
        now = time.monotonic()
        for part in self._reader.resting:
            number = part[1]
            if now - self._silent_since[number] > limit and number not in self._passed_over:
                LOG.warning("%s[%d] is silent: learning does not wait for it", *part)
                self._passed_over.add(number)
                if self._learner is not None:
                    self._learner.pass_over(number)

    def _all_shown(self) -> bool:
        if not any(self._kinds.values()) and max(self._looked.values(), default=0) < _LOOKED_AT:
            return False  # nothing readable yet
        return all(self._shown(p) or p in self._passed_over for p in range(self._partitions))

    def _shown(self, partition: int) -> bool:
        """Whether a partition has said what fields there are: in its first hundred records, or all that it has.

        Not whatever the first poll brings: that may be one record, and no readable one.
        """
        ended = (self._settings.topic, partition) in self._reader.resting
        return self._looked[partition] >= _LOOKED_AT or (ended and bool(self._kinds.get(partition)))

    def _start(self) -> None:
        batches = [batch for _, mine in sorted(self._first.items()) for batch in mine]
        fields: dict[str, FieldType] = {}
        for _, kinds in sorted(self._kinds.items()):
            fields |= {path: kind for path, kind in kinds.items() if path not in fields}
        self._plan = learn_plan(self._config, self._monitor, self._stream, fields)
        self._learner = Learner(self._plan, self._partitions)
        for number in sorted(self._passed_over):
            self._learner.pass_over(number)
        for batch in batches:
            self._take(batch)
        self._first = {}

    def _look(self, batch: RecordBatch) -> None:
        """Note the fields of the first records: those of their schemas, and the keys of their maps."""
        found = self._kinds.setdefault(batch.partition, {})
        for row in range(min(len(batch), _LOOKED_AT - self._looked[batch.partition])):
            self._looked[batch.partition] += 1
            value = batch.values[row]
            if value is None:
                continue
            try:
                schema, _ = schema_and_body(value, batch.headers_of(row), self._resolver)
                kinds = field_types(schema)
                record = decode_one(value, batch.headers_of(row), self._resolver) if _has_maps(kinds) else {}
            except DecodeError:
                continue  # the worker sends it to the dead letters
            found |= {path: kind for path, kind in _with_keys(kinds, record).items() if path not in found}

    def _ahead(self) -> set[Part]:
        """Partitions to hold: those that have shown themselves before the others, or are far ahead."""
        if self._learner is None:
            return {(self._settings.topic, p) for p in self._first if self._looked[p] >= _LOOKED_AT}
        return {(self._settings.topic, p) for p in self._learner.ahead(_AHEAD)}


def learn_plan(config: Config, monitor: str, stream: str, fields: dict[str, FieldType]) -> LearnPlan:
    """What is learned of a topic with these fields: everything that is not mapped to something else.

    Raises:
        ConfigError: there is nothing to learn.
    """
    settings = config.monitors[monitor].streams[stream]
    roles: dict[str, Role] = {}
    mapped: Sequence[tuple[Role, str]] = (
        ("score", settings.score),
        ("prediction", settings.prediction),
        ("label", settings.label),
    )
    for role, path in mapped:
        if path:
            roles[path] = role
    meta = {settings.time, settings.id, settings.version, *settings.where, *settings.ignore}
    kinds = {path: kind.kind for path, kind in fields.items() if path not in meta}
    numeric = [p for p, kind in kinds.items() if kind in _NUMERIC and p not in settings.categorical]
    strings = [p for p, kind in kinds.items() if kind in _TEXTUAL or (kind in _NUMERIC and p in settings.categorical)]
    vectors = [path for path, kind in kinds.items() if kind == "vector"]
    parts = [part for path in vectors for part in derived_names(path)]
    if not numeric and not strings and not vectors:
        raise ConfigError(
            f"topic {settings.topic} has no field to learn from",
            key=f"monitors.{monitor}.{stream}",
            fix="its records need fields that are numbers or texts, besides those that are mapped or ignored",
        )
    names = {path: settings.rename.get(path, path) for path in kinds if path in numeric or path in strings}
    more = [path for path in (settings.id, *settings.where) if path and path not in strings]
    return LearnPlan(
        monitor=monitor,
        stream=stream,
        topic=settings.topic,
        names=names,
        roles=roles,
        projection=Projection((*numeric, *parts), (*strings, *dict.fromkeys(more)), settings.time, settings.time_unit),
        id=settings.id,
        where=tuple(sorted(settings.where.items())),
        learn=config.monitors[monitor].learn,
        lateness_ms=config.limits.lateness,
        season=config.monitors[monitor].detection.season,
        text=tuple(settings.text),
        vectors={path: settings.rename.get(path, path) for path in vectors},
    )


def _has_maps(kinds: dict[str, FieldType]) -> bool:
    return any(kind.kind.startswith("map_") for kind in kinds.values())


def _with_keys(kinds: dict[str, FieldType], record: Any) -> dict[str, FieldType]:
    """The fields, with each map replaced by its keys."""
    found: dict[str, FieldType] = {}
    for path, kind in kinds.items():
        if not kind.kind.startswith("map_"):
            found[path] = kind
        elif isinstance(record, dict) and isinstance(record.get(path), dict):
            found |= dict.fromkeys(record[path], kind)
    return found

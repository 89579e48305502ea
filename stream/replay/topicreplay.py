"""A replay over topics: the records of all partitions, none far ahead of the others in event time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from driftbus.detectors.profile import Profile
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Decoded
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.registry import Registry
from driftbus.schemas.resolver import open_resolver
from driftbus.stream.files.training import season_note
from driftbus.stream.plan import Plans, build_plans, topics_of
from driftbus.stream.records import RecordBatch
from driftbus.stream.replay.replay import Progress, Replay, Write
from driftbus.stream.replay.sources import Part, Point, SourceReader
from driftbus.stream.replay.tracks import Tracks
from driftbus.stream.worker.learning import learn_from_topic
from driftbus.stream.worker.profiles import Key, find_own_profiles, find_profiles
from driftbus.stream.worker.topics import admin_client, partition_counts

SKEW_PANES = 256
"""How far a partition may be ahead of the slowest; panes between them wait in memory."""

_SAMPLE_EVERY = 20_000


@dataclass(slots=True)
class TopicReplay:
    """Topics, ready to be replayed.

    Attributes:
        config: the configuration, of all monitors that have a profile.
        profiles: by monitor and stream.
        plans: for the machines.
        topics: topic → partitions, of those that are read.
        reader: at the first records.
        notes: sentences for people.
    """

    config: Config
    profiles: Mapping[Key, Profile]
    plans: Plans
    topics: Mapping[str, int]
    reader: SourceReader
    notes: list[str] = field(default_factory=list)

    def run(self, write: Write, progress: Progress, tracks: Tracks | None = None) -> Replay:
        """Through the machines, up to the end of the ranges.

        Args:
            write: called with every event, in order.
            progress: called with the number of records done since the last call.
            tracks: takes what the page needs; None: there is no page.

        Raises:
            Unavailable: brokers or schema registry don't answer.
        """
        replay = Replay(self.plans, write, tracks)
        sampled = 0
        for batches in self.polled():
            for batch, decoded in batches:
                part = (batch.topic, batch.partition)
                replay.history.refused(*part, batch.offsets, decoded.bad)
                replay.feed(*part, decoded.block, batch.offsets, batch.timestamps, decoded.good)
                progress(len(batch))
            if replay.rows >= sampled + _SAMPLE_EVERY:
                sampled = replay.rows
                replay.sample()
            replay.rest(part for part in self._parts() if part not in self.reader.left)
            self.reader.hold(self._ahead(replay))
        replay.rest(self._parts())
        replay.sample()
        return replay

    def polled(self) -> Iterator[list[tuple[RecordBatch, Decoded]]]:
        """The records of each poll, decoded, up to the end of the ranges; then the topics are closed.

        Raises:
            Unavailable: brokers or schema registry don't answer.
        """
        registry = Registry(self.config.registry) if self.config.registry.url else None
        decoders: dict[Part, BatchDecoder] = {}
        try:
            while self.reader.left:
                found = []
                for batch in self.reader.poll():
                    part = (batch.topic, batch.partition)
                    decoder = decoders.get(part) or decoders.setdefault(part, self._decoder(batch.topic, registry))
                    found.append((batch, decoder.decode(batch.values, batch.headers_of)))
                yield found
        finally:
            self.reader.close()

    def _parts(self) -> list[Part]:
        return [(topic, p) for topic, partitions in self.topics.items() for p in range(partitions)]

    def _decoder(self, topic: str, registry: Registry | None) -> BatchDecoder:
        (name, stream), *_ = topics_of(self.config)[topic]
        settings = self.config.monitors[name].streams[stream]
        resolver = open_resolver(settings, registry, key=f"monitors.{name}.{stream}")
        plan = self.plans.topics[topic]
        return BatchDecoder(plan.projection, resolver, max_bytes=self.config.limits.record_bytes)

    def _ahead(self, replay: Replay) -> set[Part]:
        found: set[Part] = set()
        for topic, partitions in self.topics.items():
            clocks = {
                (topic, p): replay.driver.summarisers[topic, p].clock
                for p in range(partitions)
                if (topic, p) in self.reader.left
            }
            slowest = min(clocks.values(), default=0)
            found |= {part for part, clock in clocks.items() if clock > slowest + SKEW_PANES and clock >= 0}
        return found | {part for part, join in replay.driver.joins.items() if not join.wants_labels}


def prepare(config: Config, monitor: str, begin: Point | None, end: Point | None) -> TopicReplay:
    """Find the profiles, learn what is missing, and open the topics.

    Args:
        config: the configuration.
        monitor: only its topics are read; "": all.
        begin, end: where to begin and to end in each topic; None: everything there is now.

    Raises:
        ConfigError: there is no such monitor or topic, or a missing profile can't be learned.
        Unavailable: the brokers don't answer.
    """
    if monitor and monitor not in config.monitors:
        raise ConfigError(
            f"there is no monitor {monitor!r}", key="--monitor", fix=f"choose from {', '.join(config.monitors)}"
        )
    counts = partition_counts(admin_client(config.kafka))
    notes: list[str] = []
    chosen = [monitor] if monitor else list(config.monitors)
    topics = {s.topic: counts.get(s.topic, 0) for name in chosen for s in config.monitors[name].streams.values()}
    for topic, partitions in topics.items():
        if not partitions:
            raise ConfigError(
                f"topic {topic} does not exist", key="monitors", fix=f"is {config.kafka.bootstrap} right?"
            )
    profiles = dict(find_profiles(config, counts.get(config.topics.profiles, 0)))
    for name in chosen:
        for stream in config.monitors[name].streams:
            if (name, stream) not in profiles:
                topic = config.monitors[name].streams[stream].topic
                profiles[name, stream] = learn_from_topic(
                    config, name, stream, counts[topic], wait=False, now_ms=time.time_ns() // 1_000_000
                )
                notes.append(f"{name}/{stream} has no recorded profile: learned from the beginning of {topic}")
                if note := season_note(profiles[name, stream], config.pane_ms(name)):
                    notes.append(f"{name}/{stream}: {note}")
    # other monitors of a topic are part of what its events' ids are made of, so they stay if they can
    able = {
        n: m
        for n, m in config.monitors.items()
        if all((n, s) in profiles and m.streams[s].topic in counts for s in m.streams)
    }
    config = config.model_copy(update={"monitors": able})
    own = find_own_profiles(config, counts.get(config.topics.profiles, 0))
    plans = build_plans(config, profiles, {topic: counts[topic] for topic in topics_of(config)}, own=own)
    reader = SourceReader(config.kafka, topics, begin, end)
    return TopicReplay(config, profiles, plans, topics, reader, notes)

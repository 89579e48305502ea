"""What a worker needs before it starts: topics in order, schemas, profiles, plans."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from confluent_kafka.admin import AdminClient

from driftbus.detectors.profile import Profile
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import Resolver
from driftbus.schemas.registry import Registry
from driftbus.schemas.resolver import open_resolver
from driftbus.stream.doctor.granted import require_rights
from driftbus.stream.files.training import season_note
from driftbus.stream.plan import Plans, build_plans, topics_of
from driftbus.stream.worker.copartition import require_copartitioned
from driftbus.stream.worker.lacking import warn_of_lacking
from driftbus.stream.worker.learning import learn_from_topic
from driftbus.stream.worker.profiles import Key, find_own_profiles, find_profiles, publish_once
from driftbus.stream.worker.publish import register_outputs
from driftbus.stream.worker.repartition_agent import Target, targets_of
from driftbus.stream.worker.storefolder import require_writable
from driftbus.stream.worker.topicchecks import require_topics
from driftbus.stream.worker.topics import admin_client, label_copies

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found.

    Args:
        plans: what to read, count and judge.
        resolvers: source topic → where its writer schemas come from.
        schema_ids: registry ids of the schemas that are published.
        admin: client to ask the brokers with.
        targets: topic of labels that are keyed otherwise → where they are written to.
    """

    plans: Plans
    resolvers: dict[str, Resolver]
    schema_ids: dict[str, int]
    admin: AdminClient
    targets: dict[str, Target]


Learning = Callable[[str, str, float, int], None]
"""Called with monitor, stream, the share of the period that has passed, and the rows so far."""


def prepare(
    config: Config,
    stopped: Callable[[], bool] = lambda: False,
    learning: Learning = lambda _monitor, _stream, _share, _rows: None,
) -> Prepared:
    """Check and load everything; learn the profiles that are missing, which can take their whole period.

    Args:
        config: the configuration.
        stopped: asked now and then while profiles are learned; True ends that with a ConfigError.
        learning: told now and then how far that is.

    Raises:
        ConfigError: something in the configuration, the topics or the profiles is wrong.
        Unavailable: brokers or the schema registry can't be reached.
    """
    admin = admin_client(config.kafka)
    counts = require_topics(admin, config)
    require_rights(admin, config)
    registry = Registry(config.registry) if config.registry.url else None
    resolvers = open_resolvers(config, registry)
    schema_ids = register_outputs(config, registry)
    profiles = find_profiles(config, counts[config.topics.profiles])
    own = find_own_profiles(config, counts[config.topics.profiles])
    for monitor, stream in _missing(config, profiles):
        profiles[monitor, stream] = _learned(config, monitor, stream, counts, stopped, learning)
    warn_of_lacking(config, profiles, counts)
    require_copartitioned(config, counts, resolvers)
    plans = build_plans(config, profiles, counts, own=own)
    if plans.outcomes:
        require_writable(Path(config.run.store))
    return Prepared(plans, resolvers, schema_ids, admin, targets_of(config, counts))


def open_resolvers(config: Config, registry: Registry | None) -> dict[str, Resolver]:
    """Source topic, or topic of labels to repartition → where its writer schemas come from."""
    read = {topic: pairs[0] for topic, pairs in topics_of(config).items()}
    read |= {copied: (name, "labels") for name, (copied, _) in label_copies(config).items()}
    return {
        topic: open_resolver(config.monitors[name].streams[stream], registry, key=f"monitors.{name}.{stream}")
        for topic, (name, stream) in read.items()
    }


def _missing(config: Config, profiles: dict[Key, Profile]) -> list[Key]:
    wanted = [(name, stream) for name, monitor in config.monitors.items() for stream in monitor.streams]
    return [key for key in wanted if key not in profiles]


def _learned(
    config: Config,
    monitor: str,
    stream: str,
    counts: dict[str, int],
    stopped: Callable[[], bool],
    learning: Learning,
) -> Profile:
    topic = config.monitors[monitor].streams[stream].topic
    LOG.info("%s has no profile for its %s: learning it from the beginning of topic %s", monitor, stream, topic)
    now_ms = time.time_ns() // 1_000_000
    learning(monitor, stream, 0.0, 0)
    learned = learn_from_topic(
        config, monitor, stream, counts[topic], stopped=stopped, tell=partial(learning, monitor, stream), now_ms=now_ms
    )
    profile = publish_once(config.kafka, config.topics.profiles, range(counts[config.topics.profiles]), learned)
    LOG.info("%s: profile %s of %d rows of %s", monitor, profile.profile_id, profile.rows, stream)
    if note := season_note(profile, config.pane_ms(monitor)):
        LOG.info("%s/%s: %s", monitor, stream, note)
    return profile

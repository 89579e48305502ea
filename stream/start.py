"""What a worker needs before it starts: topics in order, profiles, plans, schemas."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import Resolver
from driftbus.schemas.registry import Registry, open_resolver
from driftbus.stream.plan import build_plans, topics_of
from driftbus.stream.profiles import find_profiles
from driftbus.stream.publish import register_outputs
from driftbus.stream.topics import admin_client, require_topics
from driftbus.stream.worker import Worker

LOG = logging.getLogger(__name__)


def prepare(config: Config) -> tuple[Callable[[], Worker], CollectorRegistry]:
    """Check and load everything; what makes the worker, and its metrics registry.

    Raises:
        ConfigError: something in the configuration, the topics or the profiles is wrong.
        Unavailable: brokers or the schema registry can't be reached.
    """
    admin = admin_client(config.kafka)
    counts = require_topics(admin, config)
    registry = Registry(config.registry) if config.registry.url else None
    resolvers = open_resolvers(config, registry)
    profiles = find_profiles(config, counts[config.topics.profiles])
    plans = build_plans(config, profiles, counts, counts[config.topics.summaries])
    schema_ids = register_outputs(config, registry)
    metrics = CollectorRegistry()
    for collector in (GCCollector, PlatformCollector, ProcessCollector):
        collector(registry=metrics)
    return lambda: Worker(config, plans, resolvers, schema_ids, admin, metrics), metrics


def open_resolvers(config: Config, registry: Registry | None) -> dict[str, Resolver]:
    """Source topic → where its writer schemas come from."""
    return {
        topic: open_resolver(config.monitors[name].streams[stream], registry, key=f"monitors.{name}.{stream}")
        for topic, ((name, stream), *_) in topics_of(config).items()
    }

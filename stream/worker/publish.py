"""What the machines decided, as records: parts to the summaries, events and triggers to their topics."""

from __future__ import annotations

from collections.abc import Iterable

from driftbus.schemas.cloudevents import AVRO_CONTENT, STRUCTURED_CONTENT, binary_headers, structured_body
from driftbus.schemas.codec import encode_event, encode_message
from driftbus.schemas.config import Config
from driftbus.schemas.contracts import schema_text
from driftbus.schemas.registry import Registry
from driftbus.stream.judge import Decided
from driftbus.stream.summarise import ShardPart
from driftbus.stream.worker.outbox import Outbox


def register_outputs(config: Config, registry: Registry | None) -> dict[str, int]:
    """Register the schemas of what is published; record name → the registry's id. Empty without a registry.

    Raises:
        ConfigError: the registry refuses one.
        Unavailable: it can't be reached.
    """
    if registry is None or config.output.format != "avro":
        return {}
    return {name: registry.register(subject, schema_text(name)) for name, subject in output_subjects(config).items()}


def output_subjects(config: Config) -> dict[str, str]:
    """Record name → the registry's subject of its schema."""
    topics = topics_of(config)
    shared = [*topics.values()]
    return {name: _subject(name, topic, shared.count(topic) > 1) for name, topic in topics.items()}


def topics_of(config: Config) -> dict[str, str]:
    """Record name → topic of what consumers read."""
    topics = config.topics
    return {
        "DriftEvent": topics.drift,
        "Incident": topics.incidents,
        "PerformanceReport": topics.performance,
        "ComparisonEvent": topics.performance,
        "RetrainTrigger": topics.retrain,
    }


def _subject(name: str, topic: str, shared: bool) -> str:
    """Confluent's TopicNameStrategy, or TopicRecordNameStrategy where a topic holds several records."""
    return f"{topic}-io.driftbus.{name}" if shared else f"{topic}-value"


class Publisher:
    """Encodes and queues what the machines decided.

    Args:
        config: names of topics, output format.
        outbox: where records go.
        schema_ids: record name → registry id; Avro single-object encoding for names that have none.
    """

    def __init__(self, config: Config, outbox: Outbox, schema_ids: dict[str, int]) -> None:
        self._config, self._outbox, self._ids = config, outbox, schema_ids

    async def parts(self, parts: Iterable[ShardPart]) -> None:
        """Queue parts in order, each to its summaries partition."""
        for shard, part in parts:
            await self._outbox.send(self._config.topics.summaries, encode_message(part), partition=shard)

    async def decided(self, decided: Iterable[Decided]) -> None:
        """Queue events in order, each to its topic, keyed by monitor."""
        topics = topics_of(self._config)
        for event in decided:
            topic = topics[type(event).__name__]
            if self._config.output.format == "avro":
                value, content = encode_event(event, self._ids.get(type(event).__name__)), AVRO_CONTENT
            else:
                value, content = structured_body(event, self._config.app), STRUCTURED_CONTENT
            headers = binary_headers(event, self._config.app, content)
            await self._outbox.send(topic, value, key=event.monitor.encode(), headers=headers)

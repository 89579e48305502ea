"""driftbus's own topics: what they have to be like, and making them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from driftbus.schemas.config import Config, KafkaConfig
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.stream.transport.admin import Admin
from driftbus.stream.transport.rights import missing_right

LOG = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_ANSWER_S = 15.0
_LARGE = str(16 << 20)


@dataclass(frozen=True, slots=True)
class Required:
    """A topic of our own.

    Args:
        name: its name.
        role: key under ``topics`` in driftbus.yaml.
        partitions: how many it is made with.
        settings: topic settings it is made with; ``cleanup.policy`` is checked as well.
        exact: whether another number of partitions is wrong.
    """

    name: str
    role: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False


def required_topics(config: Config) -> list[Required]:
    """driftbus's own topics, with the settings they are made with."""
    names, shards = config.topics, config.topics.summaries_partitions
    # a worker's wall clock must matter nowhere: brokers refuse records of the future and delete those of the past
    stamped = {"message.timestamp.type": "LogAppendTime"}
    kept = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)} | stamped
    # read in any language, and not every client knows lz4, which the worker writes
    plain = {"compression.type": "uncompressed"}
    compact = {"cleanup.policy": "compact"} | stamped
    return [
        Required(
            names.summaries,
            "summaries",
            shards,
            {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS), "max.message.bytes": _LARGE} | stamped,
            exact=True,
        ),
        Required(names.drift, "drift", 1, kept | plain),
        Required(names.incidents, "incidents", 1, kept | plain | {"max.message.bytes": _LARGE}),
        Required(names.performance, "performance", 1, kept | plain),
        Required(names.retrain, "retrain", 1, kept | plain),
        # a snapshot is rewritten every minute, and all that is there is read at a start: small segments let the
        # cleaner get at the old ones, and it comes when a tenth is old, not half
        Required(
            names.state,
            "state",
            shards,
            compact | {"segment.ms": "3600000", "segment.bytes": str(32 << 20), "min.cleanable.dirty.ratio": "0.1"},
            exact=True,
        ),
        Required(names.profiles, "profiles", 1, compact | {"max.message.bytes": _LARGE}),
        Required(names.deadletter, "deadletter", 1, kept | {"max.message.bytes": _LARGE}),
    ]


def admin_client(kafka: KafkaConfig) -> Admin:
    """A client for questions about topics. Keep it while a future of its is awaited."""
    return Admin(kafka)


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """Topic → number of partitions, of all topics we may see.

    Raises:
        ConfigError: the brokers refuse our login.
        Unavailable: no broker answers.
    """
    if isinstance(admin, Admin):
        found = admin.topics()
    else:
        try:
            found = admin.list_topics(timeout=_ANSWER_S).topics
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers: {error.args[0].str()}") from error
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


def label_copies(config: Config) -> dict[str, tuple[str, str]]:
    """Monitors whose labels are copied → (topic they come from, topic of the predictions, "" for none)."""
    return {
        name: (monitor.labels.repartition, monitor.predictions.topic if monitor.predictions else "")
        for name, monitor in config.monitors.items()
        if monitor.labels is not None and monitor.labels.repartition
    }


def _copy_topics(config: Config, counts: Mapping[str, int]) -> list[Required]:
    """Topics that labels are copied to: as many partitions as the predictions, kept as long as a join needs them."""
    found = {}
    for name, (copied, predictions) in label_copies(config).items():
        topic, horizon = config.monitors[name].streams["labels"].topic, config.monitors[name].join.horizon
        partitions = counts.get(predictions or copied)
        if partitions:
            kept = {"cleanup.policy": "delete", "retention.ms": str(2 * horizon + 7 * _DAY_MS)}
            # the label's own time stamp goes along: it is what the join and its panes go by
            found[topic] = Required(topic, "labels", partitions, kept | {"message.timestamp.type": "CreateTime"})
    return list(found.values())


def create_topics(admin: AdminClient, config: Config) -> list[str]:
    """Make those of our own topics that don't exist; their names.

    Raises:
        ConfigError: a broker refuses.
    """
    counts = partition_counts(admin)
    new = [
        NewTopic(topic.name, topic.partitions, config.topics.replication, config=dict(topic.settings))
        for topic in [*required_topics(config), *_copy_topics(config, counts)]
        if topic.name not in counts
    ]
    if not new:
        return []
    made = []
    for name, future in admin.create_topics(new, operation_timeout=_ANSWER_S).items():
        try:
            future.result(_ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                missing = missing_right(error.args[0], "CREATE", name)
                raise missing or ConfigError(
                    f"topic {name} can't be created: {error.args[0].str()}", key="topics"
                ) from error
        else:
            made.append(name)
    _wait_until_seen(admin, made)
    return sorted(made)


def _wait_until_seen(admin: AdminClient, names: Iterable[str]) -> None:
    """A new topic is in a broker's metadata only some moments after its creation was confirmed."""
    deadline = time.monotonic() + _ANSWER_S
    while (unseen := set(names) - partition_counts(admin).keys()) and time.monotonic() < deadline:
        LOG.debug("waiting until the brokers know of %s", ", ".join(sorted(unseen)))
        time.sleep(0.1)

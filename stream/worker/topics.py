"""driftbus's own topics: what they have to be like, whether they are, and making them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from driftbus.schemas.config import Config, KafkaConfig
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.stream.plan import topics_of
from driftbus.stream.transport.admin import Admin
from driftbus.stream.transport.rights import RIGHTS, missing_right

LOG = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_ANSWER_S = 15.0
_SETTINGS_S = 3.0
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


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a topic that keeps the worker from starting.

    Args:
        topic: which.
        message: what is wrong.
        fix: what to do.
        missing: True when it does not exist.
    """

    topic: str
    message: str
    fix: str
    missing: bool = False


def required_topics(config: Config) -> list[Required]:
    """driftbus's own topics, with the settings they are made with."""
    names, shards = config.topics, config.topics.summaries_partitions
    kept = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}
    # read in any language, and not every client knows lz4, which the worker writes
    plain = {"compression.type": "uncompressed"}
    compact = {"cleanup.policy": "compact"}
    return [
        Required(
            names.summaries,
            "summaries",
            shards,
            {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS), "max.message.bytes": _LARGE},
            exact=True,
        ),
        Required(names.drift, "drift", 1, kept | plain),
        Required(names.incidents, "incidents", 1, kept | plain | {"max.message.bytes": _LARGE}),
        Required(names.performance, "performance", 1, kept | plain),
        Required(names.retrain, "retrain", 1, kept | plain),
        # a snapshot is rewritten every minute: short segments let the cleaner get at the old ones
        Required(names.state, "state", shards, compact | {"segment.ms": "3600000"}, exact=True),
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


def check_topics(admin: AdminClient, config: Config) -> list[Problem]:
    """What is wrong with the topics of a configuration, source topics included.

    Raises:
        Unavailable: no broker answers.
    """
    counts = partition_counts(admin)
    copies = label_copies(config)
    read = {topic: f"monitors.{pairs[0][0]}.{pairs[0][1]}" for topic, pairs in topics_of(config).items()}
    read |= {copied: f"monitors.{name}.labels" for name, (copied, _) in copies.items()}
    made = {config.monitors[name].streams["labels"].topic for name in copies}
    problems = [
        _absent(
            admin,
            topic,
            "run `driftbus topics --create`" if topic in made else f"it is read by {reader}; create it",
        )
        for topic, reader in read.items()
        if topic not in counts
    ]
    required = required_topics(config)
    for topic in required:
        if topic.name not in counts:
            problems.append(_absent(admin, topic.name, "run `driftbus topics --create`"))
        elif topic.exact and counts[topic.name] != topic.partitions:
            problems.append(
                Problem(
                    topic.name,
                    f"has {counts[topic.name]} partitions instead of {topic.partitions}",
                    f"write topics.summaries_partitions: {counts[topic.name]}, or name another topic as "
                    f"topics.{topic.role}; the number is fixed for the life of the system",
                )
            )
    present = [topic for topic in required if topic.name in counts]
    policies = _policies(admin, [topic.name for topic in present])
    for topic in present:
        wanted, policy = topic.settings["cleanup.policy"], policies.get(topic.name)
        if policy is not None and wanted not in policy.split(","):
            problems.append(
                Problem(
                    topic.name,
                    f"has cleanup.policy={policy} instead of {wanted}",
                    f"kafka-configs --alter --entity-type topics --entity-name {topic.name} "
                    f"--add-config cleanup.policy={wanted}",
                )
            )
    return problems


def _absent(admin: AdminClient, topic: str, fix: str) -> Problem:
    """A topic that is not shown: because it is not there, or because we may not see it."""
    if isinstance(admin, Admin) and admin.is_hidden(topic):
        return Problem(topic, "is not there, or this login may not DESCRIBE it", f"{RIGHTS}; {fix}", missing=True)
    return Problem(topic, "does not exist", fix, missing=True)


def require_topics(admin: AdminClient, config: Config) -> dict[str, int]:
    """Topic → number of partitions, when everything is in order.

    Raises:
        ConfigError: something is not, with all of it and the fixes.
        Unavailable: no broker answers.
    """
    problems = check_topics(admin, config)
    if problems:
        raise ConfigError(
            "; ".join(f"topic {p.topic} {p.message}" for p in problems),
            key="topics",
            fix="; ".join(dict.fromkeys(p.fix for p in problems)),
        )
    return partition_counts(admin)


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


def _policies(admin: AdminClient, names: Iterable[str]) -> dict[str, str]:
    """Topic → cleanup.policy, as far as we are allowed to see it and the brokers tell."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    policies: dict[str, str] = {}
    asked = admin.describe_configs(resources, request_timeout=_SETTINGS_S) if resources else {}
    for resource, future in asked.items():
        try:
            settings = future.result(_ANSWER_S)
        except (KafkaException, TimeoutError) as error:
            LOG.info("settings of topic %s can't be seen: %s", resource.name, error)
        else:
            policies[resource.name] = settings["cleanup.policy"].value
    return policies

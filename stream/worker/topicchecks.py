"""What is wrong with topics, ours and those that are read: the same for a worker's start, `topics` and `doctor`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.plan import topics_of
from driftbus.stream.transport.admin import Admin
from driftbus.stream.transport.rights import RIGHTS
from driftbus.stream.worker.topicrules import problems_of_settings
from driftbus.stream.worker.topics import label_copies, partition_counts, required_topics

LOG = logging.getLogger(__name__)

_ANSWER_S = 15.0
_SETTINGS_S = 3.0

Gravity = Literal["stops", "harms", "advice"]
"""A worker does not start with it; it starts and says so; it could be better."""

Settings = Mapping[str, str | None]
"""Name of a topic's setting → its value."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a topic.

    Args:
        topic: which.
        aspect: what of it, as a word or the name of a setting.
        message: what is wrong.
        fix: what to do.
        gravity: what follows.
        missing: True when it does not exist.
    """

    topic: str
    aspect: str
    message: str
    fix: str
    gravity: Gravity = "stops"
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was seen of the topics of a configuration.

    Args:
        counts: topic → number of partitions, of all that can be seen.
        settings: topic → its settings, of those that may be seen.
        problems: what is wrong.
    """

    counts: Mapping[str, int]
    settings: Mapping[str, Settings]
    problems: list[Problem]


def survey_topics(admin: AdminClient, config: Config) -> Surveyed:
    """Look at the topics of a configuration, source topics included.

    Raises:
        Unavailable: no broker answers.
    """
    counts = partition_counts(admin)
    wanted = [*sources_of(config), *(topic.name for topic in required_topics(config))]
    settings = topic_settings(admin, [name for name in wanted if name in counts])
    problems = [*_partitions(admin, config, counts)]
    for rule in problems_of_settings(config, settings):
        problems.append(Problem(rule.topic, rule.setting, rule.message, alter(rule.topic, rule.changed), rule.gravity))
    return Surveyed(counts, settings, problems)


def require_topics(admin: AdminClient, config: Config) -> dict[str, int]:
    """Topic → number of partitions, when everything is in order; what only harms is warned of.

    Raises:
        ConfigError: something is not, with all of it and the fixes.
        Unavailable: no broker answers.
    """
    seen = survey_topics(admin, config)
    for problem in seen.problems:
        if problem.gravity == "harms":
            LOG.warning("topic %s %s: %s", problem.topic, problem.message, problem.fix)
    if grave := [problem for problem in seen.problems if problem.gravity == "stops"]:
        raise ConfigError(
            "; ".join(f"topic {p.topic} {p.message}" for p in grave),
            key="topics",
            fix="; ".join(dict.fromkeys(p.fix for p in grave)),
        )
    return dict(seen.counts)


def sources_of(config: Config) -> dict[str, str]:
    """Topic that is read → the key of the configuration that says so."""
    read = {topic: f"monitors.{pairs[0][0]}.{pairs[0][1]}" for topic, pairs in topics_of(config).items()}
    return read | {copied: f"monitors.{name}.labels" for name, (copied, _) in label_copies(config).items()}


def topic_settings(admin: AdminClient, names: Iterable[str]) -> dict[str, Settings]:
    """Topic → its settings, as far as we are allowed to see them and the brokers tell."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found: dict[str, Settings] = {}
    asked = admin.describe_configs(resources, request_timeout=_SETTINGS_S) if resources else {}
    for resource, future in asked.items():
        try:
            settings = future.result(_ANSWER_S)
        except (KafkaException, TimeoutError) as error:
            LOG.info("settings of topic %s can't be seen: %s", resource.name, error)
        else:
            found[resource.name] = {name: entry.value for name, entry in settings.items()}
    return found


def alter(topic: str, changed: Mapping[str, str]) -> str:
    """The command that changes settings of a topic."""
    settings = ",".join(f"{name}={'[' + value + ']' if ',' in value else value}" for name, value in changed.items())
    return (
        f"kafka-configs.sh --bootstrap-server BOOTSTRAP:9092 --alter --entity-type topics --entity-name {topic} "
        f"--add-config {settings}"
    )


def _partitions(admin: AdminClient, config: Config, counts: Mapping[str, int]) -> list[Problem]:
    copies = label_copies(config)
    made = {config.monitors[name].streams["labels"].topic for name in copies}
    problems = [
        _absent(admin, topic, "run `driftbus topics --create`" if topic in made else f"{reader} reads it: create it")
        for topic, reader in sources_of(config).items()
        if topic not in counts
    ]
    for topic in required_topics(config):
        if topic.name not in counts:
            problems.append(_absent(admin, topic.name, "run `driftbus topics --create`"))
        elif topic.exact and counts[topic.name] != topic.partitions:
            problems.append(
                Problem(
                    topic.name,
                    "partitions",
                    f"has {counts[topic.name]} partitions instead of {topic.partitions}",
                    f"write topics.summaries_partitions: {counts[topic.name]}, or name another topic as "
                    f"topics.{topic.role}; the number is fixed for the life of the system",
                )
            )
    return problems


def _absent(admin: AdminClient, topic: str, fix: str) -> Problem:
    """A topic that is not shown: because it is not there, or because we may not see it."""
    if isinstance(admin, Admin) and admin.is_hidden(topic):
        said = "is not there, or this login may not DESCRIBE it"
        return Problem(topic, "existence", said, f"{RIGHTS}; {fix}", missing=True)
    return Problem(topic, "existence", "does not exist", fix, missing=True)

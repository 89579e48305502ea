"""The least rights on Kafka that each command needs: a function of the configuration, without a connection.

What Kafka itself takes for granted is left out: READ and WRITE allow to DESCRIBE, and since Kafka 3.0 whoever may
write to a topic may do so as an idempotent producer. Readers that join no group need no right on any group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from driftbus.schemas.config import Config
from driftbus.stream.plan import topics_of
from driftbus.stream.worker.topics import label_copies

Operation = Literal["READ", "WRITE", "DESCRIBE", "CREATE", "DESCRIBE_CONFIGS"]
Resource = Literal["topic", "group"]

_IMPLY_DESCRIBE = ("READ", "WRITE")


@dataclass(frozen=True, slots=True)
class Right:
    """Leave to do one thing to one resource, which is named literally.

    Args:
        resource: what kind it is of.
        name: which.
        operation: what is done to it.
        reason: what for, in a few words.
        optional: the command works without it, and sees less.
    """

    resource: Resource
    name: str
    operation: Operation
    reason: str
    optional: bool = False

    @property
    def what(self) -> tuple[Resource, str, Operation]:
        """The right without its reason."""
        return self.resource, self.name, self.operation


def _topic(operation: Operation, name: str, reason: str) -> Right:
    return Right("topic", name, operation, reason)


def run_rights(config: Config) -> list[Right]:
    """Of workers."""
    names, copies = config.topics, label_copies(config)
    outcomes = any(monitor.outcomes != "none" for monitor in config.monitors.values())
    found = [
        Right("group", config.app, "READ", "workers share partitions as one consumer group"),
        *_read_sources(config),
        *(_topic("READ", copied, f"labels of {monitor} are copied") for monitor, (copied, _) in copies.items()),
        *(
            _topic("WRITE", config.monitors[monitor].streams["labels"].topic, f"labels of {monitor} are copied to it")
            for monitor in copies
        ),
        _topic("WRITE", names.summaries, "counts of each range of offsets"),
        _topic("READ", names.summaries, "counts are judged"),
        _topic("WRITE", names.drift, "drift events"),
        _topic("WRITE", names.incidents, "incidents"),
        _topic("WRITE", names.performance, "reports and comparisons")
        if outcomes
        else _topic("DESCRIBE", names.performance, "it must exist; nothing is written before there are labels"),
        _topic("WRITE", names.retrain, "retrain triggers"),
        _topic("WRITE", names.state, "snapshots"),
        _topic("READ", names.state, "snapshots are restored"),
        _topic("WRITE", names.deadletter, "records that can't be counted"),
    ]
    if _reads_profiles(config):
        found.append(_topic("READ", names.profiles, "profiles"))
    else:
        found.append(_topic("DESCRIBE", names.profiles, "it must exist; all profiles are in files"))
    if not _all_in_files(config):
        learned = "profiles that are learned; not when all are published beforehand"
        found.append(Right("topic", names.profiles, "WRITE", learned, optional=True))
    return _merged(found)


def topics_rights(config: Config) -> list[Right]:
    """Of ``driftbus topics``."""
    return _merged(
        [
            *(_topic("DESCRIBE", topic, "it must exist") for topic in _sources(config)),
            *(_topic("DESCRIBE", topic, "whether it exists, its partitions") for topic in _own(config)),
            *(_settings(topic) for topic in _own(config)),
        ]
    )


def create_rights(config: Config) -> list[Right]:
    """Of ``driftbus topics --create``."""
    made = [*_own(config), *(config.monitors[name].streams["labels"].topic for name in label_copies(config))]
    return _merged([*(_topic("CREATE", topic, "it is made") for topic in made), *topics_rights(config)])


def replay_rights(config: Config) -> list[Right]:
    """Of ``driftbus replay`` and ``driftbus gate`` over topics."""
    found = _read_sources(config)
    if _reads_profiles(config):
        found.append(_topic("READ", config.topics.profiles, "profiles"))
    return _merged(found)


def explain_rights(config: Config) -> list[Right]:
    """Of ``driftbus explain``."""
    names = config.topics
    return [
        _topic("READ", names.incidents, "incidents are listed and told"),
        _topic("READ", names.drift, "episodes are told, for `explain ID`"),
    ]


def dlq_rights(config: Config) -> list[Right]:
    """Of ``driftbus dlq ls`` and ``driftbus dlq show``."""
    return [_topic("READ", config.topics.deadletter, "dead letters are listed")]


def dlq_replay_rights(config: Config) -> list[Right]:
    """Of ``driftbus dlq replay``."""
    back = [_topic("WRITE", topic, "dead letters go back to where they came from") for topic in _sources(config)]
    return _merged([*dlq_rights(config), *back])


def retrain_rights(config: Config) -> list[Right]:
    """Of ``driftbus retrain``."""
    return [_topic("WRITE", config.topics.summaries, "the command is a record among the summaries")]


def profile_rights(config: Config) -> list[Right]:
    """Of ``driftbus profile --publish``."""
    return [_topic("WRITE", config.topics.profiles, "the profile is published")]


def producer_rights(config: Config) -> list[Right]:
    """Of whoever writes what is watched, with `driftbus.Producer` or another client."""
    copies = dict(label_copies(config).values())
    copied = {config.monitors[name].streams["labels"].topic for name in label_copies(config)}
    return _merged(
        [
            *(_topic("WRITE", topic, "events that are watched") for topic in topics_of(config) if topic not in copied),
            *(_topic("WRITE", topic, "labels, which workers copy") for topic in copies),
        ]
    )


def doctor_rights(config: Config) -> list[Right]:
    """Of ``driftbus doctor``, which is run as the workers' user: theirs, and to see how topics are set."""
    return _merged([*run_rights(config), *(_settings(topic) for topic in [*_own(config), *_sources(config)])])


RIGHTS = {
    "run": run_rights,
    "doctor": doctor_rights,
    "topics": topics_rights,
    "topics --create": create_rights,
    "profile --publish": profile_rights,
    "replay": replay_rights,
    "gate": replay_rights,
    "explain": explain_rights,
    "retrain": retrain_rights,
    "dlq": dlq_rights,
    "dlq replay": dlq_replay_rights,
    "producers": producer_rights,
}
"""Command → what it needs; `producers` are those who write what is watched."""


def _sources(config: Config) -> list[str]:
    """Topics that are read: those of the streams, and labels that are copied."""
    return list(dict.fromkeys([*topics_of(config), *(copied for copied, _ in label_copies(config).values())]))


def _own(config: Config) -> list[str]:
    names = config.topics
    return [
        names.summaries, names.drift, names.incidents, names.performance, names.retrain, names.state, names.profiles,
        names.deadletter,
    ]  # fmt: skip


def _read_sources(config: Config) -> list[Right]:
    return [
        _topic("READ", topic, ", ".join(f"{stream} of {name}" for name, stream in pairs))
        for topic, pairs in topics_of(config).items()
    ]


def _settings(topic: str) -> Right:
    return Right("topic", topic, "DESCRIBE_CONFIGS", "how it is kept: compaction, retention, sizes", optional=True)


def _all_in_files(config: Config) -> bool:
    return all(monitor.profile and len(monitor.streams) == 1 for monitor in config.monitors.values())


def _reads_profiles(config: Config) -> bool:
    versions = any(stream.version for monitor in config.monitors.values() for stream in monitor.streams.values())
    return versions or not _all_in_files(config)


def _merged(rights: Iterable[Right]) -> list[Right]:
    """Each right once, the reasons put together; without those that another implies."""
    found: dict[tuple[Resource, str, Operation], Right] = {}
    for right in rights:
        known = found.get(right.what)
        if known is None:
            found[right.what] = right
        elif right.reason not in known.reason:
            both = f"{known.reason}; {right.reason}"
            found[right.what] = Right(*right.what, both, known.optional and right.optional)
    able = {(r.resource, r.name) for r in found.values() if r.operation in _IMPLY_DESCRIBE}
    return [r for r in found.values() if not (r.operation == "DESCRIBE" and (r.resource, r.name) in able)]

"""Where profiles are kept: in files, or on the profiles topic under the key ``monitor/stream`` or, for a version of the
model with a profile of its own, ``monitor/stream/version``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaError, Producer

from driftbus.detectors.profile import Profile
from driftbus.schemas.codec import pack_profile, unpack_profile
from driftbus.schemas.config import Config, KafkaConfig
from driftbus.schemas.errors import ConfigError, DecodeError, StateError, Unavailable
from driftbus.stream.files.training import load_profile
from driftbus.stream.transport.rights import missing_right, writing
from driftbus.stream.worker.readback import read_to_end

Key = tuple[str, str]
"""(monitor, stream)."""

_PATIENCE_S = 30.0

MOST_VERSIONS = 8
"""Versions of a stream that have profiles of their own: the newest."""


def find_profiles(config: Config, partitions: int) -> dict[Key, Profile]:
    """The profiles of a configuration's streams, as far as there are any: files first, then the topic.

    Args:
        config: names files and the topic.
        partitions: of the profiles topic.

    Raises:
        ConfigError: a file can't be read, or is of another monitor or stream.
        StateError: a record of the topic can't be read.
        Unavailable: the brokers don't answer.
    """
    wanted = [(name, stream) for name, monitor in config.monitors.items() for stream in monitor.streams]
    found = _from_files(config)
    if any(key not in found for key in wanted):
        published = read_profiles(config.kafka, config.topics.profiles, range(partitions))
        found = {key: profile for key, profile in published.items() if key in wanted} | found
    return found


def find_own_profiles(config: Config, partitions: int) -> list[Profile]:
    """The profiles of versions, from files and from the topic: the newest of each stream.

    Args:
        config: names files and the topic.
        partitions: of the profiles topic.

    Raises:
        ConfigError: a file can't be read, or is of another monitor, stream or version.
        StateError: a record of the topic can't be read.
        Unavailable: the brokers don't answer.
    """
    able = {(n, s) for n, m in config.monitors.items() for s, stream in m.streams.items() if stream.version}
    found: dict[tuple[str, str, str], Profile] = {}
    if able and partitions:
        for profile in _read(config.kafka, config.topics.profiles, range(partitions)):
            if profile.version and (profile.monitor, profile.stream) in able:
                found[profile.monitor, profile.stream, profile.version] = profile
    for name, monitor in config.monitors.items():
        for version, path in monitor.profiles.items():
            profile = replace(load_profile(Path(path)), version=version)
            _check_whose(profile, name, config, path, f"monitors.{name}.profiles.{version}")
            found[name, profile.stream, version] = profile
    kept: list[Profile] = []
    for name, stream in sorted(able):
        mine = [p for p in found.values() if (p.monitor, p.stream) == (name, stream)]
        kept += sorted(mine, key=lambda p: (p.created_ms, p.version))[-MOST_VERSIONS:]
    return kept


def read_profiles(kafka: KafkaConfig, topic: str, partitions: Iterable[int]) -> dict[Key, Profile]:
    """All profiles on the profiles topic that are not of one version, the newest of each stream.

    Raises:
        StateError: a record can't be read.
        Unavailable: the brokers don't answer.
    """
    found = _read(kafka, topic, partitions)
    return {(profile.monitor, profile.stream): profile for profile in found if not profile.version}


def _read(kafka: KafkaConfig, topic: str, partitions: Iterable[int]) -> list[Profile]:
    """The newest profile of each key."""
    newest: dict[str, bytes] = {}
    for record in read_to_end(kafka.librdkafka(), topic, partitions):
        key, value = (record.key() or b"").decode(errors="replace"), record.value()
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    return [_unpacked(value, key, topic) for key, value in newest.items()]


def key_of(profile: Profile) -> str:
    """The key of its record."""
    return "/".join((profile.monitor, profile.stream, *([profile.version] if profile.version else [])))


def _unpacked(value: bytes, key: str, topic: str) -> Profile:
    try:
        return Profile.from_dict(unpack_profile(value))
    except (DecodeError, ValueError) as error:
        raise StateError(
            f"the profile {key!r} on topic {topic} can't be read: {error}. Publish it again with "
            "`driftbus profile --publish`"
        ) from error


def publish_profile(kafka: KafkaConfig, topic: str, profile: Profile) -> None:
    """Put a profile on the profiles topic; returns when it is acknowledged.

    Raises:
        ConfigError: we may not write to it.
        Unavailable: the topic did not take it.
    """
    refused: list[KafkaError] = []
    properties = {
        "enable.idempotence": True,
        "delivery.timeout.ms": int(_PATIENCE_S * 1000),
        "message.max.bytes": 16 << 20,
    }
    producer = Producer(properties | kafka.librdkafka(), logger=logging.getLogger("librdkafka"))
    producer.produce(
        topic,
        pack_profile(profile.to_dict()),
        key_of(profile),
        on_delivery=lambda error, _: refused.append(error) if error is not None else None,
    )
    with writing(topic):
        left = producer.flush(_PATIENCE_S + 1.0)
    if refused and (missing := missing_right(refused[0], "WRITE", topic)) is not None:
        raise missing
    if refused or left:
        raise Unavailable(f"topic {topic} did not take the profile: {refused[0].str() if refused else 'no answer'}")


def publish_once(kafka: KafkaConfig, topic: str, partitions: Iterable[int], profile: Profile) -> Profile:
    """Put a learned profile on the profiles topic unless another worker was faster; the one that counts.

    Of several workers that learn at the same time, the first record counts. A worker that came
    later puts that one after its own, so that the newest record is the one that counts as well.
    """
    places, key = list(partitions), f"{profile.monitor}/{profile.stream}"
    if not _records(kafka, topic, places, key):
        publish_profile(kafka, topic, profile)
    records = _records(kafka, topic, places, key)
    first, last = _unpacked(records[0], key, topic), _unpacked(records[-1], key, topic)
    if first.profile_id != last.profile_id:
        publish_profile(kafka, topic, first)
    return first


def _records(kafka: KafkaConfig, topic: str, partitions: Iterable[int], key: str) -> list[bytes]:
    """Values with a key since its last tombstone, in order."""
    found: list[bytes] = []
    for record in read_to_end(kafka.librdkafka(), topic, partitions):
        if record.key() == key.encode():
            value = record.value()
            found = [] if value is None else [*found, value]
    return found


def _from_files(config: Config) -> dict[Key, Profile]:
    found: dict[Key, Profile] = {}
    for name, monitor in config.monitors.items():
        if monitor.profile is None:
            continue
        profile = load_profile(Path(monitor.profile))
        _check_whose(profile, name, config, monitor.profile, f"monitors.{name}.profile")
        found[name, profile.stream] = profile
    return found


def _check_whose(profile: Profile, name: str, config: Config, path: str, key: str) -> None:
    if profile.monitor != name or profile.stream not in config.monitors[name].streams:
        raise ConfigError(
            f"{path} is the profile of monitor {profile.monitor}, stream {profile.stream}",
            key=key,
            fix=f"make one with `driftbus profile DATA --monitor {name}`",
        )

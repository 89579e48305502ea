"""Where profiles are kept: in files, or on the profiles topic under the key ``monitor/stream``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import Producer

from driftbus.detectors.profile import Profile
from driftbus.schemas.codec import pack_profile, unpack_profile
from driftbus.schemas.config import Config, KafkaConfig
from driftbus.schemas.errors import ConfigError, DecodeError, StateError, Unavailable
from driftbus.stream.files.training import load_profile
from driftbus.stream.worker.readback import read_to_end

Key = tuple[str, str]
"""(monitor, stream)."""

_PATIENCE_S = 30.0


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


def read_profiles(kafka: KafkaConfig, topic: str, partitions: Iterable[int]) -> dict[Key, Profile]:
    """All profiles on the profiles topic, the newest of each stream.

    Raises:
        StateError: a record can't be read.
        Unavailable: the brokers don't answer.
    """
    newest: dict[str, bytes] = {}
    for record in read_to_end(kafka.librdkafka(), topic, partitions):
        key, value = (record.key() or b"").decode(errors="replace"), record.value()
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    profiles = [_unpacked(value, key, topic) for key, value in newest.items()]
    return {(profile.monitor, profile.stream): profile for profile in profiles}


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
        Unavailable: the topic did not take it.
    """
    refused: list[str] = []
    properties = {
        "enable.idempotence": True,
        "delivery.timeout.ms": int(_PATIENCE_S * 1000),
        "message.max.bytes": 16 << 20,
    }
    producer = Producer(properties | kafka.librdkafka(), logger=logging.getLogger("librdkafka"))
    producer.produce(
        topic,
        pack_profile(profile.to_dict()),
        f"{profile.monitor}/{profile.stream}",
        on_delivery=lambda error, _: refused.append(error.str()) if error is not None else None,
    )
    left = producer.flush(_PATIENCE_S + 1.0)
    if refused or left:
        raise Unavailable(f"topic {topic} did not take the profile: {refused[0] if refused else 'no answer'}")


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
        if profile.monitor != name or profile.stream not in monitor.streams:
            raise ConfigError(
                f"{monitor.profile} is the profile of monitor {profile.monitor}, stream {profile.stream}",
                key=f"monitors.{name}.profile",
                fix=f"make one with `driftbus profile DATA --monitor {name}`",
            )
        found[name, profile.stream] = profile
    return found

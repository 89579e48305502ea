"""Columns that a profile has and the newest records of its topic lack: told at the start, before they are all null."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from confluent_kafka import KafkaException

from driftbus.detectors.profile import Profile
from driftbus.schemas import textparts, vectorparts
from driftbus.schemas.config import Config
from driftbus.schemas.errors import DriftbusError
from driftbus.schemas.fields import FieldType, field_types
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.plan import column_path, field_path
from driftbus.stream.setup.peek import newest, resolver_of, schema_and_body

LOG = logging.getLogger(__name__)

_TOLD = 10


def lacking(profile: Profile, stream: StreamConfig, fields: Mapping[str, FieldType]) -> list[str]:
    """Paths of the profile's columns that a schema doesn't have; none when it has maps, whose keys no schema tells."""
    if any(kind.kind.startswith("map") for kind in fields.values()):
        return []
    texts = textparts.derived_columns([column.name for column in profile.columns])
    paths = [
        field_path(stream, texts[column.name][0]) if column.name in texts else column_path(stream, column)
        for column in profile.columns
    ]
    vectors = vectorparts.derived_columns(paths)
    return [path for path in dict.fromkeys(vectors.get(path, path) for path in paths) if path not in fields]


def warn_of_lacking(config: Config, profiles: Mapping[tuple[str, str], Profile], partitions: Mapping[str, int]) -> None:
    """Look at the newest record of each topic and warn; what can't be looked at now is passed over."""
    for (monitor, stream), profile in sorted(profiles.items()):
        topic = config.monitors[monitor].streams[stream].topic
        try:
            said = told_lacking(config, profile, partitions[topic])
        except (DriftbusError, KafkaException) as error:
            LOG.debug("the schema of %s can't be looked at: %s", topic, error)
            continue
        if said:
            LOG.warning("%s/%s: %s. %s", monitor, stream, said, FIX)


FIX = "Make the profile again, or map them under rename"


def told_lacking(config: Config, profile: Profile, partitions: int) -> str:
    """Which columns of a profile its topic lacks, in a sentence; "" for none.

    Raises:
        DriftbusError, KafkaException: its newest record can't be looked at.
    """
    settings = config.monitors[profile.monitor].streams[profile.stream]
    fields = _newest_fields(config, settings.topic, partitions)
    absent = lacking(profile, settings, fields) if fields is not None else []
    if not absent:
        return ""
    more = f" and {len(absent) - _TOLD} more" if len(absent) > _TOLD else ""
    return (
        f"the profile has columns that the newest records of topic {settings.topic} lack: "
        f"{', '.join(absent[:_TOLD])}{more}. They will be null"
    )


def _newest_fields(config: Config, topic: str, partitions: int) -> dict[str, FieldType] | None:
    found = newest(config.kafka.librdkafka(), topic, range(partitions), 1)
    last = max(found, key=lambda message: (message.timestamp()[1], message.partition() or 0), default=None)
    value = last.value() if last is not None else None
    if last is None or value is None:
        return None
    headers = cast("list[tuple[str, bytes | None]]", last.headers() or [])
    schema, _ = schema_and_body(value, headers, resolver_of(config, topic))
    return field_types(schema)

"""What is read: whether the newest records decode, have the fields that are mapped, and sane event times."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from numpy.typing import NDArray

from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.decode.batch import BatchDecoder, Decoded, Headers, Resolver
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.doctor.finding import Finding, advice, not_checked, ok, wrong
from driftbus.stream.eventtimes import refused_times
from driftbus.stream.files.filetimes import when
from driftbus.stream.plan import topics_of
from driftbus.stream.setup.peek import newest

_SAMPLE = 100
_YEAR_2000_MS = 946_684_800_000
_CLOCK_S = 5.0
_CLOCK_WRONG_S = 300.0
_UNITS = {"s": 1_000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}

_FIXES = {
    "unknown_schema": "Write the registry that the producers use as registry.url, or the schema's file as schema_file",
    "bad_magic": "Its values carry no schema id: write schema_file under {key}, or have the producer use a registry",
    "bad_schema": "Register an Avro schema for this topic",
    "null_value": "Tombstones are refused: write the records of this topic without them",
    "too_large": "Raise limits.record_bytes",
}


def look_at_source(config: Config, topic: str, partitions: int, resolver: Resolver) -> Iterator[Finding]:
    """The newest records of a topic, read without a group.

    Raises:
        Unavailable: brokers or registry don't answer.
        KafkaException: the brokers refuse.
    """
    messages = newest(config.kafka.librdkafka(), topic, range(partitions), _SAMPLE)
    (name, stream), *_ = topics_of(config)[topic]
    key, settings = f"monitors.{name}.{stream}", config.monitors[name].streams[stream]
    id_, what = f"records.{topic}", f"records of {topic}"
    if not messages:
        yield not_checked(id_, what, "there is none yet")
        return
    wanted = _mapped(config, topic)
    projection = Projection((), tuple(sorted({*wanted} - {settings.time})), settings.time, settings.time_unit)
    decoder = BatchDecoder(projection, resolver, max_bytes=config.limits.record_bytes)
    decoded = decoder.decode([m.value() for m in messages], lambda row: cast(Headers, messages[row].headers() or ()))
    yield _readable(id_, what, key, messages, decoded)
    if decoded.good.any():
        yield from _fields(topic, wanted, decoded)
        yield _times(config, topic, key, settings, messages, decoded)
    if messages[0].timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
        latest = max(message.timestamp()[1] for message in messages) / 1_000
        yield clock_finding(f"clock.{topic}", "this clock, by the brokers'", min(0.0, time.time() - latest))


def clock_finding(id_: str, what: str, ahead_s: float) -> Finding:
    """How far this machine's clock is from another's."""
    said = f"this machine's clock is {abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
    fix = "Let both machines follow a time server: timedatectl set-ntp true"
    if abs(ahead_s) > _CLOCK_WRONG_S:
        return wrong(id_, what, said, fix)
    if abs(ahead_s) > _CLOCK_S:
        return advice(id_, what, said, fix)
    return ok(id_, what, f"within {_CLOCK_S:g} s")


def _mapped(config: Config, topic: str) -> dict[str, str]:
    """Field that the configuration names → the key that names it."""
    found: dict[str, str] = {}
    for name, stream in topics_of(config)[topic]:
        monitor = config.monitors[name]
        settings, key = monitor.streams[stream], f"monitors.{name}.{stream}"
        for role in ("time", "id", "score", "prediction", "label", "prediction_time", "version"):
            if getattr(settings, role):
                found.setdefault(getattr(settings, role), f"{key}.{role}")
        for field in settings.where:
            found.setdefault(field, f"{key}.where")
        for field in settings.categorical + settings.text:
            found.setdefault(field, key)
        if stream != "labels":
            renamed = {column: path for path, column in settings.rename.items()}
            for field in monitor.segments:
                found.setdefault(renamed.get(field, field), f"monitors.{name}.segments")
    return found


def _readable(id_: str, what: str, key: str, messages: Sequence[Message], decoded: Decoded) -> Finding:
    count, bad = len(messages), decoded.bad
    if not bad:
        return ok(id_, what, f"the newest {count} can be read")
    row, reason, said = bad[0]
    place = f"{messages[row].topic()}[{messages[row].partition()}]@{messages[row].offset()}"
    fix = _FIXES.get(reason, "Compare the schema with which they were written: `driftbus dlq show` takes one apart")
    told = f"{len(bad)} of the newest {count} can't be read, {place}: {reason}: {said}"
    return (wrong if len(bad) == count else advice)(id_, what, told, fix.format(key=key))


def _fields(topic: str, wanted: Mapping[str, str], decoded: Decoded) -> Iterator[Finding]:
    id_, what = f"fields.{topic}", f"fields of {topic}"
    fields = {path: kind for writer in decoded.block.writers for path, kind in writer.fields}
    if not fields:
        yield not_checked(id_, what, "no schema was seen")
        return
    maps = [path for path, kind in fields.items() if kind.startswith("map")]
    absent = {
        field: key
        for field, key in wanted.items()
        if field not in fields and not any(field.startswith((path + ".", path + "[")) for path in maps)
    }
    for field, key in absent.items():
        close = difflib.get_close_matches(field, fields, n=1)
        fix = f"Write {close[0]} as {key}" if close else f"Correct {key}; there are: {', '.join(list(fields)[:12])}"
        yield wrong(f"{id_}.{field}", what, f"the newest schema has no field {field!r}, which {key} names", fix)
    if not absent:
        yield ok(id_, what, f"the schema has all {len(wanted)} that are mapped" if wanted else "none is mapped by name")


def _times(
    config: Config, topic: str, key: str, settings: StreamConfig, messages: Sequence[Message], decoded: Decoded
) -> Finding:
    id_, what = f"times.{topic}", f"event times of {topic}"
    stamps = np.array([m.timestamp()[1] if m.timestamp()[0] else -1 for m in messages], np.int64)
    times = decoded.block.time_ms if settings.time else stamps
    bad, reasons = refused_times(times, stamps, decoded.good, config.limits.future, settings.time)
    good = times[decoded.good & ~bad]
    unit = _other_unit(times[decoded.good], stamps[decoded.good], settings) if settings.time else ""
    if unit:
        usual, came = int(np.median(times[decoded.good])), int(np.median(stamps))
        said = f"they lie around {when(usual)}, but the records came around {when(came)}"
        return wrong(id_, what, said, f"Write time_unit: {unit} under {key}")
    if not good.size:
        return wrong(id_, what, reasons[0][1], f"Name a field that holds a time as {key}.time, with its time_unit")
    if reasons:
        said = f"{len(reasons)} of the newest {len(messages)} are refused: {reasons[0][1]}"
        return advice(id_, what, said, f"Repair what the producer writes as {settings.time or 'Kafka timestamp'}")
    behind = float(np.median(stamps[decoded.good & ~bad] - good))
    told = f"newest {when(int(good.max()))}"
    if settings.time and behind > 1_000:
        told += f", {format_duration(round(behind / 1_000) * 1_000)} before they came"
    return ok(id_, what, told)


def _other_unit(times: NDArray[np.int64], stamps: NDArray[np.int64], settings: StreamConfig) -> str:
    """The unit that the numbers must be in, when it is not the one that is written."""
    usual = float(np.median(times)) if times.size else 0.0
    came = float(np.median(stamps)) if stamps.size else 0.0
    if came <= _YEAR_2000_MS or usual <= 0 or 0.5 < usual / came < 1.5:
        return ""
    return next((u for u, f in _UNITS.items() if 0.8 < usual * f / _UNITS[settings.time_unit] / came < 1.2), "")

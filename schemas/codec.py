"""Typed bus values to Avro bytes and back.

``encode_*`` and ``decode_*`` work on bare Avro bodies. `encode_message`, `encode_event`, `pack_state` and
`pack_profile` give whole Kafka values: Avro single-object encoding, or Confluent framing where a registry
gave an id. Readers resolve by the schema the bytes were written with, so old bytes stay readable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import sha256
from io import BytesIO
from typing import Any, cast

from fastavro import schemaless_reader, schemaless_writer
from fastavro.schema import SchemaParseException

from driftbus.schemas.contracts import Contract, contract, writer_of
from driftbus.schemas.errors import DecodeError, StateError
from driftbus.schemas.events import (
    ComparisonEvent,
    DriftEvent,
    Entry,
    Finding,
    Group,
    Hint,
    Histogram,
    Incident,
    ManualRetrain,
    Member,
    MonitorState,
    OffsetRange,
    Published,
    Registration,
    RetrainTrigger,
    Source,
    SummaryPart,
)
from driftbus.schemas.fields import WriterFields
from driftbus.schemas.outcomeevents import MetricValue, Outcome, PerformanceReport

KINDS = ("final", "preview", "clock")
STATE_FORMAT = 1

_CONFLUENT = struct.Struct(">bI")
_DRIFT_FIELDS = tuple(f.name for f in fields(DriftEvent))
_RETRAIN_FIELDS = tuple(f.name for f in fields(RetrainTrigger))
_INCIDENT_FIELDS = tuple(f.name for f in fields(Incident))
_COMPARISON_FIELDS = tuple(f.name for f in fields(ComparisonEvent))
_STATE_FIX = (
    "Run the version that wrote it, or `driftbus state forget` the monitor: the judge then starts again from the "
    "summaries that are left"
)


def encode_part(part: SummaryPart) -> bytes:
    """The Avro body of a part."""
    source = part.source
    return _encode(
        "SummaryPart",
        {
            "kind": part.kind,
            "topic": source.topic,
            "partition": source.partition,
            "epoch": source.epoch,
            "base": part.base,
            "a": part.a,
            "b": part.b,
            "max_tick": part.max_tick,
            "entries": [
                {
                    "monitor": e.group.monitor,
                    "stream": e.group.stream,
                    "version": e.group.version,
                    "segment": e.group.segment,
                    "tick": e.tick,
                    "rows": e.rows,
                    "from_offset": e.from_offset,
                    "to_offset": e.to_offset,
                    "counts": e.counts,
                    "width": e.width,
                    "unseen": [{"column": c, "category": v, "count": n} for c, v, n in e.unseen],
                    "sample": e.sample,
                    "ids": e.ids,
                    "delays": e.delays,
                    "writers": e.writers,
                    "cohort": e.cohort,
                    "cells": e.cells,
                    "profile": e.profile,
                }
                for e in part.entries
            ],
            "schemas": [
                {
                    "fingerprint": s.fingerprint.to_bytes(8, "big"),
                    "fields": [{"path": path, "type": kind} for path, kind in s.fields],
                }
                for s in part.schemas
            ],
        },
    )


def decode_part(body: bytes, writer: Contract | None = None) -> SummaryPart:
    """A part from its Avro body.

    Args:
        body: bytes without framing.
        writer: schema it was written with; None: the current one.

    Raises:
        DecodeError: ``truncated``, ``trailing_bytes``, ``bad_body``, or ``bad_kind`` for a kind from the future.
    """
    r = _decode("SummaryPart", body, writer)
    if r["kind"] not in KINDS:
        raise DecodeError("bad_kind", f"a summary part of kind {r['kind']!r} is not understood by this version")
    entries = tuple(
        Entry(
            Group(e["monitor"], e["stream"], e["version"], e["segment"]),
            e["tick"],
            e["rows"],
            e["from_offset"],
            e["to_offset"],
            e["counts"],
            e["width"],
            tuple((u["column"], u["category"], u["count"]) for u in e["unseen"]),
            _raw(e["sample"]),
            _raw(e["ids"]),
            _raw(e["delays"]),
            _raw(e["writers"]),
            e["cohort"],
            _raw(e["cells"]),
            e["profile"],
        )
        for e in r["entries"]
    )
    schemas = tuple(
        WriterFields(int.from_bytes(s["fingerprint"], "big"), tuple((f["path"], f["type"]) for f in s["fields"]))
        for s in r["schemas"]
    )
    source = Source(r["topic"], r["partition"], r["epoch"])
    return SummaryPart(r["kind"], source, r["base"], r["a"], r["b"], r["max_tick"], entries, schemas)


def encode_manual(command: ManualRetrain) -> bytes:
    """The Avro body of a manual command."""
    return _encode("ManualRetrain", _flat(command))


def decode_manual(body: bytes, writer: Contract | None = None) -> ManualRetrain:
    """A manual command from its Avro body; raises DecodeError."""
    return ManualRetrain(**_decode("ManualRetrain", body, writer))


def encode_registration(registration: Registration) -> bytes:
    """The Avro body of a registration."""
    return _encode("Registration", _flat(registration) | {"monitors": dict(sorted(registration.monitors.items()))})


def decode_registration(body: bytes, writer: Contract | None = None) -> Registration:
    """A registration from its Avro body; raises DecodeError."""
    return Registration(**_decode("Registration", body, writer))


def encode_drift(event: DriftEvent) -> bytes:
    """The Avro body of a drift event."""
    plain = _with_ranges(event, _DRIFT_FIELDS)
    shown = {"histogram": event.histogram, "outcome": event.outcome}
    return _encode("DriftEvent", plain | {name: None if part is None else _flat(part) for name, part in shown.items()})


def decode_drift(body: bytes, writer: Contract | None = None) -> DriftEvent:
    """A drift event from its Avro body; raises DecodeError."""
    r = _decode("DriftEvent", body, writer)
    outcome = None if r["outcome"] is None else Outcome(**r["outcome"] | {"moved": tuple(r["outcome"]["moved"])})
    shown = {"histogram": _histogram(r["histogram"]), "curve": tuple(r["curve"]), "outcome": outcome}
    return DriftEvent(**r | shown | {"ranges": _ranges(r["ranges"])})


def encode_retrain(trigger: RetrainTrigger) -> bytes:
    """The Avro body of a retrain trigger."""
    plain = _with_ranges(trigger, _RETRAIN_FIELDS)
    return _encode("RetrainTrigger", plain | {"rules": [_flat(finding) for finding in trigger.rules]})


def decode_retrain(body: bytes, writer: Contract | None = None) -> RetrainTrigger:
    """A retrain trigger from its Avro body; raises DecodeError."""
    r = _decode("RetrainTrigger", body, writer)
    tuples = {name: tuple(r[name]) for name in ("columns", "episode_ids", "incident_ids")}
    rules = tuple(Finding(**finding) for finding in r["rules"])
    return RetrainTrigger(**r | tuples | {"ranges": _ranges(r["ranges"]), "rules": rules})


def encode_incident(incident: Incident) -> bytes:
    """The Avro body of an incident's event."""
    members = [_flat(m) | {"histogram": None if m.histogram is None else _flat(m.histogram)} for m in incident.members]
    plain = _with_ranges(incident, _INCIDENT_FIELDS)
    return _encode("Incident", plain | {"members": members, "hints": [_flat(hint) for hint in incident.hints]})


def decode_incident(body: bytes, writer: Contract | None = None) -> Incident:
    """An incident's event from its Avro body; raises DecodeError."""
    r = _decode("Incident", body, writer)
    members = tuple(
        Member(**m | {"histogram": _histogram(m["histogram"]), "curve": tuple(m["curve"])}) for m in r["members"]
    )
    hints = tuple(Hint(**h | {"columns": tuple(h["columns"])}) for h in r["hints"])
    return Incident(**r | {"members": members, "hints": hints, "ranges": _ranges(r["ranges"])})


def encode_performance(report: PerformanceReport) -> bytes:
    """The Avro body of a performance report."""
    return _encode("PerformanceReport", _flat(report) | {"metrics": [_flat(metric) for metric in report.metrics]})


def decode_performance(body: bytes, writer: Contract | None = None) -> PerformanceReport:
    """A performance report from its Avro body; raises DecodeError."""
    r = _decode("PerformanceReport", body, writer)
    metrics = tuple(MetricValue(**m) for m in r["metrics"])
    return PerformanceReport(**r | {"metrics": metrics, "moved": tuple(r["moved"])})


def encode_comparison(event: ComparisonEvent) -> bytes:
    """The Avro body of a comparison's event."""
    return _encode("ComparisonEvent", _with_ranges(event, _COMPARISON_FIELDS))


def decode_comparison(body: bytes, writer: Contract | None = None) -> ComparisonEvent:
    """A comparison's event from its Avro body; raises DecodeError."""
    r = _decode("ComparisonEvent", body, writer)
    return ComparisonEvent(**r | {"ranges": _ranges(r["ranges"])})


def encode_input(name: str, record: Mapping[str, Any]) -> bytes:
    """The Avro body of a canonical input event (``PredictionEvent``, ``FeatureEvent``, ``LabelEvent``).

    Args:
        name: which.
        record: its fields; `time` in milliseconds.

    Raises:
        ValueError, TypeError: a value does not fit its field; text that has no UTF-8 form is a ValueError.
    """
    return _encode(name, record)


def encode_profile(profile: Mapping[str, Any]) -> bytes:
    """The Avro body of a profile, given as the JSON values of `Profile.to_dict`."""
    return _encode("Profile", profile)


def decode_profile(body: bytes, writer: Contract | None = None) -> dict[str, Any]:
    """A profile's JSON values from its Avro body, as `Profile.from_dict` takes them; raises DecodeError."""
    return _decode("Profile", body, writer)


def encode_state(state: MonitorState) -> bytes:
    """The Avro body of a snapshot, with its format version and checksum."""
    checks = {"format_version": STATE_FORMAT, "sha256": _checksum(state)}
    return _encode("MonitorState", _flat(state) | checks)


def decode_state(body: bytes, writer: Contract | None = None) -> MonitorState:
    """A snapshot from its Avro body.

    Raises:
        StateError: it can't be read, is of another format version, or its checksum is wrong.
    """
    try:
        r = _decode("MonitorState", body, writer)
    except DecodeError as e:
        raise StateError(f"a snapshot can't be read ({e.reason}: {e}). {_STATE_FIX}") from e
    if r["format_version"] != STATE_FORMAT:
        raise StateError(
            f"the snapshot of monitor {r['monitor']!r} has format {r['format_version']}, this version reads "
            f"{STATE_FORMAT}. {_STATE_FIX}"
        )
    state = MonitorState(r["monitor"], r["offset"], r["body"])
    if _checksum(state) != r["sha256"]:
        raise StateError(f"the snapshot of monitor {state.monitor!r} is damaged (wrong checksum). {_STATE_FIX}")
    return state


def encode_message(message: SummaryPart | ManualRetrain | Registration) -> bytes:
    """A whole value for the summaries topic."""
    if isinstance(message, Registration):
        return contract("Registration").header + encode_registration(message)
    if isinstance(message, SummaryPart):
        return contract("SummaryPart").header + encode_part(message)
    return contract("ManualRetrain").header + encode_manual(message)


def decode_message(value: bytes) -> SummaryPart | ManualRetrain | Registration:
    """What a record of the summaries topic says.

    Raises:
        DecodeError: also ``wrong_schema``, when it is another record of the bus.
    """
    writer = writer_of(value)
    if writer.name == "SummaryPart":
        return decode_part(value[10:], writer)
    if writer.name == "ManualRetrain":
        return decode_manual(value[10:], writer)
    if writer.name == "Registration":
        return decode_registration(value[10:], writer)
    raise DecodeError("wrong_schema", f"{writer.name} does not belong on the summaries topic")


def encode_event(event: Published, schema_id: int | None = None) -> bytes:
    """A whole Avro value for the drift, incidents, performance or retrain topic.

    Args:
        event: what was decided.
        schema_id: the registry's id of its schema (Confluent framing); None: single-object encoding.
    """
    if isinstance(event, DriftEvent):
        name, body = "DriftEvent", encode_drift(event)
    elif isinstance(event, Incident):
        name, body = "Incident", encode_incident(event)
    elif isinstance(event, PerformanceReport):
        name, body = "PerformanceReport", encode_performance(event)
    elif isinstance(event, ComparisonEvent):
        name, body = "ComparisonEvent", encode_comparison(event)
    else:
        name, body = "RetrainTrigger", encode_retrain(event)
    return contract(name).header + body if schema_id is None else frame_confluent(schema_id, body)


def decode_event(value: bytes, writer: Contract | None = None) -> Published:
    """What was published, from a whole Avro value.

    Args:
        value: in either framing.
        writer: schema that the registry gives for the value's id; needed for Confluent framing only.

    Raises:
        DecodeError: the reasons of `decode_drift`, ``bad_magic``, ``unknown_schema``, ``wrong_schema``.
    """
    if value[:1] == b"\0":
        if writer is None:
            raise DecodeError("unknown_schema", f"schema id {confluent_id(value)} needs a registry to be read")
        body = value[_CONFLUENT.size :]
    else:
        writer, body = writer_of(value), value[10:]
    readers: dict[str, Callable[[bytes, Contract], Published]] = {
        "DriftEvent": decode_drift,
        "Incident": decode_incident,
        "PerformanceReport": decode_performance,
        "ComparisonEvent": decode_comparison,
        "RetrainTrigger": decode_retrain,
    }
    if writer.name not in readers:
        raise DecodeError("wrong_schema", f"{writer.name} is none of the events that are published")
    return readers[writer.name](body, writer)


def pack_state(state: MonitorState) -> bytes:
    """A whole value for the state topic."""
    return contract("MonitorState").header + encode_state(state)


def unpack_state(value: bytes) -> MonitorState:
    """A snapshot from a whole value of the state topic; raises StateError."""
    try:
        writer = writer_of(value)
    except DecodeError as e:
        raise StateError(f"a snapshot can't be read ({e.reason}: {e}). {_STATE_FIX}") from e
    if writer.name != "MonitorState":
        raise StateError(f"{writer.name} does not belong on the state topic. {_STATE_FIX}")
    return decode_state(value[10:], writer)


def pack_profile(profile: Mapping[str, Any]) -> bytes:
    """A whole value for the profiles topic, from the JSON values of a profile."""
    return contract("Profile").header + encode_profile(profile)


def unpack_profile(value: bytes) -> dict[str, Any]:
    """The JSON values of a profile from a whole value of the profiles topic; raises DecodeError."""
    writer = writer_of(value)
    if writer.name != "Profile":
        raise DecodeError("wrong_schema", f"{writer.name} does not belong on the profiles topic")
    return decode_profile(value[10:], writer)


def frame_confluent(schema_id: int, body: bytes) -> bytes:
    """Confluent wire format: a zero byte, the schema id in four bytes big-endian, the body."""
    return _CONFLUENT.pack(0, schema_id) + body


def confluent_id(value: bytes) -> int:
    """The schema id of a value in Confluent wire format; DecodeError when it is not."""
    if value[:1] != b"\0" or len(value) < _CONFLUENT.size:
        raise DecodeError("bad_magic", f"begins with {value[:5].hex() or 'nothing'}: no Confluent schema id")
    return int(_CONFLUENT.unpack_from(value)[1])


def _encode(name: str, record: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    schemaless_writer(out, contract(name).plain, record)
    return out.getvalue()


def _decode(name: str, body: bytes, writer: Contract | None) -> dict[str, Any]:
    current = contract(name)
    stream = BytesIO(body)
    try:
        if writer is None or writer is current:
            record = schemaless_reader(stream, current.plain, None)
        else:
            record = schemaless_reader(stream, writer.plain, current.plain)
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError, TypeError, SchemaParseException) as e:
        if isinstance(e, EOFError) or stream.tell() >= len(body):
            raise DecodeError("truncated", f"{name} ends after {len(body)} bytes, inside a field") from e
        raise DecodeError("bad_body", f"not a readable {name}: {type(e).__name__} {e}") from e
    if stream.tell() != len(body):
        raise DecodeError("trailing_bytes", f"{name} ends after {stream.tell()} of {len(body)} bytes")
    return cast("dict[str, Any]", record)


def _raw(value: bytes | str) -> bytes:
    """Bytes; a default that an older record doesn't have comes from fastavro as the text that the schema holds."""
    return value.encode("latin-1") if isinstance(value, str) else value


def _checksum(state: MonitorState) -> bytes:
    head = state.monitor.encode() + b"\0" + state.offset.to_bytes(8, "big", signed=True)
    return sha256(head + state.body).digest()


def _flat(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _with_ranges(
    value: DriftEvent | Incident | RetrainTrigger | ComparisonEvent, names: tuple[str, ...]
) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names} | {"ranges": [_flat(r) for r in value.ranges]}


def _histogram(record: dict[str, Any] | None) -> Histogram | None:
    return None if record is None else Histogram(**{name: tuple(values) for name, values in record.items()})


def _ranges(records: list[dict[str, Any]]) -> tuple[OffsetRange, ...]:
    return tuple(OffsetRange(**r) for r in records)

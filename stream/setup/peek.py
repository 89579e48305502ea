"""Single records as a person wants to see them: the newest of a topic, whole, as plain values."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from fastavro import parse_schema, schemaless_reader

from driftbus.schemas.avsc import WriterSchema
from driftbus.schemas.config import Config
from driftbus.schemas.errors import DecodeError, Unavailable
from driftbus.schemas.framing import UNFRAMED, SchemaKey, by_fingerprint, by_guid, by_id, header_key
from driftbus.schemas.registry import Registry
from driftbus.schemas.resolver import open_resolver
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.plan import topics_of
from driftbus.stream.transport.properties import means_nothing_without_a_group
from driftbus.stream.transport.rights import refusal

_ANSWER_S = 15.0
_PATIENCE_S = 30.0

Headers = Sequence[tuple[str, bytes | None]]


class Resolver(Protocol):
    """Where writer schemas come from."""

    @property
    def bare(self) -> WriterSchema | None: ...

    def resolve(self, key: SchemaKey) -> WriterSchema: ...


def resolver_of(config: Config, topic: str) -> Resolver:
    """The schemas of a source topic, as the worker finds them; of a foreign topic: by the registry.

    Raises:
        ConfigError: the registry's address or the schema file can't be used.
    """
    registry = Registry(config.registry) if config.registry.url else None
    pairs = topics_of(config).get(topic)
    stream = config.monitors[pairs[0][0]].streams[pairs[0][1]] if pairs else StreamConfig(topic=topic)
    return open_resolver(stream, registry)


def schema_and_body(value: bytes, headers: Headers, resolver: Resolver) -> tuple[WriterSchema, bytes]:
    """The schema of one record, and its bytes without framing.

    Raises:
        DecodeError: ``unknown_schema``, ``bad_schema``, ``bad_magic``.
        Unavailable: the registry does not answer.
    """
    key = header_key(headers)
    body = value
    if key is None:
        key, body = _framing(value)
    if key.kind != UNFRAMED:
        return resolver.resolve(key), body
    if resolver.bare is None:
        raise DecodeError("bad_magic", f"begins with {value[:5].hex() or 'nothing'}: no schema id in it")
    return resolver.bare, body


def decode_one(value: bytes | None, headers: Headers, resolver: Resolver) -> Any:
    """One record as plain values; times are Python's datetime.

    Raises:
        DecodeError, Unavailable: as `schema_and_body`; also ``null_value``, ``trailing_bytes``, ``bad_body``.
    """
    if value is None:
        raise DecodeError("null_value", "the record has no value")
    schema, body = schema_and_body(value, headers, resolver)
    return read_body(body, parsed(schema))


def parsed(schema: WriterSchema) -> Any:
    """A schema with everything it refers to, parsed by fastavro."""
    named: dict[str, Any] = {}
    for text in schema.references:
        parse_schema(json.loads(text), named_schemas=named)
    return parse_schema(json.loads(schema.text), named_schemas=named)


def read_body(body: bytes, schema: Any) -> Any:
    """One Avro body as plain values by a schema that fastavro has parsed; raises DecodeError."""
    stream = io.BytesIO(body)
    try:
        record: Any = schemaless_reader(stream, schema, None)
    except (EOFError, IndexError, ValueError, TypeError, OverflowError, MemoryError, RecursionError) as e:
        raise DecodeError("bad_body", f"byte {stream.tell()} of {len(body)}: {type(e).__name__} {e}") from e
    if stream.tell() != len(body):
        raise DecodeError("trailing_bytes", f"ends after {stream.tell()} of {len(body)} bytes")
    return record


def newest(properties: Mapping[str, Any], topic: str, partitions: Iterable[int], limit: int) -> list[Message]:
    """Up to `limit` of the newest records of a topic, spread over its partitions.

    Raises:
        Unavailable: the brokers don't answer.
        KafkaException: they refuse.
    """
    settings = {"group.id": "driftbus-peek", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer(dict(properties) | settings, logger=logging.getLogger("librdkafka"))
    numbers = list(partitions)
    share = max(1, limit // max(1, len(numbers)))
    found: list[Message] = []
    try:
        starts, left = [], set()
        for number in numbers:
            low, high = _watermarks(consumer, TopicPartition(topic, number))
            if high > low:
                starts.append(TopicPartition(topic, number, max(low, high - share)))
                left.add(number)
        if starts:
            consumer.assign(starts)
        heard = time.monotonic()
        while left:
            for message in consumer.consume(1_000, 0.1):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                elif means_nothing_without_a_group(error):
                    continue
                elif not error.retriable():
                    raise refusal(error, "READ", topic)
                heard = time.monotonic()
            if time.monotonic() - heard > _PATIENCE_S:
                raise Unavailable(f"reading {topic}: the brokers have not answered for {_PATIENCE_S:g} s")
    finally:
        consumer.close()
    return found


def _watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    try:
        low, high = consumer.get_watermark_offsets(partition, timeout=_ANSWER_S)
    except KafkaException as e:
        raise Unavailable(f"{partition.topic}[{partition.partition}]: {e.args[0].str()}") from e
    return low, high


def _framing(value: bytes) -> tuple[SchemaKey, bytes]:
    if value[:1] == b"\0" and len(value) >= 5:
        return by_id(int.from_bytes(value[1:5], "big")), value[5:]
    if value[:1] == b"\1" and len(value) >= 17:
        return by_guid(UUID(bytes=value[1:17])), value[17:]
    if value[:2] == b"\xc3\x01" and len(value) >= 10:
        return by_fingerprint(value[2:10]), value[10:]
    return SchemaKey(UNFRAMED), value

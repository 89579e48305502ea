"""``driftbus dlq``: dead letters listed, shown, and sent back to where they came from."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaError, Message, Producer

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError, DecodeError, DriftbusError, Unavailable
from driftbus.schemas.events import DeadLetter
from driftbus.schemas.jsonlines import iso_utc
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.replay.words import plain
from driftbus.stream.transport.admin import Admin, topic_partitions
from driftbus.stream.transport.rights import missing_right, writing
from driftbus.stream.worker.deadletter import read_dead_letter
from driftbus.stream.worker.readback import read_to_end
from driftbus.stream.worker.topics import admin_client, partition_counts

_PATIENCE_S = 30.0
_HEX_BYTES = 512
_OURS = "driftbus-"


@dataclass(frozen=True, slots=True)
class Stored:
    """A dead letter and where it lies in the dead-letter topic, as PARTITION:OFFSET."""

    place: str
    stored_ms: int
    letter: DeadLetter


def _filters(function: Any) -> Any:
    for option in (
        click.option("--reason", "reasons", multiple=True, help="Only these reasons."),
        click.option("--topic", "topics", multiple=True, help="Only records of these source topics."),
    ):
        function = option(function)
    return function


@click.group(short_help="List, show and replay dead letters.")
def command() -> None:
    """Records that could not be counted: which, why, and back again once the cause is removed."""


@command.command()
@config_option
@_filters
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Newest letters to list.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a letter, without the counts.")
def ls(config_path: Path, reasons: tuple[str, ...], topics: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Count dead letters by reason, and list the newest."""
    found = _letters(configured(config_path), reasons, topics)
    newest = sorted(found, key=lambda s: (s.stored_ms, s.place))[-limit:] if limit else []
    if as_json:
        for stored in newest:
            click.echo(json.dumps(_summary(stored), ensure_ascii=False))
        return
    click.echo(f"{len(found)} dead letter{'s' if len(found) != 1 else ''}")
    for (reason, topic), count in Counter((s.letter.reason, s.letter.topic) for s in found).most_common():
        click.echo(f"  {count:>8}  {plain(reason):<20} {plain(topic)}")
    if newest:
        click.echo("newest:")
    for stored in newest:
        letter = stored.letter
        where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        why = f"{letter.reason}: {letter.message}"
        click.echo(f"  {stored.place:<10} {_time(stored.stored_ms)}  {plain(f'{where}  {why}')}")


@command.command()
@click.argument("place", metavar="PARTITION:OFFSET")
@config_option
@click.option("--raw", is_flag=True, help="Write the original bytes to standard output, nothing else.")
def show(place: str, config_path: Path, raw: bool) -> None:
    """Show one dead letter whole: headers, bytes, and what they decode to.

    PARTITION:OFFSET is its place in the dead-letter topic, as `driftbus dlq ls` prints it.
    """
    config = configured(config_path)
    stored = _chosen(_letters(config, (), ()), (place,))[0]
    letter = stored.letter
    if raw:
        click.get_binary_stream("stdout").write(letter.value or b"")
        return
    for name, value in _summary(stored).items():
        click.echo(f"{name:<10} {plain(str(value))}")
    click.echo(f"{'key':<10} {_bytes(letter.key)}")
    for header, content in letter.headers:
        click.echo(f"{'header':<10} {plain(header)}: {_bytes(content)}")
    click.echo(_hex(letter.value))
    click.echo(f"decoded now: {plain(_decoded(config, letter))}")


@command.command()
@click.argument("places", nargs=-1, metavar="[PARTITION:OFFSET]...")
@config_option
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many, the oldest first.")
@click.option("--now", is_flag=True, help="With the present as Kafka timestamp, instead of the record's own.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay(
    places: tuple[str, ...],
    config_path: Path,
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    limit: int | None,
    now: bool,
    dry_run: bool,
    yes: bool,
) -> int | None:
    """Send dead letters back to the topics they came from, as they were.

    Key, value, headers, partition and timestamp are the original ones. Without arguments and options all of
    them are sent. A letter stays in the dead-letter topic: replayed twice, it is counted twice.
    """
    config = configured(config_path)
    found = _letters(config, reasons, topics)
    chosen = (_chosen(found, places) if places else found)[:limit]
    for (topic, reason), count in Counter((s.letter.topic, s.letter.reason) for s in chosen).most_common():
        click.echo(f"  {count:>8}  {plain(reason):<20} to {plain(topic)}", err=True)
    if dry_run or not chosen:
        click.echo(f"{len(chosen)} dead letters would be sent")
        return None
    if not yes and not (sys.stdin.isatty() and click.confirm(f"send {len(chosen)} records?", err=True)):
        click.echo("nothing was sent; --yes sends without asking", err=True)
        return 1
    _send(config, chosen, now)
    click.echo(f"{len(chosen)} records sent")
    return None


def _letters(config: Config, reasons: Iterable[str], topics: Iterable[str]) -> list[Stored]:
    """Dead letters in the order of their partitions and offsets."""
    topic = config.topics.deadletter
    partitions = range(topic_partitions(Admin(config.kafka), topic))
    reasons, topics = set(reasons), set(topics)
    found, foreign = [], 0
    for message in read_to_end(config.kafka.librdkafka(), topic, partitions):
        try:
            stored = _stored(message)
        except DecodeError:
            foreign += 1
            continue
        if (not reasons or stored.letter.reason in reasons) and (not topics or stored.letter.topic in topics):
            found.append(stored)
    if foreign:
        click.echo(f"{foreign} records of {topic} are no dead letters of driftbus", err=True)
    return sorted(found, key=lambda s: tuple(map(int, s.place.split(":"))))


def _stored(message: Message) -> Stored:
    return Stored(f"{message.partition()}:{message.offset()}", message.timestamp()[1], read_dead_letter(message))


def _chosen(found: list[Stored], places: tuple[str, ...]) -> list[Stored]:
    by_place = {stored.place: stored for stored in found}
    missing = [place for place in places if place not in by_place]
    if missing:
        raise ConfigError(f"there is no dead letter {missing[0]}", fix="`driftbus dlq ls` lists them")
    return [by_place[place] for place in dict.fromkeys(places)]


def _send(config: Config, chosen: list[Stored], now: bool) -> None:
    counts = partition_counts(admin_client(config.kafka))
    refused: list[KafkaError] = []
    acknowledged = 0

    def delivered(error: Any, _message: Any) -> None:
        nonlocal acknowledged
        if error is not None:
            refused.append(error)
        else:
            acknowledged += 1

    settings = {"enable.idempotence": True, "message.max.bytes": 16 << 20, "delivery.timeout.ms": 30_000}
    producer = Producer(settings | config.kafka.librdkafka(), logger=logging.getLogger("librdkafka"))
    with writing(chosen[0].letter.topic):
        for stored in chosen:
            letter = stored.letter
            if letter.partition >= counts.get(letter.topic, 0):
                raise ConfigError(
                    f"{letter.topic} has no partition {letter.partition} any more; {acknowledged} were sent"
                )
            arguments: dict[str, Any] = {"partition": letter.partition, "on_delivery": delivered}
            if not now and letter.timestamp_ms >= 0:
                arguments["timestamp"] = letter.timestamp_ms
            headers: list[tuple[str, str | bytes | None]] = [h for h in letter.headers if not h[0].startswith(_OURS)]
            while True:
                try:
                    producer.produce(letter.topic, letter.value, letter.key, headers=headers, **arguments)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(_PATIENCE_S + 1.0)
    if acknowledged < len(chosen):
        missing = missing_right(refused[0], "WRITE", chosen[0].letter.topic) if refused else None
        if missing is not None:
            raise missing
        why = refused[0].str() if refused else "no answer"
        raise Unavailable(f"{len(chosen) - acknowledged} of {len(chosen)} records were not taken: {why}")


def _summary(stored: Stored) -> dict[str, Any]:
    letter = stored.letter
    return {
        "place": stored.place,
        "stored": _time(stored.stored_ms),
        "reason": letter.reason,
        "message": letter.message,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": _time(letter.timestamp_ms),
        "bytes": len(letter.value or b""),
    }


def _time(ms: int) -> str:
    return iso_utc(ms) if ms >= 0 else "none"


def _bytes(value: bytes | None) -> str:
    if value is None:
        return "none"
    text = value.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else value.hex(" ")


def _hex(value: bytes | None) -> str:
    if value is None:
        return "no value (null)"
    lines = []
    for at in range(0, min(len(value), _HEX_BYTES), 16):
        row = value[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  {text}")
    if len(value) > _HEX_BYTES:
        lines.append(f"... {len(value) - _HEX_BYTES} more bytes; --raw writes them all")
    return "\n".join(lines) or "no bytes"


def _decoded(config: Config, letter: DeadLetter) -> str:
    """What the letter decodes to with the present schemas, or why it does not."""
    from driftbus.stream.setup.peek import decode_one, resolver_of

    try:
        record = decode_one(letter.value, letter.headers, resolver_of(config, letter.topic))
    except DriftbusError as e:
        reason = e.reason if isinstance(e, DecodeError) else type(e).__name__
        return f"no, {reason}: {e}"
    return json.dumps(record, indent=2, ensure_ascii=False, default=str)

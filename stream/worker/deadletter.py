"""Dead letters: records that could not be counted, as they were, with why.

A dead letter is a record with the original key, value and headers, and headers of our own behind
them. They say where it stood and why it is here, so it can be read back and replayed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from confluent_kafka import Message

from driftbus.schemas.errors import DecodeError
from driftbus.schemas.events import DeadLetter
from driftbus.stream.records import RecordBatch
from driftbus.stream.worker.outbox import Outbox

REASON, MESSAGE = "driftbus-reason", "driftbus-message"
TOPIC, PARTITION, OFFSET, TIMESTAMP = "driftbus-topic", "driftbus-partition", "driftbus-offset", "driftbus-timestamp"
_OURS = (REASON, MESSAGE, TOPIC, PARTITION, OFFSET, TIMESTAMP)

_MESSAGE_CHARACTERS = 1_000


def dead_letter(batch: RecordBatch, row: int, reason: str, message: str) -> DeadLetter:
    """The dead letter of one row of a batch."""
    return DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        offset=int(batch.offsets[row]),
        key=batch.key_of(row),
        value=batch.values[row],
        headers=list(batch.headers_of(row)),
        timestamp_ms=int(batch.timestamps[row]),
        reason=reason,
        message=message,
    )


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """The original headers, then ours: a letter that was a dead letter before keeps its history."""
    ours = {
        REASON: letter.reason,
        MESSAGE: letter.message[:_MESSAGE_CHARACTERS],
        TOPIC: letter.topic,
        PARTITION: str(letter.partition),
        OFFSET: str(letter.offset),
        TIMESTAMP: str(letter.timestamp_ms),
    }
    return [*letter.headers, *((name, value.encode(errors="replace")) for name, value in ours.items())]


async def send_dead_letters(outbox: Outbox, topic: str, letters: Iterable[DeadLetter]) -> None:
    """Queue dead letters.

    Raises:
        StateError: the topic can't take one. The worker stops; nothing is skipped.
    """
    for letter in letters:
        await outbox.send(topic, letter.value, key=letter.key, headers=headers_of(letter))


def read_dead_letter(record: Message) -> DeadLetter:
    """A dead letter from a record of the dead-letter topic.

    Raises:
        DecodeError: ``not_a_dead_letter``, it has none of our headers, or they are damaged.
    """
    headers = cast("list[tuple[str, bytes | None]]", list(record.headers() or ()))
    last = {name: i for i, (name, _) in enumerate(headers) if name in _OURS}
    try:
        text = {name: (headers[last[name]][1] or b"").decode() for name in _OURS}
        partition, offset, timestamp_ms = int(text[PARTITION]), int(text[OFFSET]), int(text[TIMESTAMP])
    except (KeyError, ValueError) as error:
        where = f"{record.topic()}[{record.partition()}] offset {record.offset()}"
        raise DecodeError("not_a_dead_letter", f"{where} has no driftbus headers, or damaged ones: {error}") from error
    return DeadLetter(
        topic=text[TOPIC],
        partition=partition,
        offset=offset,
        key=record.key(),
        value=record.value(),
        headers=[header for i, header in enumerate(headers) if last.get(header[0]) != i],
        timestamp_ms=timestamp_ms,
        reason=text[REASON],
        message=text[MESSAGE],
    )

"""Snapshots of monitors on the state topic, so that a torn write or a zombie can't harm.

Every worker writes under keys of its own (``app/monitor/owner``), so nobody overwrites what another
one relies on. A state that is too large for one record is cut into chunks under
``app/monitor/owner/slot/number``, the slots taking turns, and then named by a manifest with the
SHA-256 of each chunk: a half-written set has no manifest, and the set before it is still whole.

A snapshot is a pure function of the summaries up to its offset. So of all whole snapshots the one
with the highest offset is taken, and an older one that a zombie leaves behind only costs reading.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from driftbus.schemas.codec import pack_state, unpack_state
from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import StateError, Unavailable
from driftbus.schemas.events import MonitorState
from driftbus.stream.worker.outbox import Outbox

LOG = logging.getLogger(__name__)

RECORD_BYTES = 900_000
"""A record of this size passes Kafka's default limit of 1 MiB with room for key and headers."""

_MANIFEST = b"driftbus-manifest-1 "
_SLOTS = "AB"
_DELETE_S = 30.0


def cut_state(state: MonitorState, key: str, slot: str, record_bytes: int = RECORD_BYTES) -> list[tuple[str, bytes]]:
    """The records of a snapshot in the order in which they have to be written.

    Args:
        state: what to store.
        key: key of its main record, ``app/monitor/owner``.
        slot: where its chunks go, if it needs any.
        record_bytes: size above which it is cut.
    """
    whole = pack_state(state)
    if len(whole) <= record_bytes:
        return [(key, whole)]
    chunks = [state.body[i : i + record_bytes] for i in range(0, len(state.body), record_bytes)]
    named = [f"{key}/{slot}/{i}" for i in range(len(chunks))]
    hashes = [hashlib.sha256(chunk).hexdigest() for chunk in chunks]
    manifest = _MANIFEST + json.dumps([[k, h] for k, h in zip(named, hashes, strict=True)]).encode()
    main = pack_state(MonitorState(state.monitor, state.offset, manifest))
    return [*zip(named, chunks, strict=True), (key, main)]


def join_state(main: bytes, records: Mapping[str, bytes]) -> MonitorState:
    """A snapshot from its main record and the chunks that this names.

    Raises:
        StateError: a chunk is missing or another one, or the main record is damaged.
    """
    state = unpack_state(main)
    if not state.body.startswith(_MANIFEST):
        return state
    chunks = []
    for key, digest in _named_chunks(state):
        chunk = records.get(key)
        if chunk is None or hashlib.sha256(chunk).hexdigest() != digest:
            raise StateError(f"chunk {key} of a snapshot is {'missing' if chunk is None else 'another one'}")
        chunks.append(chunk)
    return MonitorState(state.monitor, state.offset, b"".join(chunks))


def _named_chunks(state: MonitorState) -> list[tuple[str, str]]:
    try:
        return [(str(key), str(digest)) for key, digest in json.loads(state.body[len(_MANIFEST) :])]
    except (ValueError, TypeError) as error:
        raise StateError(f"the manifest of a snapshot of monitor {state.monitor} can't be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Stored:
    """The snapshot of one owner.

    Args:
        key: of its main record.
        monitor: whose state.
        state: the newest one that is whole, None if there is none.
        trouble: why the newest can't be read, "" when it can.
    """

    key: str
    monitor: str
    state: MonitorState | None
    trouble: str = ""


@dataclass(slots=True)
class Found:
    """What the state topic holds of one application in one partition.

    Attributes:
        states: monitor → newest whole snapshot.
        keys: monitor → all keys that any owner has written.
        stored: every owner's snapshot.
    """

    states: dict[str, MonitorState] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)

    def troubles(self) -> dict[str, str]:
        """Monitor → why some snapshot of it can't be read."""
        told: dict[str, list[str]] = {}
        for one in self.stored:
            if one.trouble:
                told.setdefault(one.monitor, []).append(f"{one.key}: {one.trouble}")
        return {monitor: "; ".join(reasons) for monitor, reasons in told.items()}


def look(app: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> Found:
    """All snapshots of an application, the damaged ones too.

    When the newest record under a key is damaged, the one before it is taken, if compaction has left it: an old
    snapshot is as right as a new one.

    Args:
        app: whose snapshots.
        records: (key, value) in offset order, tombstones included; compacted or not.
    """
    last: dict[str, bytes] = {}
    before: dict[str, bytes] = {}
    for raw, value in records:
        key = (raw or b"").decode(errors="replace")
        if not key.startswith(f"{app}/"):
            continue
        known = last.pop(key, None)
        before.pop(key, None)
        if value is not None:
            last[key] = value
            if known is not None and key.count("/") == 2:
                before[key] = known
    found = Found()
    for key, value in last.items():
        _, monitor, *rest = key.split("/")
        found.keys.setdefault(monitor, set()).add(key)
        if len(rest) == 1:
            one = _whole(key, monitor, value, before.get(key), last)
            found.stored.append(one)
            newest = found.states.get(monitor)
            if one.state is not None and (newest is None or one.state.offset > newest.offset):
                found.states[monitor] = one.state
    return found


def _whole(key: str, monitor: str, value: bytes, before: bytes | None, records: Mapping[str, bytes]) -> Stored:
    trouble = ""
    for candidate in (value, before):
        if candidate is None:
            continue
        try:
            return Stored(key, monitor, join_state(candidate, records), trouble)
        except StateError as error:
            trouble = trouble or str(error)
    return Stored(key, monitor, None, trouble)


def find_states(app: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> Found:
    """The newest whole snapshot of each monitor; the arguments are those of `look`.

    Raises:
        StateError: a monitor has snapshots and none of them is whole.
    """
    found = look(app, records)
    for monitor, trouble in found.troubles().items():
        if monitor not in found.states:
            raise StateError(
                f"no snapshot of monitor {monitor} can be read ({trouble}). Stop all workers and run `driftbus state "
                f"forget {monitor}`: the monitor is then rebuilt from the summaries topic, as far back as that goes; "
                "docs/operations.md says more"
            )
        LOG.warning("a snapshot of monitor %s is not whole, an older one is used: %s", monitor, trouble)
    return found


def mains_first(key: str) -> tuple[int, str]:
    """The order in which records go: a main record before the chunks that it names, so that what is half deleted is
    no snapshot, not a broken one."""
    return key.count("/"), key


class SnapshotWriter:
    """Writes the snapshots of one worker.

    Args:
        outbox: where to.
        topic: the state topic.
        app: name of the application.
        owner: unique to this process.
    """

    def __init__(self, outbox: Outbox, topic: str, app: str, owner: str) -> None:
        self._outbox, self._topic, self._app, self._owner = outbox, topic, app, owner
        self._foreign: dict[str, set[str]] = {}
        self._turn: dict[str, int] = {}
        self._slots: dict[tuple[str, str], set[str]] = {}

    def took_over(self, found: Found) -> None:
        """Remember what former owners have written: it goes once there is a snapshot of ours."""
        for monitor, keys in found.keys.items():
            mine = f"{self._app}/{monitor}/{self._owner}"
            self._foreign[monitor] = {key for key in keys if key != mine and not key.startswith(f"{mine}/")}

    async def write(self, state: MonitorState, partition: int) -> None:
        """Store a snapshot; returns when it is acknowledged.

        Raises:
            StateError: the topic refused it.
        """
        turn = self._turn.get(state.monitor, 0)
        slot = _SLOTS[turn % len(_SLOTS)]
        records = cut_state(state, f"{self._app}/{state.monitor}/{self._owner}", slot)
        for key, value in records:
            await self._outbox.send(self._topic, value, key=key.encode(), partition=partition)
        await self._outbox.flush()
        chunks = {key for key, _ in records[:-1]}
        # what the main record no longer names: all slots of a state that fits now, leftovers of this slot otherwise
        replaced = [slot] if chunks else [*_SLOTS]
        stale = set().union(*(self._slots.pop((state.monitor, s), ()) for s in replaced)) - chunks
        if chunks:
            self._turn[state.monitor] = turn + 1
            self._slots[state.monitor, slot] = chunks
        for key in sorted(stale | self._foreign.pop(state.monitor, set()), key=mains_first):
            await self._outbox.send(self._topic, None, key=key.encode(), partition=partition)


def delete_keys(kafka: KafkaConfig, topic: str, keys: Mapping[int, Iterable[str]]) -> None:
    """Write tombstones, partition by partition and in the order given. Blocks.

    Raises:
        Unavailable: the brokers did not take all of them.
    """
    refused: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error.str())

    settings = {"enable.idempotence": True, "acks": "all", "delivery.timeout.ms": int(_DELETE_S * 1000)}
    producer = Producer(settings | kafka.librdkafka(), logger=logging.getLogger("librdkafka"))
    for partition, doomed in keys.items():
        for key in doomed:
            producer.produce(topic, None, key.encode(), partition=partition, on_delivery=delivered)
    if producer.flush(_DELETE_S + 1.0) or refused:
        raise Unavailable(f"{topic} did not take all tombstones ({refused[0] if refused else 'no answer'}): try again")

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

from driftbus.schemas.codec import pack_state, unpack_state
from driftbus.schemas.errors import StateError
from driftbus.schemas.events import MonitorState
from driftbus.stream.worker.outbox import Outbox

LOG = logging.getLogger(__name__)

RECORD_BYTES = 900_000
"""A record of this size passes Kafka's default limit of 1 MiB with room for key and headers."""

_MANIFEST = b"driftbus-manifest-1 "
_SLOTS = "AB"


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
    for key, digest in json.loads(state.body[len(_MANIFEST) :]):
        chunk = records.get(key)
        if chunk is None or hashlib.sha256(chunk).hexdigest() != digest:
            raise StateError(f"chunk {key} of a snapshot is {'missing' if chunk is None else 'another one'}")
        chunks.append(chunk)
    return MonitorState(state.monitor, state.offset, b"".join(chunks))


@dataclass(slots=True)
class Found:
    """What the state topic holds of one application in one partition.

    Attributes:
        states: monitor → newest whole snapshot.
        keys: monitor → all keys that any owner has written.
    """

    states: dict[str, MonitorState] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=dict)


def find_states(app: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> Found:
    """The newest whole snapshot of each monitor.

    Args:
        app: whose snapshots.
        records: (key, value) in offset order, tombstones included; compacted or not.

    Raises:
        StateError: a monitor has snapshots and none of them is whole.
    """
    last: dict[str, bytes] = {}
    for raw, value in records:
        key = (raw or b"").decode(errors="replace")
        if not key.startswith(f"{app}/"):
            continue
        if value is None:
            last.pop(key, None)
        else:
            last[key] = value
    found = Found()
    broken: dict[str, list[str]] = {}
    for key, value in last.items():
        _, monitor, *rest = key.split("/")
        found.keys.setdefault(monitor, set()).add(key)
        if len(rest) != 1:
            continue
        try:
            state = join_state(value, last)
        except StateError as error:
            broken.setdefault(monitor, []).append(f"{key}: {error}")
            continue
        if monitor not in found.states or state.offset > found.states[monitor].offset:
            found.states[monitor] = state
    for monitor, reasons in broken.items():
        if monitor not in found.states:
            raise StateError(
                f"no snapshot of monitor {monitor} can be read ({'; '.join(reasons)}). Write tombstones for the keys "
                f"that begin with {app}/{monitor}/ to the state topic: the monitor is then rebuilt from the summaries "
                "topic, as far back as that goes; docs/operations.md has the command"
            )
        LOG.warning("a snapshot of monitor %s is not whole, an older one is used: %s", monitor, "; ".join(reasons))
    return found


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
        for key in sorted(stale | self._foreign.pop(state.monitor, set())):
            await self._outbox.send(self._topic, None, key=key.encode(), partition=partition)

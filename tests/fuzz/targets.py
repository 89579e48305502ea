"""What reads bytes from outside, each as a function of bytes that must end well or with an error of our own."""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgpack
import numpy as np

from driftbus.detectors import state as arrays
from driftbus.detectors.profile import Profile
from driftbus.schemas import codec
from driftbus.schemas.avsc import WriterSchema, fingerprint, parse_schema
from driftbus.schemas.avscfiles import AvscFiles
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import RegistryConfig
from driftbus.schemas.configfile import read_config
from driftbus.schemas.decode.batch import BatchDecoder, Decoder
from driftbus.schemas.decode.compile import compile_program
from driftbus.schemas.errors import DecodeError, DriftbusError
from driftbus.schemas.events import MonitorState, SummaryPart
from driftbus.schemas.fields import field_types, writer_fields
from driftbus.schemas.framing import SchemaKey, by_fingerprint, by_guid, by_id, frame
from driftbus.schemas.registry import Registry
from driftbus.stream import state as plain
from driftbus.stream.files.survey import survey
from driftbus.stream.files.table import open_table
from driftbus.stream.files.training import Wishes, load_profile
from driftbus.stream.judge import MonitorJudge
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.deadletter import read_dead_letter
from driftbus.stream.worker.snapshots import find_states
from driftbus.stream.worker.sourcestate import start_of
from harness.avro import root_of
from harness.golden import GOLDEN

from . import hostile
from .decoding import bodies_of
from .oracle import Oracle
from .schemas import SchemaMaker, projection

Run = Callable[[bytes], None]
ALLOWED = (DriftbusError,)


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads bytes.

    Args:
        run: reads them; any exception that is no DriftbusError is a defect, as is an AssertionError.
        seeds: inputs to begin with.
    """

    run: Run
    seeds: Callable[[], Iterable[bytes]]


# The decoder

SCHEMAS = 64
"""Random schemas among which the first byte of an input chooses."""

_made: dict[int, tuple[Decoder, Oracle, list[bytes]]] = {}


def _case(number: int) -> tuple[Decoder, Oracle, list[bytes]]:
    if number not in _made:
        rng = random.Random(number)
        schema = SchemaMaker(rng).record()
        root = root_of(schema)
        wanted = projection(rng, schema, root)
        _made[number] = Decoder(schema, wanted), Oracle(schema, root, wanted), bodies_of(rng, schema, root)[:4]
    return _made[number]


def decoder(data: bytes) -> None:
    """A body of one of some schemas, held against both slow readers."""
    decode, oracle, _ = _case(data[0] % SCHEMAS if data else 0)
    decoded = decode.decode([data[1:]])
    reason = decoded.bad[0][1] if decoded.bad else ""
    outcome = oracle.judge(data[1:], decoded, 0, reason)
    assert not outcome.fault, outcome.fault


def _decoder_seeds() -> Iterable[bytes]:
    return (bytes([n]) + body for n in range(SCHEMAS) for body in _case(n)[2])


PLAIN = {"type": "record", "name": "E", "fields": [{"name": "s", "type": "string"}, {"name": "n", "type": "long"}]}
OTHER = {"type": "record", "name": "F", "fields": [{"name": "n", "type": ["null", "double"]}]}
GUID = by_guid(UUID(int=77))


@dataclass
class Known:
    """A resolver of three schemas."""

    bare: WriterSchema | None = None

    def __post_init__(self) -> None:
        one, two = parse_schema(PLAIN), parse_schema(OTHER)
        self._schemas = {by_id(1): one, GUID: two, by_fingerprint(fingerprint(OTHER)): two}

    def knows(self, key: SchemaKey) -> bool:
        return key in self._schemas

    def resolve(self, key: SchemaKey) -> WriterSchema:
        if key not in self._schemas:
            raise DecodeError("unknown_schema", str(key))
        return self._schemas[key]


def framing(data: bytes) -> None:
    """Values and headers, cut at FF FE: together they decode as one by one, and nothing is both good and bad."""
    pieces = data.split(b"\xff\xfe")[:6]
    values: list[bytes | None] = [piece or None for piece in pieces]
    headers = [[("__value_schema_id", piece[:17])] if piece[:1] in (b"\0", b"\1") else [] for piece in pieces]
    for bare in (None, parse_schema(PLAIN)):
        wanted = Projection(("n",), ("s",), "n")
        decoded = BatchDecoder(wanted, Known(bare), max_bytes=64).decode(values, lambda row: headers[row])
        bad = {row: reason for row, reason, _ in decoded.bad}
        assert sorted(bad) == np.flatnonzero(~decoded.good).tolist()
        for row, value in enumerate(values):
            alone = BatchDecoder(wanted, Known(bare), max_bytes=64).decode([value], lambda _, mine=headers[row]: mine)
            assert [reason for _, reason, _ in alone.bad] == ([bad[row]] if row in bad else [])
            assert alone.block.string(0, 0) == decoded.block.string(0, row)


def _framing_seeds() -> Iterable[bytes]:
    body = b"\6abc\4"
    yield b"\xff\xfe".join(
        [frame(by_id(1), body), frame(GUID, b"\0"), frame(by_fingerprint(fingerprint(OTHER)), b"\0")]
    )
    yield b"\xff\xfe".join([body, b"\0\0\0\0\1", b"\1" + bytes(16), frame(by_id(9), body), b""])


def schema(data: bytes) -> None:
    """The text of a schema."""
    parsed = parse_schema(data.decode(errors="replace"))
    wanted = Projection(("a", "b.c", "v[norm]"), ("a", "k"), "a")
    writer_fields(parsed)
    assert len(field_types(parsed)) <= 10_000
    program = compile_program(parsed, wanted)
    assert program.code.size <= 3 << 20
    fingerprint(parsed)


def _schema_seeds() -> Iterable[bytes]:
    yield from (json.dumps(SchemaMaker(random.Random(n)).record()).encode() for n in range(24))
    yield from (path.read_bytes() for path in sorted(GOLDEN.glob("*.avsc"))[:12])


# What lies on our own topics


def _golden(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob(f"{name}.*.bin"))]


def part(data: bytes) -> None:
    """A record of the summaries topic: what can be read can be written and judged."""
    message = codec.decode_message(data)
    assert codec.decode_message(codec.encode_message(message)) == message or b"\x7f" in data  # NaN is no number
    plans = hostile.plans()
    judge = MonitorJudge(plans.monitors["credit"])
    judge.apply(0, message)
    if isinstance(message, SummaryPart):
        epoch, entries = plans.topics[hostile.TOPIC].epoch, []
        for entry in message.entries[:3]:
            group = replace(entry.group, monitor="credit", stream="predictions")
            entries.append(replace(entry, group=group))
        source = replace(message.source, topic=hostile.TOPIC, partition=0, epoch=epoch)
        rest = (message.base, message.a, message.b, message.max_tick, tuple(entries), message.schemas)
        judge.apply(1, SummaryPart(message.kind, source, *rest))
        judge.snapshot()


def event(data: bytes) -> None:
    """A published event."""
    codec.encode_event(codec.decode_event(data))


def profile(data: bytes) -> None:
    """A record of the profiles topic."""
    Profile.from_dict(codec.unpack_profile(data)).layout()


def profile_file(data: bytes) -> None:
    """A profile's JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.json"
        path.write_bytes(data)
        load_profile(path).layout()


def _profile_seeds() -> Iterable[bytes]:
    yield json.dumps(hostile.profile().to_dict()).encode()
    yield json.dumps({**hostile.profile().to_dict(), "profile_id": ""}).encode()


def snapshot(data: bytes) -> None:
    """A snapshot whose checksums are right, whatever is in it."""
    body = b"dbs1" + zlib.crc32(data).to_bytes(4, "big") + data
    MonitorJudge(hostile.plans().monitors["credit"]).restore(body)


def _snapshot_seeds() -> Iterable[bytes]:
    flood = hostile.Flood()
    flood.send(hostile.Row(hostile.START_MS + 1_000 * i) for i in range(300))
    (judge,) = flood.driver.judges.values()
    whole = judge.snapshot("credit")
    yield whole[8:]
    state = plain.unpack_state(whole)
    for key in state:
        yield zlib.compress(msgpack.packb({k: v for k, v in state.items() if k != key}))
        yield zlib.compress(msgpack.packb(state | {key: 7}))


def values(data: bytes) -> None:
    """Plain data under a right checksum, not packed."""
    packed = zlib.compress(data)
    plain.unpack_state(b"dbs1" + zlib.crc32(packed).to_bytes(4, "big") + packed)


def saved_arrays(data: bytes) -> None:
    """The arrays of a detector under a right checksum."""
    head = b"DBST" + struct.pack("<H", 2) + b"\1k" + b"\1f"
    arrays.unpack("k", "f", head + struct.pack("<I", zlib.crc32(data)) + zlib.compress(data))
    arrays.unpack("k", "f", data)


def _array_seeds() -> Iterable[bytes]:
    packed = arrays.pack("k", "f", {"a": np.arange(6).reshape(2, 3), "b": np.ones(2), "c": np.zeros(3, np.bool_)})
    yield zlib.decompress(packed[14:])


def state_topic(data: bytes) -> None:
    """Records of the state topic: keys and values in turn, the values with or without a right frame."""
    pieces = data.split(b"\xff\xfe")
    records = []
    for key, value in zip(pieces[::2], pieces[1::2], strict=False):
        manifest = MonitorState("m", len(value), b"driftbus-manifest-1 " + value)
        records += [(key, value), (b"app/m/" + key[:3], codec.pack_state(manifest))]
    find_states("app", records)


def commit(data: bytes) -> None:
    """The metadata of a committed offset."""
    start = start_of(Committed(7, data.decode(errors="replace")), "epoch")
    assert 0 <= start.base <= start.position


class _Letter:
    """A record as confluent-kafka gives it."""

    def __init__(self, data: bytes) -> None:
        self._pieces = data.split(b"\xff\xfe")

    def headers(self) -> list[tuple[str, bytes | None]]:
        names = ("reason", "message", "topic", "partition", "offset", "timestamp")
        return [(f"driftbus-{name}", piece or None) for name, piece in zip(names, self._pieces, strict=False)]

    def topic(self) -> str:
        return "driftbus.deadletter"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b""


def dead_letter(data: bytes) -> None:
    """The headers of a dead letter."""
    read_dead_letter(_Letter(data))  # type: ignore[arg-type]


# What people and services give


def _file(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        table = open_table(path)
        survey(table.read(), Wishes(), where=name, decimal_comma=table.decimal_comma)


def config(data: bytes) -> None:
    """driftbus.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "driftbus.yaml"
        path.write_bytes(data)
        made, problems = read_config(path, {})
        assert (made is None) == bool(problems)
        assert all(str(problem) for problem in problems)


def _config_seeds() -> Iterable[bytes]:
    yield from (path.read_bytes() for path in sorted((GOLDEN.parents[2] / "deploy").glob("*.yaml")))
    yield b"kafka: {bootstrap: a:1}\nmonitors:\n  m: &x\n    predictions: {topic: t, time: ts}\n  n: *x\n"
    yield b"kafka: {bootstrap: 'a:1', password: !!python/object/apply:os.system [id]}\nmonitors: {<<: [1]}\n"


def _csv_seeds() -> Iterable[bytes]:
    yield b"ts,income,country\n2024-01-01,1.5,PT\n2024-01-02,,ES\n"
    yield b'a;b;b\n"x;""y";1,5;\n\xff;2;3\n=1+1;2;3;4\n'


def _table(kind: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"ts": [1, 2], "s": ["a", None], "r": [{"x": 1.0}, {"x": 2.0}], "v": [[0.5], [1.5]]})
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out)
    else:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


def avsc_file(data: bytes) -> None:
    """A schema file of a stream."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "schema.avsc"
        path.write_bytes(data)
        assert AvscFiles(str(path), key="schema_file").bare is not None


def registry(data: bytes) -> None:
    """A registry's answers: the first byte chooses the status, the rest is the body."""
    statuses = (200, 200, 200, 404, 409, 422, 401, 302)
    answer = (statuses[data[0] % 8] if data else 200), data[1:]
    transport = httpx.MockTransport(lambda _: httpx.Response(answer[0], content=answer[1]))
    ticks = iter(range(1 << 30))
    client = Registry(
        RegistryConfig(url="http://registry:1"), monotonic=lambda: float(next(ticks)), sleep=lambda _: None,
        transport=transport,
    )  # fmt: skip
    asks: list[Callable[[], Any]] = [
        lambda: client.resolve(by_id(1)), lambda: client.resolve(GUID), client.subjects, lambda: client.latest("s"),
        lambda: client.register("s", "{}"), lambda: client.incompatibilities("s", "{}"),
    ]  # fmt: skip
    try:
        for ask in asks:
            try:
                ask()
            except ALLOWED:
                continue
    finally:
        client.close()


def _registry_seeds() -> Iterable[bytes]:
    text = json.dumps(json.dumps(PLAIN)).encode()
    reference = b'{"name": "x", "subject": "s", "version": 1}'
    yield b'\0{"schema": ' + text + b', "id": 1, "version": 1, "references": [' + reference + b"]}"
    yield b'\0{"schema": "\\"string\\"", "schemaType": "AVRO", "id": 3, "version": 2}'
    yield b'\0["a", "b"]'
    yield b'\3{"error_code": 40403, "message": "no"}'


TARGETS: dict[str, Target] = {
    "decoder": Target(decoder, _decoder_seeds),
    "framing": Target(framing, _framing_seeds),
    "schema": Target(schema, _schema_seeds),
    "part": Target(part, lambda: [*_golden("SummaryPart"), *_golden("ManualRetrain")]),
    "event": Target(event, lambda: [b for n in ("DriftEvent", "Incident", "RetrainTrigger") for b in _golden(n)]),
    "profile": Target(profile, lambda: _golden("Profile")),
    "profile_file": Target(profile_file, _profile_seeds),
    "snapshot": Target(snapshot, _snapshot_seeds),
    "values": Target(values, lambda: [msgpack.packb({"a": [1, "x", b"y", None, 1.5]}), b"\x81\x81\xc0\xc0\xc0"]),
    "arrays": Target(saved_arrays, _array_seeds),
    "state_topic": Target(
        state_topic,
        lambda: [b'app/m/o\xff\xfe[["app/m/o/A/0", "00"]]', b"\xff\xfe".join([b"app/m/o", *_golden("MonitorState")])],
    ),
    "commit": Target(commit, lambda: [b"epoch:3:9", b"epoch:7 other:1:2", b"e::"]),
    "dead_letter": Target(dead_letter, lambda: [b"\xff\xfe".join([b"bad", b"why", b"t", b"0", b"1", b"2"])]),
    "config": Target(config, _config_seeds),
    "csv": Target(lambda data: _file(data, "rows.csv"), _csv_seeds),
    "parquet": Target(lambda data: _file(data, "rows.parquet"), lambda: [_table("parquet")]),
    "arrow": Target(lambda data: _file(data, "rows.arrow"), lambda: [_table("arrow")]),
    "avsc_file": Target(avsc_file, _schema_seeds),
    "registry": Target(registry, _registry_seeds),
}


def attempt(target: Target, data: bytes) -> None:
    """Run a target; errors of our own are what it is meant to end with."""
    try:
        target.run(data)
    except ALLOWED:
        return

"""``driftbus state``: the saved state of monitors: what there is, whether it can be used, and forgetting it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.jsonlines import iso_utc
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.worker.readback import read_to_end
from driftbus.stream.worker.snapshots import Found, delete_keys, look, mains_first
from driftbus.stream.worker.topics import admin_client, partition_counts

_ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class Shard:
    """What is stored in one partition of the state topic, and the bounds of the summaries beside it."""

    found: Found
    stored_ms: dict[str, int]
    sizes: dict[str, int]
    summaries: tuple[int, int]


@click.group(short_help="List, verify and forget the saved state of monitors.")
def command() -> None:
    """The saved state of monitors on driftbus.state: what there is, whether it can be used, forgetting it.

    Each worker keeps one snapshot of each monitor that it judges. State is never the only copy: a monitor without
    one is rebuilt from driftbus.summaries, as far back as that goes.
    """


@command.command(name="list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON line a snapshot.")
def list_(config_path: Path, as_json: bool) -> None:
    """List all snapshots, the newest of each monitor first."""
    config = configured(config_path)
    for shard in _shards(config, config.monitors).values():
        for values in _lines(shard):
            if as_json:
                click.echo(json.dumps(values))
                continue
            told = f"offset {values['offset']}, {values['bytes']} bytes, stored {values['stored']}"
            click.echo(f"{values['monitor']:<24} {values['owner'][:8]:<8}  {told}  {values['state']}")


@command.command()
@click.argument("monitors", nargs=-1, metavar="[MONITOR]...")
@config_option
def verify(monitors: tuple[str, ...], config_path: Path) -> int | None:
    """Say of each monitor where the next worker would go on, and whether it could.

    Exit code 0 when every monitor can be gone on with, 1 when a worker would stop.
    """
    config = configured(config_path)
    names = _chosen(config, monitors)
    shards, bad = _shards(config, names), False
    for name in names:
        number = shard_of(name, config.topics.summaries_partitions)
        well, told = _verdict(name, shards[number], f"{config.topics.summaries}[{number}]")
        bad |= not well
        click.echo(f"{click.style('✓', fg='green') if well else click.style('✗', fg='red')} {name:<24} {told}")
    return 1 if bad else None


@command.command()
@click.argument("monitors", nargs=-1, required=True, metavar="MONITOR...")
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(monitors: tuple[str, ...], config_path: Path, yes: bool) -> int | None:
    """Delete the saved state of monitors. Stop all workers first.

    The next worker rebuilds them from driftbus.summaries, as far back as that goes: events of that time have the
    ids that they had. Of what was before, detectors know nothing any more.
    """
    config = configured(config_path)
    names = _chosen(config, monitors)
    _require_idle(config)
    shards = _shards(config, names)
    doomed = {
        number: sorted((key for name in names for key in shard.found.keys.get(name, ())), key=mains_first)
        for number, shard in shards.items()
    }
    count = sum(map(len, doomed.values()))
    for name in names:
        number = shard_of(name, config.topics.summaries_partitions)
        first, end = shards[number].summaries
        left = f"{config.topics.summaries}[{number}] from offset {first} to {end}"
        click.echo(f"{name} will be rebuilt from {left}", err=True)
    if count and not yes and not (sys.stdin.isatty() and click.confirm(f"delete {count} records?", err=True)):
        click.echo("nothing was deleted; --yes deletes without asking", err=True)
        return 1
    delete_keys(config.kafka, config.topics.state, doomed)
    click.echo(f"{count} records of {', '.join(names)} deleted")
    return None


def _chosen(config: Config, monitors: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(monitors)) or list(config.monitors)
    for name in names:
        if name not in config.monitors:
            raise ConfigError(f"there is no monitor {name}", fix=f"There are: {', '.join(config.monitors)}")
    return names


def _shards(config: Config, names: Iterable[str]) -> dict[int, Shard]:
    admin, topic = admin_client(config.kafka), config.topics.state
    counts = partition_counts(admin)
    for own in (topic, config.topics.summaries):
        if own not in counts:
            raise ConfigError(f"there is no topic {own}", fix="`driftbus topics --create` makes it")
    numbers = sorted({shard_of(name, config.topics.summaries_partitions) for name in names})
    return {number: _read(config, admin, number) for number in numbers}


def _read(config: Config, admin: AdminClient, number: int) -> Shard:
    records: list[tuple[bytes | None, bytes | None]] = []
    stored_ms: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for message in read_to_end(config.kafka.librdkafka(), config.topics.state, [number]):
        records.append((message.key(), message.value()))
        key = (message.key() or b"").decode(errors="replace")
        stored_ms[key], sizes[key] = message.timestamp()[1], len(message.value() or b"")
    return Shard(look(config.app, records), stored_ms, sizes, _bounds(admin, config.topics.summaries, number))


def _bounds(admin: AdminClient, topic: str, partition: int) -> tuple[int, int]:
    """First offset that is still in the log, and the offset of the next record to come."""
    found = []
    earliest: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    for spec in (earliest, latest):
        place = TopicPartition(topic, partition)
        try:
            answer = admin.list_offsets({place: spec}, request_timeout=_ANSWER_S)[place]
            found.append(int(answer.result(_ANSWER_S).offset))
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"the bounds of {topic}[{partition}] can't be had: {error}") from error
    return found[0], found[1]


def _lines(shard: Shard) -> list[dict[str, Any]]:
    found = []
    for one in shard.found.stored:
        whole = one.state
        chunks = [key for key in shard.found.keys[one.monitor] if key.startswith(f"{one.key}/")]
        used = whole is not None and whole == shard.found.states.get(one.monitor)
        state = f"damaged: {one.trouble}" if one.trouble else "used" if used else "older"
        if one.trouble and whole is not None:
            state += "; the one before it under the same key is whole"
        found.append(
            {
                "monitor": one.monitor,
                "owner": one.key.rsplit("/", 1)[1],
                "offset": whole.offset if whole is not None else None,
                "bytes": sum(shard.sizes[key] for key in [one.key, *chunks]),
                "stored": iso_utc(shard.stored_ms[one.key]),
                "state": state,
            }
        )
    return sorted(found, key=lambda values: (values["monitor"], -(values["offset"] or -1)))


def _verdict(name: str, shard: Shard, summaries: str) -> tuple[bool, str]:
    """Whether a worker could go on with a monitor, and where."""
    found, (first, end) = shard.found, shard.summaries
    trouble = found.troubles().get(name, "")
    if name not in found.states:
        if trouble:
            return False, f"no snapshot can be read: {trouble}. `driftbus state forget {name}` has it rebuilt"
        return True, f"no snapshot: begins with what is left of {summaries}, from offset {first} to {end}"
    offset = found.states[name].offset
    if offset < first:
        return False, (
            f"goes on at offset {offset} of {summaries}, whose log now starts at {first}: summaries were deleted "
            f"before they were judged. `driftbus state forget {name}` begins with what is left"
        )
    if offset > end:
        return False, (
            f"goes on at offset {offset} of {summaries}, which ends at {end}: the topic was made anew. Start again "
            "under a new `app` name"
        )
    told = f"goes on at offset {offset} of {summaries}, {end - offset} records before its end"
    return True, f"{told}; a newer snapshot is damaged: {trouble}" if trouble else told


def _require_idle(config: Config) -> None:
    """Raises ConfigError while workers run, as far as we may know."""
    admin = admin_client(config.kafka)
    try:
        group = admin.describe_consumer_groups([config.app], request_timeout=_ANSWER_S)[config.app].result(_ANSWER_S)
    except (KafkaException, TimeoutError):
        click.echo(f"the brokers don't say whether workers of {config.app} run: make sure that none does", err=True)
        return
    if group.members:
        raise ConfigError(
            f"{len(group.members)} workers of {config.app} run, and would store what they know again",
            fix="Stop all of them first",
        )

"""``driftbus init``: from a topic to a configuration that runs."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from driftbus.schemas.avsc import WriterSchema
from driftbus.schemas.config import KafkaConfig, RegistryConfig
from driftbus.schemas.configfile import apply_environment
from driftbus.schemas.errors import ConfigError, DecodeError
from driftbus.schemas.fields import field_types
from driftbus.schemas.registry import Registry
from driftbus.schemas.resolver import open_resolver
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.stream.replay.words import plain
from driftbus.stream.setup.peek import Headers, newest, parsed, read_body, schema_and_body
from driftbus.stream.setup.proposal import Choice, Proposal, columns_of, propose
from driftbus.stream.worker.topics import admin_client, partition_counts

_TYPED = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "username",
    "sasl.password": "password",
    "ssl.ca.location": "ca",
    "ssl.certificate.location": "certificate",
    "ssl.key.location": "key",
    "ssl.key.password": "key_password",
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:\-]*(?<!:)")
_WORDS = frozenset({"yes", "no", "true", "false", "null", "on", "off", "y", "n"})
_COMMENT_COLUMN = 44


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a topic holds.

    Args:
        schema: the writer schema of most records.
        records: those of that schema, as plain values.
        refused: (reason, message) of the others.
        versions: writer schemas seen.
    """

    schema: WriterSchema
    records: list[Any]
    refused: list[tuple[str, str]]
    versions: int


@click.command(short_help="Write a driftbus.yaml for a topic.")
@click.option(
    "--bootstrap", required=True, envvar="DRIFTBUS_KAFKA_BOOTSTRAP", show_envvar=True, help="HOST:PORT of Kafka."
)
@click.option("--topic", required=True, help="Topic to be watched.")
@click.option("--registry", envvar="DRIFTBUS_REGISTRY_URL", show_envvar=True, help="URL of the schema registry.")
@click.option(
    "--schema", type=click.Path(exists=True, path_type=Path), help=".avsc of records that carry no schema id."
)
@click.option("--monitor", help="Name of the monitor; the topic's name by default.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=1_000, show_default=True, help="Newest records to look at."
)
@click.option("-X", "options", multiple=True, metavar="KEY=VALUE", help="A librdkafka property, e.g. for TLS and SASL.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; standard output by default."
)
@click.option("--force", is_flag=True, help="Overwrite --out.")
def command(
    bootstrap: str,
    topic: str,
    registry: str | None,
    schema: Path | None,
    monitor: str | None,
    sample: int,
    options: tuple[str, ...],
    out: Path | None,
    force: bool,
) -> None:
    """Look at a topic and its schema, and write a commented driftbus.yaml that runs as it is.

    Time, id, score, prediction, version and segments are proposed by name and type and checked against
    sampled records; every choice is written down with its reason. Nothing is written to Kafka.
    Passwords come from DRIFTBUS_KAFKA_PASSWORD and DRIFTBUS_REGISTRY_PASSWORD and stay there.
    """
    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out} exists", fix="--force overwrites it")
    kafka, client = _connection(bootstrap, registry, options)
    admin = admin_client(kafka)
    counts = partition_counts(admin)
    if topic not in counts:
        close = difflib.get_close_matches(topic, counts, n=1)
        raise ConfigError(
            f"there is no topic {topic!r} on {bootstrap}", fix=f"Did you mean {close[0]}?" if close else ""
        )
    stream = StreamConfig(topic=topic, schema_file=str(schema.resolve()) if schema else None)
    found = _sample(kafka, client, stream, counts[topic], sample)
    proposal = propose(columns_of(field_types(found.schema), found.records), found.schema.root.name)
    name = monitor or proposal.where.get("monitor") or re.sub(r"[^A-Za-z0-9._-]", "-", topic)[:100]
    brokers = len(admin.list_topics(topic, timeout=15).brokers)
    shown = stream.schema_file if out is None or schema is None else _relative(schema, out)
    text = "\n".join(_yaml(kafka, registry, shown, topic, name, proposal, found, brokers)) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    _say(out, name, proposal, found)


def _connection(bootstrap: str, registry: str | None, options: tuple[str, ...]) -> tuple[KafkaConfig, Registry | None]:
    kafka: dict[str, Any] = {"options": {}}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise click.UsageError(f"-X {option}: write KEY=VALUE")
        if key in _TYPED:
            kafka[_TYPED[key]] = value
        else:
            kafka["options"][key] = value
    values: dict[str, Any] = {"kafka": kafka, "registry": {}}
    problems = apply_environment(values, os.environ)
    if problems:
        raise ConfigError("; ".join(map(str, problems)))
    try:
        settings = KafkaConfig.model_validate(values["kafka"] | {"bootstrap": bootstrap})
        address = RegistryConfig.model_validate(values["registry"] | {"url": registry})
    except ValueError as e:
        raise ConfigError(f"-X: {e}") from e
    return settings, Registry(address) if registry else None


def _sample(
    kafka: KafkaConfig, registry: Registry | None, stream: StreamConfig, partitions: int, limit: int
) -> Sampled:
    """The newest records, grouped by the schema they were written with."""
    resolver = open_resolver(stream, registry, key="--schema")
    bodies: dict[int, list[bytes]] = {}
    schemas: dict[int, WriterSchema] = {}
    refused: list[tuple[str, str]] = []
    for message in newest(kafka.librdkafka(), stream.topic, range(partitions), limit):
        value = message.value()
        if not isinstance(value, bytes):
            refused.append(("null_value", "the record has no value"))
            continue
        headers: Headers = message.headers() or ()  # type: ignore[assignment]
        try:
            schema, body = schema_and_body(value, headers, resolver)
        except DecodeError as e:
            refused.append((e.reason, str(e)))
            continue
        key = hash((schema.text, schema.references))
        schemas[key] = schema
        bodies.setdefault(key, []).append(body)
    if not bodies:
        return Sampled(_schema_without_records(registry, resolver.bare, stream.topic, refused), [], refused, 0)
    most = max(bodies, key=lambda key: len(bodies[key]))
    records, known = [], parsed(schemas[most])
    for body in bodies[most]:
        try:
            records.append(read_body(body, known))
        except DecodeError as e:
            refused.append((e.reason, str(e)))
    return Sampled(schemas[most], records, refused, len(schemas))


def _schema_without_records(
    registry: Registry | None, bare: WriterSchema | None, topic: str, refused: list[tuple[str, str]]
) -> WriterSchema:
    registered = registry.latest(f"{topic}-value") if registry else None
    if registered is not None:
        return registered.schema
    if bare is not None:
        return bare
    if not refused:
        raise ConfigError(f"{topic} is empty, and no schema is known for it", fix="Give --schema FILE.avsc")
    (reason, message), _ = Counter(refused).most_common(1)[0]
    fix = "Give --registry URL" if reason == "unknown_schema" and registry is None else "Give --schema FILE.avsc"
    raise ConfigError(f"no record of {topic} can be read ({reason}: {message})", fix=fix)


def _yaml(
    kafka: KafkaConfig,
    registry: str | None,
    schema_file: str | None,
    topic: str,
    monitor: str,
    proposal: Proposal,
    found: Sampled,
    brokers: int,
) -> Iterator[str]:
    sampled = f"{len(found.records):,} records" if found.records else "the schema, without records"
    yield f"# Written by `driftbus init` from {sampled} of {topic}."
    yield "# What is not here has a default. `driftbus check` explains mistakes, `driftbus run` begins to watch."
    yield "kafka:"
    yield f"  bootstrap: {_text(kafka.bootstrap)}"
    yield from _connection_lines(kafka)
    if registry:
        yield "registry:"
        yield f"  url: {_text(re.sub(r'//[^/@]*@', '//', registry))}"
    yield ""
    yield "monitors:"
    yield f"  {_text(monitor)}:"
    yield f"    {proposal.stream}:"
    yield f"      topic: {_text(topic)}"
    if schema_file:
        yield f"      schema_file: {_text(schema_file)}"
    yield from _mapping_lines(proposal)
    yield from _segment_lines(proposal)
    yield from _feature_lines(proposal)
    yield "    # The reference is learned from the first day of the stream (event time), unless training data is given:"
    yield f"    #   driftbus profile TRAINING.parquet --monitor {monitor} --publish"
    yield "    learn: {period: 1d, min_rows: 1000}"
    if proposal.events_per_second:
        yield "    detection:"
        yield _line(
            f"      events_per_second: {proposal.events_per_second:g}", "as sampled; for the false-alarm budget"
        )
        yield _line("      false_alarms_per_week: 1", "accepted by the whole monitor")
    columns = max(1, min(3, len(proposal.numeric) + len(proposal.categorical)))
    yield "    retrain:"
    yield "      any:"
    yield f"        - drift: {{columns: {columns}, severity: moderate, for: 2 windows}}"
    yield '        # - schedule: "0 2 * * SUN"'
    yield "      cooldown: 24h"
    yield ""
    yield "topics:"
    yield _line(f"  replication: {min(3, brokers)}", f"{brokers} broker{'s' if brokers != 1 else ''} now")
    yield _line("  summaries_partitions: 4", "fixed for the life of the system: the most judges at work at once")


def _connection_lines(kafka: KafkaConfig) -> Iterator[str]:
    for key in ("security_protocol", "sasl_mechanism", "username", "ca", "certificate", "key"):
        value = getattr(kafka, key)
        if value is not None and value != "PLAINTEXT":
            yield f"  {key}: {_text(value)}"
    if kafka.password is not None or kafka.password_file is not None:
        yield "  # the password is taken from DRIFTBUS_KAFKA_PASSWORD, or from the file DRIFTBUS_KAFKA_PASSWORD_FILE"
    if kafka.key_password is not None or kafka.key_password_file is not None:
        yield "  # the key's password is taken from DRIFTBUS_KAFKA_KEY_PASSWORD, or ..._FILE"
    if kafka.options:
        yield "  options:"
        for key, value in kafka.options.items():
            if isinstance(value, SecretStr):
                yield f"    # {key} is a secret: it is not written down here"
            else:
                yield f"    {key}: {_text(str(value))}"


def _mapping_lines(proposal: Proposal) -> Iterator[str]:
    absent = {
        "time": "none found: the record's Kafka timestamp is the event time",
        "id": "none found: a field that identifies the prediction",
        "score": "none found: the model's score, a number",
        "prediction": "none found: the predicted class or value",
        "version": "none found: the model's version",
    }
    for key in ("time", "id", "score", "prediction", "label", "version"):
        choice = proposal.mapped.get(key)
        if choice is not None:
            yield _line(f"      {key}: {_text(choice.field)}", choice.why)
        elif key in absent and (proposal.stream == "predictions" or key in ("time", "id")):
            yield _line(f"      # {key}:", absent[key])
        if key == "time" and choice is not None and choice.why.startswith("a number"):
            yield f"      time_unit: {proposal.time_unit}"
    if proposal.where:
        yield "      where:"
        for path, value in proposal.where.items():
            yield f"        {_text(path)}: {json.dumps(value, ensure_ascii=False)}"
    yield from _choices("      ignore", proposal.ignore)


def _segment_lines(proposal: Proposal) -> Iterator[str]:
    if proposal.stream == "labels" or not (proposal.segments or proposal.more_segments):
        return
    yield from _choices("    segments", proposal.segments) if proposal.segments else ["    # segments:"]
    for choice in proposal.more_segments:
        yield _line(f"      # - {_text(choice.field)}", choice.why)


def _feature_lines(proposal: Proposal) -> Iterator[str]:
    listed = (
        ("numeric", proposal.numeric),
        ("categorical", proposal.categorical),
        ("embedding", proposal.embeddings),
    )
    for kind, names in listed:
        if names:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            yield f"    # {len(names)} {kind} feature{'s' if len(names) != 1 else ''}: {shown}"


def _choices(key: str, choices: list[Choice]) -> Iterator[str]:
    if choices:
        yield f"{key}:"
        indent = " " * (len(key) - len(key.lstrip()) + 2)
        for choice in choices:
            yield _line(f"{indent}- {_text(choice.field)}", choice.why)


def _line(text: str, comment: str) -> str:
    comment = " ".join(comment.split())
    return f"{text:<{_COMMENT_COLUMN}}  # {comment}" if comment else text


def _text(value: str) -> str:
    """A YAML scalar that is read as text."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _relative(schema: Path, out: Path) -> str:
    return os.path.relpath(schema.resolve(), out.resolve().parent)


def _say(out: Path | None, monitor: str, proposal: Proposal, found: Sampled) -> None:
    mapped = ", ".join(f"{key}={choice.field}" for key, choice in proposal.mapped.items())
    features = len(proposal.numeric) + len(proposal.categorical) + len(proposal.embeddings)
    click.echo(f"{monitor}: {mapped or 'no field mapped'}; {features} features", err=True)
    if found.versions > 1:
        click.echo(f"{found.versions} writer schemas were seen; the most frequent one was looked at", err=True)
    for (reason, message), count in Counter(found.refused).most_common(3):
        click.echo(f"{count} sampled records can't be read: {plain(f'{reason}: {message}')}", err=True)
    path = f" -c {out}" if out and out.name != "driftbus.yaml" else ""
    click.echo(f"next: driftbus topics --create{path}; driftbus doctor{path}; driftbus run{path}", err=True)

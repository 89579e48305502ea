"""``driftbus retrain``: a person's command on the bus."""

from __future__ import annotations

import difflib
import logging
import time
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaError, Producer

from driftbus.schemas.codec import encode_message
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.events import ManualRetrain
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.transport.admin import Admin, topic_partitions
from driftbus.stream.transport.rights import missing_right, writing

_PATIENCE_S = 30.0


@click.command(short_help="Ask for a retrain trigger by hand, or say that a retrain is done.")
@click.argument("monitor")
@click.option("--reason", default="", help="Why, in a sentence; it is passed on in the trigger.")
@click.option("--done", is_flag=True, help="The retrain is over: others are held back no longer. Publishes nothing.")
@click.option("--dry-run", is_flag=True, help="The trigger says dry_run: pipelines pass it over, nothing is held back.")
@click.option("--by", envvar="USER", default="unknown", show_envvar=True, help="Who asks.")
@config_option
def command(monitor: str, reason: str, done: bool, dry_run: bool, by: str, config_path: Path) -> None:
    """Ask for a retrain trigger of MONITOR.

    The command is a record of the summaries topic; the worker that judges the monitor answers it on the retrain
    topic, whatever the cooldown.

    A trigger is over when a new version of the model appears in the stream. Where none can be seen, a pipeline ends
    with --done.
    """
    if done and (dry_run or reason):
        raise click.UsageError("--done goes with neither --dry-run nor --reason")
    if not done and not reason:
        raise click.UsageError("Missing option '--reason'.")
    config = configured(config_path)
    if monitor not in config.monitors:
        close = difflib.get_close_matches(monitor, config.monitors, n=1)
        fix = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(config.monitors)}"
        raise ConfigError(f"there is no monitor {monitor!r} in {config_path}", fix=fix)
    topic, partitions = config.topics.summaries, config.topics.summaries_partitions
    if (found := topic_partitions(Admin(config.kafka), topic)) != partitions:
        raise ConfigError(
            f"topic {topic} has {found} partitions instead of {partitions}",
            key="topics.summaries_partitions",
            fix="`driftbus topics` says what is wrong with all of them",
        )
    request = ManualRetrain(monitor, reason, by, time.time_ns() // 1_000_000, "done" if done else "trigger", dry_run)
    shard = shard_of(monitor, partitions)
    place = _produce(config.kafka.librdkafka(), topic, shard, monitor.encode(), encode_message(request))
    if done:
        click.echo(f"said that the retrain of {monitor} is done ({place})")
    else:
        trial = "a trial of a retrain trigger" if dry_run else "a retrain trigger"
        click.echo(f"asked for {trial} of {monitor} ({place}); it will appear on {config.topics.retrain}")


def _produce(properties: dict[str, Any], topic: str, partition: int, key: bytes, value: bytes) -> str:
    said: list[str] = []
    refused: list[KafkaError] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            refused.append(error)
        else:
            said.append(f"{message.topic()} partition {message.partition()} offset {message.offset()}")

    settings = {"enable.idempotence": True, "delivery.timeout.ms": int(_PATIENCE_S * 1000)}
    producer = Producer(settings | properties, logger=logging.getLogger("librdkafka"))
    with writing(topic):
        producer.produce(topic, value, key, partition=partition, on_delivery=delivered)
        producer.flush(_PATIENCE_S + 1.0)
    if refused and (missing := missing_right(refused[0], "WRITE", topic)) is not None:
        raise missing
    if not said:
        raise Unavailable(f"{topic} did not take the command: {refused[0].str() if refused else 'no answer'}")
    return said[0]

"""``driftbus retrain``: a person's command on the bus."""

from __future__ import annotations

import difflib
import logging
import time
from pathlib import Path
from typing import Any

import click
from confluent_kafka import Producer

from driftbus.schemas.codec import encode_message
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.events import ManualRetrain
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.worker.topics import admin_client, require_topics

_PATIENCE_S = 30.0


@click.command(short_help="Ask for a retrain trigger by hand.")
@click.argument("monitor")
@click.option("--reason", required=True, help="Why, in a sentence; it is passed on in the trigger.")
@click.option("--by", envvar="USER", default="unknown", show_envvar=True, help="Who asks.")
@config_option
def command(monitor: str, reason: str, by: str, config_path: Path) -> None:
    """Ask for a retrain trigger of MONITOR.

    The command is a record of the summaries topic; the worker that judges the monitor answers it on the retrain
    topic, whatever the cooldown.
    """
    config = configured(config_path)
    if monitor not in config.monitors:
        close = difflib.get_close_matches(monitor, config.monitors, n=1)
        fix = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(config.monitors)}"
        raise ConfigError(f"there is no monitor {monitor!r} in {config_path}", fix=fix)
    require_topics(admin_client(config.kafka), config)
    request = ManualRetrain(monitor, reason, by, time.time_ns() // 1_000_000)
    topic, shard = config.topics.summaries, shard_of(monitor, config.topics.summaries_partitions)
    place = _produce(config.kafka.librdkafka(), topic, shard, monitor.encode(), encode_message(request))
    click.echo(f"asked for a retrain trigger of {monitor} ({place}); it will appear on {config.topics.retrain}")


def _produce(properties: dict[str, Any], topic: str, partition: int, key: bytes, value: bytes) -> str:
    said: list[str] = []
    refused: list[str] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            refused.append(error.str())
        else:
            said.append(f"{message.topic()} partition {message.partition()} offset {message.offset()}")

    settings = {"enable.idempotence": True, "delivery.timeout.ms": int(_PATIENCE_S * 1000)}
    producer = Producer(settings | properties, logger=logging.getLogger("librdkafka"))
    producer.produce(topic, value, key, partition=partition, on_delivery=delivered)
    producer.flush(_PATIENCE_S + 1.0)
    if not said:
        raise Unavailable(f"{topic} did not take the command: {refused[0] if refused else 'no answer'}")
    return said[0]

"""Runs a command for each retrain trigger, once per id.

    pip install 'confluent-kafka[avro,schemaregistry]'
    python examples/on_retrain.py ./train.sh

The command gets the trigger as JSON on standard input, and in its environment what a script needs: TRIGGER_ID,
MONITOR, VERSION, POLICY, SEVERITY, and the suggested training data as TRAIN_FROM_MS and TRAIN_TO_MS, milliseconds of
event time. It has to succeed before the trigger counts as done: then its id becomes a file in the folder DONE, and the
offset is committed. A crash in between makes the record come again; so does driftbus, after a crash of its own, with
the same id. Only when we die between the command's end and the file does a command run twice with one TRIGGER_ID.

KAFKA and REGISTRY say where they are.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = os.environ.get("TOPIC", "driftbus.retrain")
DONE = Path(os.environ.get("DONE", "done"))


def main(command: list[str]) -> None:
    DONE.mkdir(exist_ok=True)
    decode = AvroDeserializer(SchemaRegistryClient({"url": os.environ.get("REGISTRY", "http://localhost:8081")}))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA", "localhost:29092"),
            "group.id": "on-retrain",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "max.poll.interval.ms": 24 * 3_600_000,  # a training may take a day
        }
    )
    consumer.subscribe([TOPIC])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise SystemExit(f"Kafka: {message.error()}")
            run_once(decode(message.value(), SerializationContext(TOPIC, MessageField.VALUE)), command)
            consumer.commit(message, asynchronous=False)
    except KeyboardInterrupt:
        return
    finally:
        consumer.close()


def run_once(trigger: dict[str, Any], command: list[str]) -> None:
    """Run the command unless it is done for this id; raises CalledProcessError when it fails."""
    done = DONE / trigger["id"]
    if trigger["dry_run"] or done.exists():
        print(f"{trigger['id']} passed over", flush=True)
        return
    print(f"{trigger['id']} {trigger['monitor']}: {trigger['reason']}", flush=True)
    text = json.dumps(trigger, default=str)
    subprocess.run(command, input=text, text=True, check=True, env={**os.environ, **told(trigger)})
    done.touch()


def told(trigger: dict[str, Any]) -> dict[str, str]:
    """What a script needs, as environment variables."""
    names = {"TRIGGER_ID": "id", "MONITOR": "monitor", "VERSION": "version", "POLICY": "policy", "SEVERITY": "severity"}
    times = {"TRAIN_FROM_MS": trigger["train_from_ms"], "TRAIN_TO_MS": trigger["train_to_ms"]}
    return {name: trigger[field] for name, field in names.items()} | {
        name: str(round(moment.timestamp() * 1000)) for name, moment in times.items()
    }


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python examples/on_retrain.py COMMAND [ARGUMENT ...]")
    main(sys.argv[1:])

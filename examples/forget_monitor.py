"""Deletes the saved state of one monitor, with tombstones; stop all workers first.

    python examples/forget_monitor.py driftbus.yaml credit

The next worker rebuilds it from what the summaries topic still has. docs/operations.md says when to do this.
"""

from __future__ import annotations

import os
import sys

from confluent_kafka import Producer

from driftbus.schemas.configfile import load_config
from driftbus.stream.plan import shard_of
from driftbus.stream.worker.readback import read_to_end


def forget(path: str, monitor: str) -> int:
    """Number of records deleted."""
    config = load_config(path, os.environ)
    topic, shard = config.topics.state, shard_of(monitor, config.topics.summaries_partitions)
    records = read_to_end(config.kafka.librdkafka(), topic, [shard])
    alive = {record.key() or b"": record.value() is not None for record in records}
    keys = [key for key, there in alive.items() if there and key.startswith(f"{config.app}/{monitor}/".encode())]
    producer = Producer(config.kafka.librdkafka())
    for key in keys:
        producer.produce(topic, None, key, partition=shard)  # a monitor's state lies where its summaries do
    if producer.flush(30):
        raise SystemExit("the brokers did not take all tombstones; try again")
    return len(keys)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python examples/forget_monitor.py driftbus.yaml MONITOR")
    print(f"{forget(sys.argv[1], sys.argv[2])} records of {sys.argv[2]} deleted")

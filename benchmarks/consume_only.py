"""The limit: confluent-kafka reads a topic and does nothing with it.

python -m benchmarks.consume_only BOOTSTRAP TOPIC EVENTS prints what it measured as JSON.
"""

from __future__ import annotations

import json
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException

from driftbus.stream.transport.app import tune_gc

BATCH = 5_000


def main() -> None:
    """Consume a topic from its beginning; the clock starts after the first batch."""
    bootstrap, topic, wanted = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"consume-only-{uuid.uuid4().hex[:8]}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 100_000,
            "queued.max.messages.kbytes": 32_768,
        }
    )
    consumer.subscribe([topic])
    tune_gc()
    count, before, started = 0, 0, (0.0, 0.0)
    while count < int(wanted):
        messages = consumer.consume(BATCH, 1.0)
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
        values = [message.value() for message in messages]
        count += len(values)
        if not before and count:
            before, started = count, (time.perf_counter(), time.process_time())
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    print(json.dumps({"events": count - before, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()

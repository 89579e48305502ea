"""The usual way: a stock Faust agent, fastavro, and river's ADWIN on each of 20 columns.

python -m benchmarks.stock_faust BOOTSTRAP TOPIC SCHEMA.avsc EVENTS prints what it measured as JSON.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import fastavro
import faust
from river.drift import ADWIN

_COLUMNS = tuple(f"n{i:02d}" for i in range(20))


def main() -> None:
    """Consume the first events of a topic, and leave."""
    bootstrap, topic, schema_file, wanted = sys.argv[1:]
    schema = fastavro.parse_schema(json.loads(Path(schema_file).read_text()))
    app = faust.App(
        f"stock-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap}",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=str(Path(schema_file).parent / "stock-faust"),
        stream_recovery_delay=0.0,
    )
    detector_class: Any = ADWIN
    detectors = {name: detector_class() for name in _COLUMNS}
    count, alarms, started = 0, 0, (0.0, 0.0)

    @app.agent(app.topic(topic, value_type=bytes))  # type: ignore[untyped-decorator, unused-ignore]
    async def watch(stream: Any) -> None:
        nonlocal count, alarms, started
        async for value in stream:
            if count == 0:
                started = time.perf_counter(), time.process_time()
            record = fastavro.schemaless_reader(io.BytesIO(value), schema, None)
            for name, detector in detectors.items():
                number = record[name]  # type: ignore[call-overload, index, unused-ignore]
                if number is not None:
                    detector.update(number)
                    alarms += detector.drift_detected
            count += 1
            if count == int(wanted):
                seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
                # Faust has put its own objects in the place of stdout
                os.write(1, json.dumps({"events": count - 1, "seconds": seconds, "cpu": cpu}).encode())
                os._exit(0)

    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()

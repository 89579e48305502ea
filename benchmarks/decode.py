"""Decoding against fastavro: the same records of three shapes, one thread.

fastavro builds a dict per record; driftbus fills a block of columns from Confluent-framed values,
framing and every bound checked.
"""

from __future__ import annotations

import io

import fastavro

from benchmarks import events
from benchmarks.core import plan_of
from benchmarks.measure import Ratio, Report, rates
from driftbus.schemas.decode.batch import BatchDecoder

WANTED = {"flat": 25.0, "nullable": 25.0, "map": 15.0}
_N = 5_000


def run(*, quick: bool) -> Report:
    """Records per second."""
    data = events.rows(_N)
    projection = plan_of(events.profile(data)).projection
    report = Report("decode: Avro records of 29 fields to what is counted of them, batches of 5,000, one core")
    for shape, wanted in WANTED.items():
        values = events.Encoded(data, shape).values(0, _N)
        decoder = BatchDecoder(projection, events.OneSchema(shape))
        assert decoder.decode(values).good.all()
        schema = fastavro.parse_schema(events.SCHEMAS[shape])
        bodies = [value[5:] for value in values[: _N // 4]]
        found = rates(
            {
                "driftbus": (lambda values=values, decoder=decoder: decoder.decode(values), _N),  # type: ignore[misc]
                "fastavro": (
                    lambda bodies=bodies, schema=schema: [  # type: ignore[misc]
                        fastavro.schemaless_reader(io.BytesIO(body), schema, None) for body in bodies
                    ],
                    len(bodies),
                ),
            },
            rounds=9 if quick else 25,
        )
        report.rows.append(
            Ratio(f"{shape}: driftbus / fastavro", found["driftbus"], found["fastavro"], "rec/s", wanted)
        )
    return report

"""The compiled decoder under millions of records: valid ones, and ones that were."""

from __future__ import annotations

import io
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.utils import generate_one

from driftbus.schemas.avsc import parse_schema
from driftbus.schemas.decode.batch import Decoder
from driftbus.schemas.errors import DecodeError
from harness.avro import encode, without_logical

from .oracle import Oracle
from .schemas import SchemaMaker, damaged, projection, value

RECORDS, MUTANTS = 24, 100
LONGEST = 1_024
"""Bytes of a body; records of random recursive schemas may be longer, and say no more."""


@dataclass
class Tally:
    """What rounds have come to.

    Attributes:
        schemas, inputs, good, lenient: schemas; bodies; those decoded; those that only fastavro reads.
        reasons: why the others were refused.
        faults: (seed, schema, body, what is wrong).
    """

    schemas: int = 0
    inputs: int = 0
    good: int = 0
    lenient: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.schemas += other.schemas
        self.inputs += other.inputs
        self.good += other.good
        self.lenient += other.lenient
        self.reasons += other.reasons
        self.faults += other.faults


def bodies_of(rng: random.Random, schema: Any, root: Any) -> list[bytes]:
    """Valid records: fastavro's own, and ours, with block sizes in every other one."""
    found = []
    parsed = fastavro.parse_schema(without_logical(schema))
    random.seed(rng.random())
    for i in range(RECORDS):
        try:
            if i % 6:
                found.append(encode(root, value(rng, root), sizes=i % 2 == 0))
            else:
                buffer = io.BytesIO()
                fastavro.schemaless_writer(buffer, parsed, generate_one(parsed))
                found.append(buffer.getvalue())
        except (RecursionError, ValueError, KeyError, TypeError, IndexError):
            continue  # a schema whose records never end, or that fastavro has no random values of
    return [body for body in found if len(body) <= LONGEST]


def one_round(seed: int) -> Tally:
    """One random schema, its records and many mutants of them, decoded in one batch and judged one by one."""
    rng = random.Random(seed)
    schema = SchemaMaker(rng).record()
    root = parse_schema(schema).root
    wanted = projection(rng, schema, root)
    bodies = bodies_of(rng, schema, root)
    tally = Tally(schemas=1)
    if not bodies:
        bodies = [b""]
    inputs = list(bodies)
    for body in bodies:
        inputs += [damaged(rng, body, rng.choice(bodies))[: 2 * LONGEST] for _ in range(MUTANTS)]
    inputs += [rng.randbytes(rng.randint(0, 40)) for _ in range(50)]
    try:
        decoded = Decoder(schema, wanted).decode(inputs)
    except DecodeError as error:
        tally.reasons[error.reason] += 1
        return tally
    oracle = Oracle(schema, root, wanted)
    reasons = {row: reason for row, reason, _ in decoded.bad}
    for row, body in enumerate(inputs):
        outcome = oracle.judge(body, decoded, row, reasons.get(row, ""))
        tally.inputs += 1
        tally.good += outcome.good
        if outcome.reason:
            tally.reasons[outcome.reason] += 1
            tally.lenient[outcome.reason] += outcome.lenient
        if outcome.fault:
            tally.faults.append((seed, json.dumps(schema), body.hex(), f"{wanted} {outcome.fault}"))
    return tally


def main() -> None:
    """`python -m fuzz.decoding FIRST_SEED SECONDS`: rounds for so long; a summary as one line of JSON."""
    seed, seconds = int(sys.argv[1]), float(sys.argv[2])
    until, total = time.monotonic() + seconds, Tally()
    while time.monotonic() < until and len(total.faults) < 20:
        print(seed, file=sys.stderr, end="\r")  # after a crash of the process its last seed stands here
        total.add(one_round(seed))
        seed += 1
    print(json.dumps({
        "next_seed": seed, "schemas": total.schemas, "inputs": total.inputs, "good": total.good,
        "refused": dict(total.reasons), "only_fastavro": dict(+total.lenient), "faults": total.faults,
    }))  # fmt: skip


if __name__ == "__main__":
    main()

"""python -m benchmarks.soak [--days 30] [--minutes 60] [--write]: a month of event time in an hour, on a real Kafka.

A worker is watched from beginning to end; another one comes beside it for a quarter of the time, and is stopped or
killed in turns. Slopes are of the moments at which the watched one judges everything. At the end what was published is
compared with what `driftbus replay` gives. Samples are kept as lines of JSON; `--from FILE` reports on those of an
earlier run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import httpx

from benchmarks.soak.report import Run, draw, report
from benchmarks.soak.stage import PARTITIONS, Stage
from benchmarks.soak.watch import Sample, look
from benchmarks.soak.world import DAY_MS, HOUR_MS, World
from benchmarks.table import as_text, write
from harness.process import Child

_STRETCH_MS = 600_000
_READY_S = 180.0


def soak(days: float, minutes: float, *, every_s: float, restarts: int, scale: float = 1.0) -> Iterator[Sample | Run]:
    """Samples as they come, and last how the run ended.

    Args:
        days: of event time.
        minutes: that they take, at the least.
        every_s: seconds between samples.
        restarts: of the worker beside the watched one.
        scale: on the rate of events.
    """
    speed = days * DAY_MS / 1000 / (minutes * 60)
    # it ends before now: brokers refuse time stamps of the future
    start_ms = (time.time_ns() // 1_000_000 - int(days * DAY_MS)) // HOUR_MS * HOUR_MS - 6 * HOUR_MS
    stage, world = Stage(start_ms, speed), World(start_ms, scale)
    ended = False
    try:
        watched, port = stage.start("watched")
        watched.wait_until(lambda: _ready(port), _READY_S, "driftbus run")
        beside: tuple[Child, int] | None = None
        codes: list[int] = []
        begun, sampled, started = time.monotonic(), 0.0, 0
        stretches = int(days * DAY_MS) // _STRETCH_MS
        for number in range(stretches):
            at_ms = number * _STRETCH_MS
            stage.produce(world.stretch(start_ms + at_ms, _STRETCH_MS))
            while True:
                passed = time.monotonic() - begun
                if beside is None and started < restarts and number >= stretches * (started + 0.5) / restarts:
                    beside = stage.start("beside")
                    started += 1
                if beside and number >= stretches * (started - 0.25) / restarts and _begun(*beside):
                    if started % 2:
                        codes.append(beside[0].stop(60))
                    else:
                        beside[0].kill()
                    beside = None
                if watched.returncode is not None:
                    raise RuntimeError(f"the watched worker ended with {watched.returncode}:\n{watched.tail(40)}")
                if passed >= sampled:
                    yield look(stage, watched.pid, port, stage.store("watched"), passed, at_ms / DAY_MS)
                    sampled += every_s
                if passed >= at_ms / 1000 / speed:
                    break
                time.sleep(0.05)
        stage.flush()
        stage.produce(list(world.closing(start_ms + stretches * _STRETCH_MS, PARTITIONS)))
        stage.flush()
        events, verdict = stage.verdict(300)
        passed = time.monotonic() - begun
        yield look(stage, watched.pid, port, stage.store("watched"), passed, days)
        if beside:
            beside[0].wait_until(lambda: _begun(*beside), _READY_S, "driftbus run")
            codes.append(beside[0].stop(60))
        codes.append(watched.stop(60))
        ended = verdict.ok and not any(codes)
        yield Run(days, passed, stage.sent, events, verdict.told(), codes, restarts)
    finally:
        stage.close(keep=not ended)


def _begun(child: Child, port: int) -> bool:
    """Whether a SIGTERM would be answered, and not end a Python that is still importing."""
    return child.returncode is not None or _ready(port)


def _ready(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False


def main() -> int:
    """The command line; 1 when something grew or differed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--days", type=float, default=30.0, help="of event time")
    parser.add_argument("--minutes", type=float, default=60.0, help="that they take")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between samples")
    parser.add_argument("--restarts", type=int, default=10, help="of the worker beside the watched one")
    parser.add_argument("--samples", type=Path, default=Path("soak.jsonl"), help="where samples are kept")
    parser.add_argument("--from", type=Path, dest="earlier", help="report on the samples of an earlier run")
    parser.add_argument("--write", action="store_true", help="put table and picture into docs/")
    given = parser.parse_args()
    if given.earlier:
        lines = [json.loads(line) for line in given.earlier.read_text().splitlines()]
        found: list[Sample | Run] = [Run(**line) if "events" in line else Sample(**line) for line in lines]
    else:
        found = []
        with given.samples.open("w", encoding="utf-8") as file:
            for one in soak(given.days, given.minutes, every_s=given.every, restarts=given.restarts):
                found.append(one)
                file.write(json.dumps(asdict(one)) + "\n")
                file.flush()
    run = found[-1]
    assert isinstance(run, Run), "the run did not come to its end"
    samples = [one for one in found if isinstance(one, Sample)]
    made = report(samples, run)
    print(as_text([("soak", made)]))
    if given.write:
        write([("soak", made)])
        draw(samples, run)
    return 0 if all(row.holds is not False for row in made.rows if hasattr(row, "holds")) else 1


if __name__ == "__main__":
    sys.exit(main())

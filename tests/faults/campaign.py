"""Many schedules: `python -m faults.campaign --seeds 0:200 --jobs 2`. Each job has a Kafka of its own."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, ClassVar

from faults.nemesis import carry_out, schedule
from faults.surroundings import make_broker, make_cluster
from harness.broker import Broker
from harness.cluster import Cluster
from harness.nursery import Nursery
from harness.process import end_with_parent
from harness.registry import Registry


class _Job:
    """What the schedules of one process share."""

    kafka: ClassVar[dict[int, Broker | Cluster]] = {}
    nursery: Nursery | None = None
    registry: Registry | None = None


def _kafka(brokers: int) -> Broker | Cluster:
    if brokers not in _Job.kafka:
        made = make_broker() if brokers == 1 else make_cluster()
        made.start()
        _Job.kafka[brokers] = made
    return _Job.kafka[brokers]


def run_seed(seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Run the schedule of a seed, in a Kafka that the process keeps; what came out, as JSON values."""
    plan = schedule(seed, **options)
    told: dict[str, Any] = {"seed": seed, "faults": plan.names, "schedule": str(plan), "ok": False}
    try:
        _Job.nursery = _Job.nursery or Nursery()
        kafka = _kafka(plan.shape.brokers)
        if plan.shape.registry and _Job.registry is None:
            _Job.registry = Registry()
            _Job.registry.start()
        on, result = carry_out(plan, kafka, _Job.nursery, _Job.registry)
        told |= {"ok": not result.error, "events": result.events, "records": result.records,
                 "seconds": round(result.seconds, 1), "error": result.error, "notes": result.notes}  # fmt: skip
        if told["ok"]:
            shutil.rmtree(on.home)
            kafka.delete_topics(*[t for t in [on.source, on.labelled] if t], *_own(on.config.topics))
        else:
            (on.home / "schedule.txt").write_text(f"{plan}\n\n{result.error}\n")
            told["folder"] = str(on.home)
    except Exception:  # noqa: BLE001 - the campaign goes on, with a Kafka that can be trusted
        told |= {"ok": False, "error": traceback.format_exc(), "seconds": 0.0}
        if (kafka_ := _Job.kafka.pop(plan.shape.brokers, None)) is not None:
            kafka_.close()
    return told


def _own(topics: Any) -> Iterator[str]:
    return (name for role, name in topics if isinstance(name, str))


def main(arguments: list[str]) -> int:
    """The command line; 1 if any schedule failed."""
    parser = argparse.ArgumentParser(prog="faults.campaign", description=__doc__)
    parser.add_argument("--seeds", default="0:20", help="first:end, or a list: 3,7,8")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=12_000, help="predictions in each schedule")
    parser.add_argument("--only", default="", help="kinds of faults, separated by commas")
    parser.add_argument("--out", type=Path, help="results are appended to it, a line of JSON each")
    parser.add_argument("--brokers", type=int, choices=[1, 3], help="only one, or only three")
    parser.add_argument("--registry", action="store_true", help="only with a schema registry")
    given = parser.parse_args(arguments)
    first, _, end = given.seeds.partition(":")
    seeds = list(range(int(first), int(end))) if end else [int(s) for s in first.split(",")]
    options = {"rows": given.rows, "only": [name for name in given.only.split(",") if name]}
    options |= {} if given.brokers is None else {"brokers": given.brokers}
    options |= {"registry": True} if given.registry else {}
    begun, results = time.monotonic(), []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(given.jobs, len(seeds)), mp_context=spawn, initializer=end_with_parent) as pool:
        for done in as_completed([pool.submit(run_seed, seed, options) for seed in seeds]):
            results.append(done.result())
            _tell(results, len(seeds), time.monotonic() - begun, given)
    failed = sorted(r["seed"] for r in results if not r["ok"])
    _summary(results)
    print(f"{len(results)} schedules, {len(failed)} failed{': ' if failed else ''}{','.join(map(str, failed))}")
    return 1 if failed else 0


def _tell(results: list[dict[str, Any]], count: int, passed_s: float, given: argparse.Namespace) -> None:
    last = results[-1]
    left = passed_s / len(results) * (count - len(results))
    print(
        f"[{len(results)}/{count}] seed {last['seed']} {'ok' if last['ok'] else 'FAILED'} {last['seconds']:.0f} s  "
        f"{'+'.join(last['faults'])}  {last.get('events', 0)} events, {last.get('records', 0)} records  "
        f"(about {left / 60:.0f} min left)",
        flush=True,
    )
    for note in last.get("notes", ()):
        print(f"  note: {note}", flush=True)
    if not last["ok"]:
        only = f" --only {given.only}" if given.only else ""
        only += f" --brokers {given.brokers}" if given.brokers else ""
        only += " --registry" if given.registry else ""
        print(f"{last['schedule']}\n{last['error']}\n  kept: {last.get('folder', '')}")
        print(f"  again: make faults ARGS='--seeds {last['seed']} --rows {given.rows}{only}'", flush=True)
    if given.out:
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(last) + "\n")


def _summary(results: list[dict[str, Any]]) -> None:
    runs, bad = Counter[str](), Counter[str]()
    for result in results:
        runs.update(result["faults"])
        if not result["ok"]:
            bad.update(result["faults"])
    for name in sorted(runs):
        print(f"  {name:<18}{runs[name]:>5} schedules{bad[name]:>5} failed")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)

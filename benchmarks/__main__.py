"""python -m benchmarks [NAME ...] [--quick] [--write]: one table of ratios, measured side by side."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from typing import Protocol, cast

from benchmarks.measure import Report
from benchmarks.table import as_text, machine, write

NAMES = (
    "through_faust", "labels", "core", "decode", "engine", "judge_cost", "state", "startup", "memory_week", "car_loan",
)  # fmt: skip


class _Benchmark(Protocol):
    def run(self, *, quick: bool) -> Report: ...


def main() -> int:
    """Run the chosen benchmarks and print their table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"parts of names, of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and events: within 90 seconds")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    chosen = [name for name in NAMES if not arguments.names or any(part in name for part in arguments.names)]
    if not chosen:
        parser.error(f"no benchmark is called so; there are {', '.join(NAMES)}")
    reports: list[tuple[str, Report]] = []
    for name in chosen:
        started = time.perf_counter()
        benchmark = cast(_Benchmark, importlib.import_module(f"benchmarks.{name}"))
        reports.append((name, benchmark.run(quick=arguments.quick)))
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(f"{machine()}; ratios are medians over interleaved rounds of one run\n")
    print(as_text(reports))
    if arguments.write:
        write(reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())

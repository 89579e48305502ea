"""What the defaults reach, figure by figure: python -m benchmarks.detection.figures [--data FOLDER] [NAME ...].

False alarms per million values on streams without drift, delays on streams with one, and the real
sets if FOLDER holds them. `--first-seed` chooses other runs, for those who try constants.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.detection import ours, real
from benchmarks.detection.streams import CHANGES, IID, sample

AT_MOST_FALSE = dict.fromkeys(IID, 1.0) | {
    "three_values": 1.0, "integers_10": 1.0, "mostly_zeros": 1.0, "nulls_.01": 1.0, "two_categories": 1.0,
    "categories_8": 1.0, "categories_50": 1.0, "flag_.999": 1.0, "ar_.5": 2.0, "ar_.9": 5.0, "ar_.95": 8.0,
    "regimes_500": 15.0, "regimes_500_random": 15.0, "garch": 5.0,
}  # fmt: skip
"""False alarms per million values, undivided."""

AT_MOST_DELAY = {
    "shift_.25": 376, "shift_.5": 125, "shift_1": 56, "sd_x1.5": None, "variance_x1.5": 300, "ramp_1_10k": 1900,
    "nulls_.05": 400, "nulls_.2": 80 + 32, "category_.15_.10": 1200, "ratio_.50_.55": 2400, "sd_x.67": 250,
    "modes_.85": 900, "skew": 450, "t3": 600, "flag_to_.5": 40, "new_category": 1000, "zeros_x5": None,
    "shift_.1": None, "shift_1_ar_.95": None,
}  # fmt: skip
"""Median rows to the first word, undivided."""

AT_MOST_DIVIDED = {"shift_.25": 580, "shift_.5": 200, "shift_1": 80}
"""The same for one column of 50 at 10 events per second and one false alarm a week."""

_AFTER = {"ramp_1_10k": 12_000, "shift_.1": 20_000, "ratio_.50_.55": 20_000, "zeros_x5": 40_000}


def false_alarms(name: str, runs: int, rows: int, first_seed: int) -> float:
    """Episodes opened per million values of a stream without drift, undivided."""
    samples = [sample(name, first_seed + i, rows) for i in range(runs)]
    return sum(one.false_alarms for one in ours.outcomes(samples)) / (runs * rows / 1e6)


def delays(name: str, runs: int, first_seed: int, budget: float | None = None, columns: int = 1) -> list[ours.Outcome]:
    """Runs of a stream with a change, scored."""
    samples = [sample(name, first_seed + i, _AFTER.get(name, 10_000)) for i in range(runs)]
    return ours.outcomes(samples, columns=columns, budget=budget)


def as_line(name: str, scored: Sequence[ours.Outcome], bound: int | None) -> str:
    """Delay and the rest of some runs, in one line; a miss counts as endless."""
    late = np.array([np.inf if one.delay is None else one.delay for one in scored])
    known = [one for one in scored if one.delay is not None]
    middle, slow = np.quantile(late, [0.5, 0.95], method="inverted_cdf")
    found = np.mean([bool(one.covered) for one in known]) if known else np.nan
    verdict = "" if bound is None else "ok" if middle <= bound else "MISSES IT"
    return (
        f"{name:20s} median {middle:6.0f} (at most {bound or '-'}) p95 {slow:6.0f} missed {np.isinf(late).mean():4.0%} "
        f"before {sum(one.false_alarms for one in scored):2d} reopened {sum(one.reopened for one in scored):2d} "
        f"interval holds {found:4.0%} {verdict}"
    )


def on_real(folder: Path, name: str, shuffles: int) -> None:
    """What is said of a real set, and of its rows in random order, undivided."""
    whole = real.SETS[name](folder)
    for label, rows in ((name, whole), *((f"{name}, shuffled", whole.shuffled(i)) for i in range(shuffles))):
        settings = ours.settings_for(len(rows.values), pane=rows.pane, row_s=rows.row_s)
        said = ours.detect(ours.profile_of(rows.reference, ordered=True), rows.values, settings, rows.pane)
        opened = [one for one in said if one.transition.status == "opened"]
        words = [one for one in said if one.transition.status != "closed"]
        thousands = rows.rows * len(rows.values) / 1000
        print(f"{label:26s} {len(opened):3d} episodes, {len(opened) / thousands:.3f} per 1,000 rows and column", end="")
        for change in rows.changes:
            columns = {one.transition.column for one in words if change < one.row <= change + rows.within}
            print(f"; {len(columns)} of {len(rows.drifting or rows.values)} columns after {change}", end="")
        if rows.changes:
            print(f"; {sum(one.row <= rows.changes[0] for one in words)} words before", end="")
        if rows.controls:
            print(f"; {sum(one.transition.column in rows.controls for one in words)} on the controls", end="")
        print(flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection.figures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="streams or sets; all by default")
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    parser.add_argument("--runs", type=int, default=100, help="of each stream with a change")
    parser.add_argument("--millions", type=int, default=10, help="values of each stream without one")
    parser.add_argument("--shuffles", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    for name, bound in AT_MOST_DELAY.items():
        if name in (options.names or CHANGES):
            print(as_line(name, delays(name, options.runs, options.first_seed), bound), flush=True)
    for name, bound in AT_MOST_DIVIDED.items():
        if name in (options.names or CHANGES):
            scored = delays(name, options.runs, options.first_seed, 1.0, 50)
            print(as_line(f"{name}, 1 of 50", scored, bound), flush=True)
    for name in real.SETS if options.data else ():
        if name in (options.names or real.SETS):
            on_real(options.data, name, options.shuffles)
    for name, most in AT_MOST_FALSE.items():
        if name in (options.names or AT_MOST_FALSE):
            rate = false_alarms(name, options.millions, 1_000_000, options.first_seed)
            print(
                f"{name:20s} {rate:5.2f} per million (at most {most:g}) {'' if rate <= most else 'MISSES IT'}",
                flush=True,
            )


if __name__ == "__main__":
    main()

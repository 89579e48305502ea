"""Each detector of distributions alone, the default, and all together, at undivided levels: a table of docs/detectors.

`python -m benchmarks.detection.family [--quick] [--write]`; some minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.detection import ours
from benchmarks.detection.streams import IID, sample
from driftbus.schemas.config import Detector

PAGE = Path(__file__).parents[2] / "docs/detectors/README.md"
FIRST_SEED = 40_000
"""Constants were chosen on smaller ones."""

NULLS = {"iid, 10 families": tuple(IID), "AR .5": ("ar_.5",), "AR .9": ("ar_.9",), "AR .95": ("ar_.95",)}
CHANGES = {
    "+ .25 sd": "shift_.25", "+ .5": "shift_.5", "+ 1": "shift_1", "sd × 1.5": "sd_x1.5", "two modes": "modes_.85",
    "category .15 → .10": "category_.15_.10",
}  # fmt: skip
CHOICES = {
    "`adwin` and `psi`, the default": ("adwin", "psi"),
    **{f"`{name}`": (name,) for name in get_args(Detector)},
    "all": get_args(Detector),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: columns and rows of each stream without drift, and runs of each change."""

    columns: int
    rows: int
    runs: int


FULL, QUICK = Size(20, 100_000, 100), Size(2, 20_000, 6)


def outcomes(name: str, detectors: Sequence[str], columns: int, rows: int) -> list[ours.Outcome]:
    """Runs of a stream, each a column of one group, scored."""
    samples = [sample(name, FIRST_SEED + i, rows) for i in range(columns)]
    names, length = [str(i) for i in range(columns)], min(run.values.size for run in samples)
    reference = {name: run.reference for name, run in zip(names, samples, strict=True)}
    profile = ours.profile_of(reference, ordered=samples[0].ordered)
    stream = {name: run.values[:length] for name, run in zip(names, samples, strict=True)}
    settings = replace(ours.settings_for(1, row_s=samples[0].row_s), detectors=tuple(sorted(detectors)))
    said: dict[str, list[ours.Said]] = {name: [] for name in names}
    for one in ours.detect(profile, stream, settings):
        said[one.transition.column].append(one)
    return [ours.score(said[name], run.change) for name, run in zip(names, samples, strict=True)]


def row(detectors: Sequence[str], size: Size) -> list[str]:
    """False alarms per million values of every kind of stream, then delays of every change."""
    cells = []
    for names in NULLS.values():
        columns = size.columns if len(names) > 1 else 4 * size.columns
        found = [one for name in names for one in outcomes(name, detectors, columns, size.rows)]
        rate = sum(one.false_alarms for one in found) / (len(found) * size.rows / 1e6)
        cells.append(f"{rate:.2f}".lstrip("0") if rate else "0")
    for name in CHANGES.values():
        delays = [one.delay for one in outcomes(name, detectors, size.runs, 8_000)]
        found_ones = [delay for delay in delays if delay is not None]
        missed = delays.count(None) / len(delays)
        median = np.median([np.inf if delay is None else delay for delay in delays])
        text = f"{median:,.0f}" if np.isfinite(median) else "never" if not found_ones else "seldom"
        cells.append(text + (f" ({missed:.0%} missed)" if missed and np.isfinite(median) else ""))
    return cells


def table(size: Size) -> str:
    """The table as Markdown."""
    lines = [f"| | {' | '.join(NULLS)} | {' | '.join(CHANGES)} |", "|---" * (1 + len(NULLS) + len(CHANGES)) + "|"]
    for label, detectors in CHOICES.items():
        lines.append(f"| {label} | {' | '.join(row(detectors, size))} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the table, or put it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection.family", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the values")
    parser.add_argument("--write", action="store_true", help="put the table into docs/detectors/README.md")
    arguments = parser.parse_args()
    made = table(QUICK if arguments.quick else FULL)
    print(made)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition("<!-- family -->\n")
        PAGE.write_text(f"{before}<!-- family -->\n{made}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")


if __name__ == "__main__":
    main()

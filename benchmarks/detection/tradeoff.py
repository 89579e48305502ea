"""What a smaller level on spread would cost: python -m benchmarks.detection.tradeoff [--runs N] [--millions N].

Volatility that clusters is a change of spread while it lasts. The curve shows false alarms on GARCH
beside the delay on a true change of variance, level by level.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.detection import ours
from benchmarks.detection.streams import sample
from driftbus.detectors.settings import Settings

LEVELS = (0.001, 0.0005, 0.0002, 0.0001, 0.00003, 0.00001)
_ROWS = 500_000


def line(level: float, runs: int, millions: float, first_seed: int) -> str:
    """One point of the curve, as a row of a Markdown table."""
    changed = {"delta_spread": level}
    quiet = max(1, round(millions * 1e6 / _ROWS))
    found = [ours.outcomes([sample("garch", first_seed + i, _ROWS)], changed=changed)[0] for i in range(quiet)]
    false = sum(one.false_alarms for one in found) / (quiet * _ROWS / 1e6)
    scored = ours.outcomes([sample("variance_x1.5", first_seed + i, 10_000) for i in range(runs)], changed=changed)
    late = np.array([np.inf if one.delay is None else one.delay for one in scored])
    middle, slow = np.quantile(late, [0.5, 0.95], method="inverted_cdf")
    default = " (default)" if level == Settings(1).delta_spread else ""
    return f"| {level:g}{default} | {false:.1f} | {middle:.0f} | {slow:.0f} |"


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="streams with a change")
    parser.add_argument("--millions", type=float, default=5.0, help="values without one")
    parser.add_argument("--first-seed", type=int, default=910_000)
    given = parser.parse_args()
    print("| level on spread | false alarms per 1M, GARCH(.1, .88) | variance x 1.5: median rows | 95 % |")
    print("|---|---|---|---|")
    for level in LEVELS:
        print(line(level, given.runs, given.millions, given.first_seed), flush=True)


if __name__ == "__main__":
    main()

"""How often what labels say is within the bounds that scores alone gave: a table of docs/performance.md.

Run ``python -m benchmarks.estimate_coverage [RUNS] [SEED]``. Each run draws a labelled reference and ten
windows of 1,000 rows, every second one with higher scores than the reference (covariate shift).
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.interval_coverage import BINARY, Draw, Rows, counted
from driftbus.detectors.cbpe import estimate
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomecells import Float, Int
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import ColumnProfile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.schemas.outcomeconfig import PerformanceConfig

NAMES = (
    "accuracy", "precision", "recall", "f1", "balanced_accuracy", "auc", "average_precision", "log_loss", "brier",
    "prevalence",
)  # fmt: skip
REFERENCES, WINDOWS, ROWS = (3_000, 20_000), 10, 1_000


def in_profile(column: ColumnProfile, values: Float) -> Int:
    """Values in the cells of a profile's column."""
    cells = 1 + np.searchsorted(np.array(column.edges), values, side="left")
    cells = np.where(values < column.low, 0, np.where(values > column.high, column.bins + 1, cells))
    return np.bincount(cells, minlength=column.width)


def shifted(draw: Draw, random: np.random.Generator) -> Rows:
    """Rows of which those with the highest score are kept four times as often as those with the lowest."""
    score, guess, label = draw(random, 3 * ROWS)
    rank = np.argsort(np.argsort(score)) / score.size
    kept = np.flatnonzero(random.random(score.size) < 0.2 + 0.6 * rank)[:ROWS]
    return score[kept], guess[kept], label[kept]


def shares(draw: Draw, rows: int, runs: int, random: np.random.Generator) -> dict[str, float]:
    """Metric → share of windows whose labels are within the bounds."""
    within: dict[str, list[bool]] = {}
    for _ in range(runs):
        reference = draw(random, rows)
        profile = build_profile("m", "predictions", {"score": NumericData(reference[0], role="score")})
        shape = outcome_shape(profile, PerformanceConfig(threshold=0.3))
        pairs = counted(shape, reference)
        for number in range(WINDOWS):
            window = shifted(draw, random) if number % 2 else draw(random, ROWS)
            realised = metrics(shape, counted(shape, window))
            for name, each in estimate(shape, pairs, in_profile(profile.columns[0], window[0])).items():
                if name in realised:
                    within.setdefault(name, []).append(each.low <= realised[name].value <= each.high)
    return {name: float(np.mean(hits)) for name, hits in within.items()}


def main() -> None:
    """Print the table."""
    runs, seed = ([int(text) for text in sys.argv[1:]] + [100, 1][len(sys.argv) - 1 :])[:2]
    print(f"| population | reference | {' | '.join(f'`{name}`' for name in NAMES)} |")
    print("|---" * (len(NAMES) + 2) + "|")
    for number, (name, draw) in enumerate(BINARY.items()):
        for rows in REFERENCES:
            found = shares(draw, rows, runs, np.random.default_rng([seed, number, rows]))
            told = " | ".join(f"{100 * found[metric]:.0f}" if metric in found else "-" for metric in NAMES)
            print(f"| {name} | {rows:,} | {told} |", flush=True)


if __name__ == "__main__":
    main()

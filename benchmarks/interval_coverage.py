"""How often the intervals of metrics hold the true value: the tables of docs/performance.md.

Run ``python -m benchmarks.interval_coverage [RUNS] [SEED]``. Each line is one population; the true value is
that of three million rows, of AUC and average precision without bins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.schemas.outcomeconfig import PerformanceConfig

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Rows = tuple[Float, Int, Float]
Draw = Callable[[np.random.Generator, int], Rows]

SIZES = (300, 1_000, 5_000)
POPULATION = 3_000_000


def binary(rate: float, distance: float, temper: float) -> Draw:
    """Scores of two normal classes so far apart; calibrated where temper is 1, else overconfident."""

    def draw(random: np.random.Generator, n: int) -> Rows:
        label = (random.random(n) < rate).astype(np.float64)
        logit = np.log(rate / (1 - rate)) + distance * (random.normal(size=n) + distance * label) - distance**2 / 2
        return 1 / (1 + np.exp(-temper * logit)), np.full(n, -1), label

    return draw


def several(shares: tuple[float, ...], right: float) -> Draw:
    """Classes of such shares, predicted right so often, else any class."""

    def draw(random: np.random.Generator, n: int) -> Rows:
        label = random.choice(len(shares), n, p=shares)
        guess = np.where(random.random(n) < right, label, random.integers(0, len(shares), n))
        return random.beta(6, 2, n), guess, label.astype(np.float64)

    return draw


def values(tail: float) -> Draw:
    """Errors of Student's law with that many degrees of freedom, a little biased."""

    def draw(random: np.random.Generator, n: int) -> Rows:
        label = random.normal(size=n) * 3
        return label + 0.2 + random.standard_t(tail, n), np.full(n, -1), label

    return draw


BINARY = {
    f"{100 * rate:g} % positive, AUC {area}{'' if temper == 1 else ', overconfident'}": binary(rate, distance, temper)
    for rate, distance, area, temper in (
        (0.5, 1.2, 0.80, 1.0), (0.5, 3.0, 0.98, 1.0), (0.1, 1.2, 0.80, 1.7),
        (0.1, 2.5, 0.96, 1.0), (0.02, 1.2, 0.80, 1.0), (0.02, 2.5, 0.96, 1.7),
    )
}  # fmt: skip
SEVERAL = {
    "3 classes, 60/30/10": several((0.6, 0.3, 0.1), 0.8),
    "5 classes, rarest 3 %": several((0.5, 0.3, 0.12, 0.05, 0.03), 0.7),
}
VALUES = {"normal errors": values(1e9), "heavy tails, t with 5": values(5)}


def counted(shape: OutcomeShape, rows: Rows) -> Int:
    """The pair table of rows."""
    table = np.zeros(shape.pairs, np.int64)
    for begin in range(0, rows[0].size, 100_000):
        part = slice(begin, begin + 100_000)
        cells, amounts = pair_cells(shape, rows[0][part], rows[1][part], rows[2][part])
        np.add.at(table, cells, amounts)
    return table


def truth(shape: OutcomeShape, rows: Rows) -> dict[str, float]:
    """The metrics of a population."""
    found = {name: each.value for name, each in metrics(shape, counted(shape, rows)).items()}
    if shape.kind == "binary":
        found["auc"] = float(sk.roc_auc_score(rows[2], rows[0]))
        found["average_precision"] = float(sk.average_precision_score(rows[2], rows[0]))
    return found


def table(
    shape: OutcomeShape, populations: dict[str, Draw], names: tuple[str, ...], runs: int, seed: int
) -> Iterator[str]:
    """Lines of Markdown: percent of runs whose interval holds the truth, of those that define the metric."""
    yield f"| population | labels | {' | '.join(f'`{name}`' for name in names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for number, (name, draw) in enumerate(populations.items()):
        random = np.random.default_rng([seed, number])
        true = truth(shape, draw(random, POPULATION))
        for n in SIZES:
            held: dict[str, list[bool]] = {metric: [] for metric in names}
            for _ in range(runs):
                found = metrics(shape, counted(shape, draw(random, n)), names)
                for metric, each in found.items():
                    held[metric].append(each.low <= true[metric] <= each.high)
            yield f"| {name} | {n:,} | {' | '.join(f'{100 * np.mean(held[m]):.1f}' for m in names)} |"


def main() -> None:
    """Print all tables."""
    runs, seed = ([int(text) for text in sys.argv[1:]] + [2_000, 1][len(sys.argv) - 1 :])[:2]
    config = PerformanceConfig(threshold=0.3)
    names = ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "auc", "average_precision")
    classes = PerformanceConfig(kind="multiclass", classes=[str(i) for i in range(5)])
    error = OutcomeShape("regression", probability=False, scale=2.0, interval=(-2.0, 2.0))
    for lines in (
        table(outcome_shape(None, config), BINARY, (*names, "log_loss", "brier", "ece"), runs, seed),
        table(outcome_shape(None, classes), SEVERAL, ("accuracy", "precision", "recall", "f1", "ece"), runs, seed + 1),
        table(error, VALUES, ("mae", "rmse", "bias", "quantile_coverage"), runs, seed + 2),
    ):
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()

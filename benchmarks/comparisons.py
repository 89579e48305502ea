"""The figures of docs/comparisons.md: how often equal versions are told apart, and how many labels a difference needs.

`python -m benchmarks.comparisons [--runs 2000] [--part wrong|power]` prints the tables as they stand there and draws
docs/img/comparisons_power.svg. Every run is seeded by its number, so figures don't depend on what else is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from benchmarks.pictures import CURRENT, LIMIT, REFERENCE, STYLE
from driftbus.detectors.comparison import Comparison, Rules
from driftbus.detectors.measures import measure_of
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape

Int = NDArray[np.int64]
Float = NDArray[np.float64]

PICTURE = Path(__file__).parents[1] / "docs/img/comparisons_power.svg"
PANES = [50] * 30 + [1_000] * 30
"""Labels of both versions together in each pane: it is looked 60 times, and 31,500 labels come."""

_SEED = 20_260_701
_ATOMS = 300


@dataclass(frozen=True)
class Population:
    """Rows that runs draw from, each with the outputs of both versions; every row is there a second time with the
    versions' outputs swapped, so both are equally good.

    Args:
        shape: of the outcomes.
        tables: float64[2 * rows, pairs] of each version.
        bad: float64[2 * rows], weight of each row in bad hours; in good ones all rows weigh the same.
    """

    shape: OutcomeShape
    tables: tuple[Float, Float]
    bad: Float

    def panes(self, rng: np.random.Generator, sizes: Int, mood: tuple[Float, Float], same: bool) -> tuple[Float, Float]:
        """[panes, pairs] of each version.

        Args:
            rng: of the run.
            sizes: int64[2, panes], rows of each version.
            mood: float64[panes] of each version, share of bad hours.
            same: whether both versions score the same rows.
        """
        chances = [w[:, None] * self.bad + (1 - w[:, None]) / self.bad.size for w in mood]
        drawn = [rng.multinomial(n, chance).astype(np.float64) for n, chance in zip(sizes, chances, strict=True)]
        return drawn[0] @ self.tables[0], drawn[0 if same else 1] @ self.tables[1]


def population(kind: str) -> Population:
    """Rows of a model that is right in about four of five cases; versions agree in most of them."""
    rng = np.random.default_rng([_SEED, len(kind)])
    guess = [np.full(_ATOMS, -1), np.full(_ATOMS, -1)]
    if kind == "regression":
        shape = OutcomeShape("regression", (0.0,), probability=False, scale=1.0)
        label = rng.lognormal(0, 1, _ATOMS)
        shared = rng.standard_t(4, _ATOMS)
        score = [label + 0.7 * shared + 0.5 * rng.standard_t(4, _ATOMS) for _ in range(2)]
        hard = np.abs(shared)
    elif kind == "multiclass":
        shape = OutcomeShape("multiclass", (0.5,), ("a", "b", "c", "d"))
        label = rng.choice(4, _ATOMS, p=(0.5, 0.3, 0.15, 0.05)).astype(np.float64)
        lost = rng.random(_ATOMS) < 0.2
        guess = [
            np.where(lost | (rng.random(_ATOMS) < 0.1), rng.integers(0, 4, _ATOMS), label).astype(np.int64)
            for _ in range(2)
        ]
        score, hard = [rng.random(_ATOMS) for _ in range(2)], lost * 1.0
    else:
        shape = OutcomeShape("binary", tuple(i / 20 for i in range(1, 20)))
        label = (np.arange(_ATOMS) < 0.2 * _ATOMS) * 1.0
        shared = rng.normal(size=_ATOMS)
        score = [expit(2.5 * label - 1.9 + 0.8 * shared + 0.8 * rng.normal(size=_ATOMS)) for _ in range(2)]
        hard = np.abs(expit(2.5 * label - 1.9 + 0.8 * shared) - label)
    one, other = (_tables(shape, s, g, label) for s, g in zip(score, guess, strict=True))
    weight = np.concatenate([hard, hard]) + 0.01
    return Population(shape, (np.vstack([one, other]), np.vstack([other, one])), weight / weight.sum())


def _tables(shape: OutcomeShape, score: Float, guess: Int, label: Float) -> Float:
    cells, amounts = pair_cells(shape, score, guess, label)
    found = np.zeros((score.size, shape.pairs))
    for row, (cell, amount) in enumerate(zip(cells, amounts, strict=True)):
        np.add.at(found[row], cell, amount)
    return found


def _steady(rng: np.random.Generator) -> Float:
    return np.full(len(PANES), 0.3)


def _swinging(rng: np.random.Generator) -> Float:
    """Autocorrelation .9 from pane to pane."""
    state, found = rng.normal(), []
    for shock in rng.normal(size=len(PANES)):
        state = 0.9 * state + 0.19**0.5 * shock
        found.append(state)
    return np.asarray(expit(1.5 * np.array(found) - 1), np.float64)


@dataclass(frozen=True)
class Scenario:
    """How labels come.

    Args:
        name: as it stands in the table.
        share: of the challenger.
        mood: of the panes.
        common: whether the versions share the panes' mood.
        same: whether both versions score the same rows.
    """

    name: str
    share: float = 0.5
    mood: Callable[[np.random.Generator], Float] = _steady
    common: bool = True
    same: bool = False

    def run(self, rows: Population, number: int) -> tuple[Int, Int]:
        """[panes, pairs] of each version."""
        rng = np.random.default_rng([_SEED, number, len(self.name)])
        mood = self.mood(rng)
        other = mood if self.common else self.mood(rng)
        challenger = rng.binomial(PANES, self.share)
        sizes = np.array([np.array(PANES) - challenger, challenger])
        found = rows.panes(rng, sizes[::-1] if self.same else sizes, (mood, other), self.same)
        return found[0].astype(np.int64), found[1].astype(np.int64)


SCENARIOS = (
    Scenario("A/B 50:50"),
    Scenario("canary 95:5", share=0.05),
    Scenario("shadow, same rows", same=True),
    Scenario("panes swing together", mood=_swinging),
    Scenario("each version swings by itself", mood=_swinging, common=False),
)
METRICS = (
    ("binary", ("accuracy", "auc", "log_loss", "recall")),
    ("regression", ("mae", "label_mean")),
    ("multiclass", ("f1",)),
)
ALPHAS = (0.01, 0.05, 0.1)
THRICE = (("binary", "accuracy"),)
"""What is tried at every alpha."""


def wrong(runs: int) -> Iterator[str]:
    """Share of runs in which equal versions were ever told apart, a line for each metric, alpha and way of labels."""
    yield "| labels come | outcomes | metric | method | alpha | runs with a verdict |"
    yield "|---|---|---|---|---|---|"
    for kind, metrics in METRICS:
        rows = population(kind)
        for metric in metrics:
            for scenario in SCENARIOS if metric == "accuracy" else SCENARIOS[:3]:
                for alpha in ALPHAS if (kind, metric) in THRICE else (0.05,):
                    found = sum(_told_apart(scenario, rows, metric, alpha, number) for number in range(runs))
                    method = measure_of(rows.shape, metric).method
                    yield f"| {scenario.name} | {kind} | `{metric}` | {method} | {alpha} | {100 * found / runs:.2f} % |"


def _told_apart(scenario: Scenario, rows: Population, metric: str, alpha: float, number: int) -> bool:
    comparison = Comparison(measure_of(rows.shape, metric), Rules(alpha=alpha))
    return any(comparison.update(*pair) for pair in zip(*scenario.run(rows, number), strict=True))


BASES, DIFFERENCES = (0.05, 0.2, 0.9), (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)


def fixed(base: float, difference: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Labels of each version for a two-sided z-test that is looked at once."""
    other = base - difference
    spread = base * (1 - base) + other * (1 - other)
    return float((ndtri(1 - alpha / 2) + ndtri(power)) ** 2 * spread / difference**2)


def needed(base: float, difference: float, runs: int) -> tuple[float, float]:
    """Labels of each version until `worse`, in half and in four of five runs."""
    shape = OutcomeShape("binary", (0.5,))
    pane = max(20, round(fixed(base, difference) / 100))
    positive, negative = (_tables(shape, np.array([s]), np.array([-1]), np.array([1.0]))[0] for s in (0.9, 0.1))
    found = []
    for number in range(runs):
        rng = np.random.default_rng([_SEED, number, round(base * 1e4), round(difference * 1e4)])
        comparison, labels = Comparison(measure_of(shape, "recall"), Rules()), 0
        while True:
            labels += pane
            hits = [rng.binomial(pane, base), rng.binomial(pane, base - difference)]
            tables = [(k * positive + (pane - k) * negative).astype(np.int64) for k in hits]
            if comparison.update(*tables):
                break
        found.append(labels)
    return float(np.median(found)), float(np.quantile(found, 0.8))


def power(runs: int) -> Iterator[str]:
    """Labels that a difference needs, a line for each; draws the picture."""
    mpl.use("svg")
    from matplotlib import pyplot as plt

    yield "| share of the champion | difference | looked at once, power 80 % | always looked at: half of the runs | four of five runs |"  # noqa: E501
    yield "|---|---|---|---|---|"
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
        for base, colour in zip(BASES, (CURRENT, LIMIT, REFERENCE), strict=True):
            curve = []
            for difference in DIFFERENCES:
                half, most = needed(base, difference, runs)
                once = fixed(base, difference)
                curve.append((difference, once, most))
                yield f"| {base} | {difference} | {_round(once)} | {_round(half)} | {_round(most)} |"
            x, once, most = np.array(curve).T
            axes.plot(x, most, "-o", color=colour, markersize=3, label=f"share {base}, always looked at")
            axes.plot(x, once, ":", color=colour, label=f"share {base}, looked at once")
        axes.set(xscale="log", yscale="log", xlabel="difference", ylabel="labels of each version")
        axes.set_title("Labels until four of five runs say that the challenger is worse (alpha .05)")
        axes.set_xticks(DIFFERENCES, [f"{d:g}" for d in DIFFERENCES])
        axes.minorticks_off()
        axes.legend(ncols=3)
        PICTURE.parent.mkdir(exist_ok=True)
        figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = "\n".join(line.rstrip() for line in PICTURE.read_text().splitlines()) + "\n"
    PICTURE.write_text(text)


def _round(labels: float) -> str:
    digits = max(0, len(str(int(labels))) - 2)
    return f"{int(round(labels, -digits)):,}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--part", choices=["wrong", "power"], default=None)
    chosen = parser.parse_args()
    for part, lines in (("power", power), ("wrong", wrong)):
        if chosen.part in (None, part):
            for line in lines(max(1, chosen.runs // 5) if part == "power" else chosen.runs):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()

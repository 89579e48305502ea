"""Scores and labels whose law is known, before and after a change.

A row has a side (1 with probability .3) and a risk m, the probability that its side is wrong: half a
Beta(1, .5/e - 1), so that the error rate is e. Its score is 1 - m on side 1 and m on side 0: calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.schemas.outcomeconfig import PerformanceConfig

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SHAPE = outcome_shape(None, PerformanceConfig(kind="binary"))
SHARE = 0.3
_CHUNK = 200_000


@dataclass(frozen=True, slots=True)
class Rows:
    """float64[n] each."""

    score: Float
    label: Float


def calibrated(rng: np.random.Generator, n: int, error: float = 0.05, share: float = SHARE) -> Rows:
    """Independent rows."""
    return _rows(rng.random(n) < share, _risk(rng, n, error), rng.random(n))


def clustered(rng: np.random.Generator, n: int, error: float, rho: float) -> Rows:
    """Errors come in clusters: an AR(1) says which rows are unlucky."""
    shock = rng.standard_normal(n) * np.sqrt(1 - rho * rho)
    return _rows(rng.random(n) < SHARE, _risk(rng, n, error), ndtr(lfilter([1], [1, -rho], shock)))


def sided(rng: np.random.Generator, n: int, error: float, rho: float) -> Rows:
    """Rows of one side come in clusters, so that labels and scores are autocorrelated, errors less."""
    shock = rng.standard_normal(n) * np.sqrt(1 - rho * rho)
    side = ndtr(lfilter([1], [1, -rho], shock)) < SHARE
    return _rows(side, _risk(rng, n, error), rng.random(n))


def flipped(rng: np.random.Generator, n: int, error: float) -> Rows:
    """Concept: labels of rows of error .05 turn round at random until the error is `error`; scores stay."""
    rows = calibrated(rng, n)
    turned = rng.random(n) < (error - 0.05) / (1 - 2 * 0.05)
    return Rows(rows.score, np.where(turned, 1 - rows.label, rows.label))


def overconfident(rng: np.random.Generator, n: int, factor: float = 4.0) -> Rows:
    """Scores claim a risk that is `factor` times too small; predictions and errors stay."""
    rows = calibrated(rng, n)
    score = np.where(rows.score > 0.5, 1 - (1 - rows.score) / factor, rows.score / factor)
    return Rows(score, rows.label)


def inverted(rng: np.random.Generator, n: int) -> Rows:
    """Concept without a new error rate: risks of one side double, those of the other fall by as many errors."""
    rows = calibrated(rng, n)
    high, risk = rows.score > 0.5, np.minimum(rows.score, 1 - rows.score)
    wrong = rng.random(n) < risk * np.where(high, 2.0, 1 - SHARE / (1 - SHARE))
    return Rows(rows.score, np.where(wrong, ~high, high).astype(np.float64))


def resampled(rng: np.random.Generator, n: int, share: float = 0.45) -> Rows:
    """Prior: labels are 1 with probability `share`; scores of rows with a label stay what they were."""
    pool = calibrated(rng, 4 * n)
    ones, zeros = np.flatnonzero(pool.label == 1), np.flatnonzero(pool.label == 0)
    label = rng.random(n) < share
    at = np.where(label, rng.choice(ones, n), rng.choice(zeros, n))
    return Rows(pool.score[at], pool.label[at])


CHANGES: dict[str, Callable[[np.random.Generator, int], Rows]] = {
    "error .05 → .10": lambda rng, n: flipped(rng, n, 0.10),
    "error .05 → .08": lambda rng, n: flipped(rng, n, 0.08),
    "scores four times too sure, same error": overconfident,
    "errors from one side to the other, same error": inverted,
    "harder rows, labels as scores say, .05 → .10": lambda rng, n: calibrated(rng, n, 0.10),
    "more rows of class 1, labels as scores say, 30 % → 45 %": lambda rng, n: calibrated(rng, n, share=0.45),
    "more labels of class 1, each class as it was, 30 % → 45 %": resampled,
}
"""What comes after `calibrated`."""


def panes(rows: Rows, size: int, shape: OutcomeShape = SHAPE) -> Iterator[Int]:
    """int64[pairs] of each pane of `size` rows; a rest is left out."""
    step = max(1, _CHUNK // size) * size
    for start in range(0, rows.score.size // size * size, step):
        score, label = rows.score[start : start + step], rows.label[start : start + step]
        count = score.size // size
        score, label = score[: count * size], label[: count * size]
        cells, amounts = pair_cells(shape, score, np.full(score.size, -1), label)
        pane = np.repeat(np.arange(count), size)[:, None]
        table = np.bincount((pane * shape.pairs + cells).ravel(), amounts.ravel(), count * shape.pairs)
        yield from np.rint(table).astype(np.int64).reshape(count, shape.pairs)


def joined(first: Rows, second: Rows) -> Rows:
    """One after the other."""
    return Rows(np.concatenate([first.score, second.score]), np.concatenate([first.label, second.label]))


def _risk(rng: np.random.Generator, n: int, error: float) -> Float:
    return np.asarray(0.5 * rng.beta(1.0, 0.5 / error - 1, n), np.float64)


def _rows(side: NDArray[np.bool_], risk: Float, luck: Float) -> Rows:
    wrong = luck < risk
    return Rows(np.where(side, 1 - risk, risk), (side ^ wrong).astype(np.float64))

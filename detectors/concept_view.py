"""What the detectors of errors look at in a pair table: channels, scores, strata.

A pane's pairs are folded into channels, which all else is linear in: a score gives channels a value, so
that a pane is (n, sum, M2) of it; strata say what came of each score or predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomes import ERROR_STEPS, ERROR_UNIT, SQUARE_UNIT, OutcomeShape
from driftbus.schemas.kernel import kernel

Int = NDArray[np.int64]
Float = NDArray[np.float64]

GROUPS = 16
"""Classes that are told apart; of more, class k goes to group k modulo this."""


@dataclass(frozen=True, slots=True)
class ConceptScore:
    """A number per labelled row.

    Args:
        name: ``error``, ``log_loss``, ``absolute``, ``bias``, ``label``, ``prediction``, ``intercept``, ``slope``.
        column: of the episode that its alarms belong to, "" where it is only measured.
        aspect: of that episode.
        cell: int64[e], its channels.
        value: float64[e], what each stands for.
        share: whether values are only 0 and 1.
        unit: what a value of 1 is worth to a person.
        category: the class whose share it is, "" if it is none.
    """

    name: str
    column: str
    aspect: str
    cell: Int
    value: Float
    share: bool
    unit: float = 1.0
    category: str = ""

    def moments(self, channels: Int) -> tuple[float, float, float]:
        """Rows, mean and variance of the score in some counts."""
        n, total, m2 = np.zeros(1), np.zeros(1), np.zeros(1)
        moments(channels, np.array([0, self.cell.size]), self.cell, self.value, n, total, m2)
        return (float(n[0]), float(total[0] / n[0]), float(m2[0] / n[0])) if n[0] > 0 else (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Strata:
    """What came of the rows of each score bin or predicted class.

    Args:
        cells: int64[b, k], channels: counts of outcome k in stratum b, k = 2 for a share; for sums k = 3:
            rows, sum and sum of squares.
        sums: whether they are sums.
        ordered: whether strata ascend, so that a slope has a meaning.
        units: what a sum and a sum of squares are worth.
    """

    cells: Int
    sums: bool = False
    ordered: bool = True
    units: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class ConceptView:
    """How a pair table is looked at.

    Args:
        channel: int64[pairs], channel of each pair, -1 for none.
        size: number of channels.
        scores: that need no reference; the first is the error.
        label: int64[k, *], channels of each label; empty where labels aren't counted by value.
        prediction: int64[b, *], channels of each prediction.
        strata: for P(Y|Ŷ), the finest first; see `finest`.
        plain_error: the error as the strata see it, for models whose predicted class is a field of its own.
    """

    channel: Int
    size: int
    scores: tuple[ConceptScore, ...]
    label: Int
    prediction: Int
    strata: tuple[Strata, ...]
    plain_error: ConceptScore

    def finest(self, counts: Int) -> Strata:
        """By scores if half of the labelled rows have one, else by predicted class.

        Within a predicted class rows differ by their score: another mix of them is no concept drift.
        """
        rows = int(counts[self.scores[0].cell].sum())
        for strata in self.strata:
            held = strata.cells[:, 0] if strata.sums else strata.cells
            if 2 * int(counts[held].sum()) >= rows:
                return strata
        return self.strata[-1]

    def fold(self, pairs: Int) -> Int:
        """int64[size], the channels of a pair table."""
        out = np.zeros(self.size, np.int64)
        _fold(pairs, self.channel, out)
        return out

    def calibrations(self, reference: Int) -> tuple[ConceptScore, ...]:
        """Scores of what labels differ from what the reference lets expect: mean, and mean times location.

        They are the score statistics of the intercept and the slope of a recalibration (Cox, 1958,
        Biometrika 45, 562-565).

        Args:
            reference: int64[size], channels.
        """
        strata = self.finest(reference)
        held = reference[strata.cells].astype(np.float64)
        if strata.sums or strata.cells.shape[1] != 2 or held.sum() <= 0:
            return ()
        rate = rates_of(held[:, 1], held.sum(axis=1), strata.ordered)
        weight = held.sum(axis=1) * rate * (1 - rate)
        cell = strata.cells.ravel()
        residual = np.stack([-rate, 1 - rate], axis=1)
        intercept = ConceptScore("intercept", "calibration", "concept", cell, residual.ravel(), False)
        place = np.arange(rate.size, dtype=np.float64)
        place -= np.sum(place * weight) / max(weight.sum(), 1e-12)
        spread = np.sqrt(np.sum(place * place * weight) / max(weight.sum(), 1e-12))
        if not strata.ordered or spread <= 0:
            return (intercept,)
        slope = residual * np.clip(place / spread, -2.0, 2.0)[:, None]
        return (intercept, ConceptScore("slope", "calibration", "concept", cell, slope.ravel(), False))


@lru_cache(maxsize=256)
def concept_view(shape: OutcomeShape, clip: float) -> ConceptView:
    """The view of a shape.

    Args:
        shape: the pair table.
        clip: see `driftbus.detectors.concept_settings.ConceptSettings`.
    """
    return {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[shape.kind](shape, clip)


def _binary(shape: OutcomeShape, clip: float) -> ConceptView:
    score, rows = shape.parts["score"], shape.score_cells
    channel = np.full(shape.pairs, -1, np.int64)
    grid = np.arange(2 * rows).reshape(rows, 2)
    channel[score.start : score.stop].reshape(score.dims)[:, :2] = grid
    size, scored = 2 * rows, grid[:-1]
    strata = [Strata(scored)]
    edges = np.array((-np.inf, -np.inf, *shape.edges, np.inf))
    positive = (edges >= shape.threshold)[: rows - 1]
    by_score = np.stack([positive, ~positive], axis=1).astype(np.float64)
    plain = ConceptScore("error", "error", "concept", scored.ravel(), by_score.ravel(), True)
    error = plain
    if shape.predicted:
        confusion = shape.parts["confusion"]
        table = size + np.arange(4).reshape(2, 2)
        channel[confusion.start : confusion.stop].reshape(confusion.dims)[:2, :2] = table
        size += 4
        strata.append(Strata(table))
        error = ConceptScore("error", "error", "concept", table.ravel(), np.array([0.0, 1.0, 1.0, 0.0]), True)
    scores = [error]
    if shape.probability:
        bounds = np.array((0.0, *shape.edges, 1.0))
        p = np.clip((bounds[1:] + bounds[:-1]) / 2, clip, 1 - clip)
        unit = -log(clip)
        loss = np.stack([-np.log1p(-p), -np.log(p)], axis=1) / unit
        scores.append(ConceptScore("log_loss", "log_loss", "concept", grid[1:-2].ravel(), loss.ravel(), False, unit))
    one = np.tile([0.0, 1.0], rows)
    scores.append(ConceptScore("label", "label", "labels", grid.ravel(), one, True, category=shape.positive))
    scores.append(_prediction(scored))
    return ConceptView(channel, size, tuple(scores), np.ascontiguousarray(grid.T), scored, tuple(strata), plain)


def _multiclass(shape: OutcomeShape, clip: float) -> ConceptView:
    confusion, score = shape.parts["confusion"], shape.parts["score"]
    k, rows = min(GROUPS, shape.labels), shape.score_cells
    group = np.arange(shape.labels) % k
    channel = np.full(shape.pairs, -1, np.int64)
    known = channel[confusion.start : confusion.stop].reshape(confusion.dims)[: shape.labels, : shape.labels]
    known[:] = group[:, None] * k + group[None, :]
    table = np.arange(k * k).reshape(k, k)
    right = k * k + np.arange(2 * rows).reshape(rows, 2)
    channel[score.start : score.stop].reshape(score.dims)[:, :2] = right
    wrong = np.tile([1.0, 0.0], rows)
    scores = [ConceptScore("error", "error", "concept", right.ravel(), wrong, True)]
    for y in range(k):
        one = np.tile((np.arange(k) == y) * 1.0, k)
        name = shape.classes[y] if k == shape.labels else ""
        scores.append(ConceptScore("label", "label", "labels", table.ravel(), one, True, category=name))
    scores.append(_prediction(table))
    strata = (Strata(right[:-1]), Strata(table, ordered=False))
    plain = ConceptScore("error", "error", "concept", table.ravel(), 1 - np.eye(k).ravel(), True)
    return ConceptView(channel, k * k + 2 * rows, tuple(scores), np.ascontiguousarray(table.T), table, strata, plain)


def _regression(shape: OutcomeShape, clip: float) -> ConceptView:
    error, by_value = shape.parts["error"], shape.parts["by_value"]
    bins, rows = error.stop - error.start, shape.score_cells
    channel = np.full(shape.pairs, -1, np.int64)
    channel[error.start : error.stop] = np.arange(bins)
    table = bins + np.arange(3 * rows).reshape(3, rows)
    channel[by_value.start : by_value.stop] = table.ravel()
    middle, steps = bins // 2, ERROR_STEPS.size
    distance: Float = np.abs(np.arange(bins) - middle).astype(np.float64) / steps
    cells = np.arange(bins)
    held = cells != middle
    scores = (
        ConceptScore("absolute", "mae", "concept", cells, distance, False),
        ConceptScore("bias", "bias", "concept", cells[held], (cells[held] > middle).astype(np.float64), True),
        _prediction(table[0, :-1, None]),
    )
    sums = Strata(np.ascontiguousarray(table[:, :-1].T), sums=True, units=(ERROR_UNIT, SQUARE_UNIT))
    none = np.zeros((0, 0), np.int64)
    return ConceptView(channel, bins + 3 * rows, scores, none, table[0, :-1, None], (sums,), scores[0])


def _prediction(cells: Int) -> ConceptScore:
    place = np.repeat(np.arange(cells.shape[0]) / max(1, cells.shape[0] - 1), cells.shape[1])
    return ConceptScore("prediction", "", "", cells.ravel(), place, False)


def rates_of(hits: Float, n: Float, ordered: bool) -> Float:
    """Share of hits of each stratum, drawn a little to that of its neighbours, or of all."""
    near_hits, near_n = np.full(hits.size, hits.sum()), np.full(n.size, n.sum())
    reach = 1
    while ordered and reach < hits.size:
        for i in range(hits.size):
            window = slice(max(0, i - reach), i + reach + 1)
            if n[window].sum() > 0 and near_n[i] == n.sum():
                near_hits[i], near_n[i] = hits[window].sum(), n[window].sum()
        reach *= 2
    return np.asarray((hits + 2 * near_hits / near_n) / (n + 2), np.float64)


@kernel
def _fold(pairs: Int, channel: Int, out: Int) -> None:
    for i in range(pairs.size):
        if channel[i] >= 0:
            out[channel[i]] += pairs[i]


@kernel
def moments(counts: Int, start: Int, cell: Int, value: Float, n: Float, total: Float, m2: Float) -> None:
    """Values, their sum and M2 of each score.

    Args:
        counts: int64[size], channels.
        start: int64[s + 1], where the entries of each score begin.
        cell, value: channel and value of each entry.
        n, total, m2: float64[s], written.
    """
    for i in range(start.size - 1):
        n[i] = total[i] = m2[i] = 0.0
        for e in range(start[i], start[i + 1]):
            n[i] += counts[cell[e]]
            total[i] += counts[cell[e]] * value[e]
        if n[i] > 0:
            mean = total[i] / n[i]
            for e in range(start[i], start[i + 1]):
                m2[i] += counts[cell[e]] * (value[e] - mean) * (value[e] - mean)

"""What is between the columns of a group: correlations, all of them together, and what can be rebuilt.

Fed with the sampled rows of each pane. The latest rows stand in a ring; windows of them are ranked by
themselves (`driftbus.detectors.copula`) and judged whenever they have moved by an eighth, in three
ways: `driftbus.detectors.correlation`, `driftbus.detectors.multivariate` and
`driftbus.detectors.reconstruction`. How much autocorrelation makes their means vary is learned from
blocks of rows. `driftbus.detectors.relations` makes episodes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from driftbus.detectors import longrun
from driftbus.detectors.copula import scored, scores
from driftbus.detectors.correlation import effect, sum_products
from driftbus.detectors.haar import Haar
from driftbus.detectors.joint_reference import Fit, Reference
from driftbus.detectors.multivariate import KernelTest, features, kernel_test, mean_features
from driftbus.detectors.reconstruction import Reconstruction
from driftbus.detectors.relations import Judgement, RelationBook, Sign
from driftbus.detectors.settings import Settings
from driftbus.detectors.verdict import Transition
from driftbus.schemas.kernel import kernel

_PARTS = 8
_SCALES = 12
_MOVED_LEVEL = 1e-3
_LEAST = 4.0
_GRID = 40
_NAMED = 3


class JointWatch:
    """Relations between the columns of one group.

    Args:
        reference: of its profile.
        settings: the constants.
    """

    def __init__(self, reference: Reference, settings: Settings) -> None:
        self._reference, self._sizes = reference, settings.relation_windows
        self._alpha = settings.relation_alpha / settings.divisor
        pairs, series = reference.pairs, reference.scale.at.size
        self._levels = np.zeros((max(self._sizes), series), np.uint8)
        self._ticks = np.zeros(max(self._sizes), np.int64)
        self._moved = np.zeros((len(self._sizes), series), np.bool_)
        self._seen = np.zeros(2, np.int64)  # rows so far, and those of blocks that are learned
        self._variances = np.concatenate([pairs.influence, np.ones(1 + series)])
        self._scales = np.zeros((self._variances.size, _SCALES, longrun.FIELDS))
        self._static = reference.static.copy()
        self._static[:, 0, 1] *= self._variances
        whole = reference.whole.test
        self._haar = Haar(whole.weights.size, whole.expected, whole.freedom)
        self._fits: dict[bytes, float] = {}
        names = [one.name for one in reference.scale.series]
        self.book = RelationBook(
            [(names[a], names[b]) for a, b in zip(pairs.first, pairs.second, strict=True)],
            [
                (int(reference.scale.at[a]), int(reference.scale.at[b]))
                for a, b in zip(pairs.first, pairs.second, strict=True)
            ],
            settings,
        )
        self._z_threshold = float(-ndtri(self._alpha / (2 * max(1, pairs.r.size))))
        self._mean_threshold = float(-ndtri(self._alpha / 2))

    def update(self, tick: int, cells: NDArray[np.uint16]) -> list[Transition]:
        """Take the sampled rows of a pane.

        Args:
            tick: the pane.
            cells: uint16[r, columns of the profile], cells counted from each column's first.

        Returns:
            Episodes that opened, escalated or closed.
        """
        if not cells.shape[0]:
            return []
        reference, size = self._reference, self._ticks.size
        levels = reference.scale.of_cells(cells[:, reference.columns].astype(np.int64))[-size:]
        before = int(self._seen[0])
        at = (before + np.arange(levels.shape[0])) % size
        self._levels[at], self._ticks[at] = levels, tick
        self._seen[0] += levels.shape[0]
        after = int(self._seen[0])
        block = self._sizes[0] // _PARTS
        if after - self._seen[1] >= block:
            self._learn(min(size, after - int(self._seen[1])))
            self._seen[1] = after
        transitions = []
        for w, n in enumerate(self._sizes):
            step = max(1, n // _PARTS)
            if after >= n and after // step > before // step:
                transitions += self.book.fold(tick, w, self._judge(tick, w, n))
        if any(t.status == "opened" for t in transitions):
            self._forget_blocks()
        return transitions

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        own: dict[str, NDArray[Any]] = {
            "levels": self._levels,
            "ticks": self._ticks,
            "seen": self._seen,
            "scales": self._scales,
            "moved": self._moved,
        }
        return own | {f"haar_{k}": v for k, v in self._haar.arrays().items()} | self.book.arrays()

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        self._levels, self._ticks, self._seen = arrays["levels"], arrays["ticks"], arrays["seen"]
        self._scales, self._moved = arrays["scales"], arrays["moved"]
        self._haar.restore({k: arrays[f"haar_{k}"] for k in self._haar.arrays()})
        self.book.restore(arrays)

    def _latest(self, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        at = (int(self._seen[0]) - n + np.arange(n)) % self._ticks.size
        return self._levels[at], self._ticks[at]

    def _learn(self, n: int) -> None:
        """The latest n rows are a block: its sums on the reference's scale."""
        reference, pairs = self._reference, self._reference.pairs
        z = scored(self._latest(n)[0], reference.table)
        product = np.zeros((z.shape[1], z.shape[1]))
        sum_products(z, product)
        square = np.diag(product)
        influence = product[pairs.first, pairs.second] - 0.5 * pairs.r * (square[pairs.first] + square[pairs.second])
        rebuilt = reference.whole.rebuilt
        error = rebuilt.scores(reference.fine(z)).sum() if rebuilt else 0.0
        _learn(self._scales, float(n), np.concatenate([influence, [error], z.sum(axis=0)]), self._variances)
        if reference.whole.test.expected > 0:  # else there is no joint test: all series have few values
            self._haar.learn(float(n), reference.whole.test.residual_sum(reference.fine(z)))

    def _forget_blocks(self) -> None:
        for i in range(self._variances.size):
            longrun.forget_blocks(self._scales, i)
        self._haar.forget_blocks()

    def _judge(self, tick: int, w: int, n: int) -> Judgement:
        reference, pairs = self._reference, self._reference.pairs
        levels, ticks = self._latest(n)
        inflation, short = np.empty((2, self._variances.size))
        _inflate(self._scales, self._static, self._variances, pairs.r.size, float(n), float(reference.rows), inflation)
        counts = reference.scale.counts(levels)
        moved = reference.scale.moved(counts, inflation[pairs.r.size + 1 :], _MOVED_LEVEL)
        emptied = reference.scale.emptied(counts, n, _MOVED_LEVEL)
        for newest in {self._sizes[0] // _PARTS, n // _PARTS}:
            _inflate(
                self._scales, self._static, self._variances, pairs.r.size, float(newest), float(reference.rows), short
            )
            latest = reference.scale.counts(levels[-newest:])
            moved |= reference.scale.moved(latest, short[pairs.r.size + 1 :], _MOVED_LEVEL)
            emptied |= reference.scale.emptied(latest, newest, _MOVED_LEVEL)
        z = np.where(moved, 0.0, scored(levels, scores(counts)))
        known = ~(moved[pairs.first] | moved[pairs.second])
        r = pairs.of(z)
        error = pairs.standard_error(n, inflation[: pairs.r.size], reference.rows)
        statistic = np.where(known, pairs.statistic(r, n, inflation[: pairs.r.size], reference.rows), 0.0)
        signs = {}
        top = int(np.argmax(statistic)) if statistic.size else -1
        wanted = (statistic > self._z_threshold) | self.book.is_open[: pairs.r.size] | (np.arange(r.size) == top)
        for p in np.flatnonzero(known & wanted).tolist():
            size = effect(np.array([r[p], pairs.bounded(r, error)[p]]), pairs.r[[p, p]])
            rows = z[:, pairs.first[p]] * z[:, pairs.second[p]] - pairs.r[p]
            signs[p] = Sign(
                float(statistic[p]), self._z_threshold, min(1.0, 2 * r.size * float(ndtr(-statistic[p]))),
                float(size[0]), float(size[1]), float(pairs.r[p]), float(r[p]), *_start(rows[:, None], ticks, tick),
            )  # fmt: skip
        judgement = Judgement(n, pairs.rows, int(ticks[0]), signs, known, strongest=signs.get(top))
        # pairs are of rows with both values; in the columns together nulls stand in the middle of the values
        moved |= emptied
        z = np.where(moved, 0.0, z)
        # a fit without some series is worth its time only if they stay away
        if (~moved).sum() >= 2 and (not moved.any() or np.array_equal(moved, self._moved[w])):
            fit = reference.without(moved)
            z = reference.fine(z)
            if (~(moved | reference.coarse)).sum() >= 2:
                judgement.joint = self._together(z, w, n, fit, moved, ticks, tick)
            if fit.rebuilt is not None:
                judgement.rebuilt = self._rebuilt(z, n, fit.rebuilt, float(inflation[pairs.r.size]), ticks, tick)
        self._moved[w] = moved
        return judgement

    def _together(
        self,
        z: NDArray[np.float64],
        w: int,
        n: int,
        fit: Fit,
        moved: NDArray[np.bool_],
        ticks: NDArray[np.int64],
        tick: int,
    ) -> Sign:
        test, rows = fit.test, self._reference.rows
        design, freedom = self._haar.design(float(n))
        scale = design * (1 / n + 1 / rows) + 1 / test.rows
        t, learned = test.statistic(mean_features(z, test.frequencies), scale), freedom if design > 1 else None
        threshold = self._threshold(test, learned)
        beyond, spread = t - test.expected, float(np.sqrt(2 * test.freedom + 4 * max(0.0, t - test.expected)))
        sign = Sign(
            t, threshold, test.p_value(t, learned), max(0.0, beyond) * scale, max(0.0, beyond - 2 * spread) * scale,
            None, None, int(ticks[0]), int(ticks[0]), tick, base=test.expected,
        )  # fmt: skip
        if t > threshold and self.book.may_open_joint(w):
            phi = features(z, test.frequencies)
            sign.since, sign.low, sign.high = _start(np.einsum("ij,jk->ik", phi - test.mean, test.whiten), ticks, tick)
            sign.among = self._contributors(z, moved, t, scale)
        return sign

    def _rebuilt(
        self,
        z: NDArray[np.float64],
        n: int,
        rebuilt: Reconstruction,
        inflation: float,
        ticks: NDArray[np.int64],
        tick: int,
    ) -> Sign:
        score = rebuilt.scores(z)
        mean, error = float(score.mean()), inflation * (1 / n + 1 / self._reference.rows) + 1 / rebuilt.rows
        t = abs(mean) / float(np.sqrt(error))
        nearer = max(0.0, abs(mean) - 2 * float(np.sqrt(error)))
        return Sign(
            t, self._mean_threshold, min(1.0, 2 * float(ndtr(-t))), max(0.0, mean * mean - error), nearer * nearer,
            0.0, mean, *_start(score[:, None], ticks, tick),
        )  # fmt: skip

    def _threshold(self, test: KernelTest, freedom: float | None) -> float:
        if freedom is not None:
            return test.threshold(self._alpha, freedom)
        key = test.weights.tobytes()
        if key not in self._fits:
            self._fits = {key: test.threshold(self._alpha)}
        return self._fits[key]

    def _contributors(
        self, z: NDArray[np.float64], moved: NDArray[np.bool_], t: float, scale: float
    ) -> tuple[str, ...]:
        """Columns without which the statistic would be smallest, the largest first."""
        reference, drops = self._reference, []
        for s in np.flatnonzero(~(moved | reference.coarse)).tolist():
            left_out = moved.copy()
            left_out[s] = True
            test = kernel_test(reference.fine(np.where(left_out, 0.0, reference.z)), reference.seed)
            mean = mean_features(np.where(left_out, 0.0, z), test.frequencies)
            drops.append((test.statistic(mean, scale) - test.expected, s))
        names = [reference.scale.series[s].name for _, s in sorted(drops)[:_NAMED]]
        return tuple(names)


def _start(rows: NDArray[np.float64], ticks: NDArray[np.int64], tick: int) -> tuple[int, int, int]:
    """(since, low, high): from which row on float64[n, k] rows differ most from 0, on a grid of an n-th / 40."""
    n = rows.shape[0]
    at = np.arange(_GRID) * n // _GRID
    tail = np.add.reduceat(rows, at, axis=0)[::-1].cumsum(axis=0)[::-1]
    best = int(np.argmax((tail * tail).sum(axis=1) / (n - at)))
    low, high = at[max(0, best - 1)], at[best + 1] if best + 1 < _GRID else n - 1
    return int(ticks[at[best]]), int(ticks[low]), min(tick, int(ticks[high]))


@kernel
def _learn(scales: NDArray[np.float64], n: float, totals: NDArray[np.float64], variances: NDArray[np.float64]) -> None:
    for i in range(totals.size):
        longrun.learn(scales, i, n, totals[i], variances[i], False)


@kernel
def _inflate(
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    variances: NDArray[np.float64],
    pairs: int,
    n: float,
    rows: float,
    out: NDArray[np.float64],
) -> None:
    steps = np.empty((2 * longrun.SCALES, 2))
    for i in range(variances.size):
        count = longrun.steps(scales, static, i, variances[i], steps)
        out[i] = max(1.0, longrun.at(steps, count, n, rows) / variances[i])
    # what is true of the pairs together is significant long before it is of each
    together = 1.0
    for j in range(scales.shape[1]):
        total = contrasts = 0.0
        for i in range(pairs):
            total += scales[i, j, longrun.TOTAL] / variances[i]
            contrasts += scales[i, j, longrun.PAIRS]
        length = scales[0, j, longrun.LENGTH] if pairs else 0.0
        if contrasts > 0 and total > contrasts * (1 + longrun.SIGNIFICANCE * np.sqrt(3 / np.sqrt(contrasts * _LEAST))):
            together = max(together, total / contrasts * min(1.0, 2 * n / length))
    for i in range(pairs):
        out[i] = max(out[i], together)

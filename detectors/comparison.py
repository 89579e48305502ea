"""Two versions of a model on the same panes: a sequential test on the difference of a metric.

Panes are put together to blocks in which both versions have labels enough, and each block gives one difference.
A block counts as much as the pairs that the smaller side could form. So the comparison is within blocks: what both
versions share, a bad hour or a growing share of the traffic, is in no difference. The interval is a confidence
sequence on the mean of the blocks' differences, see `driftbus.detectors.sequential`; a verdict is an interval that
lies on one side, so it may be looked for after every pane.

What is assumed: within a block, the labels of a version are independent of each other; and those of the other
version are independent of them, or go along with them (shadow: both versions score the same rows, so both err on
the hard ones; only the counts of each are known, and the interval is wider than pairs would make it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.measures import Linear, Means, Measure, Sample
from driftbus.detectors.sequential import (
    boundary,
    log_evidence,
    normal_boundary,
    squares_ahead,
    tuned_at,
)
from driftbus.detectors.shares import Shares

Int = NDArray[np.int64]

LEAST_ROWS = {"bounded": 20, "asymptotic": 100}
"""Labels of each side, and of each class where the metric is of one, before a block is closed."""

TUNED_LABELS = 2_000
"""The interval is narrowest after about so many labels of each version."""

_BOUNDED_VARIANCE = 0.125
_OLD, _NEW = 0, 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of a comparison.

    Args:
        margin: how much worse the challenger may be, in the unit of the metric.
        alpha: bound on the probability that such a verdict is ever wrong, each side taking half of it.
        share: share of the labels that the challenger should have, None: not checked.
    """

    margin: float = 0.0
    alpha: float = 0.05
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a comparison stands.

    Args:
        champion_value, challenger_value: the metric over all labels of each, None if undefined.
        difference, low, high: challenger minus champion with its confidence sequence, None before the first block.
        champion_labels, challenger_labels: labels of each.
        share_value: the challenger's share of the labels since its shares are checked, None without labels.
    """

    champion_value: float | None
    challenger_value: float | None
    difference: float | None
    low: float | None
    high: float | None
    champion_labels: int
    challenger_labels: int
    share_value: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has been found: ``worse``, ``better``, ``not_worse``, ``mismatch`` or ``resolved`` (what, in `resolves`)."""

    status: str
    resolves: str = ""


class Comparison:
    """One comparison, fed with the first labels of each pane in order.

    Args:
        measure: what they are compared by.
        rules: margin, alpha, share.
    """

    def __init__(self, measure: Measure, rules: Rules) -> None:
        self._measure, self._rules = measure, rules
        self._known = np.zeros((2, measure.cells), np.int64)
        self._block = np.zeros((2, measure.cells), np.int64)
        self._sum = self._weight = self._variance = self._rho = 0.0
        self._told: list[str] = []
        self._shares = None if rules.share is None else Shares(rules.share, rules.alpha)
        if measure.method == "bounded":
            self._rho = tuned_at(_BOUNDED_VARIANCE * 2 * TUNED_LABELS, rules.alpha / 2)

    def update(self, champion: Int | None, challenger: Int | None) -> list[Verdict]:
        """The first labels of a pane; what is found by it.

        Args:
            champion, challenger: int64[cells] of the pair table, None: no labels in this pane.
        """
        found = self._split(champion, challenger)
        for side, pairs in ((_OLD, champion), (_NEW, challenger)):
            if pairs is not None:
                self._block[side] += pairs
        measure, least = self._measure, LEAST_ROWS[self._measure.method]
        if isinstance(measure, Means):
            samples = [measure.samples(side) for side in self._block]
            full = all(sample.n >= least for side in samples for sample in side)
            if full:
                self._add_means(measure, samples)
        else:
            full = all(measure.least(side) >= least for side in self._block)
            if full:
                self._add_linear(measure)
        if full:
            self._known += self._block
            self._block[:] = 0
            found += self._judge()
        return found

    def interval(self) -> tuple[float, float, float] | None:
        """(difference, low, high), None before the first block."""
        if self._weight == 0:
            return None
        alpha, rho = self._rules.alpha, self._rho
        bounded = self._measure.method == "bounded"
        radius = boundary(self._variance, alpha / 2, rho) if bounded else normal_boundary(self._variance, alpha, rho)
        middle, half = self._sum / self._weight, radius / self._weight
        return middle, middle - half, middle + half

    def standing(self) -> Standing:
        """Where it stands."""
        total, measure, interval = self._known + self._block, self._measure, self.interval()
        difference, low, high = (None, None, None) if interval is None else interval
        return Standing(
            champion_value=measure.value(total[_OLD]),
            challenger_value=measure.value(total[_NEW]),
            difference=difference,
            low=low,
            high=high,
            champion_labels=measure.rows(total[_OLD]),
            challenger_labels=measure.rows(total[_NEW]),
            share_value=None if self._shares is None else self._shares.value(),
        )

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` takes back."""
        return {
            "known": self._known.ravel().tolist(),
            "block": self._block.ravel().tolist(),
            "sums": [self._sum, self._weight, self._variance, self._rho],
            "told": list(self._told),
            "shares": None if self._shares is None else self._shares.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state` of a comparison of the same measure and rules."""
        self._known = np.array(state["known"], np.int64).reshape(2, -1)
        self._block = np.array(state["block"], np.int64).reshape(2, -1)
        self._sum, self._weight, self._variance, self._rho = state["sums"]
        self._told = list(state["told"])
        if self._shares is not None:
            self._shares.restore(state["shares"])

    def _add_means(self, measure: Means, now: Sequence[Sequence[Sample]]) -> None:
        before = [measure.samples(known) for known in self._known]
        weight = min(sample.n for side in now for sample in side)
        for side, sign in ((_OLD, -1.0), (_NEW, 1.0)):
            for sample, known in zip(now[side], before[side], strict=True):
                each = weight / (len(now[side]) * sample.n)
                expected = (0.5 + known.n * known.mean) / (1 + known.n)
                squares = squares_ahead(sample.n, sample.mean, sample.variance, 1.0 + known.n, expected)
                self._sum += sign * each * sample.n * sample.mean
                self._variance += each * each * squares
        self._weight += weight

    def _add_linear(self, measure: Linear) -> None:
        """The variance of a row is that of all rows so far: a block's own is small just when few of the rare large
        values are in it, and so is its mean."""
        around = [measure.around(known) for known in self._known]
        if around[_OLD] is None or around[_NEW] is None:
            return
        means, squares, rows = [0.0, 0.0], [0.0, 0.0], [0, 0]
        for side, contribution in enumerate(around):
            assert contribution is not None
            now, all_ = contribution(self._block[side]), contribution(self._known[side] + self._block[side])
            means[side], squares[side], rows[side] = now.mean, all_.variance, now.n
        weight = min(rows)
        variance = sum(square * weight / n for square, n in zip(squares, rows, strict=True))
        if self._rho == 0:
            self._rho = tuned_at(max(variance * TUNED_LABELS, 1e-300), self._rules.alpha)
        self._sum += weight * (means[_NEW] - means[_OLD])
        self._variance += weight * variance
        self._weight += weight

    def _judge(self) -> list[Verdict]:
        if self._weight == 0:
            return []
        margin = self._rules.margin
        gain = self._sum * self._measure.better
        worse, better = self._beyond(-gain - margin * self._weight), self._beyond(gain)
        kept = self._beyond(gain + margin * self._weight)
        found = [
            *self._once("worse", worse),
            *self._once("better", better),
            *(self._once("not_worse", kept) if margin > 0 and not better else []),
        ]
        if "worse" in self._told and kept:
            found += self._once("resolved", True, "worse")
        if "better" in self._told and self._beyond(-gain):
            found += self._once("resolved", True, "better")
        return found

    def _beyond(self, total: float) -> bool:
        """Whether a sum that should not be above 0 is."""
        alpha = self._rules.alpha
        if self._measure.method == "bounded":
            return log_evidence(total, self._variance, self._rho) > log(2 / alpha)
        return total > normal_boundary(self._variance, alpha, self._rho)

    def _split(self, champion: Int | None, challenger: Int | None) -> list[Verdict]:
        if self._shares is None:
            return []
        old, new = (0 if pairs is None else self._measure.rows(pairs) for pairs in (champion, challenger))
        change = self._shares.update(new, old)
        if change == "mismatch":
            return [Verdict("mismatch")]
        return [Verdict("resolved", "mismatch")] if change else []

    def _once(self, status: str, so: bool, resolves: str = "") -> list[Verdict]:
        name = f"{status} {resolves}".strip()
        if not so or name in self._told:
            return []
        self._told.append(name)
        return [Verdict(status, resolves)]

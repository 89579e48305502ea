"""How well estimates did once labels came: each estimate beside what it became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driftbus.detectors.intervals import Estimate, quantile


@dataclass(frozen=True, slots=True)
class Score:
    """An estimate and what the labels said.

    Args:
        estimated: value before labels came.
        realised: value by the labels.
        z: their difference in standard errors of the estimate; 0 if it had none.
        within: whether the realised value is within the estimate's bounds.
    """

    estimated: float
    realised: float
    z: float
    within: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """Scores of one metric, added up.

    Args:
        cohorts: scored.
        within: of them, those whose labels fell within the bounds.
        off: sum of |z|; about 0.8 a cohort if the intervals are right.
        latest: the last score.
    """

    cohorts: int = 0
    within: int = 0
    off: float = 0.0
    latest: Score | None = None

    @property
    def share(self) -> float | None:
        """Share of cohorts within the bounds, None before the first."""
        return self.within / self.cohorts if self.cohorts else None

    def add(self, score: Score) -> Tally:
        """With one more score."""
        return Tally(self.cohorts + 1, self.within + score.within, self.off + abs(score.z), score)


def score(estimate: Estimate, realised: float, confidence: float = 0.95) -> Score:
    """Set an estimate beside what labels said.

    Args:
        estimate: with bounds of that confidence.
        realised: the metric by the labels.
        confidence: of the bounds. Their half on the side of the realised value gives the standard error.
    """
    side = estimate.high - estimate.value if realised > estimate.value else estimate.value - estimate.low
    z = (realised - estimate.value) * quantile(confidence) / side if side > 0 else 0.0
    return Score(estimate.value, realised, z, estimate.low <= realised <= estimate.high)


@dataclass(slots=True)
class Scored:
    """Estimates of cohorts that wait for labels, and tallies of those that have them.

    Args:
        confidence: of the estimates' bounds.
        most: cohorts that wait; the oldest are given up first, as their labels may never come.
    """

    confidence: float = 0.95
    most: int = 64
    waiting: dict[int, dict[str, Estimate]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def expect(self, cohort: int, estimates: Mapping[str, Estimate]) -> None:
        """Keep a cohort's estimates; later ones of the same cohort replace them."""
        self.waiting[cohort] = dict(estimates)
        while len(self.waiting) > self.most:
            del self.waiting[min(self.waiting)]

    def realise(self, cohort: int, metrics: Mapping[str, Estimate]) -> dict[str, Score]:
        """Labels of a cohort are complete: metric → score of those that were estimated; {} the second time."""
        estimates = self.waiting.pop(cohort, {})
        found = {
            name: score(estimates[name], metrics[name].value, self.confidence)
            for name in sorted(estimates.keys() & metrics.keys())
        }
        for name, each in found.items():
            self.tallies[name] = self.tallies.get(name, Tally()).add(each)
        return found

    def state(self) -> dict[str, Any]:
        """Plain data, for `restore`."""
        return {
            "waiting": [
                [cohort, [[name, e.value, e.low, e.high, e.n] for name, e in sorted(estimates.items())]]
                for cohort, estimates in sorted(self.waiting.items())
            ],
            "tallies": [
                [name, t.cohorts, t.within, t.off, _plain(t.latest)] for name, t in sorted(self.tallies.items())
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.waiting = {
            int(cohort): {name: Estimate(*values) for name, *values in estimates}
            for cohort, estimates in state["waiting"]
        }
        self.tallies = {
            name: Tally(cohorts, within, off, None if latest is None else Score(*latest))
            for name, cohorts, within, off, latest in state["tallies"]
        }


def _plain(latest: Score | None) -> list[float | bool] | None:
    return None if latest is None else [latest.estimated, latest.realised, latest.z, latest.within]

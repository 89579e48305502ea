"""How well estimates did once labels came: each estimate beside what it became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


class Scored:
    """How well the estimates of a monitor did, metric by metric.

    Args:
        confidence: of the estimates' bounds.
        most: versions that are kept; the one scored longest ago is given up first.

    Attributes:
        tallies: version → metric → its scores, the version scored last at the end.
    """

    def __init__(self, confidence: float = 0.95, most: int = 64) -> None:
        self._confidence, self._most = confidence, most
        self.tallies: dict[str, dict[str, Tally]] = {}

    def realise(self, version: str, estimates: Mapping[str, Estimate], realised: Mapping[str, float]) -> None:
        """Labels of a cohort have come: score what was estimated of it. Call it once for each cohort.

        Args:
            version: of the model.
            estimates: metric → what was estimated.
            realised: metric → what labels said.
        """
        known = self.tallies.pop(version, {})
        for name in sorted(estimates.keys() & realised.keys()):
            known[name] = known.get(name, Tally()).add(score(estimates[name], realised[name], self._confidence))
        self.tallies[version] = known
        while len(self.tallies) > self._most:
            del self.tallies[next(iter(self.tallies))]

    def state(self) -> list[Any]:
        """Plain data, for `restore`."""
        return [
            [version, [[name, t.cohorts, t.within, t.off, _plain(t.latest)] for name, t in sorted(tallies.items())]]
            for version, tallies in self.tallies.items()
        ]

    def restore(self, state: list[Any]) -> None:
        """Continue where `state` was taken."""
        self.tallies = {
            version: {
                name: Tally(cohorts, within, off, None if latest is None else Score(*latest))
                for name, cohorts, within, off, latest in tallies
            }
            for version, tallies in state
        }


def _plain(latest: Score | None) -> list[float | bool] | None:
    return None if latest is None else [latest.estimated, latest.realised, latest.z, latest.within]

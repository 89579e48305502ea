"""From what the detectors of a group hold to evidence: how large a change is, what it is, whether it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import copysign, sqrt

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import psi
from driftbus.detectors.adwin import AdwinAlarm, AdwinBank
from driftbus.detectors.cusum import CusumBank
from driftbus.detectors.distancebank import LEAST, DistanceBank
from driftbus.detectors.distances import psi_of_shares
from driftbus.detectors.episodes import Evidence
from driftbus.detectors.scores import ScoreTable
from driftbus.detectors.settings import Settings
from driftbus.detectors.windows import SlidingWindows

ADWIN, RATE, FIRST_PSI = 0, 1, 2
"""Detector numbers; those of the index follow in the order of its windows, then the other distances'."""


def detector_names(settings: Settings) -> tuple[str, ...]:
    """Names of the detectors, by number."""
    windowed = ("psi", *distances_on(settings))
    windows = (f"{name}_{size}" for name in windowed for size in settings.psi_windows)
    return ("adwin", "rate", *windows, *sums_on(settings))


def distances_on(settings: Settings) -> tuple[str, ...]:
    """The distances beside the index that are on, in the order of their banks."""
    return tuple(name for name in LEAST if name in settings.detectors)


def sums_on(settings: Settings) -> tuple[str, ...]:
    """The cumulative sums that are on, in the order of their banks."""
    return tuple(name for name in ("cusum", "page_hinkley") if name in settings.detectors)


class Evidences:
    """Reads the detectors of one group; changes nothing.

    Args:
        table: the scores; s of them, on c columns.
        settings: the constants.
        bank: ADWIN on the scores.
        windows: series 0..c-1 are the columns' coarse counts, c..c+s-1 the scores' sums.
        index: the population stability index of the columns.
        distances: the other distances that are on.
        sums: the cumulative sums that are on.

    Attributes:
        sequential: numbers of the detectors that watch scores and tell change points.
        comparing: those that compare with the stream's past; cusum repeats itself while the reference is far.
    """

    def __init__(
        self,
        table: ScoreTable,
        settings: Settings,
        bank: AdwinBank,
        windows: SlidingWindows,
        index: psi.PsiBank,
        distances: Sequence[DistanceBank] = (),
        sums: Sequence[CusumBank] = (),
    ) -> None:
        self._table, self._settings = table, settings
        self._bank, self._windows, self._index, self._distances = bank, windows, index, tuple(distances)
        self._sums = tuple(sums)
        after = len(detector_names(settings)) - len(self._sums)
        self.sequential = (ADWIN, *range(after, after + len(self._sums)))
        names = detector_names(settings)
        self.comparing = tuple(number for number in self.sequential if names[number] != "cusum")
        self._columns = table.first.size
        n = np.maximum(table.ref_n, 1.0)
        self.reference_mean: NDArray[np.float64] = table.ref_sum / n
        self._reference_variance = table.ref_m2 / n
        self._of_column = [
            [i for i, score in enumerate(table.scores) if score.column == c and score.aspect == "distribution"]
            for c in range(self._columns)
        ]

    def effect(self, score: int, mean: float, n: float, variance: float) -> float:
        """Distance of a mean from the reference in index units, bias removed.

        A share's is the index of yes and no; a location or spread score's its squared
        standardised shift, which is what the index of two normal distributions is.
        """
        reference = float(self.reference_mean[score])
        if self._table.scores[score].is_share:
            mean = min(max(mean, 0.0), 1.0)  # one that is centred on a season may leave the range
            return psi_of_shares(reference, mean, float(self._table.ref_n[score]), n)
        scale = float(self._reference_variance[score])
        return max(0.0, (mean - reference) ** 2 - variance / n) / scale

    def least_effect(self, score: int, mean: float, n: float, variance: float) -> float:
        """`effect` of the mean two standard errors nearer to the reference."""
        reference = float(self.reference_mean[score])
        if self._table.scores[score].is_share:
            variance = max(variance, mean * (1 - mean))
        error = 2 * sqrt(variance / n)
        nearer = reference + copysign(max(0.0, abs(mean - reference) - error), mean - reference)
        return self.effect(score, nearer, n, variance)

    def of_alarm(self, alarm: AdwinAlarm, bank: int = 0) -> Evidence:
        """Evidence of a mean that changed.

        Args:
            alarm: what was found.
            bank: place of its detector in `sequential`.
        """
        score = self._table.scores[alarm.score]
        shift = alarm.after_mean - float(self.reference_mean[alarm.score])
        change = alarm.after_mean - alarm.before_mean
        return Evidence(
            detector=self.sequential[bank],
            what=score.what,
            direction="up" if shift > 0 else "down",
            score=alarm.score,
            statistic=alarm.statistic,
            threshold=alarm.threshold,
            p_value=alarm.p_value,
            effect=self.effect(alarm.score, alarm.after_mean, alarm.after_n, alarm.variance),
            least_effect=self.least_effect(alarm.score, alarm.after_mean, alarm.after_n, alarm.variance),
            reference_value=alarm.before_mean,
            current_value=alarm.after_mean,
            window_start=alarm.since,
            since=alarm.since,
            since_low=alarm.since_low,
            since_high=alarm.since_high,
            count=int(alarm.after_n),
            reference_count=int(alarm.before_n),
            moved="up" if change > 0 else "down",
            is_back=abs(shift) <= 0.5 * abs(change),
        )

    def of_index(self, tick: int, window: int, column: int) -> Evidence:
        """Evidence of the index's latest judgement of a window."""
        n = float(self._windows.n[window, column])
        effect = self._index.corrected(window, column, n)
        score, what = self._explanation(window, column, effect)
        shift = self.window_mean(window, score) - float(self.reference_mean[score]) if score >= 0 else 0.0
        buckets, ticks = self._windows.closed_buckets(window, column)
        start = self._index.most_likely_start(column, buckets)
        judged = self._index.judgement[window, column]
        return Evidence(
            detector=FIRST_PSI + window,
            what=what,
            direction="" if score < 0 or not shift else "up" if shift > 0 else "down",
            score=score,
            statistic=float(judged[psi.STATISTIC]),
            threshold=float(judged[psi.THRESHOLD]),
            p_value=self._index.p_value(window, column),
            effect=effect,
            least_effect=self.least_index(window, column),
            reference_value=float(self.reference_mean[score]) if score >= 0 else None,
            current_value=self.window_mean(window, score) if score >= 0 else None,
            window_start=int(ticks[0]),
            since=int(ticks[start]),
            since_low=int(ticks[max(0, start - 1)]),
            since_high=int(ticks[start + 1]) if start + 1 < ticks.size else tick,
            count=int(n),
            reference_count=int(self._table.ref_n[self._of_column[column][0]]) if self._of_column[column] else 0,
        )

    def of_distance(self, tick: int, number: int, window: int, column: int) -> Evidence:
        """Evidence of the latest judgement of a distance; its effect is the index of that window."""
        bank, windows = self._distances[number], self._index.open.shape[0]
        distance, threshold, _, _ = bank.judgement[window, column].tolist()
        return replace(
            self.of_index(tick, window, column),
            detector=FIRST_PSI + (1 + number) * windows + window,
            statistic=distance,
            threshold=threshold,
            p_value=bank.p_value(window, column),
        )

    def windows_open(self, column: int) -> NDArray[np.bool_]:
        """bool[w], whether the index or another distance of a window is on."""
        found = self._index.open[:, column].copy()
        for bank in self._distances:
            found |= bank.open[:, column]
        return found

    def least_index(self, window: int, column: int) -> float:
        """The index of a window without its bias, two standard errors below."""
        n = float(self._windows.n[window, column])
        return self._index.corrected(window, column, n) - 2 * self._index.standard_error(window, column, n)

    def of_rate(self, tick: int, score: int, threshold: float = 0.0) -> Evidence:
        """Evidence of a score's mean in the latest short window; statistic and effect are in index units."""
        n, mean = float(self._windows.n[0, self._columns + score]), self.window_mean(0, score)
        variance = self._bank.variance(score, n) if n > 0 else 0.0
        effect = self.effect(score, mean, n, variance) if n > 0 else 0.0
        start = int(self._windows.first_tick[0, self._columns + score])
        reference = float(self.reference_mean[score])
        return Evidence(
            detector=RATE,
            what=self._table.scores[score].what,
            direction="up" if mean > reference else "down",
            score=score,
            statistic=effect,
            threshold=threshold,
            p_value=None,
            effect=effect,
            least_effect=self.least_effect(score, mean, n, variance) if n > 0 else 0.0,
            reference_value=reference,
            current_value=mean,
            window_start=start,
            since=start,
            since_low=start,
            since_high=tick,
            count=int(n),
            reference_count=int(self._table.ref_n[score]),
        )

    def window_mean(self, window: int, score: int) -> float:
        """Mean of a score in the latest full window, 0 before there is one."""
        series = self._columns + score
        n = self._windows.n[window, series]
        return float(self._windows.sums[window, self._windows.start[series]] / n) if n > 0 else 0.0

    def is_back(self, score: int, shift: float) -> bool:
        """Whether a score that had shifted is back at the reference.

        In ADWIN's own window, or in a sliding window that lies wholly after the last alarm: the
        mean's upper confidence bound is within half of the shift, and its effect negligible.
        """
        settings, own = self._settings, self._bank.seen(score)
        seen = min([own, *(bank.seen(score) for bank in self._sums)])
        if seen < settings.close_values:
            return False
        samples = [(seen, self._bank.recent_mean(score))] if own == seen else []
        for window in range(self._windows.n.shape[0]):
            n = float(self._windows.n[window, self._columns + score])
            if 0 < n <= seen:
                samples.append((n, self.window_mean(window, score)))
        for n, mean in samples:
            variance = self._bank.variance(score, n)
            distance = abs(mean - float(self.reference_mean[score]))
            bound = distance + settings.close_errors * sqrt(variance / n)
            if bound < 0.5 * abs(shift) and self.effect(score, mean, n, variance) < settings.close_effect:
                return True
        return False

    def index_is_quiet(self, column: int, severity: int) -> bool:
        """Whether the short window's index is far below its thresholds, and no window's alarm is on.

        From moderate on, the short window alone is sure enough; longer ones still hold the past.
        """
        if not self._index.open.shape[0] or self._windows.n[0, column] <= 0:
            return True
        judged, on = self._index.judgement[0, column], self.windows_open(column)
        small = self._index.corrected(0, column, float(self._windows.n[0, column])) < self._settings.close_effect
        calm = judged[psi.STATISTIC] < 0.5 * judged[psi.THRESHOLD]
        if severity >= 2 and small:
            return not on[0]
        return not on.any() and bool(small or calm)

    def _explanation(self, window: int, column: int, effect: float) -> tuple[int, str]:
        """The score that explains at least half of the index (any category's share: the largest), and the word."""
        best, most = -1, 0.0
        for i in self._of_column[column]:
            n = float(self._windows.n[window, self._columns + i])
            if n > 0:
                size = self.effect(i, self.window_mean(window, i), n, 0.0)
                if size > most:
                    best, most = i, size
        if best >= 0 and (self._table.scores[best].is_share or most >= 0.5 * effect):
            return best, self._table.scores[best].what
        return -1, "shape"

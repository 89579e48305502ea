"""What a detector found on the outcomes, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, sqrt

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptScore
from driftbus.detectors.verdict import share_effect

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_LIKELY = 8.0
"""Cuts whose squared standardised contrast is so near to the largest one's are likely as well."""


@dataclass(frozen=True, slots=True)
class ConceptEvidence:
    """What one detector found on one score.

    Args:
        score: index of the score.
        detector: index of the detector.
        statistic, threshold, p_value: the detector's own.
        effect, least_effect: size of the change in index units, and two standard errors below.
        before, before_n, after, after_n: means and rows of the two sides.
        since, since_low, since_high: estimated change point and its interval, in ticks.
    """

    score: int
    detector: int
    statistic: float
    threshold: float
    p_value: float | None
    effect: float
    least_effect: float
    before: float
    before_n: float
    after: float
    after_n: float
    since: int
    since_low: int
    since_high: int


def effect_of(score: ConceptScore, before: float, after: float, variance: float) -> float:
    """Size of a change in index units: of a share, or of two normal laws."""
    return share_effect(before, after) if score.share else (after - before) ** 2 / max(variance, 1e-12)


def least_effect(score: ConceptScore, before: float, after: float, n: float, variance: float) -> float:
    """The same, two standard errors nearer to what was before."""
    error = 2 * sqrt(variance / max(n, 1.0))
    nearer = before if abs(after - before) <= error else after - copysign(error, after - before)
    return effect_of(score, before, nearer, variance)


def of_alarm(alarm: AdwinAlarm, index: int, score: ConceptScore, base: Float) -> ConceptEvidence:
    """Evidence of a mean that changed.

    Args:
        alarm: of ADWIN.
        index: of the score.
        score: what it is.
        base: float64[3], mean and rows before its open episode, see `driftbus.detectors.concept_episodes`.
    """
    was = float(base[0]) if base[1] > 0 else alarm.before_mean
    return ConceptEvidence(
        score=index,
        detector=0,
        statistic=alarm.statistic,
        threshold=alarm.threshold,
        p_value=alarm.p_value,
        effect=effect_of(score, was, alarm.after_mean, alarm.variance),
        least_effect=least_effect(score, was, alarm.after_mean, alarm.after_n, alarm.variance),
        before=alarm.before_mean,
        before_n=alarm.before_n,
        after=alarm.after_mean,
        after_n=alarm.after_n,
        since=alarm.since,
        since_low=alarm.since_low,
        since_high=alarm.since_high,
    )


def is_back(score: ConceptScore, bank: AdwinBank, i: int, base: Float, settings: ConceptSettings) -> bool:
    """Whether the labels since a score's last alarm have its mean from before the episode.

    Args:
        score: what it is, number i of `bank`.
        bank: what watches it.
        i: its index there.
        base: float64[3], mean and rows before, and how far it went.
        settings: the constants.
    """
    n, mean = bank.seen(i), bank.recent_mean(i)
    if n < settings.close_values:
        return False
    was, was_n, shift = base.tolist()
    variance = bank.variance(i, n)
    bound = abs(mean - was) + settings.close_errors * sqrt(variance * (1 / n + 1 / was_n))
    return bool(bound < 0.5 * abs(shift)) and effect_of(score, was, mean, variance) < settings.close_effect


def present(
    index: int,
    score: ConceptScore,
    bank: AdwinBank,
    i: int,
    base: Float,
    settings: ConceptSettings,
    since: int,
    tick: int,
) -> ConceptEvidence:
    """Where a score is now, for an episode that ends."""
    n, mean = bank.seen(i), bank.recent_mean(i)
    was, was_n, _ = base.tolist()
    effect = effect_of(score, was, mean, bank.variance(i, n))
    limit = settings.close_effect
    return ConceptEvidence(index, 0, effect, limit, None, effect, effect, was, was_n, mean, n, since, since, tick)


def located(
    score: ConceptScore,
    marks: Sequence[tuple[int, int, Int]],
    start: int,
    tick: int,
    reference: Int | None,
    detector: int,
) -> ConceptEvidence | None:
    """The most likely change of a share, for detectors that tell no change point; None before two marks.

    Args:
        score: the share.
        marks: (first tick, last tick, channels), oldest first.
        start: earlier ones don't count.
        tick: the present pane.
        reference: channels that came before all, None for none.
        detector: index of the one that alarmed.
    """
    held = [(first, *score.moments(counts)) for first, _, counts in marks if first >= start]
    if reference is not None and held:
        held.insert(0, (held[0][0], *score.moments(reference)))
    held = [mark for mark in held if mark[1] > 0]
    if len(held) < 2:
        return None
    n = np.array([mark[1] for mark in held])
    total = np.array([mark[1] * mark[2] for mark in held])
    n0, s0 = np.cumsum(n)[:-1], np.cumsum(total)[:-1]
    n1, s1 = n.sum() - n0, total.sum() - s0
    mean = total.sum() / n.sum()
    variance = max(float(mean * (1 - mean)), 1e-6)
    z = (s0 / n0 - s1 / n1) ** 2 / (variance * (1 / n0 + 1 / n1))
    best = int(np.argmax(z))
    likely = np.flatnonzero(z >= z[best] - _LIKELY)
    high = int(likely[-1]) + 2
    before, after = float(s0[best] / n0[best]), float(s1[best] / n1[best])
    return ConceptEvidence(
        score=0,
        detector=detector,
        statistic=sqrt(float(z[best])),
        threshold=0.0,
        p_value=None,
        effect=effect_of(score, before, after, variance),
        least_effect=least_effect(score, before, after, float(n1[best]), variance),
        before=before,
        before_n=float(n0[best]),
        after=after,
        after_n=float(n1[best]),
        since=held[best + 1][0],
        since_low=held[int(likely[0])][0],
        since_high=held[high][0] if high < len(held) else tick,
    )

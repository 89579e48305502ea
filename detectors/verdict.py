"""What a detector says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log

from driftbus.schemas.events import Histogram


def share_effect(before: float, after: float) -> float:
    """Size of a change of a share in PSI units: the index of yes and no, both at least a thousandth."""
    p, q = (min(max(share, 0.001), 0.999) for share in (before, after))
    return (q - p) * log(q * (1 - p) / (p * (1 - q)))


@dataclass(frozen=True, slots=True)
class Transition:
    """An episode of one column changes: the only thing that leaves the detectors of a group.

    Times are pane numbers (ticks); the judge turns them into milliseconds and source offsets.

    Args:
        column: column of the profile, or "" for the group as a whole (volume, duplicates, freshness).
        aspect: ``distribution``, ``quality``, ``cardinality``, ``volume``, ``duplicates``, ``freshness`` or
            ``schema``; an episode belongs to (column, aspect).
        status: ``opened``, ``escalated``, ``changed`` or ``closed``.
        severity: ``minor``, ``moderate`` or ``severe``.
        detector: ``adwin``, ``psi_1000``, ``psi_5000``, ``cardinality``, ``volume``, ...
        what: ``shift``, ``spread``, ``shape``, ``category``, ``nulls``, ``invalid``, ``unseen``,
            ``range``, ``distinct``, ``stuck``, ``volume``, ``duplicates``, ``freshness`` or ``schema``.
        direction: ``up``, ``down`` or "".
        statistic, threshold: the detector's own; an alarm is statistic > threshold.
        p_value: bound on the probability of such a statistic without drift, None if there is none.
        effect: size of the change in PSI units.
        reference_value, current_value: what the score, rate or share was and is.
        opened_tick: pane at which the episode was opened.
        window_start_tick: first pane the verdict rests on.
        since_tick, since_low_tick, since_high_tick: estimated change point and its interval.
        count, reference_count: values behind the two sides.
        category: the category whose share changed most, "" if it is not about one.
        nature: ``drift``, or ``skew`` when the stream differs from its training data from the first rows on.
        histogram: values before and after, None when it is about no column.
        detail: what can only be said in words, "" for nothing.
        curve: index of the column's latest short windows, at most 32, oldest first.
        distances: between the histogram's samples, by name.
        among: columns that matter most where it is about several, the first the most.
        moved: of an outcome: which of ``P(Y)``, ``P(Ŷ)`` and ``P(Y|Ŷ)`` moved at the change point.
    """

    column: str
    aspect: str
    status: str
    severity: str
    detector: str
    what: str
    direction: str
    statistic: float
    threshold: float
    p_value: float | None
    effect: float
    reference_value: float | None
    current_value: float | None
    opened_tick: int
    window_start_tick: int
    since_tick: int
    since_low_tick: int
    since_high_tick: int
    count: int
    reference_count: int
    category: str = ""
    nature: str = "drift"
    histogram: Histogram | None = None
    curve: tuple[float, ...] = ()
    distances: Mapping[str, float] = field(default_factory=dict, hash=False)
    detail: str = ""
    among: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnView:
    """The present state of one column, for eyes only (terminal, metrics, page).

    Args:
        column: column of the profile.
        severity: of the worst open episode, "" when stable.
        what: of the worst open episode, "" when stable.
        psi: population stability index of the latest short window, None before it is full.
        mean: mean location score of the latest window (0 is the reference, unit its standard
            deviation), None for categories.
        null_rate: share of nulls in the latest short window, None before it is full.
    """

    column: str
    severity: str
    what: str
    psi: float | None
    mean: float | None
    null_rate: float | None

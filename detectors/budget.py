"""Significance levels from a number of false alarms per week that people accept.

Measured on streams without drift: location, spread and both windows of the population
stability index of one column together raise 0.6 false alarms per million values at the undivided
levels, and their number is proportional to the level.
"""

from __future__ import annotations

from collections.abc import Collection
from math import fsum

SHARES = {"adwin": 0.58, "psi": 0.02, "cusum": 0.1, "page_hinkley": 0.1}
"""False alarms per million values of one column at the undivided levels; detectors not named take `_OTHERS` each.

adwin and psi are a bound over 21 distributions (0.59 together), the others what their levels are made for.
"""

_OTHERS = 0.02

LEAST_EVENTS_PER_SECOND = 10.0
"""The rate that the budget is made for at least: 6 million events.

A slower stream could be allowed more false alarms per million values. But whoever replays a year
of it in a minute meets all of them at once, and dividing by ten costs only a third more delay.
"""

_SECONDS_PER_WEEK = 604_800


def false_alarms_per_million(detectors: Collection[str]) -> float:
    """Per million values of one column, of these detectors together at their undivided levels.

    Bonferroni with weights: what they take alone is added up, as if they never alarmed together.
    """
    return fsum(SHARES.get(name, _OTHERS) for name in detectors)


def divisor(
    false_alarms_per_week: float | None,
    columns: int,
    events_per_second: float,
    detectors: Collection[str] = ("adwin", "psi"),
) -> float:
    """By how much the significance levels have to be divided.

    Args:
        false_alarms_per_week: accepted for all columns together; None: undivided levels.
            Raising it shortens detection: four times as many save about a tenth of the delay.
        columns: columns watched, over all streams of the monitor. A segmentation by one field
            watches every event once more: multiply by (1 + number of segment fields).
        detectors: those that are on; each one more divides the levels of all a little further.
        events_per_second: rate of the whole monitor; `LEAST_EVENTS_PER_SECOND` if it is slower.

    Returns:
        A number of at least 1: about 4 × columns at 10 events per second and one alarm a week.
    """
    if false_alarms_per_week is None:
        return 1.0
    rate = max(events_per_second, LEAST_EVENTS_PER_SECOND)
    millions = columns * rate * _SECONDS_PER_WEEK / 1e6
    return max(1.0, false_alarms_per_million(detectors) * millions / false_alarms_per_week)

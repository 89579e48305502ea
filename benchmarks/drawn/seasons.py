"""Seasons: a cycle and what each hour expects, and a shift seen with and without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.detection.ours import panes_of
from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.season_choice import with_season
from driftbus.detectors.settings import Settings
from driftbus.schemas.config import SeasonConfig

_MONDAY, _DAY, _STEP, _PANE = 1_704_067_200_000, 86_400_000, 60_000, 30
_PER_DAY, _SHIFT, _AT = _DAY // _STEP, 0.5, 3


def _values() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A row a minute for 14 days: a sine of the day; .5 standard deviations more from day 10 on."""
    time_ms = _MONDAY + np.arange(14 * _PER_DAY, dtype=np.int64) * _STEP
    values = np.sin(2 * np.pi * (time_ms % _DAY) / _DAY) + np.random.default_rng(3).standard_normal(time_ms.size)
    values[(7 + _AT) * _PER_DAY :] += _SHIFT
    return time_ms, values


def _curve(profile: Profile, values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Index of the window of 1,000 after each pane, and days of episodes that opened."""
    group, found, opened = GroupDetector(profile, Settings(pane_ms=_PANE * _STEP)), [], []
    first = (_MONDAY + 7 * _DAY) // (_PANE * _STEP)
    for i, counts in enumerate(panes_of(profile, {"x": values}, _PANE)):
        for t in group.update(first + i, counts, _PANE):
            if t.status == "opened" and t.aspect == "distribution":
                opened.append((i + 1) * _PANE / _PER_DAY)
        found.append(group.views()[0].psi or 0.0)
    return found, opened


@picture("seasons")
def seasons() -> Figure:
    time_ms, values = _values()
    warm = 7 * _PER_DAY
    data = {"x": NumericData(values[:warm])}
    plain = build_profile("m", "features", data, ordered=True)
    profile = with_season(plain, data, time_ms[:warm], SeasonConfig(), ordered=True)
    figure, (left, right) = panels(2, height=2.4)
    hours = (time_ms[:warm] % _DAY) / 3_600_000
    left.plot(hours[::23], values[:warm:23], ",", color=REFERENCE)
    slot = hours.astype(np.int64)
    for share, style in ((0.5, "-"), (0.1, ":"), (0.9, ":")):
        level = [np.quantile(values[:warm][slot == hour], share) for hour in range(24)]
        left.step(range(25), [*level, level[-1]], style, where="post", color=CURRENT)
    left.set(xlabel="hour of the day", title="a reference for each hour: median, 10 and 90 %", xlim=(0, 24))
    days = (np.arange(values[warm:].size // _PANE) + 1) * _PANE / _PER_DAY
    for name, one, colour in (("without", replace(plain, season=None), LIMIT), ("with a season", profile, CURRENT)):
        curve, opened = _curve(one, values[warm:])
        right.plot(days[30::2], curve[30::2], color=colour, label=f"index {name}")
        for day in opened:
            right.axvline(day, color=ALARM if one is profile else LIMIT, ls="--", lw=1)
    right.axvspan(_AT, 7, color=REFERENCE, alpha=0.18, lw=0)
    right.set(xlabel="day after the reference", title="shaded: mean + .5 sd; dashed: episode opened")
    right.legend(loc="upper left")
    return figure

"""Shares of missing and unknown values, and the number of records an hour."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from benchmarks.detection import ours
from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.volume import VolumeWatch

_PANE = 32


@picture("missing")
def _missing() -> Figure:
    figure, axes = panels(2)
    rng = np.random.default_rng(3)
    values = np.where(rng.random(12_000) < 0.01, np.nan, rng.standard_normal(12_000))
    values[4_000:7_000][rng.random(3_000) < 0.2] = np.nan
    codes = rng.choice(3, 12_000, p=[0.5, 0.3, 0.2])
    codes[4_000:7_000][rng.random(3_000) < 0.05] = 7
    known = rng.standard_normal(10_000)
    known[::100] = np.nan
    for a, (name, reference, stream, held) in zip(
        axes,
        (
            ("nulls, 1 → 20 %", known, values, np.isnan(values)),
            ("unseen category, 0 → 5 %", rng.choice(3, 10_000, p=[0.5, 0.3, 0.2]), codes, codes == 7),
        ),
        strict=True,
    ):
        profile = ours.profile_of({"x": reference})
        told = [
            one for one in ours.detect(profile, {"x": stream}, ours.settings_for(1))
            if one.transition.aspect == "quality" and one.transition.status in ("opened", "closed")
        ]  # fmt: skip
        shares = held[: held.size // 160 * 160].reshape(-1, 160).mean(axis=1)
        a.axvspan(4_000, 7_000, color=REFERENCE, alpha=0.18, lw=0)
        a.plot((np.arange(shares.size) + 1) * 160, shares, color=CURRENT, label="share of 160 rows")
        for one in told:
            colour = ALARM if one.transition.status == "opened" else LIMIT
            a.axvline(one.row, color=colour, label=one.transition.status)
        a.set(xlabel="row", title=name, ylim=(0, 1.6 * float(shares.max())))
        a.legend(loc="upper right", ncols=3, columnspacing=1.0, handlelength=1.4)
    return figure


@picture("volume")
def _volume() -> Figure:
    figure, (a,) = panels(1)
    hours = np.arange(24 * 12)
    usual = 3_000 + 2_500 * np.sin(2 * np.pi * hours / 24)
    counts = np.random.default_rng(8).poisson(np.where((hours >= 230) & (hours < 236), 0.02 * usual, usual))
    watch = VolumeWatch(3_600_000, 1e-6)
    told = [change for hour, count in enumerate(counts) for change in watch.update(hour, int(count))]
    a.plot(hours / 24, counts, color=CURRENT, label="records an hour")
    for change in told:
        colour = {"opened": ALARM, "escalated": ALARM}.get(change.status, LIMIT)
        a.axvline(change.end_tick / 24, color=colour, lw=0.9, label=change.status)
    a.set(xlabel="day", title="a day's cycle, and six hours with 2 % of the records", ylim=(0, 7_500))
    a.legend(loc="upper left", ncols=4)
    return figure

"""ADWIN and cumulative sums: the mean of a score over time, and what decides."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.detection.streams import autoregressive
from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.adwin import AdwinBank, AdwinRules
from driftbus.detectors.cusum import CusumBank, cusum_reference
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.settings import Settings

_PANE = 32


def _values() -> NDArray[np.float64]:
    values = np.random.default_rng(5).standard_normal(9_600)
    values[4_800:] += 0.5
    return values


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    panes = values[: values.size // _PANE * _PANE].reshape(-1, _PANE)
    return panes.sum(axis=1), panes.var(axis=1) * _PANE


def _panes(axes: Axes, values: NDArray[np.float64], change: int) -> None:
    total, _ = _moments(values)
    axes.plot((np.arange(total.size) + 1) * _PANE, total / _PANE, color=REFERENCE, lw=0.7, label="mean of a pane")
    axes.axvline(change, color=REFERENCE, ls=":")


@picture("adwin")
def _adwin() -> Figure:
    figure, (a, b) = panels(2)
    values = _values()
    _panes(a, values, 4_800)
    reference = (np.array([10_000.0]), np.zeros(1), np.array([10_000.0]))
    bank = AdwinBank(np.array([0.002]), AdwinRules(), reference)
    found = []
    for tick, (total, m2) in enumerate(zip(*_moments(values), strict=True)):
        found += [(tick, x) for x in bank.update(tick, np.array([32.0]), np.array([total]), np.array([m2]))]
    tick, alarm = found[0]
    a.hlines(alarm.before_mean, 0, alarm.since * _PANE, color=CURRENT, label="older, newer part")
    a.hlines(alarm.after_mean, alarm.since * _PANE, (tick + 1) * _PANE, color=CURRENT)
    a.axvspan(alarm.since_low * _PANE, (alarm.since_high + 1) * _PANE, color=LIMIT, alpha=0.4, lw=0, label="interval")
    a.axvline((tick + 1) * _PANE, color=ALARM, label="alarm")
    a.set(xlabel="row", title="mean + .5 sd at row 4,800", xlim=(3_600, 5_600), ylim=(-0.7, 1.5))
    a.legend(loc="upper left", ncols=2)
    lengths = 2.0 ** np.arange(5, 15)
    for rho, style in ((0.0, "-"), (0.5, "--"), (0.9, ":")):
        x = autoregressive(rho)(np.random.default_rng(2), 200_000)
        measured = AdwinBank(np.array([1e-9]))
        for tick, (total, m2) in enumerate(zip(*_moments(x), strict=True)):
            measured.update(tick, np.array([32.0]), np.array([total]), np.array([m2]))
        b.plot(lengths, [measured.variance(0, n) for n in lengths], color=CURRENT, ls=style, label=f"AR(1), {rho:g}")
    b.set(
        xscale="log", yscale="log", xlabel="values in the mean", title="long-run variance V, learned", ylim=(0.7, 200)
    )
    b.legend(loc="upper left")
    return figure


def _summed(name: str, values: NDArray[np.float64], change: int, axes: Axes) -> None:
    rng = np.random.default_rng(6)
    reference = {"x": NumericData(rng.standard_normal(10_000))}
    profile = build_profile("m", "features", reference)
    limits = cusum_reference(profile, Settings(pane_ms=1))[1]
    variances = AdwinBank(np.array([1e-9]), AdwinRules(alarms=False))
    bank = CusumBank(name == "page_hinkley", np.array([[10_000.0], [0.0], [1.0]]), limits[:1], variances)
    sums, alarms = [], []
    for tick, (total, m2) in enumerate(zip(*_moments(values), strict=True)):
        variances.update(tick, np.array([32.0]), np.array([total]), np.array([m2]))
        alarms += [(tick + 1) * _PANE for _ in bank.update(tick, np.array([32.0]), np.array([total]))]
        sums.append(bank.arrays()["sums"][0].copy())
    rows = (np.arange(len(sums)) + 1) * _PANE
    axes.plot(rows, np.array(sums)[:, 0], color=CURRENT, label="sum upwards")
    axes.plot(rows, np.array(sums)[:, 1], color=CURRENT, ls=":", label="downwards")
    axes.axhline(float(limits[0, 0]), color=LIMIT, ls="--", label="h")
    axes.plot(alarms, [float(limits[0, 0])] * len(alarms), "o", color=ALARM, ms=4, label="alarm")
    axes.axvline(change, color=REFERENCE, ls=":")
    axes.set(xlabel="row", ylim=(0, 1.5 * float(limits[0, 0])))
    axes.legend(loc="upper left", ncols=4, columnspacing=1.0, handlelength=1.4)


@picture("cusum")
def _cusum() -> Figure:
    figure, (a, b) = panels(2)
    values = _values()
    _panes(a, values, 4_800)
    a.set(xlabel="row", title="mean + .5 sd at row 4,800")
    _summed("cusum", values, 4_800, b)
    b.set(title="against the reference: alarms as long as it lasts")
    return figure


@picture("page-hinkley")
def _page_hinkley() -> Figure:
    figure, (a, b) = panels(2)
    values = _values()
    _panes(a, values, 4_800)
    a.set(xlabel="row", title="mean + .5 sd at row 4,800")
    _summed("page_hinkley", values, 4_800, b)
    b.set(title="against its own mean: one alarm a change")
    return figure

"""Distances of windows: what each measures, and its judgement of a stream that shifts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr

from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors import psi
from driftbus.detectors.distancebank import DISTANCE, THRESHOLD, DistanceBank
from driftbus.detectors.psi import PsiBank
from driftbus.detectors.windows import SlidingWindows

_PANE, _SIZES, _BINS = 32, (1_000, 5_000), 10
Counts = NDArray[np.float64]


def _stream() -> tuple[Counts, Counts]:
    """Reference counts on deciles, and counts of panes; half a standard deviation more from row 5,000 to 12,000."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal(20_000)
    values[5_000:12_000] += 0.5
    bins = np.minimum((ndtr(values) * _BINS).astype(np.int64), _BINS - 1)
    panes = [np.bincount(bins[i : i + _PANE], minlength=_BINS) for i in range(0, bins.size - _PANE, _PANE)]
    return np.full(_BINS, 1_000.0), np.array(panes, np.float64)


def _judged(bank: PsiBank | DistanceBank, read: Callable[[int], tuple[float, float]], axes: Axes, label: str) -> None:
    windows, rows, found, limits, alarms = SlidingWindows(_SIZES, np.array([_BINS])), [], [], [], []
    for tick, counts in enumerate(_stream()[1]):
        n = np.array([float(_PANE)])
        windows.update(tick, n, counts)
        bank.update(n, counts, windows.start, windows.judged, windows.n, windows.sums)
        if windows.judged[0, 0]:
            value, limit = read(0)
            rows.append((tick + 1) * _PANE)
            found.append(value)
            limits.append(limit)
            if bank.opened[0, 0]:
                alarms.append((rows[-1], value))
    axes.axvspan(5_000, 12_000, color=REFERENCE, alpha=0.18, lw=0)
    axes.plot(rows, found, color=CURRENT, label=label)
    axes.plot(rows, limits, color=LIMIT, ls="--", label="threshold")
    axes.plot(*zip(*alarms, strict=True), "o", color=ALARM, ms=4, label="alarm")
    axes.set(xlabel="row", title="window of 1,000; shaded: mean + .5 sd", ylim=(0, 1.4 * max(found)))
    axes.legend(loc="upper right", ncols=3, columnspacing=1.0, handlelength=1.4)


def _bars(axes: Axes, title: str) -> tuple[Counts, Counts]:
    """Shares of a reference and of one shifted by .5 standard deviations, as bars."""
    cuts = np.quantile(np.random.default_rng(1).standard_normal(100_000), np.arange(1, _BINS) / _BINS)
    p, place = np.full(_BINS, 1 / _BINS), np.arange(_BINS)
    q = np.diff(np.concatenate([[0], ndtr(cuts - 0.5), [1]]))
    axes.bar(place - 0.2, p, 0.4, color=REFERENCE, label="reference")
    axes.bar(place + 0.2, q, 0.4, color=CURRENT, label="window")
    axes.set(title=title, xlabel="bin", ylabel="share")
    axes.legend(loc="upper left")
    return p, q


def _curves(axes: Axes, title: str) -> tuple[Counts, Counts, Counts]:
    """Distribution functions of both over the bins."""
    place = np.arange(_BINS + 1)
    cuts = np.quantile(np.random.default_rng(1).standard_normal(100_000), np.arange(1, _BINS) / _BINS)
    f, g = place / _BINS, np.concatenate([[0], ndtr(cuts - 0.5), [1]])
    axes.step(place, f, where="post", color=REFERENCE, label="reference")
    axes.step(place, g, where="post", color=CURRENT, label="window")
    axes.set(title=title, xlabel="bin", ylabel="share up to here")
    axes.legend(loc="upper left")
    return place, f, g


def _figure(name: str, left: Callable[[Axes], object], label: str) -> Figure:
    figure, (a, b) = panels(2)
    left(a)
    bank = DistanceBank(name, [_stream()[0]], [True], _SIZES, 1e-6)
    _judged(bank, lambda w: tuple(bank.judgement[w, 0, [DISTANCE, THRESHOLD]]), b, label)
    return figure


@picture("psi")
def _psi() -> Figure:
    figure, (a, b) = panels(2)
    p, q = _bars(a, "(q − p) ln(q / p), summed over the bins")
    for i, part in enumerate((q - p) * np.log(q / p)):
        a.text(i, max(p[i], q[i]) + 0.004, f"{part:.3f}"[1:], ha="center", size=6)
    a.legend(loc="upper left", bbox_to_anchor=(0, 0.92))
    bank = PsiBank([_stream()[0]], len(_SIZES), 1e-6, 0.02)
    _judged(bank, lambda w: tuple(bank.judgement[w, 0, [psi.STATISTIC, psi.THRESHOLD]]), b, "T")
    return figure


@picture("ks")
def _ks() -> Figure:
    def draw(axes: Axes) -> None:
        place, f, g = _curves(axes, "the largest gap of the distribution functions")
        at = int(np.argmax(np.abs(f - g)))
        axes.annotate(
            "", (place[at] + 0.5, f[at]), (place[at] + 0.5, g[at]), arrowprops={"arrowstyle": "<->", "color": ALARM}
        )

    return _figure("ks", draw, "KS")


@picture("wasserstein")
def _wasserstein() -> Figure:
    def draw(axes: Axes) -> None:
        place, f, g = _curves(axes, "the area between the distribution functions")
        axes.fill_between(place, f, g, step="post", color=ALARM, alpha=0.3, lw=0)

    return _figure("wasserstein", draw, "Wasserstein, in bins")


@picture("total-variation")
def _total_variation() -> Figure:
    def draw(axes: Axes) -> None:
        p, q = _bars(axes, "the share that would have to move")
        more = q > p
        axes.bar(np.arange(_BINS)[more] + 0.2, (q - p)[more], 0.4, bottom=p[more], color=ALARM)

    return _figure("tv", draw, "TV")


@picture("chi-square")
def _chi_square() -> Figure:
    def draw(axes: Axes) -> None:
        p, q = _bars(axes, "(q − p)² / share of both, summed over the bins")
        for i, part in enumerate((q - p) ** 2 / p):
            axes.text(i, max(p[i], q[i]) + 0.004, f"{part:.3f}"[1:], ha="center", size=6)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.92))

    return _figure("chi2", draw, "chi-squared distance")


def _of_a_share(name: str, f: Callable[[Counts, Counts], Counts], axes: Axes) -> None:
    q = np.linspace(1e-9, 1 - 1e-9, 400)
    for p, style in ((0.5, "-"), (0.1, "--")):
        axes.plot(q, f(np.full_like(q, p), q), color=CURRENT, ls=style, label=f"{name}, reference {p:.0%}")
        axes.plot(q, np.abs(q - p), color=REFERENCE, ls=style, lw=0.8, label=f"difference, reference {p:.0%}")
    axes.set(title="of a share: finite, steepest near 0 and 1", xlabel="share in the window", ylim=(0, 1.45))
    axes.legend(loc="upper center", ncols=1)


@picture("hellinger")
def _hellinger() -> Figure:
    def distance(p: Counts, q: Counts) -> Counts:
        return np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2 + (np.sqrt(1 - p) - np.sqrt(1 - q)) ** 2) / 2)

    return _figure("hellinger", lambda axes: _of_a_share("Hellinger", distance, axes), "Hellinger")


@picture("jensen-shannon")
def _jensen_shannon() -> Figure:
    def half(p: Counts, m: Counts) -> Counts:
        return p * np.log(p / m) + (1 - p) * np.log((1 - p) / (1 - m))

    def distance(p: Counts, q: Counts) -> Counts:
        return np.sqrt((half(p, (p + q) / 2) + half(q, (p + q) / 2)) / 2)

    return _figure("js", lambda axes: _of_a_share("Jensen-Shannon", distance, axes), "Jensen-Shannon")

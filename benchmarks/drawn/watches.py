"""What sampled rows, ids, delays and schemas tell: distinct and stuck values, duplicates, freshness, schema, skew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.detection import ours
from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.cardinality import CardinalityWatch
from driftbus.detectors.duplicates import DuplicatesWatch
from driftbus.detectors.freshness import FreshnessWatch
from driftbus.detectors.schema import SchemaWatch
from driftbus.detectors.sketches import DELAY_BINS, IdSample, RowSample, Sketches, SketchShape, delay_bin, shape_of
from driftbus.detectors.verdict import Transition
from driftbus.schemas.hashing import scattered

_PANE = 32
_EMPTY = SketchShape(64, 0, (), ())


def _rows(values: NDArray[np.float64], reference: NDArray[np.float64]) -> list[Transition]:
    """What the watch on one numeric column says when every row is sampled."""
    profile = ours.profile_of({"x": reference})
    shape, watch = shape_of(profile, 64), CardinalityWatch(profile, 1e-6)
    edges = np.array(profile.columns[0].edges)
    cells = (1 + np.searchsorted(edges, values)).astype(np.uint16).reshape(-1, 1)
    marks = (scattered((values + 0.0).view(np.uint64)) >> np.uint64(48)).astype(np.uint16).reshape(-1, 1)
    hashes, told = np.arange(_PANE, dtype=np.uint64), []
    for tick, at in enumerate(range(0, values.size - _PANE + 1, _PANE)):
        part = slice(at, at + _PANE)
        told += watch.update(tick, Sketches(shape, RowSample(hashes, cells[part], marks[part])))
    return told


def _empty_rows() -> RowSample:
    return RowSample(np.zeros(0, np.uint64), np.zeros((0, 0), np.uint16), np.zeros((0, 0), np.uint16))


def _mark(a: Axes, told: Sequence[Transition], ticks: Sequence[float]) -> None:
    for t, x in zip(told, ticks, strict=True):
        a.axvline(x, color=LIMIT if t.status == "closed" else ALARM, label=f"{t.what} {t.status}")


@picture("cardinality")
def _cardinality() -> Figure:
    figure, (a,) = panels(1)
    rng = np.random.default_rng(5)
    values = rng.standard_normal(12_000)
    values[4_000:8_000] = np.round(values[4_000:8_000], 1)
    told = _rows(values, rng.standard_normal(10_000))
    counts = [np.unique(values[at : at + 1_000]).size for at in range(0, 12_000, 1_000)]
    a.axvspan(4_000, 8_000, color=REFERENCE, alpha=0.18, lw=0)
    a.step(np.arange(13) * 1_000, [*counts, counts[-1]], where="post", color=CURRENT, label="different values of 1,000")
    _mark(a, told, _judged(told))
    a.set(xlabel="row", title="values rounded to one decimal for 4,000 rows", ylim=(0, 1_400))
    a.legend(loc="upper right", ncols=3)
    return figure


def _judged(told: Sequence[Transition]) -> list[float]:
    """Rows at which windows of 1,000 ended: a window begins in its first pane."""
    return [
        (t.window_start_tick + 1) * _PANE + (1_000 if t.what == "distinct" or t.status == "closed" else t.statistic)
        for t in told
    ]


@picture("stuck")
def _stuck() -> Figure:
    figure, (a,) = panels(1)
    rng = np.random.default_rng(6)
    values = rng.standard_normal(8_000)
    values[3_000:4_500] = values[3_000]
    told = _rows(values, rng.standard_normal(10_000))
    a.plot(np.arange(0, 8_000, 40), values[::40], ".", ms=2, color=CURRENT, label="every 40th value")
    a.axvspan(3_000, 4_500, color=REFERENCE, alpha=0.18, lw=0)
    _mark(a, told, _judged(told))
    a.set(xlabel="row", title="one value for 1,500 rows", ylim=(-4, 6))
    a.legend(loc="upper right", ncols=4)
    return figure


@picture("duplicates")
def _duplicates() -> Figure:
    figure, (a,) = panels(1)
    rng, watch = np.random.default_rng(7), DuplicatesWatch(True, 1e-6)
    ids = np.arange(30_000)
    again = 12_000 + np.flatnonzero(rng.random(8_000) < 0.05)
    ids[again] = ids[again - rng.integers(1, 300, again.size)]
    told: list[Transition] = []
    marks: list[float] = []
    for tick, at in enumerate(range(0, ids.size, 100)):
        hashes, counts = np.unique(scattered(ids[at : at + 100].astype(np.uint64)), return_counts=True)
        sketches = Sketches(_EMPTY, _empty_rows(), IdSample(hashes[:64], counts[:64].astype(np.int64)))
        found = watch.update(tick, 100, sketches)
        told, marks = [*told, *found], [*marks, *[at + 100.0] * len(found)]
    shares = [1 - np.unique(ids[at : at + 1_000]).size / 1_000 for at in range(0, ids.size, 1_000)]
    a.axvspan(12_000, 20_000, color=REFERENCE, alpha=0.18, lw=0)
    a.step(np.arange(len(shares)) * 1_000, shares, where="post", color=CURRENT, label="repeated of 1,000 rows")
    a.axhline(0.01, color=LIMIT, ls=":", label="1 %")
    _mark(a, told, marks)
    a.set(xlabel="row", title="5 % of 8,000 records come again", ylim=(0, 0.09))
    a.legend(loc="upper right", ncols=4)
    return figure


@picture("freshness")
def _freshness() -> Figure:
    figure, (a,) = panels(1)
    rng, watch = np.random.default_rng(8), FreshnessWatch(3_600_000)
    told: list[Transition] = []
    medians, p95 = [], []
    for hour in range(24 * 5):
        late = 12.0 if 80 <= hour < 88 else 1.0
        delays = (late * 4_000 * (1.5 + np.sin(hour / 24 * 2 * np.pi)) * np.exp(0.5 * rng.normal(size=1_000))).astype(
            int
        )
        counts = np.bincount([delay_bin(int(d)) for d in delays], minlength=DELAY_BINS).astype(np.int64)
        told += watch.update(hour, Sketches(_EMPTY, _empty_rows(), delays=counts))
        medians.append(np.median(delays) / 1_000)
        p95.append(np.quantile(delays, 0.95) / 1_000)
    days = np.arange(24 * 5) / 24
    a.plot(days, medians, color=CURRENT, label="median delay, s")
    a.plot(days, p95, color=REFERENCE, label="95th percentile")
    _mark(a, told, [(t.window_start_tick + 1) / 24 for t in told])
    a.set(xlabel="day", title="a daily cycle of delays, and eight hours of twelve times as much", yscale="log")
    a.legend(loc="upper left", ncols=4)
    return figure


@picture("schema")
def _schema() -> Figure:
    figure, (a,) = panels(1)
    old: dict[str, str] = {"income": "double", "age": "int"}
    fields = {1: old, 2: old | {"shop": "string"}}
    rng, watch = np.random.default_rng(9), SchemaWatch({"income": "numeric", "age": "numeric"})
    new = np.clip((np.arange(120) - 40) / 30, 0, 1)
    told: list[Transition] = []
    ticks: list[float] = []
    shares: list[float] = []
    for tick, share in enumerate(new):
        of_new = int(rng.binomial(100, share))
        rows: dict[int, int] = {one: count for one, count in ((1, 100 - of_new), (2, of_new)) if count}
        found = watch.update(tick, rows, fields)
        told, ticks, shares = [*told, *found], [*ticks, *[float(tick)] * len(found)], [*shares, of_new / 100]
    a.step(np.arange(120), shares, where="post", color=CURRENT, label="records with the new schema")
    _mark(a, told, ticks)
    a.set(xlabel="pane of 100 records", title="a rolling deployment of producers is one episode", ylim=(0, 1.35))
    a.legend(loc="upper left", ncols=3)
    return figure


@picture("skew")
def _skew() -> Figure:
    figure, axes = panels(2)
    for a, begin in zip(axes, (0, 3_000), strict=True):
        rng = np.random.default_rng(10)
        values = rng.standard_normal(6_000) + 0.6 * (np.arange(6_000) >= begin)
        said = ours.detect(ours.profile_of({"x": rng.standard_normal(10_000)}), {"x": values}, ours.settings_for(1))
        first: Any = next(one for one in said if one.transition.status == "opened")
        low, high = first.transition.since_low_tick * _PANE, (first.transition.since_high_tick + 1) * _PANE
        means = values.reshape(-1, 200).mean(axis=1)
        a.plot(np.arange(means.size) * 200, means, color=CURRENT, label="mean of 200")
        a.axvspan(low, high, color=LIMIT, alpha=0.4, lw=0, label="change point")
        a.axvline(first.row, color=ALARM, label="opened")
        a.axhline(0, color=REFERENCE, ls=":")
        a.set(
            xlabel="row",
            title="off from the first row: skew" if not begin else "off from row 3,000: drift",
            ylim=(-0.4, 1.3),
        )
        a.legend(loc="upper right" if not begin else "upper left", ncols=3, columnspacing=1.0, handlelength=1.4)
    return figure

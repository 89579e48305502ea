"""What is between columns: correlation, all together, and what can be rebuilt, each on a stream that changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.joint import JointWatch
from driftbus.detectors.joint_reference import reference_of
from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.relations import Judgement, Sign
from driftbus.detectors.settings import Settings

_PANE, _CHANGE, _BACK, _ROWS = 25, 5_000, 10_000, 15_000
Rows = NDArray[np.float64]


def _draw(
    change: Callable[[Rows], Rows], read: Callable[[Judgement], Sign | None], title: str, columns: int, what: str
) -> Figure:
    rng = np.random.default_rng(5)
    known = rng.standard_normal((10_000, columns))
    stream = rng.standard_normal((_ROWS, columns))
    stream[_CHANGE:_BACK] = change(stream[_CHANGE:_BACK])
    profile = build_profile("m", "predictions", {f"c{i}": NumericData(known[:, i]) for i in range(columns)})
    reference = reference_of(profile)
    assert reference is not None
    watch = JointWatch(reference, Settings(pane_ms=1_000))
    rows: list[int] = []
    signs: list[Sign] = []
    fold = watch.book.fold

    def seen(tick: int, window: int, judgement: Judgement) -> object:
        sign = read(judgement)
        if window == 0 and sign is not None:
            rows.append((tick + 1) * _PANE)
            signs.append(sign)
        return fold(tick, window, judgement)

    watch.book.fold = seen  # type: ignore[assignment, method-assign]
    cells = np.array([1 + np.searchsorted(c.edges, stream[:, i]) for i, c in enumerate(profile.columns)], np.uint16).T
    told = [
        ((at // _PANE + 1) * _PANE, t)
        for at in range(0, _ROWS, _PANE)
        for t in watch.update(at // _PANE, cells[at : at + _PANE])
    ]
    figure, (left, right) = panels(2)
    for axes, part, colour, label in (
        (left, known[:1_500], REFERENCE, "reference"),
        (left, stream[_CHANGE : _CHANGE + 1_500], CURRENT, "window"),
    ):
        axes.plot(part[:, 0], part[:, 1], ".", ms=1.5, color=colour, label=label)
    left.set(xlabel="c0", ylabel="c1", title=title)
    left.legend(loc="upper left", markerscale=5)
    right.axvspan(_CHANGE, _BACK, color=REFERENCE, alpha=0.18, lw=0)
    right.plot(rows, [s.statistic for s in signs], color=CURRENT, label="statistic")
    right.plot(rows, [s.threshold for s in signs], color=LIMIT, ls="--", label="threshold")
    opened = [(row, t.statistic) for row, t in told if t.what == what and t.status == "opened"]
    if opened:
        right.plot(*zip(*opened, strict=True), "o", color=ALARM, ms=4, label="opened")
    right.set(xlabel="row", title="window of 1,000; shaded: changed")
    right.legend(loc="upper right")
    return figure


@picture("correlation")
def _correlation() -> Figure:
    def change(rows: Rows) -> Rows:
        rows[:, 1] = 0.5 * rows[:, 0] + np.sqrt(0.75) * rows[:, 1]
        return rows

    return _draw(change, lambda j: j.strongest, "correlation 0 → .5", 6, "correlation")


@picture("multivariate")
def _multivariate() -> Figure:
    def change(rows: Rows) -> Rows:
        rows[:, 2] = np.abs(rows[:, 2]) * np.sign(rows[:, 0] * rows[:, 1])
        return rows

    return _draw(change, lambda j: j.joint, "three columns: no pair is correlated", 6, "joint")


@picture("reconstruction")
def _reconstruction() -> Figure:
    def change(rows: Rows) -> Rows:
        return np.asarray(
            np.sqrt(0.8) * rows + np.sqrt(0.2) * rows.mean(axis=1, keepdims=True) * np.sqrt(rows.shape[1])
        )

    return _draw(change, lambda j: j.rebuilt, "all columns share a fifth", 8, "reconstruction")

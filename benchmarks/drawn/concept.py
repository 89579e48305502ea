"""Two streams whose errors double: one because of harder rows, one because labels have changed."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.concept import streams
from benchmarks.pictures import ALARM, CURRENT, LIMIT, REFERENCE, panels, picture
from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_settings import ConceptSettings

_PANE, _BEFORE, _AFTER, _BUDGET = 100, 10_000, 4_000, 90.0
_BINS, _MANY = 10, 300_000


def _shares(rows: streams.Rows) -> NDArray[np.float64]:
    """Share of label 1 by tenth of the score."""
    bins = np.minimum((rows.score * _BINS).astype(np.int64), _BINS - 1)
    held = np.bincount(bins, minlength=_BINS)
    return np.where(held >= 50, np.bincount(bins, rows.label, _BINS) / np.maximum(1, held), np.nan)


@picture("concept")
def _concept() -> Figure:
    figure, (a, b) = panels(2, height=2.6)
    kinds = {"harder rows": (CURRENT, streams.calibrated), "labels turn round": (ALARM, streams.flipped)}
    for name, (colour, draw) in kinds.items():
        rng = np.random.default_rng(3)
        before, after = streams.calibrated(rng, _BEFORE), draw(rng, _AFTER, 0.10)
        rows = streams.joined(before, after)
        wrong = (rows.score >= 0.5) != (rows.label == 1)
        shown = wrong.reshape(-1, 4 * _PANE).mean(axis=1)
        detector = ConceptDetector(streams.SHAPE, ConceptSettings(divisor=_BUDGET))
        said = [(t, x) for t, pane in enumerate(streams.panes(rows, _PANE)) for x in detector.update(t, pane)]
        tick, opened = next((t, x) for t, x in said if x.column == "error")
        at = (tick + 1) * _PANE
        a.plot((np.arange(shown.size) + 1) * 4 * _PANE, shown, color=colour, lw=0.9, label=name)
        a.axvline(at, color=colour, ls="--")
        a.text(
            at + 60, 0.015 if opened.what == "mix" else 0.028, f"{opened.what}: {', '.join(opened.moved)}", color=colour
        )
        b.plot(
            (np.arange(_BINS) + 0.5) / _BINS,
            _shares(draw(np.random.default_rng(4), _MANY, 0.10)),
            "o-",
            color=colour,
            ms=3,
            label=f"after: {name}",
        )
    b.plot(
        (np.arange(_BINS) + 0.5) / _BINS,
        _shares(streams.calibrated(np.random.default_rng(5), _MANY)),
        color=REFERENCE,
        label="before",
    )
    a.axvline(_BEFORE, color=LIMIT, ls=":", label="change")
    a.set(xlabel="label", title="error, .05 to .10: two reasons", xlim=(7_000, _BEFORE + _AFTER), ylim=(0, 0.15))
    b.set(xlabel="score", title="share of label 1 given the score, P(Y|Ŷ)")
    a.legend(loc="upper left")
    b.legend(loc="upper left")
    return figure

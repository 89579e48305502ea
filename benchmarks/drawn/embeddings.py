"""Embeddings: a projection when clusters change their shares, and the length when the dimension changes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.pictures import CURRENT, REFERENCE, panels, picture
from driftbus.schemas.columns import PRESENT
from driftbus.schemas.vectorparts import PARTS, project

_ROWS = 6_000


def _projected(rng: np.random.Generator, dimension: int, shares: list[float]) -> NDArray[np.float64]:
    centres = np.random.default_rng(77).standard_normal((len(shares), dimension))
    vectors = centres[rng.choice(len(shares), _ROWS, p=shares)] + 0.7 * rng.standard_normal((_ROWS, dimension))
    lengths = np.full(_ROWS, dimension, np.int64)
    return project(vectors.ravel(), lengths, np.full(_ROWS, PRESENT, np.uint8))[0]


@picture("embeddings")
def _embeddings() -> Figure:
    figure, axes = panels(3)
    rng = np.random.default_rng(9)
    before = _projected(rng, 64, [0.4, 0.3, 0.2, 0.1])
    reversed_ = _projected(rng, 64, [0.1, 0.2, 0.3, 0.4])
    other = _projected(rng, 96, [0.4, 0.3, 0.2, 0.1])
    shown = (("0", reversed_, "shares of clusters reversed"), ("1", reversed_, "the same"), ("norm", other, "64 → 96"))
    for axis, (part, later, title) in zip(axes, shown, strict=True):
        row = PARTS.index(part)
        edges = np.linspace(min(before[row].min(), later[row].min()), max(before[row].max(), later[row].max()), 41)
        for values, colour, label in ((before[row], REFERENCE, "reference"), (later[row], CURRENT, "later")):
            axis.stairs(np.histogram(values, edges)[0] / _ROWS, edges, color=colour, label=label)
        axis.set(title=f"emb[{part}]: {title}", ylabel="share of rows")
    axes[0].legend()
    return figure

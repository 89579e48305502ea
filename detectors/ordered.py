"""Autocorrelation of training rows in time order, so that a stream's first hours are not all alarms.

The rows run through the estimators of `longrun` and `design`; what is significant is kept as a table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import design, longrun
from driftbus.detectors.nulls import KS, QUADRATIC, STATIC, TV, WASSERSTEIN, null_law
from driftbus.detectors.profile import ColumnProfile, LongRun
from driftbus.detectors.psi import coarse_bins
from driftbus.detectors.scores import NUMBERS, column_scores
from driftbus.detectors.settings import Settings
from driftbus.schemas.kernel import kernel

PSI_PANE = 32
"""Values of a block whose coarse counts are compared with the next one's."""
_PSI_SCALES = 24


def longrun_of_rows(column: ColumnProfile, cells: NDArray[np.int64]) -> tuple[LongRun, ...]:
    """The significant long-run variances of a column's scores and of its index.

    Args:
        column: its reference.
        cells: int64[rows], cell of each row, in time order.
    """
    settings = Settings(pane_ms=1)
    found: list[LongRun | None] = []
    for score in column_scores(column, 0, settings):
        table = np.zeros(column.width)
        table[list(score.cells)] = score.table
        within = column.width if score.of_rows else column.value_cells
        found.append(longrun_of_values(score.name, table[cells[cells < within]]))
    found += _designs_of_rows(column, cells[cells < column.value_cells], settings)
    return tuple(run for run in found if run is not None)


def longrun_of_values(score: str, values: NDArray[np.float64]) -> LongRun | None:
    """The significant long-run variances of a score's values in time order, float64[n]; None without any."""
    out = np.zeros((2 * longrun.SCALES, 2))
    count = _run(values, np.zeros((1, longrun.SCALES, longrun.FIELDS)), np.zeros((1, 1, 2)), out, score in NUMBERS)
    return LongRun(score, tuple(out[:count, 0].tolist()), tuple(out[:count, 1].tolist())) if count else None


@kernel
def _run(
    values: NDArray[np.float64],
    scales: NDArray[np.float64],
    static: NDArray[np.float64],
    out: NDArray[np.float64],
    tails: bool,
) -> int:
    if values.size == 0:
        return 0
    mean = values.sum() / values.size
    variance = 0.0
    for x in values:
        variance += (x - mean) * (x - mean)
    variance /= values.size
    if variance <= 0:
        return 0
    for x in values:
        longrun.learn(scales, 0, 1.0, x, variance, tails)
    return longrun.steps(scales, static, 0, variance, out)


def _designs_of_rows(column: ColumnProfile, cells: NDArray[np.int64], settings: Settings) -> list[LongRun | None]:
    coarse = coarse_bins(np.array(column.counts, np.int64), settings.psi_bins)
    k = int(coarse.max()) + 1
    if k < 2 or cells.size < PSI_PANE:
        return []
    bins = coarse[cells]
    share = np.bincount(bins, minlength=k)[None, :] / cells.size
    panes = cells.size // PSI_PANE
    blocks = [np.bincount(bins[i * PSI_PANE : (i + 1) * PSI_PANE], minlength=k) for i in range(panes)]
    return designs_of(column, np.array(blocks, np.float64), share, settings)


def designs_of(
    column: ColumnProfile, blocks: NDArray[np.float64], share: NDArray[np.float64], settings: Settings
) -> list[LongRun | None]:
    """The significant design effects of coarse counts in time order, for each law of a distance.

    Args:
        column: whose.
        blocks: float64[panes, k], counts of `PSI_PANE` values each.
        share: float64[1, k], the reference's.
        settings: the constants.
    """
    laws = (QUADRATIC, KS, TV, WASSERSTEIN) if column.kind == "numeric" else (QUADRATIC, TV)
    return [_design_of(blocks, share, settings, law) for law in laws]


def _design_of(blocks: NDArray[np.float64], share: NDArray[np.float64], settings: Settings, law: int) -> LongRun | None:
    k = share.shape[1]
    unit, full, _ = null_law(law, tuple(share[0].tolist()), settings.psi_alpha)
    moments, previous = np.zeros((1, _PSI_SCALES, 6)), np.zeros((1, _PSI_SCALES, 2, k))
    for block in blocks:
        design.learn_design(moments, previous, 0, block.copy(), k, share, law, unit)
    steps: list[tuple[float, float, float]] = []
    for j in range(_PSI_SCALES):
        mean, freedom = design.design_step(moments, 0, j, full, steps[-1][1] if steps else 0.0)
        if mean > 0:
            steps.append((float(moments[0, j, design.LENGTH]), mean, min(freedom, steps[-1][2] if steps else freedom)))
    if not steps:
        return None
    lengths, variances, degrees = zip(*steps, strict=True)
    return LongRun(STATIC[law], lengths, variances, degrees)

"""Autocorrelation of training rows in time order, so that a stream's first hours are not all alarms.

The rows run through the estimators of `longrun` and `psi`; what is significant is kept as a table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import longrun, psi
from driftbus.detectors.nulls import KS, QUADRATIC, STATIC, TV, WASSERSTEIN, null_law
from driftbus.detectors.profile import ColumnProfile, LongRun
from driftbus.detectors.scores import column_scores
from driftbus.detectors.settings import Settings
from driftbus.schemas.kernel import kernel

_PSI_PANE = 32
_PSI_SCALES = 24


def longrun_of_rows(column: ColumnProfile, cells: NDArray[np.int64]) -> tuple[LongRun, ...]:
    """The significant long-run variances of a column's scores and of its index.

    Args:
        column: its reference.
        cells: int64[rows], cell of each row, in time order.
    """
    settings, found = Settings(pane_ms=1), []
    for score in column_scores(column, 0, settings):
        table = np.zeros(column.width)
        table[list(score.cells)] = score.table
        within = column.width if score.of_rows else column.value_cells
        values = table[cells[cells < within]]
        scales = np.zeros((1, longrun.SCALES, longrun.FIELDS))
        out = np.zeros((2 * longrun.SCALES, 2))
        count = _run(values, scales, np.zeros((1, 1, 2)), out)
        if count:
            found.append(LongRun(score.name, tuple(out[:count, 0].tolist()), tuple(out[:count, 1].tolist())))
    laws = (QUADRATIC, KS, TV, WASSERSTEIN) if column.kind == "numeric" else (QUADRATIC, TV)
    for law in laws:
        design = _design_of_rows(column, cells[cells < column.value_cells], settings, law)
        if design:
            found.append(design)
    return tuple(found)


@kernel
def _run(
    values: NDArray[np.float64], scales: NDArray[np.float64], static: NDArray[np.float64], out: NDArray[np.float64]
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
        longrun.learn(scales, 0, 1.0, x, variance)
    return longrun.steps(scales, static, 0, variance, out)


def _design_of_rows(column: ColumnProfile, cells: NDArray[np.int64], settings: Settings, law: int) -> LongRun | None:
    coarse = psi.coarse_bins(np.array(column.counts, np.int64), settings.psi_bins)
    k = int(coarse.max()) + 1
    if k < 2 or cells.size < _PSI_PANE:
        return None
    bins = coarse[cells]
    share = np.bincount(bins, minlength=k)[None, :] / cells.size
    unit, full, _ = null_law(law, tuple(share[0].tolist()), settings.psi_alpha)
    panes = cells.size // _PSI_PANE
    moments, blocks = np.zeros((1, _PSI_SCALES, 6)), np.zeros((1, _PSI_SCALES, 2, k))
    for pane in range(panes):
        block = np.bincount(bins[pane * _PSI_PANE : (pane + 1) * _PSI_PANE], minlength=k).astype(np.float64)
        psi.learn_design(moments, blocks, 0, block, k, share, law, unit)
    steps: list[tuple[float, float, float]] = []
    for j in range(_PSI_SCALES):
        mean, freedom = psi.design_step(moments, 0, j, full, steps[-1][1] if steps else 0.0)
        if mean > 0:
            steps.append((float(moments[0, j, psi.LENGTH]), mean, min(freedom, steps[-1][2] if steps else freedom)))
    if not steps:
        return None
    lengths, variances, degrees = zip(*steps, strict=True)
    return LongRun(STATIC[law], lengths, variances, degrees)

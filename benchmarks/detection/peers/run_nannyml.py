"""NannyML: UnivariateDriftCalculator with its default method and thresholds, chunks of 1,000 rows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence

import nannyml
import numpy as np
import pandas as pd
from protocol import Job, Windowed, serve

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
CHUNK = 1000


def _column(values: np.ndarray, kind: str) -> pd.Series:
    if kind == "categorical":
        codes = [None if code < 0 else f"c{int(code)}" for code in values.tolist()]
        return pd.Series(pd.Categorical(codes))
    return pd.Series(values)


def _fit(job: Job) -> Callable[[list[int], np.ndarray], Sequence[bool]]:
    names = [f"f{i}" for i in range(len(job.kinds))]
    reference = pd.DataFrame({n: _column(x, k) for n, x, k in zip(names, job.reference, job.kinds, strict=True)})
    chosen = [n for n, kind in zip(names, job.kinds, strict=True) if kind == "categorical"]
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=names, treat_as_categorical=chosen or None, chunk_size=CHUNK
    ).fit(reference)
    rows = job.values.shape[1] // CHUNK * CHUNK
    whole = pd.DataFrame({n: _column(x[:rows], k) for n, x, k in zip(names, job.values, job.kinds, strict=True)})
    table = calculator.calculate(whole).filter(period="analysis").to_df()
    alerts = {n: table[(n, "jensen_shannon", "alert")].to_numpy(bool) for n in names}
    chunk = -1

    def judge(columns: list[int], window: np.ndarray) -> Sequence[bool]:
        nonlocal chunk
        chunk += 1
        return [bool(alerts[names[i]][chunk]) for i in columns]

    return judge


if __name__ == "__main__":
    serve(["nannyml", "pandas", "numpy", "scipy"], {"chunks": Windowed(_fit, CHUNK)})

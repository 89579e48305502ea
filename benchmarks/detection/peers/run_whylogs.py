"""whylogs: calculate_drift_scores of profiles with its default algorithms (KS; chi-square for texts) and thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import whylogs
from protocol import Job, Windowed, serve
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

warnings.filterwarnings("ignore")


def _profile(columns: list[int], values: np.ndarray, kinds: list[str]) -> object:
    frame = {
        f"f{i}": pd.Series([None if c < 0 else f"c{int(c)}" for c in x.tolist()], dtype=object)
        if kinds[i] == "categorical"
        else pd.Series(x)
        for i, x in zip(columns, values, strict=True)
    }
    return whylogs.log(pd.DataFrame(frame)).profile().view()


def _fit(job: Job) -> Callable[[list[int], np.ndarray], Sequence[bool]]:
    reference = _profile(list(range(len(job.kinds))), job.reference, job.kinds)

    def judge(columns: list[int], window: np.ndarray) -> Sequence[bool]:
        scores = calculate_drift_scores(_profile(columns, window, job.kinds), reference, with_thresholds=True)
        return [(scores[f"f{i}"] or {}).get("drift_category") == "DRIFT" for i in columns]

    return judge


if __name__ == "__main__":
    serve(["whylogs", "whylogs-sketching", "pandas", "numpy", "scipy"], {"drift scores": Windowed(_fit, 1000)})

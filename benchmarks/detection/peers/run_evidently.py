"""Evidently: the test that DataDriftPreset chooses by default, per column, on windows of rows.

The whole report draws every column with plotly, which takes .2 s a column and window. What decides is one function
that the report calls; it is called here, and the first window of every job goes through the whole report as well:
another verdict there is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from protocol import Job, Windowed, serve

warnings.filterwarnings("ignore")


def _series(values: np.ndarray, kind: str) -> pd.Series:
    if kind == "categorical":
        return pd.Series([None if code < 0 else f"c{int(code)}" for code in values.tolist()], dtype=object)
    return pd.Series(values)


def _decide(reference: pd.Series, current: pd.Series, kind: str) -> bool:
    reference, current = reference.dropna(), current.dropna()
    feature = ColumnType.Categorical if kind == "categorical" else ColumnType.Numerical
    return bool(get_stattest(reference, current, feature, None)(reference, current, feature, None).drifted)


def _report(reference: dict[str, pd.Series], current: dict[str, pd.Series], kinds: dict[str, str]) -> list[bool]:
    definition = DataDefinition(
        numerical_columns=[n for n, kind in kinds.items() if kind != "categorical"],
        categorical_columns=[n for n, kind in kinds.items() if kind == "categorical"],
    )
    sets = [Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition) for columns in (current, reference)]
    tests = Report([DataDriftPreset()], include_tests=True).run(*sets).dict()["tests"]
    status = {one["name"].rsplit(" ", 1)[-1]: one["status"].value for one in tests if "column" in one["name"]}
    return [status[name] == "FAIL" for name in kinds]


def _fit(job: Job) -> Callable[[list[int], np.ndarray], Sequence[bool]]:
    references = [_series(x, kind) for x, kind in zip(job.reference, job.kinds, strict=True)]
    checked = False

    def judge(columns: list[int], window: np.ndarray) -> Sequence[bool]:
        nonlocal checked
        current = [_series(x, job.kinds[i]) for i, x in zip(columns, window, strict=True)]
        found = [_decide(references[i], x, job.kinds[i]) for i, x in zip(columns, current, strict=True)]
        if not checked:
            checked, some = True, columns[:5]
            whole = _report(
                {f"f{i}": references[i] for i in some},
                {f"f{i}": x for i, x in zip(some, current, strict=False)},
                {f"f{i}": job.kinds[i] for i in some},
            )
            if whole != found[: len(some)]:
                raise RuntimeError(f"the report says {whole}, its tests say {found[: len(some)]}")
        return found

    return judge


if __name__ == "__main__":
    serve(["evidently", "pandas", "numpy", "scipy"], {"1000": Windowed(_fit, 1000), "5000": Windowed(_fit, 5000)})

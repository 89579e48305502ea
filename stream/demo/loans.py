"""The bundled car-loan stream: its reference period as profiles, its production period as events, outcomes later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pyarrow import csv

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, build_profile
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.demo.play import Loan
from driftbus.stream.files.survey import Wishes
from driftbus.stream.files.training import make_profile, read_training

DATA = Path(__file__).parent / "data"
REFERENCE, ANALYSIS = DATA / "car_loan_reference.csv.gz", DATA / "car_loan_analysis.csv.gz"
TARGET = DATA / "car_loan_analysis_target.csv.gz"

MONITOR = "car_loan"
DRIFTING = frozenset({"car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car", "y_pred_proba"})
"""Columns that are known to drift, near the 25,000th loan."""

CONTROLS = ("debt_to_income_ratio", "driver_tenure", "size_of_downpayment")
"""Columns that are known not to drift."""

_SCORE, _PREDICTION, _LABEL, _ID, _TIME = "y_pred_proba", "y_pred", "repaid", "id", "timestamp"
_DAY_MS = 86_400_000
_SOONEST_DAYS, _SPREAD_DAYS = 20, 21
"""Nobody knows when these loans were repaid; here it is said of each after 20 to 40 days."""


def loan_profiles(performance: PerformanceConfig) -> list[Profile]:
    """The reference period: of the predictions, with how right they were, and of the labels."""
    wishes = Wishes(
        time=_TIME, id=_ID, score=_SCORE, prediction=_PREDICTION, label=_LABEL, categorical=(_PREDICTION, _LABEL)
    )
    training = read_training(REFERENCE, wishes)
    assert training.survey is not None
    features = [name for name in training.survey.data if name != _LABEL]
    labels = [_text(value) for value in csv.read_csv(REFERENCE)[_LABEL].to_pylist()]
    return [
        make_profile(training, MONITOR, columns=features, label=_LABEL, performance=performance),
        build_profile(MONITOR, "labels", {"label": CategoryData(np.array(labels, object), role="label")}),
    ]


def loan_count() -> int:
    """Number of production loans."""
    return int(csv.read_csv(ANALYSIS).num_rows)


def loans() -> Iterator[Loan]:
    """The production period, in order of time."""
    table, target = csv.read_csv(ANALYSIS), csv.read_csv(TARGET)
    repaid = dict(zip(target[_ID].to_pylist(), target[_LABEL].to_pylist(), strict=True))
    times = table[_TIME].cast("timestamp[ms]").cast("int64").to_pylist()
    names = [name for name in table.column_names if name not in (_ID, _TIME, _SCORE, _PREDICTION)]
    columns = [table[name].to_pylist() for name in names]
    rest = zip(
        table[_ID].to_pylist(), times, table[_SCORE].to_pylist(), table[_PREDICTION].to_pylist(), *columns, strict=True
    )
    for id_, time_ms, score, prediction, *features in rest:
        known_ms = time_ms + (_SOONEST_DAYS + id_ * 37 % _SPREAD_DAYS) * _DAY_MS
        yield Loan(
            str(id_),
            time_ms,
            dict(zip(names, features, strict=True)),
            score,
            str(prediction),
            _text(repaid[id_]),
            known_ms,
        )


def _text(label: float) -> str:
    return str(int(label))

"""The bundled car-loan stream: its reference period as a profile, its production period as events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyarrow import csv

from driftbus.detectors.profile import Profile
from driftbus.stream.demo.play import Loan
from driftbus.stream.files.survey import Wishes
from driftbus.stream.files.training import make_profile, read_training

DATA = Path(__file__).parent / "data"
REFERENCE, ANALYSIS = DATA / "car_loan_reference.csv.gz", DATA / "car_loan_analysis.csv.gz"

MONITOR = "car_loan"
CONTROLS = ("debt_to_income_ratio", "driver_tenure", "size_of_downpayment")
"""Columns that are known not to drift."""

_SCORE, _PREDICTION, _ID, _TIME = "y_pred_proba", "y_pred", "id", "timestamp"


def loan_profile() -> Profile:
    """The profile of the reference period; the label, which production does not have yet, is left out."""
    wishes = Wishes(
        time=_TIME, id=_ID, score=_SCORE, prediction=_PREDICTION, ignore=("repaid",), categorical=(_PREDICTION,)
    )
    return make_profile(read_training(REFERENCE, wishes), MONITOR)


def loan_count() -> int:
    """Number of production loans."""
    return int(csv.read_csv(ANALYSIS).num_rows)


def loans() -> Iterator[Loan]:
    """The production period, in order of time."""
    table = csv.read_csv(ANALYSIS)
    times = table[_TIME].cast("timestamp[ms]").cast("int64").to_pylist()
    names = [name for name in table.column_names if name not in (_ID, _TIME, _SCORE, _PREDICTION)]
    columns = [table[name].to_pylist() for name in names]
    rest = zip(
        table[_ID].to_pylist(), times, table[_SCORE].to_pylist(), table[_PREDICTION].to_pylist(), *columns, strict=True
    )
    for id_, time_ms, score, prediction, *features in rest:
        yield Loan(str(id_), time_ms, dict(zip(names, features, strict=True)), score, str(prediction))

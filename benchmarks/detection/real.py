"""Real data sets as columns, from a folder that is an argument; none is bundled.

Needed are the files named below; the row order is the stream's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.datafiles import Table, read_csv, read_zip
from benchmarks.detection.streams import Values


@dataclass(frozen=True, slots=True)
class RealSet:
    """One data set, cut into reference and stream.

    Args:
        name: of the set.
        reference, values: column → rows before the stream, and the stream.
        changes: rows of the stream at which it is known to change; empty: unknown.
        within: rows within which a change has to be found.
        drifting: columns that change; empty: not known which.
        controls: columns that are known not to.
        pane: rows of a pane.
        row_s: seconds from row to row.
    """

    name: str
    reference: dict[str, Values]
    values: dict[str, Values]
    pane: int
    row_s: float
    changes: tuple[int, ...] = ()
    within: int = 0
    drifting: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the stream."""
        return next(iter(self.values.values())).size

    def shuffled(self, seed: int) -> RealSet:
        """The control: all rows, reference and stream, in random order, so that nothing changes."""
        warm = next(iter(self.reference.values())).size
        order = np.random.default_rng(seed).permutation(warm + self.rows)
        whole = {name: np.concatenate([x, self.values[name]])[order] for name, x in self.reference.items()}
        return replace(
            self,
            reference={name: x[:warm] for name, x in whole.items()},
            values={name: x[warm:] for name, x in whole.items()},
            changes=(),
            drifting=(),
        )


def car_loan(folder: Path) -> RealSet:
    drifting = ("car_value", "loan_length", "salary_range", "repaid_loan_on_prev_car", "y_pred_proba")
    controls = ("debt_to_income_ratio", "driver_tenure", "size_of_downpayment")
    names = [*drifting, *controls, "y_pred"]
    texts = ("salary_range", "repaid_loan_on_prev_car", "size_of_downpayment")
    tables = [read_csv(folder / f"car_loan_{part}.csv.gz") for part in ("reference", "analysis")]
    codes = {name: {v: i for i, v in enumerate(sorted({*tables[0][name], *tables[1][name]} - {""}))} for name in texts}
    reference, values = (
        {
            name: np.array([codes[name].get(v, -1) for v in table[name]], np.int64)
            if name in texts
            else _numbers(table[name])
            for name in names
        }
        for table in tables
    )
    return RealSet("car_loan", reference, values, 32, 523.152, (25_000,), 600, drifting, controls)


def bike(folder: Path) -> RealSet:
    names = ["cnt", "casual", "registered", "temp", "hum", "windspeed"]
    return _cut("bike", read_csv(folder / "bike_hour.csv.gz"), names, 24 * 7 * 8, 8, 3_600)


def taxi(folder: Path) -> RealSet:
    table = read_csv(folder / "nyc_taxi.csv.gz")
    return _cut("taxi", table, [list(table)[-1]], 48 * 7 * 8, 8, 1_800)


def elec2(folder: Path) -> RealSet:
    table = read_csv(folder / "elec2.csv.gz")
    return _cut("elec2", table, [f"feat_{i}" for i in range(2, 7)], 48 * 7 * 8, 8, 1_800)


def noaa(folder: Path) -> RealSet:
    table = read_csv(folder / "noaa_weather.csv.gz")
    return _cut("noaa", table, [f"feat_{i}" for i in range(1, 9)], 1_000, 8, 86_400)


def abrupt_insects(folder: Path) -> RealSet:
    table = read_zip(folder / "abrupt_insects.zip")
    return _cut("abrupt_insects", table, [f"f{i}" for i in range(49)], 1_000, 32, 60, (1_775, 3_550), 300)


def insects_gradual(folder: Path) -> RealSet:
    table = read_zip(folder / "insects_gradual_balanced.zip")
    changes = (11_750, 14_028, 23_300)
    return _cut("insects_gradual", table, [f"f{i}" for i in range(33)], 2_000, 32, 60, changes, 600)


SETS: dict[str, Callable[[Path], RealSet]] = {
    "car_loan": car_loan,
    "abrupt_insects": abrupt_insects,
    "insects_gradual": insects_gradual,
    "bike": bike,
    "taxi": taxi,
    "elec2": elec2,
    "noaa": noaa,
}


def _numbers(texts: Sequence[str]) -> Values:
    return np.array([float(text) if text else np.nan for text in texts])


def _cut(
    name: str,
    table: Table,
    names: Sequence[str],
    warm: int,
    pane: int,
    row_s: float,
    changes: Sequence[int] = (),
    within: int = 0,
) -> RealSet:
    whole = {column: _numbers(table[column]) for column in names}
    return RealSet(
        name,
        {column: x[:warm] for column, x in whole.items()},
        {column: x[warm:] for column, x in whole.items()},
        pane,
        row_s,
        tuple(change - warm for change in changes),
        within,
    )

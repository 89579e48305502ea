"""What the detectors say on public data sets: python benchmarks/real_streams.py FOLDER [NAME ...]

FOLDER holds car_loan_reference.csv.gz, car_loan_analysis.csv.gz, bike_hour.csv.gz, elec2.csv.gz,
noaa_weather.csv.gz and abrupt_insects.zip. Rows are in stream order; a pane is `pane` rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.datafiles import Table, read_csv, read_zip
from driftbus.detectors.group import GroupDetector, Settings
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.verdict import Transition
from driftbus.schemas.config import DetectionConfig

DRIFTING = ("car_value", "loan_length", "salary_range", "repaid_loan_on_prev_car", "y_pred_proba")
CONTROLS = ("debt_to_income_ratio", "driver_tenure", "size_of_downpayment")
CATEGORICAL = ("salary_range", "repaid_loan_on_prev_car", "size_of_downpayment")
SPLITS = 20
ROLES = {"y_pred_proba": "score", "y_pred": "prediction"}


def data_of(name: str, values: Sequence[str]) -> NumericData | CategoryData:
    role = ROLES.get(name, "feature")
    if name in CATEGORICAL:
        return CategoryData([v or None for v in values], role)
    return NumericData(np.array([float(v) if v else np.nan for v in values]), np.array([v != "" for v in values]), role)


def cells_of(column: ColumnProfile, data: NumericData | CategoryData) -> NDArray[np.int64]:
    """Cell of each row: the slow, obvious way."""
    if isinstance(data, CategoryData):
        place = {name: i for i, name in enumerate(column.categories)}
        return np.array([column.bins + 1 if v is None else place.get(v, column.bins) for v in data.values], np.int64)
    x = data.values
    cells = 1 + np.searchsorted(column.edges, x)
    cells[x < column.low], cells[x > column.high] = 0, column.bins + 1
    cells[~np.isfinite(x)] = column.bins + 3
    cells[~(np.ones(x.size, bool) if data.present is None else data.present)] = column.bins + 2
    return cells


def panes(profile: Profile, data: dict[str, NumericData | CategoryData], size: int) -> Iterator[NDArray[np.int64]]:
    layout = profile.layout()
    cells = np.array([o + cells_of(c, data[c.name]) for c, o in zip(profile.columns, layout.offsets, strict=True)])
    for start in range(0, cells.shape[1], size):
        yield np.bincount(cells[:, start : start + size].ravel(), minlength=layout.total).astype(np.int64)


def run(
    profile: Profile, data: dict[str, NumericData | CategoryData], size: int, settings: Settings
) -> list[Transition]:
    group, found = GroupDetector(profile, settings), []
    for tick, counts in enumerate(panes(profile, data, size)):
        rows = int(counts[: profile.columns[0].width].sum())
        found += group.update(tick, counts, rows)
    return found


def settings_for(columns: int, row_s: float, pane: int, budget: float | None = 1.0) -> Settings:
    config = DetectionConfig(false_alarms_per_week=budget, events_per_second=1 / row_s)
    return Settings.from_config(config, columns, int(row_s * pane * 1000))


def subset(table: Table, names: Sequence[str], rows: NDArray[np.int64]) -> dict[str, NumericData | CategoryData]:
    return {name: data_of(name, [table[name][i] for i in rows]) for name in names}


def car_loan(folder: Path, pane: int = 32) -> None:
    reference, analysis = read_csv(folder / "car_loan_reference.csv.gz"), read_csv(folder / "car_loan_analysis.csv.gz")
    names = [*DRIFTING, *CONTROLS, "y_pred"]
    everything = np.arange(50_000)
    settings = settings_for(len(names), 523.152, pane)
    profile = build_profile("car_loan", "predictions", subset(reference, names, everything), ordered=True)
    found = run(profile, subset(analysis, names, everything), pane, settings)
    print(f"car_loan, pane {pane}, divisor {settings.divisor:.0f}: episodes, in rows after 25,000")
    for name in names:
        text = "; ".join(describe(t, pane, 25_000) for t in found if t.column == name)
        print(f"  {name:26s} {text or 'stable'}")
    print("  volume", [t.status for t in found if t.aspect == "volume"])
    said = []
    for seed in range(SPLITS):
        rows = np.random.default_rng(seed).permutation(50_000)
        first, second = np.sort(rows[:25_000]), np.sort(rows[25_000:])
        half = build_profile("car_loan", "predictions", subset(reference, names, first), ordered=True)
        said += run(half, subset(reference, names, second), pane, settings)
    print(
        f"  reference split at random, {SPLITS} seeds: {len(said)} transitions", *(describe(t, pane, 0) for t in said)
    )


def describe(transition: Transition, pane: int, origin: int) -> str:
    """One transition in a few words, its rows counted from `origin`."""
    t = transition
    text = f"{t.status} {t.severity} {t.detector} {t.what} {t.category} {t.direction} PSI {t.effect:.2f}"
    if t.status != "opened":
        return text
    row, since, low, high = (
        tick * pane - origin for tick in (t.opened_tick + 1, t.since_tick, t.since_low_tick, t.since_high_tick)
    )
    return f"at {row} {text} since {since} [{low}, {high}]"


def sanity(name: str, table: Table, names: Sequence[str], warm: int, pane: int, known: Sequence[int]) -> None:
    """Rates of transitions, undivided and with a budget; rows before `warm` are the reference."""
    length = len(table[names[0]])
    profile = build_profile(name, "features", subset(table, names, np.arange(warm)), ordered=True)
    stream = subset(table, names, np.arange(warm, length))
    thousands = (length - warm) * len(names) / 1000
    for label, budget in (("undivided", None), ("1 a week", 1.0)):
        found = run(profile, stream, pane, settings_for(len(names), 3600.0, pane, budget))
        found = [t for t in found if t.aspect != "volume"]
        rates = [f"{s} {sum(t.status == s for t in found) / thousands:.3f}" for s in ("opened", "escalated", "closed")]
        print(f"{name}, pane {pane}, {label}: per 1k rows and column", *rates)
        rows = [(warm + (t.opened_tick + 1) * pane, t) for t in found if t.status == "opened"]
        for change in known:
            delays = [row - change for row, _ in rows if 0 < row - change <= 1000]
            print(f"  {len(delays)} of {len(names)} columns opened within 1,000 rows of {change}", end="")
            print(f", median {int(np.median(delays))}" if delays else "")
        if known:
            print(f"  {sum(row <= known[0] for row, _ in rows)} opened before {known[0]}")


def bike(folder: Path) -> None:
    names = ["cnt", "casual", "registered", "temp", "hum", "windspeed"]
    sanity("bike", read_csv(folder / "bike_hour.csv.gz"), names, 24 * 7 * 8, 8, ())


def elec2(folder: Path) -> None:
    sanity("elec2", read_csv(folder / "elec2.csv.gz"), [f"feat_{i}" for i in range(2, 7)], 48 * 7 * 8, 8, ())


def noaa(folder: Path) -> None:
    sanity("noaa", read_csv(folder / "noaa_weather.csv.gz"), [f"feat_{i}" for i in range(1, 9)], 1000, 8, ())


def abrupt(folder: Path) -> None:
    table = read_zip(folder / "abrupt_insects.zip")
    sanity("abrupt_insects", table, [f"f{i}" for i in range(49)], 1000, 32, (1775, 3550))


SETS: dict[str, Callable[[Path], None]] = {
    "car_loan": car_loan, "bike": bike, "elec2": elec2, "noaa": noaa, "abrupt_insects": abrupt,
}  # fmt: skip

if __name__ == "__main__":
    for chosen in sys.argv[2:] or SETS:
        SETS[chosen](Path(sys.argv[1]))

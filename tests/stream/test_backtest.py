"""Backtests: what is put into rows, what a trial is worth, and what people are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import NULL, Block, Projection
from driftbus.schemas.config import DetectionConfig
from driftbus.schemas.errors import ConfigError
from driftbus.stream.backtest.drifts import DRIFTS, Drift, Injector, Place
from driftbus.stream.backtest.grid import parsed, variants
from driftbus.stream.backtest.rows import Rows, in_panes, taken
from driftbus.stream.backtest.study import Bench, Variant
from driftbus.stream.backtest.trial import clean_run, run_from
from driftbus.stream.cli.main import run
from driftbus.stream.files.rows import block_of

PANE_MS = 32_000
PROJECTION = Projection(("x", "flag"), ("colour",), "ts")
COLOURS, SHARES = ["red", "green", "blue"], [0.5, 0.3, 0.2]


def table(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "x": rng.standard_normal(n) * 3 + 100,
            "flag": (rng.random(n) < 0.2).astype(float),
            "colour": rng.choice(COLOURS, n, p=SHARES),
        }
    )


def block(n: int, seed: int = 1) -> Block:
    return block_of(table(n, seed), PROJECTION, 1_000 * np.arange(n, dtype=np.int64))


@pytest.fixture(scope="module")
def rows() -> Rows:
    return in_panes([block(12_000), block(0)], PANE_MS, 100_000)


def profile_and_counter() -> tuple[object, Counter]:
    reference = table(10_000, 99)
    profile = build_profile(
        "m",
        "predictions",
        {
            "x": NumericData(reference["x"].to_numpy()),
            "flag": NumericData(reference["flag"].to_numpy()),
            "colour": CategoryData(reference["colour"].to_pylist()),
        },
    )
    return profile, Counter(profile, [0, 1], [0])


PROFILE, COUNTER = profile_and_counter()
SETTINGS = Settings(pane_ms=PANE_MS)


def injector(rows: Rows) -> Injector:
    at = {"x": 0, "flag": 1, "colour": 0}
    return Injector([Place(column, at[column.name]) for column in PROFILE.columns], rows.block)  # type: ignore[attr-defined]


def colours(some: Block) -> list[str | None]:
    return [some.string(0, row) for row in range(some.n)]


def test_a_shift_moves_a_normal_column_by_so_many_standard_deviations(rows: Rows) -> None:
    changed = injector(rows).inject(Drift("shift", 0.5), rows.block, 2_000, 7)
    assert (changed.numeric[0, :2_000] == rows.block.numeric[0, :2_000]).all()
    moved = changed.numeric[0, 2_000:] - rows.block.numeric[0, 2_000:]
    assert moved.mean() == pytest.approx(0.5 * 3, rel=0.03)
    assert changed.numeric[0].max() <= rows.block.numeric[0].max(), "no value that was never there"


def test_a_shift_of_a_flag_changes_its_share(rows: Rows) -> None:
    changed = injector(rows).inject(Drift("shift", 1.0), rows.block, 0, 7)
    assert set(changed.numeric[1]) == {0.0, 1.0}
    assert changed.numeric[1].mean() == pytest.approx(0.563, abs=0.02), "Phi(Phi^-1(.2) + 1)"


def test_a_scale_changes_the_spread_only(rows: Rows) -> None:
    changed = injector(rows).inject(Drift("scale", 0.5), rows.block, 0, 7)
    assert changed.numeric[0].std() == pytest.approx(1.5, rel=0.03)
    assert changed.numeric[0].mean() == pytest.approx(100, abs=0.1)


def test_a_ramp_grows(rows: Rows) -> None:
    changed = injector(rows).inject(Drift("ramp", 1.0), rows.block, 0, 7)
    moved = changed.numeric[0] - rows.block.numeric[0]
    assert moved[:1_000].mean() == pytest.approx(0.15, abs=0.03)
    assert moved[-1_000:].mean() == pytest.approx(3.0, rel=0.03)


def test_nulls_and_swaps_concern_that_share_of_the_rows(rows: Rows) -> None:
    with_nulls = injector(rows).inject(Drift("nulls", 0.1), rows.block, 0, 7)
    for status in (with_nulls.numeric_status[0], with_nulls.text_status[0]):
        assert (status == NULL).mean() == pytest.approx(0.1, abs=0.01)
    swapped = colours(injector(rows).inject(Drift("swap", 0.1), rows.block, 0, 7))
    assert swapped.count("red") / len(swapped) == pytest.approx(0.4, abs=0.015)
    assert swapped.count("green") / len(swapped) == pytest.approx(0.4, abs=0.015)
    assert swapped.count("blue") == colours(rows.block).count("blue")


def test_only_columns_that_can_have_a_drift_have_it(rows: Rows) -> None:
    able = injector(rows).columns
    assert able(Drift("shift", 1)) == ["x", "flag"]
    assert able(Drift("swap", 0.1)) == ["colour"]
    assert able(Drift("swap", 0.9)) == [], "no category has so many rows"
    assert able(Drift("nulls", 0.1)) == ["x", "flag", "colour"]


def test_rows_are_put_in_panes_and_the_oldest_are_left_out() -> None:
    mixed = taken(block(3_000), np.random.default_rng(0).permutation(3_000))
    kept = in_panes([mixed], PANE_MS, 1_000)
    assert kept.block.n == 1_016, "whole panes"
    assert kept.bounds[-1] == kept.block.n
    assert (np.diff(kept.ticks) > 0).all()
    assert (kept.block.time_ms // PANE_MS == np.repeat(kept.ticks, np.diff(kept.bounds))).all()


def test_a_trial_without_drift_is_the_run_itself(rows: Rows) -> None:
    drifting = injector(rows).inject(Drift("shift", 1.0), rows.block, 9_000, 7)
    drifted = Rows(drifting, rows.pane_ms, rows.ticks, rows.bounds)
    whole = clean_run(PROFILE, SETTINGS, drifted.panes(COUNTER, 0, rows.ticks.size), [100, 200])  # type: ignore[arg-type]
    assert {o.column for o in whole.openings} >= {"x", "flag"}
    for pane, state in whole.states.items():
        again = run_from(PROFILE, SETTINGS, state, drifted.panes(COUNTER, pane, rows.ticks.size))  # type: ignore[arg-type]
        assert again == whole.openings


def bench(rows: Rows, starts: int = 3) -> Bench:
    return Bench(rows, PROFILE, COUNTER, injector(rows), starts, 0)  # type: ignore[arg-type]


def test_drifts_are_found_and_calm_rows_are_calm(rows: Rows) -> None:
    steps: list[int] = []
    study_of = bench(rows)
    wanted = (Drift("shift", 1.0), Drift("nulls", 0.2))
    study = study_of.study([Variant("v", SETTINGS, 1.0)], wanted, 1.0, steps.append)
    assert sum(steps) == study_of.trials(1, 2)
    result = study.results[0]
    assert (result.alarms, result.null) == (0, 0)
    shift = result.delays(Drift("shift", 1.0))
    assert (shift.asked, shift.found) == (6, 6)
    assert shift.median_rows is not None
    assert 16 < shift.median_rows < 400
    assert result.delays(Drift("nulls", 0.2)).median_rows is not None
    least = study.least_found("x", "shift")
    assert least is not None
    assert 0.1 <= least[0].size <= 0.3
    assert study.least_found("x", "swap") is None


def test_what_the_rows_do_by_themselves_is_no_find(rows: Rows) -> None:
    drifting = injector(rows).inject(Drift("shift", 1.0), rows.block, 4_000, 7)
    drifted = Rows(drifting, rows.pane_ms, rows.ticks, rows.bounds)
    study = bench(drifted).study([Variant("v", SETTINGS, 1.0)], [Drift("shift", 0.1)], 1.0)
    result = study.results[0]
    assert result.alarms >= 2
    assert result.null == 0, "shuffled halves of drifting rows don't drift from each other"
    assert all(find.rows is None or find.rows <= find.asked for find in result.finds)
    assert {find.column for find in result.finds} <= {"x", "flag"}
    assert len(result.finds) < 6, "places at which an episode is open are left out"


def test_a_wider_promise_is_not_recommended_to_who_accepts_less(rows: Rows) -> None:
    tried = variants(DetectionConfig(), parsed(["false_alarms_per_week=0.5,1000"]), 3, PANE_MS)
    study = bench(rows).study(tried, [Drift("shift", 0.3)], 1.0)
    quick, slow = study.results[1].delays(Drift("shift", 0.3)), study.results[0].delays(Drift("shift", 0.3))
    assert quick.median_rows is not None
    assert slow.median_rows is not None
    assert quick.median_rows < slow.median_rows
    assert study.best == 0


@pytest.mark.parametrize("text", ["windows", "nothing=1", "psi_min=", "false_alarms_per_week=-1", "windows=a+b"])
def test_a_bad_grid_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        variants(DetectionConfig(), parsed([text]), 3, PANE_MS)


@pytest.mark.parametrize("text", ["shift", "shift=x", "nulls=2", "warp=1", "scale=0"])
def test_a_bad_drift_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Drift.parsed(text)


def test_drifts_are_written_as_they_are_read() -> None:
    assert [Drift.parsed(f"{d.kind}={d.size}") for d in DRIFTS] == list(DRIFTS)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, data = tmp_path / "train.csv", tmp_path / "new.csv"
    pacsv.write_csv(table(5_000, 1), reference)
    pacsv.write_csv(table(4_000, 2), data)
    out, page = tmp_path / "study.json", tmp_path / "study.html"
    arguments = ["--try", "false_alarms_per_week=1,100", "--drift", "shift=1", "--starts", "2"]
    code = run(
        ["backtest", str(data), "--reference", str(reference), *arguments, "--json", str(out), "--html", str(page)]
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert "new.csv 4,000 rows" in printed
    assert "→ false_alarms_per_week 1 " in printed
    assert "recommended: false_alarms_per_week 1" in printed
    told = json.loads(out.read_text())
    assert told["recommended"] == "false_alarms_per_week 1"
    assert [c["name"] for c in told["configurations"]] == ["false_alarms_per_week 1", "false_alarms_per_week 100"]
    curve = next(p["curve"] for p in told["power"] if p["column"] == "x" and p["kind"] == "shift")
    assert [point["size"] for point in curve] == sorted(point["size"] for point in curve)
    assert curve[-1]["found"] == curve[-1]["trials"] > 0
    assert "<svg" in page.read_text()


def test_too_few_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, data = tmp_path / "train.csv", tmp_path / "new.csv"
    pacsv.write_csv(table(5_000, 1), reference)
    pacsv.write_csv(table(500, 2), data)
    assert run(["backtest", str(data), "--reference", str(reference)]) == 2
    assert "too few" in capsys.readouterr().err

"""A file with a cycle of the day, through the whole replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from driftbus.schemas.configfile import load_config
from driftbus.stream.cli.main import run

MONDAY, MINUTE, DAY = 1_704_067_200_000, 60_000, 86_400_000


def rides(days: int, seed: int, first: int, *, shift_at: int | None = None) -> pa.Table:
    """A ride each two minutes, fares high at noon; from day `shift_at` on half a standard deviation more."""
    time_ms = MONDAY + first * DAY + np.arange(days * 720) * 2 * MINUTE
    rng = np.random.default_rng(seed)
    fare = 20 - 3 * np.cos(2 * np.pi * (time_ms % DAY) / DAY) + 3 * rng.standard_normal(time_ms.size)
    if shift_at is not None:
        fare[shift_at * 720 :] += 1.5
    return pa.table(
        {
            "at": time_ms.astype("M8[ms]"),
            "fare": np.round(fare, 2),
            "seats": rng.integers(1, 5, time_ms.size),
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """(a week and a day of reference, ten quiet days, ten days with a shift after five)."""
    tables = rides(8, 1, 0), rides(10, 2, 8), rides(10, 2, 8, shift_at=5)
    paths = tmp_path / "train.csv", tmp_path / "quiet.csv", tmp_path / "shifted.csv"
    for table, path in zip(tables, paths, strict=True):
        pacsv.write_csv(table, path)
    return paths


def replay(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, list[dict[str, Any]]]:
    capsys.readouterr()
    assert run(["replay", *map(str, arguments), "--out", "-"]) == 0
    printed = capsys.readouterr()
    return printed.err, [json.loads(line) for line in printed.out.splitlines()]


def test_a_cycle_is_quiet_and_its_season_is_said(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path, Path]
) -> None:
    reference, quiet, _ = files
    said, events = replay(capsys, quiet, "--reference", reference)
    assert events == []
    assert "season: found in 8 days (UTC): fare hour_of_day (gain " in said
    assert "pane 1h" in said


def test_a_shift_in_a_cycle_is_found_within_a_day(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path, Path]
) -> None:
    reference, _, shifted = files
    _, events = replay(capsys, shifted, "--reference", reference)
    change = MONDAY + 13 * DAY
    opened = [e for e in events if e["kind"] == "drift" and e["status"] == "opened"]
    assert {e["column"] for e in opened} == {"fare"}
    assert opened[0]["what"] == "shift"
    assert opened[0]["direction"] == "up"
    day = "2024-01-14T"
    assert opened[0]["opened"].startswith(day), opened[0]
    assert change == MONDAY + 13 * DAY
    # what is shown are fares, not ranks inside the hour
    histogram = opened[0]["histogram"]
    assert 10 < histogram["edges"][0] < histogram["edges"][-1] < 30


def test_a_profile_has_its_season_and_says_why(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    reference, quiet, _ = files
    profile = tmp_path / "profile.json"
    assert run(["profile", str(reference), "--out", str(profile)]) == 0
    assert "season: found in 8 days (UTC): fare hour_of_day" in capsys.readouterr().out
    season = json.loads(profile.read_text())["season"]
    assert [(c["column"], c["kind"]) for c in season["columns"]] == [("fare", "hour_of_day")]
    said, events = replay(capsys, quiet, "--reference", profile)
    assert events == []
    assert "fare hour_of_day" in said


def test_the_configuration_says_which_season(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    reference, quiet, _ = files
    config = tmp_path / "driftbus.yaml"
    lines = (
        "kafka: {bootstrap: none}\nmonitors:\n  rides:\n    pane: 1h\n    predictions: {topic: rides}\n    detection: "
    )
    config.write_text(lines + "{season: {kind: none}}\n")
    assert load_config(config, {}).monitors["rides"].detection.season.kind == "none"
    said, _ = replay(capsys, quiet, "--reference", reference, "--config", config)
    assert "season" not in said
    config.write_text(lines + "{season: {kind: hour_of_day, time_zone: Europe/Lisbon}}\n")
    said, events = replay(capsys, quiet, "--reference", reference, "--config", config)
    assert "season: configured in 9 days (Europe/Lisbon)" in said or "configured in 8 days (Europe/Lisbon)" in said
    assert [e for e in events if e.get("column") == "fare"] == []

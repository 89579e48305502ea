"""Replays over files: what is found, what is said, and the events."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from driftbus.schemas.configfile import load_config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli.main import run
from driftbus.stream.files.filetimes import YEAR_2000_MS, Timeline, nice_pane_ms, sort_if_needed
from driftbus.stream.files.survey import Wishes
from driftbus.stream.replay.filereplay import prepare

LOANS = Path(__file__).parents[2] / "stream" / "demo" / "data"
REFERENCE, ANALYSIS = LOANS / "car_loan_reference.csv.gz", LOANS / "car_loan_analysis.csv.gz"
DRIFTING = {"car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car", "y_pred_proba"}

MINUTE = 60_000
START = 1_700_000_000_000


def frame(rows: int, seed: int, *, drift_at: int | None = None, **more: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3, 1, rows)
    if drift_at is not None:
        amount[drift_at:] *= 2.5
    columns = {
        "ts": (START + np.arange(rows) * MINUTE).astype("M8[ms]"),
        "key": [f"k{seed}-{i}" for i in range(rows)],
        "amount": amount,
        "colour": rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2]),
        "region": rng.choice(["north", "south"], rows),
        "branch": np.full(rows, 7),
    }
    return pa.table(columns | more)


def save(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pacsv.write_csv(table, path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """(reference, data with a change at row 2,000)."""
    reference = save(frame(6_000, 1), tmp_path / "train.csv")
    return reference, save(frame(4_000, 2, drift_at=2_000), tmp_path / "new.csv")


def replay(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[dict[str, Any]]]:
    """(exit code, summary, events)."""
    capsys.readouterr()
    code = run(["replay", *map(str, arguments), "--out", "-"])
    printed = capsys.readouterr()
    return code, printed.err, [json.loads(line) for line in printed.out.splitlines()]


def test_two_files_and_nothing_else(capsys: pytest.CaptureFixture[str], files: tuple[Path, Path]) -> None:
    reference, data = files
    code, said, events = replay(capsys, data, "--reference", reference)
    assert code == 0
    assert "using     3 columns (1 numeric, 2 categorical) · time: ts · pane 30m" in said
    assert "left out  key (unique), branch (constant)" in said
    assert "amount  " in said
    assert "drift  shift up" in said
    assert "colour" in said
    assert "stable" in said
    assert "1 incident: 1 column" in said
    assert "new.csv 4,000 rows, 2023-11-14 22:13" in said
    assert {event["column"] for event in events if event["kind"] == "drift"} == {"amount"}
    opened = events[0]
    assert (opened["kind"], opened["status"], opened["what"], opened["direction"]) == ("drift", "opened", "shift", "up")
    (evidence,) = opened["evidence"]["ranges"]
    assert (evidence["topic"], evidence["partition"]) == ("new.csv", 0)
    assert 1_800 < evidence["from_offset"] < 2_000 < evidence["to_offset"] < 2_500


def test_a_next_step_is_a_command_that_exists(capsys: pytest.CaptureFixture[str], files: tuple[Path, Path]) -> None:
    from driftbus.stream.cli.main import group

    _, said, _ = replay(capsys, files[1], "--reference", files[0])
    (line,) = [line for line in said.splitlines() if line.startswith("  next:")]
    named = [words.split()[1] for words in line.split("·") if words.split()[0] == "driftbus"]
    assert set(named) <= set(group.list_commands(None))  # type: ignore[arg-type]


def test_a_relation_alone_is_told_as_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    a, noise = rng.standard_normal(8_000), rng.standard_normal(8_000)
    b = np.where(np.arange(8_000) < 4_000, 0.9 * a + 0.19**0.5 * noise, noise)
    table = pa.table({"a\x1b[31m": a, "b": b, "c": rng.standard_normal(8_000)})
    data, train = save(table, tmp_path / "day.parquet"), save(table.slice(0, 4_000), tmp_path / "train.parquet")
    code, said, events = replay(capsys, data, "--reference", train)
    assert code == 0
    assert {event["column"] for event in events if event["kind"] == "drift"} == {"a\x1b[31m × b"}
    assert "1 incident: 1 relation, " in said
    [line] = [line for line in said.splitlines() if " × b" in line]
    assert line.startswith("  a\\x1b[31m × b")
    assert "r +0.9" in line
    assert "\x1b" not in said


def test_the_same_rows_in_every_format_give_the_same_events(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    def verdicts(reference: Path, data: Path) -> list[tuple[Any, ...]]:
        _, _, events = replay(capsys, data, "--reference", reference)
        assert events
        return [
            (e["kind"], e["status"], e["window_start"], e["statistic"], e["evidence"]["ranges"][0]["to_offset"])
            for e in events
        ]

    parquet = (
        save(frame(6_000, 1), tmp_path / "train.parquet"),
        save(frame(4_000, 2, drift_at=2_000), tmp_path / "new.parquet"),
    )
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    expected = verdicts(*files)
    assert verdicts(*parquet) == expected
    assert verdicts(files[0], parquet[1]) == expected
    assert verdicts(parquet[0], packed) == expected


def test_events_are_the_same_whatever_the_size_of_batches(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (16_384, 97):
        monkeypatch.setattr("driftbus.stream.replay.filereplay._POINTS", 1)
        monkeypatch.setattr("driftbus.stream.replay.filereplay._LEAST_BATCH", 1)
        monkeypatch.setattr("driftbus.stream.replay.filereplay.BATCH_ROWS", rows)
        events: list[Any] = []
        prepare(files[1], files[0], Wishes()).run(events.append, lambda done: None)
        found.append(events)
    assert found[0] == found[1] != []


def test_fail_on_drift_is_the_exit_code(files: tuple[Path, Path]) -> None:
    reference, data = files

    def code(*arguments: object) -> int:
        command = [sys.executable, "-m", "driftbus", "replay", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert code(data, "--reference", reference) == 0
    assert code(data, "--reference", reference, "--fail-on-drift") == 1
    assert code(reference, "--reference", reference, "--fail-on-drift") == 0
    assert code(data) == 2
    assert code("nowhere.csv", "--reference", reference) == 2


def test_rows_get_times_of_their_own(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    reference, data = files
    _, said, events = replay(capsys, data, "--reference", reference, "--every", "1s")
    assert "time: every 1s · pane 30s" in said
    assert "ts (time)" in said
    assert events[0]["opened"].startswith("2000-01-01T00:3")
    untimed = [save(frame(n, n).drop_columns(["ts"]), tmp_path / f"{n}.csv") for n in (3_000, 2_000)]
    _, said, _ = replay(capsys, untimed[1], "--reference", untimed[0])
    assert "2000.csv has no time column: row i happens at 2000-01-01 + i × 1s (--every)" in said


def test_a_file_out_of_order_is_sorted_and_said(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    table = frame(4_000, 2, drift_at=2_000)
    shuffled = save(table.take(np.random.default_rng(0).permutation(4_000)), tmp_path / "new.csv")
    sorted_events = replay(capsys, save(table, tmp_path / "new.csv"), "--reference", files[0])[2]
    save(table.take(np.random.default_rng(0).permutation(4_000)), shuffled)
    _, said, events = replay(capsys, shuffled, "--reference", files[0])
    assert "new.csv is not in time order" in said
    assert "row numbers are those of the sorted rows" in said
    assert events == sorted_events


def test_a_few_late_rows_are_counted() -> None:
    ticks = np.arange(20_000)
    ticks[[500, 700]] = 0
    timeline = Timeline("t", START // MINUTE * MINUTE + ticks * MINUTE, None, [])
    sort_if_needed(timeline, MINUTE, MINUTE, "f.csv")
    assert timeline.order is None
    assert timeline.notes == ["f.csv: 2 rows come more than 1m late and are not judged"]


@pytest.mark.parametrize(
    ("step_ms", "pane"), [(1_000, 30_000), (523_152, 4 * 3_600_000), (3_600_000, 86_400_000), (10, 500), (1, 50)]
)
def test_the_pane_suits_the_rate(step_ms: int, pane: int) -> None:
    times = START + np.arange(50_000) * step_ms
    times[7] = 0  # one wrong date
    assert nice_pane_ms(Timeline("t", times, None, [])) == pane


def test_a_label_that_only_the_reference_has_is_left_out(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    labelled = save(frame(6_000, 1, repaid=np.arange(6_000) % 3 // 2), tmp_path / "train.csv")
    _, said, events = replay(capsys, files[1], "--reference", labelled)
    assert "repaid (only in train.csv: the label?)" in said
    assert {event["column"] for event in events if event["kind"] == "drift"} == {"amount"}
    _, said, _ = replay(capsys, files[1], "--reference", labelled, "--label", "repaid")
    assert "repaid (only in train.csv: the label)" in said


def test_a_lost_feature_is_drift_and_a_new_one_is_said(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    changed = save(frame(4_000, 2, extra=np.arange(4_000) % 5).drop_columns(["amount"]), tmp_path / "changed.csv")
    _, said, events = replay(capsys, changed, "--reference", files[0])
    assert "extra (not in train.csv)" in said
    assert {(e["column"], e["what"]) for e in events if e["kind"] == "drift"} == {("amount", "nulls")}
    assert "0.0% → 100.0%" in said


def test_bad_cells_are_invalid_and_rows_without_time_are_said(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    lines = files[0].read_text().splitlines()
    for i in range(3_001, 6_001):
        cells = lines[i].split(",")
        lines[i] = ",".join([*cells[:2], "oops" if i % 3 else cells[2], *cells[3:]])
    lines[10] = ",".join(['"no time"', *lines[10].split(",")[1:]])
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join(lines))
    _, said, events = replay(capsys, broken, "--reference", files[0])
    assert ("amount", "invalid") in {(e["column"], e["what"]) for e in events if e["kind"] == "drift"}
    assert "1 rows not counted (bad_event_time), the first is row 9: field 'ts' is missing" in said


def test_segments_are_watched_on_their_own(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    table = frame(4_000, 5)
    south = np.array([r == "south" for r in table["region"].to_pylist()]) & (np.arange(4_000) >= 2_000)
    amount = np.where(south, 8.0, 1.0) * table["amount"].to_numpy()
    data = save(table.set_column(2, "amount", pa.array(amount)), tmp_path / "new.csv")
    _, said, events = replay(capsys, data, "--reference", files[0], "--segment", "region")
    segments = {event["segment"] for event in events if event["kind"] == "drift" and event["column"] == "amount"}
    assert "region=south" in segments
    assert "region=north" not in segments
    assert "region=south" in said


def test_a_profile_may_be_the_reference(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    reference, data = files
    profile = tmp_path / "profile.json"
    assert run(["profile", str(reference), "--out", str(profile)]) == 0
    capsys.readouterr()
    by_profile, by_rows = (replay(capsys, data, "--reference", r)[2] for r in (profile, reference))
    assert [e["statistic"] for e in by_profile] == [e["statistic"] for e in by_rows]


def test_a_configuration_is_tried_on_a_file(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tmp_path / "driftbus.yaml"
    config.write_text(
        "kafka: {bootstrap: none}\n"
        "monitors:\n"
        "  shop:\n"
        "    pane: 1h\n"
        "    predictions: {topic: sold, time: ts, id: key, ignore: [colour]}\n"
        "    retrain: {any: [{drift: {columns: 1, severity: minor, for: 1 window}}]}\n"
    )
    _, said, events = replay(capsys, files[1], "--reference", files[0], "-c", config)
    assert "pane 1h" in said
    assert "colour (ignored)" in said
    assert {event["monitor"] for event in events} == {"shop"}
    assert [event["kind"] for event in events].count("retrain") == 1
    loaded = load_config(config, {})
    with pytest.raises(ConfigError, match="there is no monitor 'shpo'"):
        prepare(files[1], files[0], Wishes(), config=loaded, monitor="shpo")


def test_events_to_a_file_and_no_event_lost(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "events.jsonl"
    assert run(["replay", str(files[1]), "--reference", str(files[0]), "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines == replay(capsys, files[1], "--reference", files[0])[2]
    assert run(["replay", str(files[1]), "--reference", str(files[0]), "--out", str(tmp_path / "no" / "e")]) == 2


@pytest.mark.parametrize("more", [[], ["--every", "1s"]])
def test_car_loan(capsys: pytest.CaptureFixture[str], more: Sequence[str]) -> None:
    _, said, events = replay(capsys, ANALYSIS, "--reference", REFERENCE, *more)
    opened = {e["column"]: e for e in events if e["kind"] == "drift" and e["status"] == "opened"}
    assert set(opened) == DRIFTING
    for event in opened.values():
        (evidence,) = event["evidence"]["ranges"]
        assert 25_000 <= evidence["to_offset"] <= 26_500
    assert "repaid (only in car_loan_reference.csv.gz: the label?)" in said
    assert "id (unique)" in said
    (incident,) = {event["incident_id"] for event in events if event["kind"] == "incident"}
    last = [event for event in events if event["kind"] == "incident"][-1]
    assert {member["column"] for member in last["members"]} == DRIFTING
    (trigger,) = [event for event in events if event["kind"] == "retrain"]
    assert trigger["evidence"]["incident_ids"] == [incident]
    assert [event["kind"] for event in events].count("retrain") == 1


@pytest.mark.parametrize("more", [[], ["--every", "1s"]])
def test_a_reference_split_at_random_has_no_drift(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: Sequence[str]
) -> None:
    table = pacsv.read_csv(REFERENCE)
    half = np.random.default_rng(11).random(table.num_rows) < 0.5
    reference, data = (save(table.filter(pa.array(m)), tmp_path / f"{n}.csv") for n, m in (("a", half), ("b", ~half)))
    code, said, events = replay(capsys, data, "--reference", reference, "--fail-on-drift", *more)
    assert (code, events) == (0, [])
    assert "no drift in 10 columns" in said


def test_row_times_begin_in_2000(files: tuple[Path, Path]) -> None:
    file = prepare(files[1], files[0], Wishes(untimed=True), every_ms=250)
    assert file.timeline.time_ms[:2].tolist() == [YEAR_2000_MS, YEAR_2000_MS + 250]
    assert file.monitor == "new"

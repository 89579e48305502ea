"""`driftbus replay` with every default on the car-loan data that comes with the demo.

Five columns change at row 25,000 of 50,000, three do not, and neither do the rows of the reference
among themselves: split at random into a reference and a stream, they must give no episode at all.
The delay is the number of rows after the change that had been read when the episode was opened.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from benchmarks.measure import Figure, Report

CHANGE = 25_000
DRIFTING = ("car_value", "loan_length", "salary_range", "repaid_loan_on_prev_car", "y_pred_proba")
CONTROLS = ("debt_to_income_ratio", "driver_tenure", "size_of_downpayment")
WITHIN = 1_500


def replay(stream: Path, reference: Path, out: Path) -> list[dict[str, Any]]:
    """The drift events of a replay."""
    command = [sys.executable, "-m", "driftbus", "replay", stream, "--reference", reference, "--out", out]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=300)
    found = [json.loads(line) for line in out.read_text().splitlines()]
    return [event for event in found if event["kind"] == "drift"]


def split(table: pa.Table, seed: int, folder: Path) -> tuple[Path, Path]:
    """Two halves of a table, chosen at random, each in its own order: (stream, reference)."""
    chosen = np.zeros(table.num_rows, np.bool_)
    chosen[np.random.default_rng(seed).permutation(table.num_rows)[: table.num_rows // 2]] = True
    halves = folder / f"stream-{seed}.csv", folder / f"reference-{seed}.csv"
    for path, mask in zip(halves, (chosen, ~chosen), strict=True):
        csv.write_csv(table.filter(pa.array(mask)), path)
    return halves


def run(*, quick: bool) -> Report:
    """Delays, false alarms, and episodes without drift."""
    data = Path(str(files("driftbus.stream.demo") / "data"))
    stream, reference = data / "car_loan_analysis.csv.gz", data / "car_loan_reference.csv.gz"
    seeds = 3 if quick else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = [
            e
            for e in replay(stream, reference, folder / "events.jsonl")
            if e["kind"] == "drift" and e["status"] == "opened"
        ]
        table = csv.read_csv(reference)
        episodes = [len(replay(*split(table, seed, folder), folder / "split.jsonl")) for seed in range(seeds)]
    rows = [(e["column"], max(r["to_offset"] for r in e["evidence"]["ranges"]) - CHANGE) for e in opened]
    report = Report("car_loan: driftbus replay with every default; the change is at row 25,000")
    for column in DRIFTING:
        delay = min((delay for found, delay in rows if found == column and delay > 0), default=None)
        report.rows.append(
            Figure(
                f"delay of {column}",
                "not found" if delay is None else f"{delay:,} rows",
                f"<= {WITHIN:,}",
                delay is not None and delay <= WITHIN,
            )
        )
    before = sum(delay <= 0 for _, delay in rows)
    quiet = sum(column in CONTROLS for column, _ in rows)
    others = sorted({column for column, _ in rows} - {*DRIFTING, *CONTROLS})
    report.rows += [
        Figure("alarms before the change", str(before), "0", before == 0),
        Figure("alarms on the three controls", str(quiet), "0", quiet == 0),
        Figure("alarms on other columns", ", ".join(others) or "0", note="y_pred, the class that the score gives"),
        Figure(f"episodes in {seeds} random splits of the reference", str(sum(episodes)), "0", not any(episodes)),
    ]
    return report

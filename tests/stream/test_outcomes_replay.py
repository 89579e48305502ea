"""A replay of a file with labels that come late: terminal, events, page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import unstyle

from driftbus.stream.cli.main import run

ROWS = 12_000


def write(path: Path, columns: dict[str, Any]) -> Path:
    names = list(columns)
    rows = zip(*(np.asarray(columns[name]).tolist() for name in names), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def rows_of(seed: int, n: int, falls_at: int) -> dict[str, Any]:
    """A calibrated model; from a row on half of the labels are a coin's."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.beta(0.3, 0.3, n), 4)
    label = (rng.random(n) < score).astype(int)
    coin = (np.arange(n) >= falls_at) & (rng.random(n) < 0.5)
    label = np.where(coin, rng.integers(0, 2, n), label)
    return {
        "key": [f"r{seed}-{i}" for i in range(n)], "x": rng.normal(size=n), "score": score,
        "y_pred": (score >= 0.5).astype(int), "paid": label,
    }  # fmt: skip


def without(columns: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name not in names}


def replayed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, int | None]:
    code = run([str(a) for a in ("replay", *arguments)])
    return unstyle(capsys.readouterr().out), code


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    write(folder / "train.csv", rows_of(1, 12_000, 10**9))
    now = rows_of(2, ROWS, ROWS // 2)
    write(folder / "all.csv", now)
    write(folder / "now.csv", without(now, "paid"))
    order = np.random.default_rng(3).permutation(ROWS)
    labels = {name: np.asarray(now[name])[order] for name in ("key", "paid")}
    write(folder / "labels.csv", labels)
    return folder


def test_a_fall_is_told_with_its_picture_and_nothing_before_it(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    text, _ = replayed(
        capsys, files / "now.csv", "--reference", files / "train.csv", "--every", "1m",
        "--labels", files / "labels.csv", "--label-delay", "1000rows", "--id", "key", "--out", out, "--html", page,
    )  # fmt: skip
    accuracy = next(line for line in text.splitlines() if line.startswith("  accuracy"))
    assert "worse" in accuracy
    half = f"{np.datetime64('2000-01-01') + np.timedelta64(ROWS // 2, 'm')}"
    told = [e for e in events(out) if e["kind"] == "drift" and e["stream"] == "outcomes" and e["status"] == "opened"]
    assert {e["aspect"] for e in told} >= {"performance", "concept"}
    assert all(e["window_end"] > half for e in told)
    reports = [e for e in events(out) if e["kind"] == "performance"]
    assert {r["stage"] for r in reports} >= {"estimated", "first"}
    first = next(r for r in reports if r["stage"] == "first")
    assert first["metrics"]["accuracy"]["estimated"] == pytest.approx(first["metrics"]["accuracy"]["value"], abs=0.05)
    html = page.read_text()
    assert "Performance" in html
    assert html.count('class="realised"') >= 5
    assert html.count('class="estimated"') >= 5


def test_labels_in_the_same_file_and_by_id_give_the_same(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart, same = tmp_path / "apart.jsonl", tmp_path / "same.jsonl"
    common = ("--reference", files / "train.csv", "--every", "1m", "--label-delay", "1000rows", "--label", "paid")
    replayed(capsys, files / "now.csv", *common, "--labels", files / "labels.csv", "--id", "key", "--out", apart)
    replayed(capsys, files / "all.csv", *common, "--id", "key", "--out", same)

    def realised(path: Path) -> list[Any]:
        chosen = [e for e in events(path) if e["kind"] == "performance" and e["stage"] != "estimated"]
        return [(e["stage"], e["cohort_start"], e["labels"], e["metrics"]) for e in chosen]

    assert len(realised(apart)) > 5
    assert realised(apart) == realised(same)


def test_rows_without_an_id_find_their_labels(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, code = replayed(
        capsys, files / "all.csv", "--reference", files / "train.csv", "--every", "1m", "--label", "paid",
        "--ignore", "key", "--label-delay", "12h",
    )  # fmt: skip
    assert code == 0
    assert "worse" in next(line for line in text.splitlines() if line.startswith("  accuracy"))


def test_a_value_is_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)

    def made(n: int, error: Any) -> dict[str, Any]:
        truth = np.round(rng.normal(100, 20, n), 3)
        guess = np.round(truth + rng.normal(0, 1, n) * error, 3)
        return {"x": rng.normal(size=n), "prediction": guess, "revenue": truth}

    train = write(tmp_path / "train.csv", made(6_000, 4.0))
    now = write(tmp_path / "now.csv", made(8_000, np.where(np.arange(8_000) < 4_000, 4.0, 9.0)))
    text, _ = replayed(
        capsys, now, "--reference", train, "--every", "1m", "--label", "revenue", "--label-delay", "500rows"
    )
    assert "worse" in next(line for line in text.splitlines() if line.startswith("  mean absolute error"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--label-delay", "soon"), "is not a duration"),
        (("--label", "nothing"), "nothing"),
        (("--label-delay", "1d", "--label-time", "key"), "contradict"),
    ],
)
def test_what_cannot_be_is_said(
    files: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["replay", str(files / "now.csv"), "--reference", str(files / "train.csv"), "--every", "1m", "--labels",
                str(files / "labels.csv"), "--id", "key", *more])  # fmt: skip
    assert code != 0
    assert said in unstyle(capsys.readouterr().err)


def test_metrics_are_no_columns_on_the_page(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    replayed(
        capsys, files / "now.csv", "--reference", files / "train.csv", "--every", "1m", "--label-delay", "1000rows",
        "--labels", files / "labels.csv", "--id", "key", "--html", page,
    )  # fmt: skip
    html = page.read_text()
    assert " of 4 columns drifted" in html  # the label, x, score and prediction

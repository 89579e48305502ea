"""The gate: metrics of rows are scikit-learn's, the bound decides, and a pipeline reads the exit code."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from driftbus.detectors.metrics import metrics
from driftbus.detectors.ranking import tied
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.cli.main import run
from driftbus.stream.gate.bootstrap import Spread, difference, gap
from driftbus.stream.gate.exact import Exact
from driftbus.stream.gate.task import Scored, codes, none_of, shape_of

DATA = Path(__file__).parents[2] / "stream/demo/data"
REFERENCE, ANALYSIS, TARGET = (DATA / f"car_loan_{n}.csv.gz" for n in ("reference", "analysis", "analysis_target"))

Float = NDArray[np.float64]


def binary(score: Float, label: Float) -> Scored:
    shape = shape_of(PerformanceConfig(), ["0", "1"], [])
    return Scored(shape, np.asarray(label, np.float64), np.asarray(score, np.float64), none_of(len(score))[1])


def drawn(seed: int, n: int, rate: float) -> tuple[Float, Float, NDArray[np.int64]]:
    """Scores with many ties, labels of both classes, how often each row counts."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < rate) * 1.0
    label[:2] = 0, 1
    times = rng.integers(0, 4, n)
    times[:2] = 1
    return np.round(rng.beta(2 + label, 3 - label), 2), label, times


@given(st.integers(0, 2**32), st.integers(2, 400), st.sampled_from([0.05, 0.5, 0.95]))
@settings(max_examples=60, deadline=None)
def test_binary_metrics_of_weighted_rows_are_scikit_learns(seed: int, n: int, rate: float) -> None:
    score, label, times = drawn(seed, n, rate)
    exact, weights = Exact(binary(score, label)), times.astype(np.float64)
    guess = score >= 0.5
    wanted = {
        "accuracy": sk.accuracy_score(label, guess, sample_weight=weights),
        "recall": sk.recall_score(label, guess, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(label, guess, sample_weight=weights),
        "auc": sk.roc_auc_score(label, score, sample_weight=weights),
        "average_precision": sk.average_precision_score(label, score, sample_weight=weights),
        "log_loss": sk.log_loss(label, score, sample_weight=weights),
        "brier": sk.brier_score_loss(label, score, sample_weight=weights),
        "prevalence": np.average(label, weights=weights),
    }
    if (guess * weights).any():
        wanted["precision"] = sk.precision_score(label, guess, sample_weight=weights)
        wanted["f1"] = sk.f1_score(label, guess, sample_weight=weights)
    found = {metric: exact.value(metric, weights) for metric in wanted}
    assert found == pytest.approx(wanted, abs=1e-9)


@given(st.integers(0, 2**32), st.integers(5, 300), st.integers(3, 6))
@settings(max_examples=40, deadline=None)
def test_multiclass_metrics_of_weighted_rows_are_scikit_learns(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, n)
    guess = np.where(rng.random(n) < 0.6, label, rng.integers(0, classes, n))
    weights = rng.integers(1, 4, n).astype(np.float64)
    texts = [str(k) for k in range(classes)]
    shape = shape_of(PerformanceConfig(kind="multiclass", classes=texts), texts, texts)
    exact = Exact(Scored(shape, label * 1.0, np.full(n, np.nan), guess))
    both, labels, guesses = (sorted(each) for each in ({*label, *guess}, {*label}, {*guess}))
    assert exact.value("accuracy", weights) == pytest.approx(sk.accuracy_score(label, guess, sample_weight=weights))
    for metric, score, of in (
        ("precision", sk.precision_score, guesses),
        ("recall", sk.recall_score, labels),
        ("f1", sk.f1_score, both),
    ):
        wanted = score(label, guess, labels=of, average="macro", sample_weight=weights, zero_division=0)
        assert exact.value(metric, weights) == pytest.approx(wanted)


@given(st.integers(0, 2**32), st.integers(2, 300))
@settings(max_examples=30, deadline=None)
def test_regression_metrics_of_weighted_rows_are_scikit_learns(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    label, weights = rng.normal(5, 3, n), rng.integers(1, 4, n).astype(np.float64)
    score = label + rng.standard_t(3, n)
    shape = shape_of(PerformanceConfig(kind="regression"), ["1.5"], [])
    exact = Exact(Scored(shape, label, score, none_of(n)[1]))
    assert exact.value("mae", weights) == pytest.approx(sk.mean_absolute_error(label, score, sample_weight=weights))
    assert exact.value("rmse", weights) == pytest.approx(
        sk.root_mean_squared_error(label, score, sample_weight=weights)
    )
    assert exact.value("bias", weights) == pytest.approx(np.average(score - label, weights=weights))


def test_rows_and_counts_agree_within_what_bins_cost() -> None:
    score, label, _ = drawn(3, 20_000, 0.3)
    rows = binary(score, label)
    exact, pairs = Exact(rows), rows.pairs()
    table = rows.shape.table("score", pairs)[:-1]
    for metric, estimate in metrics(rows.shape, pairs).items():
        cost = {"auc": tied(table[:, 1], table[:, 0]) / 2, "average_precision": 0.01}.get(metric, 2e-6)
        assert exact.value(metric) == pytest.approx(estimate.value, abs=cost), metric


def test_the_texts_of_labels_are_classes_however_a_file_writes_them() -> None:
    shape = shape_of(PerformanceConfig(positive="1"), ["1.0", "0.0"], [])
    assert codes(shape, ["1.0", "true", "0", None, "1"]).tolist() == [1, 1, 0, -1, 1]


def test_common_draws_cancel_what_versions_share() -> None:
    rng = np.random.default_rng(5)
    shared = rng.normal(size=500)
    one, other = Spread(0.8, 0.8 + shared), Spread(0.82, 0.82 + shared + 0.01 * rng.normal(size=500))
    low, high = difference(one, other).interval(0.95) or (0, 0)
    assert 0 < high - low < 0.05
    assert (one.interval(0.95) or (0, 0))[1] > 2


def test_the_gap_is_between_the_worst_and_the_best_group_and_its_interval_is_of_all_pairs() -> None:
    rng = np.random.default_rng(6)
    groups = {name: Spread(value, value + 0.01 * rng.normal(size=2_000)) for name, value in zip("abc", (0.9, 0.8, 0.85), strict=True)}  # noqa: E501  # fmt: skip
    value, low, high, worst, best = gap(groups, 0.95) or (0, 0, 0, "", "")
    assert (worst, best, value) == ("b", "a", pytest.approx(0.1))
    # the range of three normal values of deviation .01 is below 3.31 x .01 in 95 % (studentised range)
    assert high - value == pytest.approx(0.0331, rel=0.05)
    assert value - low == pytest.approx(high - value)
    assert gap({"a": groups["a"]}, 0.95) is None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two versions that scored the same 2,000 examples, the second a little better; both also in one file."""
    folder, rng = tmp_path_factory.mktemp("gate"), np.random.default_rng(7)
    n = 2_000
    label = (rng.random(n) < 0.3).astype(int)
    hard = rng.normal(size=n)
    old = 1 / (1 + np.exp(-(2 * label - 1 + hard + 0.6 * rng.normal(size=n))))
    new = 1 / (1 + np.exp(-(2.4 * label - 1.2 + hard + 0.6 * rng.normal(size=n))))
    region = rng.choice(["north", "south"], n)
    found = {}
    order = rng.permutation(n)
    for name, score, rows in (("old", old, np.arange(n)), ("new", new, order)):
        table = pa.table({"id": rows, "y": label[rows], "p": score[rows], "region": region[rows]})
        found[name] = folder / f"{name}.parquet"
        pq.write_table(table, found[name])
    found["both"] = folder / "both.csv"
    with found["both"].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "model", "y", "p"])
        writer.writerows([i, "v1", label[i], old[i]] for i in range(n))
        writer.writerows([i, "v2", label[i], new[i]] for i in range(n))
    return found


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a run."""
    capsys.readouterr()
    code = run(["gate", *map(str, arguments), "--json", "-", "--draws", "200"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def test_a_model_that_is_good_enough_passes_and_one_that_is_not_fails(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (files["new"], "--label", "y", "--score", "p")
    code, found = asked(capsys, *options, "--min", "auc=0.8", "--max", "ece=0.2")
    assert (code, found["passed"]) == (0, True)
    code, found = asked(capsys, *options, "--min", "auc=0.99")
    assert (code, found["passed"]) == (1, False)
    (rows, auc) = found["checks"]
    assert rows["passed"]
    assert auc["low"] < auc["value"] < auc["high"] < 0.99


def test_what_is_not_sure_does_not_pass_unless_the_point_decides(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (files["new"], "--label", "y", "--score", "p")
    _, found = asked(capsys, *options, "--min", "accuracy=0.1")
    limit = found["checks"][1]["value"] - 0.001
    assert asked(capsys, *options, "--min", f"accuracy={limit}")[0] == 1
    assert asked(capsys, *options, "--min", f"accuracy={limit}", "--point")[0] == 0


def test_versions_of_the_same_examples_are_compared_on_them(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answer from two files in any order of rows and from a version column; apart it takes more."""
    options = ("--label", "y", "--score", "p")
    code, two = asked(capsys, files["new"], "--champion", files["old"], *options)
    assert code == 0
    assert two["paired"]
    assert [c["name"] for c in two["checks"]] == ["rows", "auc better"]
    names = ("--version", "model", "--champion", "v1", "--challenger", "v2")
    code, one = asked(capsys, files["both"], *names, *options, "--better", "auc")
    assert code == 0
    assert one["checks"][1]["value"] == pytest.approx(two["checks"][1]["value"])
    alone = {}
    for name in ("new", "old"):
        alone[name] = files[name].with_name(f"{name}_without_ids.parquet")
        pq.write_table(pq.read_table(files[name]).drop_columns(["id"]), alone[name])
    _, apart = asked(capsys, alone["new"], "--champion", alone["old"], *options, "--better", "auc")
    assert not apart["paired"]
    wide, narrow = (found["checks"][1]["high"] - found["checks"][1]["low"] for found in (apart, two))
    assert wide > 1.5 * narrow


def test_a_version_that_is_the_same_is_not_better_but_not_worse(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (files["old"], "--champion", files["old"], "--label", "y", "--score", "p")
    assert asked(capsys, *options, "--better", "accuracy")[0] == 1
    assert asked(capsys, *options, "--not-worse", "accuracy=0.01", "--not-worse", "log_loss=0")[0] == 0
    worse = (files["old"], "--champion", files["new"], "--label", "y", "--score", "p")
    code, found = asked(capsys, *worse, "--not-worse", "log_loss=0.001")
    assert code == 1
    assert found["checks"][1]["value"] > 0


def test_groups_may_differ_by_so_much(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = (files["new"], "--label", "y", "--score", "p", "--group", "region", "--gap")
    assert asked(capsys, *options, "accuracy=0.2")[0] == 0
    code, found = asked(capsys, *options, "accuracy=0.001")
    assert code == 1
    assert "'north'" in found["checks"][1]["note"]
    code, found = asked(capsys, *options, "accuracy=0.2", "--min-rows", "1500")
    assert code == 1
    assert "fewer than two groups" in found["checks"][1]["note"]


def test_the_seed_decides_and_nothing_else(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = (files["new"], "--label", "y", "--score", "p", "--min", "auc=0.5")
    assert asked(capsys, *options) == asked(capsys, *options)
    assert asked(capsys, *options) != asked(capsys, *options, "--seed", "1")


def test_ci_servers_read_junit(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gate.xml"
    asked(capsys, files["new"], "--label", "y", "--score", "p", "--min", "auc=0.99", "--junit", report)
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["rows", "auc min"]
    failure = suite[1][0]
    assert failure.tag == "failure"
    assert "wanted at least 0.99" in (failure.get("message") or "")


def test_a_perfect_score_has_an_interval_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No draw differs: 40 of 40 right rows do not prove an accuracy of 1."""
    file = tmp_path / "few.csv"
    file.write_text("y,p\n" + "".join(f"{i % 2},{0.1 + 0.8 * (i % 2)}\n" for i in range(40)))
    code, found = asked(capsys, file, "--label", "y", "--score", "p", "--min", "accuracy=0.95", "--min-rows", "30")
    assert code == 1
    assert found["checks"][1]["low"] == pytest.approx(0.912, abs=0.001)
    assert found["checks"][1]["note"] == "interval from counts"


def test_the_car_loans_pass_before_the_change_and_not_after(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--label", "repaid", "--score", "y_pred_proba", "--min", "auc=0.95", "--min", "accuracy=0.94")
    code, before = asked(capsys, REFERENCE, *options)
    assert code == 0
    code, after = asked(capsys, ANALYSIS, "--labels", TARGET, *options)
    assert code == 1
    assert [c["passed"] for c in after["checks"]] == [True, True, False]
    assert before["checks"][2]["value"] > 0.944 > 0.935 > after["checks"][2]["value"]


def test_limits_and_mapping_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "driftbus.yaml"
    config.write_text(
        "kafka: {bootstrap: 'localhost:9092'}\n"
        "monitors:\n  loans:\n    predictions: {topic: p, id: id, score: y_pred_proba, time: timestamp}\n"
        "    labels: {topic: l, id: id, label: repaid}\n    segments: [salary_range]\n"
        "    performance:\n      limits: {auc: {min: 0.95}, log_loss: {max: 0.1}}\n"
    )
    code, found = asked(capsys, REFERENCE, "-c", config, "--gap", "accuracy=0.1")
    assert code == 1
    assert {c["name"]: c["passed"] for c in found["checks"]} == {
        "rows": True,
        "auc min": True,
        "log_loss max": False,
        "accuracy gap of salary_range": True,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--min", "auc=0.8", "--score", "q"), "has no column 'q'"),
        (("--min", "auk=0.8"), "'auk' is no metric"),
        (("--min", "auc"), "says no number"),
        (("--min", "mae=1"), "not defined for binary"),
        (("--min", "auc=0.8", "--positive", "yes"), "no label is 'yes'"),
        (("--better", "auc"), "no champion"),
        (("--gap", "auc=0.1"), "--group"),
        ((), "what is asked"),
        (("--version", "region", "--min", "auc=0.8"), "--challenger"),
        (("--version", "region", "--challenger", "west", "--min", "auc=0.8"), "no row of version 'west'"),
    ],
)
def test_what_is_wrong_with_the_question_is_said(
    files: dict[str, Path], options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    score = () if "--score" in options else ("--score", "p")
    assert run(["gate", str(files["new"]), "--label", "y", *score, *options]) == 2
    assert said in capsys.readouterr().err

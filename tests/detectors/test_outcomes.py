"""Outcome vectors: what is counted where, and that their merge is addition."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftbus.detectors.classes import class_code
from driftbus.detectors.outcomecells import natural_log, pair_cells
from driftbus.detectors.outcomes import (
    ERROR_UNIT,
    LOSS_UNIT,
    OutcomeShape,
    lag_cells,
    lag_quantile,
    pairs_first,
    pairs_now,
)
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig

Int = NDArray[np.int64]
Float = NDArray[np.float64]

NONE = -1


def profile_of(**columns: Float | list[str]) -> Profile:
    """A profile of predictions; the column's name is its role."""
    return build_profile(
        "m",
        "predictions",
        {
            name: CategoryData(values, role=name) if isinstance(values, list) else NumericData(values, role=name)  # type: ignore[arg-type]
            for name, values in columns.items()
        },
    )


def counted(shape: OutcomeShape, score: object, prediction: object, label: object) -> Int:
    """The pair table of some pairs."""
    cells, amounts = pair_cells(
        shape, np.array(score, np.float64), np.array(prediction, np.int64), np.array(label, np.float64)
    )
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells, amounts)
    return table


SCORES = np.random.default_rng(5).beta(2, 5, 4_000)
SHAPES = {
    "binary": outcome_shape(profile_of(score=SCORES), PerformanceConfig()),
    "predicted": outcome_shape(None, PerformanceConfig(threshold=0.3), predicted=True),
    "raw": outcome_shape(profile_of(score=SCORES * 900 - 300), PerformanceConfig(threshold=20)),
    "multiclass": outcome_shape(None, PerformanceConfig(kind="multiclass", classes=["a", "b", "c"])),
    "regression": outcome_shape(profile_of(prediction=SCORES * 1e4), PerformanceConfig()),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_a_value(name: str) -> None:
    shape = SHAPES[name]
    again = OutcomeShape.from_dict(json.loads(json.dumps(shape.to_dict())))
    assert again == shape
    assert again.fingerprint == shape.fingerprint
    assert replace(shape, positive="yes").fingerprint != shape.fingerprint
    parts = sorted(shape.parts.values(), key=lambda part: part.start)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == shape.pairs
    assert shape.size == 3 * shape.pairs + 2 + 27


@pytest.mark.parametrize("name", SHAPES)
@given(data=st.data())
@settings(max_examples=30)
def test_merging_is_addition_and_a_correction_takes_back_exactly(name: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    n = data.draw(st.integers(1, 30))
    numbers = (
        st.floats(-400, 400) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 0.3, 0.5, 1.0]) | st.floats(0, 1)
    )
    score = data.draw(st.lists(numbers, min_size=n, max_size=n))
    guess = data.draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n))
    label = data.draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n))
    whole = counted(shape, score, guess, label)
    assert (whole >= 0).all()
    cut = data.draw(st.integers(0, n))
    assert (
        whole
        == counted(shape, score[:cut], guess[:cut], label[:cut]) + counted(shape, score[cut:], guess[cut:], label[cut:])
    ).all()
    changed = [(code + 2) % 3 for code in label]
    counts = np.zeros(shape.size, np.int64)
    counts[shape.first] += whole
    counts[shape.removed] += whole
    counts[shape.added] += counted(shape, score, guess, changed)
    assert (pairs_now(shape, counts) == counted(shape, score, guess, changed)).all()
    assert (pairs_first(shape, counts) == whole).all()


def test_the_threshold_is_an_edge_and_belongs_to_the_positive_side() -> None:
    for shape in (SHAPES["binary"], SHAPES["raw"], SHAPES["predicted"]):
        t = shape.threshold
        table = shape.table("score", counted(shape, [math.nextafter(t, -math.inf), t], [NONE] * 2, [1, 1]))
        first = shape.edges.index(t) + 2
        assert table[:first, 1].sum() == 1
        assert table[first:, 1].sum() == 1


def test_missing_and_unknown_have_cells_of_their_own() -> None:
    shape = SHAPES["predicted"]
    pairs = counted(shape, [math.nan, 0.9, 1.2, -0.1, 0.2], [0, 1, -1, 7, 0], [1, 0, -1, 9, math.nan])
    score, confusion = shape.table("score", pairs), shape.table("confusion", pairs)
    assert score[-1].tolist() == [0, 1, 0, 0]
    assert score[-2].tolist() == [0, 0, 0, 1]
    assert score[0].tolist() == [0, 0, 1, 0]
    assert score[1:-2].sum(axis=0).tolist() == [1, 0, 0, 1]
    assert confusion.tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert shape.table("log_loss", pairs)[0] == round(-math.log(0.1) / LOSS_UNIT)


def test_a_little_beyond_one_is_a_probability() -> None:
    shape = SHAPES["binary"]
    score = shape.table("score", counted(shape, [1 + 1e-7, -1e-7], [NONE] * 2, [1, 0]))
    assert score[0].sum() == score[-2].sum() == 0
    assert score[1, 0] == score[-3, 1] == 1


def test_profile_bins_are_whole_in_the_shape() -> None:
    """Counts of the predictions stream, on the profile's bins, can be put beside outcomes."""
    edges = np.array(SHAPES["binary"].reference_edges)
    fine = np.searchsorted(np.array(SHAPES["binary"].edges), SCORES, side="right")
    coarse = np.searchsorted(edges, SCORES, side="left")
    for cell in np.unique(fine):
        assert np.unique(coarse[fine == cell]).size == 1


def test_two_labels_that_are_no_known_class_are_neither_right_nor_wrong() -> None:
    shape = SHAPES["multiclass"]
    pairs = counted(shape, [0.9, 0.8, 0.7, 0.6], [0, 0, 3, 3], [0, 3, 3, 1])
    assert shape.table("score", pairs).sum(axis=0).tolist() == [2, 1, 1]
    assert shape.table("confusion", pairs)[0].tolist() == [1, 0, 0, 1, 0]
    sums, wrong, right = shape.table("reliability", pairs)
    assert sums.sum() == pytest.approx((0.9 + 0.8 + 0.6) * 2**20, abs=2)
    assert wrong.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 1, 0]
    assert right.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_errors_are_summed_in_units_of_the_scale() -> None:
    shape = replace(SHAPES["regression"], scale=4.0)
    pairs = counted(shape, [10.0, 3.0, 1e9, math.nan, 1.0], [NONE] * 5, [8.0, 6.5, 0.0, 1.0, math.nan])
    assert shape.table("over", pairs)[0] * ERROR_UNIT * 4 == 2 + 64 * 4
    assert shape.table("under", pairs)[0] * ERROR_UNIT * 4 == 3.5
    assert shape.table("clipped", pairs)[0] == 1
    assert shape.table("missing", pairs).tolist() == [[0, 1], [1, 0]]
    assert shape.table("error", pairs).sum() == 3 == shape.table("by_value", pairs)[0].sum()


@given(st.floats(2.0**-52, 1 - 2.0**-52))
def test_the_logarithm_is_the_librarys(x: float) -> None:
    assert natural_log(np.array([x]))[0] == pytest.approx(math.log(x), rel=1e-14)


def test_lags_have_doubling_buckets() -> None:
    shape = SHAPES["binary"]
    cells = lag_cells(shape, np.array([-5, 999, 1_000, 1_999, 2_000, 10**12]))
    assert (cells - shape.lag.start).tolist() == [0, 0, 1, 1, 2, 26]
    counts = np.zeros(shape.size, np.int64)
    assert lag_quantile(shape, counts, 0.5) is None
    np.add.at(counts, cells, 1)
    assert lag_quantile(shape, counts, 0.5) == 2_000


@pytest.mark.parametrize(
    ("shape", "text", "code"),
    [
        (OutcomeShape("binary", (0.5,)), "1", 1),
        (OutcomeShape("binary", (0.5,)), "1.0", 1),
        (OutcomeShape("binary", (0.5,)), "True", 1),
        (OutcomeShape("binary", (0.5,)), "0", 0),
        (OutcomeShape("binary", (0.5,)), "whatever", 0),
        (OutcomeShape("binary", (0.5,)), None, NONE),
        (OutcomeShape("binary", (0.5,)), "", NONE),
        (OutcomeShape("binary", (0.5,), positive="bad", negatives=("good",)), "bad", 1),
        (OutcomeShape("binary", (0.5,), positive="bad", negatives=("good",)), "Bad", 2),
        (OutcomeShape("binary", (0.5,), positive="true", negatives=("false",)), "0.0", 0),
        (OutcomeShape("multiclass", classes=("1", "1.0", "2")), "1.0", 1),
        (OutcomeShape("multiclass", classes=("1", "1.0", "2")), "1e0", 0),
        (OutcomeShape("multiclass", classes=("1", "1.0", "2")), "1_0", 3),
        (OutcomeShape("multiclass", classes=("1", "1.0", "2")), "nan", 3),
    ],
)
def test_texts_of_labels(shape: OutcomeShape, text: str | None, code: int) -> None:
    assert class_code(shape, text) == code


def test_kinds_are_found() -> None:
    auto = PerformanceConfig()
    numbers = np.arange(1_000.0)
    assert outcome_shape(None, auto).kind == "binary"
    assert outcome_shape(profile_of(score=SCORES, prediction=["0", "1"] * 2_000), auto).predicted
    three = outcome_shape(profile_of(score=SCORES[:300], prediction=["x", "y", "z"] * 100), auto)
    assert three.kind == "multiclass"
    assert three.classes == ("x", "y", "z")
    value = outcome_shape(profile_of(prediction=numbers), auto)
    assert value.kind == "regression"
    assert value.scale == 256
    assert not SHAPES["raw"].probability
    assert "log_loss" not in SHAPES["raw"].parts
    with pytest.raises(ConfigError, match="classes"):
        outcome_shape(None, PerformanceConfig(kind="multiclass"))
    with pytest.raises(ConfigError, match="threshold"):
        OutcomeShape("binary", (0.2, 0.4), threshold=0.3)

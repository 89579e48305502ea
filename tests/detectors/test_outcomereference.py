"""The reference of performance in a profile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from driftbus.detectors.outcomereference import OutcomeReference, codes_of, outcome_reference
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.codec import pack_profile, unpack_profile
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.files.trainoutcomes import with_outcomes

RNG = np.random.default_rng(91)
SCORE = np.round(RNG.beta(2, 3, 3_000), 3)
LABEL = (RNG.random(3_000) < SCORE).astype(int)
DATA = {
    "p": NumericData(SCORE, role="score"),
    "y_hat": CategoryData([str(int(s >= 0.5)) for s in SCORE], role="prediction"),
    "y": CategoryData([str(y) for y in LABEL], role="label"),
}


def profile() -> Profile:
    return build_profile("m", "predictions", {name: DATA[name] for name in ("p", "y_hat")})


def test_a_profile_without_outcomes_is_as_it_was_and_one_with_them_another() -> None:
    plain = profile()
    made, note = with_outcomes(plain, DATA, "y", PerformanceConfig())
    assert note == ""
    assert "outcome" not in plain.to_dict()
    assert replace(made, outcome=None).profile_id == plain.profile_id != made.profile_id


def test_it_counts_every_labelled_row_once_and_survives_json_and_avro() -> None:
    made, _ = with_outcomes(profile(), DATA, "y", PerformanceConfig())
    assert made.outcome is not None
    shape = made.outcome.shape
    confusion = shape.table("confusion", made.outcome.pairs())
    guess = (SCORE >= 0.5).astype(int)
    assert [confusion[a, b] for a in (0, 1) for b in (0, 1)] == [
        int(((guess == a) & (b == LABEL)).sum()) for a in (0, 1) for b in (0, 1)
    ]
    assert Profile.from_dict(made.to_dict()) == made
    assert Profile.from_dict(unpack_profile(pack_profile(made.to_dict()))) == made


def test_the_shape_of_the_reference_is_that_of_the_stream_unless_the_configuration_says_otherwise() -> None:
    made, _ = with_outcomes(profile(), DATA, "y", PerformanceConfig())
    assert made.outcome is not None
    assert outcome_shape(made, PerformanceConfig()) == made.outcome.shape
    assert outcome_shape(made, PerformanceConfig(threshold=0.3)).threshold == 0.3
    assert outcome_shape(made, PerformanceConfig(positive="0")).positive == "0"


def test_labels_of_one_class_are_no_reference() -> None:
    ones = DATA | {"y": CategoryData(["0"] * 3_000, role="label")}
    made, note = with_outcomes(profile(), ones, "y", PerformanceConfig())
    assert made.outcome is None
    assert "positive" in note


def test_rows_without_a_label_do_not_count() -> None:
    shape = outcome_shape(profile(), PerformanceConfig(), labels=("0", "1"))
    codes = codes_of(shape, np.array(["1", None, "0", "1.0"], np.object_))
    assert codes.tolist() == [1, -1, 0, 1]
    found = outcome_reference(shape, np.full(4, 0.7), np.full(4, 1, np.int64), codes.astype(np.float64))
    assert found is not None
    assert found.labels == 3


@pytest.mark.parametrize(
    ("cells", "counts"), [((3, 3), (1, 1)), ((-1,), (1,)), ((10**9,), (1,)), ((1,), (0,)), ((1,), ())]
)
def test_cells_that_do_not_fit_are_refused(cells: tuple[int, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        OutcomeReference(OutcomeShape("binary", (0.5,)), 1, cells, counts)

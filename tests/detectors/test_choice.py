"""Which detectors are on: each works alone, and a choice that decides nothing is refused with the fix."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from driftbus.detectors.settings import Settings
from driftbus.schemas.config import DetectionConfig, Detector

from .synthetic import PANE, UNDIVIDED, profile_of, transitions_of

CHANGE = 5_120


@pytest.mark.parametrize("name", get_args(Detector))
def test_each_alone_finds_a_shift_and_sees_it_end(name: str) -> None:
    rng = np.random.default_rng(12)
    values = rng.standard_normal(24_000)
    values[CHANGE : 2 * CHANGE] += 0.8
    profile = profile_of({"x": rng.standard_normal(10_000)})
    told = transitions_of(profile, {"x": values}, Settings(pane_ms=10_000, detectors=(name,)))
    if name in ("chi2", "js", "hellinger", "tv", "psi", "ks", "wasserstein"):
        assert told[0].detector in (f"{name}_1000", f"{name}_5000")
    else:
        assert told[0].detector == name
    assert told[0].status == "opened"
    assert CHANGE < (told[0].opened_tick + 1) * PANE < CHANGE + 600
    assert told[0].effect > 0.02
    assert told[0].distances["wasserstein"] > 0.5
    assert told[0].distances["wasserstein_data"] == pytest.approx(0.8, rel=0.4)
    assert told[-1].status == "closed"
    assert {t.detector for t in told if t.status == "opened"} == {told[0].detector}


def test_all_together_open_one_episode() -> None:
    rng = np.random.default_rng(12)
    values = rng.standard_normal(12_000)
    values[CHANGE:] += 0.8
    profile = profile_of({"x": rng.standard_normal(10_000)})
    told = transitions_of(profile, {"x": values}, Settings(pane_ms=10_000, detectors=tuple(sorted(get_args(Detector)))))
    assert [t.detector for t in told if t.status == "opened" and t.what == "shift"] == ["adwin"]
    assert sum(t.status == "opened" and t.aspect == "distribution" for t in told) == 1


def test_what_is_on_is_part_of_the_fingerprint_and_its_order_is_not() -> None:
    def made(*names: str) -> str:
        config = DetectionConfig.model_validate({"detectors": names, "false_alarms_per_week": None})
        return Settings.from_config(config, 1, 10_000).fingerprint()

    assert made("psi", "adwin") == made("adwin", "psi", "psi")
    assert made("psi", "adwin") != made("adwin")
    assert UNDIVIDED.detectors == ("adwin", "psi")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"detectors": ["addwin"]}, "'adwin', 'psi', 'ks'"),
        ({"detectors": []}, "at least 1 item"),
        ({"detectors": ["ks"], "windows": []}, r"write windows: \[1000, 5000\], or add adwin to detectors"),
    ],
)
def test_a_wrong_choice_names_the_fix(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DetectionConfig.model_validate(given)

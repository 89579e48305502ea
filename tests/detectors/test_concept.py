"""Concept drift: what is found, what it is called, and state that resumes anywhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.river_engine import NAMES
from driftbus.detectors.verdict import Transition
from driftbus.schemas.errors import StateError

Int = NDArray[np.int64]

BINARY = OutcomeShape("binary", edges=tuple(i / 20 for i in range(1, 20)))
ALL = ConceptSettings(divisor=20.0, detectors=("adwin", *(name for name in NAMES if name != "kswin")))
PANE = 50


def pairs(shape: OutcomeShape, score: NDArray[np.float64], label: NDArray[np.float64]) -> Int:
    """The pair table of some rows."""
    cells, amounts = pair_cells(shape, score, np.full(score.size, -1), label)
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells.ravel(), amounts.ravel())
    return table


def panes_of(score: NDArray[np.float64], label: NDArray[np.float64], pane: int = PANE) -> list[Int]:
    return [pairs(BINARY, score[i : i + pane], label[i : i + pane]) for i in range(0, score.size, pane)]


def calibrated(
    rng: np.random.Generator, size: int, a: float = 1.0, b: float = 2.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of a law, and labels that keep what the scores promise."""
    score = rng.beta(a, b, size)
    return score, (rng.random(size) < score) * 1.0


def fed(detector: ConceptDetector, panes: list[Int], start: int = 0) -> list[Transition]:
    return [t for i, pane in enumerate(panes, start) for t in detector.update(3 * i, pane)]


@lru_cache
def world() -> tuple[Int, ...]:
    """Twenty thousand labels: as ever, then turned round for one class of scores, then as ever."""
    rng = np.random.default_rng(5)
    score, label = calibrated(rng, 20_000)
    turned = (np.arange(score.size) // 4_000 == 2) & (score < 0.4)
    label[turned] = 1 - label[turned]
    return tuple(panes_of(score, label))


@lru_cache
def reference() -> tuple[int, ...]:
    return tuple(pairs(BINARY, *calibrated(np.random.default_rng(4), 20_000)).tolist())


@lru_cache
def undisturbed(known: bool) -> tuple[tuple[Transition, ...], bytes]:
    detector = ConceptDetector(BINARY, ALL, np.array(reference()) if known else None)
    return tuple(fed(detector, list(world()))), detector.dump()


@pytest.mark.parametrize("known", [True, False])
def test_labels_that_turn_round_are_concept_drift_and_come_back(known: bool) -> None:
    detector = ConceptDetector(BINARY, ConceptSettings(divisor=20.0), np.array(reference()) if known else None)
    told = [t for t in fed(detector, list(world())) if t.column == "error"]
    assert [t.status for t in told] == ["opened", "changed", "closed"]
    opened, changed, closed = told
    assert (opened.what, opened.direction, changed.direction) == ("concept", "up", "down")
    assert "P(Y|Ŷ)" in opened.moved
    assert "P(Ŷ)" not in opened.moved
    assert opened.since_low_tick <= 3 * 160 <= opened.since_high_tick
    assert 160 <= opened.opened_tick / 3 < 170
    assert closed.opened_tick == opened.opened_tick


@pytest.mark.parametrize("known", [True, False])
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=3))
def test_dump_and_load_at_any_cut_equals_no_cut(known: bool, cuts: list[int]) -> None:
    given_ = np.array(reference()) if known else None
    detector, told, start = ConceptDetector(BINARY, ALL, given_), [], 0
    for cut in [*sorted(cuts), len(world())]:
        told += fed(detector, list(world()[start:cut]), start)
        written = detector.dump()
        detector, start = ConceptDetector.load(BINARY, ALL, given_, written), cut
        assert detector.dump() == written
        assert detector.open_episodes() == ConceptDetector.load(BINARY, ALL, given_, written).open_episodes()
    assert tuple(told) == undisturbed(known)[0]
    assert detector.dump() == undisturbed(known)[1]


def test_state_of_others_is_refused() -> None:
    written = undisturbed(False)[1]
    with pytest.raises(StateError, match="fingerprint"):
        ConceptDetector.load(BINARY, ConceptSettings(), None, written)
    with pytest.raises(StateError, match="fingerprint"):
        ConceptDetector.load(BINARY, ALL, np.array(reference()), written)
    with pytest.raises(StateError, match="fingerprint"):
        ConceptDetector.load(OutcomeShape("binary", edges=(0.5,)), ALL, None, written)


def drawn(change: str, size: int = 6_000, before: int = 12_000, seed: int = 1) -> list[Int]:
    """Calibrated rows, and a change of known nature."""
    rng = np.random.default_rng(seed)
    score, label = calibrated(rng, before)
    if change == "harder rows":  # P(X): scores nearer to .5, labels as they say
        later = 0.5 + (calibrated(rng, size)[0] - 0.5) * 0.6
        after = later, (rng.random(size) < later) * 1.0
    elif change == "other labels":  # P(Y|X): labels turn round at random
        later, kept = calibrated(rng, size)
        turned = rng.random(size) < 0.25
        after = later, np.where(turned, 1 - kept, kept)
    elif change == "crossed":  # P(Y|X) without a new share of labels: 1 - p takes the place of p, mirrored
        later = rng.beta(1.0, 2.0, size)
        mirrored = np.sort(later)[::-1][np.argsort(np.argsort(later))]
        after = later, (rng.random(size) < mirrored) * 1.0
    else:  # every row of a score is another one
        later = np.clip(calibrated(rng, size)[0] * 0.25, 0, 1)
        after = later, (rng.random(size) < later) * 1.0
    return panes_of(np.append(score, after[0]), np.append(label, after[1]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("change", "told", "moved"),
    [
        ("harder rows", {"error": "mix", "log_loss": "mix", "label": "prior"}, {"P(Y)", "P(Ŷ)"}),
        ("other labels", {"error": "concept", "log_loss": "concept", "calibration": "concept"}, {"P(Y)", "P(Y|Ŷ)"}),
        ("crossed", {"error": "concept", "log_loss": "concept", "calibration": "concept"}, {"P(Y|Ŷ)"}),
        ("scores fall", {"error": "mix", "log_loss": "mix", "label": "prior"}, {"P(Y)", "P(Ŷ)"}),
    ],
)
def test_what_moved(change: str, told: dict[str, str], moved: set[str], seed: int) -> None:
    detector = ConceptDetector(BINARY, ConceptSettings(divisor=20.0))
    found = [t for t in fed(detector, drawn(change, seed=seed)) if t.status == "opened"]
    assert "error" in {t.column for t in found}
    assert all(told.get(t.column, "prior" if t.column == "label" else "") == t.what for t in found)
    for t in found:
        assert ("P(Y|Ŷ)" in t.moved) == ("P(Y|Ŷ)" in moved)
        assert ("P(Ŷ)" in t.moved) == ("P(Ŷ)" in moved)
    # with all labels since then it is certain
    assert set(detector.moved_since(3 * 240).names()) == moved


def test_without_labels_nothing_happens_and_time_goes_on() -> None:
    detector = ConceptDetector(BINARY, ConceptSettings())
    assert detector.update(4, np.zeros(BINARY.pairs, np.int64)) == []
    with pytest.raises(ValueError, match="pane 4 after pane 4"):
        detector.update(4, world()[0])


def test_state_is_bounded_by_the_logarithm_of_the_panes() -> None:
    detector, sizes = ConceptDetector(BINARY, ConceptSettings()), []
    for i in range(6_000):
        detector.update(i, world()[i % 60])
        if i in (1_000, 5_999):
            sizes.append(len(detector.dump()))
    assert sizes[1] < 1.6 * sizes[0] < 40_000

"""Which distribution moved: against scipy, and as often wrong as promised."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_history import CountHistory
from driftbus.detectors.concept_moved import explained, stratified, two_sample, what_moved
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.concept_view import ConceptView, Strata, concept_view, rates_of
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape

Int = NDArray[np.int64]
Float = NDArray[np.float64]

BINARY = OutcomeShape("binary", edges=tuple(i / 20 for i in range(1, 20)))
MULTI = OutcomeShape("multiclass", edges=tuple(i / 20 for i in range(1, 20)), classes=("a", "b", "c"))
VALUES = OutcomeShape("regression", edges=(-1.0, 0.0, 1.0), probability=False)


def pairs(shape: OutcomeShape, score: Float, guess: Int, label: Float) -> Int:
    cells, amounts = pair_cells(shape, score, guess, label)
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells.ravel(), amounts.ravel())
    return table


def told(shape: OutcomeShape, columns: tuple[Float, Int, Float], pane: int = 50) -> list[tuple[str, str, str, int]]:
    """(column, what, direction, row) of each opening."""
    detector, found = ConceptDetector(shape, ConceptSettings(divisor=50.0)), []
    for i in range(columns[0].size // pane):
        rows = slice(i * pane, (i + 1) * pane)
        said = detector.update(i, pairs(shape, columns[0][rows], columns[1][rows], columns[2][rows]))
        found += [(t.column, t.what, t.direction, (i + 1) * pane) for t in said if t.status == "opened"]
    return found


def test_two_samples_are_compared_as_scipy_does() -> None:
    before, after = np.array([40.0, 300.0, 60.0]), np.array([30.0, 90.0, 40.0])
    expected = stats.chi2_contingency(np.stack([before, after])).pvalue
    assert two_sample(before, after) == pytest.approx(expected)
    assert two_sample(before, after, design=2.0) == pytest.approx(stats.chi2.sf(stats.chi2.isf(expected, 2) / 2.0, 2))
    assert two_sample(before, np.zeros(3)) is None
    assert two_sample(np.array([5.0, 0.0]), np.array([9.0, 0.0])) is None


def test_one_stratum_is_mantel_and_haenszel() -> None:
    before, after = np.array([[70, 30]]), np.array([[20, 25]])
    counts0, counts1 = before.ravel(), after.ravel()
    n0, n1, m = 100, 45, 55
    law = stats.hypergeom(n0 + n1, m, n1)
    expected = stats.chi2.sf((25 - law.mean()) ** 2 / law.var(), 1)
    assert stratified(Strata(np.array([[0, 1]])), counts0, counts1) == pytest.approx(2 * expected)


def test_another_mix_of_scores_is_none_of_labels_given_scores() -> None:
    rng, view = np.random.default_rng(2), concept_view(BINARY, 0.01)
    wrong, seen = 0, 400
    for _ in range(seen):
        a, b = rng.beta(1, 3, 3_000), rng.beta(2, 2, 600)
        # constant inside a bin, so that bins are strata and nothing else differs
        before, after = (
            view.fold(pairs(BINARY, s, np.full(s.size, -1), (rng.random(s.size) < np.floor(s * 20) / 20 + 0.025) * 1.0))
            for s in (a, b)
        )
        moved = what_moved(view, before, after, 0.05)
        wrong += bool(moved.concept.moved)
        assert moved.prediction.moved
        assert moved.label.moved
    assert wrong / seen < 0.075  # .05 was promised; three standard errors more


def test_the_mix_explains_what_it_makes() -> None:
    view = concept_view(BINARY, 0.01)
    error = view.scores[0]
    grid = np.arange(40).reshape(20, 2) + 2  # channels of the bins
    before, harder, turned = (np.zeros(view.size, np.int64) for _ in range(3))
    before[grid[1]], before[grid[8]] = (900, 100), (600, 400)
    harder[grid[1]], harder[grid[8]] = (90, 10), (600, 400)
    turned[grid[1]], turned[grid[8]] = (600, 400), (600, 400)
    assert explained(view, error, before, harder) == pytest.approx(1, abs=0.02)
    assert explained(view, error, before, turned) == pytest.approx(0, abs=0.02)


def test_rates_of_empty_strata_are_their_neighbours() -> None:
    rates = rates_of(np.array([10.0, 0.0, 60.0]), np.array([100.0, 0.0, 100.0]), True)
    assert rates == pytest.approx([0.1, 0.35, 0.6], abs=0.01)
    assert rates_of(np.array([0.0, 50.0]), np.array([0.0, 100.0]), False)[0] == pytest.approx(0.5)


def classes(rng: np.random.Generator, size: int, hard: float) -> tuple[Float, Int, Float]:
    guess = rng.integers(0, 3, size)
    score = rng.beta(8.0, hard, size)
    label = np.where(rng.random(size) < score, guess, (guess + rng.integers(1, 3, size)) % 3)
    return score, guess, label.astype(np.float64)


def joined(*parts: tuple[Float, Int, Float]) -> tuple[Float, Int, Float]:
    score, guess, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    return score, guess, label


def test_of_classes_errors_and_their_reason() -> None:
    rng = np.random.default_rng(3)
    usual, harder = classes(rng, 5_000, 1.5), classes(rng, 3_000, 4.0)
    found = told(MULTI, joined(usual, harder))
    assert {(column, what) for column, what, _, _ in found} == {("error", "mix")}
    score, guess, label = classes(rng, 3_000, 1.5)
    exchanged = np.where(label == 0, 1.0, np.where(label == 1, 0.0, label))
    found = told(MULTI, joined(usual, (score, guess, exchanged)))
    assert ("error", "concept", "up") in {one[:3] for one in found}
    assert all(5_000 < row <= 5_200 for column, _, _, row in found if column == "error")


def test_a_predicted_class_of_its_own_does_not_make_another_mix_a_concept() -> None:
    shape = OutcomeShape("binary", edges=BINARY.edges, predicted=True)
    rng = np.random.default_rng(8)
    score = np.concatenate([rng.beta(1, 4, 6_000), rng.beta(1, 4, 4_000) * 0.5 + 0.25])
    guess, label = (score >= 0.5).astype(np.int64), (rng.random(score.size) < score) * 1.0
    found = told(shape, (score, guess, label))
    assert {("error", "mix"), ("label", "prior")} <= {(column, what) for column, what, _, _ in found}
    assert all(what != "concept" for _, what, _, _ in found)


def test_of_classes_without_scores_errors_are_seen() -> None:
    rng = np.random.default_rng(4)
    _, guess, label = joined(classes(rng, 4_000, 1.5), classes(rng, 2_000, 8.0))
    found = told(MULTI, (np.full(guess.size, np.nan), guess, label))
    assert found[0][0] == "error"
    assert 4_000 < found[0][3] <= 4_200


def numbers(rng: np.random.Generator, size: int, spread: float, bias: float) -> tuple[Float, Int, Float]:
    value = rng.standard_normal(size)
    return value, np.full(size, -1), value + spread * rng.standard_normal(size) - bias


@pytest.mark.parametrize(
    ("spread", "bias", "column", "direction"),
    [(0.4, 0.0, "mae", "up"), (0.1, 0.0, "mae", "down"), (0.2, 0.15, "bias", "up"), (0.2, -0.15, "bias", "down")],
)
def test_of_numbers_size_and_sign_of_errors(spread: float, bias: float, column: str, direction: str) -> None:
    rng = np.random.default_rng(5)
    found = told(VALUES, joined(numbers(rng, 5_000, 0.2, 0.0), numbers(rng, 2_000, spread, bias)))
    first = next(one for one in found if one[0] == column)
    assert (first[1], first[2]) == ("concept", direction)
    assert 5_000 < first[3] <= 5_400


def test_the_past_is_exact_where_it_is_near() -> None:
    history, counts = CountHistory(1), np.random.default_rng(1).integers(0, 9, (3_000, 1))
    for i, count in enumerate(counts):
        history.add(2 * i, count)
        if i % 97 == 0:
            marks = history.marks()
            assert [m[0] for m in marks] == sorted(m[0] for m in marks)
            assert sum(int(m[2][0]) for m in marks) == counts[: i + 1].sum()
            for back in (1, 4, min(i, 6) + 1):
                assert history.between(2 * (i + 1 - back), 2 * i + 1)[0] == counts[max(0, i + 1 - back) : i + 1].sum()
    assert len(history.marks()) < 9 * 12


def test_a_view_looks_at_every_labelled_row() -> None:
    rng = np.random.default_rng(6)
    for shape in (BINARY, MULTI, OutcomeShape("binary", edges=(0.5,), predicted=True)):
        view: ConceptView = concept_view(shape, 0.01)
        guess = rng.integers(0, shape.labels, 500)
        label = rng.integers(0, shape.labels, 500).astype(np.float64)
        score = np.where(guess == 1, 0.7, 0.2)
        n, mean, _ = view.scores[0].moments(view.fold(pairs(shape, score, guess, label)))
        assert n == 500
        assert mean == pytest.approx(
            np.mean(guess != label) if shape is not BINARY else np.mean((score >= 0.5) != label)
        )

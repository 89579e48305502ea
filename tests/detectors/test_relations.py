"""Relations: oracles of their parts, what is found and named, what a column's own drift does not do."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import chi2, rankdata
from sklearn.decomposition import PCA

from driftbus.detectors.copula import MISSING, scale_of, scored, scores
from driftbus.detectors.correlation import correlations, correlations_of, effect
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.haar import Haar
from driftbus.detectors.joint import JointWatch
from driftbus.detectors.joint_reference import reference_of
from driftbus.detectors.multivariate import features, kernel_test, mean_features, weighted_chi2_tail
from driftbus.detectors.profile import Profile
from driftbus.detectors.reconstruction import errors, principal, reconstruction
from driftbus.detectors.settings import Settings
from driftbus.detectors.sketches import RowSample, Sketches, SketchShape, shape_of
from driftbus.detectors.state import pack, select, unpack
from driftbus.detectors.verdict import Transition

from .synthetic import UNDIVIDED, Values, autoregressive, cells_of, profile_of

Rows = NDArray[np.float64]
PANE = 32


def table_of(profile: Profile, columns: dict[str, Values]) -> NDArray[np.uint16]:
    return np.array([cells_of(c, columns[c.name]) for c in profile.columns]).T.astype(np.uint16)


def named(rows: Rows) -> dict[str, Values]:
    return {f"c{i}": rows[:, i] for i in range(rows.shape[1])}


def said(reference: Rows, stream: Rows, *, ordered: bool = False) -> list[tuple[int, Transition]]:
    profile = profile_of(named(reference), ordered=ordered)
    known = reference_of(profile)
    assert known is not None
    watch, cells = JointWatch(known, UNDIVIDED), table_of(profile, named(stream))
    return [
        (at + PANE, transition)
        for at in range(0, cells.shape[0], PANE)
        for transition in watch.update(at // PANE, cells[at : at + PANE])
    ]


def correlated(rng: np.random.Generator, n: int, r: float, columns: int = 6) -> Rows:
    rows = rng.standard_normal((n, columns))
    rows[:, 1] = r * rows[:, 0] + np.sqrt(1 - r * r) * rows[:, 1]
    return rows


class TestParts:
    def test_scores_are_the_normal_scores_of_ranks(self) -> None:
        rng = np.random.default_rng(1)
        x = rng.choice(np.arange(50.0), 4_000)
        profile = profile_of({"x": x, "y": rng.standard_normal(4_000)})
        scale = scale_of(profile)
        assert scale is not None
        assert profile.sample is not None
        levels = scale.of_cells(table_of(profile, {"x": x, "y": x}).astype(np.int64))
        z = scored(levels, scores(scale.counts(levels)))[:, 0]
        expected = ndtri(np.clip((rankdata(x) - 0.5) / x.size, 1 / 256, 1 - 1 / 256))
        assert z == pytest.approx((expected - expected.mean()) / expected.std(), abs=1e-9)

    def test_missing_values_have_no_score_and_frequent_nulls_are_a_series(self) -> None:
        rng = np.random.default_rng(2)
        x = np.where(rng.random(3_000) < 0.3, np.nan, rng.standard_normal(3_000))
        words = ["a" if v > 0 else "b" if v > -1 else "c" for v in rng.standard_normal(3_000)]
        columns: dict[str, Values] = {"x": x, "word": list(words)}
        profile = profile_of(columns)
        scale = scale_of(profile)
        assert scale is not None
        assert [series.name for series in scale.series] == ["x", "x is null", "word"]
        levels = scale.of_cells(table_of(profile, columns).astype(np.int64))
        assert ((levels[:, 0] == MISSING) == np.isnan(x)).all()
        z = scored(levels, scores(scale.counts(levels)))
        assert (z[np.isnan(x), 0] == 0).all()
        assert z[:, 1:].mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
        assert z[:, 1:].std(axis=0) == pytest.approx([1, 1])
        assert set(levels[:, 2].tolist()) == {0, 1}  # the most frequent category against the others
        assert correlations_of(z, scale.at).first.size == 2  # a column makes no pair with its own nulls

    def test_correlations_are_those_of_numpy_over_the_rows_that_have_both(self) -> None:
        rng = np.random.default_rng(3)
        z = correlated(rng, 500, 0.6, 4)
        z = z - z.mean(axis=0)
        first, second = np.triu_indices(4, 1)
        z /= z.std(axis=0)
        assert correlations(z, first, second) == pytest.approx(np.corrcoef(z.T)[first, second])
        missing = z.copy()
        missing[rng.random(z.shape) < 0.2] = 0.0
        both = [(missing[:, a] != 0) & (missing[:, b] != 0) for a, b in zip(first, second, strict=True)]
        expected = [
            np.sum(z[k, a] * z[k, b]) / np.sqrt(np.sum(z[k, a] ** 2) * np.sum(z[k, b] ** 2))
            for k, a, b in zip(both, first, second, strict=True)
        ]
        assert correlations(missing, first, second) == pytest.approx(np.array(expected))

    def test_influence_of_a_normal_pair_is_known(self) -> None:
        z = correlated(np.random.default_rng(4), 200_000, 0.6, 2)
        pairs = correlations_of(z, np.arange(2))
        assert pairs.influence[0] == pytest.approx((1 - 0.36) ** 2, rel=0.03)
        assert pairs.v[0] == pytest.approx(1.0, rel=0.03)

    def test_effect_is_the_symmetrised_divergence_of_normal_distributions(self) -> None:
        a, b = (np.array([[1, r], [r, 1]]) for r in (0.1, 0.6))
        expected = 0.5 * np.trace(np.linalg.inv(a) @ b + np.linalg.inv(b) @ a) - 2
        assert effect(np.array([0.1]), np.array([0.6]))[0] == pytest.approx(expected)

    def test_features_are_cosines_and_sines(self) -> None:
        rng = np.random.default_rng(5)
        z, w = rng.standard_normal((50, 3)) * 4, rng.standard_normal((3, 8))
        expected = np.hstack([np.cos(z @ w), np.sin(z @ w)])
        assert features(z, w) == pytest.approx(expected, abs=1e-7)
        assert mean_features(z, w) == pytest.approx(expected.mean(axis=0), abs=1e-7)

    def test_mean_features_give_the_discrepancy_that_all_pairs_of_rows_give(self) -> None:
        rng = np.random.default_rng(6)
        x, y = rng.standard_normal((150, 3)), correlated(rng, 150, 0.9, 3)

        def kernel(a: Rows, b: Rows) -> float:
            return float(np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / 6).mean())

        direct = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
        w = rng.standard_normal((3, 20_000)) / np.sqrt(3)
        d = mean_features(x, w) - mean_features(y, w)
        assert float(d @ d) / w.shape[1] == pytest.approx(direct, rel=0.05)

    @pytest.mark.parametrize("p", [1e-2, 1e-4, 1e-8])
    def test_the_tail_of_equal_weights_is_that_of_chi_squared(self, p: float) -> None:
        x = float(chi2.isf(p, 30))
        assert weighted_chi2_tail(np.full(30, 2.0), 2 * x) == pytest.approx(p, rel=0.02)

    def test_the_tail_of_unequal_weights_is_that_of_simulation(self) -> None:
        weights = 1 / np.arange(1, 20)
        sums = np.random.default_rng(7).chisquare(1, (400_000, weights.size)) @ weights
        for x in np.quantile(sums, [0.9, 0.99, 0.999]):
            assert weighted_chi2_tail(weights, float(x)) == pytest.approx((sums > x).mean(), rel=0.15)

    def test_the_whitened_statistic_has_its_expectation_without_drift(self) -> None:
        rng, seen = np.random.default_rng(8), []
        for seed in range(12):
            test = kernel_test(_ranked(correlated(rng, 2_000, 0.5)), seed)
            mean = mean_features(_ranked(correlated(rng, 1_000, 0.5)), test.frequencies)
            seen.append(test.statistic(mean, 1 / 1_000 + 1 / 2_000) / test.expected)
        assert np.mean(seen) == pytest.approx(1.0, abs=0.1)
        assert test.threshold(1e-6) == pytest.approx(test.expected * 1.75, rel=0.15)
        assert test.p_value(test.threshold(1e-6)) == pytest.approx(1e-6, rel=0.05)

    def test_components_and_errors_are_those_of_scikit_learn(self) -> None:
        z = _ranked(correlated(np.random.default_rng(9), 1_000, 0.8))
        pca = PCA(n_components=3).fit(z)
        rest = z - pca.inverse_transform(pca.transform(z))
        assert errors(z, principal(z, 3)) == pytest.approx((rest**2).sum(axis=1), abs=1e-8)

    def test_scores_of_errors_are_standard_on_rows_that_were_not_in_the_reference(self) -> None:
        rng = np.random.default_rng(10)
        rebuilt = reconstruction(_ranked(rng.standard_normal((2_000, 12))))
        assert rebuilt is not None
        fresh = rebuilt.scores(_ranked(rng.standard_normal((20_000, 12))))
        assert abs(fresh.mean()) < 0.07
        assert fresh.std() == pytest.approx(1.0, abs=0.05)
        assert reconstruction(rng.standard_normal((500, 2))) is None

    def test_design_of_independent_vectors_is_one_and_of_autoregressive_ones_what_theory_says(self) -> None:
        rng = np.random.default_rng(11)
        for rho, least, most in ((0.0, 1.0, 1.0), (0.8, 6.0, 12.0)):
            rows = np.array([autoregressive(rng, 60_000, rho) for _ in range(8)]).T
            haar = Haar(8, 8.0, 8.0)
            for block in np.split(rows, 480):
                haar.learn(float(block.shape[0]), block.sum(axis=0))
            design, freedom = haar.design(5_000.0)
            assert least <= design <= most
            assert 1.0 <= freedom <= 8.0


class TestWhatIsFound:
    def test_a_changed_correlation_is_found_named_dated_and_over_when_it_is_back(self) -> None:
        rng = np.random.default_rng(20)
        stream = np.vstack([correlated(rng, n, r) for n, r in ((8_000, 0.0), (8_000, 0.5), (12_000, 0.0))])
        told = said(correlated(rng, 10_000, 0.0), stream)
        (row, opened), (back, closed) = told[0], told[-1]
        assert {t.column for _, t in told} == {"c0 × c1"}
        assert [t.status for _, t in told if t.status in ("opened", "closed")] == ["opened", "closed"], "told twice"
        assert (opened.status, opened.aspect, opened.what, opened.direction) == (
            "opened",
            "relation",
            "correlation",
            "up",
        )
        assert 8_000 < row < 8_900
        assert opened.reference_value == pytest.approx(0, abs=0.1)
        assert opened.current_value is not None
        assert opened.since_low_tick * PANE <= 8_000 + 2 * PANE
        assert opened.since_high_tick * PANE >= 8_000 - 2 * PANE
        assert opened.p_value is not None
        assert opened.p_value < 1e-6
        assert closed.status == "closed"
        assert 16_500 < back < 19_000
        assert [t.severity for _, t in told if t.status == "escalated"][-1:] in (["moderate"], ["severe"])

    def test_a_correlation_that_goes_is_one_story_with_all_its_pairs(self) -> None:
        rng = np.random.default_rng(21)
        common = lambda n, r: np.sqrt(r) * rng.standard_normal((n, 1)) + np.sqrt(1 - r) * rng.standard_normal((n, 6))  # noqa: E731
        stream = common(10_000, 0.5)
        stream[5_000:, 0] = rng.standard_normal(5_000)
        opened = [t for _, t in said(common(10_000, 0.5), stream) if t.status == "opened"]
        assert next(t.what for t in opened) == "correlation"
        assert "c0" in opened[0].column.split(" × ")
        assert opened[0].direction == "down"
        assert len(opened) == 1

    def test_columns_that_are_turned_together_are_found_and_those_of_it_named(self) -> None:
        rng = np.random.default_rng(22)

        def three(n: int, dependent: bool) -> Rows:
            rows = rng.standard_normal((n, 5))
            if dependent:  # the sign of the third is that of the first two: no pair is correlated
                rows[:, 2] = np.abs(rows[:, 2]) * np.sign(rows[:, 0] * rows[:, 1])
            return rows

        opened = [t for _, t in said(three(10_000, False), np.vstack([three(6_000, False), three(14_000, True)]))]
        assert [(t.what, t.column, t.aspect) for t in opened][:1] == [("joint", "", "relation")]
        assert set(opened[0].among) == {"c0", "c1", "c2"}

    def test_nothing_is_said_without_drift(self) -> None:
        rng = np.random.default_rng(23)
        assert not said(rng.standard_normal((10_000, 8)), rng.standard_normal((40_000, 8)))

    def test_autocorrelation_is_no_drift(self) -> None:
        rng = np.random.default_rng(24)
        slow: Callable[[int], Rows] = lambda n: np.array([autoregressive(rng, n, 0.9) for _ in range(6)]).T  # noqa: E731
        assert not said(slow(10_000), slow(30_000))
        assert not said(slow(10_000), slow(10_000), ordered=True)

    @pytest.mark.parametrize(("columns", "shift"), [(1, 3.0), (3, 0.5), (6, 0.2), (6, 1.0), (6, 3.0)])
    def test_drift_of_columns_themselves_is_no_relation(self, columns: int, shift: float) -> None:
        rng = np.random.default_rng(25)
        stream = correlated(rng, 14_000, 0.6)
        stream[7_000:, :columns] += shift
        assert not said(correlated(rng, 10_000, 0.6), stream)

    @pytest.mark.parametrize("columns", [2, 6])
    def test_values_that_go_missing_are_no_relation(self, columns: int) -> None:
        rng = np.random.default_rng(23)
        stream = rng.standard_normal((12_000, columns))
        stream[4_000:, 0][rng.random(8_000) < 0.3] = np.nan
        assert said(rng.standard_normal((6_000, columns)), stream) == []

    def test_columns_that_spread_together_are_no_relation(self) -> None:
        rng = np.random.default_rng(26)
        stream = rng.standard_normal((12_000, 6))
        stream[6_000:] *= 1.7
        assert not said(rng.standard_normal((10_000, 6)), stream)


class TestLaws:
    def test_the_same_at_any_cut_and_as_part_of_a_group(self) -> None:
        whole = _fed([])
        assert any(t.aspect == "relation" for t in whole[0])
        assert _fed([])[1] == whole[1]

    @settings(max_examples=6, deadline=None)
    @given(st.lists(st.integers(0, 200), max_size=3))
    def test_dump_and_load_at_any_cut_equals_no_cut(self, cuts: list[int]) -> None:
        assert _fed(sorted(cuts)) == _fed([])

    def test_a_group_without_sampled_rows_or_told_not_to_says_nothing(self) -> None:
        profile, cells = _world()
        shape = shape_of(profile, 64)
        quiet = GroupDetector(profile, Settings(pane_ms=1_000, relations=False))
        for tick in range(200):
            part = cells[tick * 50 : tick * 50 + 50]
            told = quiet.update(tick, _counts(profile, part), 50, _sketches(shape, part))
            assert not [t for t in told if t.aspect == "relation"]

    def test_state_is_bounded(self) -> None:
        profile, cells = _world()
        known = reference_of(profile)
        assert known is not None
        watch = JointWatch(known, UNDIVIDED)
        sizes = []
        for tick in range(400):
            watch.update(tick, cells[tick % 150 * 50 : tick % 150 * 50 + 50])
            sizes.append(sum(array.nbytes for array in watch.arrays().values()))
        assert len(set(sizes)) == 1
        written = pack("joint", "x", watch.arrays())
        again = JointWatch(known, UNDIVIDED)
        again.restore(select({f"j.{k}": v for k, v in unpack("joint", "x", written).items()}, "j", again.arrays()))
        assert pack("joint", "x", again.arrays()) == written


def test_columns_of_few_values_alone_are_watched_in_pairs() -> None:
    rng = np.random.default_rng(31)
    rows = rng.integers(0, 3, (9_000, 3)).astype(float)
    same = rows.copy()
    same[4_000:, 1] = same[4_000:, 0]
    assert said(rows[:2_000], rows[2_000:]) == []  # this seed's components of the halves differ by much
    assert {t.column for _, t in said(rows[:2_000], same[2_000:])} >= {"c0 × c1"}


def _ranked(x: Rows) -> Rows:
    z = ndtri(np.clip((np.apply_along_axis(rankdata, 0, x) - 0.5) / len(x), 1 / 256, 1 - 1 / 256))
    return np.asarray((z - z.mean(axis=0)) / z.std(axis=0))


@lru_cache
def _world() -> tuple[Profile, NDArray[np.uint16]]:
    rng = np.random.default_rng(30)
    reference = named(correlated(rng, 5_000, 0.0, 4))
    stream = np.vstack([correlated(rng, 4_000, 0.0, 4), correlated(rng, 6_000, 0.7, 4)])
    profile = profile_of(reference)
    return profile, table_of(profile, named(stream))


def _counts(profile: Profile, cells: NDArray[np.uint16]) -> NDArray[np.int64]:
    layout = profile.layout()
    return np.bincount((cells + layout.offsets).ravel(), minlength=layout.total).astype(np.int64)


def _sketches(shape: SketchShape, cells: NDArray[np.uint16]) -> Sketches:
    marks = np.zeros((cells.shape[0], len(shape.marked)), np.uint16)
    return Sketches(shape, RowSample(np.arange(cells.shape[0], dtype=np.uint64), cells, marks))


def _fed(cuts: list[int]) -> tuple[tuple[Transition, ...], bytes]:
    profile, cells = _world()
    shape, group, told, start = shape_of(profile, 64), GroupDetector(profile, UNDIVIDED), [], 0
    for cut in [*cuts, 200]:
        for tick in range(start, cut):
            part = cells[tick * 50 : tick * 50 + 50]
            told += group.update(tick, _counts(profile, part), 50, _sketches(shape, part))
        start = max(start, cut)
        group = GroupDetector.load(profile, UNDIVIDED, group.dump())
    return tuple(told), group.dump()

"""ADWIN at weight 1 is river's; with weights, a reference and long-run variance it is better behaved."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from river import drift

from driftbus.detectors.adwin import AdwinAlarm, AdwinBank, AdwinRules

from .synthetic import autoregressive

Values = NDArray[np.float64]


def river_alarms(values: NDArray[np.float64], delta: float = 0.002, clock: int = 32) -> list[int]:
    detector, alarms = drift.ADWIN(delta=delta, clock=clock), []
    for i, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(i)
    return alarms


def run(
    bank: AdwinBank, n: NDArray[np.float64], total: NDArray[np.float64], m2: NDArray[np.float64]
) -> list[AdwinAlarm]:
    """Panes of all scores, [pane, score] each; the tick is the number of the pane."""
    return [alarm for i in range(len(n)) for alarm in bank.update(i, n[i], total[i], m2[i])]


def own_alarms(values: NDArray[np.float64], delta: float = 0.002, clock: int = 32) -> list[list[int]]:
    """Ticks of the alarms of [value, series], one value per pane, without additions."""
    ticks: list[list[int]] = [[] for _ in range(values.shape[1])]
    bank = AdwinBank(np.full(values.shape[1], delta), AdwinRules(clock=clock, longrun=False))
    one, zero = np.ones(values.shape[1]), np.zeros(values.shape[1])
    for i, row in enumerate(values):
        for alarm in bank.update(i, one, row, zero):
            ticks[alarm.score].append(i)
    return ticks


def panes(values: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], ...]:
    """(n, sum, M2) of [value, series] in panes of `size` values."""
    blocks = values[: len(values) // size * size].reshape(-1, size, values.shape[1])
    return (
        np.full(blocks.shape[::2], float(size)),
        blocks.sum(1),
        ((blocks - blocks.mean(1, keepdims=True)) ** 2).sum(1),
    )


def seeded(seed: int, size: int = 4_000) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    base = [
        lambda: rng.normal(size=size),
        lambda: (rng.random(size) < 0.1) * 1.0,
        lambda: rng.standard_cauchy(size),
        lambda: rng.normal(size=size).cumsum(),
        lambda: np.round(rng.random(size), 3),
        lambda: np.sin(np.arange(size) / 300) + rng.normal(size=size),
    ][seed % 6]()
    return np.asarray(base + np.repeat(rng.normal(size=8) * 0.5, size // 8), np.float64)


def test_rivers_documented_stream() -> None:
    rng = random.Random(12345)
    stream = np.array(rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000), np.float64)
    assert own_alarms(stream[:, None]) == [[1023]] == [river_alarms(stream)]


def test_rivers_seeded_streams_of_its_suite() -> None:
    rng = random.Random(42)
    streams = [
        [rng.gauss(0, 1) for _ in range(2000)] + [rng.gauss(1, 1) for _ in range(2000)],
        [rng.random() for _ in range(2000)] + [rng.random() / 2 for _ in range(2000)],
        rng.choices([0, 1], weights=[0.8, 0.2], k=2000) + rng.choices([0, 1], weights=[0.2, 0.8], k=2000),
    ]
    values = np.array(streams, np.float64).T
    assert own_alarms(values) == [river_alarms(column) for column in values.T]


def test_fifty_seeded_streams_alarm_where_river_does() -> None:
    values = np.column_stack([seeded(seed) for seed in range(50)])
    expected = [river_alarms(column) for column in values.T]
    assert own_alarms(values) == expected
    assert sum(map(len, expected)) > 100


@pytest.mark.parametrize(("delta", "clock"), [(0.1, 1), (0.0001, 100)])
def test_equal_to_river_with_other_parameters(delta: float, clock: int) -> None:
    values = np.column_stack([seeded(seed, 2_000) for seed in range(100, 106)])
    assert own_alarms(values, delta, clock) == [river_alarms(column, delta, clock) for column in values.T]


@pytest.mark.parametrize(("shift", "slowest"), [(0.25, 1_100), (0.5, 350), (1.0, 130)])
def test_delay_and_change_point(shift: float, slowest: int) -> None:
    rng, before, series = np.random.default_rng(1), 5_013, 20
    values = rng.standard_normal((20_000, series))
    values[before:] += shift
    reference = (np.full(series, 10_000.0), np.zeros(series), np.full(series, 10_000.0))
    alarms = run(AdwinBank(np.full(series, 0.002), reference=reference), *panes(values, 32))
    covered = 0
    for score in range(series):
        first = next(alarm for alarm in alarms if alarm.score == score)
        assert before / 32 < first.since_high
        assert first.statistic > first.threshold
        assert first.p_value < 0.002
        assert abs(first.since * 32 - before) < slowest
        covered += first.since_low * 32 <= before <= first.since_high * 32 + 32
    assert covered >= series - 2


def test_delay_of_the_alarm_itself() -> None:
    rng, before, series = np.random.default_rng(2), 5_000, 40
    values = rng.standard_normal((8_000, series))
    values[before:] += 0.5
    n, total, m2 = panes(values, 32)
    bank = AdwinBank(np.full(series, 0.002), reference=(np.full(series, 1e4), np.zeros(series), np.full(series, 1e4)))
    delays: dict[int, int] = {}
    for i in range(len(n)):
        for alarm in bank.update(i, n[i], total[i], m2[i]):
            delays.setdefault(alarm.score, (i + 1) * 32 - before)
    assert len(delays) == series
    assert min(delays.values()) > 0
    assert np.median(list(delays.values())) < 180


def test_autocorrelation_is_not_drift() -> None:
    values = np.column_stack([autoregressive(np.random.default_rng(seed), 60_000, 0.9) for seed in range(4)])
    delta = np.full(4, 0.002)
    assert len(run(AdwinBank(delta, AdwinRules(longrun=False)), *panes(values, 32))) > 50
    assert len(run(AdwinBank(delta), *panes(values, 32))) <= 4  # the first hours, before it is learned


def test_the_reference_shows_a_stream_that_is_off_from_its_first_row() -> None:
    values = np.random.default_rng(3).standard_normal((3_000, 1)) + 0.5
    reference = (np.array([50_000.0]), np.array([0.0]), np.array([50_000.0]))
    assert not run(AdwinBank(np.array([0.002])), *panes(values, 32))
    first = run(AdwinBank(np.array([0.002]), reference=reference), *panes(values, 32))[0]
    assert (first.since, first.since_low) == (0, 0)
    assert first.before_n >= 50_000


def test_a_rare_new_event_from_the_first_row_is_found() -> None:
    values = (np.random.default_rng(4).random((6_000, 1)) < 0.01) * 1.0
    reference = (np.array([50_000.0]), np.array([0.0]), np.array([0.0]))
    assert run(AdwinBank(np.array([0.005]), reference=reference), *panes(values, 32))


def test_panes_of_any_size_and_empty_ones() -> None:
    rng = np.random.default_rng(5)
    bank, alarms = AdwinBank(np.array([0.002])), []
    for tick, size in enumerate(rng.choice([0, 1, 7, 300], 4_000)):
        values = rng.standard_normal(size) + (1.0 if tick > 3_500 else 0.0)
        m2 = values.var() * size if size else 0.0
        alarms += bank.update(tick, np.array([float(size)]), np.array([values.sum()]), np.array([m2]))
    assert [abs(alarm.since - 3_501) <= 4 for alarm in alarms] == [True]


def test_state_stays_bounded() -> None:
    bank, one = AdwinBank(np.array([0.002])), np.ones(1)
    for tick in range(60_000):
        bank.update(tick, one, np.array([float(tick % 2)]), np.zeros(1))
    assert sum(array.nbytes for array in bank.arrays().values()) < 5_000


def cubed(rng: np.random.Generator, size: int, rho: float) -> Values:
    """Series of AR(1), [value, series], as the skewness score sees them: the third Hermite polynomial, at most 4.9."""
    x = np.stack([autoregressive(rng, size, rho) for _ in range(120)], axis=1)
    return np.clip((x**3 - 3 * x) / np.sqrt(6), -7.7, 7.7) * 4.9 / 7.7


def test_where_the_tails_of_autocorrelated_cubes_count_few_excursions_are_no_change() -> None:
    def alarms(rho: float, delta: float, reach: float) -> list[tuple[int, int]]:
        values = cubed(np.random.default_rng(9), 12_000, rho)
        size, v = values.shape[1], values.var()
        steps = np.array([[8.0, 3.5 * v], [32.0, 6 * v], [128.0, 7 * v]]) if rho else np.zeros((1, 2))
        bank = AdwinBank(
            np.full(size, delta),
            reference=(np.full(size, 10_000.0), np.zeros(size), np.full(size, 10_000 * v)),
            static=np.tile(steps, (size, 1, 1)),
            clustered=np.ones(size, np.bool_),
            reach=np.full(size, reach),
        )
        return [(alarm.score, alarm.since) for alarm in run(bank, *panes(values, 32))]

    assert len(alarms(0.9, 5e-6, 1.0)) >= 10
    assert len(alarms(0.9, 5e-6, 4.9)) <= 3
    assert alarms(0.0, 1e-3, 4.9) == alarms(0.0, 1e-3, 1.0)

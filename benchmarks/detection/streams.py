"""Simulated streams with public seeds: without drift (`NULLS`), and with one change (`CHANGES`).

Numbers are float64 with NaN for null, categories are int64 codes. The same name and seed give the
same values on every machine that has the same numpy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Values = NDArray[np.float64] | NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Values]

REFERENCE_ROWS = 10_000
PANE = 32


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of values without drift.

    Args:
        draw: n values in order of time.
        ordered: whether they depend on their predecessors; then the reference is given as ordered too.
        row_s: seconds from row to row.
        reference_rows: rows before the stream begins.
    """

    draw: Draw
    ordered: bool = False
    row_s: float = 0.1
    reference_rows: int = REFERENCE_ROWS


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a stream.

    Args:
        base: name in `NULLS` of what the stream is before.
        after: the values from the change on, given those without it.
        before: rows before the change, up to its phase inside a pane.
        gradual: whether it takes its time; then its delay counts from its beginning.
    """

    base: str
    after: Callable[[np.random.Generator, Values], Values]
    before: int = 5_000
    gradual: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    Args:
        reference, values: the rows before the stream, and the stream.
        change: first row that is changed, None without a change.
        ordered, row_s: see `Stream`.
    """

    reference: Values
    values: Values
    change: int | None
    ordered: bool
    row_s: float


def sample(name: str, seed: int, rows: int) -> Sample:
    """One run of a stream of `NULLS` or `CHANGES`.

    The change's phase inside a pane of 32 is random, and so is the first row's in a cycle.

    Args:
        name: a key of either.
        seed: another one gives other values.
        rows: length of the stream; of one with a change: rows from the change on.
    """
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    change = CHANGES.get(name)
    stream = NULLS[change.base if change else name]
    if change is None:
        values = stream.draw(rng, stream.reference_rows + rows)
        return Sample(
            values[: stream.reference_rows], values[stream.reference_rows :], None, stream.ordered, stream.row_s
        )
    start = change.before + int(rng.integers(PANE)) if change.before else 0
    values = stream.draw(rng, stream.reference_rows + start + rows)
    reference, values = values[: stream.reference_rows], values[stream.reference_rows :].copy()
    values[start:] = change.after(rng, values[start:])
    return Sample(reference, values, start, stream.ordered, stream.row_s)


def bernoulli(p: float) -> Draw:
    return lambda rng, n: (rng.random(n) < p).astype(np.float64)


def categories(*shares: float) -> Draw:
    return lambda rng, n: np.searchsorted(np.cumsum(shares)[:-1], rng.random(n), side="right").astype(np.int64)


def zipf(kinds: int) -> Draw:
    shares = 1 / np.arange(1, kinds + 1)
    return categories(*(shares / shares.sum()))


def autoregressive(rho: float) -> Draw:
    """AR(1) with variance 1."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        noise = rng.standard_normal(n) * np.sqrt(1 - rho * rho)
        noise[0] = rng.standard_normal()
        return np.asarray(lfilter([1.0], [1.0, -rho], noise), np.float64)

    return draw


def regimes(length: int, *, random: bool) -> Draw:
    """Two levels one standard deviation apart, in turn, for `length` values (on average)."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        if random:
            level = np.cumsum(rng.random(n) < 1 / length) % 2
        else:
            level = (np.arange(n) + int(rng.integers(2 * length))) // length % 2
        return np.asarray(rng.standard_normal(n) + level, np.float64)

    return draw


def garch(rng: np.random.Generator, n: int) -> Values:
    """GARCH(1, 1) with alpha .1, beta .88 and variance 1: volatility clusters of some 50 values."""
    z, x, h = rng.standard_normal(n), np.empty(n), 1.0
    for i in range(n):
        x[i] = z[i] * np.sqrt(h)
        h = 0.02 + 0.1 * x[i] * x[i] + 0.88 * h
    return x


def nulls(p: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Values:
        x = rng.standard_normal(n)
        x[rng.random(n) < p] = np.nan
        return x

    return draw


def outliers(rng: np.random.Generator, n: int) -> Values:
    return np.asarray(rng.standard_normal(n) * np.where(rng.random(n) < 0.001, 50.0, 1.0), np.float64)


def mostly_zeros(rng: np.random.Generator, n: int) -> Values:
    return np.where(rng.random(n) < 0.005, rng.exponential(1.0, n), 0.0)


MINUTE_S = 60.0
DAY_ROWS = 1_440


def daily(amplitude: float) -> Draw:
    """A row a minute, and a sine of a day."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        wave = amplitude * np.sin(2 * np.pi * (np.arange(n) / DAY_ROWS + rng.random()))
        return np.asarray(rng.standard_normal(n) + wave, np.float64)

    return draw


def weekly(rng: np.random.Generator, n: int) -> Values:
    """A row a minute, a sine of a day, and one standard deviation less on two days of the week."""
    day = np.arange(n) / DAY_ROWS
    wave = np.sin(2 * np.pi * day) - (day % 7 >= 5)
    return np.asarray(rng.standard_normal(n) + wave, np.float64)


IID = {
    "bernoulli_.05": Stream(bernoulli(0.05)),
    "bernoulli_.2": Stream(bernoulli(0.2)),
    "bernoulli_.5": Stream(bernoulli(0.5)),
    "uniform": Stream(lambda rng, n: rng.random(n)),
    "gauss": Stream(lambda rng, n: rng.standard_normal(n)),
    "exponential": Stream(lambda rng, n: rng.exponential(1.0, n)),
    "t2": Stream(lambda rng, n: rng.standard_t(2, n)),
    "cauchy": Stream(lambda rng, n: rng.standard_cauchy(n)),
    "lognormal": Stream(lambda rng, n: rng.lognormal(0.0, 1.0, n)),
    "outliers_50": Stream(outliers),
}
"""The independent families of the promise."""

NULLS: dict[str, Stream] = IID | {
    "three_values": Stream(lambda rng, n: np.asarray(categories(0.98, 0.015, 0.005)(rng, n), np.float64)),
    "integers_10": Stream(lambda rng, n: rng.integers(0, 10, n).astype(np.float64)),
    "mostly_zeros": Stream(mostly_zeros),
    "nulls_.01": Stream(nulls(0.01)),
    "two_categories": Stream(categories(0.5, 0.5)),
    "categories_8": Stream(categories(0.3, 0.15, 0.15, 0.1, 0.1, 0.1, 0.05, 0.05)),
    "categories_50": Stream(zipf(50)),
    "flag_.999": Stream(bernoulli(0.999)),
    "ar_.5": Stream(autoregressive(0.5), ordered=True),
    "ar_.9": Stream(autoregressive(0.9), ordered=True),
    "ar_.95": Stream(autoregressive(0.95), ordered=True),
    "regimes_500": Stream(regimes(500, random=False), ordered=True),
    "regimes_500_random": Stream(regimes(500, random=True), ordered=True),
    "garch": Stream(garch, ordered=True),
    "daily_sine": Stream(daily(1.0), ordered=True, row_s=MINUTE_S, reference_rows=7 * DAY_ROWS),
    "weekdays": Stream(weekly, ordered=True, row_s=MINUTE_S, reference_rows=21 * DAY_ROWS),
    "category_.15": Stream(categories(0.5, 0.2, 0.15, 0.15)),
    "categories_50k": Stream(categories(0.5, 0.3, 0.2), reference_rows=50_000),
}
"""Streams without drift."""


def shifted(by: float) -> Callable[[np.random.Generator, Values], Values]:
    return lambda rng, x: x + by


def scaled(by: float) -> Callable[[np.random.Generator, Values], Values]:
    return lambda rng, x: x * by


def ramped(to: float, rows: int) -> Callable[[np.random.Generator, Values], Values]:
    return lambda rng, x: x + to * np.minimum(1.0, np.arange(x.size) / rows)


def drawn(draw: Draw) -> Callable[[np.random.Generator, Values], Values]:
    return lambda rng, x: draw(rng, x.size)


def two_modes(a: float) -> Draw:
    """Two normal distributions at ±a, mean 0 and variance 1 altogether."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        side = rng.integers(0, 2, n) * 2 - 1
        return np.asarray(a * side + np.sqrt(1 - a * a) * rng.standard_normal(n), np.float64)

    return draw


def new_category(p: float) -> Callable[[np.random.Generator, Values], Values]:
    return lambda rng, x: np.where(rng.random(x.size) < p, 99, x)


CHANGES: dict[str, Change] = {
    "shift_.1": Change("gauss", shifted(0.1)),
    "shift_.25": Change("gauss", shifted(0.25)),
    "shift_.5": Change("gauss", shifted(0.5)),
    "shift_1": Change("gauss", shifted(1.0)),
    "sd_x1.5": Change("gauss", scaled(1.5)),
    "variance_x1.5": Change("gauss", scaled(1.5**0.5)),
    "sd_x.67": Change("gauss", scaled(0.67)),
    "ramp_1_10k": Change("gauss", ramped(1.0, 10_000), gradual=True),
    "nulls_.05": Change("nulls_.01", drawn(nulls(0.05))),
    "nulls_.2": Change("nulls_.01", drawn(nulls(0.2))),
    "category_.15_.10": Change("category_.15", drawn(categories(*(0.9 / 0.85 * p for p in (0.5, 0.2, 0.15)), 0.1))),
    "ratio_.50_.55": Change("bernoulli_.5", drawn(bernoulli(0.55))),
    "modes_.85": Change("gauss", drawn(two_modes(0.85))),
    "skew": Change("gauss", drawn(lambda rng, n: (rng.gamma(4.0, 1.0, n) - 4) / 2)),
    "t3": Change("gauss", drawn(lambda rng, n: rng.standard_t(3, n) / np.sqrt(3))),
    "flag_to_.5": Change("flag_.999", drawn(bernoulli(0.5))),
    "new_category": Change("categories_50k", new_category(0.008), before=0),
    "zeros_x5": Change("mostly_zeros", scaled(5.0)),
    "shift_1_ar_.95": Change("ar_.95", shifted(1.0)),
    "daily_sine_shift_.5": Change("daily_sine", shifted(0.5), before=14 * DAY_ROWS),
}
"""Streams with one change."""

"""Maximum mean discrepancy of the columns together, from random Fourier features, whitened.

phi(z) = (cos w'z, sin w'z) for m/2 random frequencies w ~ N(0, I / s) on the normal scores of s columns:
the mean of phi is, in the limit, all of a distribution (Gaussian kernel at the median distance). With
d = mean of the window - mean of the reference, Sigma the covariance of phi in the reference's sample
after regression on each column's own score and square (ranking takes the margins out),

    T = d' (Sigma + gamma I)^-1 d / (D (1/N + 1/R) + 1/M),   gamma = tr(Sigma) / 20 m.

Without drift T is a sum of chi-squared variables with weights lambda / (lambda + gamma), whose tail is
Kuonen's saddlepoint approximation. Where D > 1 (design effect of autocorrelation) T / D is compared
with a chi-squared variable of the learned degrees of freedom instead, as in `driftbus.detectors.psi`.

Whitening was chosen by measurement: at equal false alarms, at 1,000 rows of ten columns, separation in
null standard deviations, plain / whitened / logistic classifier on scores and products: correlation
0 → .5 in two columns 3.3 / 3.4 / 2.3; a rotation 8.0 / 7.2 / 4.8; dependence of three columns without
any of two 0.4 / 1.4 / 0.2; two clusters swapped 6.7 / 17.8 / 5.9.

Source: Rahimi, Recht (2007), "Random features for large-scale kernel machines"; Gretton et al. (2012),
"A kernel two-sample test"; Harchaoui, Bach, Moulines (2008), "Testing for homogeneity with kernel
Fisher discriminant analysis"; Kuonen (1999), "Saddlepoint approximations for distributions of
quadratic forms in normal variables". Known bias: with many columns one column's change is diluted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, fdtri, log_ndtr

from driftbus.detectors.eigen import eigen, gram, product, regression
from driftbus.schemas.kernel import kernel

FEATURES = 128
"""m at most: more see finer structure and need a larger reference."""

_RIDGE, _FAR = 0.05, 1e-7
_ROWS_PER_FEATURE = 15
_TERMS = 11
_COSINE = tuple((-1) ** k * (2 * pi) ** (2 * k) / factorial(2 * k) for k in reversed(range(_TERMS)))
_SINE = tuple((-1) ** k * (2 * pi) ** (2 * k + 1) / factorial(2 * k + 1) for k in reversed(range(_TERMS)))


@dataclass(frozen=True, slots=True)
class KernelTest:
    """The reference's mean features, and how they vary.

    Args:
        frequencies: float64[s, m / 2].
        mean: float64[m], of the reference.
        residual: float64[2 s, m], regression of features on margins.
        whiten: float64[m, k].
        weights: float64[k], of the chi-squared variables.
        rows: M.
    """

    frequencies: NDArray[np.float64]
    mean: NDArray[np.float64]
    residual: NDArray[np.float64]
    whiten: NDArray[np.float64]
    weights: NDArray[np.float64]
    rows: int

    @property
    def _heavier(self) -> float:
        """By how much the estimated covariance lengthens the tail: Hotelling's F against chi-squared."""
        freedom = self.freedom
        return float(freedom * fdtri(freedom, self.rows - freedom, 1 - _FAR) / chdtri(freedom, _FAR))

    def statistic(self, mean: NDArray[np.float64], scale: float) -> float:
        """T of a window.

        Args:
            mean: float64[m], its mean features.
            scale: D (1/N + 1/R) + 1/M.
        """
        d = np.einsum("i,ij->j", mean - self.mean, self.whiten)
        return float((d * d).sum()) / scale

    @property
    def expected(self) -> float:
        """Mean of T without drift."""
        return float(self.weights.sum())

    @property
    def freedom(self) -> float:
        """Degrees of freedom of independent rows (Satterthwaite); 1 where nothing varies."""
        squares = float((self.weights**2).sum())
        return float(self.weights.sum()) ** 2 / squares if squares > 0 else 1.0

    def p_value(self, t: float, freedom: float | None = None) -> float:
        """Probability of T or more without drift; with `freedom`, where autocorrelation loads few directions."""
        if freedom is None or freedom >= self.freedom:
            return weighted_chi2_tail(self.weights, t / self._heavier)
        return float(chdtrc(freedom, t * freedom / self.expected))

    def threshold(self, alpha: float, freedom: float | None = None) -> float:
        """T that is exceeded with probability alpha without drift."""
        if freedom is not None and freedom < self.freedom:
            return float(self.expected * chdtri(freedom, alpha) / freedom)
        low, high = self.expected, self.expected * chdtri(1, alpha)
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if weighted_chi2_tail(self.weights, middle) > alpha else (low, middle)
        return float(high * self._heavier)

    def residual_sum(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[k], sum over float64[n, s] rows of whitened features without what the margins explain."""
        beyond = z.shape[0] * (mean_features(z, self.frequencies) - self.mean)
        beyond -= np.einsum("i,ij->j", _margins(z).sum(axis=0), self.residual)
        return np.asarray(np.einsum("i,ij->j", beyond, self.whiten))


def kernel_test(z: NDArray[np.float64], seed: int) -> KernelTest:
    """The test against float64[m, s] scores of a reference.

    Args:
        z: the scores; a column that is 0 throughout is left out.
        seed: of the frequencies.
    """
    used = max(1, int((z != 0.0).any(axis=0).sum()))
    half = max(1, min(FEATURES, z.shape[0] // _ROWS_PER_FEATURE) // 2)
    frequencies = np.random.default_rng(seed).standard_normal((z.shape[1], half)) / np.sqrt(used)
    phi = features(z, frequencies)
    mean = phi.mean(axis=0)
    margins = _margins(z)
    residual = regression(margins, phi - mean)
    rest = phi - mean - product(margins, residual)
    values, vectors = eigen(gram(rest) / z.shape[0])
    values = np.maximum(values, 0.0)
    ridge = _RIDGE * values.mean()
    kept = values > 1e-3 * ridge
    weights = values[kept] / (values[kept] + ridge)
    # the inverse of an estimated covariance is too large by this factor (inverse Wishart)
    whiten = vectors[:, kept] * np.sqrt((1 - weights.sum() / z.shape[0]) / (values[kept] + ridge))
    return KernelTest(frequencies, mean, residual, whiten, weights, z.shape[0])


def features(z: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n, m], (cos w'z, sin w'z) of float64[n, s] scores."""
    phi = np.empty((z.shape[0], 2 * frequencies.shape[1]))
    _fourier(z, frequencies / (2 * np.pi), phi)
    return phi


def mean_features(z: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[m], the mean of `features`."""
    total, phi = np.zeros(2 * frequencies.shape[1]), np.empty(2 * frequencies.shape[1])
    _fourier_sum(z, frequencies / (2 * np.pi), phi, total)
    return np.asarray(total / z.shape[0])


def weighted_chi2_tail(weights: NDArray[np.float64], x: float) -> float:
    """Probability that a weighted sum of independent chi-squared variables (one degree each) exceeds x."""
    mean = float(weights.sum())
    if x <= mean:
        return 1.0 if x <= 0.9 * mean else 0.5
    low, high = 0.0, 0.5 / float(weights.max())
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (weights / (1 - 2 * middle * weights)).sum() < x else (low, middle)
    zeta = 0.5 * (low + high)
    shrunk = 1 - 2 * zeta * weights
    w = np.sqrt(max(0.0, 2 * (zeta * x + 0.5 * np.log(shrunk).sum())))
    v = zeta * np.sqrt(2 * ((weights / shrunk) ** 2).sum())
    if w < 1e-4 or v <= 0:
        return 0.5
    return float(np.exp(log_ndtr(-(w + np.log(v / w) / w))))


def _margins(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([z, z * z - (z != 0.0)])


@kernel
def _turn(row: NDArray[np.float64], turns: NDArray[np.float64], phi: NDArray[np.float64]) -> None:
    # cos and sin of whole turns by their series on [-1/2, 1/2], to 4e-9: the library's cost four times as much
    m = turns.shape[1]
    for k in range(m):
        phi[k] = 0.0
    for s in range(row.size):
        x = row[s]
        for k in range(m):
            phi[k] += x * turns[s, k]
    for k in range(m):
        y = phi[k] - np.floor(phi[k] + 0.5)
        t = y * y
        cosine = sine = 0.0
        for j in range(_TERMS):
            cosine = cosine * t + _COSINE[j]
            sine = sine * t + _SINE[j]
        phi[k], phi[m + k] = cosine, sine * y


@kernel
def _fourier(z: NDArray[np.float64], turns: NDArray[np.float64], phi: NDArray[np.float64]) -> None:
    for i in range(z.shape[0]):
        _turn(z[i], turns, phi[i])


@kernel
def _fourier_sum(
    z: NDArray[np.float64], turns: NDArray[np.float64], phi: NDArray[np.float64], total: NDArray[np.float64]
) -> None:
    for i in range(z.shape[0]):
        _turn(z[i], turns, phi)
        for k in range(total.size):
            total[k] += phi[k]

"""Tests that may be looked at after every pane: confidence sequences for sums, and a test of shares.

A confidence sequence holds at all times at once: the probability that it ever misses is at most alpha, whenever
somebody looks and however often.

Sources: S. R. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, Time-uniform, nonparametric, nonasymptotic confidence
sequences, Annals of Statistics 49 (2021): theorem 4 (empirical Bernstein), proposition 9 (gamma-exponential mixture).
I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory and asymptotic
confidence sequences, Annals of Statistics 52 (2024), theorem 2.2. M. Lindon and A. Malek, Anytime-valid inference for
multinomial count data, NeurIPS 2022.
"""

from __future__ import annotations

from math import exp, inf, log, log1p, sqrt

from scipy.special import betaln, digamma, gammainc, gammaln, zeta

_STEPS = 60
_SHARE_WEIGHT = 1_000.0


def tuned_at(v: float, alpha: float) -> float:
    """The mixture's parameter for the narrowest interval at variance `v`; elsewhere it is nearly as narrow.

    Source: Howard et al., proposition 3 (the closed form of section 3.5).
    """
    once = 2 * log(1 / alpha)
    return v / (once + log1p(once))


def log_evidence(s: float, v: float, rho: float) -> float:
    """Log of the evidence that a sum of bounded terms has drifted upwards; above log(1/alpha) it has.

    Without drift, the probability that it ever passes log(1/alpha) is at most alpha.

    Args:
        s: sum of the terms minus their means under the hypothesis; terms in an interval of length 1.
        v: sum of their squared distances from predictions made before each, see `squares_ahead`.
        rho: of `tuned_at`, positive.
    """
    if s <= 0:
        return -inf
    a, z = v + rho, s + v + rho
    return (
        s + v + float(gammaln(a)) + log(float(gammainc(a, z))) - a * log(z)
        - float(gammaln(rho)) - log(float(gammainc(rho, rho))) + rho * log(rho)
    )  # fmt: skip


def boundary(v: float, alpha: float, rho: float) -> float:
    """The sum at which `log_evidence` is log(1/alpha)."""
    target, high = log(1 / alpha), 1.0 + sqrt(v + rho)
    while log_evidence(high, v, rho) < target:
        high *= 2
    low = 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if log_evidence(middle, v, rho) < target else (low, middle)
    return high


def normal_boundary(v: float, alpha: float, rho: float) -> float:
    """The boundary of |sum| for sums that are nearly normal with variance `v`: of large samples only.

    Args:
        v: estimated variance of the sum.
        alpha: two-sided.
        rho: of `tuned_at`.
    """
    return sqrt((v + rho) * (2 * log(1 / alpha) + log1p(v / rho)))


def squares_ahead(n: int, mean: float, variance: float, known: float, expected: float) -> float:
    """Squared distances of n values from predictions made before each, averaged over all orders of the values.

    The prediction of a value is the mean of those before it. Orders are averaged because only counts are known; the
    evidence stays valid, as exp(-x) is convex and so the average's exponential is at most the exponentials' average.

    Args:
        n: number of values.
        mean, variance: of the values; the variance is divided by n.
        known: weight of what was known before, at least 1.
        expected: mean of that.
    """
    near = float(digamma(known + n) - digamma(known))
    nearer = float(zeta(2, known) - zeta(2, known + n))  # zeta(2, x) is the trigamma function
    around = (n + 2 * known) * near - n - known * (n + known) * nearer + 2 * (n - known * near)
    spread = variance * (n + around / (n - 1)) if n > 1 else 0.0
    return spread + (known * (expected - mean)) ** 2 * nearer


def log_share_evidence(one: int, other: int, share: float, prior: float) -> float:
    """Log of the evidence that rows are not split as they should be; above log(1/alpha) they are not.

    Args:
        one, other: rows of the two sides so far, assigned independently of each other.
        share: of the first side, if all is well.
        prior: share of the first side that the mixture is centred at.
    """
    a, b = _SHARE_WEIGHT * prior, _SHARE_WEIGHT * (1 - prior)
    return float(betaln(a + one, b + other) - betaln(a, b)) - one * log(share) - other * log1p(-share)


def share_interval(one: int, other: int, alpha: float, prior: float) -> tuple[float, float]:
    """Confidence sequence of the first side's share: all shares that the evidence does not exclude."""
    if one + other == 0:
        return 0.0, 1.0
    target = log(1 / alpha)
    best = min(max(one / (one + other), exp(-30)), 1 - 1e-12)

    def end(low: float, high: float, excluded_low: bool) -> float:
        for _ in range(_STEPS):
            middle = (low + high) / 2
            excluded = log_share_evidence(one, other, middle, prior) > target
            low, high = (middle, high) if excluded is excluded_low else (low, middle)
        return (low + high) / 2

    return end(1e-15, best, excluded_low=True), end(best, 1 - 1e-15, excluded_low=False)

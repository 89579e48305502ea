"""Linear algebra of small matrices, in one order of operations: the same bits on any number of threads.

What LAPACK and BLAS return depends on the processor and on the number of threads, in the last bits; a
verdict is a function of the log. Eigenvectors: Householder's tridiagonal form, then implicit QL (tred2 and
tql2: Martin, Reinsch, Wilkinson, 1968, Numerische Mathematik 11, 181-195; Bowdler, Martin, Reinsch,
Wilkinson, 1968, ibid., 293-306).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.kernel import kernel

_EPSILON = 2.0**-52
_MOST_TURNS = 60
_RANK = 1e-10


def eigen(symmetric: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(eigenvalues ascending, float64[n]; eigenvectors in columns, float64[n, n]) of a symmetric float64[n, n]."""
    scale = float(np.abs(symmetric).max(initial=0.0)) or 1.0
    vectors, values, beside = symmetric / scale, np.zeros(symmetric.shape[0]), np.zeros(symmetric.shape[0])
    if values.size:
        _tridiagonal(vectors, values, beside)
        _diagonal(vectors, values, beside)
    order = np.argsort(values, kind="stable")
    return scale * values[order], np.ascontiguousarray(vectors[order].T)


def gram(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """a' a, float64[k, k], of float64[n, k]."""
    return product(np.ascontiguousarray(a.T), a)


def product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a b, float64[n, m], of float64[n, k] and float64[k, m]."""
    out = np.zeros((a.shape[0], b.shape[1]))
    _product(a, b, out)
    return out


def regression(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares coefficients of least norm, float64[k, m], of y, float64[n, m], on x, float64[n, k]."""
    values, vectors = eigen(gram(x))
    kept = values > _RANK * max(float(values.max(initial=0.0)), 1e-300)
    along = product(np.ascontiguousarray(vectors.T), product(np.ascontiguousarray(x.T), y))
    return product(vectors[:, kept], along[kept] / values[kept][:, None])


@kernel
def _product(a: NDArray[np.float64], b: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            x = a[i, k]
            for j in range(b.shape[1]):
                out[i, j] += x * b[k, j]


@kernel
def _tridiagonal(v: NDArray[np.float64], d: NDArray[np.float64], e: NDArray[np.float64]) -> None:
    """v, float64[n, n], becomes the transformation (its transpose); d the diagonal, e what stands beside it."""
    n = d.size
    for j in range(n):
        d[j] = v[j, n - 1]
    for i in range(n - 1, 0, -1):
        scale = h = 0.0
        for k in range(i):
            scale += abs(d[k])
        if scale == 0.0:
            e[i] = d[i - 1]
            for j in range(i):
                d[j], v[j, i], v[i, j] = v[j, i - 1], 0.0, 0.0
        else:
            for k in range(i):
                d[k] /= scale
                h += d[k] * d[k]
            f = d[i - 1]
            g = -np.sqrt(h) if f > 0 else np.sqrt(h)
            e[i], d[i - 1] = scale * g, f - g
            h -= f * g
            _reflect(v, d, e, i, h)
        d[i] = h
    for i in range(n - 1):
        v[i, n - 1], v[i, i] = v[i, i], 1.0
        if d[i + 1] != 0.0:
            for k in range(i + 1):
                d[k] = v[i + 1, k] / d[i + 1]
            for j in range(i + 1):
                g = 0.0
                for k in range(i + 1):
                    g += v[i + 1, k] * v[j, k]
                for k in range(i + 1):
                    v[j, k] -= g * d[k]
        for k in range(i + 1):
            v[i + 1, k] = 0.0
    for j in range(n):
        d[j], v[j, n - 1] = v[j, n - 1], 0.0
    v[n - 1, n - 1], e[0] = 1.0, 0.0


@kernel
def _reflect(v: NDArray[np.float64], d: NDArray[np.float64], e: NDArray[np.float64], i: int, h: float) -> None:
    for j in range(i):
        e[j] = 0.0
    for j in range(i):
        v[i, j] = d[j]
        g = e[j] + v[j, j] * d[j]
        for k in range(j + 1, i):
            g += v[j, k] * d[k]
            e[k] += v[j, k] * d[j]
        e[j] = g
    f = 0.0
    for j in range(i):
        e[j] /= h
        f += e[j] * d[j]
    for j in range(i):
        e[j] -= f / (h + h) * d[j]
    for j in range(i):
        f, g = d[j], e[j]
        for k in range(j, i):
            v[j, k] -= f * e[k] + g * d[k]
        d[j], v[j, i] = v[j, i - 1], 0.0


@kernel
def _diagonal(v: NDArray[np.float64], d: NDArray[np.float64], e: NDArray[np.float64]) -> None:
    n, shift, largest = d.size, 0.0, 0.0
    for i in range(1, n):
        e[i - 1] = e[i]
    e[n - 1] = 0.0
    for low in range(n):
        largest = max(largest, abs(d[low]) + abs(e[low]))
        m = low
        while abs(e[m]) > _EPSILON * largest:
            m += 1
        for _ in range(_MOST_TURNS if m > low else 0):
            shift += _turn(v, d, e, low, m)
            if abs(e[low]) <= _EPSILON * largest:
                break
        d[low] += shift
        e[low] = 0.0


@kernel
def _turn(v: NDArray[np.float64], d: NDArray[np.float64], e: NDArray[np.float64], low: int, m: int) -> float:
    """One step of QL between two places; returns what was taken off the diagonal."""
    g = d[low]
    p = (d[low + 1] - g) / (2 * e[low])
    r = np.sqrt(p * p + 1)
    if p < 0:
        r = -r
    d[low], d[low + 1] = e[low] / (p + r), e[low] * (p + r)
    next_, taken, beside = d[low + 1], float(g - d[low]), e[low + 1]
    for i in range(low + 2, d.size):
        d[i] -= taken
    p, c, c2, c3, s, s2 = d[m], 1.0, 1.0, 1.0, 0.0, 0.0
    for i in range(m - 1, low - 1, -1):
        c3, c2, s2 = c2, c, s
        g, h = c * e[i], c * p
        r = np.sqrt(p * p + e[i] * e[i])
        e[i + 1] = s * r
        s, c = e[i] / r, p / r
        p = c * d[i] - s * g
        d[i + 1] = h + s * (c * g + s * d[i])
        for k in range(d.size):
            x, y = v[i + 1, k], v[i, k]
            v[i + 1, k], v[i, k] = s * y + c * x, c * y - s * x
    p = -s * s2 * c3 * beside * e[low] / next_
    e[low], d[low] = s * p, c * p
    return taken

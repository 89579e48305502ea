"""Eigenvectors and products against LAPACK's, and that nothing in the core leans on LAPACK or BLAS."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import driftbus.detectors
from driftbus.detectors.eigen import eigen, gram, product, regression


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 128])
def test_eigenvectors_are_those_of_lapack(n: int) -> None:
    a = np.random.default_rng(n).standard_normal((n + 3, n))
    values, vectors = eigen(gram(a))
    assert np.allclose(values, np.linalg.eigvalsh(a.T @ a))
    assert np.allclose(vectors.T @ vectors, np.eye(n))
    assert np.allclose(vectors * values @ vectors.T, a.T @ a)


@pytest.mark.parametrize(
    "a",
    [
        np.zeros((4, 4)),
        np.eye(5),
        np.diag([3.0, 0.0, 1e-300, 3.0]),
        np.ones((6, 6)),
        np.kron(np.eye(3), np.ones((2, 2))),
        1e-200 * np.array([[2.0, 1.0], [1.0, 2.0]]),
    ],
)
def test_equal_and_vanishing_eigenvalues(a: NDArray[np.float64]) -> None:
    values, vectors = eigen(a)
    assert np.allclose(values, np.linalg.eigvalsh(a))
    assert np.allclose(vectors.T @ vectors, np.eye(len(a)))
    assert np.allclose(vectors * values @ vectors.T, a)


def test_regression_is_of_least_norm_where_columns_say_the_same() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((300, 8)), rng.standard_normal((300, 5))
    x[:, 2], x[:, 3] = 0.0, x[:, 4]
    assert np.allclose(regression(x, y), np.linalg.lstsq(x, y, rcond=None)[0])
    assert np.allclose(product(x, regression(x, y)), x @ regression(x, y))


def test_no_detector_leans_on_lapack_or_blas() -> None:
    """Their last bits depend on the processor and on the number of threads; a verdict is a function of the log."""
    for path in Path(driftbus.detectors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.MatMult), path.name
            assert not (isinstance(node, ast.Attribute) and node.attr in ("linalg", "dot", "matmul")), path.name

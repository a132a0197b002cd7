"""Solving with stacks of lower triangles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from polytask.bayes.blocks import solve_lower


@pytest.mark.parametrize("size", [1, 7, 8, 9, 31, 128, 130])
def test_it_solves_every_triangle_of_the_stack(size: int) -> None:
    rng = np.random.default_rng(size)
    factor = rng.standard_normal((5, 2 * size, size))
    triangles = np.linalg.cholesky(np.eye(size) + np.swapaxes(factor, 1, 2) @ factor)
    right = rng.standard_normal((5, size, 3))
    expected = [
        scipy.linalg.solve_triangular(L, B, lower=True)
        for L, B in zip(triangles, right, strict=True)
    ]
    np.testing.assert_allclose(solve_lower(triangles, right), expected, rtol=1e-11, atol=1e-12)


def test_what_is_above_the_diagonal_is_not_read() -> None:
    L = np.tril(np.random.default_rng(0).standard_normal((2, 20, 20))) + 5.0 * np.eye(20)
    filled = L + np.triu(np.full((20, 20), np.nan), 1)
    right = np.ones((2, 20, 2))
    np.testing.assert_array_equal(solve_lower(filled, right), solve_lower(L, right))


def test_rows_of_very_different_size_keep_their_digits() -> None:
    rng = np.random.default_rng(1)
    scale = 10.0 ** rng.integers(-8, 9, 24)
    L = np.tril(rng.standard_normal((24, 24)), -1) * 0.1 + np.eye(24)
    truth = rng.standard_normal((24, 2))
    found = solve_lower((scale[:, None] * L)[None], (scale[:, None] * (L @ truth))[None])[0]
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-13)


def test_no_rows() -> None:
    assert solve_lower(np.zeros((3, 0, 0)), np.zeros((3, 0, 4))).shape == (3, 0, 4)

"""Largest eigenvalues from products against those of the matrices."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.datafits.lanczos import largest_eigenvalue, largest_of_columns


def blocks(n_tasks, n, d):
    return np.random.default_rng(n_tasks).standard_normal((n_tasks, n, d))


@pytest.mark.parametrize("sizes", [(30, 50, 80), (1, 20, 60), (3, 2, 4), (400, 5, 7)])
def test_both_find_the_largest_eigenvalue_from_below(sizes):
    X = blocks(*sizes)
    asked = []

    def product(V):
        asked.append(1)
        return np.einsum("tij,ti->jt", X, np.einsum("tij,jt->ti", X, V))

    largest = max(np.linalg.norm(x, 2) ** 2 for x in X)
    shape = sizes[2], sizes[0]
    whole = largest_eigenvalue(product, shape)
    of_whole = len(asked)
    by_columns = largest_of_columns(product, shape)
    for found in (whole, by_columns):
        assert 0.99 * largest <= found <= (1 + 1e-12) * largest
    assert len(asked) - of_whole <= of_whole


def test_maps_of_one_value_and_of_none():
    assert largest_of_columns(lambda V: 2.0 * V, (5, 3)) == pytest.approx(2.0)
    assert largest_eigenvalue(lambda V: 2.0 * V, (5, 3)) == pytest.approx(2.0)
    assert largest_of_columns(lambda V: 0.0 * V, (5, 3)) == 0.0
    assert largest_eigenvalue(lambda V: V, (0, 3)) == 0.0

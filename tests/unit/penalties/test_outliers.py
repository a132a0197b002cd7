"""OutlierTasks: blocks of columns, reductions, strength."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.exceptions import ParameterError
from polytask.penalties import L21, Columns, OutlierTasks

RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 6))
UNEQUAL = Columns(tuple("abaaca"), ("x", "x", "y", "z", "x", "v"))
BLOCKS = ([0, 2, 3, 5], [1], [4])


def test_one_column_per_task_is_l21_across():
    for penalty in (OutlierTasks(0.4), OutlierTasks(0.4).bind(Columns.plain(6))):
        across = L21(0.4)
        assert penalty.value(W) == pytest.approx(across.value(W.T))
        np.testing.assert_allclose(penalty.prox(W, 2.0), across.prox(W.T, 2.0).T)
        assert penalty.dual_norm(W) == pytest.approx(across.dual_norm(W.T))


def test_the_columns_of_a_task_are_one_block():
    bound = OutlierTasks(0.4).bind(UNEQUAL)
    norms = [np.linalg.norm(W[:, block]) for block in BLOCKS]
    assert bound.value(W) == pytest.approx(0.4 * sum(norms))
    assert bound.null_strength(W) == pytest.approx(max(norms))
    assert bound.dual_norm(W) == pytest.approx(max(norms))
    step = 0.999 * sorted(norms)[1] / 0.4
    Z = bound.prox(W, step)
    for block, norm in zip(BLOCKS, norms, strict=True):
        gain = max(0.0, 1 - 0.4 * step / norm)
        np.testing.assert_allclose(Z[:, block], gain * W[:, block])
    assert sum((Z[:, block] == 0).all() for block in BLOCKS) == 1


def test_a_wrong_number_of_columns_is_refused():
    bound = OutlierTasks(0.4).bind(UNEQUAL)
    for operate in (bound.value, bound.null_strength, lambda V: bound.prox(V, 1.0)):
        with pytest.raises(ParameterError, match=r"W of OutlierTasks .* 6 columns; got .*shape"):
            operate(W[:, :3])


def test_what_merges():
    bound = OutlierTasks(0.4).bind(UNEQUAL)
    assert OutlierTasks(0.4).merged(OutlierTasks(0.2)) == OutlierTasks(0.4 + 0.2)
    assert bound.merged(bound) == OutlierTasks(0.8).bind(UNEQUAL)
    assert bound.merged(OutlierTasks(0.2)) is None
    assert OutlierTasks(0.4).merged(L21(0.2)) is None


def test_tiny_tasks_are_safe():
    V = np.zeros((4, 3))
    V[:, 1], V[:, 2] = 1e-200, 2.0
    with np.errstate(all="raise", under="ignore"):
        Z = OutlierTasks(0.5).prox(V, 1.0)
    assert (Z[:, :2] == 0).all()
    assert np.isfinite(Z).all()


def test_many_tasks_form_no_matrix_between_columns():
    n_tasks = 5_000
    tasks = tuple(range(n_tasks)) * 2
    bound = OutlierTasks(0.1).bind(Columns(tasks, ("x",) * n_tasks + ("y",) * n_tasks))
    many = np.ones((2, 2 * n_tasks))
    assert bound.value(many) == pytest.approx(0.1 * n_tasks * 2)
    np.testing.assert_allclose(bound.prox(many, 1.0), 1 - 0.1 / 2)


def test_fractions_empty_tasks_one_after_the_other():
    X = RNG.normal(size=(80, 4))
    Y = X @ (RNG.normal(size=(4, 5)) * np.array([3.0, 1.0, 0.3, 0.1, 0.03]))
    left = [
        np.count_nonzero(
            np.abs(MultiTaskRegressor(OutlierTasks(fraction=f)).fit(X, Y).coef_).sum(1)
        )
        for f in (1.0, 0.9, 0.2, 0.05, 0.001)
    ]
    assert left[0] == 0
    assert left[1] == 1
    assert left[-1] == 5
    assert left == sorted(left)

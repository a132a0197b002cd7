"""Which tasks the objective listens to."""

from __future__ import annotations

import numpy as np
import pytest

from polytask._estimator import regression
from polytask.data import TaskData
from polytask.linear.dominance import gradient_shares


def shares(X, y, task=None):
    data = TaskData.from_targets(X, y) if task is None else TaskData.from_long(X, y, task)
    return gradient_shares(data, regression(data, "squared", "test"), "test")


def test_a_large_task_of_the_same_kind_has_a_large_share():
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1, 2], [300, 30, 30])
    X = rng.standard_normal((360, 3))
    found = shares(X, X[:, 0] + 0.1 * rng.standard_normal(360), task)
    assert found.sum() == pytest.approx(1.0)
    assert found[0] > 0.5
    assert found[1:].max() < 0.2


def test_the_units_of_a_target_do_not_matter():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    Y = X @ rng.standard_normal((3, 2)) + rng.standard_normal((80, 2))
    np.testing.assert_allclose(shares(X, Y), shares(X, Y * [1.0, 1e4]), rtol=1e-6)


def test_no_gradient_is_no_share():
    task = np.repeat([0, 1], 10)
    X = np.tile([1.0, -1.0], 10)[:, None]
    assert not shares(X, np.ones(20), task).any()

"""Weights that one row holds, or that hardly count rows, are named."""

from __future__ import annotations

import numpy as np
import pytest

from polytask._estimator.data_checks import data_warnings
from polytask.data import TaskData

RNG = np.random.default_rng(0)
X, TASK = RNG.standard_normal((120, 3)), np.arange(120) % 4
Y = X.sum(axis=1) + RNG.standard_normal(120)


def _said(weight):
    data = TaskData.from_long(X, Y, TASK, sample_weight=weight)
    found = data_warnings(data, "compare", allow_leak=False)
    return [str(one) for one in found if "weight" in str(one)]


def test_one_row_with_most_of_the_weight_is_named():
    (sentence,) = _said(np.where(np.arange(120) == 17, 1e6, 1.0))
    assert "(row 17, counting from 0) has 100.0% of the weight" in sentence


@pytest.mark.parametrize(("mean", "total"), [(1 / 120, "1"), (1e-12, "1.2e-10"), (1e3, "120,000")])
def test_weights_that_hardly_count_rows_are_named(mean, total):
    (sentence,) = _said(np.full(120, mean))
    assert f"these 120 rows count as {total}:" in sentence


@pytest.mark.parametrize(
    "weight", [np.ones(120), RNG.uniform(0.5, 3, 120), RNG.uniform(0.1, 30, 120), np.arange(120.0)]
)
def test_honest_weights_are_passed(weight):
    assert _said(weight) == []

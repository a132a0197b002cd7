"""The square-root loss where the targets of a task are all alike: the root has a kink there."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean
from polytask.solvers import Status

LEVEL = 3.0


def tasks(sizes, constant):
    """Related tasks of ten features; the targets of some are all the same number."""
    rng = np.random.default_rng(1)
    common = rng.standard_normal(10) * (np.arange(10) < 3)
    data = {}
    for t, n in enumerate(sizes):
        X = rng.standard_normal((n, 10))
        y = X @ (common + 0.2 * rng.standard_normal(10)) + 0.5 * rng.standard_normal(n)
        data[t] = X, np.full(n, LEVEL) if t in constant else y
    return data


def fitted(data, penalty, **settings):
    return MultiTaskRegressor(penalty, loss="square_root", task_weight="equal", **settings).fit(
        data
    )


@pytest.mark.parametrize("intercept", ["task", "toward_mean"])
@pytest.mark.parametrize(
    "penalty",
    [
        L21(0.05),
        L2(0.05),
        TraceNorm(0.05),
        toward_mean(0.1) + L2(0.01),
        toward_mean(0.1) + L21(0.05),
    ],
    ids=str,
)
def test_a_constant_task_is_held_at_zero_and_certified(penalty, intercept):
    model = fitted(tasks([40] * 4, {0}), penalty, intercept=intercept)
    assert model.solution_.status is Status.CONVERGED
    assert not model.coef_[0].any()
    assert model.coef_[1:].any(axis=1).all()
    assert model.intercept_[0] == pytest.approx(LEVEL, abs=1e-6)


def test_the_others_are_fitted_as_without_it():
    data = tasks([40, 30, 30], {0})
    with_it = fitted(data, L1(0.02), intercept="task", tol=1e-10)
    others = {t: data[t] for t in (1, 2)}
    without = fitted(others, L1(0.02), intercept="task", tol=1e-10)
    np.testing.assert_allclose(with_it.coef_[1:], without.coef_, atol=1e-6)
    assert with_it.solution_.objective == pytest.approx(without.solution_.objective, rel=1e-9)


def test_a_kink_that_is_too_weak_lets_go():
    # Far from its own rows a strong pull to the mean is worth more than an exact fit.
    data = tasks([40] * 4, {0})
    strong = fitted(data, toward_mean(1000.0) + L2(1e-3))
    assert strong.solution_.status is Status.CONVERGED
    np.testing.assert_allclose(strong.coef_[0], strong.coef_[1:].mean(axis=0), atol=0.01)
    held = fitted(data, toward_mean(0.1) + L2(1e-3))
    assert not held.coef_[0].any()


@pytest.mark.parametrize("intercept", ["task", "toward_mean"])
def test_tasks_of_one_row_are_certified(intercept):
    for penalty in (L21(0.05), toward_mean(0.1) + L2(0.01)):
        model = fitted(tasks([1, 1, 40, 40], set()), penalty, intercept=intercept)
        assert model.solution_.status is Status.CONVERGED


def test_only_constant_tasks_have_nothing_to_fit():
    model = fitted(tasks([20] * 3, {0, 1, 2}), L21(0.1))
    assert not model.coef_.any()
    assert model.solution_.objective == pytest.approx(0.0, abs=1e-12)

"""Degrees of freedom: closed forms, and refits to targets that are changed a little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polytask._estimator import regression
from polytask.data import TaskData
from polytask.exceptions import IncompatibleError
from polytask.linear.fitting import bound_penalty, solve
from polytask.linear.problem import Settings, build_problem
from polytask.losses import Squared
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    ElasticNet,
    FusedTasks,
    GroupNorm,
    L1Inf,
    LearnedCovariance,
    OutlierTasks,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    along_time,
    dirty,
    robust,
    toward_mean,
)
from polytask.selection.by_criterion import _EFFORT
from polytask.solvers import degrees, degrees_of_freedom
from polytask.solvers.degrees import (
    Effort,
    column_degrees,
    data_hessian,
    hessian_matrices,
    intercept_degrees,
    matrix_of,
)

ROWS, FEATURES, TASKS = 9, 6, 4
PENALTIES = {
    "L1": L1(0.2),
    "L2": L2(0.3),
    "L21": L21(0.35),
    "ElasticNet": ElasticNet(0.3),
    "L1Inf": L1Inf(0.4),
    "SparseGroup": SparseGroup(0.3),
    "GroupNorm": GroupNorm(0.2, groups=[[0, 1, 2], [3, 4, 5]]),
    "TreeGroup": TreeGroup(0.2, groups=[[0, 1, 2, 3], [0, 1], [2, 3]]),
    "TraceNorm": TraceNorm(0.5),
    "LearnedCovariance": LearnedCovariance(0.1),
    "Clustered": Clustered(0.2),
    "OutlierTasks": OutlierTasks(0.3),
    "toward_mean": toward_mean(0.3),
    "along_time": along_time(0.3),
    "FusedTasks": FusedTasks(0.2, l1=0.05),
    "toward_mean + L21": toward_mean(0.3) + L21(0.2),
    "L1 + L2": L1(0.1) + L2(0.2),
    "dirty": dirty(0.3, 0.2),
}


def sample(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((ROWS * TASKS, FEATURES))
    W = rng.standard_normal((FEATURES, TASKS)) * np.array([2, 1, 0, 0, 1, 0])[:, None]
    task = np.repeat(np.arange(TASKS), ROWS)
    y = np.einsum("ij,ji->i", X, W[:, task]) + rng.standard_normal(len(X))
    return X, y, task


def fitted(penalty, X, y, task, intercept=None, strength=1.0):
    data = TaskData.from_long(X, y, task)
    settings = Settings("equal", intercept, intercept_strength=strength)
    problem = build_problem(data, regression(data, Squared(), "the test"), settings, "the test")
    bound = bound_penalty(problem, penalty)
    return problem.datafit, bound, solve(problem, bound, "auto", 1e-11, 100_000, None).W


def count(penalty, X, y, task, intercept=None):
    return degrees_of_freedom(*fitted(penalty, X, y, task, intercept))


def divergence(penalty, X, y, task, intercept=None, strength=1.0):
    """The sum of the derivatives of the predictions, from refits."""
    h, total = 1e-4, 0.0
    for i in range(len(y)):
        ends = []
        for sign in (1.0, -1.0):
            moved = y.copy()
            moved[i] += sign * h
            datafit, _, W = fitted(penalty, X, moved, task, intercept, strength)
            ends.append(X[i] @ W[:, task[i]] + datafit.evaluate(W).intercept[task[i]])
        total += (ends[0] - ends[1]) / (2.0 * h)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", PENALTIES)
def test_it_is_the_divergence_of_the_predictions(name):
    X, y, task = sample()
    found = count(PENALTIES[name], X, y, task)
    assert 0.0 < found < FEATURES * TASKS
    assert found == pytest.approx(divergence(PENALTIES[name], X, y, task), rel=1e-3)


def test_free_intercepts_add_one_each():
    X, y, task = sample(1)
    found = count(L21(0.3), X, y, task, "task") + TASKS
    assert found == pytest.approx(divergence(L21(0.3), X, y, task, "task"), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "intercept"),
    [
        ("L21", "toward_mean"),
        ("TraceNorm", "shared"),
        ("toward_mean", "toward_mean"),
        ("toward_mean", "task"),
        ("toward_mean", None),
    ],
)
def test_intercepts_of_every_kind_are_counted(name, intercept):
    X, y, task = sample(2)
    # Features that differ between tasks take over from intercepts that are pulled.
    X, y = X + 0.5 * task[:, None], y + 3.0 * task
    datafit, bound, W = fitted(PENALTIES[name], X, y, task, intercept, 20.0)
    found = degrees_of_freedom(datafit, bound, W) + intercept_degrees(datafit, W).sum()
    want = divergence(PENALTIES[name], X, y, task, intercept, 20.0)
    assert found == pytest.approx(want, rel=1e-3)


def test_rows_count_as_their_moments_do():
    X, y, task = sample(2)
    data = TaskData.from_long(X + task[:, None], y, task)
    settings = Settings("equal", "toward_mean", intercept_strength=5.0)
    problem = build_problem(data, regression(data, Squared(), "the test"), settings, "the test")
    bound = bound_penalty(problem, L21(0.3))
    W = solve(problem, bound, "auto", 1e-11, 100_000, None).W
    rows = problem.samples()
    careful = Effort(1000, (1, 1), 0.0, 1, 1e-8, 1000)
    by_moments = column_degrees(problem.datafit, bound, W, careful)
    np.testing.assert_allclose(column_degrees(rows, bound, W, careful), by_moments, rtol=1e-6)
    levels = intercept_degrees(problem.datafit, W)
    np.testing.assert_allclose(intercept_degrees(rows, W), levels, rtol=1e-9)


@pytest.mark.parametrize("intercept", [None, "task", "toward_mean", "shared"])
@pytest.mark.parametrize("form", ["long", "targets"])
def test_the_hessians_that_are_written_down_are_those_of_the_products(form, intercept):
    rng = np.random.default_rng(1)
    if form == "long":
        X, y, task = sample(1)
        data = TaskData.from_long(X + task[:, None], y, task)
    else:
        X = rng.standard_normal((20, FEATURES)) + 1.0
        data = TaskData.from_targets(X, rng.standard_normal((20, TASKS)))
    settings = Settings("size", intercept, intercept_strength=5.0)
    problem = build_problem(data, regression(data, Squared(), "the test"), settings, "the test")
    W, free = rng.standard_normal((FEATURES, TASKS)), np.array([0, 1, 5, 6, 11, 20, 23])
    moments = problem.datafit
    for datafit in (moments, problem.samples()):
        whole, own = hessian_matrices(datafit, W, free)
        products = moments.evaluate(W).hessian, data_hessian(moments, W)
        np.testing.assert_allclose(whole, matrix_of(products[0], free, W.shape), atol=1e-12)
        np.testing.assert_allclose(own, matrix_of(products[1], free, W.shape), atol=1e-12)
    assert np.array_equal(whole, own) == (intercept != "toward_mean")


def test_probing_ends_when_it_is_as_sure_as_was_asked_for():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((400, 30)), np.repeat(np.arange(10), 40)
    y = X[:, 0] + rng.standard_normal(400)
    for penalty in (toward_mean(0.5) + L2(0.1), L2(0.1) + TraceNorm(0.05)):
        given = fitted(penalty, X, y, task, "task")
        exact = column_degrees(*given, Effort(1000, (1, 1), 0.0, 1, 1e-8, 1000))
        probed = column_degrees(*given, Effort(0, (6, 64), 0.05, 5, 1e-3, 0))
        assert probed.sum() == pytest.approx(exact.sum(), rel=0.1)
        np.testing.assert_allclose(probed, exact, rtol=0.5)
        assert not np.array_equal(probed, exact)


@pytest.mark.parametrize("penalty", [toward_mean(1e-3) + L2(1e-6), L2(1e-4)], ids=repr)
def test_weak_ridges_on_more_features_than_rows_are_counted_in_full(penalty):
    # Most directions have little curvature, and each counts nearly one.
    rng, columns = np.random.default_rng(0), 10.0 ** -np.linspace(0, 2, 60)
    X, task = rng.standard_normal((300, 60)) * columns, np.repeat(np.arange(10), 30)
    X += 3.0 * rng.standard_normal((300, 1)) * columns
    given = fitted(penalty, X, rng.standard_normal(300), task)
    exact = column_degrees(*given, Effort(1000, (1, 1), 0.0, 1, 1e-8, 1000)).sum()
    probed = column_degrees(*given, replace(_EFFORT, dense_smooth=0)).sum()
    assert probed == pytest.approx(exact, rel=0.03)


def test_ridge_is_the_trace_of_the_smoother():
    X, y, task = sample()
    want = 0.0
    for t in range(TASKS):
        H = X[task == t].T @ X[task == t] / ROWS
        want += np.trace(np.linalg.solve(H + 0.3 * np.eye(FEATURES), H))
    assert count(L2(0.3), X, y, task) == pytest.approx(want, rel=1e-9)


def test_lasso_counts_what_is_not_zero():
    X, y, task = sample()
    W = fitted(L1(0.2), X, y, task)[2]
    assert 0 < np.count_nonzero(W) < W.size
    assert count(L1(0.2), X, y, task) == pytest.approx(np.count_nonzero(W), rel=1e-6)


def test_trace_norm_with_an_orthogonal_design():
    # Candès, Sing-Long, Trzasko 2013, equation 9.
    alpha, rng = 3.0, np.random.default_rng(0)
    Z = 2.0 * rng.standard_normal((FEATURES, TASKS))
    X, Y = np.sqrt(FEATURES) * np.eye(FEATURES), np.sqrt(FEATURES) * Z
    data = TaskData.from_targets(X, Y)
    settings = Settings(task_weight="equal", intercept=None)
    problem = build_problem(data, regression(data, Squared(), "the test"), settings, "the test")
    bound = bound_penalty(problem, TraceNorm(alpha))
    W = solve(problem, bound, "auto", 1e-13, 100_000, None).W
    s = np.linalg.svd(Z, compute_uv=False)
    kept = s > alpha
    want = sum(1.0 + (FEATURES - TASKS) * (1.0 - alpha / v) for v in s[kept])
    for i in np.flatnonzero(kept):
        others = np.delete(s, i)
        want += 2.0 * np.sum(s[i] * (s[i] - alpha) / (s[i] ** 2 - others**2))
    assert 0 < kept.sum() < TASKS
    found = degrees_of_freedom(problem.datafit, bound, W)
    assert found == pytest.approx(want, rel=1e-4)


def test_nothing_is_left_above_the_null_strength():
    X, y, task = sample()
    assert count(L21(fraction=1.0), X, y, task) == 0.0


@pytest.mark.parametrize("name", ["L21", "TraceNorm", "toward_mean"])
def test_probes_agree_with_the_exact_count(monkeypatch, name):
    X, y, task = sample()
    exact = count(PENALTIES[name], X, y, task)
    monkeypatch.setattr(degrees, "_DENSE", 0)
    assert count(PENALTIES[name], X, y, task) == pytest.approx(exact, rel=0.05)


def test_parts_without_a_prox_of_their_sum_are_refused():
    X, y, task = sample()
    with pytest.raises(IncompatibleError):
        count(robust(0.3, 0.3), X, y, task)

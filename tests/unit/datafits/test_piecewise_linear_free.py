"""Features that nothing penalises under the loss of quantiles: against linear programs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from polytask import MultiTaskRegressor
from polytask.datafits import FreeFeatures, on_rows
from polytask.datafits.piecewise_linear_intercepts import zero_sum_groups
from polytask.losses import Quantile
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean, weighted
from polytask.solvers import Splitting, Status
from polytask.testing._problems import (
    N_FEATURES,
    N_TASKS,
    intercept_modes,
    piecewise_linear_problems,
    shared_samples,
    stacked_samples,
)

MODES = intercept_modes()
N, D, T = 60, 4, 3


def rows(seed=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N * T, D))
    slopes = np.array([1.0, -1.0, 0.0, 0.0]) + 0.2 * rng.normal(size=(T, D))
    y = np.einsum("ij,ij->i", X, np.repeat(slopes, N, axis=0)) + rng.gamma(1.0, 1.0, size=N * T)
    return X, y, np.repeat(["a", "b", "c"], N)


def program(X, y, q, alpha):
    """Return the least mean pinball loss plus sum alpha |w|, as a linear program."""
    n, d = X.shape
    cost = np.concatenate([alpha, alpha, [0], np.full(n, q / n), np.full(n, (1 - q) / n)])
    A = np.hstack([X, -X, np.ones((n, 1)), np.eye(n), -np.eye(n)])
    bounds = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=A, b_eq=y, bounds=bounds, method="highs").fun


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [stacked_samples, shared_samples])
@pytest.mark.parametrize("index", [[0], [1, 4]])
def test_derivatives_are_orthogonal_within_their_bounds(make, mode, index):
    samples = make(Quantile(0.7), MODES[mode], 0)
    datafit = on_rows(samples.blocks, samples.intercepts, N_FEATURES, N_TASKS)
    rows, rng = datafit.rows, np.random.default_rng(1)
    u = rng.uniform(rows.lower, rows.upper)
    goal = np.zeros((len(index), N_TASKS))
    found = FreeFeatures(datafit, np.array(index)).orthogonal(u, goal)
    assert np.all((found >= rows.lower) & (found <= rows.upper))
    np.testing.assert_allclose(datafit.adjoint(found)[index], 0.0, atol=1e-12)
    owner = zero_sum_groups(rows, datafit.intercepts)
    if owner is not None:
        np.testing.assert_allclose(np.bincount(owner, rows.weight * found), 0.0, atol=1e-12)
    # What has these sums already stays as it is.
    again = FreeFeatures(datafit, np.array(index)).orthogonal(found, goal)
    np.testing.assert_allclose(again, found, atol=1e-9)


@pytest.mark.parametrize("mode", ["free", "tied", "none"])
def test_the_bound_from_below_holds_for_every_W(mode):
    samples = stacked_samples(Quantile(0.3), MODES[mode], 0)
    datafit = on_rows(samples.blocks, samples.intercepts, N_FEATURES, N_TASKS)
    rng = np.random.default_rng(2)
    u = rng.uniform(datafit.rows.lower, datafit.rows.upper)
    goal = 0.01 * rng.normal(size=(2, N_TASKS)) * np.array([1, 0, 1, 1])
    at = FreeFeatures(datafit, np.array([0, 3])).evaluate(np.zeros(datafit.shape), u, goal)
    np.testing.assert_array_equal(at.gradient[[0, 3]], goal)
    for size in (0.0, 0.1, 1.0, 10.0):
        V = size * rng.normal(size=datafit.shape)
        below = float(np.sum(at.gradient * V)) - at.conjugate(1.0)
        assert datafit.evaluate(V).value >= below - 1e-9


@pytest.mark.parametrize(
    ("penalty", "alpha"),
    [
        (L1(0.0), [0.0, 0.0, 0.0, 0.0]),
        (L2(0.0), [0.0, 0.0, 0.0, 0.0]),
        (weighted(L1(0.05), [0, 1, 1, 1]), [0.0, 0.05, 0.05, 0.05]),
        (weighted(L1(0.05), [0, 0, 1, 1]), [0.0, 0.0, 0.05, 0.05]),
    ],
)
def test_the_gap_closes_without_a_penalty_and_beside_free_features(penalty, alpha):
    X, y, task = rows()
    model = MultiTaskRegressor(penalty, loss=Quantile(0.5), task_weight="equal", intercept="task")
    found = model.fit(X, y, task=task).solution_
    assert found.status is Status.CONVERGED
    wanted = sum(program(X[task == t], y[task == t], 0.5, np.array(alpha)) for t in "abc")
    assert found.objective - found.gap <= wanted * (1 + 1e-12)
    assert found.objective == pytest.approx(wanted, rel=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
def test_free_features_with_every_kind_of_intercept(intercept):
    X, y, task = rows()
    for penalty in (weighted(L21(0.05), [0, 1, 1, 1]), weighted(L1(0.05), [1, 0, 1, 1]) + L2(0.1)):
        model = MultiTaskRegressor(penalty, loss=Quantile(0.4), intercept=intercept)
        assert model.fit(X, y, task=task).solution_.status is Status.CONVERGED


@pytest.mark.slow
def test_free_features_beside_another_loss():
    datafit = piecewise_linear_problems(0)["quantile beside logistic"]
    penalty = weighted(L1(0.05), [0, 0, 0, 1, 1, 1])
    found = Splitting().solve(datafit, penalty, tol=1e-6)
    better = Splitting().solve(datafit, penalty, tol=1e-8)
    assert found.status is better.status is Status.CONVERGED
    assert found.objective - better.objective <= found.gap
    assert np.linalg.norm(datafit.rest.evaluate(found.W).gradient[:3]) < 1e-3
    # Where the other loss is not fitted, nothing is certified.
    u = np.zeros(len(datafit.rows.y))
    free = FreeFeatures(datafit, np.arange(3))
    assert free.evaluate(np.zeros(datafit.shape), u, np.zeros((3, N_TASKS))) is None


@pytest.mark.slow
@pytest.mark.parametrize("intercept", ["task", "shared", None])
@pytest.mark.parametrize("penalty", [L1, L21])
def test_the_null_strength_beside_free_features_is_exact(penalty, intercept):
    X, y, task = rows()
    settings = {"loss": Quantile(0.4), "intercept": intercept, "tol": 1e-7}

    def fit(strength):
        model = MultiTaskRegressor(weighted(penalty(strength), [0, 1, 1, 1]), **settings)
        return model.fit(X, y, task=task)

    null = fit(1e3).solution_.null_strength
    above, below = fit(1.001 * null), fit(0.99 * null)
    assert above.solution_.status is Status.PENALISED_ZERO
    assert above.coef_[:, 0].any()
    assert not above.coef_[:, 1:].any()
    assert below.coef_[:, 1:].any()


def test_penalties_of_everything_are_as_before():
    X, y, task = rows()
    for penalty in (TraceNorm(0.1) + L1(0.02), toward_mean(0.1)):
        model = MultiTaskRegressor(penalty, loss=Quantile(0.7))
        assert model.fit(X, y, task=task).solution_.status is Status.CONVERGED


def test_too_many_free_features_are_left_open():
    rng = np.random.default_rng(0)
    samples = stacked_samples(Quantile(0.5), MODES["free"], 0)
    datafit = on_rows(samples.blocks, samples.intercepts, N_FEATURES, N_TASKS)
    free = FreeFeatures(datafit, np.zeros(1000, dtype=np.intp))
    assert free.evaluate(np.zeros(datafit.shape), rng.normal(size=60), np.zeros((1000, 4))) is None

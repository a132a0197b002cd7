"""LatentTasks: planted latent tasks, stationarity, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV, load, save
from polytask.exceptions import IncompatibleError
from polytask.penalties import L1, LatentTasks, TraceNorm
from polytask.solvers import Factored, Status

PLAIN = {"intercept": None, "task_weight": "equal"}
GROUPS = np.zeros((3, 12), dtype=bool)
GROUPS[0, :6] = GROUPS[1, 4:9] = GROUPS[2, 8:] = True


def overlapping(noise=1.0, n=40, d=20, seed=0):
    """Return tasks that draw on three latent tasks, some on two."""
    rng = np.random.default_rng(seed)
    T = GROUPS.shape[1]
    codes = GROUPS * rng.uniform(1, 2, GROUPS.shape)
    W = rng.standard_normal((d, 3)) @ codes
    X, task = rng.standard_normal((n * T, d)), np.repeat(np.arange(T), n)
    y = np.einsum("ij,ji->i", X, W[:, task]) + noise * rng.standard_normal(n * T)
    return X, y, task, W


def test_planted_overlapping_groups_are_recovered():
    X, y, task, W = overlapping()
    model = MultiTaskRegressor(LatentTasks(2.0, 3), **PLAIN).fit(X, y, task=task)
    L, S = model.solution_.factors
    assert sorted(map(tuple, S != 0)) == sorted(map(tuple, GROUPS))
    np.testing.assert_allclose(model.coef_.T, L @ S, atol=1e-12)
    low = MultiTaskRegressor(LatentTasks(0.5, 3), **PLAIN).fit(X, y, task=task)
    traces = [
        MultiTaskRegressor(TraceNorm(a), **PLAIN).fit(X, y, task=task) for a in (0.1, 0.3, 1)
    ]
    errors = [np.linalg.norm(m.coef_.T - W) for m in (low, *traces)]
    assert errors[0] < 0.9 * min(errors[1:])


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_no_small_move_of_the_factors_is_lower(alpha):
    X, y, task, _ = overlapping(n=15, d=8)
    model = MultiTaskRegressor(LatentTasks(alpha, 3), **PLAIN, tol=1e-8).fit(X, y, task=task)
    assert model.solution_.status is Status.STATIONARY
    assert model.solution_.residual <= 1e-8

    def objective(L, S):
        W = L @ S
        mean = [np.mean((y - X @ W[:, t])[task == t] ** 2) for t in range(12)]
        return 0.5 * sum(mean) + alpha * (0.5 * (L**2).sum() + np.abs(S).sum())

    L, S = model.solution_.factors
    least = objective(L, S)
    assert model.solution_.objective == pytest.approx(least, rel=1e-10)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-5):
        for _ in range(20):
            moved = objective(L + size * rng.standard_normal(L.shape),
                              S + size * rng.standard_normal(S.shape))  # fmt: skip
            assert moved >= least * (1 - 1e-12)


def test_one_feature_and_one_task_is_a_known_scalar_problem():
    # The least of 1/2 l^2 + |s| over l s = w is 3/2 |w|^(2/3).
    X, y = np.ones((4, 1)), np.full(4, 3.0)
    model = MultiTaskRegressor(LatentTasks(0.7, 1), **PLAIN, tol=1e-9).fit(X, y)
    grid = np.linspace(0, 4, 400_001)
    values = 0.5 * (grid - 3.0) ** 2 + 0.7 * 1.5 * grid ** (2 / 3)
    assert model.coef_[0, 0] == pytest.approx(grid[values.argmin()], abs=2e-5)
    assert model.solution_.objective == pytest.approx(values.min(), rel=1e-8)


def test_a_multiple_is_the_same_problem_at_another_scale():
    X, y, task, _ = overlapping(n=15, d=6)
    once = MultiTaskRegressor(2 * LatentTasks(0.3, 3), **PLAIN).fit(X, y, task=task)
    same = MultiTaskRegressor(LatentTasks(0.6, 3), **PLAIN).fit(X, y, task=task)
    np.testing.assert_array_equal(once.coef_, same.coef_)
    # The penalty is of degree 2/3 in W: targets of twice the size take the strength to 2^(4/3).
    twice = MultiTaskRegressor(LatentTasks(0.6 * 2 ** (4 / 3), 3), **PLAIN, tol=1e-8)
    twice.fit(X, 2 * y, task=task)
    np.testing.assert_allclose(twice.coef_, 2 * same.coef_, rtol=1e-3, atol=1e-4)


def test_the_order_of_tasks_and_features_does_not_matter():
    X, y, task, _ = overlapping(n=15, d=6)
    model = MultiTaskRegressor(LatentTasks(0.6, 3), **PLAIN, tol=1e-8).fit(X, y, task=task)
    turned = MultiTaskRegressor(LatentTasks(0.6, 3), **PLAIN, tol=1e-8)
    turned.fit(X[:, ::-1], y, task=11 - task)
    # Random starts are others, so stationary points may be too: the lowest one is the same here.
    assert turned.solution_.objective == pytest.approx(model.solution_.objective, rel=1e-6)
    np.testing.assert_allclose(turned.coef_[::-1, ::-1], model.coef_, atol=1e-4)


def test_a_large_strength_gives_zero():
    X, y, task, _ = overlapping(n=10, d=5)
    model = MultiTaskRegressor(LatentTasks(1e3, 2), **PLAIN).fit(X, y, task=task)
    assert not model.coef_.any()
    assert model.solution_.status is Status.ALL_ZERO


def test_starts_never_make_it_worse():
    X, y, task, _ = overlapping(n=15, d=8, seed=3)
    found = [
        MultiTaskRegressor(LatentTasks(0.5, 3), solver=Factored(starts), **PLAIN)
        .fit(X, y, task=task)
        .solution_.objective
        for starts in (1, 8)
    ]
    assert found[1] <= found[0] * (1 + 1e-7)


@pytest.mark.slow
def test_other_losses_intercepts_search_and_saving(tmp_path):
    X, y, task, _ = overlapping(n=20, d=6)
    names = np.where(y > 0, "yes", "no")
    classes = MultiTaskClassifier(LatentTasks(0.1, 2)).fit(X, names, task=task)
    assert classes.solution_.status is Status.STATIONARY
    assert classes.score(X, names, task=task) > 0.8
    search = MultiTaskRegressorCV(LatentTasks(n_latent=3), alphas=4, cv=2, task_weight="size")
    search.fit(X, y, task=task)
    assert search.best_penalty_.n_latent == 3
    assert search.score(X, y, task=task) > 0.5
    save(search, tmp_path / "m")
    again = load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X, task=task), search.predict(X, task=task))
    np.testing.assert_array_equal(again.solution_.factors[1], search.solution_.factors[1])


def test_what_does_not_fit_is_refused():
    X, y, task, _ = overlapping(n=5, d=3)
    with pytest.raises(IncompatibleError, match="Factored is for LatentTasks alone"):
        MultiTaskRegressor(L1(0.1), solver=Factored()).fit(X, y, task=task)
    with pytest.raises(IncompatibleError):
        MultiTaskRegressor(LatentTasks(1.0) + L1(0.1)).fit(X, y, task=task)
    with pytest.raises(IncompatibleError, match="factored_value"):
        LatentTasks(1.0).value(np.ones((3, 2)))
    with pytest.raises(IncompatibleError, match="cannot be shifted"):
        LatentTasks(1.0).shifted(np.ones((3, 2)))


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
def test_an_answer_of_zeros_names_a_strength_below_which_it_is_not(kind):
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(3), 20)
    X = rng.standard_normal((60, 4))
    y = rng.integers(0, 2, 60)
    empty = kind(LatentTasks(50.0)).fit(X, y, task).solution_
    assert empty.status is Status.ALL_ZERO
    assert f"Coefficients appear below alpha = {empty.null_strength:.6g}." in empty.message
    below = kind(LatentTasks(0.99 * empty.null_strength)).fit(X, y, task)
    assert below.coef_.any()
    assert below.solution_.objective < empty.objective

"""The square-root loss: against a cone program, the squared loss at its answer, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog
from scipy.stats import norm
from sklearn.linear_model import Lasso

import polytask
from polytask import MultiTaskModel, MultiTaskRegressor, MultiTaskRegressorCV, adapt, compare
from polytask.exceptions import ConvergenceWarning, IncompatibleError
from polytask.losses import SquareRoot
from polytask.penalties import L1, L2, L21, MCP, L1Inf, TraceNorm, dirty, toward_mean, weighted
from polytask.solvers import Concomitant, Status

SIZES, D, T = (25, 40, 30), 6, 3
NOISE = (0.2, 1.0, 4.0)
MODES = ["task", "toward_mean", "shared", None]


def rows():
    """Return X, y, task and weights of three tasks of unlike noise."""
    rng = np.random.default_rng(7)
    X = [rng.normal(size=(k, D)) + 0.3 for k in SIZES]
    W = np.zeros((D, T))
    W[:3] = rng.normal(size=(3, T))
    y = [x @ w + s * rng.normal(size=len(x)) for x, w, s in zip(X, W.T, NOISE, strict=True)]
    weight = [rng.integers(1, 4, size=k).astype(float) for k in SIZES]
    return np.vstack(X), np.concatenate(y), np.repeat([0, 1, 2], SIZES), np.concatenate(weight)


def fit(penalty, tol=1e-9, weighted_rows=False, **settings):
    X, y, task, weight = rows()
    model = MultiTaskRegressor(penalty, loss="square_root", tol=tol, **settings)
    return model.fit(X, y, task=task, sample_weight=weight if weighted_rows else None)


def residuals(model):
    """Return the weighted root mean square of what is left of every task."""
    X, y, task, _ = rows()
    left = y - model.predict(X, task=task)
    return np.array([np.sqrt(np.mean(left[task == t] ** 2)) for t in range(T)])


# The least objectives, by an interior point method for cones (Clarabel through CVXPY) to 1e-10.
LEAST = [
    (L1(0.2), "task", 5.8562480122),
    (L1(0.2), "shared", 6.1211034080),
    (L1(0.2), None, 6.1449051001),
    (L1(0.2), "toward_mean", 5.8886839992),
    (L21(0.3), "task", 5.9885706764),
    (L2(0.2), "task", 5.2588872739),
    (TraceNorm(0.3), "task", 5.6151229192),
    (TraceNorm(0.3), "shared", 5.8840075388),
    (TraceNorm(0.3), None, 5.8977846599),
    (TraceNorm(0.3), "toward_mean", 5.6527515281),
    (L1Inf(0.3), "task", 5.6835034351),
    (toward_mean(0.5), "task", 5.6519411470),
    (TraceNorm(0.2) + L1(0.1), "task", 5.9972581621),
]


@pytest.mark.parametrize(("penalty", "intercept", "least"), LEAST)
def test_the_objective_is_that_of_a_cone_program(penalty, intercept, least):
    settings = {"intercept": intercept, "intercept_strength": 10.0, "weighted_rows": True}
    found = fit(penalty, **settings).solution_
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("penalty", [L21(0.2), TraceNorm(0.2), L2(0.1) + toward_mean(0.3)])
@pytest.mark.parametrize("intercept", ["task", "shared", None])
def test_at_its_answer_it_is_the_squared_loss_with_weights_over_noise(penalty, intercept):
    X, y, task, _ = rows()
    model = fit(penalty, tol=1e-12, intercept=intercept)
    share = np.array(SIZES) / np.mean(SIZES)
    plain = MultiTaskRegressor(
        penalty, task_weight=share / model.noise_, intercept=intercept, tol=1e-13
    ).fit(X, y, task=task)
    np.testing.assert_allclose(plain.coef_, model.coef_, atol=2e-5)
    np.testing.assert_allclose(plain.intercept_, model.intercept_, atol=2e-5)


def test_noise_is_what_is_left_in_units_of_the_targets():
    for settings in ({}, {"scale_targets": "task", "standardize": True}):
        model = fit(L21(0.1), **settings)
        np.testing.assert_allclose(model.noise_, residuals(model), rtol=1e-9)
    model.set_params(loss="squared").fit(*rows()[:2], task=rows()[2])
    assert not hasattr(model, "noise_")


@pytest.mark.parametrize("intercept", [*MODES, "auto"])
def test_multiplying_the_targets_multiplies_the_coefficients(intercept):
    X, y, task, _ = rows()
    one, other = (
        MultiTaskRegressor(L21(0.2), loss=SquareRoot(), intercept=intercept, tol=1e-10)
        for _ in range(2)
    )
    one.fit(X, y, task=task)
    other.fit(X, 1e4 * y, task=task)
    np.testing.assert_allclose(other.coef_, 1e4 * one.coef_, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(other.intercept_, 1e4 * one.intercept_, rtol=1e-6, atol=1e-4)


def test_one_strength_suits_every_noise_and_no_noise_has_to_be_known():
    rng = np.random.default_rng(3)
    n, d = 200, 60
    X = rng.standard_normal((n, d))
    truth = np.zeros(d)
    truth[:4] = 1.0
    noise = np.array([0.01, 1.0, 100.0])
    Y = noise * ((X @ truth)[:, None] + rng.standard_normal((n, 3)))
    alpha = 1.1 * norm.ppf(1 - 0.05 / (2 * d)) / np.sqrt(n)
    found = MultiTaskRegressor(L1(alpha), loss="square_root").fit(X, Y)
    for coef in found.coef_:
        np.testing.assert_array_equal(np.flatnonzero(coef), range(4))
    # The squared loss has no strength that suits all three.
    for strength in alpha * noise:
        coef = MultiTaskRegressor(L1(strength)).fit(X, Y).coef_
        assert any(np.count_nonzero(own) != 4 for own in coef)


@pytest.mark.parametrize("intercept", MODES)
@pytest.mark.parametrize("penalty", [L1, L21, TraceNorm])
def test_the_null_strength_is_exact(penalty, intercept):
    null = fit(penalty(fraction=1.0), intercept=intercept).solution_.null_strength
    above, below = (fit(penalty(c * null), intercept=intercept) for c in (1.0001, 0.9999))
    assert above.solution_.status is Status.ALL_ZERO
    assert not above.coef_.any()
    assert below.coef_.any()
    assert below.solution_.status is Status.CONVERGED


def test_the_null_strength_is_that_of_correlations_with_unit_residuals():
    X, y, task, _ = rows()
    null = fit(L21(fraction=1.0), intercept=None).solution_.null_strength
    share = np.array(SIZES) / np.mean(SIZES)
    pull = [
        X[task == t].T @ y[task == t] / np.linalg.norm(y[task == t]) / np.sqrt(SIZES[t])
        for t in range(T)
    ]
    assert null == pytest.approx(np.linalg.norm(np.array(pull).T * share, axis=1).max())


def test_one_task_with_l1_is_the_scaled_lasso():
    X, y, task, _ = rows()
    X, y, sigma = X[task == 1], y[task == 1], 1.0
    for _ in range(200):
        lasso = Lasso(alpha=0.15 * sigma, tol=1e-13, max_iter=100_000).fit(X, y)
        sigma = np.sqrt(np.mean((y - lasso.predict(X)) ** 2))
    model = MultiTaskRegressor(L1(0.15), loss="square_root", tol=1e-11).fit(X, y)
    np.testing.assert_allclose(model.coef_[0], lasso.coef_, atol=1e-6)
    assert model.noise_[0] == pytest.approx(sigma, rel=1e-7)


def test_weights_are_repetitions_and_rows_of_weight_zero_are_not_there():
    X, y, task, weight = rows()
    weight[::7] = 0.0
    settings = {"loss": "square_root", "tol": 1e-11}
    model = MultiTaskRegressor(L21(0.2), **settings).fit(X, y, task=task, sample_weight=weight)
    again = np.repeat(np.arange(len(y)), weight.astype(int))
    other = MultiTaskRegressor(L21(0.2), **settings).fit(X[again], y[again], task=task[again])
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-6)
    np.testing.assert_allclose(model.noise_, other.noise_, rtol=1e-6)


def test_every_form_of_the_data_gives_the_same_answer():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 4)) * (rng.random((50, 4)) < 0.7)
    Y = X[:, :3] + rng.normal(size=(50, 3)) * [0.1, 1.0, 5.0]
    Y[rng.random(Y.shape) < 0.2] = np.nan
    row, task = np.nonzero(~np.isnan(Y))
    order = np.argsort(task, kind="stable")
    row, task = row[order], task[order]
    y = Y[row, task]
    apart = {t: (X[row[task == t]], y[task == t]) for t in range(3)}
    settings = {"loss": "square_root", "intercept": "task", "tol": 1e-11}
    one = MultiTaskRegressor(L21(0.1), **settings).fit(X, Y)
    for given in (
        MultiTaskRegressor(L21(0.1), **settings).fit(X[row], y, task=task),
        MultiTaskRegressor(L21(0.1), **settings).fit(sp.csr_array(X[row]), y, task=task),
        MultiTaskRegressor(L21(0.1), **settings).fit(apart),
        MultiTaskRegressor(L21(0.1), solver=Concomitant(), **settings).fit(X, Y),
    ):
        np.testing.assert_allclose(given.coef_, one.coef_, atol=1e-6)
        np.testing.assert_allclose(given.noise_, one.noise_, rtol=1e-6)


def test_more_features_than_rows_and_float32():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((40, 120))
    Y = X[:, :2] * 3.0 + rng.standard_normal((40, 2)) * [0.5, 2.0]
    wide = MultiTaskRegressor(L21(fraction=0.5), loss="square_root").fit(X, Y)
    assert wide.solution_.status is Status.CONVERGED
    single = MultiTaskRegressor(L21(fraction=0.5), loss="square_root")
    single.fit(X.astype(np.float32), Y.astype(np.float32))
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, wide.coef_, atol=1e-4)


def test_unpenalised_features_and_parts():
    free = fit(weighted(L1(0.3), [0.0, 1, 1, 1, 1, 1]), tol=1e-8, intercept="task")
    assert free.solution_.status is Status.CONVERGED
    assert free.coef_[:, 0].all()
    X, y, task, _ = rows()
    left = y - free.predict(X, task=task)
    # Nothing holds the first feature: the residuals over the noise have no part in it.
    sums = [X[task == t, 0] @ left[task == t] / free.noise_[t] / SIZES[t] for t in range(T)]
    np.testing.assert_allclose(sums, 0.0, atol=1e-7)
    apart = fit(dirty(), tol=1e-7)
    assert apart.solution_.status is Status.CONVERGED
    np.testing.assert_allclose(sum(apart.coef_parts_), apart.coef_)


@pytest.mark.slow
@pytest.mark.parametrize("intercept", MODES)
def test_penalties_that_are_not_convex(intercept):
    # Their stages leave some features alone.
    penalty = MCP(0.3)
    model = fit(penalty, tol=1e-8, intercept=intercept)
    assert model.solution_.status is Status.STATIONARY
    X, y, task, _ = rows()
    left, share = y - model.predict(X, task=task), np.array(SIZES) / np.mean(SIZES)
    pull = [
        share[t] * X[task == t].T @ left[task == t] / SIZES[t] / model.noise_[t] for t in range(T)
    ]
    size, norms = np.linalg.norm(model.coef_, axis=0), np.linalg.norm(pull, axis=0)
    slope = np.maximum(penalty.alpha - size / penalty.gamma, 0.0)
    used = size > 0
    assert used.any()
    np.testing.assert_allclose(norms[used], slope[used], atol=1e-4)
    assert np.all(norms[~used] <= penalty.alpha + 1e-6)


def pursuit(X, y):
    """Return the least sum |w| with X w = y."""
    found = linprog(np.ones(2 * X.shape[1]), A_eq=np.hstack([X, -X]), b_eq=y, bounds=(0, None))
    return found.fun


@pytest.mark.parametrize("alpha", [0.3, 0.02])
def test_a_task_that_can_be_fitted_exactly_has_an_honest_certificate(alpha):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((8, 12))
    y = X[:, 0] + 0.5 * rng.standard_normal(8)
    exact = alpha * pursuit(X, y)
    model = MultiTaskRegressor(L1(alpha), loss="square_root", intercept=None)
    found = model.fit(X, y).solution_
    # For the weak penalty the exact fit is the optimum; for the strong one it is not.
    assert found.status is Status.CONVERGED
    assert found.objective - found.gap <= exact * (1 + 1e-9)
    if alpha < 0.1:
        assert found.objective - exact <= 1e-6 * found.certificate.reference
        assert model.noise_[0] < 1e-5
    else:
        assert found.objective < 0.99 * exact


def test_an_exact_fit_that_is_cut_short_says_so():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((8, 12))
    y = X[:, 0] + 0.5 * rng.standard_normal(8)
    model = MultiTaskRegressor(L1(0.02), loss="square_root", tol=1e-12, max_iter=300)
    with pytest.warns(ConvergenceWarning, match="fitted almost exactly"):
        model.fit(X, y)
    assert model.solution_.status is Status.FITTED_EXACTLY
    assert not model.solution_.status.ok


def test_targets_that_are_all_alike():
    X, y, task, _ = rows()
    alike = MultiTaskRegressor(loss="square_root").fit(X, np.full(len(y), 3.1), task=task)
    assert not alike.coef_.any()
    np.testing.assert_allclose(alike.predict(X, task=task), 3.1)
    one = np.where(task == 2, 3.1, y)
    model = MultiTaskRegressor(L21(0.1), loss="square_root", intercept="task")
    model.fit(X, one, task=task)
    assert model.solution_.status is Status.CONVERGED
    assert np.abs(model.coef_[2]).max() < 1e-6
    assert model.coef_[:2].any()


def test_beside_other_losses():
    X, y, task, _ = rows()
    X, y = X[task == 1], y[task == 1]
    Y = np.column_stack([y, y > 0, y])
    losses = {0: "square_root", 1: "logistic", 2: "squared"}
    model = MultiTaskModel(L21(0.01), loss=losses, scale_targets="auto").fit(X, Y)
    assert model.solution_.status is Status.CONVERGED
    assert model.noise_[0] > 0.5
    assert np.isnan(model.noise_[1:]).all()
    alone = MultiTaskRegressor(L1(0.05), loss="square_root", tol=1e-9).fit(X, y)
    joint = MultiTaskModel(L1(0.05), loss=losses, tol=1e-9).fit(X, Y)
    np.testing.assert_allclose(joint.coef_[0], alone.coef_[0], atol=1e-5)
    with pytest.raises(IncompatibleError, match="'quantile' and 'square_root' cannot be learned"):
        MultiTaskModel(L21(0.01), loss=losses | {2: "quantile"}).fit(X, Y)


def test_search_files_a_plain_model_and_a_new_task(tmp_path):
    X, y, task, _ = rows()
    model = MultiTaskRegressorCV(L21(), loss=SquareRoot(), alphas=5, cv=2, intercept="task")
    model.fit(X, y, task=task)
    left = residuals(model)
    np.testing.assert_allclose(model.noise_, left, rtol=1e-6)
    polytask.save(model, tmp_path / "r.polytask")
    again = polytask.load(tmp_path / "r.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    np.testing.assert_array_equal(again.noise_, model.noise_)
    assert again.loss == SquareRoot()
    own = task == 1
    plain = model.to_sklearn(1).predict(X[own])
    np.testing.assert_allclose(plain, model.predict(X[own], task=task[own]))
    wider = adapt(model, X[own][:15], y[own][:15], task="new")
    there = wider.predict(X[own], task=np.repeat("new", own.sum()))
    np.testing.assert_allclose(there, y[own], atol=5.0)


@pytest.mark.slow
def test_comparisons_have_the_same_loss_and_judge_by_squares():
    X, y, task, _ = rows()
    names = ["separate, unpenalised", "boosting pooled", "learned prior"]
    square_root, squared = (
        compare(X, y, task=task, loss=loss, models=names, cv=2)
        for loss in ("square_root", "squared")
    )
    one, other = ({row.name: row for row in r.models} for r in (square_root, squared))
    assert "a learned prior is for the losses squared" in one["learned prior"].note
    # The loss of boosting is the squared one, which is what both are judged by.
    assert one[names[1]].score.mean == pytest.approx(other[names[1]].score.mean)
    # Hardly penalised and task by task, both losses have the same answer.
    assert one[names[0]].score.mean == pytest.approx(other[names[0]].score.mean, abs=1e-3)


def test_what_is_refused():
    X, y, task, _ = rows()
    with pytest.raises(IncompatibleError, match="Concomitant is for the square-root loss"):
        MultiTaskRegressor(solver=Concomitant()).fit(X, y, task=task)
    with pytest.raises(IncompatibleError, match="square_root"):
        polytask.MultiTaskClassifier(loss="square_root").fit(X, y > 0, task=task)

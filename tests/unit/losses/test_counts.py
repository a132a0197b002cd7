"""The Poisson and gamma losses: against plain optimisation, scikit-learn and other formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import xlogy
from sklearn.linear_model import GammaRegressor, PoissonRegressor

import polytask
from polytask import (
    DataError,
    DataWarning,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
)
from polytask.losses import Gamma, Poisson
from polytask.metrics.scores import best_constant
from polytask.penalties import L2, L21, TraceNorm, toward_mean

NAMES = ("poisson", "gamma")
LEARNERS = {"poisson": PoissonRegressor, "gamma": GammaRegressor}


def _deviance(name, y, eta):
    """Return half the deviance by the textbook formulas."""
    if name == "poisson":
        return np.exp(eta) - y * eta + xlogy(y, y) - y
    return y * np.exp(-eta) + eta - 1.0 - np.log(y)


def _rows(name, seed=0, n_tasks=4, each=40, d=5, level=0.0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), each)
    X = rng.normal(size=(len(task), d))
    W = 0.5 * rng.normal(size=(d, 1)) + 0.15 * rng.normal(size=(d, n_tasks))
    mean = np.exp(level + np.einsum("ij,ji->i", X, W[:, task]) + 0.3 * task)
    y = rng.poisson(mean).astype(float) if name == "poisson" else rng.gamma(2.0, mean / 2.0)
    return X, y, task, rng.uniform(0.5, 2.0, len(task))


def _objective(name, X, y, task, weight, W, b):
    """Return the data term with task weights by size, from its definition."""
    eta = np.einsum("ij,ji->i", X, W[:, task]) + b[task]
    total = weight.sum() / len(np.unique(task))
    return float(weight @ _deviance(name, y, eta)) / total


@pytest.mark.parametrize("name", NAMES)
def test_values_are_half_the_deviance(name):
    loss = {"poisson": Poisson(), "gamma": Gamma()}[name]
    rng = np.random.default_rng(0)
    y, eta = rng.gamma(1.0, 2.0, 50), rng.normal(size=50)
    y = np.floor(y) if name == "poisson" else y
    np.testing.assert_allclose(loss.value(y, eta), _deviance(name, y, eta), rtol=1e-12, atol=1e-14)
    exact = np.log(np.maximum(y, 1e-300))
    assert np.all(loss.value(y, exact) < 1e-14)
    np.testing.assert_allclose(loss.inverse_link(eta), np.exp(eta))


def test_large_counts_keep_their_digits():
    away = 1e-6
    got = Poisson().value(np.array([1e6]), np.log(np.array([1e6])) + away)
    np.testing.assert_allclose(got, 1e6 * away**2 / 2, rtol=1e-6)


@pytest.mark.parametrize(("y", "u", "inside"), [(2, -2, 1), (2, -2.1, 0), (0, 0, 1), (0, -0.1, 0)])
def test_the_domain_of_the_poisson_conjugate(y, u, inside):
    found = Poisson().conjugate(np.array([float(y)]), np.array([float(u)]))[0]
    assert np.isfinite(found) == bool(inside)
    if inside:
        assert found == pytest.approx(y - xlogy(y, y))


@pytest.mark.parametrize(("u", "inside"), [(1.0, True), (1.1, False), (-5.0, True)])
def test_the_domain_of_the_gamma_conjugate(u, inside):
    found = Gamma().conjugate(np.array([3.0]), np.array([u]))[0]
    assert np.isfinite(found) == inside
    if inside:
        assert found == pytest.approx(xlogy(1 - u, 1 - u) + u + u * np.log(3.0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_one_task_is_the_regression_of_scikit_learn(name, alpha):
    X, y, _, weight = _rows(name, n_tasks=1, each=120)
    task = np.zeros(len(y), dtype=int)
    model = MultiTaskRegressor(L2(alpha), loss=name, tol=1e-12)
    model.fit(X, y, task=task, sample_weight=weight)
    theirs = LEARNERS[name](alpha=alpha, solver="newton-cholesky", tol=1e-12)
    theirs.fit(X, y, sample_weight=weight)
    values = [
        _objective(name, X, y, task, weight, coef[:, None], np.atleast_1d(b))
        + alpha / 2 * float(coef @ coef)
        for coef, b in ((model.coef_[0], model.intercept_[0]), (theirs.coef_, theirs.intercept_))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert model.solution_.objective == pytest.approx(values[0], rel=1e-12)
    np.testing.assert_allclose(model.coef_[0], theirs.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.predict(X, task=task), theirs.predict(X), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_intercepts_alone_are_logarithms_of_means(name):
    X, y, task, weight = _rows(name)
    model = MultiTaskRegressor(L21(fraction=1.0), loss=name, intercept="task")
    model.fit(X, y, task=task, sample_weight=weight)
    assert model.solution_.status.name == "ALL_ZERO"
    means = [np.average(y[task == t], weights=weight[task == t]) for t in range(4)]
    np.testing.assert_allclose(model.intercept_, np.log(means), rtol=1e-10)
    shared = MultiTaskRegressor(L21(fraction=1.0), loss=name, intercept="shared")
    shared.fit(X, y, task=task, sample_weight=weight)
    np.testing.assert_allclose(shared.intercept_, np.log(np.average(y, weights=weight)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("penalty", [L21, TraceNorm])
def test_the_null_strength_is_exact(name, penalty):
    X, y, task, _ = _rows(name)
    settings = {"loss": name, "intercept": "task", "tol": 1e-9}
    above = MultiTaskRegressor(penalty(fraction=1.0), **settings).fit(X, y, task=task)
    null = above.solution_.null_strength
    assert not above.coef_.any()
    assert (
        not MultiTaskRegressor(penalty(1.0001 * null), **settings).fit(X, y, task=task).coef_.any()
    )
    assert MultiTaskRegressor(penalty(0.999 * null), **settings).fit(X, y, task=task).coef_.any()


def _free(name, X, y, task, weight, penalty):
    """Minimise with a smooth penalty by a quasi-Newton method over W and b."""
    d, n_tasks = X.shape[1], int(task.max()) + 1

    def value(flat):
        W, b = flat[: d * n_tasks].reshape(d, n_tasks), flat[d * n_tasks :]
        return _objective(name, X, y, task, weight, W, b) + float(penalty.value(W))

    options = {"maxiter": 20000, "maxfun": 10**6, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(value, np.zeros((d + 1) * n_tasks), method="L-BFGS-B", options=options)
    return found.fun


@pytest.mark.parametrize("name", NAMES)
def test_a_joint_fit_is_the_plain_optimum(name):
    X, y, task, weight = _rows(name, n_tasks=3, d=3)
    penalty = toward_mean(0.3) + L2(0.05)
    model = MultiTaskRegressor(penalty, loss=name, intercept="task", tol=1e-11)
    model.fit(X, y, task=task, sample_weight=weight)
    bound = penalty.bind(_columns(3))
    assert model.solution_.objective == pytest.approx(
        _free(name, X, y, task, weight, bound), rel=1e-7
    )


def _columns(n_tasks):
    from polytask.penalties import Columns

    return Columns.plain(n_tasks)


def _rows_of_descent(name, X, y, task, weight, alpha, steps=6000):
    """Minimise with L21 by proximal gradient with halving, intercepts included."""
    W, b = np.zeros((X.shape[1], int(task.max()) + 1)), np.zeros(int(task.max()) + 1)
    loss = {"poisson": Poisson(), "gamma": Gamma()}[name]
    total, step = weight.sum() / len(b), 1.0

    def smooth(W, b):
        return _objective(name, X, y, task, weight, W, b)

    now = smooth(W, b)
    for _ in range(steps):
        eta = np.einsum("ij,ji->i", X, W[:, task]) + b[task]
        slope = weight * loss.gradient(y, eta) / total
        G = np.stack([X[task == t].T @ slope[task == t] for t in range(len(b))], axis=1)
        g = np.bincount(task, slope)
        while True:
            moved = W - step * G
            norms = np.linalg.norm(moved, axis=1, keepdims=True)
            new = moved * np.maximum(1 - step * alpha / np.maximum(norms, 1e-300), 0)
            c = b - step * g
            away = np.append((new - W).ravel(), c - b)
            linear = float(np.sum(G * (new - W)) + g @ (c - b))
            after = smooth(new, c)
            if after <= now + linear + float(away @ away) / (2 * step) + 1e-15 * abs(now):
                break
            step /= 2
        W, b, now, step = new, c, after, 1.05 * step
    return now + alpha * np.linalg.norm(W, axis=1).sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_row_sparse_fits_agree_with_long_proximal_gradient_and_the_gap_is_valid(name):
    X, y, task, weight = _rows(name, n_tasks=3, each=30, d=4)
    settings = {"loss": name, "intercept": "task"}
    exact = MultiTaskRegressor(L21(fraction=0.2), tol=1e-12, **settings)
    exact.fit(X, y, task=task, sample_weight=weight)
    alpha = (
        0.2
        * MultiTaskRegressor(L21(fraction=1.0), **settings)
        .fit(X, y, task=task, sample_weight=weight)
        .solution_.null_strength
    )
    reference = _rows_of_descent(name, X, y, task, weight, alpha)
    assert exact.solution_.objective == pytest.approx(reference, rel=1e-7)
    for tol in (0.3, 0.03, 1e-3):
        rough = MultiTaskRegressor(L21(alpha), tol=tol, **settings)
        found = rough.fit(X, y, task=task, sample_weight=weight).solution_
        assert found.objective - reference <= found.gap + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_is_a_repeated_row_and_a_missing_label_is_none(name):
    X, y, task, _ = _rows(name)
    weight = np.where(np.arange(len(y)) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(y)), weight.astype(int))
    settings = {"loss": name, "tol": 1e-11}
    weighted = MultiTaskRegressor(L2(0.1), **settings).fit(X, y, task=task, sample_weight=weight)
    repeated = MultiTaskRegressor(L2(0.1), **settings).fit(X[twice], y[twice], task=task[twice])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-8)
    Y = np.full((len(y), 4), np.nan)
    Y[np.arange(len(y)), task] = y
    wide = MultiTaskRegressor(L2(0.1), intercept="task", **settings).fit(X, Y)
    long = MultiTaskRegressor(L2(0.1), intercept="task", **settings).fit(X, y, task=task)
    np.testing.assert_allclose(wide.coef_, long.coef_, rtol=1e-7, atol=1e-9)


def test_exposures_are_weights_of_rates():
    X, _, task, exposure = _rows("poisson")
    y = np.random.default_rng(1).poisson(exposure * np.exp(X[:, 0])).astype(float)
    model = MultiTaskRegressor(L2(1e-2), loss="poisson", intercept="task", tol=1e-11)
    model.fit(X, y / exposure, task=task, sample_weight=exposure)
    total = exposure.sum() / 4

    def value(flat):
        W, b = flat[:20].reshape(5, 4), flat[20:]
        eta = np.einsum("ij,ji->i", X, W[:, task]) + b[task] + np.log(exposure)
        return float(np.sum(np.exp(eta) - y * eta)) / total + 0.005 * float(np.sum(W**2))

    at = np.append(model.coef_.T.ravel(), model.intercept_)
    best = minimize(value, at, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    assert value(at) == pytest.approx(best.fun, rel=1e-8)


@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("penalty", [L2(1e-3), L21(fraction=0.01)])
def test_every_mode_of_intercepts_converges_far_from_one(name, intercept, penalty):
    X, y, task, _ = _rows(name, level=6.0)
    model = MultiTaskRegressor(penalty, loss=name, intercept=intercept).fit(X, y, task=task)
    assert model.solution_.status.ok
    assert np.isfinite(model.coef_).all()


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [L2(1e-3), L21(fraction=0.01), TraceNorm(fraction=0.01)])
def test_huge_counts_and_rows_far_out_are_safe(penalty):
    X, y, task, _ = _rows("poisson")
    huge = MultiTaskRegressor(penalty, loss="poisson", tol=1e-5).fit(X, 1e6 * y, task=task)
    assert huge.solution_.status.ok
    X[3] = 800.0
    far = MultiTaskRegressor(penalty, loss="poisson", tol=1e-3).fit(X, y, task=task)
    assert far.solution_.status.ok
    assert np.isfinite(far.predict(X, task=task)).all()


def test_a_warm_start_that_overflows_is_dropped():
    X, y, task, _ = _rows("poisson")
    model = MultiTaskRegressor(L2(1e-3), loss="poisson", intercept=None, warm_start=True)
    model.fit(X, y, task=task)
    again = model.fit(1e4 * X, y, task=task)
    fresh = MultiTaskRegressor(L2(1e-3), loss="poisson", intercept=None).fit(1e4 * X, y, task=task)
    assert again.solution_.objective == pytest.approx(fresh.solution_.objective, rel=1e-4)


def test_an_infinite_prediction_says_so():
    X, y, task, _ = _rows("poisson")
    model = MultiTaskRegressor(L2(1e-3), loss="poisson").fit(X, y, task=task)
    with pytest.warns(DataWarning, match="predicted means are infinite"):
        assert np.isinf(model.predict(1e5 * X, task=task)).any()


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        (
            "poisson",
            -2.0,
            r"y of MultiTaskRegressor must be a number >= 0 .*got -2.0 .*2 such rows",
        ),
        (
            "gamma",
            0.0,
            r"must be a number > 0 for loss='gamma'; got 0.0 .row 41, counting from 0; .*task 1",
        ),
    ],
)
def test_forbidden_targets_are_named(name, bad, words):
    X, y, task, _ = _rows(name)
    y[[41, 50]] = bad
    with pytest.raises(DataError, match=words):
        MultiTaskRegressor(loss=name).fit(X, y, task=task)
    Y = np.stack([y, y], axis=1)
    with pytest.raises(DataError, match="task 1"):
        MultiTaskModel(loss={0: "squared", 1: name}).fit(X, Y)


def test_a_task_of_zeros_needs_others():
    X, y, task, _ = _rows("poisson")
    y[task == 2] = 0.0
    pulled = MultiTaskRegressor(L2(0.1), loss="poisson", intercept="toward_mean")
    pulled.fit(X, y, task=task)
    assert pulled.intercept_[2] == pulled.intercept_.min()
    assert np.isfinite(pulled.intercept_).all()
    with pytest.raises(DataError, match=r"Task 2 of .* holds zeros only.*toward_mean"):
        MultiTaskRegressor(loss="poisson", intercept="task").fit(X, y, task=task)
    with pytest.raises(DataError, match=r"All 4 tasks .* hold zeros only"):
        MultiTaskRegressor(loss="poisson").fit(X, 0 * y, task=task)


def test_losses_are_mixed_by_task_and_scaling_leaves_counts_alone():
    X, y, _, _ = _rows("poisson", n_tasks=1, each=150)
    amounts = np.exp(0.5 * X[:, 1])
    Y = np.column_stack([y, amounts, 100 * X[:, 0] + 7, X[:, 0] > 0])
    losses = {0: "poisson", 1: "gamma", 2: "squared", 3: "logistic"}
    model = MultiTaskModel(L2(1e-3), loss=losses, scale_targets="auto", tol=1e-9).fit(X, Y)
    alone = MultiTaskRegressor(L2(1e-3), loss="poisson", tol=1e-9).fit(X, y)
    np.testing.assert_allclose(model.coef_[0], alone.coef_[0], rtol=1e-5, atol=1e-7)
    assert np.all(np.array(model.task_scores(X, Y).values) > [0.3, 0.9, 0.9, 0.5])
    found = model.predict(X)
    np.testing.assert_allclose(found[:, 1].astype(float), amounts, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_cross_validation_and_the_score_are_by_deviance(name):
    X, y, task, _ = _rows(name, n_tasks=5, each=60)
    model = MultiTaskRegressorCV(loss=name, alphas=6, cv=3).fit(X, y, task=task)
    assert model.solution_.status.ok
    eta = np.log(model.predict(X, task=task))
    # Over the rows of all tasks, against the mean of all training rows.
    null = _deviance(name, y, np.full(len(y), np.log(y.mean()))).sum()
    share = 1 - _deviance(name, y, eta).sum() / null
    assert model.score(X, y, task=task) == pytest.approx(share)
    assert model.score(X, y, task=task) > 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_and_a_plain_one_predict_the_same(name, tmp_path):
    X, y, task, _ = _rows(name)
    model = MultiTaskRegressor(L2(0.1), loss=name, unseen_tasks="shared").fit(X, y, task=task)
    polytask.save(model, tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(loaded.predict(X, task=task), model.predict(X, task=task))
    plain = model.to_sklearn(2)
    assert isinstance(plain, LEARNERS[name])
    np.testing.assert_allclose(plain.predict(X), model.predict(X, task=np.full(len(X), 2)))
    assert np.all(model.predict(X, task=np.full(len(X), 9)) > 0)


def test_best_constants():
    y = np.array([0.0, 2.0, 4.0])
    assert best_constant(Poisson(), y) == pytest.approx(np.log(2.0))
    assert best_constant(Gamma(), y[1:], np.array([3.0, 1.0])) == pytest.approx(np.log(2.5))
    assert best_constant(Poisson(), 0 * y) == -np.inf


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_kept(name):
    X, y, task, _ = _rows(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MultiTaskRegressor(loss=name).fit(X.astype(np.float32), y, task=task)
    assert model.coef_.dtype == np.float32
    assert model.predict(X.astype(np.float32), task=task).dtype == np.float32

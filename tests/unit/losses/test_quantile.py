"""The pinball loss: against linear programs, weighted quantiles and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import d2_pinball_score

import polytask
from polytask import MultiTaskModel, MultiTaskRegressor, MultiTaskRegressorCV, compare
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.losses import Quantile
from polytask.metrics.scores import best_constant
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean
from polytask.solvers import AcceleratedGradient, Newton, Status
from polytask.testing import check_loss

N, D, T = 60, 4, 3
PLAIN = {"task_weight": "equal", "intercept": "task"}


def rows(seed=1):
    """Return rows of related tasks with noise that has a long tail above."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N * T, D))
    task = np.repeat(["a", "b", "c"], N)
    slopes = np.array([1.0, -1.0, 0.0, 0.0]) + 0.2 * rng.normal(size=(T, D))
    noise = rng.gamma(1.0, 1.0, size=N * T)
    return X, np.einsum("ij,ij->i", X, np.repeat(slopes, N, axis=0)) + noise, task


def program(X, y, q, alpha):
    """Return the least mean pinball loss plus alpha * sum |w| as a linear program."""
    n, d = X.shape
    cost = np.concatenate([np.full(2 * d, alpha), [0], np.full(n, q / n), np.full(n, (1 - q) / n)])
    A = np.hstack([X, -X, np.ones((n, 1)), np.eye(n), -np.eye(n)])
    bounds = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * (2 * n)
    found = linprog(cost, A_eq=A, b_eq=y, bounds=bounds, method="highs")
    return found.fun, found.x[:d] - found.x[d : 2 * d]


@pytest.mark.parametrize(("q", "alpha"), [(0.5, 0.05), (0.9, 0.02)])
def test_with_l1_it_is_a_linear_program(q, alpha):
    X, y, task = rows()
    model = MultiTaskRegressor(L1(alpha), loss=Quantile(q), tol=1e-8, **PLAIN).fit(X, y, task=task)
    wanted = [program(X[task == t], y[task == t], q, alpha) for t in "abc"]
    assert model.solution_.objective == pytest.approx(sum(w for w, _ in wanted), rel=1e-7)
    assert model.solution_.gap <= 1e-8 * model.solution_.certificate.reference
    zeros = np.array([np.abs(w) < 1e-9 for _, w in wanted])
    np.testing.assert_array_equal(model.coef_ == 0, zeros)
    peer = QuantileRegressor(quantile=q, alpha=alpha).fit(X[task == "a"], y[task == "a"])
    np.testing.assert_allclose(model.coef_[0], peer.coef_, atol=1e-3)


def test_with_a_group_norm_it_is_what_a_smooth_program_finds():
    X, y, task = rows()
    alpha, q = 0.1, 0.8
    model = MultiTaskRegressor(L21(alpha), loss=Quantile(q), tol=1e-7, **PLAIN)
    model.fit(X, y, task=task)
    owner = np.repeat(np.arange(T), N)

    # Slacks instead of kinks: minimise over (W, b, above, norms) with smooth constraints.
    def total(v):
        W, b, up, norms = np.split(v, [D * T, D * T + T, D * T + T + N * T])
        eta = np.einsum("ij,ji->i", X, W.reshape(D, T)[:, owner]) + b[owner]
        # r = y - eta = up - down, both >= 0.
        return (q * up.sum() + (1 - q) * (up - y + eta).sum()) / N + alpha * norms.sum()

    def slope(v):
        g = np.zeros_like(v)
        up = slice(D * T + T, D * T + T + N * T)
        G = np.zeros((D, T))
        np.add.at(G.T, owner, X * (1 - q) / N)
        g[: D * T], g[D * T : D * T + T] = G.ravel(), (1 - q) * np.bincount(owner) / N
        g[up], g[up.stop :] = 1.0 / N, alpha
        return g

    A = np.zeros((N * T, D * T + T + N * T + D))
    for i in range(N * T):
        A[i, np.arange(D) * T + owner[i]], A[i, D * T + owner[i]] = X[i], 1.0
        A[i, D * T + T + i] = 1.0
    W0 = model.coef_.T * 0.9
    b0 = model.intercept_
    eta = np.einsum("ij,ji->i", X, W0[:, owner]) + b0[owner]
    begin = np.concatenate(
        [W0.ravel(), b0, np.maximum(y - eta, 0) + 0.1, np.linalg.norm(W0, axis=1) + 0.1]
    )
    cones = {
        "type": "ineq",
        "fun": lambda v: v[-D:] - np.sqrt((v[: D * T].reshape(D, T) ** 2).sum(1) + 1e-14),
    }
    rows_above = {"type": "ineq", "fun": lambda v: A @ v - y, "jac": lambda v: A}
    bounds = [(None, None)] * (D * T + T) + [(0, None)] * (N * T) + [(0, None)] * D
    found = minimize(
        total,
        begin,
        jac=slope,
        bounds=bounds,
        constraints=[cones, rows_above],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    assert model.solution_.objective == pytest.approx(found.fun, rel=1e-4)
    assert model.solution_.objective <= found.fun + 1e-6


@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
@pytest.mark.parametrize("penalty", [L21(0.05), TraceNorm(0.1) + L1(0.02), toward_mean(0.1)])
def test_every_kind_of_penalty_and_intercept(penalty, intercept):
    X, y, task = rows()
    model = MultiTaskRegressor(penalty, loss=Quantile(0.7), intercept=intercept, tol=1e-6)
    found = model.fit(X, y, task=task).solution_
    assert found.status is Status.CONVERGED
    assert found.certificate.relative <= 1e-6


def test_without_features_intercepts_are_weighted_quantiles():
    X, y, task = rows()
    weight = np.random.default_rng(0).integers(1, 4, size=len(y)).astype(float)
    model = MultiTaskRegressor(L21(1e3), loss=Quantile(0.9), **PLAIN)
    model.fit(X, y, task=task, sample_weight=weight)
    assert not model.coef_.any()
    for t, label in enumerate("abc"):
        own = np.repeat(y[task == label], weight[task == label].astype(int))
        below, above = np.mean(own < model.intercept_[t]), np.mean(own > model.intercept_[t])
        assert below <= 0.9 <= 1 - above + 1e-12


def test_the_null_strength_is_exact_with_free_intercepts():
    X, y, task = rows()
    empty = MultiTaskRegressor(L21(1e3), loss=Quantile(0.3), **PLAIN).fit(X, y, task=task)
    null = empty.solution_.null_strength
    fits = [
        MultiTaskRegressor(L21(c * null), loss=Quantile(0.3), tol=1e-9, **PLAIN)
        for c in (1.0001, 0.99)
    ]
    above, below = (model.fit(X, y, task=task) for model in fits)
    assert above.solution_.status is Status.ALL_ZERO
    assert below.coef_.any()


@pytest.mark.slow
def test_a_share_q_of_the_targets_is_below():
    X, y, task = rows()
    for q in (0.2, 0.5, 0.9):
        model = MultiTaskRegressor(L21(1e-3), loss=f"quantile({q})").fit(X, y, task=task)
        below = y <= model.predict(X, task=task) + 1e-9
        assert np.mean(below) == pytest.approx(q, abs=0.06)


def test_scores_are_shares_of_the_loss():
    X, y, task = rows()
    model = MultiTaskRegressor(L21(0.01), loss=Quantile(0.9)).fit(X, y, task=task)
    peer = d2_pinball_score(y, model.predict(X, task=task), alpha=0.9)
    assert model.score(X, y, task=task) == pytest.approx(peer, abs=1e-3)


def test_search_files_and_a_plain_model(tmp_path):
    X, y, task = rows()
    model = MultiTaskRegressorCV(L21(), loss=Quantile(0.8), alphas=5, cv=2, **PLAIN)
    model.fit(X, y, task=task)
    assert model.score(X, y, task=task) > 0.3
    polytask.save(model, tmp_path / "q.polytask")
    again = polytask.load(tmp_path / "q.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    assert again.loss == Quantile(0.8)
    plain = model.to_sklearn("b")
    own = task == "b"
    np.testing.assert_allclose(plain.predict(X[own]), model.predict(X[own], task=task[own]))


def test_beside_other_losses():
    X, y, _ = rows()
    Y = np.column_stack([y, y > 1, y])
    losses = {0: "quantile(0.5)", 1: "logistic", 2: "squared"}
    model = MultiTaskModel(L21(0.01), loss=losses, scale_targets="auto").fit(X, Y)
    assert model.solution_.certificate.relative <= 1e-6
    assert model.score(X, Y) > 0.2


def test_a_missing_label_says_nothing():
    X, y, _ = rows()
    Y = np.column_stack([y, -y])
    Y[:20, 1] = np.nan
    joint = MultiTaskRegressor(L2(0.01), loss="quantile", **PLAIN).fit(X, Y)
    alone = MultiTaskRegressor(L2(0.01), loss="quantile", **PLAIN).fit(X[20:], Y[20:, 1:])
    np.testing.assert_allclose(joint.coef_[1], alone.coef_[0], atol=2e-2)


@pytest.mark.slow
def test_comparisons_have_the_same_loss():
    X, y, task = rows()
    names = ["separate, unpenalised", "pooled + intercepts, unpenalised", "boosting pooled"]
    result = compare(X, y, task=task, loss="quantile(0.8)", models=[*names, "learned prior"], cv=2)
    held = {row.name: row for row in result.models}
    assert "a learned prior is for the losses squared" in held["learned prior"].note
    assert all(held[name].score.mean > 0.05 for name in names)


@pytest.mark.parametrize("seed", [0, 1])
def test_laws_of_other_levels(seed):
    check_loss(Quantile(0.05 + 0.9 * seed), random_state=seed)


def test_what_is_refused():
    X, y, task = rows()
    with pytest.raises(ParameterError, match=r"q of Quantile must be .*got 1"):
        Quantile(1)
    with pytest.raises(ParameterError, match=r"q of Quantile must be .*got 2"):
        MultiTaskRegressor(loss="quantile(2)").fit(X, y, task=task)
    for text in ("quantile(", "quantile('a')", "quantile(0.5, 0.5)", "quantile(level=0.5)"):
        with pytest.raises(ParameterError, match="numbers in brackets"):
            MultiTaskRegressor(loss=text).fit(X, y, task=task)
    for solver in (AcceleratedGradient(), Newton()):
        model = MultiTaskRegressor(L2(), loss="quantile", solver=solver)
        with pytest.raises(IncompatibleError, match=r"has kinks.*Use Splitting"):
            model.fit(X, y, task=task)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_best_constant_is_found_where_it_is_zero(q):
    y = np.r_[np.zeros(30), np.arange(1.0, 3.0)]
    assert best_constant(Quantile(q), y) == pytest.approx(np.quantile(y, q), abs=1e-9)
    assert best_constant(Quantile(q), np.zeros(5)) == 0.0
    assert best_constant(Quantile(q), np.ones(5)) == 1.0


def test_a_constant_target_has_no_score():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    # Whatever is scored is compared with the best constant of the training rows.
    assert np.isfinite(MultiTaskRegressor(loss="quantile").fit(X, y).score(X, np.ones(40)))
    for level in (0.0, 1.0, 0.1):
        model = MultiTaskRegressor(loss="quantile").fit(X, np.full(40, level))
        assert np.isnan(model.score(X, np.full(40, level)))

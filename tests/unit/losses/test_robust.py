"""Huber's and the squared hinge loss: against plain optimisation and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

import polytask
from polytask import (
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    compare,
)
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.losses import Huber, SquaredHinge
from polytask.metrics.scores import best_constant
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean

T, N, D = 4, 40, 6


def rows(seed=0, wrong=0.0):
    """Tasks with nearly the same coefficients; some targets may be far off."""
    rng = np.random.default_rng(seed)
    task = np.repeat([f"t{k}" for k in range(T)], N)
    X = rng.standard_normal((T * N, D))
    coef = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0]) + 0.2 * rng.standard_normal((T, D))
    y = np.einsum("ij,ij->i", X, np.repeat(coef, N, axis=0)) + 0.3 * rng.standard_normal(T * N)
    bad = rng.random(T * N) < wrong
    y[bad] += 30.0 * rng.standard_normal(bad.sum())
    return X, y, task


def minimum(loss, X, y, alpha):
    """Minimise the mean loss plus alpha / 2 ||w||^2 by a quasi-Newton method."""

    def objective(v):
        eta = X @ v[:D] + v[D]
        slope = loss.gradient(y, eta) / len(y)
        value = loss.value(y, eta).mean() + 0.5 * alpha * v[:D] @ v[:D]
        return value, np.append(X.T @ slope + alpha * v[:D], slope.sum())

    found = minimize(objective, np.zeros(D + 1), jac=True, method="BFGS", options={"gtol": 1e-10})
    return found.x[:D], found.x[D], found.fun


@pytest.mark.parametrize("delta", [0.1, 1.35, 1e6])
def test_huber_is_the_plain_optimum_of_every_task(delta):
    X, y, task = rows(wrong=0.1)
    loss = Huber(delta)
    model = MultiTaskRegressor(
        L2(0.1), loss=loss, task_weight="equal", intercept="task", tol=1e-12
    )
    model.fit(X, y, task=task)
    for t, label in enumerate(model.tasks_):
        coef, intercept, _ = minimum(loss, X[task == label], y[task == label], 0.1)
        np.testing.assert_allclose(model.coef_[t], coef, atol=1e-6)
        assert model.intercept_[t] == pytest.approx(intercept, abs=1e-6)


def test_huber_with_a_wide_delta_is_the_squared_loss():
    X, y, task = rows()
    penalty = L21(0.05)
    wide = MultiTaskRegressor(penalty, loss=Huber(1e3), tol=1e-10).fit(X, y, task=task)
    squared = MultiTaskRegressor(penalty, tol=1e-10).fit(X, y, task=task)
    np.testing.assert_allclose(wide.coef_, squared.coef_, atol=1e-7)


@pytest.mark.parametrize(
    "penalty", [L1(0.05), L21(0.05), TraceNorm(0.1), toward_mean(0.5) + L2(0.01)]
)
@pytest.mark.parametrize("classes", [False, True])
def test_every_kind_of_penalty_is_certified(penalty, classes):
    X, y, task = rows(wrong=0.1)
    kind = MultiTaskClassifier if classes else MultiTaskRegressor
    loss = "squared_hinge" if classes else "huber"
    model = kind(penalty, loss=loss, tol=1e-8).fit(X, y > 0 if classes else y, task=task)
    assert model.solution_.status.ok
    assert model.solution_.certificate.relative <= 1e-8


@pytest.mark.slow
def test_a_few_wrong_targets_do_not_decide_the_fit():
    X, y, task = rows(wrong=0.1)
    fresh = rows(seed=0)
    settings = {"scale_targets": None, "task_weight": "equal"}
    huber = MultiTaskRegressorCV(loss=Huber(1.0), cv=3, **settings).fit(X, y, task=task)
    squared = MultiTaskRegressorCV(cv=3, **settings).fit(X, y, task=task)
    scores = [m.score(fresh[0], fresh[1], task=fresh[2]) for m in (huber, squared)]
    assert scores[0] > 0.9 > scores[1]


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_the_squared_hinge_is_that_of_the_support_vector_machine(alpha):
    X, y, task = rows()
    label = np.where(y > 0.3, "yes", "no")
    settings = {"intercept": None, "task_weight": "equal", "tol": 1e-12}
    model = MultiTaskClassifier(L2(alpha), loss=SquaredHinge(), **settings)
    model.fit(X, label, task=task)
    for t, name in enumerate(model.tasks_):
        own = task == name
        peer = LinearSVC(C=1 / (alpha * N), fit_intercept=False, tol=1e-10, max_iter=100_000)
        peer.fit(X[own], label[own])
        np.testing.assert_allclose(model.coef_[t], peer.coef_[0], atol=1e-6)
        plain = model.to_sklearn(name)
        np.testing.assert_array_equal(plain.predict(X[own]), model.predict(X[own], task=task[own]))


@pytest.mark.slow
def test_probabilities_labels_and_saving(tmp_path):
    X, y, task = rows()
    model = MultiTaskClassifierCV(L2(), loss="squared_hinge", alphas=5, cv=3)
    model.fit(X, y > 0, task=task)
    p = model.predict_proba(X, task=task)
    assert p.min() >= 0
    assert p.max() <= 1
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert np.array_equal(model.predict(X, task=task), p[:, 1] > 0.5)
    polytask.save(model, tmp_path / "m.polytask")
    again = polytask.load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    huber = MultiTaskRegressor(L2(), loss=Huber(0.7)).fit(X, y, task=task)
    polytask.save(huber, tmp_path / "h.polytask")
    assert polytask.load(tmp_path / "h.polytask").loss == Huber(0.7)


def test_tasks_of_several_kinds():
    X, y, _ = rows()
    Y = np.column_stack([y, y > 0, y < 1.0])
    losses = {0: "huber", 1: "squared_hinge", 2: "logistic"}
    model = MultiTaskModel(L21(0.01), loss=losses, scale_targets="auto").fit(X, Y)
    assert model.score(X, Y) > 0.3
    constant = MultiTaskModel(L21(1e3), loss=losses, scale_targets="auto")
    assert constant.fit(X, Y).score(X, Y) == pytest.approx(0.0, abs=0.02)


def test_the_best_constant():
    y = np.array([0.0, 0.1, -0.1, 50.0])
    assert best_constant(Huber(1e3), y) == pytest.approx(y.mean())
    assert best_constant(Huber(0.5), y) == pytest.approx(0.5 / 3)
    labels = np.array([0.0, 1.0, 1.0, 1.0])
    assert best_constant(SquaredHinge(), labels) == pytest.approx(0.5)
    assert best_constant(SquaredHinge(), labels, np.array([3.0, 1, 1, 1])) == pytest.approx(0.0)


def test_what_is_refused():
    X, y, task = rows()
    with pytest.raises(ParameterError, match=r"delta of Huber must be .*got -1"):
        Huber(-1.0)
    with pytest.raises(IncompatibleError, match=r"'squared_hinge' .* is for two classes"):
        MultiTaskClassifier(loss="squared_hinge").fit(X, np.arange(len(y)) % 3, task=task)
    with pytest.raises(IncompatibleError, match="loss of numbers"):
        MultiTaskRegressor(loss="squared_hinge").fit(X, y, task=task)


@pytest.mark.exhaustive
@pytest.mark.parametrize("loss", [Huber(1.0), "squared_hinge"])
def test_models_without_sharing_have_the_same_loss(loss):
    X, y, task = rows(wrong=0.1)
    names = ["separate", "pooled", "pooled + intercepts", "learned prior", "near the mean"]
    names += ["separate, unpenalised", "pooled + intercepts, unpenalised"]
    classes = loss == "squared_hinge"
    result = compare(X, y > 0 if classes else y, task=task, loss=loss, models=names, cv=5)
    held = {row.name: row for row in result.models}
    assert "for the losses squared, logistic" in held["learned prior"].note
    scores = [held[name].metrics["accuracy" if classes else "mae"] for name in names[:3]]
    assert min(scores) > 0.75 if classes else max(scores) < 5.0

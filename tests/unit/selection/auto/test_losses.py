"""Automatic estimators of counts, amounts, and targets of several kinds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from polytask import (
    AutoMultiTaskModel,
    AutoMultiTaskRegressor,
    BayesianMultiTaskModel,
    DataError,
    ParameterError,
    load,
    save,
)
from polytask.data import TaskData, WithinTasks
from polytask.losses import LOSSES, Gamma, Poisson
from polytask.selection.auto.mixing import (
    DevianceMix,
    HeldRows,
    KindsMix,
    LogMix,
    SquaredMix,
    shared_weights,
)

FEW = ["separate", "pooled", "learned prior"]


def targets(loss, seed=0, tasks=5, rows=20):
    rng = np.random.default_rng(seed)
    X, task = rng.normal(size=(tasks * rows, 3)), np.repeat(np.arange(tasks), rows)
    W = np.array([0.7, -0.4, 0.0]) + 0.1 * rng.normal(size=(tasks, 3))
    mean = np.exp(1.0 + np.sum(X * W[task], axis=1))
    y = rng.poisson(mean) if loss == "poisson" else rng.gamma(3.0, mean / 3.0)
    return X, y.astype(float), task


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_counts_and_amounts_are_judged_by_their_deviance(loss, tmp_path):
    X, y, task = targets(loss)
    model = AutoMultiTaskRegressor(FEW, loss=loss).fit(X, y, task=task)
    board = model.leaderboard().set_index("model")["score"]
    # By hand: the learned prior on the same folds, the share of the deviance that is explained.
    known, total, null = LOSSES[loss](), 0.0, 0.0
    data = TaskData.from_long(X, y, task)
    for train, test in WithinTasks(5).split(data):
        own = BayesianMultiTaskModel(loss=loss).fit(data.rows(train))
        rows = data.rows(test)
        total += known.value(rows.y, np.log(own.predict(rows)[np.argsort(rows.order)])).sum()
        null += known.value(rows.y, np.log(data.y[train].mean())).sum()
    assert_allclose(board["learned prior"], 1.0 - total / null, rtol=1e-9)
    assert board.max() > 0.1
    assert np.all(model.predict(X, task=task) > 0)
    held = model.score(X, y, task)
    null = known.value(y, np.log(y.mean())).sum()
    fitted = known.value(y, np.log(model.predict(X, task=task))).sum()
    assert_allclose(held, 1.0 - fitted / null, rtol=1e-9)
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    with pytest.raises(DataError, match=f"for loss='{loss}'"):
        AutoMultiTaskRegressor(FEW, loss=loss).fit(X, y - 50.0, task=task)


def test_other_losses_are_refused():
    X, y, task = targets("gamma")
    with pytest.raises(ParameterError, match="one of 'squared', 'poisson', 'gamma'; got 'huber'"):
        AutoMultiTaskRegressor(loss="huber").fit(X, y, task=task)


def test_targets_of_several_kinds(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    eta = X @ [1.0, -0.5, 0.0]
    Y = np.empty((120, 3), dtype=object)
    Y[:, 0] = 10.0 * eta + 5.0 * rng.normal(size=120)
    Y[:, 1] = np.where(rng.random(120) < 1 / (1 + np.exp(-2 * eta)), "yes", "no")
    Y[:, 2] = rng.poisson(np.exp(1 + 0.5 * eta)).astype(float)
    kinds = {0: "squared", 1: "logistic", 2: "poisson"}
    model = AutoMultiTaskModel(["learned prior", "separate"], loss=kinds, cv=2).fit(X, Y)
    assert [loss.name for loss in model.losses_] == list(kinds.values())
    assert_allclose(model.weights().sum(axis=1), 1.0)
    found, chances = model.predict(X), model.predict_proba(X)
    assert chances[0] is None
    assert_array_equal(model.classes_[1][chances[1].argmax(axis=1)], found[:, 1])
    assert np.all(found[:, 2] > 0)
    assert all(score > 0.1 for score in model.task_scores(X, Y).values)
    # What it predicts is the weighted mean of what its members do.
    shares = model.weights()
    own = sum(shares[name][0] * m.predict(X)[:, 0] for name, m in model.members_.items())
    assert_allclose(found[:, 0].astype(float), own.astype(float))
    save(model, tmp_path / "m.polytask")
    assert_array_equal(load(tmp_path / "m.polytask").predict(X), found)
    with pytest.raises(DataError, match="tasks of one kind: use AutoMultiTaskRegressor"):
        AutoMultiTaskModel().fit(X, Y[:, [0, 2]].astype(float))


def test_targets_of_several_kinds_that_nothing_predicts_have_their_means():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(90, 3)), np.empty((90, 3), dtype=object)
    Y[:, 0], Y[:, 2] = 5.0 + rng.normal(size=90), rng.poisson(3.0, 90).astype(float)
    Y[:, 1] = np.where(rng.random(90) < 0.3, "yes", "no")
    kinds = {0: "squared", 1: "logistic", 2: "poisson"}
    model = AutoMultiTaskModel(["task means", "separate"], loss=kinds, cv=2).fit(X, Y)
    assert list(model.members_) == ["task means"]
    found = model.predict(X)[:, [0, 2]].astype(float)
    assert_allclose(found, np.tile(Y[:, [0, 2]].astype(float).mean(axis=0), (90, 1)), rtol=1e-6)
    share = np.mean(Y[:, 1] == "yes")
    assert_allclose(model.predict_proba(X)[1], np.tile([1 - share, share], (90, 1)), rtol=1e-5)


def mixed_loss(n):
    return KindsMix((DevianceMix(Poisson()), SquaredMix(), LogMix()), np.arange(n) % 3)


@pytest.mark.parametrize("loss", [DevianceMix(Poisson()), DevianceMix(Gamma()), mixed_loss(30)])
def test_slopes_and_squares_are_those_of_the_losses(loss):
    rng = np.random.default_rng(0)
    y, Z, w = rng.gamma(2.0, size=30), rng.uniform(0.2, 0.9, (30, 3)), np.array([0.2, 0.5, 0.3])
    mixed, step = Z @ w, 1e-6
    difference = (loss.losses(mixed + step, y) - loss.losses(mixed - step, y)) / (2 * step)
    assert_allclose(loss.slopes(mixed, y), difference, rtol=1e-6, atol=1e-8)
    rows, wanted = loss.squares(Z, y, mixed)
    assert_allclose(rows.T @ (rows @ w - wanted), Z.T @ loss.slopes(mixed, y), rtol=1e-9)
    kept = np.arange(30) > 11
    assert_allclose(loss.rows(kept).losses(mixed[kept], y[kept]), loss.losses(mixed, y)[kept])


def test_means_of_zero_are_finite_and_bad():
    loss = DevianceMix(Poisson())
    bad, good = loss.losses(np.array([0.0, 3.0]), np.array([3.0, 3.0]))
    assert np.isfinite(bad)
    assert bad > 10 + good


def test_shared_weights_are_the_best_on_the_simplex():
    rng = np.random.default_rng(1)
    n = 400
    truth = rng.gamma(2.0, size=n) + 0.5
    Z = truth[:, None] * np.exp(rng.normal(size=(n, 3)) * [0.3, 0.4, 1.5])
    at = np.zeros(n, dtype=np.intp)
    held = HeldRows(
        Z, rng.poisson(truth).astype(float), np.ones(n), at, at, np.arange(n), 1,
        DevianceMix(Poisson()),
    )  # fmt: skip
    found = shared_weights(held)

    def value(a):
        share = np.exp(a) / np.exp(a).sum()
        return held.mean_loss(Z @ share)

    best = minimize(value, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8}).fun
    assert held.mean_loss(Z @ found) <= best + 1e-4

"""Trees with a learned prior of each of several groupings: against dense formulas and others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")

from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    IncompatibleError,
    load,
    save,
)
from polytask.bayes import Diagonal
from polytask.boosting import MixedBoostingRegressor
from polytask.boosting.groupings import GroupedLikelihood, GroupedNumbers
from polytask.boosting.normal import NormalLikelihood, TaskRows
from polytask.boosting.trees import BinnedRows, TreeSettings

SETTINGS = TreeSettings(0.1, 7, 5, 0.0, 1, 0)
NAMES = ["store", "product"]


def table(n=900, seed=0):
    """Return rows of stores and products; the levels' effects are those of any seed."""
    rng, drawn = np.random.default_rng(seed), np.random.default_rng(1000)
    X = rng.uniform(-2, 2, (n, 3))
    store, product = rng.integers(0, 20, n), rng.integers(0, 12, n)
    y = 2 * np.sin(2 * X[:, 0]) + drawn.normal(size=20)[store] + drawn.normal(size=12)[product]
    y += 0.7 * drawn.normal(size=12)[product] * X[:, 2] + 0.5 * rng.normal(size=n)
    frame = pd.DataFrame(X, columns=[*"abc"])
    return frame.assign(store=[f"s{k}" for k in store], product=[f"p{k}" for k in product]), y


def grown(likelihood, n_rows, trees):
    every, nothing = np.arange(n_rows), np.zeros((1, n_rows))
    learned, _ = likelihood.learned(every, nothing)
    found = likelihood.boosting(every, None, learned, learns=False)
    for _ in range(trees):
        found.grow()
    return found


def rows_of(n, n_groupings):
    rng = np.random.default_rng(1)
    X, codes = rng.uniform(-2, 2, (n, 3)), rng.integers(0, 6, (n, n_groupings))
    effects = rng.normal(size=(n_groupings, 6, 2))
    Z = np.column_stack([np.ones(n), X[:, 2]])
    y = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=n)
    for g in range(n_groupings):
        y += np.sum(Z * effects[g, codes[:, g]], axis=1)
    return X, GroupedNumbers(Z, y, rng.uniform(0.5, 2.0, n), codes, (6,) * n_groupings)


def test_gradients_and_held_out_densities_are_the_dense_ones():
    X, rows = rows_of(120, 2)
    likelihood = GroupedLikelihood(rows, BinnedRows(X, SETTINGS), Diagonal())
    learned, _ = likelihood.learned(np.arange(120), np.zeros((1, 120)))
    train, held = np.arange(80), np.arange(80, 120)
    found = likelihood.boosting(train, held, learned, learns=False)
    for _ in range(3):
        found.grow()
    V = np.diag(learned.noise / rows.weight)
    for codes, covariance in zip(rows.codes.T, learned.covariances, strict=True):
        V += (codes[:, None] == codes) * (rows.Z @ covariance @ rows.Z.T)
    every = np.concatenate([found.growing.values(), found.growing.values(held=True)])
    left, own = rows.y - every, np.ix_(train, train)
    inverse, Z = np.linalg.inv(V[own]), rows.Z[train]
    S = np.linalg.inv(Z.T @ inverse @ Z)
    P = inverse - inverse @ Z @ S @ Z.T @ inverse
    gradient = -rows.weight[train] * found.residual / learned.noise
    assert_allclose(gradient, -P @ left[train], rtol=1e-6, atol=1e-8)
    errors, spread = found.held_out(rows.of(held))
    beta = S @ Z.T @ inverse @ left[train]
    gain = V[np.ix_(held, train)] @ inverse
    known = rows.Z[held] @ beta + gain @ (left[train] - Z @ beta)
    assert_allclose(errors, left[held] - known, atol=1e-6)
    moved = rows.Z[held] - gain @ Z
    variance = np.diagonal(V[np.ix_(held, held)] - gain @ V[np.ix_(train, held)])
    variance = variance + np.sum((moved @ S) * moved, axis=1)
    noise = learned.noise * (1 / rows.weight[held] - 1)
    assert_allclose(spread * learned.noise, variance - noise, rtol=1e-6)


def test_one_grouping_is_what_tasks_are():
    X, rows = rows_of(150, 1)
    tasks = TaskRows(rows.Z, rows.y, rows.weight, rows.codes[:, 0], 6)
    binned = BinnedRows(X, SETTINGS)
    one = grown(GroupedLikelihood(rows, binned, Diagonal()), 150, 5)
    other = grown(NormalLikelihood(tasks, binned, Diagonal()), 150, 5)
    assert_allclose(one.residual, other.residual, atol=1e-3)
    assert_allclose(one.learned.noise, other.learned.noise, rtol=1e-3)


def test_without_trees_it_is_the_learned_prior():
    X, y = table()
    params = {"structure": "diagonal", "task_column": NAMES, "unseen_tasks": "shared"}
    model = MixedBoostingRegressor(max_iter=0, varying=["c"], **params).fit(X, y)
    linear = BayesianMultiTaskRegressor(**params).fit(X[["c", *NAMES]], y)
    asked = X[:30].copy()
    asked.loc[:9, "store"], asked.loc[5:14, "product"] = "new", "other"
    got = model.predict_interval(asked)
    for mine, theirs in zip(got, linear.predict_interval(asked[["c", *NAMES]]), strict=True):
        assert_allclose(mine, theirs, rtol=1e-6)
    assert model.log_marginal_likelihood_ == pytest.approx(linear.log_marginal_likelihood_)


@pytest.fixture(scope="module")
def fitted():
    X, y = table()
    return MixedBoostingRegressor(varying=["c"], task_column=NAMES, cv=3).fit(X, y), X, y


def test_it_is_better_than_trees_of_one_grouping_and_than_the_priors_alone(fitted):
    model, *_ = fitted
    X, y = table(2000, seed=7)
    error = np.mean((model.predict(X) - y) ** 2)
    first = MixedBoostingRegressor(varying=["c"], task_column="store", cv=3)
    linear = BayesianMultiTaskRegressor(task_column=NAMES)
    train, y_train = table()
    numbers = train.drop(columns="product").assign(**pd.get_dummies(train["product"], dtype=float))
    asked = X.drop(columns="product").assign(**pd.get_dummies(X["product"], dtype=float))
    assert error < 0.8 * np.mean((first.fit(numbers, y_train).predict(asked) - y) ** 2)
    assert error < 0.4 * np.mean((linear.fit(train, y_train).predict(X) - y) ** 2)
    lower, upper = model.predict_interval(X)
    assert 0.85 < np.mean((lower < y) & (y < upper)) < 0.95
    assert set(model.effects_) == set(model.levels_) == set(model.prior_) == set(NAMES)


def test_an_unknown_level_keeps_the_other_grouping(fitted, tmp_path):
    model, X, y = fitted
    asked = X[:40].assign(store="new")
    mean, deviation = model.predict(asked, return_std=True)
    known = dict(zip(model.levels_["store"], model.effects_["store"], strict=True))
    own = np.array([known[label] for label in X["store"][:40]])
    effects = own[:, 0] + own[:, 1] * X["c"][:40]
    assert_allclose(mean + effects, model.predict(X[:40]), atol=1e-9)
    assert np.all(deviation > model.predict(X[:40], return_std=True)[1])
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    for one, two in zip(model.predict_interval(asked), again.predict_interval(asked), strict=True):
        assert_array_equal(one, two)
    beside = MixedBoostingRegressor(varying=["c"], cv=3).fit(X[[*"abc"]], y, task=X[NAMES])
    assert_allclose(beside.predict(X[[*"abc"]], task=X[NAMES]), model.predict(X))


def test_counts_of_several_groupings_are_refused():
    X, y = table(100)
    with pytest.raises(IncompatibleError, match="one grouping"):
        MixedBoostingRegressor(loss="poisson", task_column=NAMES).fit(X, np.exp(y))


@pytest.mark.slow
def test_it_is_a_candidate_of_the_automatic_choice():
    X, y = table(700)
    names = ["learned prior of all groupings", "boosting, learned prior"]
    auto = AutoMultiTaskRegressor(names, cv=3, task_column=NAMES).fit(X, y)
    board = auto.leaderboard()
    assert board["model"][0] == "boosting, learned prior"
    assert board["score"][0] > board["score"][1] + 0.2
    assert auto.score(*table(500, seed=3)) > 0.8

"""Classes, counts and amounts of several groupings: forms, prediction, intervals, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.special
from numpy.testing import assert_allclose, assert_array_equal

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    TaskData,
    adapt,
    load,
    save,
)
from polytask.exceptions import IncompatibleError, ParameterError

NAMES = ["store", "product"]


def table(n=900, levels=(30, 20), spread=(0.8, 0.6), seed=0):
    """Return rows of two groupings, their linear predictors, and the effects of the levels."""
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, size, n) for size in levels])
    X = pd.DataFrame({"x": rng.standard_normal(n), "z": rng.standard_normal(n)})
    effects = [s * rng.standard_normal(size) for s, size in zip(spread, levels, strict=True)]
    eta = 0.3 + 0.7 * X["x"].to_numpy() + effects[0][codes[:, 0]] + effects[1][codes[:, 1]]
    X["store"], X["product"] = np.char.add("s", codes[:, 0].astype(str)), 100 + codes[:, 1]
    return X, eta, effects


def drawn(eta, kind, seed=1):
    rng = np.random.default_rng(seed)
    if kind == "classes":
        return np.where(rng.random(len(eta)) < scipy.special.expit(eta), "yes", "no")
    if kind == "several":
        odds = np.column_stack([np.zeros(len(eta)), eta, -eta]) + rng.gumbel(size=(len(eta), 3))
        return np.array(["a", "b", "c"])[np.argmax(odds, axis=1)]
    return rng.poisson(np.exp(eta)) if kind == "poisson" else rng.gamma(2.0, np.exp(eta) / 2.0)


def model_of(kind, task_column=NAMES, structure="none"):
    if kind in ("classes", "several"):
        return BayesianMultiTaskClassifier(structure, task_column=task_column)
    return BayesianMultiTaskModel(structure, loss=kind, task_column=task_column)


KINDS = ["classes", "several", "poisson", "gamma"]


def predicted(model, kind, X, task=None):
    return (
        model.predict_proba(X, task) if kind in ("classes", "several") else model.predict(X, task)
    )


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    X, eta, _ = table()
    y = drawn(eta, request.param)
    return request.param, X, y, model_of(request.param).fit(X, y)


def test_forms_and_files_agree(fitted, tmp_path):
    kind, X, y, model = fitted
    expected = predicted(model, kind, X)
    save(model, tmp_path / "m.polytask")
    assert_array_equal(predicted(load(tmp_path / "m.polytask"), kind, X), expected)
    rows, task = X[["x", "z"]], X[NAMES]
    beside = model_of(kind, None)
    for given in (task, task.to_numpy(dtype=object)):
        beside.fit(rows, y, task=given)
        assert_allclose(predicted(beside, kind, rows, given), expected, rtol=1e-6)
    held = TaskData.from_long(X.assign(y=y), "y", NAMES)
    assert_allclose(predicted(model_of(kind, None).fit(held), kind, held), expected, rtol=1e-6)
    shuffled = X.sample(frac=1.0, random_state=0)
    assert_allclose(predicted(model, kind, shuffled), expected[shuffled.index], rtol=1e-12)


def test_effects_are_what_a_row_is_predicted_by(fitted):
    kind, X, y, model = fitted
    assert list(model.effects_) == NAMES
    several = kind == "several"
    assert model.effects_["product"].shape == (20, 3, *([3] * several))
    assert_array_equal(model.levels_["product"], np.arange(100, 120))
    store = model.tasks_.tolist().index("s3")
    own = slice(3 * store, 3 * store + 3) if several else slice(store, store + 1)
    row = X.head(1).assign(store="s3", product=104)
    # Predictors at the mode: those of the store's coefficients, and the product's effect.
    effect = model.effects_["product"][4].reshape(3, -1)
    values = np.array([1.0, *row[["x", "z"]].to_numpy()[0]])
    base = model.coef_[own] @ values[1:] + model.intercept_[own]
    query = model._read(row, None)
    assert_allclose(model._grouped.modes(query.data.X)[0], base + values @ effect, rtol=1e-6)
    assert model.score(X, y) > 0.3


@pytest.mark.parametrize("kind", ["classes", "poisson", "gamma"])
def test_the_only_level_of_a_grouping_changes_nothing(kind):
    X, eta, _ = table()
    y = drawn(eta, kind)
    alone = model_of(kind, "store").fit(X.drop(columns="product"), y)
    both = model_of(kind).fit(X.assign(product=1), y)
    assert_allclose(predicted(both, kind, X.assign(product=1)),
                    predicted(alone, kind, X.drop(columns="product")), rtol=2e-3)  # fmt: skip
    assert_allclose(both.prior_["store"].covariance, alone.prior_.covariance[:1, :1], rtol=5e-3)


def test_unseen_levels_have_the_mean_of_their_grouping_and_keep_the_others(fitted):
    _, X, _, model = fitted
    row = X.head(1)
    known = {name: model.levels_[name][0] for name in NAMES}
    unseen = [{}, {"product": 999}, {"store": "new"}, {"store": "new", "product": 999}]
    rows = pd.concat([row.assign(**(known | one)) for one in unseen])
    tasks, query = model._grouped, model._read(rows, None)
    modes, spread = tasks.modes(query.data.X), tasks.variances(query.data.X)
    modes, spread = (v[np.argsort(query.data.order)] for v in (modes, spread))
    values = np.array([1.0, *row[["x", "z"]].to_numpy()[0]])
    effects = [values @ model.effects_[name][0].reshape(3, -1) for name in NAMES]
    assert_allclose(modes[0] - modes[1], effects[1], rtol=1e-6)
    assert_allclose(modes[0] - modes[2], effects[0], rtol=1e-6)
    assert_allclose(modes[2] - modes[3], effects[1], rtol=1e-6)
    assert np.all(spread[3] > spread[1])
    assert np.all(spread[1] > spread[0])


def test_probabilities_average_over_what_is_not_known():
    X, eta, _ = table()
    model = model_of("classes").fit(X, drawn(eta, "classes"))
    query = model._read(X, None)
    tasks, order = model._grouped, np.argsort(query.data.order)
    mode, spread = tasks.modes(query.data.X)[:, 0], tasks.variances(query.data.X)[:, 0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    exact = scipy.special.expit(mode[:, None] + np.sqrt(spread)[:, None] * nodes)
    exact = (exact @ (weights / weights.sum()))[order]
    assert_allclose(model.predict_proba(X)[:, 1], exact, atol=0.01)


@pytest.mark.parametrize("kind", ["classes", "poisson"])
def test_intervals_of_effects_cover(kind):
    # Effects less their mean in the grouping, which alone is what rows tell apart from mu.
    hits = []
    centre = np.zeros((50, 50))
    centre[:30, :30], centre[30:, 30:] = np.eye(30) - 1 / 30, np.eye(20) - 1 / 20
    for seed in range(8):
        X, eta, effects = table(1500, seed=seed)
        model = model_of(kind).fit(X, drawn(eta, kind, seed))
        equations = model._grouped.posteriors[0]._equations
        spread = centre @ equations.solve(np.eye(50), np.zeros((3, 50)))[0] @ centre
        found = np.concatenate([model.effects_[name][:, 0] for name in NAMES])
        stores = [int(label[1:]) for label in model.tasks_]
        true = np.concatenate([effects[0][stores], effects[1]])
        hits.append(np.abs(centre @ (found - true)) < 1.645 * np.sqrt(np.diagonal(spread)))
    assert 0.85 < np.mean(hits) < 0.95


def test_intervals_of_counts_cover():
    X, eta, _ = table(3000)
    y = drawn(eta, "poisson")
    model = model_of("poisson").fit(X[:1500], y[:1500])
    lower, upper = model.predict_interval(X[1500:])
    inside = (lower <= y[1500:]) & (y[1500:] <= upper)
    # Counts are whole numbers: at least the level.
    assert 0.88 < inside.mean() < 0.97


def test_shares_of_variance():
    X, eta, _ = table(6000, (60, 50))
    shares = model_of("classes").fit(X, drawn(eta, "classes")).variance_shares_
    truth = np.array([0.64, 0.36]) / (1.0 + np.pi**2 / 3)
    for (share, low, high), true in zip(shares.values(), truth, strict=True):
        assert low < share < high
        assert low < true < high
    # Numbers have the shares that the regressor finds, with its noise.
    numbers = eta + np.random.default_rng(5).standard_normal(6000)
    model = BayesianMultiTaskModel("none", loss="squared", task_column=NAMES).fit(X, numbers)
    peer = BayesianMultiTaskRegressor("none", task_column=NAMES).fit(X, numbers)
    for name in NAMES:
        assert_allclose(model.variance_shares_[name], peer.variance_shares_[name], rtol=0.02)
    assert_allclose(model.predict(X), peer.predict(X), atol=0.01)


def test_what_is_refused():
    X, eta, _ = table(200, (6, 5))
    y = drawn(eta, "classes")
    model = model_of("classes").fit(X, y)
    for call, words in (
        (lambda: model.partial_fit(X, y), "partial_fit is for a model of one grouping"),
        (lambda: model.to_sklearn("s1"), "for a model of one grouping"),
        (lambda: adapt(model, X.assign(store="new"), y), "adds new levels .* targets are numbers"),
        (
            lambda: model_of("auto").fit(X, drawn(eta, "several")),
            "several classes: use BayesianMultiTaskClassifier",
        ),
        (
            lambda: model_of({"s1": "poisson"} | {f"s{k}": "gamma" for k in (0, 2, 3, 4, 5)}).fit(
                X, np.ones(200)
            ),
            "one loss for all tasks",
        ),
    ):
        with pytest.raises(IncompatibleError, match=words):
            call()
    with pytest.raises(ParameterError, match=r"prior .* with several groupings"):
        BayesianMultiTaskClassifier(task_column=NAMES, prior=model).fit(X, y)


def test_too_many_effects_are_refused(monkeypatch):
    monkeypatch.setattr("polytask.linear._bayes_grouped_labels.LARGEST_DENSE", 10)
    X, eta, _ = table(300)
    y = drawn(eta, "classes")
    with pytest.raises(IncompatibleError, match=r"at most 10 effects .* here are 20"):
        model_of("classes").fit(X, y)
    few = X.assign(product=X["product"] % 4)
    model_of("classes").fit(few, y)
    with pytest.raises(IncompatibleError, match="here are 12"):
        model_of("classes", structure="scalar").fit(few, y)

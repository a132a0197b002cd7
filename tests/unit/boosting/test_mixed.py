"""Boosted trees with a learned prior: against dense formulas, plain trees and the linear model."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")

from polytask import (  # noqa: E402
    BayesianMultiTaskRegressor,
    DataError,
    ParameterError,
    Pooled,
    TaskData,
    load,
    save,
)
from polytask.bayes import Diagonal, NoVariation  # noqa: E402
from polytask.bayes.normal import learn  # noqa: E402
from polytask.bayes.prior import Model  # noqa: E402
from polytask.boosting import MixedBoostingRegressor  # noqa: E402
from polytask.boosting.normal import NormalBoosting, TaskRows, prior_of  # noqa: E402
from polytask.boosting.trees import BinnedRows, TreeSettings  # noqa: E402

SETTINGS = TreeSettings(0.1, 7, 5, 0.0, 1, 0)


def simulated(n=600, n_tasks=30, seed=0, slopes=0.0):
    """Return rows, targets, tasks and the targets without noise."""
    rng = np.random.default_rng(seed)
    X, task = rng.uniform(-2, 2, (n, 4)), rng.integers(0, n_tasks, n)
    level, slope = rng.normal(size=n_tasks), slopes * rng.normal(size=n_tasks)
    truth = 2 * np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + level[task] + slope[task] * X[:, 3]
    return X, truth + 0.5 * rng.normal(size=n), task, truth


def dense(rows, prior):
    """Return Z of all rows with a block of columns for each task, and the marginal covariance."""
    Z = np.zeros((len(rows.y), rows.n_tasks, rows.Z.shape[1]))
    Z[np.arange(len(rows.y)), rows.tasks] = rows.Z
    blocks = np.kron(np.eye(rows.n_tasks), prior.covariance)
    Z = Z.reshape(len(rows.y), -1)
    return Z @ blocks @ Z.T + prior.noise * np.diag(1 / rows.weight)


def restricted(left, Z, Psi):
    """Return the log density of the targets, the mean integrated out, and its matrix."""
    inverse = np.linalg.inv(Psi)
    gram = Z.T @ inverse @ Z
    P = inverse - inverse @ Z @ np.linalg.solve(gram, Z.T @ inverse)
    free = len(left) - Z.shape[1]
    logs = np.linalg.slogdet(Psi)[1] + np.linalg.slogdet(gram)[1]
    return -0.5 * (free * np.log(2 * np.pi) + logs + left @ P @ left), P


@pytest.fixture
def small():
    """Trees on a few weighted rows, with an intercept and a slope of each task."""
    rng = np.random.default_rng(3)
    X, y, task, _ = simulated(90, 6, slopes=1.0)
    rows = TaskRows(np.column_stack([np.ones(90), X[:, 3]]), y, rng.uniform(0.5, 2.0, 90), task, 6)
    model = Model(Diagonal(), (0, 1))
    learned = learn([rows.block(y)], model, 6, tol=1e-9)
    growing = BinnedRows(X, SETTINGS).growing(np.arange(90))
    return NormalBoosting(rows, growing, learned, learns=False)


def test_gradients_are_those_of_the_dense_marginal_likelihood(small):
    for _ in range(3):
        small.grow()
    rows, prior = small.rows, small.prior
    left = rows.y - small.growing.values()
    Psi = dense(rows, prior)
    value, P = restricted(left, rows.Z, Psi)
    gradient = -rows.weight * small.residual / prior.noise
    assert_allclose(gradient, -P @ left, rtol=1e-8, atol=1e-10)
    step = 1e-4 * np.random.default_rng(0).normal(size=90)
    moved = [restricted(left + sign * step, rows.Z, Psi)[0] for sign in (-1, 1)]
    assert moved[0] - moved[1] == pytest.approx(2 * step @ P @ left, rel=1e-6)
    assert np.isfinite(value)


def test_the_likelihood_is_the_dense_one():
    X, y, task, _ = simulated(90, 6, slopes=1.0)
    rows = TaskRows(np.column_stack([np.ones(90), X[:, 3]]), y, np.ones(90), task, 6)
    block = rows.block(y)
    learned = learn([block], Model(Diagonal(), (0, 1)), 6, tol=1e-9)
    value, _ = restricted(y, rows.Z, dense(rows, prior_of(block, learned, 6)))
    # Noise has a floor of a millionth of the variance of the targets.
    assert learned.log_likelihood == pytest.approx(value, rel=1e-6)


def test_held_out_rows_have_the_dense_conditional_density():
    X, y, task, _ = simulated(90, 6, slopes=1.0)
    train, held = np.arange(60), np.arange(60, 90)
    rows = TaskRows(np.column_stack([np.ones(90), X[:, 3]]), y, np.ones(90), task, 6)
    part = rows.of(train)
    learned = learn([part.block(part.y)], Model(Diagonal(), (0, 1)), 6)
    growing = BinnedRows(X, SETTINGS).growing(train, held)
    boosting = NormalBoosting(part, growing, learned, learns=False)
    boosting.grow()
    errors, spread = boosting.held_out(rows.of(held))
    prior, every = boosting.prior, np.empty(90)
    every[train], every[held] = growing.values(), growing.values(held=True)
    left, Psi = y - every - rows.Z @ prior.mean, dense(rows, prior)
    gain = np.linalg.solve(Psi[:60, :60], Psi[:60, 60:])
    assert_allclose(errors, left[held] - gain.T @ left[train], atol=1e-9)
    known = np.diagonal(Psi[60:, 60:] - gain.T @ Psi[:60, 60:])
    assert_allclose(spread * prior.noise, known, rtol=1e-9)


def test_without_trees_it_is_the_learned_prior():
    X, y, task, _ = simulated(slopes=0.5)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    model = MixedBoostingRegressor(max_iter=0, varying=[3], structure="diagonal")
    model.fit(X, y, task, weight)
    linear = BayesianMultiTaskRegressor("diagonal", mean_prior="flat", tol=1e-6)
    linear.fit(X[:, [3]], y, task, weight)
    ours, theirs = [*task[:20], "new"], [*map(int, task[:20]), "new"]
    got = model.predict(X[:21], ours, return_std=True)
    want = linear.predict(X[:21, [3]], theirs, return_std=True)
    assert_allclose(got[0], want[0], rtol=1e-4, atol=1e-4)
    assert_allclose(got[1], want[1], rtol=1e-4)
    assert model.log_marginal_likelihood_ == pytest.approx(linear.log_marginal_likelihood_)
    assert_allclose(model.noise_, linear.noise_, rtol=1e-4)
    assert model.n_iter_ == 0


def test_with_one_task_it_is_lightgbm():
    X, y, _, _ = simulated(500)
    model = MixedBoostingRegressor(max_iter=30, cv=None).fit(X, y)
    settings = {"objective": "l2", "num_leaves": 31, "learning_rate": 0.1, "verbosity": -1}
    settings |= {"min_data_in_leaf": 20, "deterministic": True, "force_col_wise": True}
    scaled = (y - y.mean()) / y.std()
    plain = lightgbm.train(settings, lightgbm.Dataset(X, scaled), 30)
    assert_allclose(model.predict(X), plain.predict(X) * y.std() + y.mean(), atol=1e-5)


@pytest.mark.slow
def test_it_recovers_what_is_common_and_what_varies():
    X, y, task, _ = simulated(3000, 100, slopes=0.7)
    # New rows of the same tasks: the draws of `simulated` once more.
    rng, draw = np.random.default_rng(9), np.random.default_rng(0)
    draw.uniform(-2, 2, (3000, 4)), draw.integers(0, 100, 3000)
    level, slope = draw.normal(size=100), 0.7 * draw.normal(size=100)
    X_new, task_new = rng.uniform(-2, 2, X.shape), rng.integers(0, 100, 3000)
    truth = 2 * np.sin(2 * X_new[:, 0]) + X_new[:, 1] * X_new[:, 2]
    truth += level[task_new] + slope[task_new] * X_new[:, 3]
    y_new = truth + 0.5 * rng.normal(size=3000)

    def error(model):
        return np.mean((model.fit(X, y, task).predict(X_new, task_new) - truth) ** 2)

    model = MixedBoostingRegressor(varying=[3])
    mixed = error(model)
    category = error(Pooled(HistGradientBoostingRegressor(random_state=0), "category"))
    assert mixed < 0.4 * category
    assert mixed < 0.1 * error(BayesianMultiTaskRegressor())
    assert np.corrcoef(model.effects_[:, 0], level)[0, 1] > 0.95
    assert np.corrcoef(model.effects_[:, 1], slope)[0, 1] > 0.9
    lower, upper = model.predict_interval(X_new, task_new)
    assert 0.87 < np.mean((lower < y_new) & (y_new < upper)) < 0.93
    assert model.n_iter_ == np.argmin(model.held_out_loss_)


def test_intervals_have_the_noise_of_their_task():
    X, y, task, _ = simulated(3000, 10)
    loud = np.where(np.arange(10) < 5, 0.2, 2.0)
    y = y + loud[task] * np.random.default_rng(3).normal(size=3000)
    model = MixedBoostingRegressor(max_iter=60).fit(X[:2000], y[:2000], task[:2000])
    lower, upper = model.predict_interval(X, task)
    new, inside = np.arange(3000) >= 2000, (lower < y) & (y < upper)
    shares = np.array([inside[new & (task == t)].mean() for t in range(10)])
    assert np.all((shares > 0.8) & (shares < 0.98))
    widths = np.array([(upper - lower)[task == t].mean() for t in range(10)])
    assert widths[5:].min() > 2 * widths[:5].max()
    unseen = model.predict_interval(X[:1], ["new"])
    assert widths.min() < float(unseen[1][0] - unseen[0][0])


@pytest.fixture(scope="module")
def fitted():
    X, y, task, _ = simulated(300, 10)
    return MixedBoostingRegressor(max_iter=20, varying=[3]).fit(X, y, task), X, y, task


def test_unseen_tasks_have_the_prior_mean(fitted):
    model, X, y, task = fitted
    known = np.array([model.predict(X, np.full(300, t)) for t in range(10)])
    _, deviation = model.predict(X, np.full(300, "new"), return_std=True)
    assert_allclose(
        model.predict(X, np.full(300, "new")),
        (known - model.effects_ @ [np.ones(300), X[:, 3]]).mean(axis=0),
    )
    assert np.all(deviation > model.predict(X, task, return_std=True)[1])
    strict = MixedBoostingRegressor(max_iter=2, unseen_tasks="error").fit(X, y, task)
    with pytest.raises(DataError, match="new"):
        strict.predict(X[:1], ["new"])


def test_saved_and_pickled_it_predicts_the_same(fitted, tmp_path):
    model, X, _, task = fitted
    save(model, tmp_path / "model.polytask")
    for again in (load(tmp_path / "model.polytask"), pickle.loads(pickle.dumps(model))):
        for one, two in zip(
            model.predict_interval(X, task), again.predict_interval(X, task), strict=True
        ):
            assert_array_equal(one, two)
        assert_array_equal(again.predict(X, task), model.predict(X, task))
        assert again.score(X, model.predict(X, task), task) == 1.0


def test_forms_of_the_data_agree(fitted):
    model, X, y, task = fitted
    expected = model.predict(X, task)
    params = {"max_iter": 20, "varying": ["d"]}
    frame = pd.DataFrame(X, columns=[*"abcd"]).assign(task=task)
    table = MixedBoostingRegressor(**params, task_column="task").fit(frame, y)
    assert_allclose(table.predict(frame), expected)
    assert list(table.effect_names_) == ["intercept", "d"]
    sparse = MixedBoostingRegressor(max_iter=20, varying=[3]).fit(sp.csr_array(X), y, task)
    assert_allclose(sparse.predict(sp.csr_array(X), task), expected)
    data = TaskData.from_long(X, y, task)
    parts = {t: (X[task == t], y[task == t]) for t in range(10)}
    mapping = MixedBoostingRegressor(max_iter=20, varying=[3], cv=None)
    mapping.fit(parts)
    direct = MixedBoostingRegressor(max_iter=20, varying=[3], cv=None).fit(data)
    assert_allclose(mapping.predict({3: X})[3], direct.predict(X, np.full(300, 3)))


def test_targets_of_a_matrix_are_tasks_in_their_own_units():
    X, y, _, _ = simulated(300)
    Y = np.column_stack([y, 100 * y + 5, -y])
    Y[::7, 0] = np.nan
    model = MixedBoostingRegressor(max_iter=30).fit(X, Y)
    found = model.predict(X)
    assert found.shape == (300, 3)
    assert model.noise_[1] == pytest.approx(100 * model.noise_[2])
    # The third target is the opposite of the others: little is common to all of them.
    assert np.corrcoef(found[:, 0], y)[0, 1] > 0.5


def test_rows_that_no_fold_holds_out_do_not_teach_the_prior():
    X, y, task, _ = simulated(300, 10)
    pairs = [(np.arange(200), np.arange(200, 250)), (np.arange(150), np.arange(220, 280))]
    model = MixedBoostingRegressor(max_iter=10, cv=pairs).fit(X, y, task)
    moved = np.where(np.arange(300) >= 280, y + 50, y)
    other = MixedBoostingRegressor(max_iter=10, cv=pairs).fit(X, moved, task)
    assert_allclose(other.noise_, model.noise_, rtol=0.05)


def test_structures_that_are_asked_for_are_kept():
    X, y, task, _ = simulated(200, 8)
    model = MixedBoostingRegressor(max_iter=3, varying="all", structure=NoVariation())
    assert model.fit(X, y, task).structure_ == NoVariation()
    assert_array_equal(model.effects_[:, 1:], 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("varying", ["z"]),
        ("structure", "any"),
        ("learning_rate", 0.0),
        ("max_iter", -1),
        ("max_leaf_nodes", 1),
        ("min_samples_leaf", 0.5),
        ("l2_regularization", -1.0),
        ("n_iter_no_change", 0),
        ("cv", "five"),
    ],
)
def test_impossible_parameters_are_refused(name, value):
    X, y, task, _ = simulated(60, 3)
    with pytest.raises(ParameterError, match=name):
        MixedBoostingRegressor(**{name: value}).fit(X, y, task)


def test_without_lightgbm_the_command_is_named(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "lightgbm" else find(name, *a),
    )
    monkeypatch.delitem(sys.modules, "polytask.boosting")
    with pytest.raises(ImportError, match=r"pip install \"polytask\[trees\]\""):
        importlib.import_module("polytask.boosting")


_COUNTS = "leaves, cuts between bins and folds count rows, whatever their weights"


@parametrize_with_checks(
    [MixedBoostingRegressor(max_iter=10, min_samples_leaf=5, cv=3)],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": _COUNTS,
        "check_sample_weight_equivalence_on_sparse_data": _COUNTS,
    },
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_naming_the_estimator_loads_no_lightgbm():
    # With its threads no process can be forked, and starting one takes seconds of a time budget.
    script = "from polytask.boosting import MixedBoostingRegressor as M; M(); import sys;"
    script += "sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

"""BayesianMultiTaskRegressor: forms, prediction, intervals, further rows, priors, evidence."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import BayesianMultiTaskRegressor, load, save
from polytask.bayes import Diagonal, Full, NoVariation, Prior, Scalar
from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    IncompatibleError,
    ParameterError,
)
from polytask.linear import fitting as _threads


@parametrize_with_checks(
    [
        BayesianMultiTaskRegressor(),
        BayesianMultiTaskRegressor("diagonal", noise="task", mean_prior="gaussian", method="ml"),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


class Tasks:
    """Data from the model."""

    def __init__(self, T=30, n=20, d=4, seed=0, spread=0.5, noise=1.0):
        rng = np.random.default_rng(seed)
        self.task = np.repeat(np.arange(T), n)
        self.X = rng.normal(size=(T * n, d)) * [1.0, 5.0, 0.2, 1.0, *[1.0] * (d - 4)] + 3.0
        scale = spread * np.arange(d) / d
        self.W = rng.normal(size=d) + scale * rng.normal(size=(T, d))
        self.b = 2.0 + rng.normal(size=T)
        self.y = self.truth(self.X, self.task) + noise * rng.normal(size=T * n)

    def truth(self, X, task):
        return np.sum(X * self.W[task], axis=1) + self.b[task]

    def fit(self, rows=slice(None), **settings):
        model = BayesianMultiTaskRegressor(**settings)
        return model.fit(self.X[rows], self.y[rows], task=self.task[rows])


@pytest.fixture(scope="module")
def tasks():
    return Tasks()


def same(first, second, rtol=1e-6):
    assert_allclose(first.coef_, second.coef_, rtol=rtol, atol=rtol)
    assert_allclose(first.intercept_, second.intercept_, rtol=rtol, atol=rtol)
    likelihoods = first.log_marginal_likelihood_, second.log_marginal_likelihood_
    assert_allclose(*likelihoods, rtol=1e-6)


def test_it_learns(tasks):
    model = tasks.fit()
    assert model.solution_.status.ok
    alone = np.stack(
        [
            LinearRegression().fit(tasks.X[r], tasks.y[r]).coef_
            for r in np.split(np.arange(600), 30)
        ]
    )
    assert np.mean((model.coef_ - tasks.W) ** 2) < 0.5 * np.mean((alone - tasks.W) ** 2)
    assert_allclose(model.noise_, 1.0, rtol=0.1)
    best = max(model.evidence_, key=lambda c: c.score)
    assert best.structure == model.structure_
    assert not isinstance(model.structure_, NoVariation)


def test_forms_agree(tasks):
    long = tasks.fit()
    order = np.random.default_rng(1).permutation(600)
    same(long, tasks.fit(order))
    parts = {t: (tasks.X[tasks.task == t], tasks.y[tasks.task == t]) for t in range(30)}
    same(long, BayesianMultiTaskRegressor().fit(parts))
    sparse = BayesianMultiTaskRegressor().fit(sp.csr_array(tasks.X), tasks.y, task=tasks.task)
    same(long, sparse)
    rows = sp.csr_array(tasks.X[:5])
    kept = long.predict(tasks.X[:5], task=tasks.task[:5], return_std=True)
    assert_allclose(sparse.predict(rows, task=tasks.task[:5], return_std=True), kept, rtol=1e-5)


@pytest.mark.parametrize("n", [6, 40])
def test_targets_are_the_long_form(n):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 8))
    Y = X @ rng.normal(size=(8, 5)) + rng.normal(size=(n, 5)) + 10.0
    Y[2:4, 1:3] = np.nan
    rows, columns = np.nonzero(~np.isnan(Y))
    settings = {"structure": "scalar", "scale_targets": None, "standardize": False, "tol": 1e-8}
    wide = BayesianMultiTaskRegressor(**settings).fit(X, Y)
    long = BayesianMultiTaskRegressor(**settings).fit(X[rows], Y[rows, columns], task=columns)
    same(wide, long, 1e-4)
    lower, upper = wide.predict_interval(X)
    assert lower.shape == Y.shape
    assert np.all(lower < upper)


def test_targets_are_scaled_one_by_one():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    Y = X @ rng.normal(size=(3, 4)) + rng.normal(size=(50, 4))
    small = BayesianMultiTaskRegressor().fit(X, Y)
    Y[:, 0] *= 1e4
    large = BayesianMultiTaskRegressor().fit(X, Y)
    assert_allclose(large.coef_[1:], small.coef_[1:], rtol=1e-6)
    assert_allclose(large.coef_[0], 1e4 * small.coef_[0], rtol=1e-6)
    assert_allclose(large.noise_[0], 1e4 * small.noise_[0], rtol=1e-6)


def test_weight_two_is_the_row_twice(tasks):
    weight = np.random.default_rng(0).integers(0, 3, 600).astype(float)
    weight[:20] = 1.0
    again = np.repeat(np.arange(600), weight.astype(int))
    heavy = BayesianMultiTaskRegressor().fit(
        tasks.X, tasks.y, task=tasks.task, sample_weight=weight
    )
    same(heavy, tasks.fit(again))


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_units_do_not_matter(tasks, method):
    base = tasks.fit(method=method)
    X = tasks.X * [10.0, 0.1, 1.0, 3.0] + 5.0
    other = BayesianMultiTaskRegressor(method=method).fit(X, 7.0 * tasks.y, task=tasks.task)
    assert_allclose(
        other.predict(X, task=tasks.task), 7.0 * base.predict(tasks.X, task=tasks.task), rtol=1e-6
    )
    if method == "ml":
        density = base.log_marginal_likelihood_ - 600 * np.log(7.0)
        assert_allclose(other.log_marginal_likelihood_, density, rtol=1e-7)


def test_float32_stays(tasks):
    model = BayesianMultiTaskRegressor().fit(
        tasks.X.astype(np.float32), tasks.y.astype(np.float32), task=tasks.task
    )
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.predict(tasks.X[:3].astype(np.float32), task=[0, 1, 99]).dtype == np.float32
    assert_allclose(model.coef_, tasks.fit().coef_, atol=1e-3)


def test_unseen_tasks_have_the_prior(tasks):
    model = tasks.fit()
    mean, wide = model.predict(tasks.X[:4], task=["new"] * 4, return_std=True)
    _, narrow = model.predict(tasks.X[:4], task=tasks.task[:4], return_std=True)
    assert np.all(wide > narrow)
    average = tasks.X[:4] @ model.coef_.mean(axis=0) + model.intercept_.mean()
    assert_allclose(mean, average, atol=0.2)
    model.set_params(unseen_tasks="error")
    with pytest.raises(DataError, match="unseen"):
        model.predict(tasks.X[:4], task=["new"] * 4)


@pytest.mark.parametrize("structure", ["diagonal", "full"])
def test_coverage(structure):
    inside = []
    for seed in range(6):
        full = Tasks(T=50, n=24, seed=seed)
        train = np.arange(1200) % 24 < 14
        model = full.fit(train, structure=structure)
        X, task, y = full.X[~train], full.task[~train], full.y[~train]
        lower, upper = model.predict_interval(X, task=task)
        inside.append((lower <= y) & (y <= upper))
    assert 0.87 < np.mean(inside) < 0.93


def test_coverage_of_new_tasks():
    inside = []
    for seed in range(6):
        full = Tasks(T=80, n=12, seed=seed)
        train = full.task < 50
        model = full.fit(train, structure="diagonal")
        lower, upper = model.predict_interval(full.X[~train], task=full.task[~train])
        inside.append((lower <= full.y[~train]) & (full.y[~train] <= upper))
    assert 0.86 < np.mean(inside) < 0.94


@pytest.mark.parametrize("n", [3, 20])
def test_rows_add(n):
    full = Tasks(n=n, T=25)
    first = (np.arange(25 * n) % n < n // 2) & (full.task < 20)
    model = full.fit(first, structure="diagonal", mean_prior="gaussian")
    whole = BayesianMultiTaskRegressor(prior=model).fit(full.X, full.y, task=full.task)
    model.partial_fit(full.X[~first], full.y[~first], task=full.task[~first])
    assert_array_equal(model.tasks_, np.arange(25))
    assert_allclose(model.coef_, whole.coef_, rtol=1e-7, atol=1e-9)
    assert_allclose(model.intercept_, whole.intercept_, rtol=1e-7)
    first_std, second_std = (
        m.predict(full.X, task=full.task, return_std=True)[1] for m in (model, whole)
    )
    assert_allclose(first_std, second_std, rtol=1e-7)


def test_rows_of_targets_add():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    Y = X @ rng.normal(size=(3, 4)) + rng.normal(size=(40, 4))
    Y[30:, 2] = np.nan
    model = BayesianMultiTaskRegressor().fit(X[:20], Y[:20])
    # One target at a time is the same as all at once.
    other = BayesianMultiTaskRegressor(prior=model).fit(X[:20], Y[:20])
    model.partial_fit(X[20:], Y[20:])
    assert model.task_weight_sums_.tolist() == [40, 40, 30, 40]
    assert not np.allclose(model.coef_, other.coef_)


def test_rows_of_tables_add():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.normal(size=60), "colour": rng.choice(["red", "blue"], 60)})
    y = table["size"] + (table["colour"] == "red") + rng.normal(size=60)
    task = np.repeat(["a", "b", "c"], 20)
    model = BayesianMultiTaskRegressor().fit(table[:40], y[:40], task=task[:40])
    whole = BayesianMultiTaskRegressor(prior=model).fit(table, y, task=task)
    model.partial_fit(table[40:], y[40:], task=task[40:])
    assert model.tasks_.tolist() == ["a", "b", "c"]
    at = table[50:53]
    found = model.predict(at, task=["c"] * 3)
    assert_allclose(found, whole.predict(at, task=["c"] * 3), rtol=1e-7)


def test_a_feature_that_a_task_lacks():
    rng = np.random.default_rng(0)
    parts = {}
    for name, columns in {"a": ["u", "v"], "b": ["u"], "c": ["u", "v"]}.items():
        table = pd.DataFrame(rng.normal(size=(25, len(columns))), columns=columns)
        parts[name] = (table, table["u"] + rng.normal(size=25))
    model = BayesianMultiTaskRegressor("diagonal").fit(parts)
    lacking = model.coef_feature_names_.tolist().index("v")
    assert model.coef_[1, lacking] == 0.0
    _, deviation = model.predict({"b": parts["b"][0]}, return_std=True)
    assert np.all(np.isfinite(deviation["b"]))
    before = model.coef_[0].copy()
    model.partial_fit({"b": parts["b"]})
    assert model.coef_[1, lacking] == 0.0
    assert_array_equal(model.coef_[0], before)


def test_a_first_partial_fit_is_a_fit(tasks):
    model = BayesianMultiTaskRegressor().partial_fit(tasks.X, tasks.y, task=tasks.task)
    same(model, tasks.fit())


def test_a_given_prior(tasks):
    source = tasks.fit()
    new = Tasks(T=5, n=3, seed=9)
    new.W, new.b = tasks.W[:5], tasks.b[:5]
    new.y = new.truth(new.X, new.task)
    model = new.fit(prior=source)
    assert model.prior_ is source.prior_
    assert model.structure_ is None
    assert np.isnan(model.log_marginal_likelihood_)
    assert np.mean((model.coef_ - new.W) ** 2) < 0.2 * np.mean((new.fit().coef_ - new.W) ** 2)
    plain = new.fit(prior=Prior(np.zeros(5), np.eye(5), np.arange(5), 1.0))
    assert plain.coef_.shape == (5, 4)
    with pytest.raises(IncompatibleError, match="was given"):
        model.evidence()


@pytest.mark.parametrize(
    "prior",
    [
        Prior(np.zeros(3), np.eye(3), np.arange(3), 1.0),
        Prior(np.zeros(5), np.eye(5), np.arange(5), None),
    ],
)
def test_a_prior_that_does_not_fit(tasks, prior):
    with pytest.raises(DataError, match="prior"):
        tasks.fit(prior=prior)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"structure": Full(2.0), "noise": "task"}])
def test_saving(tasks, tmp_path, settings):
    model = tasks.fit(**settings)
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    assert again.get_params() == model.get_params()
    found = model.predict(tasks.X, task=tasks.task, return_std=True)
    assert_array_equal(again.predict(tasks.X, task=tasks.task, return_std=True), found)
    assert again.evidence_ == model.evidence_
    assert again.evidence(19, 0) == model.evidence(19, 0)
    again.partial_fit(tasks.X[:9], tasks.y[:9], task=["new"] * 9)
    assert len(again.coef_) == 31


def test_parts_of_the_face(tasks):
    model = tasks.fit()
    plain = model.to_sklearn(3)
    assert_allclose(plain.predict(tasks.X[:4]), model.predict(tasks.X[:4], task=[3] * 4))
    assert len(model.coef_frame()) == 30 * 5
    assert 0.3 < model.score(tasks.X, tasks.y, task=tasks.task) <= 1.0
    card = model.card().markdown
    assert "residual" in card
    assert card.startswith("# BayesianMultiTaskRegressor (learned prior)")
    assert "| prior of the mean coefficients (mean_prior) | auto |" in card


def test_shared_features(tasks):
    model = tasks.fit(varying=[3])
    assert np.ptp(model.coef_[:, :3], axis=0).max() < 1e-12
    assert np.ptp(model.coef_[:, 3]) > 0.01
    assert model.prior_.varying.tolist() == [0, 4]


def test_noise_of_tasks():
    full = Tasks(T=20, n=60, noise=0.0)
    deviation = np.repeat([0.2, 2.0], 600)
    full.y = full.y + deviation * np.random.default_rng(0).normal(size=1200)
    model = full.fit(noise="task")
    assert_allclose(model.noise_, deviation[::60], rtol=0.35)
    assert model.log_marginal_likelihood_ > full.fit().log_marginal_likelihood_ + 50


def test_a_wide_set_shrinks_its_mean():
    rng = np.random.default_rng(0)
    task, d = np.repeat(np.arange(12), 15), 60
    w = rng.normal(size=d) / np.sqrt(d)
    X, Z = rng.normal(size=(180, d)), rng.normal(size=(600, d))
    y = X @ w + rng.normal(size=180)
    errors = []
    for prior in ("auto", "flat"):
        model = BayesianMultiTaskRegressor(mean_prior=prior).fit(X, y, task=task)
        errors.append(np.mean((model.predict(Z, task=np.zeros(600, int)) - Z @ w) ** 2))
    assert errors[0] < 0.8 * errors[1]


def test_one_task_is_ridge_or_least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1.0, 2.0, 0.0] + rng.normal(size=40)
    flat = BayesianMultiTaskRegressor(mean_prior="flat", standardize=False).fit(X, y)
    assert_allclose(flat.coef_[0], LinearRegression().fit(X, y).coef_, rtol=1e-6)
    bent = BayesianMultiTaskRegressor(
        mean_prior="gaussian", standardize=False, scale_targets=None, tol=1e-8
    ).fit(X, y)
    penalty = (40 - 1) * 0 + 1.0 / np.exp(bent._learned.params[-1])
    assert_allclose(bent.coef_[0], Ridge(penalty).fit(X, y).coef_, rtol=1e-5)


@pytest.mark.parametrize("structure", ["auto", "none", "scalar", "diagonal", "low_rank", "full"])
def test_nasty(structure):
    rng = np.random.default_rng(0)
    sizes = [0, 1, 2, 30, 5, 1]
    task = np.repeat(np.arange(6), sizes)
    X = rng.normal(size=(len(task), 4))
    X[:, 1] = 3.0
    X[:, 3] = X[:, 2]
    y = X[:, 0] + X[:, 2] + 0.5 * rng.normal(size=len(task))
    weight = np.ones(len(task))
    model = BayesianMultiTaskRegressor(structure)
    model.fit(X, y, task=task, sample_weight=weight)
    mean, deviation = model.predict(X, task=task, return_std=True)
    assert np.all(np.isfinite(mean))
    assert np.all(deviation > 0)
    # Columns that are equal share their effect.
    assert_allclose(model.coef_[:, 2], model.coef_[:, 3], atol=0.15)


def test_a_task_without_rows():
    X = np.random.default_rng(0).normal(size=(30, 2))
    task = np.repeat([0, 1, 2], 10)
    weight = np.where(task == 2, 0.0, 1.0)
    with pytest.warns(match="no row of positive weight"):
        model = BayesianMultiTaskRegressor().fit(X, X[:, 0], task=task, sample_weight=weight)
    assert_allclose(
        model.predict(X[:3], task=[2] * 3), model.predict(X[:3], task=[7] * 3), rtol=1e-9
    )


def test_two_tasks_without_noise():
    full = Tasks(T=2, n=40, noise=0.0)
    model = full.fit()
    assert_allclose(model.predict(full.X, task=full.task), full.y, atol=1e-3)


def test_stopping_early_is_said(tasks):
    with pytest.warns(ConvergenceWarning, match="relative residual"):
        tasks.fit(structure="full", max_iter=3)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"structure": "diagnoal"}, "structure"),
        ({"varying": ["x9"]}, "varying"),
        ({"varying": [4]}, "varying"),
        ({"mean_prior": 1}, "mean_prior"),
        ({"method": "map"}, "method"),
        ({"noise": "none"}, "noise"),
        ({"prior": 3.0}, "prior"),
        ({"tol": 0.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
        ({"scale_targets": "x"}, "scale_targets"),
        ({"standardize": "yes"}, "standardize"),
    ],
)
def test_settings_that_do_not_exist(tasks, settings, name):
    with pytest.raises(ParameterError, match=name):
        tasks.fit(**settings)


@pytest.mark.parametrize("level", [0.0, 1.0, 90, "all"])
def test_levels_that_do_not_exist(tasks, level):
    with pytest.raises(ParameterError, match="level"):
        tasks.fit(structure="none").predict_interval(tasks.X, task=tasks.task, level=level)


def test_a_flat_mean_needs_rows():
    X = np.random.default_rng(0).normal(size=(6, 9))
    with pytest.raises(ParameterError, match="mean_prior"):
        BayesianMultiTaskRegressor(mean_prior="flat").fit(X, X[:, 0])


def scattered(kind, seed=0, T=30, n=30, p=5):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(T), n)
    X = rng.normal(size=(T * n, p))
    W = {
        "pooled": np.tile(rng.normal(size=p), (T, 1)),
        "related": 1.0 + 0.3 * rng.normal(size=(T, p)),
        "separate": rng.normal(size=(T, p)),
    }[kind]
    return X, np.sum(X * W[task], axis=1) + rng.normal(size=T * n), task


@pytest.mark.parametrize("kind", ["pooled", "related", "separate"])
def test_evidence_says_so(kind):
    X, y, task = scattered(kind)
    found = BayesianMultiTaskRegressor().fit(X, y, task=task).evidence(19, random_state=0)
    assert found.verdict == kind
    assert f"say {kind}" in str(found)
    assert (found.p_value > 0.05) == (kind == "pooled")


@pytest.mark.slow
def test_p_values_are_not_small_by_chance():
    values = []
    for seed in range(12):
        X, y, task = scattered("pooled", seed, T=12, n=8, p=3)
        model = BayesianMultiTaskRegressor("scalar").fit(X, y, task=task)
        values.append(model.evidence(19, random_state=seed).p_value)
    assert np.mean(np.array(values) <= 0.1) < 0.35
    assert np.mean(values) > 0.3


def test_densities_are_those_of_refits():
    from polytask.bayes.blocks import block_of
    from polytask.bayes.evidence import log_densities

    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(7), rng.normal(size=(7, 2))])
    y, v = rng.normal(size=7), rng.uniform(0.5, 2.0, 7)
    prior = Prior(np.ones(3), np.diag([1.0, 0.5, 2.0]), np.arange(3), 0.8)
    root = np.sqrt(v)[:, None]
    line = block_of(
        np.zeros((1, 1), int), np.array([v.sum()]), (X * root)[None], (y[:, None] * root)[None]
    )
    S = X @ prior.covariance @ X.T + 0.8 * np.diag(1 / v)
    expected = []
    for i in range(7):
        rest = np.arange(7) != i
        gain = S[i, rest] @ np.linalg.inv(S[np.ix_(rest, rest)])
        mean = X[i] @ prior.mean + gain @ (y - X @ prior.mean)[rest]
        variance = S[i, i] - gain @ S[rest, i]
        expected.append(-0.5 * (np.log(2 * np.pi * variance) + (y[i] - mean) ** 2 / variance))
    assert_allclose(log_densities(line, prior, 0.8, (X, y, v)), expected, rtol=1e-8)


def test_no_warning_in_a_plain_fit(tasks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for structure in (NoVariation(), Scalar(), Diagonal(), Full()):
            tasks.fit(structure=structure)


def test_weights_that_are_no_rows_and_draws_that_prove_nothing_are_refused():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 2)), np.repeat([0, 1, 2], 20)
    y = X[:, 0] + rng.standard_normal(60)
    with pytest.raises(DataError, match=r"sample_weight .* of sum 2 or more"):
        BayesianMultiTaskRegressor().fit(X, y, task=task, sample_weight=np.full(60, 1 / 60))
    with pytest.raises(ParameterError, match=r"n_bootstrap .* 19 or more"):
        BayesianMultiTaskRegressor().fit(X, y, task=task).evidence(9)


@pytest.mark.parametrize(("n_jobs", "most"), [(None, 1), (2, 2)])
def test_one_thread_unless_told_otherwise(monkeypatch, n_jobs, most):
    seen = []
    limited = _threads.threadpool_limits

    def watched(count):
        seen.append(count)
        return limited(count)

    monkeypatch.setattr(_threads, "threadpool_limits", watched)
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 2)), np.repeat(np.arange(6), 10)
    y = X[:, 0] + 0.3 * rng.standard_normal((6, 1))[task, 0] + rng.standard_normal(60)
    model = BayesianMultiTaskRegressor(n_jobs=n_jobs).fit(X, y, task=task)
    model.evidence(n_bootstrap=19, random_state=0)
    model.partial_fit(X[:3], y[:3], task=task[:3])
    assert seen == [most] * 3


def test_a_category_that_was_not_in_training_has_an_interval_of_the_usual_width():
    # Of the levels together the data say much, of no level at all they say nothing.
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {"shop": rng.integers(0, 6, 300), "offer": rng.choice(["a", "b", "c"], 300)}
    )
    y = 10.0 * (table["offer"] == "b") + rng.standard_normal(300)
    model = BayesianMultiTaskRegressor(task_column="shop").fit(table, y)
    new = pd.DataFrame({"shop": 1, "offer": ["a", "b", "c", "new"]})
    lower, upper = model.predict_interval(new)
    width, middle = upper - lower, (upper + lower) / 2
    assert width[3] < 1.05 * width[:3].max()
    share = table["offer"].value_counts(normalize=True).sort_index()
    assert_allclose(middle[3], middle[:3] @ share, rtol=1e-6)

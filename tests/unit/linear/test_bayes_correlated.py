"""BayesianMultiTaskRegressor(noise="correlated"): what it gains, and every other method."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import BayesianMultiTaskRegressor, adapt, load, save
from polytask.bayes import NoVariation
from polytask.exceptions import ConvergenceWarning, DataError, IncompatibleError


def model(**settings):
    return BayesianMultiTaskRegressor(noise="correlated", **settings)


@pytest.mark.slow
@parametrize_with_checks([model(), model(structure="diagonal", method="ml")])
def test_scikit_learn(estimator, check):
    check(estimator)


class Targets:
    """Targets of one design with correlated noise of variance 1, and gaps."""

    def __init__(self, T=5, n=80, d=4, gaps=0.3, rho=0.9, seed=0, spread=0.3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n + 400, d))
        self.W = rng.normal(size=(d, 1)) + spread * rng.normal(size=(d, T))
        truth = X @ self.W + 5.0
        root = np.linalg.cholesky(rho + (1 - rho) * np.eye(T))
        Y = truth + rng.normal(size=truth.shape) @ root.T
        self.X, self.new, self.truth, self.fresh = X[:n], X[n:], truth[n:], Y[n:]
        self.whole = Y[:n]
        self.Y = np.where(rng.random((n, T)) < gaps, np.nan, self.whole)


@pytest.fixture(scope="module")
def targets():
    return Targets()


@pytest.fixture(scope="module")
def fitted(targets):
    return model().fit(targets.X, targets.Y)


@pytest.mark.slow
def test_gaps_are_filled_by_what_other_targets_say():
    errors = {"task": [], "correlated": []}
    gains = []
    for seed in range(5):
        data, found = Targets(seed=seed), {}
        for noise, own in errors.items():
            found[noise] = BayesianMultiTaskRegressor(noise=noise).fit(data.X, data.Y)
            own.append(np.mean((found[noise].predict(data.new) - data.truth) ** 2))
        likelihoods = [m.log_marginal_likelihood_ for m in found.values()]
        gains.append(likelihoods[1] - likelihoods[0])
    assert np.mean(errors["correlated"]) < 0.8 * np.mean(errors["task"])
    assert min(gains) > 100


@pytest.mark.slow
@pytest.mark.parametrize("shape", [{"T": 20, "n": 30}, {"T": 8, "n": 30, "rho": 0.5}])
def test_differences_of_coefficients_do_not_vanish_into_the_noise(shape):
    errors = {"task": [], "correlated": []}
    for seed in range(5):
        data = Targets(seed=seed, **shape)
        for noise, own in errors.items():
            found = BayesianMultiTaskRegressor("scalar", noise=noise).fit(data.X, data.Y)
            own.append(np.mean((found.predict(data.new) - data.truth) ** 2))
    assert np.mean(errors["correlated"]) < 0.9 * np.mean(errors["task"])


@pytest.mark.slow
def test_nothing_is_lost_without_correlation():
    errors = {"task": [], "correlated": []}
    for seed in range(5):
        data = Targets(seed=seed, rho=0.0)
        for noise, own in errors.items():
            found = BayesianMultiTaskRegressor(noise=noise).fit(data.X, data.Y)
            own.append(np.mean((found.predict(data.new) - data.truth) ** 2))
    assert np.mean(errors["correlated"]) < 1.05 * np.mean(errors["task"])


def test_the_noise_is_reported_in_original_units(targets, fitted):
    assert_allclose(fitted.noise_covariance_, 0.9 + 0.1 * np.eye(5), atol=0.25)
    assert_allclose(np.diagonal(fitted.noise_covariance_), fitted.noise_**2)
    large = model().fit(targets.X, targets.Y * [1e4, 1.0, 1.0, 1.0, 1.0])
    scale = np.outer([1e4, 1, 1, 1, 1], [1e4, 1, 1, 1, 1])
    assert_allclose(large.noise_covariance_, scale * fitted.noise_covariance_, rtol=1e-5)
    assert BayesianMultiTaskRegressor().fit(targets.X, targets.Y).noise_covariance_ is None


@pytest.mark.slow
def test_intervals_cover():
    inside = []
    for seed in range(6):
        data = Targets(seed=seed, n=60)
        lower, upper = model().fit(data.X, data.Y).predict_interval(data.new)
        inside.append((lower < data.fresh) & (data.fresh < upper))
    assert 0.86 < np.mean(inside) < 0.94


def test_order_and_kind_of_the_design_do_not_matter(targets, fitted):
    order = np.random.default_rng(0).permutation(80)
    others = [
        model().fit(targets.X[order], targets.Y[order]),
        model().fit(sp.csr_array(targets.X), targets.Y),
        model().fit(10.0 * targets.X + 3.0, targets.Y),
    ]
    for other, factor in zip(others, (1.0, 1.0, 10.0), strict=True):
        assert_allclose(factor * other.coef_, fitted.coef_, rtol=1e-4, atol=1e-5)
        assert_allclose(other.noise_covariance_, fitted.noise_covariance_, rtol=1e-4)
    turned = model().fit(targets.X, targets.Y[:, ::-1])
    assert_allclose(turned.coef_[::-1], fitted.coef_, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_weight_two_is_the_row_twice(gaps):
    data = Targets(gaps=gaps)
    weight = np.random.default_rng(0).integers(0, 3, 80).astype(float)
    again = np.repeat(np.arange(80), weight.astype(int))
    heavy = model(structure="diagonal").fit(data.X, data.Y, sample_weight=weight)
    twice = model(structure="diagonal").fit(data.X[again], data.Y[again])
    assert_allclose(heavy.coef_, twice.coef_, rtol=1e-8)
    assert_allclose(heavy.noise_covariance_, twice.noise_covariance_, rtol=1e-8)
    assert_allclose(heavy.log_marginal_likelihood_, twice.log_marginal_likelihood_)


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("structure", ["none", "scalar", "low_rank", "full"])
def test_every_structure(targets, method, structure):
    found = model(structure=structure, method=method, mean_prior="gaussian")
    found.fit(targets.X, targets.Y)
    assert found.solution_.status.ok
    # Tasks differ by .3 in each of four coefficients.
    assert np.mean((found.predict(targets.new) - targets.truth) ** 2) < 0.6


def test_some_features_may_be_shared(targets):
    found = model(varying=[1], scale_targets=None).fit(targets.X, targets.Y)
    shared = np.ptp(found.coef_ * found.feature_scale_, axis=0)
    assert np.all(shared[[0, 2, 3]] < 1e-10)
    assert shared[1] > 0.1


def test_one_task_is_as_with_common_noise(targets):
    seen = ~np.isnan(targets.Y[:, 0])
    X, y = targets.X[seen], targets.Y[seen, 0]
    common = BayesianMultiTaskRegressor().fit(X, y)
    for Y in (y, y[:, None]):
        found = model().fit(X, Y)
        assert_allclose(found.coef_, common.coef_, rtol=1e-3)
        assert_allclose(found.noise_, common.noise_, rtol=1e-3)
        assert found.noise_covariance_.shape == (1, 1)


def test_rows_of_one_task_each_are_refused(targets):
    task = np.arange(80) % 4
    with pytest.raises(IncompatibleError, match=r"targets form, X and a matrix y .*\(4 tasks\)"):
        model().fit(targets.X, targets.whole[:, 0], task=task)
    parts = {t: (targets.X, targets.whole[:, t]) for t in range(2)}
    with pytest.raises(IncompatibleError, match="targets form"):
        model().fit(parts)


def test_too_many_coefficients_with_gaps_are_refused():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(50, 60)), rng.normal(size=(50, 40))
    gaps = np.where(rng.random(Y.shape) < 0.1, np.nan, Y)
    with pytest.raises(DataError, match=r"2000 .* 40 x 61 = 2440"):
        model().fit(X, gaps)
    found = model(structure="none", varying=[]).fit(X, Y)
    assert found.solution_.status.ok
    wide = model(structure="none").fit(X, Y)
    with pytest.raises(DataError, match="2000"):
        wide.partial_fit(X[:5], gaps[:5])


def test_too_many_patterns_are_refused():
    rng = np.random.default_rng(0)
    Y = np.where(rng.random((130, 400)) < 0.1, np.nan, rng.normal(size=(130, 400)))
    with pytest.raises(DataError, match=r"130 sets x 400 x 400 = 20800000"):
        model().fit(rng.normal(size=(130, 1)), Y)


@pytest.mark.slow
def test_rows_add(targets):
    half = model().fit(targets.X[:50], targets.Y[:50])
    whole = model(prior=half).fit(targets.X, targets.Y)
    half.partial_fit(targets.X[50:], targets.Y[50:])
    assert_allclose(half.coef_, whole.coef_, rtol=1e-8, atol=1e-10)
    assert_allclose(half.intercept_, whole.intercept_, rtol=1e-8)
    pairs = (m.predict(targets.new, return_std=True)[1] for m in (half, whole))
    assert_allclose(*pairs, rtol=1e-8)
    assert_array_equal(half.task_weight_sums_, np.sum(~np.isnan(targets.Y), axis=0))
    assert isinstance(str(half.evidence(19, random_state=0)), str)


def test_rows_of_known_tasks_are_rows_with_one_label(targets, fitted):
    Y = np.full((4, 5), np.nan)
    Y[range(4), [0, 0, 3, 4]] = [1.0, 2.0, 3.0, 4.0]
    first, second = (pickle.loads(pickle.dumps(fitted)) for _ in range(2))
    first.partial_fit(targets.X[:4], Y)
    second.partial_fit(targets.X[:4], [1.0, 2.0, 3.0, 4.0], task=[0, 0, 3, 4])
    assert_allclose(second.coef_, first.coef_, rtol=1e-10)
    # A label of one target says something about the others.
    assert not np.allclose(first.coef_[1], fitted.coef_[1], rtol=1e-6)


def test_a_prior_needs_the_same_targets(targets, fitted):
    with pytest.raises(IncompatibleError, match=r"as many targets as y has, 3; got one of 5"):
        model(prior=fitted).fit(targets.X, targets.Y[:, :3])
    for prior in (BayesianMultiTaskRegressor().fit(targets.X, targets.Y), fitted.prior_):
        with pytest.raises(IncompatibleError, match="got one without"):
            model(prior=prior).fit(targets.X, targets.Y)
    apart = BayesianMultiTaskRegressor(prior=fitted).fit(targets.X, targets.Y)
    assert apart.noise_covariance_ is None
    with pytest.raises(IncompatibleError, match="learned from the data"):
        model(prior=fitted).fit(targets.X, targets.Y).evidence()


def test_new_tasks_have_noise_of_their_own(targets, fitted):
    more = adapt(fitted, targets.X[:20], targets.whole[:20, 0] + 1.0, task="new")
    assert_array_equal(more.coef_[:5], fitted.coef_)
    assert more.tasks_.tolist() == [0, 1, 2, 3, 4, "new"]
    assert_array_equal(more.noise_covariance_[:5, :5], fitted.noise_covariance_)
    assert not more.noise_covariance_[5, :5].any()
    assert_allclose(more.noise_[5] ** 2, more.noise_covariance_[5, 5])
    empty = adapt(fitted, None, task="empty")
    assert_array_equal(empty.coef_[:5], fitted.coef_)
    errors = [m.predict(targets.new)[:, 5] - targets.truth[:, 0] - 1.0 for m in (more, empty)]
    assert np.mean(errors[0] ** 2) < 0.5 * np.mean(errors[1] ** 2)
    more.partial_fit(targets.X[:3], np.column_stack([targets.Y[:3], np.ones(3)]))
    assert more.task_weight_sums_[5] == 23
    assert not np.allclose(more.coef_[:5], fitted.coef_, rtol=1e-6)


@pytest.mark.slow
def test_saving(targets, fitted, tmp_path):
    save(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.evidence(19, random_state=0) == fitted.evidence(19, random_state=0)
    for copy in (loaded, pickle.loads(pickle.dumps(fitted))):
        for first, second in zip(
            copy.predict(targets.new, return_std=True),
            fitted.predict(targets.new, return_std=True),
            strict=True,
        ):
            assert_array_equal(first, second)
        assert_array_equal(copy.noise_covariance_, fitted.noise_covariance_)
        copy.partial_fit(targets.X[:5], targets.Y[:5])


def test_tables(targets):
    table = pd.DataFrame(targets.X, columns=list("abcd"))
    table["kind"] = np.where(targets.X[:, 0] > 0, "u", "v")
    found = model().fit(table, pd.DataFrame(targets.Y, columns=list("vwxyz")))
    mean, deviation = found.predict(table.head(3), return_std=True)
    assert mean.shape == deviation.shape == (3, 5)
    frame = found.predict_frame(table.head(3))
    assert frame.columns.tolist() == list("vwxyz")
    assert_allclose(found.to_sklearn("w").predict(table.head(3)), frame["w"])


@pytest.mark.slow
def test_evidence_says_so():
    verdicts = {}
    for spread in (0.0, 0.2):
        data = Targets(spread=spread, gaps=0.0, n=30, T=20, d=6)
        found = model(structure="scalar").fit(data.X, data.Y)
        verdicts[spread] = found.evidence(39, random_state=0)
    assert verdicts[0.0].verdict == "pooled"
    assert verdicts[0.2].verdict == "related"
    assert 0 < verdicts[0.2].density_error < 1


def constant(Y):
    return np.column_stack([Y[:, :1], np.full(len(Y), 3.0), Y[:, 2:]])


NASTY = {
    "two tasks": lambda Y: Y[:, :2],
    "identical": lambda Y: np.column_stack([Y, Y[:, 0]]),
    "all identical": lambda Y: np.tile(Y[:, :1], 4),
    "constant": constant,
    "disjoint": lambda Y: np.where(np.arange(len(Y))[:, None] % 5 == np.arange(5), Y, np.nan),
    "a row without": lambda Y: np.where(np.arange(len(Y))[:, None] > 0, Y, np.nan),
    "large": lambda Y: 1e9 * Y,
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_nasty_targets(name, gaps):
    data = Targets(gaps=gaps)
    Y = NASTY[name](np.where(np.isnan(data.Y), np.nan, data.whole))
    found = model().fit(data.X, Y)
    mean, deviation = found.predict(data.new, return_std=True)
    assert found.solution_.status.ok
    assert np.all(np.isfinite(mean))
    assert np.all(deviation > 0)
    scale = np.sqrt(np.diagonal(found.noise_covariance_))
    assert np.linalg.cond(found.noise_covariance_ / np.outer(scale, scale)) < 1e4


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize(
    "shape",
    [{"T": 12, "n": 8}, {"T": 6, "n": 15, "d": 30}, {"T": 40, "n": 30}, {"n": 4, "T": 3}],
    ids=["more tasks than rows", "more features than rows", "many tasks", "four rows"],
)
def test_few_rows(shape, gaps):
    data = Targets(**shape, gaps=gaps)
    found = model().fit(data.X, data.Y)
    assert found.solution_.status.ok
    assert np.all(np.isfinite(found.predict(data.new, return_std=True)))
    scale = np.sqrt(np.diagonal(found.noise_covariance_))
    assert np.linalg.cond(found.noise_covariance_ / np.outer(scale, scale)) < 1e4


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_almost_no_noise(gaps, noise):
    data = Targets(gaps=gaps)
    Y = data.X @ data.W + 3.0 + noise * (data.whole - data.X @ data.W - 5.0)
    found = model().fit(data.X, np.where(np.isnan(data.Y), np.nan, Y))
    assert_allclose(found.coef_, data.W.T, atol=5e-3)
    assert np.all(found.noise_ < 5e-3)


def test_a_target_without_weight(targets):
    Y = np.where(np.arange(80)[:, None] < 40, targets.whole, np.nan)
    Y[40:, 0] = targets.whole[40:, 0]
    Y[:40, 0] = np.nan
    weight = np.where(np.arange(80) < 40, 1.0, 0.0)
    with pytest.warns(match="no row of positive weight"):
        found = model().fit(targets.X, Y, sample_weight=weight)
    assert_allclose(found.coef_[0] / found.coef_[1:].mean(axis=0), 1.0, atol=0.5)
    assert np.all(np.isfinite(found.predict(targets.new, return_std=True)))
    assert not found.noise_covariance_[0, 1:].any()
    assert found.noise_[0] > 0


def test_float32_stays(targets, fitted):
    found = model().fit(targets.X.astype(np.float32), targets.Y.astype(np.float32))
    assert found.coef_.dtype == np.float32
    assert_allclose(found.coef_, fitted.coef_, atol=1e-3)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_constant_and_repeated_features(gaps):
    data = Targets(gaps=gaps)
    X = np.column_stack([data.X, np.ones(80), data.X[:, 0]])
    found = model().fit(X, data.Y)
    new = np.column_stack([data.new, np.ones(400), data.new[:, 0]])
    assert np.mean((found.predict(new) - data.truth) ** 2) < 0.3


def test_missing_features_are_refused(targets):
    X = targets.X.copy()
    X[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        model().fit(X, targets.Y)


def test_stopping_early_is_said(targets):
    with pytest.warns(ConvergenceWarning, match=r"stopped after \d+ evaluations"):
        model(max_iter=3).fit(targets.X, targets.Y)


def test_the_chosen_structure_has_the_best_score(fitted):
    best = max(fitted.evidence_, key=lambda candidate: candidate.score)
    assert best.structure == fitted.structure_
    assert not isinstance(fitted.structure_, NoVariation)

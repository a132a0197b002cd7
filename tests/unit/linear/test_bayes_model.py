"""Tasks with a loss each and a learned prior: counts, amounts, numbers and classes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    DataError,
    DataWarning,
    IncompatibleError,
    MultiTaskRegressor,
    ParameterError,
    Pooled,
    SingleTask,
    adapt,
    load,
    save,
)
from polytask.baselines import TunedMeans
from polytask.linear.bayes_intervals import _of_means
from polytask.losses import Gamma, Poisson

T, D = 12, 3


def simulated(loss, rows=25, seed=0, deviation=0.2, T=T, phi=0.4):
    """Return rows, targets and tasks that differ in their coefficients, and the true means."""
    rng = np.random.default_rng(seed)
    X, task = rng.normal(size=(T * rows, D)), np.repeat(np.arange(T), rows)
    W = np.array([0.5, -0.3, 0.0]) + deviation * rng.normal(size=(T, D))
    mean = np.exp(1.0 + (0.3 * rng.normal(size=T))[task] + np.sum(X * W[task], axis=1))
    y = rng.poisson(mean) if loss == "poisson" else rng.gamma(1.0 / phi, mean * phi)
    return X, y.astype(float), task, mean


def of_kinds(n=150, seed=0):
    """Return a matrix of a number, two classes, a count and three classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    eta = X @ [0.8, -0.5, 0.0]
    Y = np.empty((n, 4), dtype=object)
    Y[:, 0] = 100.0 + 10.0 * (eta + 0.5 * rng.normal(size=n))
    Y[:, 1] = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * eta)), "yes", "no")
    Y[:, 2] = rng.poisson(np.exp(1 + eta)).astype(float)
    Y[:, 3] = np.array(list("abc"))[np.argmax(X + rng.gumbel(size=(n, 3)), axis=1)]
    return X, Y


KINDS = {0: "squared", 1: "logistic", 2: "poisson", 3: "multinomial"}


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_predictions_are_means_near_the_true_ones(loss):
    X, y, task, mean = simulated(loss)
    model = BayesianMultiTaskModel(loss=loss).fit(X, y, task=task)
    predicted = model.predict(X, task=task)
    assert_allclose(predicted, model.predict(X, task=task), rtol=0)
    assert r2_score(np.log(mean), np.log(predicted)) > (0.85 if loss == "poisson" else 0.7)
    # An expectation over the posterior lies above the value at its mode.
    mode = np.exp(model.intercept_[task] + np.sum(X * model.coef_[task], axis=1))
    assert np.all(predicted > mode)
    assert np.all(predicted < 1.2 * mode)
    own = task == 3
    assert_allclose(model.to_sklearn(3).predict(X[own]), mode[own], rtol=1e-10)
    assert np.all(model.predict(X[:4], task=["new"] * 4) > 0)
    assert_allclose(model.dispersion_, 1.0 if loss == "poisson" else 0.4, rtol=0.2)


def test_the_unit_of_amounts_moves_intercepts_alone():
    X, y, task, _ = simulated("gamma")
    one, other = (BayesianMultiTaskModel(loss="gamma").fit(X, c * y, task=task) for c in (1, 1e4))
    assert_allclose(other.coef_, one.coef_, atol=1e-7)
    assert_allclose(other.predict(X, task=task), 1e4 * one.predict(X, task=task), rtol=1e-6)
    assert_allclose(other.dispersion_, one.dispersion_, rtol=1e-6)


def test_rates_with_exposures_are_counts():
    X, y, task, _ = simulated("poisson")
    model = BayesianMultiTaskModel("scalar", loss="poisson")
    whole = model.fit(X, y, task=task).predict(X, task=task)
    # A row of exposure 2 whose rate is the mean of two rows is these rows.
    Xs, ys, ts = X.repeat(2, axis=0), y.repeat(2), task.repeat(2)
    twice = model.fit(Xs, ys, task=ts).predict(X, task=task)
    weighted = model.fit(X, y, task=task, sample_weight=np.full(len(y), 2.0))
    assert_allclose(weighted.predict(X, task=task), twice, rtol=1e-4)
    assert np.abs(twice / whole - 1).max() > 1e-3


def test_two_classes_are_those_of_the_classifier():
    X, y, task, mean = simulated("poisson")
    y = np.where(y > np.median(mean), "many", "few")
    one = BayesianMultiTaskModel().fit(X, y, task=task)
    other = BayesianMultiTaskClassifier().fit(X, y, task=task)
    assert_array_equal(one.coef_, other.coef_)
    assert_array_equal(one.predict_proba(X, task=task), other.predict_proba(X, task=task))
    assert one.log_marginal_likelihood_ == other.log_marginal_likelihood_
    assert np.isnan(one.dispersion_).all()


def test_numbers_are_those_of_the_regressor():
    X, y, task, _ = simulated("gamma", rows=40)
    y = np.log(y)
    one = BayesianMultiTaskModel("diagonal", loss="squared", mean_prior="flat").fit(
        X, y, task=task
    )
    other = BayesianMultiTaskRegressor("diagonal", mean_prior="flat").fit(X, y, task=task)
    # The intercept and mu have wide priors here and none there.
    assert_allclose(one.predict(X, task=task), other.predict(X, task=task), atol=0.01)
    assert_allclose(np.sqrt(one.dispersion_), other.noise_, rtol=0.01)
    # The regressor gives intervals a noise of each task; its deviation has the common one.
    mean, deviation = other.predict(X, task=task, return_std=True)
    reach = scipy.stats.norm.ppf(0.95) * deviation
    assert_allclose(one.predict_interval(X, task), (mean - reach, mean + reach), atol=0.03)


def test_kinds_side_by_side(tmp_path):
    X, Y = of_kinds()
    model = BayesianMultiTaskModel(loss=KINDS).fit(X, Y)
    new, truth = of_kinds(seed=1)
    found = model.predict(new)
    assert r2_score(truth[:, 0].astype(float), found[:, 0].astype(float)) > 0.6
    assert r2_score(truth[:, 2].astype(float), found[:, 2].astype(float)) > 0.3
    assert np.mean(found[:, 1] == truth[:, 1]) > 0.7
    assert np.mean(found[:, 3] == truth[:, 3]) > 0.5
    none, pair, also_none, three = model.predict_proba(new)
    assert none is None
    assert also_none is None
    assert_allclose(pair.sum(axis=1), 1.0)
    assert_allclose(three.sum(axis=1), 1.0)
    assert_array_equal(model.classes_[3][three.argmax(axis=1)], found[:, 3])
    assert np.array_equal(np.isnan(model.dispersion_), [False, True, False, True])
    assert_allclose(model.dispersion_[0], 25.0, rtol=0.3)
    lower, upper = model.predict_interval(new)
    assert_array_equal(np.isnan(lower[0]), [False, True, False, True])
    inside = (lower[:, 0] <= truth[:, 0]) & (truth[:, 0] <= upper[:, 0])
    assert 0.84 < inside.mean() < 0.96
    assert all(score > 0.05 for score in model.task_scores(new, truth).values)
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    assert_array_equal(again.predict(new), found)
    assert_array_equal(again.predict_proba(new)[3], three)
    assert_array_equal(again.predict_interval(new), (lower, upper))


def test_rows_of_tasks_of_several_losses():
    X, y, task, _ = simulated("poisson", T=2, rows=60)
    y[task == 1] = np.log1p(y[task == 1])
    model = BayesianMultiTaskModel(loss={0: "poisson", 1: "squared"}).fit(X, y, task=task)
    own = task == 1
    assert r2_score(y[own], model.predict(X[own], task=task[own])) > 0.4
    with pytest.raises(IncompatibleError, match="one loss for all tasks"):
        model.predict(X[:2], task=["new", "new"])


def test_a_task_without_weight_has_what_the_others_share():
    X, y, task, _ = simulated("poisson", T=3, rows=40)
    weight = (task != 1).astype(float)
    model = BayesianMultiTaskModel(loss={0: "poisson", 1: "poisson", 2: "squared"})
    with pytest.warns(DataWarning, match="no row of positive weight"):
        model.fit(X, y, task=task, sample_weight=weight)
    mean = model.prior_.mean[1:] / X[weight > 0].std(axis=0)
    assert_allclose(model.coef_[1], mean, rtol=0.02, atol=1e-3)
    assert model.dispersion_[1] == 1.0


@pytest.mark.parametrize("phi", [1.0, 2.5])
def test_quantiles_of_counts_are_those_of_scipy(phi):
    eta = np.array([-8.0, -1.0, 0.5, 3.0, 9.0])
    mean = np.exp(eta)
    law = (
        scipy.stats.poisson(mean)
        if phi == 1
        else scipy.stats.nbinom(mean / (phi - 1.0), 1.0 / phi)
    )
    for p in (0.025, 0.5, 0.95):
        assert_array_equal(_of_means(Poisson(), eta, np.zeros(5), phi, p), law.ppf(p))


def test_quantiles_of_amounts_are_those_of_scipy_and_of_draws():
    eta, phi = np.array([-3.0, 0.0, 6.0]), 0.3
    law = scipy.stats.gamma(1.0 / phi, scale=np.exp(eta) * phi)
    assert_allclose(_of_means(Gamma(), eta, np.zeros(3), phi, 0.1), law.ppf(0.1), rtol=1e-9)
    rng = np.random.default_rng(0)
    means = np.exp(0.5 + 0.6 * rng.normal(size=400_000))
    drawn = rng.gamma(1.0 / phi, means * phi)
    got = _of_means(Gamma(), np.array([0.5]), np.array([0.6]), phi, 0.9)
    assert_allclose(got, np.quantile(drawn, 0.9), rtol=0.01)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_intervals_hold_what_they_say(loss):
    X, y, task, _ = simulated(loss, rows=40)
    train = np.tile(np.arange(40) < 15, T)
    model = BayesianMultiTaskModel(loss=loss).fit(X[train], y[train], task=task[train])
    lower, upper = model.predict_interval(X[~train], task[~train], level=0.8)
    inside = np.mean((y[~train] >= lower) & (y[~train] <= upper))
    assert 0.76 < inside < (0.93 if loss == "poisson" else 0.85)


def explained(loss, y, predicted):
    """Return the share of the deviance of the mean that is explained."""
    null = np.full(len(y), y.mean())
    of = [np.sum(loss.value(y, np.log(mean))) for mean in (predicted, null)]
    return 1.0 - of[0] / of[1]


@pytest.mark.parametrize("loss", [Poisson(), Gamma()], ids=["poisson", "gamma"])
def test_few_rows_of_related_tasks_are_better_learned_together(loss):
    X, y, task, _ = simulated(loss.name, rows=60, T=20)
    train = np.tile(np.arange(60) < 8, 20)
    rest = (X[~train], task[~train])
    models = [
        BayesianMultiTaskModel(loss=loss.name),
        SingleTask(TunedMeans(loss.name)),
        Pooled(TunedMeans(loss.name), "intercept"),
    ]
    fitted = [model.fit(X[train], y[train], task=task[train]) for model in models]
    scores = [explained(loss, y[~train], m.predict(rest[0], task=rest[1])) for m in fitted]
    separate, pooled = scores[0] - np.array(scores[1:])
    assert separate > 0.05
    assert pooled > 0.0


@pytest.mark.parametrize(
    ("loss", "y", "sentence"),
    [
        ("poisson", -1.0, "a number >= 0 for loss='poisson'"),
        ("gamma", 0.0, "a number > 0 for loss='gamma'"),
    ],
)
def test_targets_that_a_loss_does_not_allow_are_refused(loss, y, sentence):
    X, good, task, _ = simulated("gamma")
    good[7] = y
    with pytest.raises(DataError) as caught:
        BayesianMultiTaskModel(loss=loss).fit(X, good, task=task)
    assert sentence in str(caught.value)


def test_other_losses_are_refused_with_what_has_them():
    X, y, task, _ = simulated("gamma")
    with pytest.raises(IncompatibleError, match="got 'huber' for task 0: use MultiTaskModel"):
        BayesianMultiTaskModel(loss="huber").fit(X, y, task=task)
    MultiTaskRegressor(loss="huber").fit(X, y, task=task)


def test_a_level_that_is_no_probability_is_refused():
    X, y, task, _ = simulated("gamma")
    model = BayesianMultiTaskModel("none", loss="gamma").fit(X, y, task=task)
    with pytest.raises(ParameterError, match="between 0 and 1, both excluded"):
        model.predict_interval(X, task, level=1.0)


def test_adapt_says_what_to_use():
    X, y, task, _ = simulated("gamma", T=3)
    model = BayesianMultiTaskModel("none", loss="gamma").fit(X, y, task=task)
    with pytest.raises(IncompatibleError, match="adapt a MultiTaskModelCV of the same rows"):
        adapt(model, X[:5], y[:5], task="new")

"""Tuned Poisson and gamma regression, alone and in a comparison."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import d2_tweedie_score, mean_pinball_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask import Pooled, SingleTask, adapt, calibrate, compare, load, save
from polytask.baselines import TunedMeans
from polytask.linear import MultiTaskRegressor
from polytask.losses import Gamma, Poisson, Quantile
from polytask.penalties import L2
from polytask.selection.learners import tuned_linear

LEARNERS = {"poisson": PoissonRegressor, "gamma": GammaRegressor}


def _rows(name, seed=0, each=40, n_tasks=4, level=0.0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), each)
    X = rng.normal(size=(len(task), 3))
    mean = np.exp(level + 0.5 * X[:, 0] - 0.3 * X[:, 1] + 0.4 * task)
    y = rng.poisson(mean).astype(float) if name == "poisson" else rng.gamma(2.0, mean / 2)
    return X, y, task


@pytest.mark.parametrize("name", LEARNERS)
def test_it_is_the_regression_of_scikit_learn_at_the_strength_found(name):
    X, y, _ = _rows(name)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    model = TunedMeans(name).fit(X, y, sample_weight=weight)
    theirs = LEARNERS[name](alpha=model.alpha_, solver="newton-cholesky", tol=1e-10)
    theirs.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-3)
    sparse = TunedMeans(name).fit(sp.csr_array(X), y, sample_weight=weight)
    np.testing.assert_allclose(sparse.predict(sp.csr_array(X)), model.predict(X), rtol=1e-3)


def test_noise_is_shrunk_and_signal_is_kept():
    X, y, _ = _rows("poisson", each=100)
    shuffled = np.random.default_rng(0).permutation(y)
    assert TunedMeans().fit(X, shuffled).alpha_ > 10 * TunedMeans().fit(X, y).alpha_


def test_rows_of_zeros_get_half_a_count_and_few_rows_no_search():
    X = np.random.default_rng(0).normal(size=(10, 2))
    np.testing.assert_allclose(TunedMeans().fit(X, np.zeros(10)).predict(X), 0.05)
    one = TunedMeans().fit(X[:1], [3.0])
    np.testing.assert_allclose(one.predict(X[:1]), 3.0, rtol=1e-3)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"loss of TunedMeans must be"):
        TunedMeans("squared").fit(np.zeros((3, 1)), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("wrap", [SingleTask, lambda e: Pooled(e, "intercept")])
def test_both_baselines_take_it_and_are_saved(name, wrap, tmp_path):
    X, y, task = _rows(name)
    model = wrap(tuned_linear("regression", loss=name, cv=3)).fit(X, y, task=task)
    assert model.score(X, y, task=task) > 0.1
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask").predict(X, task=task)
    np.testing.assert_array_equal(again, model.predict(X, task=task))


def test_pooled_intercepts_are_free_of_the_penalty():
    X, y, task = _rows("poisson", each=60)
    learner = make_pipeline(StandardScaler(), TunedMeans(strengths=(1e-9,)))
    pooled = Pooled(learner, "intercept").fit(X, y, task=task)
    sums = [pooled.predict(X, task=task)[task == t].sum() for t in range(4)]
    np.testing.assert_allclose(sums, [y[task == t].sum() for t in range(4)], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poisson", pytest.param("gamma", marks=pytest.mark.slow)])
def test_a_comparison_has_models_without_sharing_of_the_same_loss(name):
    X, y, task = _rows(name, each=250, n_tasks=3)
    names = ["separate", "pooled + intercepts", "learned prior", "boosting pooled"]
    names += ["separate, unpenalised", "near the mean"]
    result = compare(X, y, task=task, loss=name, models=names, cv=4)
    held = {row.name: row for row in result.models}
    assert result.setup.metric == "d2"
    assert result.setup.of_deviance
    assert "explained deviance" in str(result.summary())
    assert not held["learned prior"].note
    for model in names:
        assert held[model].metrics["deviance"] < 2.0
        assert held[model].score.mean > 0.1


def test_a_new_task_of_counts_is_adapted():
    X, y, task = _rows("poisson", each=80, n_tasks=5)
    known = MultiTaskRegressor(L2(0.01), loss="poisson").fit(X[:320], y[:320], task=task[:320])
    adapted = adapt(known, X[320:360], y[320:360], task=np.full(40, "new"))
    predicted = adapted.predict(X[360:], task=np.full(40, "new"))
    assert np.all(predicted > 0)
    assert np.corrcoef(predicted, y[360:])[0, 1] > 0.4


@pytest.mark.parametrize("name", LEARNERS)
def test_intervals_grow_with_the_mean_and_hold_their_share_of_low_and_of_high_means(name):
    X, y, task = _rows(name, each=1000, level=1.6)
    fitted, new = np.arange(len(y)) % 2 == 0, np.arange(len(y)) % 2 == 1
    plain = Pooled(TunedMeans(name, strengths=[1e-3]), "intercept")
    plain.fit(X[fitted], y[fitted], task=task[fitted])
    model = calibrate(plain, X[fitted], y[fitted], task=task[fitted])
    low, high = model.predict_interval(X[new], task=task[new])
    assert low.min() >= 0
    inside = (low <= y[new]) & (y[new] <= high)
    order = np.argsort(model.predict(X[new], task=task[new]))
    for part in np.array_split(order, 3):
        assert 0.87 < inside[part].mean() < 0.93
    narrow, *_, wide = ((high - low)[part].mean() for part in np.array_split(order, 10))
    assert wide > 2 * narrow


@pytest.mark.parametrize(
    ("estimator", "loss"),
    [
        (PoissonRegressor(), Poisson()),
        (make_pipeline(StandardScaler(), GammaRegressor()), Gamma()),
        (HistGradientBoostingRegressor(loss="gamma"), Gamma()),
        (HistGradientBoostingRegressor(loss="quantile", quantile=0.9), Quantile(0.9)),
        (MultiTaskRegressor(L2(0.01), loss="quantile(0.9)"), Quantile(0.9)),
    ],
)
def test_the_loss_of_an_estimator_is_that_of_every_task(estimator, loss):
    X, y, task = _rows("gamma")
    model = Pooled(estimator).fit(X, y, task=task)
    known = model._by_loss()
    assert known.loss_of(2) == loss
    np.testing.assert_allclose(
        np.asarray(loss.inverse_link(known.eta(X, 0)))[:, 0], model.predict(X, np.zeros(len(y)))
    )


def test_squared_errors_and_classes_are_judged_by_no_other_loss():
    for estimator in (Ridge(), MultiTaskRegressor(loss="huber"), LogisticRegression()):
        assert SingleTask(estimator)._by_loss() is None


@pytest.mark.parametrize("model", [Pooled, SingleTask])
def test_the_score_is_the_share_of_the_deviance(model):
    X, y, task = _rows("poisson")
    fitted = model(TunedMeans()).fit(X, y, task=task)
    mean = fitted.predict(X, task=task)
    assert fitted.score(X, y, task=task) == pytest.approx(d2_tweedie_score(y, mean, power=1))
    boosted = HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=5)
    fitted = model(boosted).fit(X, y, task=task)
    found, alone = fitted.predict(X, task=task), np.full(len(y), np.quantile(y, 0.9))
    losses = [mean_pinball_loss(y, each, alpha=0.9) for each in (found, alone)]
    assert fitted.score(X, y, task=task) == pytest.approx(1 - losses[0] / losses[1], abs=0.01)


def test_a_task_of_zeros_has_a_score_and_intervals():
    rng, task = np.random.default_rng(0), np.repeat(list("abc"), 40)
    X, y = rng.normal(size=(120, 2)), rng.poisson(2, 120) * 1.0
    y[task == "a"] = 0.0
    with warnings.catch_warnings():
        # scikit-learn takes the logarithm of the mean.
        warnings.simplefilter("ignore", RuntimeWarning)
        model = calibrate(SingleTask(PoissonRegressor()).fit(X, y, task), X, y, task=task)
    assert 0.3 < model.score(X, y, task) < 1.0
    low, high = model.predict_interval(X, task, level=0.9)
    assert np.isfinite(low).all()
    assert 0.85 < ((low <= y) & (y <= high)).mean() < 1.0

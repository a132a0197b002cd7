"""Trees with a learned prior of classes and counts: gradients, and what they are without trees."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")

from polytask import (  # noqa: E402
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    DataError,
    IncompatibleError,
    load,
    save,
)
from polytask.bayes.label_losses import LabelLoss, LabelLosses  # noqa: E402
from polytask.bayes.laplace import Problem, learn_laplace_priors  # noqa: E402
from polytask.bayes.laplace_rows import Labelled  # noqa: E402
from polytask.bayes.prior import Diagonal  # noqa: E402
from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor  # noqa: E402
from polytask.boosting.labels import covariances, posterior, tree_derivatives  # noqa: E402
from polytask.losses import Gamma, Poisson, Quantile  # noqa: E402

LOSSES = {
    "logistic": LabelLosses(),
    "poisson": LabelLosses((LabelLoss(Poisson(), 0.3, 1.0),)),
    "gamma": LabelLosses((LabelLoss(Gamma(), 0.3, 1.0),)),
}


def simulated(n=900, n_tasks=30, seed=0, spread=1.0, truth=0):
    """Return rows, log odds and tasks, the truth of which is drawn by another seed."""
    rng, drawn = np.random.default_rng(seed), np.random.default_rng(1000 + truth)
    X, task = rng.uniform(-2, 2, (n, 4)), rng.integers(0, n_tasks, n)
    level, slope = spread * drawn.normal(size=(2, n_tasks))
    odds = 2 * np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + level[task] + 0.7 * slope[task] * X[:, 3]
    return X, odds, task


def classes_of(odds, seed=0):
    return (np.random.default_rng(seed).logistic(size=len(odds)) < odds).astype(int)


def counts_of(odds, seed=0):
    return np.random.default_rng(seed).poisson(np.exp(0.5 * odds))


@pytest.fixture(params=LOSSES)
def small(request):
    """Labels of a few tasks of unequal size, with offsets, and their learned prior."""
    rng, losses = np.random.default_rng(2), LOSSES[request.param]
    counts = np.array([12, 1, 30, 0, 7])
    Z = np.column_stack([np.ones(50), rng.normal(size=50)])
    eta = 0.8 * rng.normal(size=5)[np.repeat(np.arange(5), counts)] + 0.5 * Z[:, 1]
    y = {"logistic": classes_of(eta), "poisson": counts_of(eta)}.get(
        request.param, np.exp(eta) * rng.gamma(2.0, 0.5, 50)
    )
    labelled = Labelled(
        Z=Z,
        y=y.astype(float),
        weight=rng.uniform(0.5, 2.0, 50),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        rows=np.arange(50),
        losses=losses,
        offset=0.5 * rng.normal(size=50),
    )
    (learned,), _ = learn_laplace_priors([labelled], Diagonal(), (0, 1), False, (1e-6, 100))
    return labelled, learned


def evidence_at(labelled, learned, offset):
    moved = dataclasses.replace(labelled, offset=offset)
    beliefs, mode = posterior(Problem(moved), learned)
    return -mode.objective - 0.5 * mode.log_determinant, mode, beliefs


def test_gradients_are_those_of_the_approximated_evidence(small):
    labelled, learned = small
    _, mode, beliefs = evidence_at(labelled, learned, labelled.offset)
    gradient, curvature = tree_derivatives(labelled, mode, beliefs)
    step, known = 1e-3, []
    for k in range(len(labelled.y)):
        change = step * np.eye(len(labelled.y))[k]
        ends = [
            evidence_at(labelled, learned, labelled.offset + sign * change)[0] for sign in (1, -1)
        ]
        known.append(-(ends[0] - ends[1]) / (2 * step))
    assert_allclose(gradient, known, atol=5e-6)
    plain, _ = tree_derivatives(labelled, mode, beliefs, full=False)
    assert np.abs(plain - known).max() > 1e-2
    assert np.all(curvature > 0)


def test_offsets_that_are_linear_only_move_the_mean(small):
    # What trees add and a flat mean can add too leaves the predictors where they were.
    labelled, learned = small
    _, mode, beliefs = evidence_at(labelled, learned, labelled.offset)
    _, other, _ = evidence_at(labelled, learned, labelled.offset + 0.2 * labelled.Z[:, 1])
    assert_allclose(other.point.mean, mode.point.mean - [0, 0.2], atol=1e-3)
    assert_allclose(other.point.alpha, mode.point.alpha, atol=1e-3)
    assert_allclose(covariances(other, beliefs), covariances(mode, beliefs), atol=1e-3)


def test_held_out_covariances_are_those_of_the_posterior(small):
    labelled, learned = small
    _, mode, beliefs = evidence_at(labelled, learned, labelled.offset)
    found = covariances(mode, beliefs)
    for posterior_of in mode.blocks:
        rows = posterior_of.rows
        assert_allclose(
            rows.forms(found[rows.tasks]),
            posterior_of.variances(mode.inverse_root),
            rtol=1e-8,
        )
    # A task without labels has the spread of the prior.
    assert np.all(np.linalg.eigvalsh(found[3] - found[2]) > -1e-5)


def test_without_trees_it_is_the_learned_prior():
    X, odds, task = simulated()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(task))
    cases = [
        (MixedBoostingClassifier, {}, BayesianMultiTaskClassifier, {}, classes_of(odds)),
        (
            MixedBoostingRegressor,
            {"loss": Poisson()},
            BayesianMultiTaskModel,
            {"loss": "poisson"},
            counts_of(odds),
        ),
    ]
    for ours, own, theirs, other, y in cases:
        model = ours(max_iter=0, varying=[3], structure="diagonal", **own)
        model.fit(X, y, task, weight)
        linear = theirs("diagonal", **other).fit(X[:, [3]], y, task, weight)
        asked = [*map(int, task[:20]), "new"]
        for method in ("predict_proba", "decision_function", "predict", "predict_interval"):
            if hasattr(linear, method) and hasattr(model, method):
                got, want = (
                    np.asarray(getattr(one, method)(rows, asked), dtype=float)
                    for one, rows in ((model, X[:21]), (linear, X[:21, [3]]))
                )
                assert_allclose(got, want, rtol=1e-6)
        assert model.log_marginal_likelihood_ == pytest.approx(linear.log_marginal_likelihood_)
        assert model.n_iter_ == 0
    assert_allclose(model.dispersion_, linear.dispersion_)


def test_with_one_task_it_is_all_but_lightgbm():
    X, odds, _ = simulated(3000, 1)
    settings = {"num_leaves": 4, "learning_rate": 0.1, "verbosity": -1, "num_threads": 1}
    settings |= {"min_data_in_leaf": 20, "deterministic": True, "force_col_wise": True}
    # LightGBM adds 0.7 to the logarithm of the curvature of counts unless it is told not to.
    settings |= {"poisson_max_delta_step": 1e-10}
    params = {"max_iter": 30, "max_leaf_nodes": 4, "cv": None}
    y, n = classes_of(odds), counts_of(odds)
    model = MixedBoostingClassifier(**params).fit(X, y)
    plain = lightgbm.train(settings | {"objective": "binary"}, lightgbm.Dataset(X, y), 30)
    assert_allclose(model.predict_proba(X)[:, 1], plain.predict(X), atol=1e-3)
    counts = MixedBoostingRegressor(loss="poisson", **params).fit(X, n)
    plain = lightgbm.train(settings | {"objective": "poisson"}, lightgbm.Dataset(X, n), 30)
    assert np.abs(np.log(counts.predict(X) / plain.predict(X))).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_held_out_loss_is_level_with_trees_alone_and_the_prior_alone(spread):
    X, odds, task = simulated(3000, 60, spread=spread)
    X_new, odds_new, new = simulated(3000, 60, seed=5, spread=spread)
    y, y_new = classes_of(odds), classes_of(odds_new, 5)

    def loss(model, *asked):
        return log_loss(y_new, model.predict_proba(X_new, *asked))

    mixed = loss(MixedBoostingClassifier(varying=[3]).fit(X, y, task), new)
    linear = loss(BayesianMultiTaskClassifier().fit(X, y, task), new)
    trees = loss(MixedBoostingClassifier().fit(X, y))
    assert mixed < min(linear, trees) + 0.005
    if spread:
        assert mixed < min(linear, trees) - 0.05


@pytest.fixture(scope="module")
def fitted():
    X, odds, task = simulated(400, 10)
    y = np.where(classes_of(odds) > 0, "yes", "no")
    return MixedBoostingClassifier(max_iter=15, varying=[3]).fit(X, y, task), X, y, task


def test_probabilities_are_averaged_over_the_posterior(fitted):
    model, X, _, task = fitted
    asked = model._read(X, task)
    rows = model._model.beside(asked.data.X)
    own = np.random.default_rng(0).normal(size=(4000, 1))
    for t in (0, 7):
        eta, variance = (f(rows[:20], t)[:, 0] for f in (model._model.modes,
                                                         model._model.variances))  # fmt: skip
        drawn = 1 / (1 + np.exp(-(eta + np.sqrt(variance) * own)))
        known = model._model.probabilities(rows[:20], t)[:, 1]
        assert_allclose(known, drawn.mean(axis=0), atol=0.02)
    found = model.predict_proba(X, task)
    assert_array_equal(model.predict(X, task), model.classes_[found.argmax(axis=1)])
    assert_array_equal(model.decision_function(X, task) > 0, found[:, 1] > 0.5)


def test_unseen_tasks_have_the_prior_mean(fitted):
    model, X, y, task = fitted
    lines = np.column_stack([np.ones(400), X[:, 3]])
    asked = model._model.beside(X)
    typical = model._model.modes(asked, -1)[:, 0]
    for t in range(10):
        own = model._model.modes(asked, t)[:, 0]
        assert_allclose(own - typical, lines @ model.effects_[t], atol=1e-9)
    assert np.all(model._model.variances(asked, -1) > model._model.variances(asked, 0))
    strict = MixedBoostingClassifier(max_iter=2, unseen_tasks="error").fit(X, y, task)
    with pytest.raises(DataError, match="new"):
        strict.predict(X[:1], ["new"])


def test_saved_and_pickled_it_predicts_the_same(fitted, tmp_path):
    model, X, _, task = fitted
    counts = MixedBoostingRegressor(loss="poisson", max_iter=5, cv=3)
    counts.fit(X, counts_of(simulated(400, 10)[1]), task)
    for one, method in ((model, "predict_proba"), (counts, "predict_interval")):
        save(one, tmp_path / "model.polytask")
        for again in (load(tmp_path / "model.polytask"), pickle.loads(pickle.dumps(one))):
            found = [np.asarray(getattr(m, method)(X, task)) for m in (one, again)]
            assert_array_equal(*found)
            assert_array_equal(again.predict(X, task), one.predict(X, task))


def test_forms_of_the_data_agree(fitted):
    model, X, y, task = fitted
    frame = pd.DataFrame(X, columns=[*"abcd"]).assign(task=task)
    table = MixedBoostingClassifier(max_iter=15, varying=["d"], task_column="task").fit(frame, y)
    assert_allclose(table.predict_proba(frame), model.predict_proba(X, task))
    parts = {t: (X[task == t], y[task == t]) for t in range(10)}
    params = {"max_iter": 15, "varying": [3], "cv": None}
    mapping = MixedBoostingClassifier(**params).fit(parts)
    direct = MixedBoostingClassifier(**params).fit(X, y, task)
    assert_allclose(mapping.predict_proba({3: X})[3], direct.predict_proba(X, np.full(400, 3)))
    Y = np.column_stack([y, y[::-1]]).astype(object)
    Y[::5, 0] = None
    targets = MixedBoostingClassifier(**params).fit(X, Y)
    assert [p.shape for p in targets.predict_proba(X)] == [(400, 2)] * 2
    counts = np.column_stack([counts_of(X[:, 0]), counts_of(3 + X[:, 0])]).astype(float)
    both = MixedBoostingRegressor(loss="poisson", max_iter=20, cv=3).fit(X, counts)
    assert_allclose(both.predict(X).mean(axis=0), counts.mean(axis=0), rtol=0.05)
    assert both.dispersion_[0] != both.dispersion_[1]


@pytest.mark.slow
def test_several_classes_have_trees_each():
    X, odds, task = simulated(700, 10)
    y = np.digitize(odds + np.random.default_rng(1).logistic(size=700), [-1.5, 1.5])
    # A task of two of the three classes, and one of a single class.
    y[task == 0], y[task == 1] = np.minimum(y[task == 0], 1), 2
    model = MixedBoostingClassifier(varying=[3], max_iter=15, cv=3).fit(X, y, task)
    found = model.predict_proba(X, task)
    assert_allclose(found.sum(axis=1), 1.0)
    assert_array_equal(found[task == 1], np.tile([0.0, 0.0, 1.0], (np.sum(task == 1), 1)))
    assert np.all(found[task == 0, 2] == 0)
    assert len(model._model.trees) == len(model.prior_) == 3
    linear = BayesianMultiTaskClassifier().fit(X, y, task).predict_proba(X, task)
    assert log_loss(y, found) < log_loss(y, linear) - 0.02
    none = MixedBoostingClassifier(varying=[3], max_iter=0, structure="diagonal").fit(X, y, task)
    linear = BayesianMultiTaskClassifier("diagonal").fit(X[:, [3]], y, task)
    assert_allclose(none.predict_proba(X, task), linear.predict_proba(X[:, [3]], task), rtol=1e-6)


@pytest.mark.slow
def test_amounts_and_their_intervals():
    X, odds, task = simulated(600, 15)
    X_new, odds_new, new = simulated(2000, 15, seed=9)
    noise = np.random.default_rng(1).gamma(4.0, 0.25, 2600)
    y, y_new = np.exp(0.5 * odds) * noise[:600], np.exp(0.5 * odds_new) * noise[600:]
    model = MixedBoostingRegressor(loss=Gamma(), varying=[3], cv=3).fit(X, y, task)
    lower, upper = model.predict_interval(X_new, new)
    assert 0.85 < np.mean((lower < y_new) & (y_new < upper)) < 0.95
    assert model.score(X_new, y_new, new) > 0.5
    with pytest.raises(IncompatibleError, match="predict_interval"):
        model.predict(X, task, return_std=True)


def test_losses_and_labels_that_are_not_for_it_are_refused():
    X, odds, task = simulated(60, 3)
    with pytest.raises(IncompatibleError, match="MultiTaskRegressor"):
        MixedBoostingRegressor(loss=Quantile(0.5)).fit(X, odds, task)
    with pytest.raises(IncompatibleError, match="classes"):
        MixedBoostingRegressor(loss="logistic").fit(X, odds > 0, task)
    with pytest.raises(DataError, match=">= 0"):
        MixedBoostingRegressor(loss="poisson").fit(X, odds, task)
    with pytest.raises(DataError):
        MixedBoostingClassifier().fit(X, odds, task)


_COUNTS = "leaves, cuts between bins and folds count rows, whatever their weights"


@pytest.mark.slow
@parametrize_with_checks(
    [MixedBoostingClassifier(max_iter=5, min_samples_leaf=5, cv=3)],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": _COUNTS,
        "check_sample_weight_equivalence_on_sparse_data": _COUNTS,
    },
)
def test_scikit_learn(estimator, check):
    check(estimator)

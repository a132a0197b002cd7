"""The classifier with a learned prior: laws, forms, class sets, uncertainty, further rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone

from polytask import (
    BayesianMultiTaskClassifier,
    ConvergenceWarning,
    DataError,
    IncompatibleError,
    ParameterError,
    TaskData,
    load,
    save,
)
from polytask.bayes import Diagonal, LowRank, Prior

D = 3


def simulated(T=6, n=40, seed=0, deviation=0.7, d=D):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(T), n)
    W = np.concatenate([[0.2], np.linspace(1, -1, d)]) + deviation * rng.normal(size=(T, d + 1))
    X = rng.normal(size=(T * n, d))
    eta = W[task, 0] + np.sum(X * W[task, 1:], axis=1)
    return X, (rng.random(T * n) < expit(eta)).astype(int), task


def fitted(structure="diagonal", seed=0, **params):
    X, y, task = simulated(seed=seed)
    return BayesianMultiTaskClassifier(structure, **params).fit(X, y, task=task), X, y, task


def several(T=4, n=60, seed=0):
    """Three classes, of which the last task has two and the first but one."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.array(["t0", "t1", "t2", "t3"])[:T], n)
    X = rng.normal(size=(T * n, 2))
    scores = np.column_stack([X[:, 0], X[:, 1], -X.sum(axis=1)]) + rng.gumbel(size=(T * n, 3))
    y = np.array(["a", "b", "c"])[np.argmax(scores, axis=1)]
    y[(task == "t3") & (y == "c")] = "a"
    y[task == "t0"] = "b"
    return X, y, task


def test_the_order_of_rows_does_not_matter():
    model, X, y, task = fitted("auto")
    order = np.random.default_rng(1).permutation(len(y))
    again = BayesianMultiTaskClassifier().fit(X[order], y[order], task=task[order])
    assert again.structure_ == model.structure_
    assert_allclose(again.coef_, model.coef_, atol=1e-5)
    assert_allclose(again.log_marginal_likelihood_, model.log_marginal_likelihood_, rtol=1e-9)


def test_a_weight_of_two_is_a_row_twice():
    X, y, task = simulated()
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    one = BayesianMultiTaskClassifier("diagonal").fit(X, y, task=task, sample_weight=weight)
    rows = np.repeat(np.arange(len(y)), weight)
    two = BayesianMultiTaskClassifier("diagonal").fit(X[rows], y[rows], task=task[rows])
    assert_allclose(one.coef_, two.coef_, atol=1e-5)
    assert_allclose(one.predict_proba(X, task), two.predict_proba(X, task), atol=1e-5)


def test_units_and_zero_points_of_features_do_not_matter():
    model, X, y, task = fitted("scalar")
    moved = X * [1.0, 100.0, 0.01] + [5.0, -300.0, 0.0]
    again = BayesianMultiTaskClassifier("scalar").fit(moved, y, task=task)
    assert_allclose(again.predict_proba(moved, task), model.predict_proba(X, task), atol=1e-6)


def test_the_three_forms_agree():
    X, _, _ = simulated(T=1, n=80)
    rng = np.random.default_rng(0)
    Y = (rng.random((80, 4)) < expit(X[:, :1] + rng.normal(size=4))).astype(float)
    Y[rng.random(Y.shape) < 0.2] = np.nan
    rows, targets = np.nonzero(~np.isnan(Y))
    long = BayesianMultiTaskClassifier("diagonal", standardize=False)
    long.fit(X[rows], Y[rows, targets].astype(int), task=targets)
    wide = BayesianMultiTaskClassifier("diagonal", standardize=False).fit(X, Y)
    parts = {t: (X[rows[targets == t]], Y[rows[targets == t], t].astype(int)) for t in range(4)}
    apart = BayesianMultiTaskClassifier("diagonal", standardize=False).fit(parts)
    for other in (wide, apart):
        assert_allclose(other.coef_, long.coef_, atol=1e-9)
        assert_allclose(other.log_marginal_likelihood_, long.log_marginal_likelihood_)
    proba = wide.predict_proba(X)
    assert_allclose(proba[2], long.predict_proba(X, np.full(80, 2)), atol=1e-9)
    assert_allclose(apart.predict_proba({2: X})[2], proba[2], atol=1e-9)


def test_sparse_is_dense():
    X, y, task = simulated(n=30)
    X = np.where(np.abs(X) > 0.6, X, 0.0)
    dense = BayesianMultiTaskClassifier("diagonal").fit(X, y, task=task)
    thin = BayesianMultiTaskClassifier("diagonal").fit(sp.csr_array(X), y, task=task)
    assert_allclose(thin.coef_, dense.coef_, atol=1e-7)
    assert_allclose(
        thin.predict_proba(sp.csr_array(X), task), dense.predict_proba(X, task), atol=1e-7
    )


def test_float32_stays_float32():
    X, y, task = simulated()
    wide = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task)
    narrow = BayesianMultiTaskClassifier("scalar").fit(X.astype(np.float32), y, task=task)
    assert narrow.coef_.dtype == np.float32
    assert_allclose(narrow.coef_, wide.coef_, atol=1e-4)


def test_separable_classes_have_a_finite_answer():
    X = np.linspace(-1, 1, 40)[:, None]
    y, task = (X[:, 0] > 0).astype(int), np.tile([0, 1], 20)
    for mean_prior in ("flat", "gaussian"):
        model = BayesianMultiTaskClassifier(mean_prior=mean_prior).fit(X, y, task=task)
        assert np.isfinite(model.coef_).all()
        assert np.abs(model.coef_).max() < 1e3
        proba = model.predict_proba(X, task)
        assert_array_equal(model.predict(X, task), y)
        assert 0.5 < proba.max() < 1.0


def test_one_task():
    X, y, _ = simulated(T=1, n=100)
    model = BayesianMultiTaskClassifier().fit(X, y)
    assert model.coef_.shape == (1, D)
    assert model.score(X, y) > 0.6


def test_tasks_with_one_class_or_one_row_borrow():
    X, y, task = simulated()
    y[task == 1] = 1
    kept = np.flatnonzero((task != 2) | (np.arange(len(y)) == np.argmax(task == 2)))
    model = BayesianMultiTaskClassifier("scalar").fit(X[kept], y[kept], task=task[kept])
    assert_array_equal(model.classes_, [0, 1])
    proba = model.predict_proba(X[:9], np.full(9, 1))
    assert np.all((proba > 0) & (proba < 1))
    shared = model.predict_proba(X[:9], np.full(9, "new", dtype=object))
    assert proba[:, 1].mean() > shared[:, 1].mean()
    # One row moves a task a little from the prior mean.
    mean = np.asarray(model.prior_.mean[1:])
    assert np.abs(model.coef_[2] * _scale(model) - mean).max() < 0.8
    assert model.predict(X[:2], [2, 2]).shape == (2,)


def _scale(model):
    return model._tasks.scale


def test_a_task_without_rows_is_an_unseen_one():
    X, y, task = simulated()
    weight = (task != 3).astype(float)
    with pytest.warns(UserWarning, match="no row of positive weight"):
        model = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task, sample_weight=weight)
    known = model.predict_proba(X[:7], np.full(7, 3))
    assert_allclose(known, model.predict_proba(X[:7], np.full(7, 99)), atol=1e-12)


def test_constant_and_collinear_features():
    X, y, task = simulated()
    wide = np.column_stack([X, np.full(len(y), 3.0), X[:, 0] - X[:, 1]])
    model = BayesianMultiTaskClassifier("diagonal").fit(wide, y, task=task)
    assert model.solution_.status.ok
    assert np.isfinite(model.coef_).all()
    plain = BayesianMultiTaskClassifier("diagonal").fit(X, y, task=task)
    assert abs(model.score(wide, y, task) - plain.score(X, y, task)) < 0.05


def test_alike_tasks_are_pooled_and_the_plain_structure_is_chosen():
    X, y, task = simulated(T=8, n=80, deviation=0.0)
    model = BayesianMultiTaskClassifier().fit(X, y, task=task)
    assert repr(model.structure_) == "NoVariation()"
    assert np.ptp(model.coef_, axis=0).max() == 0.0
    assert np.ptp(model.intercept_) < 0.2


def test_auto_takes_the_best_score():
    X, y, task = simulated(T=20, deviation=1.2)
    model = BayesianMultiTaskClassifier().fit(X, y, task=task)
    best = max(model.evidence_, key=lambda candidate: candidate.score)
    assert model.structure_ == best.structure
    assert repr(model.structure_) != "NoVariation()"
    assert len(model.evidence_) >= 3
    assert_allclose(model.log_marginal_likelihood_, best.log_likelihood)


def test_features_that_do_not_vary_have_one_coefficient():
    X, y, task = simulated()
    model = BayesianMultiTaskClassifier("diagonal", varying=[1]).fit(X, y, task=task)
    assert np.ptp(model.coef_[:, [0, 2]], axis=0).max() < 1e-12
    assert np.ptp(model.coef_[:, 1]) > 0.1
    assert_array_equal(model.prior_.varying, [0, 2])
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = BayesianMultiTaskClassifier("diagonal", varying=["b"]).fit(frame, y, task=task)
    assert_allclose(named.coef_, model.coef_, atol=1e-9)


def test_class_sets():
    X, y, task = several()
    model = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.task_classes_["t3"].tolist() == ["a", "b"]
    assert model.task_classes_["t0"].tolist() == ["b"]
    assert len(model.prior_) == 3
    assert model.coef_.shape == (3 + 3 + 2 + 1, 2)
    proba, decision = model.predict_proba(X, task), model.decision_function(X, task)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert_array_equal(proba[task == "t3", 2], 0.0)
    assert_array_equal(proba[task == "t0"], [[0.0, 1.0, 0.0]] * 60)
    assert np.isneginf(decision[task == "t3", 2]).all()
    labels = model.classes_[np.argmax(proba, axis=1)]
    assert_array_equal(model.predict(X, task), labels)
    assert model.score(X, y, task) > 0.6
    assert model.predict_proba(X[:3], ["new"] * 3).min() > 0


def test_probabilities_of_unknown_tasks_are_less_sure():
    model, X, _, task = fitted("scalar")
    tasks = model._tasks
    for t in (0, -1):
        eta = X @ model.coef_[0] + model.intercept_[0] if t == 0 else None
        variance = tasks.variances(X, t)[:, 0]
        got = tasks.eta(X, t)[:, 0]
        if eta is not None:
            assert_allclose(got, eta / np.sqrt(1 + np.pi * variance / 8), rtol=1e-9)
    assert tasks.variances(X, -1).mean() > 2 * tasks.variances(X, 0).mean()
    unseen = BayesianMultiTaskClassifier("scalar", unseen_tasks="error").fit(
        X, model.predict(X, task), task=task
    )
    with pytest.raises(DataError, match="task"):
        unseen.predict(X, np.full(len(X), 77))


def test_probabilities_are_expectations():
    """The probit correction against draws from the posterior."""
    model, X, _, _ = fitted("scalar")
    tasks, rng = model._tasks, np.random.default_rng(0)
    mean = np.log(1 / (1 / tasks.probabilities(X, 0)[:, 1] - 1))
    variance = tasks.variances(X, 0)[:, 0]
    centre = mean * np.sqrt(1 + np.pi * variance / 8)
    draws = centre + np.sqrt(variance) * rng.normal(size=(4000, len(X)))
    assert np.abs(expit(draws).mean(axis=0) - tasks.probabilities(X, 0)[:, 1]).max() < 0.03


def test_further_rows_of_a_new_task():
    X, y, task = simulated(T=12)
    first, later = task < 11, task == 11
    model = BayesianMultiTaskClassifier("diagonal").fit(X[first], y[first], task=task[first])
    before = model.predict_proba(X[first], task[first])
    prior = model.prior_
    model.partial_fit(X[later], y[later], task=task[later])
    assert model.tasks_.tolist() == list(range(12))
    assert model.coef_.shape == (12, D)
    assert model.prior_ is prior
    assert_allclose(model.predict_proba(X[first], task[first]), before)
    alone = BayesianMultiTaskClassifier(prior=model).fit(X[later], y[later], task=task[later])
    assert_allclose(alone.coef_[0], model.coef_[11], atol=1e-9)
    assert_allclose(
        alone.predict_proba(X[later], task[later]),
        model.predict_proba(X[later], task[later]),
        atol=1e-9,
    )


def test_further_rows_of_known_tasks_and_of_class_sets():
    X, y, task = several()
    half = np.arange(len(y)) % 2 == 0
    model = BayesianMultiTaskClassifier("scalar").fit(X[half], y[half], task=task[half])
    before = model._tasks.variances(X, 1)
    model.partial_fit(X[~half], y[~half], task=task[~half])
    assert model._tasks.variances(X, 1).mean() < 0.9 * before.mean()
    assert_allclose(model.task_weight_sums_, 60.0)
    model.partial_fit(X[:20], np.where(X[:20, 0] > 0, "a", "c"), task=["t9"] * 20)
    assert model.task_classes_["t9"].tolist() == ["a", "c"]
    assert set(model.predict(X[:20], ["t9"] * 20)) <= {"a", "c"}
    with pytest.raises(DataError, match="has the classes"):
        model.partial_fit(X[:2], ["c", "a"], task=["t3", "t3"])
    with pytest.raises(DataError, match="'z'"):
        model.partial_fit(X[:2], ["z", "a"], task=["t1", "t1"])
    with pytest.raises(DataError, match="classes"):
        model.partial_fit(X[:2], ["b", "a"], task=["t1", "t1"], classes=["a", "b", "q"])


def test_further_rows_of_targets():
    X, _, _ = simulated(T=1, n=120)
    rng = np.random.default_rng(0)
    Y = (rng.random((120, 3)) < expit(2 * X[:, :1] * [1, 1, -1])).astype(float)
    model = BayesianMultiTaskClassifier("scalar").fit(X[:60], Y[:60])
    before = model.coef_.copy()
    more = Y[60:].copy()
    more[:, 1] = np.nan
    model.partial_fit(X[60:], more)
    assert_allclose(model.coef_[1], before[1])
    assert np.abs(model.coef_[[0, 2]] - before[[0, 2]]).max() > 1e-3


def test_partial_fit_first_is_fit():
    X, y, task = simulated()
    one = BayesianMultiTaskClassifier("scalar").partial_fit(X, y, task=task)
    two = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task)
    assert_allclose(one.coef_, two.coef_)
    with pytest.raises(DataError, match="classes"):
        BayesianMultiTaskClassifier("scalar").partial_fit(X, y, task=task, classes=[0, 1, 2])


def test_a_prior_from_elsewhere_is_the_same_in_other_units():
    source, X, y, task = fitted("low_rank")
    factor, zero = np.array([10.0, 1.0, 0.1]), np.array([5.0, 0.0, -1.0])
    few = np.arange(len(y)) % 5 == 0
    plain = BayesianMultiTaskClassifier(prior=source).fit(X[few], y[few], task=task[few])
    Z = X * factor + zero
    moved = BayesianMultiTaskClassifier("low_rank").fit(Z, y, task=task)
    turned = BayesianMultiTaskClassifier(prior=moved).fit(Z[few], y[few], task=task[few])
    assert_allclose(turned.predict_proba(Z, task), plain.predict_proba(X, task), atol=1e-4)
    assert plain.structure_ is None
    assert clone(plain).prior is source
    whole = BayesianMultiTaskClassifier(prior=source).fit(X, y, task=task)
    assert_allclose(whole.coef_, source.coef_, atol=1e-6)
    assert_allclose(whole.predict_proba(X, task), source.predict_proba(X, task), atol=1e-6)


def test_priors_that_do_not_fit_are_refused():
    source, X, y, task = fitted("scalar")
    narrow = Prior(np.zeros(2), np.eye(2), np.arange(2), None)
    other = BayesianMultiTaskClassifier("none").fit(*several()[:2], task=several()[2])
    numbers = Prior(np.zeros(D + 1), np.eye(D + 1), np.arange(D + 1), 1.0)
    for prior, error in (
        (narrow, IncompatibleError),
        (other, IncompatibleError),
        (numbers, IncompatibleError),
        ([source.prior_] * 2, IncompatibleError),
        ("scalar", ParameterError),
        (BayesianMultiTaskClassifier(), ParameterError),
    ):
        with pytest.raises(error, match="prior"):
            BayesianMultiTaskClassifier(prior=prior).fit(X, y, task=task)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"structure": "wide"}, "structure"),
        ({"varying": [7]}, "varying"),
        ({"varying": 3}, "varying"),
        ({"varying": "some"}, "varying"),
        ({"mean_prior": "cauchy"}, "mean_prior"),
        ({"standardize": "yes"}, "standardize"),
        ({"tol": 0.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
        ({"unseen_tasks": "mean"}, "unseen_tasks"),
    ],
)
def test_wrong_parameters_are_named(params, word):
    X, y, task = simulated(n=5)
    with pytest.raises(ParameterError, match=word):
        BayesianMultiTaskClassifier(**params).fit(X, y, task=task)


def test_stopping_early_is_said():
    X, y, task = simulated(T=15)
    with pytest.warns(ConvergenceWarning, match="evaluations of the evidence"):
        model = BayesianMultiTaskClassifier(Diagonal(), max_iter=2).fit(X, y, task=task)
    assert not model.solution_.status.ok
    assert model.solution_.residual > model.tol
    with pytest.raises(DataError):
        BayesianMultiTaskClassifier().fit(X, np.ones(len(y)), task=task)


@pytest.mark.parametrize("case", ["two", "several", "targets", "updated", "given"])
def test_save_and_load(case, tmp_path):
    X, y, task = several() if case == "several" else simulated()
    if case == "targets":
        Y = np.column_stack([y, X[:, 0] > 0, X[:, 1] > 0.2]).astype(int)
        model, query = BayesianMultiTaskClassifier(LowRank(1)).fit(X, Y), (X,)
    else:
        model, query = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task), (X, task)
    if case == "given":
        model = BayesianMultiTaskClassifier(prior=model.prior_).fit(X, y, task=task)
    if case == "updated":
        model.partial_fit(X[:9], y[:9], task=["new"] * 9)
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    assert_array_equal(again.predict(*query), model.predict(*query))
    assert_array_equal(
        np.array(again.predict_proba(*query)), np.array(model.predict_proba(*query))
    )
    assert again.log_marginal_likelihood_ == model.log_marginal_likelihood_
    assert again.solution_.status is model.solution_.status
    again.partial_fit(*query[:1], y if case != "targets" else Y, *query[1:])


def test_tables_and_columns_that_a_task_lacks():
    rng = np.random.default_rng(0)
    frames = {}
    for k, name in enumerate("ABC"):
        age = rng.normal(40 + k, 9, 50)
        frame = pd.DataFrame({"age": age, "colour": rng.choice(["red", "blue"], 50)})
        frame["dose"] = rng.normal(size=50)
        y = np.where(age + 5 * rng.normal(size=50) > 40, "ill", "well")
        frames[name] = (frame.drop(columns="dose") if name == "C" else frame, y)
    model = BayesianMultiTaskClassifier("scalar").fit(frames)
    names = model.coef_feature_names_.tolist()
    assert model.coef_[2, names.index("dose")] == 0.0
    assert model.score(frames) > 0.7
    plain = model.to_sklearn("A")
    X = frames["A"][0]
    assert_array_equal(plain.predict(X), model.predict({"A": X})["A"])
    model.partial_fit({"D": frames["C"]})
    assert model.tasks_.tolist() == ["A", "B", "C", "D"]
    assert model.coef_[3, names.index("dose")] == 0.0
    assert model.predict({"D": frames["C"][0]})["D"].shape == (50,)


def test_a_plain_model_of_a_task():
    model, X, _, task = fitted("scalar")
    own = task == 4
    plain = model.to_sklearn(4)
    assert_array_equal(plain.predict(X[own]), model.predict(X[own], task[own]))
    X, y, task = several()
    model = BayesianMultiTaskClassifier("scalar").fit(X, y, task=task)
    for label in ("t0", "t1", "t3"):
        plain, own = model.to_sklearn(label), task == label
        same = plain.predict(X[own]) == model.predict(X[own], task[own])
        assert same.mean() > 0.95
        assert plain.classes_.tolist() == model.task_classes_[label].tolist()


def test_coefficients_as_a_table_and_the_card():
    model, X, y, task = fitted("scalar")
    frame = model.coef_frame()
    assert frame.columns.tolist() == ["task", "class", "feature", "coef"]
    assert len(frame) == 6 * (D + 1)
    card = model.card()
    assert card.content["chosen"]["structure_"] == "Scalar()"
    assert card.content["result"]["status"] == model.solution_.message
    assert model.fit(TaskData.from_long(X, y, task)).solution_.objective > 0


def test_a_class_that_no_task_has_beside_another_is_no_error():
    # Nothing is learned about it: the task that has it has no other class.
    X = np.random.default_rng(0).standard_normal((5, 5))
    task, y = np.array(["a", "a", "b", "b", "c"]), np.array([0, 1, 0, 1, 2])
    model = BayesianMultiTaskClassifier().fit(X, y, task=task)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict(X[4:], task=["c"]).tolist() == [2]
    assert np.isfinite(model.log_marginal_likelihood_)
    assert_allclose(model.predict_proba(X, task).sum(axis=1), 1.0)


def test_a_new_task_has_no_coefficient_of_a_feature_that_its_rows_lack():
    rng = np.random.default_rng(0)
    frame = lambda: pd.DataFrame(rng.standard_normal((40, 3)), columns=["a", "b", "c"])  # noqa: E731
    known = {name: frame() for name in ("x", "y")}
    model = BayesianMultiTaskClassifier("scalar")
    model.fit({name: (X, (X["a"] + X["c"] > 0).astype(int)) for name, X in known.items()})
    X = frame()
    before = model.coef_.copy()
    y = (X["a"] > 0).astype(int)
    model.partial_fit({"z": (X[["a", "b"]], y), "x": (X, y)})
    assert model.coef_[2, 2] == 0.0
    assert np.all(model.coef_[:2, 2] != 0.0)
    assert_array_equal(model.coef_[1], before[1])
    assert model.predict({"z": X[["a", "b"]], "x": X})["z"].shape == (40,)

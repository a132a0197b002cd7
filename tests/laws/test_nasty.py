"""Every estimator on nasty problems: a right answer or one sentence; see nasty.py."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from laws.nasty import Nasty, estimators, slow_estimators, tried
from sklearn.linear_model import Ridge

from polytask import (
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    DataError,
    DataWarning,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    Pooled,
    SingleTask,
)
from polytask.penalties import L21, TraceNorm

ENDS = {"fit", "warned", "refused"}


def check(seed, estimators):
    problem = Nasty(seed)
    ends = {name: tried(problem, model) for name, model in estimators(problem.kind).items()}
    assert set(ends.values()) <= ENDS, (seed, problem.made_of, ends)
    return set(ends.values())


def without_criteria(kind):
    # Degrees of freedom of classes take half a minute to compile.
    return {name: model for name, model in estimators(kind).items() if "IC(" not in name}


def test_a_few():
    assert set().union(*(check(seed, without_criteria) for seed in range(3))) >= {"fit", "refused"}


def test_a_row_without_weight_so_large_that_its_prediction_overflows():
    assert check(1620, without_criteria) >= {"fit", "refused"}


@pytest.mark.slow
def test_a_sample():
    assert set().union(*(check(seed, without_criteria) for seed in range(3, 33))) == ENDS


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(0, 2000, 100))
def test_two_thousand(first):
    for seed in range(first, first + 100):
        check(seed, estimators)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_two_hundred_by_search_and_networks(first):
    for seed in range(first, first + 20):
        check(seed, slow_estimators)


RNG = np.random.default_rng(0)
X, TASK = RNG.normal(size=(12, 2)), np.repeat([0, 1, 2], 4)
Y = X[:, 0] + RNG.normal(size=12)


@pytest.mark.parametrize("size", [1e-250, 1e-200, 1e-160, 1e-100])
def test_singular_values_of_steps_without_a_square(size):
    model = MultiTaskClassifier(TraceNorm(0.1)).fit(X * size, Y > 0, TASK)
    assert model.solution_.status.ok
    assert not model.coef_.any()


def test_tiny_noise_is_told_without_warnings():
    y = Y * 1e-200
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        root = MultiTaskRegressor(L21(0.1), loss="square_root").fit(X, y, TASK)
        best = MultiTaskRegressorIC(L21(), alphas=3).fit(X, y, TASK, np.full(12, 1e40))
    assert np.isfinite(root.predict(X, TASK)).all()
    assert np.isfinite(best.predict(X, TASK)).all()


@pytest.mark.parametrize("weight", [1e-300, 1e300, -1.0, np.nan])
def test_weights_whose_squares_have_no_digits(weight):
    with pytest.raises(DataError, match=r"sample_weight .* zero, or numbers from 1e-50 to 1e50"):
        MultiTaskRegressor().fit(X, Y, TASK, np.where(TASK == 1, weight, 1.0))


def test_huber_loss_far_from_its_bend():
    with pytest.raises(DataError, match=r"delta=1\.35.*scale_targets='common'.*got "):
        MultiTaskRegressor(loss="huber").fit(X, Y * 1e105, TASK)
    scaled = MultiTaskRegressor(loss="huber", scale_targets="common").fit(X, Y * 1e105, TASK)
    plain = MultiTaskRegressor(loss="huber", scale_targets="common").fit(X, Y, TASK)
    np.testing.assert_allclose(scaled.coef_ / 1e105, plain.coef_, rtol=1e-5)
    # Large targets of a task with another loss are far from no bend.
    both = MultiTaskModel(loss={"a": "huber", "b": "squared"})
    assert both.fit(X, pd.DataFrame({"a": Y, "b": Y * 1e14})).solution_.status.ok


def test_matrices_without_digits_are_refused(monkeypatch):
    def singular(*_, **__):
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    monkeypatch.setattr("polytask.bayes.normal.Marginal.evaluate", singular)
    with pytest.raises(
        DataError, match=r"no digits left to compute with \(Matrix is not positive"
    ):
        BayesianMultiTaskRegressor().fit(X, Y, TASK)


def test_a_task_without_weight_is_of_the_kind_of_the_others():
    labels, weight = np.where(Y > 0, "p", "q"), (TASK != 0) * 1.0
    with pytest.warns(DataWarning, match="1 task has no row of positive weight"):
        model = BayesianMultiTaskModel().fit(X, labels, TASK, weight)
    assert set(model.predict(X, TASK)) <= {"p", "q"}
    np.testing.assert_allclose(model.predict_proba(X, TASK).sum(axis=1), 1)


def test_folds_without_a_label_are_refused():
    wide = np.full((12, 3), np.nan)
    wide[0] = 1.0, 2.0, 3.0
    with pytest.raises(DataError, match=r"fold \d of 2 lacks one\. Ask for fewer folds"):
        MultiTaskRegressorCV(L21(), alphas=2, cv=2).fit(X, wide)


@pytest.mark.parametrize("model", [SingleTask(Ridge()), Pooled(Ridge())], ids=str)
def test_targets_whose_sums_overflow_in_an_estimator_of_scikit_learn(model):
    with pytest.raises(DataError, match=r"y of \w+ must be of size up to .*got 1e\+300"):
        model.fit(X, np.where(TASK == 1, 1e300, Y), TASK)

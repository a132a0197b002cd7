"""A shared base with a correction per task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

import polytask
from polytask import BayesianMultiTaskRegressor, MultiTaskClassifier, Pooled, SingleTask
from polytask.data import TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.selection.shared_base import SharedBase

BOOSTING = HistGradientBoostingRegressor(max_iter=30, min_samples_leaf=5, random_state=0)


def curved(seed: int = 0, tasks: int = 8, rows: int = 60):
    """Tasks that share a curved effect and have slopes of their own."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(tasks), rows)
    X = rng.standard_normal((tasks * rows, 3))
    slope = rng.standard_normal(tasks)
    y = 3 * np.abs(X[:, 0]) + slope[task] * X[:, 1] + 0.3 * rng.standard_normal(len(task))
    return X, y, task


def test_the_correction_learns_what_tasks_have_of_their_own():
    X, y, task = curved()
    Z, z, _ = X[1::2], y[1::2], task[1::2]
    X, y, owner = X[::2], y[::2], task[::2]
    base = Pooled(BOOSTING, "category").fit(X, y, task=owner)
    linear = BayesianMultiTaskRegressor().fit(X, y, task=owner)
    both = SharedBase(BOOSTING).fit(X, y, task=owner)
    scores = [model.score(Z, z, task=task[1::2]) for model in (base, linear, both)]
    assert scores[2] > max(scores[:2]) + 0.05


def test_it_is_the_base_and_then_the_correction():
    X, y, task = curved()
    model = SharedBase(BOOSTING).fit(X, y, task=task)
    values = model.base_.predict(X, task=task)
    inputs = np.column_stack([X, values])
    expected = model.correction_.predict(inputs, task=task)
    assert_allclose(model.predict(X, task=task), expected, rtol=1e-12)


def test_the_correction_is_fitted_to_predictions_of_unseen_rows():
    X, y, task = curved()
    noise = np.random.default_rng(3).standard_normal(len(y))
    # Such a tree repeats what it has seen; believed, it would be all that the model says.
    model = SharedBase(DecisionTreeRegressor(random_state=0)).fit(X, noise, task=task)
    assert abs(model.correction_.coef_[:, -1]).max() < 0.5


def test_forms_and_gaps():
    X, y, _ = curved(tasks=1, rows=150)
    Y = np.column_stack([y, -y])
    Y[::4, 1] = np.nan
    model = SharedBase(BOOSTING).fit(X, Y)
    assert model.predict(X).shape == (150, 2)
    assert model.score(X, Y) > 0.8
    mapping = {"a": (X[:75], y[:75]), "b": (X[75:], y[75:])}
    found = SharedBase(BOOSTING).fit(mapping).predict({"a": X[:75], "b": X[75:]})
    assert set(found) == {"a", "b"}


def test_wide_designs_correct_the_prediction_only():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 301))
    task = np.repeat([0, 1], 40)
    model = SharedBase(DecisionTreeRegressor(max_depth=2)).fit(X, X[:, 0], task=task)
    assert model.correction_.n_features_in_ == 1
    assert model.predict(X, task=task).shape == (80,)


def test_classes_by_log_odds():
    X, y, task = curved()
    labels = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    boosting = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    model = SharedBase(boosting).fit(X, labels, task=task)
    P = model.predict_proba(X, task=task)
    assert P.shape == (len(y), 3)
    assert_allclose(P.sum(axis=1), 1.0)
    assert model.score(X, labels, task=task) > 0.7


def test_a_saved_model_is_the_same(tmp_path: Path):
    X, y, task = curved()
    boosting = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    model = SharedBase(boosting).fit(X, y > 2.0, task=task)
    polytask.save(model, tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    assert_array_equal(loaded.predict_proba(X, task=task), model.predict_proba(X, task=task))


def test_targets_with_other_classes_are_refused():
    X, y, _ = curved(tasks=1, rows=100)
    Y = np.column_stack([(y > y.mean()).astype(int), np.digitize(y, [0.5, 2.0])])
    with pytest.raises(IncompatibleError, match="same classes"):
        SharedBase(HistGradientBoostingClassifier()).fit(X, Y)


def test_unseen_tasks_and_rows_that_no_fold_holds_out():
    X, y, task = curved()
    task = task.astype(object)
    task[-1] = "alone"
    data = TaskData.from_long(X, y, task.astype(str))
    model = SharedBase(BOOSTING, unseen_tasks="shared").fit(data)
    found = model.predict(X[:4], task=["0", "alone", "new", "new"])
    assert np.isfinite(found).all()


def test_one_fold_is_refused():
    X, y, task = curved()
    half = [(np.arange(0, len(y), 2), np.arange(1, len(y), 2))]
    with pytest.raises(ParameterError, match="two folds or more"):
        SharedBase(BOOSTING, cv=half).fit(X, y, task=task)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (SharedBase(LinearSVC()), "base of SharedBase must be .* predict_proba"),
        (SharedBase(DecisionTreeRegressor), "base of SharedBase must be a regressor"),
        (SharedBase(BOOSTING, Ridge()), "correction of SharedBase must be None or a multi-task"),
        (SharedBase(BOOSTING, MultiTaskClassifier()), "correction of SharedBase must be a reg"),
    ],
)
def test_parts_that_cannot_be_used_are_named(model, said):
    X, y, task = curved()
    labels = y > 2.0 if isinstance(model.base, LinearSVC) else y
    with pytest.raises(ParameterError, match=said):
        model.fit(X, labels, task=task)


def test_a_row_that_its_base_cannot_do_without_is_named():
    X, y, task = curved()
    alone = np.where(np.arange(len(y)) == len(y) - 1, 99, task)
    with pytest.raises(DataError, match=r"all rows of task 99 .* predicts no task .* Pooled"):
        SharedBase(SingleTask(Ridge())).fit(X, y, task=alone)
    assert SharedBase(Ridge()).fit(X, y, task=alone).predict(X[-1:], task=[99]).shape == (1,)


def test_a_correction_without_probabilities_gives_none():
    X, y, task = curved()
    base = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    model = SharedBase(base, SingleTask(LinearSVC())).fit(X, y > 2.0, task=task)
    assert model.score(X, y > 2.0, task=task) > 0.7
    assert not hasattr(model, "predict_proba")
    assert hasattr(SharedBase(base), "predict_proba")


def test_a_fold_may_hold_out_rows_without_any_label():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = X @ [[1.0, 2.0], [0.5, 1.0]] + rng.normal(size=(60, 2))
    y[:20] = np.nan
    folds = [(np.setdiff1d(np.arange(60), part), part) for part in np.split(np.arange(60), 3)]
    model = SharedBase(Ridge(), cv=folds).fit(X, y)
    assert np.isfinite(model.predict(X)).all()

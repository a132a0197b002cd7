"""One estimator of several outputs for a target matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, MultiTaskLasso
from sklearn.multiclass import OneVsRestClassifier

import polytask
from polytask import SingleTask
from polytask.baselines import Joint
from polytask.exceptions import DataError

FOREST = RandomForestRegressor(10, random_state=0)


def matrix() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    return X, np.column_stack([X[:, 0], X[:, 0] - X[:, 1]])


def test_it_is_the_estimator_itself(tmp_path: Path) -> None:
    X, Y = matrix()
    model = Joint(FOREST).fit(X, Y)
    assert_allclose(model.predict(X), FOREST.fit(X, Y).predict(X))
    polytask.save(model, tmp_path / "m.polytask")
    assert_array_equal(polytask.load(tmp_path / "m.polytask").predict(X), model.predict(X))
    lasso = Joint(MultiTaskLasso(0.1)).fit(X, Y)
    assert_allclose(lasso.predict(X), MultiTaskLasso(0.1).fit(X, Y).predict(X))


def test_classes_may_differ_between_targets() -> None:
    X, Y = matrix()
    labels = np.column_stack([np.digitize(Y[:, 0], [-0.5, 0.5]), (Y[:, 1] > 0).astype(int)])
    model = Joint(RandomForestClassifier(10, random_state=0)).fit(X, labels)
    first, second = model.predict_proba(X)
    assert first.shape == (80, 3)
    assert second.shape == (80, 2)
    assert_array_equal(model.predict(X)[:, 0], model.classes_[0][first.argmax(axis=1)])
    assert model.score(X, labels) > 0.9


def test_it_needs_a_matrix_without_gaps() -> None:
    X, Y = matrix()
    with pytest.raises(DataError, match="target matrix"):
        Joint(FOREST).fit(X, Y[:, 0], task=np.repeat([0, 1], 40))
    Y[3, 1] = np.nan
    with pytest.raises(DataError, match="1 gap"):
        Joint(FOREST).fit(X, Y)


def test_an_estimator_of_several_labels_gives_both_probabilities() -> None:
    X, Y = matrix()
    labels = (Y > 0).astype(int)
    model = Joint(OneVsRestClassifier(LogisticRegression())).fit(X, labels)
    for t, found in enumerate(model.predict_proba(X)):
        assert_allclose(found.sum(axis=1), 1.0)
        assert_array_equal(found.argmax(axis=1), model.predict(X)[:, t])


def test_columns_may_be_of_several_types() -> None:
    X, Y = matrix()
    table = pd.DataFrame({"u": (Y[:, 0] > 0).astype(int), "v": np.where(Y[:, 1] > 0, "yes", "no")})
    model = Joint(RandomForestClassifier(5, random_state=0)).fit(X, table)
    assert set(model.predict(X)[:, 1]) == {"yes", "no"}
    assert SingleTask(LogisticRegression()).fit(X, table).score(X, table) > 0.8

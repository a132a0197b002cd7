"""What `fit` refuses as targets `score` refuses too, in the same words."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor, MultiTaskRegressorCV
from polytask.exceptions import DataError, DataWarning
from polytask.penalties import L21

TASK = np.repeat([0, 1, 2], 15)
X = np.random.default_rng(0).standard_normal((len(TASK), 3))
COUNTS = np.random.default_rng(1).poisson(2.0, len(TASK)) + 1.0


def _changed(value):
    y = COUNTS.astype(object if isinstance(value, str) else float)
    y[20] = value
    return y


MODELS = {
    "poisson": lambda: MultiTaskRegressor(L21(0.1), loss="poisson"),
    "gamma": lambda: MultiTaskRegressor(L21(0.1), loss="gamma"),
    "search": lambda: MultiTaskRegressorCV(L21(), loss="poisson", alphas=3, cv=2),
    "mixed": lambda: MultiTaskModel(L21(0.1), loss={0: "squared", 1: "gamma", 2: "poisson"}),
}
SPOILED = [
    ("poisson", -1.0),
    ("gamma", 0.0),
    ("gamma", -2.0),
    ("search", -1.0),
    ("mixed", 0.0),
    ("poisson", np.nan),
    ("poisson", "many"),
]


@pytest.mark.parametrize(("name", "value"), SPOILED)
def test_score_refuses_what_fit_refuses(name, value):
    model = MODELS[name]().fit(X, COUNTS, TASK)
    with pytest.raises(DataError) as scored:
        model.score(X, _changed(value), TASK)
    with pytest.raises(DataError) as fitted:
        MODELS[name]().fit(X, _changed(value), TASK)
    # Only fit names the row, and the task of a mixed model.
    words = [str(e.value).partition(" (")[0].partition(". For")[0] for e in (scored, fitted)]
    assert words[0] == words[1].replace(", task 1", "")


def test_targets_and_unseen_tasks():
    Y = np.column_stack([COUNTS, COUNTS, np.where(TASK == 1, np.nan, COUNTS)])
    model = MultiTaskRegressor(L21(0.1), loss="poisson").fit(X, Y)
    assert np.isfinite(model.score(X, Y))
    Y[3, 1] = -1.0
    with pytest.raises(
        DataError, match=r"got -1.0 \(row 3, counting from 0; the only such row of task 1\)"
    ):
        model.score(X, Y)
    shared = MultiTaskRegressor(L21(0.1), loss="poisson", unseen_tasks="shared")
    shared.fit(X, COUNTS, TASK)
    with pytest.raises(DataError, match="of task 6"):
        shared.score(X, _changed(-1.0), TASK + 5)


def test_text_is_no_number_for_any_regressor():
    model = MultiTaskRegressor(L21(0.1)).fit(X, COUNTS, TASK)
    with pytest.raises(DataError, match="must be numbers; got 'many'"):
        model.score(X, _changed("many"), TASK)


def test_the_cell_that_is_no_number_is_named():
    texts = np.array([f"{value:.3f}" for value in COUNTS], dtype=object)
    texts[20] = "1O.0"
    shuffled = np.random.default_rng(2).permutation(len(TASK))
    at = int(np.flatnonzero(shuffled == 20)[0])
    with pytest.raises(DataError, match=rf"got '1O.0' \(row {at}, counting from 0\)"):
        MultiTaskRegressor(L21(0.1)).fit(X, texts[shuffled], TASK[shuffled])
    Y = np.column_stack([COUNTS, COUNTS]).astype(object)
    Y[7, 1] = "x"
    with pytest.raises(DataError, match=r"got 'x' \(row 7, counting from 0\)"):
        MultiTaskRegressor(L21(0.1)).fit(X, Y)


def test_labels_that_are_no_class_of_the_model_are_named():
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = MultiTaskClassifier(L21(0.01)).fit(X, y, task=TASK)
    with pytest.warns(DataWarning, match=r"No label of y \('Yes', 'No'\) is a class of"):
        assert model.score(X, np.char.capitalize(y), task=TASK) == 0.0
    # One label that is new, as a rare class of a fold, is wrong and nothing else.
    y[0] = "perhaps"
    assert 0.5 < model.score(X, y, task=TASK) < 1.0


def test_fewer_columns_without_names_than_tasks_are_refused():
    Y = X @ np.ones((3, 3)) + COUNTS[:, None] * [1.0, 2.0, 3.0]
    model = MultiTaskRegressor(L21(0.01)).fit(X, Y)
    with pytest.raises(DataError, match=r"each of the 3 tasks; got shape \(45, 2\)"):
        model.score(X, Y[:, 1:])
    gap = Y.copy()
    gap[:, 0] = np.nan
    assert model.score(X, gap) == pytest.approx(np.mean(model.task_scores(X, Y).values[1:]))

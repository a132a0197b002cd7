"""What is held out, and how long training goes on without it getting better."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import KFold

torch = pytest.importorskip("torch")

import polytask  # noqa: E402
from polytask import DataError, ParameterError  # noqa: E402
from polytask.data import GroupedRows, TimeOrdered  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep.training.settings import settings_of  # noqa: E402

RNG = np.random.default_rng(0)
N = 90
X = RNG.normal(size=(N, 3))
# Tasks one after the other in turn, so that the order of the input is not that of the tasks.
TASK = np.tile(["b", "c", "a"], N // 3)
Y = X[:, 0] + 0.1 * RNG.normal(size=N)
PATIENT = RNG.integers(0, 12, N)
HELD = np.arange(60, N)


def small(**settings):
    chosen = {"trunk": MLP((8,)), "max_epochs": 4, "random_state": 0, "scale_targets": None}
    return DeepMultiTaskRegressor(**{**chosen, **settings})


def first(splitter, n=N):
    return next(splitter.split(np.zeros((n, 1))))[1]


def grouped():
    """Return a splitter that keeps patients together, and the rows that it holds out first."""
    data = polytask.TaskData.from_targets(X, Y[:, None])
    splitter = GroupedRows(PATIENT, n_splits=4)
    return splitter, next(splitter.split(data))[1]


CASES = {
    "groups": grouped(),
    "folds of scikit-learn": (KFold(3), first(KFold(3))),
    "shuffled folds": (
        KFold(3, shuffle=True, random_state=1),
        first(KFold(3, shuffle=True, random_state=1)),
    ),
    "time": (TimeOrdered(np.arange(N)[::-1], n_splits=1, test_size=0.2), np.arange(18)),
    "pairs": ([(np.arange(60), HELD)], HELD),
}


@pytest.mark.parametrize(("validation", "held"), CASES.values(), ids=CASES)
def test_the_rows_asked_for_are_held_out(validation, held):
    model = small(validation=validation).fit(X, Y, task=TASK)
    squares = 0.5 * (Y - model.predict(X, task=TASK)) ** 2
    means = [squares[held][TASK[held] == name].mean() for name in model.tasks_]
    kept = model.solution_.best_epoch - 1
    assert_allclose(model.history_.held_out[kept], means, rtol=1e-4)


def test_the_rows_asked_for_are_held_out_of_a_target_matrix():
    targets = np.column_stack([Y, -2 * Y])
    targets[::7, 1] = np.nan
    model = small(validation=KFold(3)).fit(X, targets)
    squares = 0.5 * (targets - model.predict(X)) ** 2
    kept = model.solution_.best_epoch - 1
    expected = np.nanmean(squares[first(KFold(3))], axis=0)
    assert_allclose(model.history_.held_out[kept], expected, rtol=1e-4)


def test_no_patient_is_on_both_sides():
    """Rows of a patient are copies: held out one by one, copies of them are trained on."""
    rows = np.repeat(RNG.normal(size=(15, 3)), 6, axis=0)
    noise = np.repeat(RNG.normal(size=15), 6)
    settings = {"trunk": MLP((64,)), "max_epochs": 60, "learning_rate": 0.02}
    groups = GroupedRows(np.repeat(np.arange(15), 6), n_splits=5)
    together = small(validation=groups, **settings).fit(rows, noise)
    one_by_one = small(validation=0.2, **settings).fit(rows, noise)
    apart = one_by_one.history_.held_out_objective.min()
    assert apart < 0.2 * together.history_.held_out_objective.min()


def test_a_fitted_model_is_saved_with_its_splitter(tmp_path):
    model = small(validation=GroupedRows(PATIENT, n_splits=3)).fit(X, Y, task=TASK)
    polytask.save(model, tmp_path / "model")
    again = polytask.load(tmp_path / "model")
    assert_allclose(again.predict(X, task=TASK), model.predict(X, task=TASK))
    assert again.validation.n_splits == 3


def test_a_checkpoint_of_other_rows_is_refused(tmp_path):
    path = str(tmp_path / "state.ckpt")
    names = np.arange(2000) // 10
    rows, y = RNG.normal(size=(2000, 2)), RNG.normal(size=2000)
    small(checkpoint=path, validation=GroupedRows(names)).fit(rows, y)
    # So many groups are shortened where they are shown.
    names[900:1000] = 0
    with pytest.raises(DataError, match=r"differs in validation\.groups, rows held out"):
        small(checkpoint=path, validation=GroupedRows(names)).fit(rows, y)


REFUSED = {
    "a word": ("half", ParameterError, "validation of Deep.* a splitter, or pairs of rows; got"),
    "all rows": (1.0, ParameterError, "validation of DeepMultiTaskRegressor must be a number"),
    "nothing": ([], DataError, "validation of Deep.* must be one or more pairs .*; got none"),
    "rows on both sides": (
        [(np.arange(70), HELD)],
        DataError,
        "validation of DeepMultiTaskRegressor must be splits whose held-out rows are not",
    ),
    "rows that are not there": (
        [(np.arange(60), np.arange(60, 95))],
        DataError,
        "validation of DeepMultiTaskRegressor must be pairs of 1-D arrays of row numbers",
    ),
}


@pytest.mark.parametrize(("validation", "error", "told"), REFUSED.values(), ids=REFUSED)
def test_one_sentence(validation, error, told):
    with pytest.raises(error, match=told):
        small(validation=validation).fit(X, Y, task=TASK)


def lengths(model, n_rows):
    training = settings_of(model).training_of(torch.nn.Linear(2, 1), n_rows)
    return training.max_epochs, training.patience


def test_few_rows_get_more_epochs():
    """Of 100 rows an epoch is four steps, of a million it is thousands."""
    assert lengths(DeepMultiTaskRegressor(), 100) == (2500, 250)
    assert lengths(DeepMultiTaskClassifier(accumulate=2), 128) == (5000, 500)
    assert lengths(DeepMultiTaskRegressor(batch_size=100), 100) == (10_000, 1000)
    assert lengths(DeepMultiTaskRegressor(), 1_000_000) == (200, 20)
    # Without rows held out nothing says when to stop.
    assert lengths(DeepMultiTaskRegressor(early_stopping=False), 100)[0] == 200


def test_lengths_that_are_given_are_kept():
    model = DeepMultiTaskRegressor(max_epochs=7, patience=None)
    assert lengths(model, 100) == (7, None)
    assert lengths(DeepMultiTaskRegressor(patience=3), 100) == (2500, 3)


@pytest.mark.parametrize("name", ["max_epochs", "patience"])
def test_other_words_for_a_length_are_refused(name):
    with pytest.raises(ParameterError, match=f'{name} of Deep.* must be "auto" or an integer'):
        small(**{name: "many"}).fit(X, Y, task=TASK)


def test_a_loss_that_creeps_is_no_reason_to_go_on():
    """Classes that are far apart: the loss goes to 0 and gets better in every epoch."""
    rows = np.repeat([[-3.0, 1.0], [3.0, -1.0]], 60, axis=0) + 0.1 * RNG.normal(size=(120, 2))
    settings = {"trunk": MLP((16,)), "learning_rate": 0.02, "random_state": 0}
    model = DeepMultiTaskClassifier(patience=10, max_epochs=400, **settings)
    model.fit(rows, np.repeat([0, 1], 60))
    held = model.history_.held_out_objective
    assert model.n_iter_ < 200
    assert (np.diff(held[-5:]) < 0).all()
    assert model.solution_.best_epoch == model.n_iter_
    assert "next to nothing" in model.solution_.message


@pytest.mark.slow
def test_training_goes_on_over_a_plateau():
    """Twenty epochs of few steps are no reason to stop."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(60, 4))
    y = np.sin(2 * rows[:, 0]) + rows[:, 1] * rows[:, 2]
    short = DeepMultiTaskRegressor(patience=20, device="cpu", random_state=1).fit(rows, y)
    default = DeepMultiTaskRegressor(device="cpu", random_state=1).fit(rows, y)
    assert default.n_iter_ > short.n_iter_
    held = [model.solution_.held_out_objective for model in (default, short)]
    assert held[0] <= held[1]

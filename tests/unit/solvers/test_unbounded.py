"""Objectives without a minimum are said to have none, and others are not."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskRegressor, load, save
from polytask.exceptions import ConvergenceWarning
from polytask.penalties import L1, L2, L21, MCP, toward_mean, weighted
from polytask.solvers._free_rows import FreeRows
from polytask.solvers.base import Status

TASK = np.repeat([0, 1, 2], 40)
LAST_THREE = [0, 1, 1, 1]


def _features(seed=0):
    return np.random.default_rng(seed).standard_normal((len(TASK), 4))


def _noisy(X, seed=1):
    return (X[:, 0] + np.random.default_rng(seed).standard_normal(len(X)) > 0).astype(int)


def _separated(X, where=slice(None)):
    y = _noisy(X)
    y[where] = (X[:, 0] > 0)[where]
    return y


UNBOUNDED = [
    weighted(L21(0.05), LAST_THREE),
    weighted(L1(0.05), LAST_THREE),
    weighted(L2(0.05), LAST_THREE),
    weighted(L21(0.05), LAST_THREE) + toward_mean(1.0),
    weighted(MCP(0.05), LAST_THREE),
    toward_mean(1.0),
    L2(0.0),
    L21(0.0),
]


@pytest.mark.parametrize("penalty", UNBOUNDED, ids=repr)
def test_classes_that_free_features_separate_have_no_best_answer(penalty):
    X = _features()
    with pytest.warns(ConvergenceWarning, match="The minimum is at infinity"):
        found = MultiTaskClassifier(penalty).fit(X, _separated(X), TASK).solution_
    assert found.status is Status.UNBOUNDED
    assert np.isfinite(found.W).all()


@pytest.mark.parametrize("penalty", UNBOUNDED, ids=repr)
def test_classes_that_overlap_have_one(penalty):
    X = _features()
    found = MultiTaskClassifier(penalty).fit(X, _noisy(X), TASK).solution_
    assert found.status.ok


@pytest.mark.parametrize(
    "rows", [TASK == 1, np.flatnonzero(TASK < 2)], ids=["one task", "two tasks"]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_separated_task_is_enough(rows, dtype):
    X = _features()
    model = MultiTaskClassifier(weighted(L21(0.05), LAST_THREE), intercept="task")
    with pytest.warns(ConvergenceWarning, match="minimum is at infinity"):
        model.fit(X.astype(dtype), _separated(X, rows), TASK)


def test_one_row_on_the_wrong_side_is_a_minimum():
    X = _features()
    y = _separated(X)
    for task in range(3):
        y[np.argmax(np.where(task == TASK, X[:, 0], -np.inf))] = 0
    model = MultiTaskClassifier(weighted(L21(0.05), LAST_THREE), intercept="task")
    assert model.fit(X, y, TASK).solution_.status is Status.CONVERGED


def test_quasi_separation_and_three_classes():
    X = _features()
    X[:, 0] = np.random.default_rng(5).random(len(X)) < 0.2
    y = np.where(X[:, 0] == 1, 1, _noisy(_features(3)))
    classes = np.where(X[:, 0] == 1, 2, _noisy(_features(3)))
    for labels in (y, classes):
        with pytest.warns(ConvergenceWarning, match="minimum is at infinity"):
            MultiTaskClassifier(weighted(L21(0.05), LAST_THREE)).fit(X, labels, TASK)


def test_counts_that_are_zero_where_a_free_feature_is_not():
    X = _features()
    X[:, 0] = np.random.default_rng(5).random(len(X)) < 0.2
    counts = np.random.default_rng(6).poisson(2.0, len(X))
    model = MultiTaskRegressor(weighted(L21(0.05), LAST_THREE), loss="poisson")
    assert model.fit(X, counts, TASK).solution_.status is Status.CONVERGED
    with pytest.warns(ConvergenceWarning, match="minimum is at infinity"):
        model.fit(X, np.where(X[:, 0] == 1, 0, counts), TASK)


def test_losses_that_end_at_a_margin_have_a_minimum():
    X = _features()
    model = MultiTaskClassifier(weighted(L21(0.05), LAST_THREE), loss="squared_hinge")
    assert model.fit(X, _separated(X), TASK).solution_.status.ok


def test_the_status_is_saved(tmp_path):
    X = _features()
    with pytest.warns(ConvergenceWarning):
        model = MultiTaskClassifier(weighted(L21(0.05), LAST_THREE)).fit(X, _separated(X), TASK)
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask").solution_
    assert (again.status, again.certificate.residual) == (Status.UNBOUNDED, np.inf)


def test_rounding_does_not_keep_it_searching(monkeypatch):
    # Rare classes make means of tasks so uncertain that the slope there ends at rounding.
    rng, task = np.random.default_rng(0), np.repeat(np.arange(12), 100)
    X = rng.normal(size=(1200, 8))
    W = rng.normal(size=(1, 8, 4)) + 0.3 * rng.normal(size=(12, 8, 4))
    scores = np.einsum("nd,ndk->nk", X, W[task]) + np.array([0, 0, -4, -5])
    y = (scores + rng.gumbel(size=(1200, 4))).argmax(axis=1)
    steps, nearer = [], FreeRows.nearer
    monkeypatch.setattr(FreeRows, "nearer", lambda *given: steps.append(0) or nearer(*given))
    found = MultiTaskClassifier(toward_mean(10.0)).fit(X, y, task).solution_
    assert found.status is Status.CONVERGED
    assert 0 < len(steps) < 10

"""New domains: the best of what can be made of a model and new rows, and what is said of it."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    DataError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    TaskData,
    adapt,
)
from polytask.losses import Squared
from polytask.penalties import L2, toward_mean
from polytask.transfer._extend import CoefficientCovariance, LearnedTask, replaced
from polytask.transfer._pulled import Line, TaskRows
from polytask.transfer._rows import NewTask
from polytask.transfer._shift import effective_rows, shift_weights

D, T, N = 3, 10, 30
MEAN = np.array([1.0, -2.0, 0.5])


def rows(seed, n, mean=MEAN, spread=0.2, n_tasks=1, first=0, shift=0.0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(first, first + n_tasks), n)
    X = rng.standard_normal((len(task), D)) + shift
    W = mean + spread * rng.standard_normal((n_tasks, D))
    eta = np.einsum("ij,ij->i", X, W[task - first]) + 2.0
    return X, eta + 0.4 * rng.standard_normal(len(task)), task


OLD = rows(0, N, n_tasks=T)
MODELS = {
    "penalised": lambda: MultiTaskRegressor(toward_mean(0.1), standardize=True),
    "prior": BayesianMultiTaskRegressor,
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]().fit(*OLD[:2], task=OLD[2])


def error(model, data, label):
    X, y, _ = data
    return float(np.sqrt(np.mean((y - model.predict(X, task=np.full(len(y), label))) ** 2)))


def test_an_opposite_domain_is_learned_from_its_own_rows(model):
    new, far = rows(5, 40, -4 * MEAN), rows(5, 400, -4 * MEAN)
    adapted = adapt(model, *new[:2], task="far", domain="new")
    assert error(adapted, far, "far") < 0.6
    scores = adapted.adaptation_.scores
    assert set(scores) == {"adapted", "source", "target"}
    assert scores["source"] > 5 * scores["adapted"]
    # The pull of the model is too strong here, and is found to be.
    assert min(adapted.adaptation_.strengths) < 1.0


def test_a_like_domain_is_not_worse_than_its_own_rows_alone(model):
    losses = []
    for seed in range(6):
        new, far = rows(20 + seed, 6), rows(20 + seed, 300)
        adapted = adapt(model, *new[:2], task="far", domain="new")
        alone = type(model)().fit(*new[:2])
        own = np.sqrt(np.mean((far[1] - alone.predict(far[0])) ** 2))
        losses.append((error(adapted, far, "far"), own))
    mean = np.mean(losses, axis=0)
    assert mean[0] < mean[1]


def test_source_data_add_a_pooled_candidate(model):
    new = rows(7, 12)
    adapted = adapt(model, *new[:2], task="far", domain="new", source=OLD)
    assert set(adapted.adaptation_.scores) == {"adapted", "source", "target", "pooled"}
    assert "old and new rows" in adapted.adaptation_.summary()
    np.testing.assert_allclose(
        adapted.predict(OLD[0], task=OLD[2]), model.predict(OLD[0], task=OLD[2]), rtol=1e-2
    )


def test_too_few_rows_are_not_judged_by(model):
    adapted = adapt(model, *[part[:2] for part in rows(8, 9)[:2]], task="far", domain="new")
    assert adapted.adaptation_.chosen == "adapted"
    single = adapt(model, *[part[:1] for part in rows(8, 9)[:2]], task="far", domain="new")
    assert single.adaptation_.scores == {}


def test_fallbacks_are_used_and_said():
    """A model that holds everything fast cannot follow a new domain: its own rows can."""
    model = MultiTaskRegressor(toward_mean(1e9), intercept="shared").fit(*OLD[:2], task=OLD[2])
    new = rows(5, 60, -4 * MEAN)
    adapted = adapt(model, *new[:2], task="far", domain="new")
    assert adapted.adaptation_.chosen == "target"
    assert (
        "A model of the new rows alone predicts them significantly better"
        in adapted.adaptation_.summary()
    )
    assert "因此只用新数据" in adapted.adaptation_.summary("zh")
    assert error(adapted, rows(5, 300, -4 * MEAN), "far") < 0.6


def test_known_tasks_of_a_penalised_model_are_replaced():
    model = MODELS["penalised"]().fit(*OLD[:2], task=OLD[2])
    new = rows(9, 50, -2 * MEAN)
    adapted = adapt(model, *new[:2], task=3, domain="new")
    assert len(adapted.tasks_) == T
    assert error(adapted, rows(9, 300, -2 * MEAN), 3) < 0.6
    others = OLD[2] != 3
    np.testing.assert_array_equal(
        adapted.predict(OLD[0][others], task=OLD[2][others]),
        model.predict(OLD[0][others], task=OLD[2][others]),
    )
    prior = BayesianMultiTaskRegressor().fit(*OLD[:2], task=OLD[2])
    with pytest.raises(DataError, match="new labels for the tasks"):
        adapt(prior, *new[:2], task=3, domain="new")


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [MultiTaskClassifier(L2(0.02)), BayesianMultiTaskClassifier()]
)
def test_classes(estimator):
    model = estimator.fit(OLD[0], OLD[1] > 2, task=OLD[2])
    X, y, _ = rows(11, 300, -MEAN)
    adapted = adapt(model, X[:60], y[:60] > 2, task="far", domain="new")
    assert adapted.adaptation_.metric == "log_loss"
    assert adapted.score(X[60:], y[60:] > 2, task=["far"] * 240) > 0.85
    assert adapted.adaptation_.scores["source"] > adapted.adaptation_.scores["adapted"]


def test_new_needs_targets(model):
    with pytest.raises(DataError, match="needs y_new"):
        adapt(model, rows(1, 5)[0], task="far", domain="new")


def bent(seed, n, shift):
    """A relation that a line fits differently here and there."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal(n) + shift, rng.standard_normal(n)])
    y = np.where(X[:, 0] > 1, 6 - 2 * X[:, 0], 3 * X[:, 0]) + 0.3 * rng.standard_normal(n)
    return X, y, np.repeat(["a", "b"], n // 2)


def test_weights_make_old_rows_look_like_new_ones():
    old, new = bent(0, 600, 0.0), bent(1, 400, 1.5)
    model = MultiTaskRegressor(L2(1e-3)).fit(*old[:2], task=old[2])
    weight = shift_weights(model, TaskData.from_long(*old), TaskData.from_long(*new))
    assert weight.mean() == pytest.approx(1.0)
    assert weight.min() >= 0
    assert np.average(old[0][:, 0], weights=weight) > 0.8
    assert abs(np.average(old[0][:, 1], weights=weight)) < 0.3
    assert effective_rows(weight) < 400


@pytest.mark.parametrize("known", [True, False])
def test_a_shift_is_followed_with_targets_and_without(known):
    old, new, far = bent(0, 600, 0.0), bent(1, 200, 2.0), bent(2, 1000, 2.0)
    model = MultiTaskRegressor(L2(1e-3)).fit(*old[:2], task=old[2])
    y = new[1] if known else None
    adapted = adapt(model, new[0], y, task=new[2], domain="shift", source=old)
    errors = [np.mean((far[1] - m.predict(far[0], task=far[2])) ** 2) for m in (model, adapted)]
    assert errors[1] < 0.8 * errors[0]
    report = adapted.adaptation_
    assert report.effective_rows < 500
    assert set(report.scores) >= {"adapted", "source"}
    assert ("target" in report.scores) == known


def test_no_shift_changes_little():
    old, new = bent(0, 400, 0.0), bent(3, 200, 0.0)
    model = MultiTaskRegressor(L2(1e-3)).fit(*old[:2], task=old[2])
    adapted = adapt(model, new[0], task=new[2], domain="shift", source=old)
    assert adapted.adaptation_.effective_rows > 300
    np.testing.assert_allclose(adapted.coef_, model.coef_, atol=0.3)


def test_a_shift_of_tables_keeps_the_column_of_the_tasks():
    old, new = bent(0, 200, 0.0), bent(1, 100, 1.0)
    frames = [pd.DataFrame(X, columns=["p", "q"]).assign(g=task) for X, _, task in (old, new)]
    model = MultiTaskRegressor(L2(1e-3), task_column="g").fit(frames[0], old[1])
    adapted = adapt(model, frames[1], domain="shift", source=(frames[0], old[1]))
    assert adapted.predict(frames[1]).shape == (100,)
    assert adapted.task_column == "g"


def test_a_shift_needs_rows():
    old, new = bent(0, 100, 0.0), bent(1, 4, 1.0)
    model = MultiTaskRegressor(L2(1e-3)).fit(*old[:2], task=old[2])
    with pytest.raises(DataError, match="needs 5 new rows or more"):
        adapt(model, new[0], task=new[2], domain="shift", source=old)
    with pytest.raises(DataError, match="needs source="):
        adapt(model, new[0], task=new[2], domain="shift")
    matrix = TaskData.from_targets(old[0], np.column_stack([old[1], old[1]]))
    with pytest.raises(DataError, match="one target per row"):
        adapt(model, new[0], task=new[2], domain="shift", source=matrix)


@pytest.mark.parametrize("classes", [False, True])
def test_rows_of_other_tasks_leave_a_task_that_fell_back_as_it_is(classes):
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((100, 3)), np.repeat([f"t{k}" for k in range(5)], 20)
    own = np.repeat(rng.standard_normal((5, 3)), 20, axis=0)
    eta = (X * (1.0 + 2.0 * own)).sum(axis=1) + 0.3 * rng.standard_normal(100)
    kind = BayesianMultiTaskClassifier if classes else BayesianMultiTaskRegressor
    model = kind().fit(X, eta > 0 if classes else eta, task=task)
    more = adapt(model, X[:4], (eta > 0)[:4] if classes else eta[:4], task="new")
    line = Line(np.array([[-3.0, 0.0, 4.0]]), np.array([1.0]))
    entry = NewTask("new", 5, TaskRows(X[:0], np.zeros(0), np.zeros(0), Squared()))
    held = replaced(more, [LearnedTask(entry, line)], CoefficientCovariance((None,), unseen=False))
    before = held.coef_.copy()
    again = copy.copy(held).partial_fit(
        X[:1], (eta > 0)[:1] if classes else eta[:1], task=task[:1]
    )
    np.testing.assert_array_equal(again.coef_[5], before[5])
    assert not np.array_equal(again.coef_[0], before[0])
    learned = copy.copy(held).partial_fit(
        X[4:9], (eta > 0)[4:9] if classes else eta[4:9], task=["new"] * 5
    )
    assert not np.allclose(learned.coef_[5], before[5])

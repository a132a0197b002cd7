"""One score: `score`, the metrics, the comparison and the searches mean the same number by it."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskModelCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    Pooled,
    SingleTask,
    adapt,
    load,
    save,
)
from polytask._estimator import mixed, regression
from polytask.data import TaskData, WithinTasks, as_splits
from polytask.exceptions import DataWarning
from polytask.losses import Poisson, Quantile
from polytask.metrics import METRICS, HeldOut, evaluate
from polytask.penalties import L2, L21
from polytask.selection.held import Study, held_out

FORMS = ("long", "targets", "separate")
SCALES = ("task", "common", "auto", None)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    X, task = rng.standard_normal((120, 4)), np.tile(["a", "b", "c"], 40)
    level = {"a": 0.0, "b": 4.0, "c": 5.0}
    y = X[:, 0] + np.array([level[t] for t in task]) + rng.standard_normal(120)
    return X, y, task, rng.uniform(0.5, 2.0, 120)


def _data(rows, form, weighted):
    """Return the same kind of data in one of the forms."""
    X, y, task, weight = rows
    own = weight if weighted else None
    if form == "long":
        return TaskData.from_long(X, y, task, sample_weight=own)
    if form == "separate":
        parts = {t: (X[task == t], y[task == t]) for t in "abc"}
        held = {t: weight[task == t] for t in "abc"} if weighted else None
        return TaskData.from_tasks(parts, sample_weight=held)
    Y = np.column_stack([y, 100.0 * y - X[:, 1], X[:, 2] + 0.2 * y])
    Y[::7, 1] = np.nan
    return TaskData.from_targets(X, Y, sample_weight=own)


def _by_hand(model, train, test, form):
    """Return the score as the documentation states it, with numpy alone."""
    weights = [
        np.ones(d.n_rows) if d.sample_weight is None else d.sample_weight for d in (train, test)
    ]
    predicted = np.asarray(model.predict(test))
    if form != "targets":
        # Predictions stand in the order of the input.
        own = np.empty(test.n_rows)
        own[:] = predicted[np.argsort(np.argsort(test.order))]
        mean = np.average(train.y, weights=weights[0])
        return 1 - weights[1] @ (test.y - own) ** 2 / (weights[1] @ (test.y - mean) ** 2)
    shares = []
    for t in range(test.n_tasks):
        seen = [~np.isnan(d.y[:, t]) for d in (train, test)]
        mean = np.average(train.y[seen[0], t], weights=weights[0][seen[0]])
        w, y, p = weights[1][seen[1]], test.y[seen[1], t], predicted[seen[1], t]
        shares.append(1 - w @ (y - p) ** 2 / (w @ (y - mean) ** 2))
    return np.mean(shares)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("form", FORMS)
def test_the_score_is_that_of_the_metrics_and_of_the_comparison(rows, form, weighted, scale):
    data = _data(rows, form, weighted)
    train, test = as_splits(WithinTasks(3, random_state=0), data, "cv", "test")[0]
    model = MultiTaskRegressorCV(L21(), alphas=[0.05], cv=2, scale_targets=scale)
    model.fit(data.rows(train))
    found = model.score(data.rows(test))
    assert found == pytest.approx(_by_hand(model, data.rows(train), data.rows(test), form))
    parts = [
        p for _, p in held_out(Study(data, regression(data, "squared", "")), model, train, test)
    ]
    by_targets = form == "targets"
    assert evaluate(parts, ["d2"], mean_over_tasks=by_targets)["d2"].overall == pytest.approx(
        found
    )
    scores = model.task_scores(data.rows(test)).values
    assert scores == pytest.approx([METRICS["d2"].by_task(part) for part in parts])
    if by_targets:
        assert found == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultiTaskRegressor(L21(0.01)),
        lambda: MultiTaskModel(L21(0.01), loss="squared"),
        lambda: SingleTask(Ridge()),
        lambda: Pooled(Ridge(), task_effect="intercept"),
        BayesianMultiTaskRegressor,
        lambda: AutoMultiTaskRegressor(["pooled", "separate"], cv=2),
    ],
    ids=["linear", "model", "single", "pooled", "bayes", "auto"],
)
def test_every_estimator_is_scored_so(rows, make, tmp_path):
    X, y, task, _ = rows
    train = np.arange(120) < 80
    model = make().fit(X[train], y[train], task[train])
    p = model.predict(X[~train], task[~train])
    want = 1 - np.sum((y[~train] - p) ** 2) / np.sum((y[~train] - y[train].mean()) ** 2)
    assert model.score(X[~train], y[~train], task[~train]) == pytest.approx(want)
    save(model, tmp_path / "model.polytask")
    for again in (load(tmp_path / "model.polytask"), pickle.loads(pickle.dumps(model))):
        assert again.score(X[~train], y[~train], task[~train]) == pytest.approx(want)


@pytest.mark.parametrize(
    ("loss", "own"), [("poisson", Poisson()), ("quantile(0.8)", Quantile(0.8))]
)
def test_other_losses_are_scored_by_themselves(rows, loss, own):
    X, _, task, _ = rows
    y = np.random.default_rng(2).poisson(np.exp(0.4 * X[:, 0] + 1.0)).astype(float)
    train = np.arange(120) < 80
    model = MultiTaskRegressor(L21(0.01), loss=loss).fit(X[train], y[train], task[train])
    p = model.predict(X[~train], task[~train])
    baseline = (
        y[train].mean() if loss == "poisson" else np.quantile(y[train], 0.8, method="inverted_cdf")
    )
    held = HeldOut(y=y[~train], prediction=p, baseline=baseline, loss=own)
    found = model.score(X[~train], y[~train], task[~train])
    assert found == pytest.approx(METRICS["d2"].by_task(held))
    eta, null = (np.log(p), np.log(baseline)) if loss == "poisson" else (p, baseline)
    losses = own.value(y[~train], eta).sum(), own.value(y[~train], np.full(40, null)).sum()
    assert found == pytest.approx(1 - losses[0] / losses[1])


def test_huber_is_scored_by_squares_as_what_it_estimates_is_a_mean(rows):
    X, y, task, _ = rows
    model = MultiTaskRegressor(L21(0.01), loss="huber").fit(X, y, task)
    want = 1 - np.sum((y - model.predict(X, task)) ** 2) / np.sum((y - y.mean()) ** 2)
    assert model.score(X, y, task) == pytest.approx(want)


@pytest.mark.parametrize("form", ["targets", "separate"])
def test_mixed_tasks_are_averaged_each_by_its_loss(rows, form, tmp_path):
    X, y, _, _ = rows
    label = np.where(X[:, 1] + 0.5 * y > 1.5, "yes", "no")
    if form == "targets":
        data = TaskData.from_targets(X, np.column_stack([y.astype(object), label]))
    else:
        data = TaskData.from_tasks({"a": (X, y), "b": (X[:90], label[:90])})
    train, test = as_splits(WithinTasks(3, random_state=0), data, "cv", "test")[0]
    model = MultiTaskModel(L2(0.01)).fit(data.rows(train))
    study = Study(data, mixed(data, "auto", ""))
    parts = [part for _, part in held_out(study, model, train, test)]
    found = evaluate(parts, ["d2"], mean_over_tasks=form == "targets")["d2"]
    assert model.score(data.rows(test)) == pytest.approx(found.overall)
    assert found.overall == pytest.approx(found.by_task.mean)
    save(model, tmp_path / "model.polytask")
    assert load(tmp_path / "model.polytask").score(data.rows(test)) == model.score(data.rows(test))
    assert model.task_scores(data.rows(test)).values == pytest.approx(found.by_task.values)


def test_accuracy_is_over_rows_and_over_targets(rows):
    X, y, _, weight = rows
    task = np.repeat(["few", "many"], [10, 110])
    label = np.where(y > 3, "yes", "no")
    model = MultiTaskClassifier(L2(1.0)).fit(X, label, task)
    hits = model.predict(X, task) == label
    assert model.score(X, label, task) == np.mean(hits)
    assert model.score(X, label, task, weight) == pytest.approx(np.average(hits, weights=weight))
    assert model.task_scores(X, label, task).values == (np.mean(hits[:10]), np.mean(hits[10:]))
    other = np.where(X[:, 0] > 0, "yes", "no").astype(object)
    other[:60] = None
    Y = np.column_stack([label.astype(object), other])
    wide = MultiTaskClassifier(L2(1.0)).fit(X, Y)
    hits = wide.predict(X) == Y
    assert wide.score(X, Y) == pytest.approx((hits[:, 0].mean() + hits[60:, 1].mean()) / 2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", SCALES)
def test_a_search_says_the_score_of_its_held_out_rows(rows, form, scale):
    data = _data(rows, form, weighted=True)
    splits = as_splits(WithinTasks(3, random_state=0), data, "cv", "test")
    settings = {"task_weight": "size", "intercept": "task", "scale_targets": scale}
    model = MultiTaskRegressorCV(L21(), alphas=[0.05], cv=3, tol=1e-10, **settings).fit(data)
    study, parts = Study(data, regression(data, "squared", "")), []
    plain = MultiTaskRegressor(L21(0.05), standardize=True, tol=1e-10, **settings)
    for train, test in splits:
        parts += held_out(study, plain.fit(data.rows(train)), train, test)
    if form != "targets":
        want = evaluate([part for _, part in parts], ["d2"])["d2"].overall
    else:
        # Of each target over the rows of all folds.
        sums = np.zeros((2, data.n_tasks))
        for t, p in parts:
            sums[:, t] += p.losses() @ p.weight, p.baseline_losses() @ p.weight
        want = np.mean(1 - sums[0] / sums[1])
    assert model.held_out_score_ == pytest.approx(want, rel=1e-5)
    assert 0 < model.held_out_error_ < 0.2


@pytest.mark.parametrize("loss", ["poisson", "auto"])
def test_a_search_by_other_losses_says_it_too(rows, loss):
    X, y, task, _ = rows
    counts = np.random.default_rng(2).poisson(np.exp(0.4 * X[:, 0] + 1.0)).astype(float)
    if loss == "poisson":
        data = TaskData.from_long(X, counts, task)
        kind, model = MultiTaskRegressor, MultiTaskRegressorCV
        outcomes = regression(data, loss, "")
    else:
        Y = np.column_stack([y.astype(object), np.where(y > 3, "yes", "no")])
        data, kind, model = TaskData.from_targets(X, Y), MultiTaskModel, MultiTaskModelCV
        outcomes = mixed(data, loss, "")
    settings = {"task_weight": "size", "intercept": "task", "loss": loss, "tol": 1e-9}
    found = model(L2(), alphas=[0.1], cv=3, intercept_strength=1.0, **settings).fit(data)
    plain = kind(L2(0.1), standardize=True, scale_targets="auto", **settings)
    sums: dict[int, list[float]] = {}
    for train, test in as_splits(WithinTasks(3, random_state=0), data, "cv", "test"):
        for t, p in held_out(Study(data, outcomes), plain.fit(data.rows(train)), train, test):
            own = sums.setdefault(t if loss == "auto" else 0, [0.0, 0.0])
            own[0] += p.losses().sum()
            own[1] += p.baseline_losses().sum()
    want = np.mean([1 - a / b for a, b in sums.values()])
    assert found.held_out_score_ == pytest.approx(want, rel=1e-4)


def test_the_mean_follows_further_rows(rows):
    X, y, task, _ = rows
    first = np.arange(120) < 60
    whole = BayesianMultiTaskRegressor().fit(X[first], y[first], task[first])
    whole.partial_fit(X[~first], y[~first], task[~first])
    p = whole.predict(X, task)
    want = 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)
    assert whole.score(X, y, task) == pytest.approx(want)


def test_a_target_that_was_added_is_scored_against_its_own_mean(rows):
    X, y, _, _ = rows
    Y = np.column_stack([y, 2 * y + 1])
    model = adapt(MultiTaskRegressor(L21(0.01)).fit(X, Y), {"new": (X[:50], 7 * y[:50])})
    full = np.column_stack([Y, 7 * y])
    p = model.predict(X)
    means = [*Y.mean(axis=0), 7 * y[:50].mean()]
    want = [
        1 - np.sum((full[:, t] - p[:, t]) ** 2) / np.sum((full[:, t] - means[t]) ** 2)
        for t in range(3)
    ]
    found = model.task_scores(X, pd.DataFrame(dict(zip([0, 1, "new"], full.T, strict=True))))
    assert found.values == pytest.approx(want)


def test_a_model_without_a_training_mean_says_what_its_score_is_against(rows):
    X, y, task, _ = rows
    model = MultiTaskRegressor(L21(0.01)).fit(X, y, task)
    del model._baseline
    few = task == "b"
    with pytest.warns(DataWarning, match="against the mean of the rows that are scored"):
        found = model.score(X[few], y[few], task[few])
    p = model.predict(X[few], task[few])
    assert found == pytest.approx(
        1 - np.sum((y[few] - p) ** 2) / np.sum((y[few] - y[few].mean()) ** 2)
    )


def test_a_model_saved_by_the_first_version_can_be_scored():
    model = load(Path(__file__).parents[2] / "saved_models" / "0.1" / "regressor.polytask")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, model.n_features_in_))
    with pytest.warns(DataWarning, match="kept no training mean"):
        score = model.score(X, rng.standard_normal(20), task=np.resize(model.tasks_, 20))
    assert np.isfinite(score)


def test_rows_equal_to_the_training_mean_have_no_score(rows):
    X, _, task, _ = rows
    for level in (0.1, 1e9 + 0.1):
        model = MultiTaskRegressor(L21(0.01)).fit(X, np.full(120, level), task)
        assert np.isnan(model.score(X, np.full(120, level), task))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = MultiTaskRegressorCV(L21(), alphas=2, cv=2).fit(X, np.full(120, 0.1), task)
    assert np.isnan(search.held_out_score_)


def test_unseen_tasks_are_compared_with_the_mean_of_all(rows):
    X, y, task, _ = rows
    model = MultiTaskRegressor(L21(0.01), unseen_tasks="shared").fit(X, y, task)
    other = np.full(120, "z")
    want = 1 - np.sum((y - model.predict(X, other)) ** 2) / np.sum((y - y.mean()) ** 2)
    assert model.score(X, y, other) == pytest.approx(want)


def test_r2_within_tasks_and_rmse_are_pooled():
    rng = np.random.default_rng(0)
    parts = [
        HeldOut(y=y, prediction=y + rng.standard_normal(len(y)), baseline=0.0)
        for y in (rng.standard_normal(30) * 3, np.array([1.0, 1.001]), np.array([5.0]))
    ]
    found = evaluate(parts, ["r2_within", "rmse"])
    errors = [float(np.sum((p.y - p.prediction) ** 2)) for p in parts]
    around = [float(np.sum((p.y - p.y.mean()) ** 2)) for p in parts]
    # One row has nothing around its mean; that of two close ones is no longer a thousand.
    assert found["r2_within"].overall == pytest.approx(1 - sum(errors[:2]) / sum(around))
    assert found["r2_within"].by_task.values[1] < -1000
    assert 0.5 < found["r2_within"].overall < 1
    assert found["rmse"].overall == pytest.approx(np.sqrt(sum(errors) / 33))
    by_target = evaluate(parts, ["rmse"], mean_over_tasks=True)["rmse"]
    assert by_target.overall == pytest.approx(np.mean(by_target.by_task.values))
    doubled = [replace(p, weight=np.full(len(p.y), 2.0)) for p in parts]
    again = evaluate(doubled, ["r2_within", "rmse"])
    assert again["r2_within"].overall == pytest.approx(found["r2_within"].overall)

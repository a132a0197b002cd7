"""What must hold for every linear estimator, whatever the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from unit.pairs import in_turn

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor, TaskData
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    ElasticNet,
    OutlierTasks,
    TraceNorm,
    coupling,
    toward_mean,
)

TIGHT = {"tol": 1e-12, "max_iter": 50_000}
PENALTIES = [
    L21(0.05),
    L1(0.05),
    ElasticNet(0.1),
    TraceNorm(0.1),
    L2(0.2),
    toward_mean(0.5) + L2(0.1),
    L21(0.05) + toward_mean(0.3),
    OutlierTasks(0.1) + toward_mean(0.2),
    Clustered(0.1, 0.5, 2),
]
NAMES = [str(penalty) for penalty in PENALTIES]
MODES = ["task", "toward_mean", "shared", None]
KINDS = ["numbers", "pairs", "classes"]


class Problem:
    """Rows of several tasks, with targets of one kind."""

    def __init__(self, kind, seed=0, sizes=(14, 25, 9, 20), d=4):
        rng = np.random.default_rng(seed)
        self.kind = kind
        self.task = np.repeat(np.arange(len(sizes)), sizes)
        self.X = rng.normal(size=(len(self.task), d)) + 0.5
        self.X[rng.random(self.X.shape) < 0.3] = 0.0
        W = rng.normal(size=(d, 1)) + 0.5 * rng.normal(size=(d, len(sizes)))
        score = np.einsum("ij,ji->i", self.X, W[:, self.task]) + rng.logistic(size=len(self.task))
        self.y = self.targets(score)
        self.weight = rng.uniform(0.5, 2.0, size=len(self.task))

    def targets(self, score):
        if self.kind == "numbers":
            return score
        if self.kind == "pairs":
            return np.where(score > 0.5, "yes", "no")
        labels = np.array(["a", "b", "c"])[np.digitize(score, [-0.5, 1.5])]
        # The last task knows two of the three classes.
        return np.where((self.task == 3) & (labels == "c"), "a", labels)

    def model(self, penalty, **settings):
        kind = MultiTaskRegressor if self.kind == "numbers" else MultiTaskClassifier
        return kind(penalty, **{**TIGHT, **settings})

    def fit(self, penalty, **settings):
        return self.model(penalty, **settings).fit(self.X, self.y, self.task, self.weight)


def values(model, X, task=None):
    """Numbers that the model predicts: the mean, or the probabilities."""
    predict = getattr(model, "predict_proba", model.predict)
    return predict(X) if task is None else predict(X, task)


def assert_same(first, second, atol=1e-9):
    assert first.columns_ == second.columns_
    assert_allclose(first.coef_, second.coef_, atol=atol)
    assert_allclose(first.intercept_, second.intercept_, atol=atol)


@pytest.mark.parametrize(("kind", "penalty"), in_turn(KINDS, PENALTIES), ids=str)
def test_long_and_separate_agree(kind, penalty):
    p = Problem(kind)
    long = p.fit(penalty)
    own = [p.task == t for t in range(4)]
    tasks = {t: (p.X[rows], p.y[rows]) for t, rows in enumerate(own)}
    weights = {t: p.weight[rows] for t, rows in enumerate(own)}
    separate = p.model(penalty).fit(tasks, sample_weight=weights)
    assert_same(long, separate, atol=1e-10)
    parts = values(separate, {t: p.X[rows] for t, rows in enumerate(own)})
    for t, rows in enumerate(own):
        assert_allclose(parts[t], values(long, p.X, p.task)[rows], atol=1e-10)
    assert separate.score(tasks) == pytest.approx(long.score(p.X, p.y, p.task))


@pytest.mark.parametrize(("mode", "kind"), in_turn(MODES, KINDS))
def test_targets_with_gaps_agree_with_long(kind, mode):
    p = Problem(kind)
    rng = np.random.default_rng(1)
    Y = np.full((len(p.y), 4), None, dtype=object)
    for t in range(4):
        Y[:, t] = Problem(kind, seed=t).y
    Y[rng.random(Y.shape) < 0.4] = None
    if kind == "numbers":
        Y = Y.astype(float)
    seen = ~pd.isna(Y)
    rows, tasks = np.nonzero(seen)
    settings = {"intercept": mode}
    targets = p.model(L21(0.02) + L2(0.05), **settings).fit(p.X, Y, sample_weight=p.weight)
    data = TaskData.from_targets(p.X, Y, p.weight).to_long()
    long = p.model(L21(0.02) + L2(0.05), **settings).fit(data)
    by_hand = p.model(L21(0.02) + L2(0.05), **settings)
    by_hand.fit(p.X[rows], Y[rows, tasks], tasks, p.weight[rows])
    assert_same(targets, long, atol=1e-10)
    assert_same(targets, by_hand, atol=1e-10)
    predicted = targets.predict(p.X)
    for t in range(4):
        expected = long.predict(p.X, np.full(len(p.X), t))
        if kind == "numbers":
            assert_allclose(predicted[:, t], expected, atol=1e-9)
        else:
            assert_array_equal(predicted[:, t], expected)
    apart = np.array(targets.task_scores(p.X, Y).values)
    together = np.array(long.task_scores(p.X[rows], Y[rows, tasks], tasks).values)
    assert targets.score(p.X, Y) == pytest.approx(np.mean(apart))
    if kind != "numbers":
        assert_allclose(apart, together)
        return
    # The same errors; a target is compared with its own mean, a task with the mean of all rows.
    grand = np.average(Y[rows, tasks], weights=p.weight[rows])
    for t in range(4):
        y = Y[seen[:, t], t]
        own = np.average(y, weights=p.weight[seen[:, t]])
        errors = [
            (1 - apart[t]) * np.sum((y - own) ** 2),
            (1 - together[t]) * np.sum((y - grand) ** 2),
        ]
        assert errors[0] == pytest.approx(errors[1])


def test_mixed_losses_agree_in_all_forms():
    p = Problem("numbers")
    Y = np.column_stack([p.y, (np.roll(p.y, 3) > 0).astype(float), p.X[:, 0] + p.y])
    Y[::4, 1] = np.nan
    Y[::5, 0] = np.nan
    loss = {0: "squared", 1: "logistic", 2: "squared"}
    targets = MultiTaskModel(L21(0.05), loss=loss, **TIGHT).fit(p.X, Y)
    rows, tasks = np.nonzero(~np.isnan(Y))
    long = MultiTaskModel(L21(0.05), loss=loss, **TIGHT).fit(p.X[rows], Y[rows, tasks], tasks)
    seen = [~np.isnan(Y[:, t]) for t in range(3)]
    separate = MultiTaskModel(L21(0.05), loss=loss, **TIGHT)
    separate.fit({t: (p.X[seen[t]], Y[seen[t], t]) for t in range(3)})
    assert_same(targets, long, atol=1e-10)
    assert_same(targets, separate, atol=1e-10)


@pytest.mark.parametrize(("mode", "kind"), in_turn(MODES, KINDS))
def test_weight_two_is_the_row_twice(kind, mode):
    p = Problem(kind)
    times = np.random.default_rng(2).integers(1, 4, size=len(p.y))
    again = np.repeat(np.arange(len(p.y)), times)
    penalty, settings = L21(0.05) + L2(0.05), {"intercept": mode, "standardize": True}
    weighted = p.model(penalty, **settings).fit(p.X, p.y, p.task, times)
    repeated = p.model(penalty, **settings).fit(p.X[again], p.y[again], p.task[again])
    assert_same(weighted, repeated)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_zero_is_no_row(kind):
    p = Problem(kind)
    kept = np.random.default_rng(3).random(len(p.y)) < 0.8
    weighted = p.model(L2(0.1)).fit(p.X, p.y, p.task, kept.astype(float))
    removed = p.model(L2(0.1)).fit(p.X[kept], p.y[kept], p.task[kept])
    assert_same(weighted, removed)


@pytest.mark.parametrize(("kind", "penalty"), in_turn(KINDS, PENALTIES), ids=str)
def test_the_order_of_rows_tasks_and_features_does_not_matter(kind, penalty):
    p = Problem(kind)
    rng = np.random.default_rng(4)
    rows, features = rng.permutation(len(p.y)), rng.permutation(4)
    renamed = np.array([2, 0, 3, 1])  # task t is now called renamed[t]
    first = p.fit(penalty)
    second = p.model(penalty).fit(
        p.X[rows][:, features], p.y[rows], renamed[p.task[rows]], p.weight[rows]
    )
    position = {pair: k for k, pair in enumerate(second.columns_)}
    order = [position[int(renamed[task]), label] for task, label in first.columns_]
    # The way to the optimum differs, and coefficients are known to the root of the gap.
    assert_allclose(first.coef_[:, features], second.coef_[order], atol=1e-5)
    assert_allclose(first.intercept_, second.intercept_[order], atol=1e-5)
    assert first.solution_.objective == pytest.approx(second.solution_.objective, rel=1e-11)


@pytest.mark.parametrize(
    ("mode", "kind", "standardize"), in_turn(MODES, KINDS, [False, True, True])
)
def test_sparse_is_dense(kind, mode, standardize):
    p = Problem(kind)
    settings = {"intercept": mode, "standardize": standardize}
    dense = p.fit(L21(0.05) + L2(0.05), **settings)
    sparse = p.model(L21(0.05) + L2(0.05), **settings)
    sparse.fit(sp.csc_array(p.X), p.y, p.task, p.weight)
    assert_same(dense, sparse)
    assert_allclose(
        values(dense, p.X, p.task), values(sparse, sp.coo_array(p.X), p.task), atol=1e-9
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32(kind, sparse):
    p = Problem(kind)
    X = p.X.astype(np.float32)
    given = sp.csr_array(X) if sparse else X
    single = p.model(L21(0.05), tol=1e-5, standardize=True).fit(given, p.y, p.task)
    double = p.model(L21(0.05), standardize=True).fit(p.X, p.y, p.task)
    assert single.coef_.dtype == single.intercept_.dtype == np.float32
    assert values(single, given, p.task).dtype == (np.float32 if kind == "numbers" else float)
    assert_allclose(single.coef_, double.coef_, atol=2e-2)


def test_task_weights():
    p = Problem("numbers")
    sizes = np.bincount(p.task)
    size = p.model(L21(0.05)).fit(p.X, p.y, p.task)
    given = p.model(L21(0.05), task_weight=sizes / sizes.mean()).fit(p.X, p.y, p.task)
    mapped = p.model(L21(0.05), task_weight=dict(enumerate(sizes / sizes.mean())))
    assert_same(size, given)
    assert_same(size, mapped.fit(p.X, p.y, p.task))
    equal = p.model(L21(0.05), task_weight="equal").fit(p.X, p.y, p.task)
    assert_same(equal, p.model(L21(0.05), task_weight=np.ones(4)).fit(p.X, p.y, p.task))
    assert np.abs(equal.coef_ - size.coef_).max() > 1e-3


@pytest.mark.parametrize("penalty", PENALTIES, ids=NAMES)
def test_residuals_sum_to_zero_with_free_intercepts(penalty):
    p = Problem("numbers")
    model = p.fit(penalty, intercept="task")
    residuals = p.weight * (p.y - model.predict(p.X, p.task))
    assert_allclose(np.bincount(p.task, residuals), np.zeros(4), atol=1e-9)
    shared = p.fit(penalty, intercept="shared", task_weight="size")
    assert np.sum(p.weight * (p.y - shared.predict(p.X, p.task))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES, ids=NAMES)
def test_residuals_of_a_task_balance_the_pull_on_its_intercept(penalty):
    """The derivative of the objective by b_t is zero, for the default of regression too."""
    p = Problem("numbers")
    for settings, strength in (({}, 1.0), ({"intercept_strength": 6.0}, 6.0)):
        model = p.fit(penalty, **settings)
        residuals = p.weight * (p.y - model.predict(p.X, p.task))
        level = model.intercept_ + model.coef_ @ np.average(p.X, axis=0, weights=p.weight)
        away = level - level.mean()
        assert np.abs(away).max() > 0.01
        assert_allclose(np.bincount(p.task, residuals), strength * away, atol=1e-8)


@pytest.mark.parametrize("mode", ["task", "toward_mean", "shared"])
def test_probabilities_match_the_classes_seen(mode):
    p = Problem("classes")
    model = p.fit(L2(0.1), intercept=mode)
    shares = np.column_stack([p.weight * (p.y == label) for label in model.classes_])
    expected = p.weight[:, None] * model.predict_proba(p.X, p.task)
    if mode == "task":
        for t in range(4):
            own = p.task == t
            assert_allclose(expected[own].sum(axis=0), shares[own].sum(axis=0), atol=1e-8)
    assert_allclose(expected.sum(axis=0), shares.sum(axis=0), atol=1e-8)


@pytest.mark.parametrize(("kind", "penalty"), in_turn(KINDS, PENALTIES), ids=str)
def test_the_certificate_bounds_the_error(kind, penalty):
    p = Problem(kind)
    best = p.fit(penalty).solution_.objective
    for tol in (1e-2, 1e-4):
        solution = p.fit(penalty, tol=tol).solution_
        assert best <= solution.objective + 1e-12
        if solution.gap is not None:
            assert solution.objective - best <= solution.gap + 1e-12
            assert solution.gap <= tol * solution.certificate.reference
        else:
            assert solution.residual <= tol


def test_a_coupling_given_by_labels_does_not_depend_on_their_order():
    p = Problem("numbers")
    Q = np.array([[2.0, -1, -1, 0], [-1, 1, 0, 0], [-1, 0, 2, -1], [0, 0, -1, 1]])
    order = [3, 1, 0, 2]
    first = p.fit(coupling(0.5, Q) + L2(0.1))
    second = p.fit(coupling(0.5, Q[np.ix_(order, order)], tasks=order) + L2(0.1))
    assert_same(first, second)
